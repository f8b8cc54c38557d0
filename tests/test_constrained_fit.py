"""Constraints from a file to a report: events from terms, columns, groups and swaps; what is wrong is said before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import evenhand
from evenhand.audits.constraints import examine_constraints
from evenhand.audits.findings import to_json
from evenhand.audits.outcomes import outcomes_of
from evenhand.cli import app
from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.events import from_groups
from evenhand.data.groups import by_attribute
from evenhand.training.traces import Constrained, Fitted, Trace
from evenhand.training.tune import TunedFit, choose
from evenhand.workflows.events import with_events

CLUBS = {"harbour": ["harbour club"], "meadow": ["meadow club"]}
SUBJECTS = ("choir", "ferry", "market", "garden", "library", "bakery", "bridge", "museum", "cinema", "station")
GOOD, BAD = ("clear", "kind", "calm", "useful"), ("rude", "vague", "angry", "wrong")
QUICK = {"max_epochs": "40", "step": "0.05", "bound": "3"}
FIT: dict[str, Any] = {"head": "linear", "encoding": evenhand.Encoding(None, dim=24), "seed": 1}


def rows(n_users: int = 60, n_prompts: int = 60, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Raters prefer kind words, and hold a mention of the meadow club against a text: the penalty that a constraint has to undo."""
    rng = np.random.default_rng(seed)
    for user in range(n_users):
        for prompt in rng.choice(n_prompts, 20, replace=False).tolist():
            club = ("harbour", "meadow")[prompt % 2]
            good, other_good = rng.random(2) < 0.5
            words = [str(rng.choice(GOOD if g else BAD)) for g in (good, other_good)]
            subject = SUBJECTS[prompt % len(SUBJECTS)]
            named = f"A {words[0]} note on the {subject} from the {club} club."
            plain = f"A {words[1]} note on the {subject} from a neighbour."
            lean = 1.5 * (float(good) - float(other_good)) + (-1.2 if club == "meadow" else 0.6)
            likes = rng.random() < 1 / (1 + np.exp(-lean))
            chosen, rejected = (named, plain) if likes else (plain, named)
            yield {
                "user": f"u{user}", "prompt": f"What is new, number {prompt}?", "chosen": chosen, "rejected": rejected,
                "event": club, "target": "chosen" if likes else "rejected", "side": ("east", "west")[user % 2], "same": "yes",
            }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clubs")
    every = list(rows())
    plain = [{k: v for k, v in row.items() if k not in ("event", "target")} for row in every]
    for name, some in (("marked", every), ("plain", plain)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (place / "terms.json").write_text(json.dumps(CLUBS))
    (place / "swaps.json").write_text(json.dumps([["harbour club", "meadow club"]]))
    return place


@pytest.fixture(scope="module")
def data(folder: Path) -> PreferenceData:
    loaded = evenhand.load(folder / "plain.jsonl", attributes=["side", "same"])
    return with_events(loaded, folder / "terms.json", None)


@pytest.fixture(scope="module")
def result(data: PreferenceData) -> Any:
    return evenhand.fit(data, "faro", settings=QUICK, **FIT)


def test_faro_takes_the_penalty_on_a_club_out_of_held_out_pairs(result: Any) -> None:
    (found,) = result.report.findings.constraints
    sizes = {v.decision: v.size for v in found.violations}
    assert sizes["soft"].before.value > 0.2
    assert sizes["soft"].after.value < 0.5 * sizes["soft"].before.value
    assert sizes["soft"].change.high < 0
    assert (found.notion, found.gamma) == ("dp", 0.05)
    assert set(found.fitted.names) == {"meadow above harbour", "harbour above meadow"}
    assert found.fitted.feasible
    assert found.fitted.train_violation[found.fitted.best_epoch - 1] <= 0.05


def test_columns_and_terms_are_the_same_events(folder: Path, data: PreferenceData) -> None:
    marked = evenhand.load(folder / "marked.jsonl")
    assert marked.events is not None
    assert data.events is not None
    names = np.array(marked.events.names)[marked.events.of_pair]
    assert (names == np.array(data.events.names)[data.events.of_pair]).all()
    assert (marked.events.first == data.events.first).all()


def test_a_saved_model_is_audited_against_its_constraint(result: Any, data: PreferenceData, folder: Path, tmp_path: Path) -> None:
    result.save(tmp_path)
    report = evenhand.audit(data, model=tmp_path / "model", constraints=[("dp", 0.05), ("eo", 0.9)])
    dp, eo = report.findings.constraints
    (own,) = result.report.findings.constraints
    assert dp.violations[0].size.after.value == pytest.approx(own.violations[0].size.after.value, abs=1e-9)
    assert eo.verdict == "PASS"
    assert "clubs" not in json.dumps(to_json(report.findings.constraints))  # neither paths nor texts


def test_score_columns_are_held_to_constraints(data: PreferenceData) -> None:
    """Margins that always choose the text with the mention in one event, and never in the other: D is 1."""
    assert data.events is not None
    sign = np.where(data.events.of_pair == 0, 1.0, -1.0)
    margin = np.where(data.events.first, sign, -sign)
    scored = replace(data, numbers={"m": margin})
    report = evenhand.audit(scored, scores="m", constraints=[("dp", 0.1)], group_by=evenhand.Grouping(("side",)))
    (found,) = report.findings.constraints
    assert {v.decision: v.size.after.value for v in found.violations}["hard"] == 1.0
    assert found.verdict == "FAIL"
    assert report.findings.exit_code == 1


def test_groups_of_users_are_events_where_the_data_brings_none(folder: Path) -> None:
    loaded = evenhand.load(folder / "plain.jsonl", attributes=["side"])
    done = evenhand.fit(loaded, "faro", settings={"max_epochs": "3", "notion": "eo"}, group_by=evenhand.Grouping(("side",)), **FIT)
    (found,) = done.report.findings.constraints
    assert "by hash" in found.rule
    assert {c.group for c in found.costs} >= {"east", "west"}


def test_demographic_parity_by_hash_is_refused_wherever_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    """A model that is right on all pairs of one side and wrong on all of the other has no such gap: y1 is a coin."""
    loaded = evenhand.load(folder / "plain.jsonl", attributes=["side"])
    east = np.array(loaded.attributes["side"])[loaded.user] == "east"
    scored = replace(loaded, numbers={"m": np.where(east, 1.0, -1.0)})
    side = evenhand.Grouping(("side",))
    events = side.events(scored, by_attribute(scored, "side"))
    assert events is not None
    one_sided = outcomes_of(scored, scored.numbers["m"], model="m", split="all")
    found = examine_constraints(None, one_sided, events, "dp", 0.2, seed=0, resamples=20)
    assert all(v.size.after.value < 0.1 for v in found.violations)  # what would have been certified
    found = examine_constraints(None, one_sided, events, "eo", 0.2, seed=0, resamples=20)
    assert {v.decision: v.size.after.value for v in found.violations}["hard"] == 1.0  # by label it is the accuracy: 100 % against 0 %
    told = r"dp: pairs are oriented by hash.*toss of a coin.*column target.*--mentions.*notion eo"
    with pytest.raises(EvenhandError, match=told):
        evenhand.audit(scored, scores="m", constraints=[("dp", 0.1)], group_by=side)
    for method, asked in (("faro", {}), ("bradley_terry", {"constraints": [("dp", 0.1)]})):
        with pytest.raises(EvenhandError, match=told):
            evenhand.fit(loaded, method, group_by=side, **asked, **FIT)
    evenhand.fit(loaded, "bradley_terry", settings={"max_epochs": "1"}, certify_share=0.25, **FIT).model.save(tmp_path / "model")
    with pytest.raises(EvenhandError, match=told):
        evenhand.certify(tmp_path / "model", loaded, "dp", 0.1, 0.05, group_by=["side"])
    assert evenhand.certify(tmp_path / "model", loaded, "eo", 0.9, 0.05, group_by=["side"]).document["notion"] == "eo"


def test_counterfactual_copies_are_compared_and_count_in_no_accuracy(folder: Path, data: PreferenceData) -> None:
    copied = with_events(data, None, folder / "swaps.json")
    assert len(copied) > len(data)
    done = evenhand.fit(copied, "faro", settings={**QUICK, "notion": "cf", "gamma": "0.005"}, **FIT)
    (found,) = done.report.findings.constraints
    before, after = found.violations[0].size.before, found.violations[0].size.after
    assert after.value < before.value
    originals = evenhand.fit(data, "bradley_terry", **FIT).report.findings.model.overall.n_pairs
    assert done.report.findings.model.overall.n_pairs == originals


WRONG = [
    ({"settings": {"gamma": "0"}}, "gamma"),
    ({"settings": {"gamma": "1.5"}}, "gamma"),
    ({"settings": {"notion": "bt"}}, "notion"),
    ({"settings": {"notion": "cf"}}, "matched"),
    ({"constraints": [("dp", 0.0)]}, "constraint"),
]


@pytest.mark.parametrize(("asked", "told"), WRONG)
def test_wrong_requests_are_refused_before_training(data: PreferenceData, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(EvenhandError, match=told):
        evenhand.fit(data, "faro", **FIT, **asked)


def test_without_events_the_remedy_is_named(folder: Path) -> None:
    loaded = evenhand.load(folder / "plain.jsonl", attributes=["same"])
    with pytest.raises(EvenhandError, match=r"no events.*--mentions"):
        evenhand.fit(loaded, "faro", **FIT)
    with pytest.raises(EvenhandError, match="'yes'"):
        evenhand.fit(loaded, "penalty", settings={"notion": "eo"}, group_by=evenhand.Grouping(("same",)), **FIT)


def test_a_group_without_a_label_is_named(data: PreferenceData) -> None:
    """Equalized odds needs pairs of both labels in every event; demographic parity does not."""
    assert data.events is not None
    keep = (data.events.of_pair == 0) | data.events.first
    with pytest.raises(EvenhandError, match="'meadow' with label 0"):
        evenhand.fit(data.take(keep), "faro", settings={"notion": "eo"}, **FIT)


def test_command_line_from_terms_to_certificate(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    quick = [
        "--encoder",
        "none",
        "--dim",
        "24",
        "--head",
        "linear",
        "--out",
        str(tmp_path / "fit"),
        "--certify-share",
        "0.3",
        "--set",
        "max_epochs=5",
    ]
    terms = ["--mentions", str(folder / "terms.json")]
    fitted = run(app, ["fit", str(folder / "plain.jsonl"), "--method", "faro", *terms, *quick])
    assert fitted.exit_code in (0, 1, 3), fitted.output
    assert "Violations in points, with simultaneous intervals" in fitted.output
    assert "Demographic parity is " in fitted.output
    assert "Constraints" in (tmp_path / "fit" / "report.html").read_text()
    model = str(tmp_path / "fit" / "model")
    certified = run(app, ["certify", model, str(folder / "plain.jsonl"), "--gamma", "0.9", *terms, "--out", str(tmp_path / "c")])
    assert certified.exit_code == 0, certified.output
    verified = run(app, ["verify", str(tmp_path / "c" / "certificate.json"), model, str(folder / "plain.jsonl"), *terms])
    assert verified.exit_code == 0, verified.output
    audited = run(
        app, ["audit", str(folder / "plain.jsonl"), "--model", model, "--constraint", "dp=0.9", *terms, "--out", str(tmp_path / "a")]
    )
    assert "Violations in points, with simultaneous intervals" in audited.output
    assert run(
        app, ["audit", str(folder / "plain.jsonl"), "--model", model, "--constraint", "dp=x", "--out", str(tmp_path / "b")]
    ).exit_code


def test_copies_are_in_no_event_whatever_order_files_come_in(folder: Path, data: PreferenceData) -> None:
    """Nobody judged them: they are in matched sets alone, also where terms or users' groups make the events afterwards."""
    copied = with_events(data, None, folder / "swaps.json")
    again = with_events(copied, folder / "terms.json", None)
    grouped = by_attribute(copied, "side")
    for events in (again.events, from_groups(copied, grouped)):
        assert events is not None
        assert events.copy is not None
        assert events.copy.sum() == len(copied) - len(data)
        assert (events.of_pair[events.copy] == -1).all()
        assert (events.of_pair[~events.copy] >= 0).all()


def test_matched_sets_need_no_other_events_and_leave_the_reference_as_it_is(folder: Path) -> None:
    loaded = evenhand.load(folder / "plain.jsonl")
    copied = with_events(loaded, None, folder / "swaps.json")
    done = evenhand.fit(copied, "faro", settings={**QUICK, "notion": "cf", "gamma": "0.5"}, **FIT)
    assert [c.notion for c in done.report.findings.constraints] == ["cf"]
    plain, constrained = done.report.findings.others[0], done.report.findings.model
    assert plain.overall.n_pairs == constrained.overall.n_pairs
    assert done.report.findings.constraints[0].fitted.feasible


def test_tuning_prefers_a_fit_within_its_constraint() -> None:
    def trial(loss: float, violation: float) -> TunedFit:
        game = Constrained("dp", 0.05, torch.zeros(2, 2), "soft", "additive")
        game.add(violation, 0.0, torch.zeros(2))
        return TunedFit(None, Fitted(None, Trace(best_epoch=1), constrained=game), {0: loss, 1: loss})

    beyond, within, worse = trial(0.50, 0.06), trial(0.55, 0.04), trial(0.60, 0.03)
    assert choose([beyond, worse, within]) is within
    assert choose([beyond, trial(0.40, 0.07)]) is beyond

"""Who is compared with whom: one support rule a file in every verb, no training without groups, and the table of who is where."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evenhand
from evenhand.core import DataError, PreferenceData
from evenhand.data.pairing import Judgements
from evenhand.data.sources.ratings import SOURCE as RATINGS
from evenhand.engines.here import Processes
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.workflows.trials import Bench, Entry, Trial

WORDS = evenhand.Encoding(None, dim=16)
QUICK = {"max_epochs": "2"}
ANIMALS, PLANTS = ["cat", "dog", "horse", "mouse", "eagle", "otter"], ["rose", "oak", "fern", "moss", "tulip", "maple"]


def table(rows: list[tuple[int, str, str, str]]) -> PreferenceData:
    """(user, prompt, chosen, rejected) → data with a score column that is right three times in four."""
    number: dict[str, int] = {}
    index = np.array([(u, *(number.setdefault(t, len(number)) for t in (f"prompt {p}", c, r))) for u, p, c, r in rows], np.int32)
    users = int(index[:, 0].max()) + 1
    return PreferenceData(
        [f"u{i}" for i in range(users)], list(number), *index.T,
        numbers={"margin": np.where(np.arange(len(rows)) % 4, 1.0, -1.0)}, fingerprint="made up",
    )  # fmt: skip


def said(words: list[str], rng: np.random.Generator, place: int) -> str:
    return f"{' '.join(rng.choice(words, 4))} number {place}"


def shared_pairs() -> PreferenceData:
    rng = np.random.default_rng(0)
    asked = [(f"{p}", said(ANIMALS, rng, 2 * p), said(PLANTS, rng, 2 * p + 1)) for p in range(40)]
    return table([(u, p, *((a, b) if (u % 5 > 0) ^ (rng.random() < 0.2) else (b, a))) for u in range(40) for p, a, b in asked])


def ratings() -> PreferenceData:
    """40 responses a prompt; each user rates 6 of them on each of 24 prompts: 78 pairs are rarely drawn twice, items are."""
    rng = np.random.default_rng(0)
    texts = {(p, r): said(ANIMALS if r % 2 else PLANTS, rng, 100 * p + r) for p in range(24) for r in range(40)}
    rows = [
        (u, p, r, 1.0 + 4 * rng.random() + 2 * ((r % 2 > 0) ^ (u % 5 == 0)))
        for u in range(60)
        for p in range(24)
        for r in rng.choice(40, 6, replace=False)
    ]
    user, prompt, response, score = (np.array(column) for column in zip(*rows, strict=True))
    assert RATINGS.pairing is not None
    judged = Judgements(
        user=user,
        prompt=prompt,
        block=np.zeros(len(user), np.int32),
        response=1000 * prompt + response,
        split=np.full(len(user), -1, np.int8),
        score=score,
    )
    drawn = RATINGS.pairing(judged, np.random.default_rng(0))
    return table([
        (int(user[b]), f"{prompt[b]}", texts[int(prompt[b]), int(response[b])], texts[int(prompt[w]), int(response[w])])
        for b, w in zip(drawn.better, drawn.worse, strict=True)
    ])  # fmt: skip


def votes() -> PreferenceData:
    rng = np.random.default_rng(0)
    texts = [said(ANIMALS if i % 2 else PLANTS, rng, i) for i in range(30)]
    rows = []
    for u in range(40):
        like = (rng.random(30) < 0.8) ^ (u % 5 == 0)
        rows += [(u, "all", texts[a], texts[b]) for a in range(30) for b in range(30) if like[a] and not like[b] and rng.random() < 0.3]
    return table(rows)


def alone() -> PreferenceData:
    """Nobody shares a text with anybody; a fifth of the users like plants."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(60):
        for i in range(24):
            pair = said(ANIMALS, rng, 1000 * u + 2 * i), said(PLANTS, rng, 1000 * u + 2 * i + 1)
            rows.append((u, f"{i}", *(pair if u % 5 else pair[::-1])))
    return table(rows)


def rules(data: PreferenceData, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Each verb with the groups' rule as it states it."""
    yield "check", evenhand.check(data).findings.diagnosis.findings[-1].sentence
    fitted = evenhand.fit(data, "bradley_terry", head="linear", settings=QUICK, encoding=WORDS, resamples=20)
    fitted.save(tmp_path)
    bench = Bench(data, WORDS, evenhand.Grouping(), tmp_path / "trials", Processes(2))
    for trial in bench.run([Entry("one", BradleyTerry(head=Linear()))], [3], lambda *a: None, lambda note: None):
        assert isinstance(trial, Trial)
        yield f"compare, seed {trial.seed}", trial.rule
    for verb, report in (
        ("fit", fitted.report),
        ("audit --model", evenhand.audit(data, model=tmp_path / "model", resamples=20)),
        ("audit --model, another file", evenhand.audit(replace(data, fingerprint="other"), model=tmp_path / "model", resamples=20)),
        ("audit --scores", evenhand.audit(data, scores="margin", resamples=20)),
    ):
        yield verb, report.findings.groups_rule
        assert f"Chosen because {why(report.findings.groups_rule)}" in report._repr_html_()


def why(rule: str) -> str:
    return rule.partition("Chosen because ")[2]


@pytest.mark.parametrize(
    ("made_up", "measure"), [(shared_pairs, r"\(S1\)"), (votes, "other raters"), (ratings, "other raters"), (alone, r"\(S2\)")]
)
def test_one_file_has_one_support_rule_in_every_verb(made_up, measure: str, tmp_path: Path) -> None:
    found = dict(rules(made_up(), tmp_path))
    assert len(found) == 6
    for verb, rule in found.items():
        assert re.search(measure, rule), verb
    assert len(set(map(why, found.values()))) == 1, found


def test_words_alone_tell_tastes_apart_where_nothing_is_shared() -> None:
    groups = evenhand.Grouping().groups(alone(), evenhand.workflows.grouping.support_of(alone()))
    np.testing.assert_array_equal(groups.of_user, np.arange(60) % 5 == 0)


def agreeing() -> PreferenceData:
    """Everybody gives the same answer to the same 30 questions."""
    rng = np.random.default_rng(0)
    asked = [(f"{p}", said(ANIMALS, rng, 2 * p), said(PLANTS, rng, 2 * p + 1)) for p in range(30)]
    return table([(u, p, a, b) for u in range(40) for p, a, b in asked])


def strangers() -> PreferenceData:
    """Nobody shares a pair or an item with anybody, and all texts are of one kind."""
    rng = np.random.default_rng(0)
    return table(
        [(u, f"{i}", said(ANIMALS, rng, 1000 * u + 2 * i), said(ANIMALS, rng, 1000 * u + 2 * i + 1)) for u in range(40) for i in range(24)]
    )


@pytest.mark.parametrize(
    ("made_up", "grouping", "cause"),
    [
        (agreeing, {}, r"all 32 users seen in training have the same support, 0\.\d+\. Support \(S1\) is"),
        (shared_pairs, {"threshold": 0.01}, r"support lies from 0\.\d+ to 0\.\d+, never under 0\.01\. Support \(S1\) is"),
        (strangers, {}, "no users seen in training have a known support: too few pairs or items are shared"),
    ],
)
def test_without_a_minority_nothing_is_trained_that_needs_one(made_up, grouping, cause: str, tmp_path: Path) -> None:
    data, stages = made_up(), list[str]()
    asked = {
        "encoding": WORDS,
        "group_by": evenhand.Grouping(**grouping),
        "resamples": 20,
        "progress": lambda what, *a: stages.append(what),
    }
    with pytest.raises(DataError, match=cause) as error:
        evenhand.fit(data, "pafo", assignments=tmp_path / "who.csv", **asked)
    for choice in ("--minority", "--threshold", "--group-by", "--assignments", "--method bradley_terry"):
        assert choice in str(error.value)
    assert "train" not in stages
    assert len((tmp_path / "who.csv").read_text().splitlines()) == len(data.users) + 1  # to see why
    with pytest.raises(DataError, match=cause):
        evenhand.compare(data, ["lore", "group_dro"], out=tmp_path / "compare", seeds=1, **asked)
    assert not list((tmp_path / "compare").rglob("*.safetensors"))


def test_a_method_without_groups_goes_on_and_says_so_first() -> None:
    order: list[str] = []
    fitted = evenhand.fit(
        agreeing(), "bradley_terry", settings=QUICK, encoding=WORDS, resamples=20,
        say=order.append, progress=lambda what, *a: order.append(what),
    )  # fmt: skip
    (note,) = (line for line in order if "all users are in one group" in line.lower())
    assert "Nobody is in the minority: all 32 users seen in training have the same support" in note
    assert order.index(note) < order.index("train")
    assert fitted.report.findings.requirements[0].verdict == "INSUFFICIENT"


def test_one_value_of_an_attribute_is_no_grouping() -> None:
    data = replace(shared_pairs(), attributes={"country": ["FR"] * 40})
    with pytest.raises(DataError, match=r"all users are in one group, 'FR'\. Groups by the user attribute 'country'"):
        evenhand.fit(data, "pafo", encoding=WORDS, group_by=evenhand.Grouping(("country",)))


def test_assignments_hold_every_users_group_and_support_where_they_are_asked_for(tmp_path: Path) -> None:
    data, file = shared_pairs(), tmp_path / "private" / "who.csv"
    before = set(tmp_path.rglob("*"))
    report = evenhand.audit(data, scores="margin", resamples=20)
    assert set(tmp_path.rglob("*")) == before
    evenhand.audit(data, scores="margin", resamples=20, assignments=file)
    rows = list(csv.DictReader(file.open()))
    assert [r["user"] for r in rows] == list(data.users)
    assert {r["evenhand_group"] for r in rows} == {"majority", "minority"}
    # A fifth of the users want the opposite of the others, so that the cut at a fifth finds them
    assert [r["evenhand_group"] == "minority" for r in rows] == [u % 5 == 0 for u in range(40)]
    rare, common = ([float(r["evenhand_support"]) for u, r in enumerate(rows) if (u % 5 == 0) == rare] for rare in (True, False))
    assert max(rare) < min(common)
    assert file.stat().st_mode & 0o077 == 0
    assert sum(g.accuracy.n_users for g in report.findings.model.groups) == 40
    fit_file = tmp_path / "fit.csv"
    evenhand.fit(data, "bradley_terry", settings=QUICK, encoding=WORDS, resamples=20, seed=5, assignments=fit_file)
    by_fit = list(csv.DictReader(fit_file.open()))
    assert {r["evenhand_seed"] for r in by_fit} == {"5"}
    assert sum(a["evenhand_group"] == b["evenhand_group"] for a, b in zip(rows, by_fit, strict=True)) >= 38
    evenhand.audit(data, scores="margin", resamples=20, assignments=fit_file)  # ours: replaced
    assert list(csv.DictReader(fit_file.open())) == rows


def test_no_id_or_group_of_assignments_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    data = shared_pairs()
    named = replace(data, users=("=1+1", *data.users[1:]), attributes={"country": ["@SUM(A1)"] * 20 + ["FR"] * 20})
    evenhand.audit(named, scores="margin", resamples=20, group_by=evenhand.Grouping(("country",)), assignments=tmp_path / "who.csv")
    row = next(csv.DictReader((tmp_path / "who.csv").open()))
    assert (row["user"], row["evenhand_group"]) == ("'=1+1", "'@SUM(A1)")


def test_comparisons_write_the_groups_of_every_seed(tmp_path: Path) -> None:
    data, file = shared_pairs(), tmp_path / "who.csv"
    asked = {"methods": [], "seeds": 2, "seed": 3, "tune": 0, "encoding": WORDS, "resamples": 20, "head": "linear", "jobs": 2}
    evenhand.compare(data, out=tmp_path / "a", assignments=file, **asked)
    rows = list(csv.DictReader(file.open()))
    assert [(r["user"], r["evenhand_seed"]) for r in rows] == [(user, seed) for seed in ("3", "4") for user in data.users]
    fitted = tmp_path / "fit.csv"
    evenhand.fit(data, "bradley_terry", head="linear", settings=QUICK, encoding=WORDS, resamples=20, seed=4, assignments=fitted)
    assert [r["evenhand_group"] for r in rows[40:]] == [r["evenhand_group"] for r in csv.DictReader(fitted.open())]


@pytest.mark.parametrize("content", ["user,group\nu0,1\n", "", "user,evenhand_seed,evenhand_group,evenhand_support,mine\n"])
def test_assignments_replace_no_file_of_somebody_else(content: str, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text(content)
    stages: list[str] = []
    with pytest.raises(DataError, match="is not evenhand's"):
        evenhand.fit(shared_pairs(), encoding=WORDS, assignments=file, progress=lambda what, *a: stages.append(what))
    with pytest.raises(DataError, match="is not evenhand's"):
        evenhand.compare(shared_pairs(), encoding=WORDS, assignments=file, out=tmp_path / "compare")
    with pytest.raises(DataError, match="is not evenhand's"):
        evenhand.audit(shared_pairs(), scores="margin", assignments=tmp_path)
    assert stages == []
    assert file.read_text() == content

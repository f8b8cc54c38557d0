"""From a saved model and its data to a certificate, and back: what was changed is refused, whatever it is."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from typer.testing import CliRunner

import evenhand
from evenhand.audits.certificate import Certificate, EventBound, TooFewUsers
from evenhand.cli import app
from evenhand.core import EvenhandError, Events, PreferenceData
from evenhand.data.events import BY_TARGET
from evenhand.data.simulate import simulated_users
from evenhand.data.splits import CERTIFY, DEAL, TEST, TRAIN, deal_with, split_pairs
from evenhand.report import Report
from evenhand.report.certificate import Issued, report
from evenhand.workflows.facts import split_digest
from evenhand.workflows.sealed import Refused, read_document, sealed

QUICK: dict[str, Any] = {"method": "bradley_terry", "settings": {"max_epochs": "2"}, "encoding": evenhand.Encoding(None, dim=16), "seed": 1}
ASKED: dict[str, Any] = {"notion": "dp", "gamma": 0.3, "delta": 0.05, "group_by": ["taste"]}


def longer_first(drawn: PreferenceData) -> PreferenceData:
    """The longer response is y1, as by a column 'target': by hash, demographic parity would mean nothing."""
    length = np.array([len(t) for t in drawn.texts])
    first = length[drawn.chosen] > length[drawn.rejected]
    return replace(drawn, events=Events((), np.full(len(drawn), -1, np.int16), first, BY_TARGET))


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return longer_first(simulated_users(seed=1, users=80, minority=0.4, pairs_per_user=24))


@pytest.fixture(scope="module")
def model(data: PreferenceData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "model"
    evenhand.fit(data, **QUICK, certify_share=0.25).model.save(folder)
    return folder


@pytest.fixture(scope="module")
def issued(model: Path, data: PreferenceData) -> Report:
    return evenhand.certify(model, data, **ASKED)


def put(document: Any, folder: Path) -> Path:
    file = folder / "certificate.json"
    file.write_text(json.dumps(document))
    return file


# ---- what is certified


def test_certificate_is_from_the_part_that_nothing_saw(issued: Report, model: Path, data: PreferenceData) -> None:
    said = issued.document
    split = split_pairs(data, seed=1, shares=(0.45, 0.1125, 0.1875, 0.25))
    assert said["split"]["digest"] == split_digest(split)
    assert said["split"]["part"] == "certify"
    assert sum(e["n_pairs"] for e in said["events"]) == int(split.rows(CERTIFY).sum()) > 0
    assert said["split"]["users_in_training"] == int((~split.unseen).sum())
    assert not set(data.prompt[split.rows(CERTIFY)]) & set(data.prompt[split.rows(TRAIN) | split.rows(TEST) | split.history])
    assert [e["name"] for e in said["events"]] == ["majority", "minority"]
    assert said["certified"] == (said["d_upper"] <= 0.3)


def test_numbers_are_those_of_the_scores(issued: Report, model: Path, data: PreferenceData) -> None:
    """By another way: the model's own scores of the same pairs, the longer response first, averaged by hand."""
    split = split_pairs(data, seed=1, shares=deal_with(0.25))
    rows = np.flatnonzero(split.rows(CERTIFY))
    names = np.array(data.texts)
    first, second = np.array([sorted(names[[r, c]], key=len, reverse=True) for c, r in zip(data.chosen[rows], data.rejected[rows])]).T
    own = [np.flatnonzero(split.history & (data.user == user)) for user in range(len(data.users))]
    history = [list(zip(names[data.prompt[i]], names[data.chosen[i]], names[data.rejected[i]])) for i in own]
    prompts, user = names[data.prompt[rows]].tolist(), data.user[rows]
    loaded = evenhand.RewardModel.load(model)
    a, b = (loaded.score_users(history, user, prompts, list(map(str, side))).astype(float) for side in (first, second))
    p = 1 / (1 + np.exp(b - a))
    means: dict[str, list[float]] = {"majority": [], "minority": []}
    for u in np.unique(user):
        means[data.attributes["taste"][u]].append(float(p[user == u].mean()))
    for event in issued.document["events"]:
        assert event["n_users"] == len(means[event["name"]])
        assert event["q"] == pytest.approx(np.mean(means[event["name"]]), abs=6e-5)
    assert issued.document["d_hat"] == pytest.approx(abs(np.mean(means["majority"]) - np.mean(means["minority"])), abs=6e-5)


def test_nobody_chooses_the_order_of_the_bets(issued: Report, model: Path, data: PreferenceData) -> None:
    """It follows from the hashes of model and data, which stand in the certificate; no argument and no option moves it."""
    from hashlib import sha256

    said = issued.document
    told = f"{said['model']['sha256']} {said['data']['read_sha256']}".encode()
    assert said["seed"] == int.from_bytes(sha256(told).digest()[:6], "big")
    with pytest.raises(TypeError, match="seed"):
        evenhand.certify(model, data, **ASKED, seed=3)
    for parameter in ("split_seed", "order"):
        with pytest.raises(TypeError, match=parameter):
            evenhand.certify(model, data, **ASKED, **{parameter: 3})


def test_a_model_that_tells_no_pair_apart_is_not_certified(model: Path, data: PreferenceData, tmp_path: Path) -> None:
    constant = evenhand.RewardModel.load(model)
    for parameter in constant.scorer.parameters():
        parameter.data.zero_()
    constant.save(tmp_path / "model")
    with pytest.raises(EvenhandError, match="nothing to certify: every margin is 0"):
        evenhand.certify(tmp_path / "model", data, **ASKED)


def test_without_a_certify_part_everything_stays_as_it_was(data: PreferenceData, tmp_path: Path) -> None:
    assert deal_with(0.0) is DEAL
    fitted = evenhand.fit(data, **QUICK)
    assert "shares" not in fitted.model.facts
    assert fitted.model.facts["split"] == split_digest(split_pairs(data, seed=1))
    fitted.model.save(tmp_path / "model")
    with pytest.raises(EvenhandError, match=r"kept no certify part.*--certify-share"):
        evenhand.certify(tmp_path / "model", data, **ASKED)
    with pytest.raises(EvenhandError, match="share for certificates"):
        evenhand.fit(data, **QUICK, certify_share=1.0)


def test_a_model_with_a_certify_part_is_still_audited_on_its_test_part(model: Path, data: PreferenceData) -> None:
    found = evenhand.audit(data, model=model, resamples=50).findings
    split = split_pairs(data, seed=1, shares=deal_with(0.25))
    assert found.model.overall.n_pairs == int(split.rows(TEST).sum())
    assert "own split" in found.model.split


def test_its_own_file_read_in_another_way_is_refused(model: Path, data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match="read in another way"):
        evenhand.certify(model, data.take(np.arange(len(data)) % 7 > 0), **ASKED)


def test_another_file_is_certified_but_not_checked(model: Path) -> None:
    other = longer_first(simulated_users(seed=7, users=80, minority=0.4, pairs_per_user=24))
    said = evenhand.certify(model, other, **ASKED).document
    assert said["split"]["part"] == "test"
    assert said["split"]["users_in_training"] is None
    assert "Not checked: that training did not see these pairs" in said["split"]["checked"]
    assert said["not_claimed"][0] == said["split"]["checked"]
    part = np.where(np.unique(other.prompt, return_inverse=True)[1] % 2 == 0, CERTIFY, TRAIN).astype(np.int8)
    given = evenhand.certify(model, replace(other, split=part), **ASKED).document
    assert given["split"]["part"] == "certify"
    assert given["split"]["seed"] is None
    assert sum(e["n_pairs"] for e in given["events"]) == int((part == CERTIFY).sum())
    with pytest.raises(EvenhandError, match="nobody knows whom training saw"):
        evenhand.certify(model, other, **ASKED, unseen_only=True)


def test_events_of_the_data_and_of_terms_come_before_groups(model: Path, data: PreferenceData, tmp_path: Path) -> None:
    shown = data.take(np.arange(len(data)))
    events = Events(("odd", "even", "rare"), (shown.user % 2).astype(np.int16), np.arange(len(data)) % 3 == 0, "By hand.")
    said = evenhand.certify(model, replace(shown, events=events), "eo", 0.9, 0.05, leave_out=["rare"], bound="hoeffding").document
    assert [e["name"] for e in said["events"]] == [f"{name}, label {label}" for name in ("odd", "even") for label in (0, 1)]
    assert said["events_rule"] == "By hand."
    assert said["seed"] is None
    with pytest.raises(TooFewUsers, match="no user in: rare"):
        evenhand.certify(model, replace(shown, events=events), "dp", 0.9, 0.05)
    with pytest.raises(EvenhandError, match="no event is named rrae"):
        evenhand.certify(model, replace(shown, events=events), "dp", 0.9, 0.05, leave_out=["rrae"])
    terms = tmp_path / "terms.json"
    terms.write_text('{"steps": ["first", "step", "steps"], "you": ["you", "your"]}')
    by_terms = evenhand.certify(model, data, "dp", 0.9, 0.05, mentions=terms)
    assert [e["name"] for e in by_terms.document["events"]] == ["steps", "you"]
    by_terms.save(tmp_path)
    evenhand.verify(tmp_path / "certificate.json", model, data, mentions=terms)
    with pytest.raises(Refused, match="no file of terms"):
        evenhand.verify(tmp_path / "certificate.json", model, data)


def test_matched_sets(model: Path, data: PreferenceData) -> None:
    """CF: pairs of one user, two by two; the rate is the gap inside a set."""
    order = np.lexsort((np.arange(len(data)), data.user))
    twin = np.empty(len(data), np.int64)
    twin[order] = np.arange(len(data)) // 2
    part = np.full(len(data), TRAIN, np.int8)
    part[twin % 3 == 0] = CERTIFY
    events = Events((), np.full(len(data), -1, np.int16), np.ones(len(data), bool), "By hand.", twin)
    said = evenhand.certify(model, replace(data, split=part, events=events, fingerprint="other"), "cf", 0.9, 0.1).document
    assert said["d_upper"] == said["events"][0]["high"]
    assert said["events"][0]["n_pairs"] == int((np.unique(twin[part == CERTIFY], return_counts=True)[1] > 1).sum())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"gamma": 2.0}, "gamma"), ({"delta": 0.0}, "delta"), ({"decision": "maybe"}, "soft or hard"), ({"group_by": []}, "no events"),
     ({"group_by": ["tatse"]}, "tatse")],
)  # fmt: skip
def test_wrong_requests_are_told(wrong: dict[str, Any], said: str, model: Path, data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match=said):
        evenhand.certify(model, data, **{**ASKED, **wrong})


# ---- what is verified


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field that holds no other."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, child in children:
        found = True
        yield from leaves(child, (*path, key))
    if not found:
        yield path


def changed(value: Any) -> list[Any]:
    """Other values for a field."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, float(value)]
    if isinstance(value, float):
        return [value * (1 + 1e-6) if value else 1e-6, value + 1e-4]
    if isinstance(value, str):
        return [value[:-1] + ("x" if value[-1:] != "x" else "y"), None]
    return [0, "x"] if value is None else [["x"]]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def mutations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what was changed, the document): one field each; every other one sealed again."""
    count = 0
    for path in leaves(document):
        name = ".".join(map(str, path))
        for value in changed(at(document, path)):
            out = copy.deepcopy(document)
            at(out, path[:-1])[path[-1]] = value
            count += 1
            yield name, sealed(out) if count % 2 and path != ("seal",) else out
    for path in leaves(document):
        out = copy.deepcopy(document)
        del at(out, path[:-1])[path[-1]]
        yield f"without {path}", out if path == ("seal",) else sealed(out)
    for path in ((), ("split",), ("events", 0), ("data",), ("model",)):
        out = copy.deepcopy(document)
        at(out, path)["remark"] = "added"
        yield f"added to {path}", sealed(out)
    for swap in (lambda o: o["events"].reverse(), lambda o: o["events"].append(o["events"][0]), lambda o: o["not_claimed"].pop()):
        out = copy.deepcopy(document)
        swap(out)
        yield "entries", sealed(out)


def test_every_single_change_is_refused(issued: Report, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    file = put(issued.document, tmp_path)
    evenhand.verify(file, model, data)
    tried = 0
    for name, document in mutations(issued.document):
        tried += 1
        put(document, tmp_path)
        with pytest.raises(Refused, match="REFUSED: found"):  # names the field when one is accepted
            accepting(name, file, model, data)
    assert tried >= 100


def accepting(name: str, file: Path, model: Path, data: PreferenceData) -> None:
    evenhand.verify(file, model, data)
    pytest.fail(f"accepted with another {name}")


def test_the_first_field_that_differs_is_named(issued: Report, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    def told(path: tuple[Any, ...], value: Any) -> str:
        out = copy.deepcopy(issued.document)
        at(out, path[:-1])[path[-1]] = value
        with pytest.raises(Refused) as error:
            evenhand.verify(put(sealed(out), tmp_path), model, data)
        return str(error.value)

    assert "'events[1].high' = 0.01" in told(("events", 1, "high"), 0.01)
    assert "'model.sha256'" in told(("model", "sha256"), "0" * 64)
    assert "'split.digest'" in told(("split", "digest"), "0" * 64)
    assert "'claim'" in told(("gamma",), 0.25)
    assert "delta" in told(("delta",), 2.0)


def test_other_model_other_data_other_split_are_refused(issued: Report, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    file = put(issued.document, tmp_path)
    other = tmp_path / "model"
    shutil.copytree(model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (other / "model.safetensors").write_bytes(bytes(weights))
    with pytest.raises(Refused, match="cannot be computed again"):
        evenhand.verify(file, other, data)
    shutil.rmtree(other)
    evenhand.fit(data, **{**QUICK, "settings": {"max_epochs": "1"}}, certify_share=0.25).model.save(other)
    with pytest.raises(Refused, match=r"model\.sha256"):
        evenhand.verify(file, other, data)
    swapped = data.chosen.copy()
    swapped[0], rejected = data.rejected[0], data.rejected.copy()
    rejected[0] = data.chosen[0]
    with pytest.raises(Refused, match=r"data\.read_sha256"):
        evenhand.verify(file, model, replace(data, chosen=swapped, rejected=rejected))
    with pytest.raises(Refused, match=r"data\.file_sha256"):
        evenhand.verify(file, model, replace(data, fingerprint="0" * 64))
    shutil.rmtree(other)
    evenhand.fit(data, **{**QUICK, "seed": 2}, certify_share=0.25).model.save(other)
    with pytest.raises(Refused, match="'model"):
        evenhand.verify(file, other, data)


@pytest.mark.parametrize(
    ("path", "text"), [("d_upper", "1e999"), ("seal", "[" * 900 + "]" * 900), ("delta", "5e-324"), ("gamma", "1" * 400)]
)
def test_hostile_values_are_refused(path: str, text: str, issued: Report, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    """What JSON can hold and a certificate cannot."""
    out = json.dumps({**issued.document, path: "HERE"}).replace('"HERE"', text)
    (tmp_path / "certificate.json").write_text(out)
    with pytest.raises(Refused):
        evenhand.verify(tmp_path / "certificate.json", model, data)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 1}', '{"format": NaN}', "{}", "\ufeff{}", "[" * 100_000])
def test_files_that_are_no_certificate_are_refused(text: str, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(text)
    with pytest.raises(Refused):
        evenhand.verify(file, model, data)


def test_the_same_request_gives_the_same_bytes(issued: Report, model: Path, data: PreferenceData, tmp_path: Path) -> None:
    again = evenhand.certify(model, data, **ASKED)
    assert again.json() == issued.json()
    path = issued.save(tmp_path).with_suffix(".json")
    assert read_document(path) == issued.document
    assert evenhand.verify(path, model, data).document == issued.document


# ---- what is shown


def test_page_and_markdown_say_what_is_claimed_and_what_is_not(model: Path, data: PreferenceData, tmp_path: Path) -> None:
    report = evenhand.certify(model, data, **{**ASKED, "gamma": 0.01})
    assert (report.exit_code, report.document["certified"]) == (1, False)
    report.save(tmp_path)
    page, short = ((tmp_path / f"certificate.{kind}").read_text() for kind in ("html", "md"))
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    for shown in (page, short):
        assert "NOT CERTIFIED" in shown
        assert report.document["seal"] in shown
        assert "policy that was trained on these rewards" in shown
        assert "evenhand verify certificate.json" in shown
        assert "users needed" in shown
    everything = page + short + report.json()
    assert not any(f"{user}" in everything for user in data.users)
    assert not any(text in everything for text in data.texts if len(text) > 20)


def bound(name: str, q: float, low: float, high: float) -> EventBound:
    return EventBound(name, q, low, high, 40, 160)


def made_up(events: tuple[EventBound, ...], widest: tuple[str, ...], gamma: float, d_upper: float) -> Report:
    """A certificate of these events, as a page."""
    made = Certificate("dp", gamma, 0.05, "hoeffding", None, events, ((0, 1),), widest, 80, 0.1, d_upper - 0.1, d_upper, d_upper <= gamma)
    return report(Issued(made, {"certified": made.certified}, "a model", "soft", "claim", "rule", "checked", (), {"seal sha256": "0"}, {}))


def test_the_figure_shows_gamma_where_the_widest_gap_begins() -> None:
    """0.7 - 0.35 = 0.35 is the widest: a stretch of 0.3 from 0.35 on ends at 0.65, before the upper end of "b"."""
    made = made_up((bound("a", 0.4, 0.35, 0.45), bound("b", 0.6, 0.5, 0.7), bound("c", 0.5, 0.3, 0.69)), ("a", "b"), 0.3, 0.35)
    (figure,) = made.page.first
    assert "from the lower end of a; certified where the upper end of b lies in it" in figure.note
    assert figure.sentence == "Rates go from 0.4000 (a) to 0.6000 (b)."
    svg = figure.plot(400)
    ticks = [float(t) for t in re.findall(r">(\d\.\d+)</text>", svg)]
    assert 0.2 < min(ticks) < max(ticks) < 0.8  # a fraction, as everywhere else on the page
    assert "%" not in svg
    assert "as wide as gamma" in svg
    alone = made_up((bound("matched sets", 0.04, 0.0, 0.09),), ("matched sets",), 0.1, 0.09)
    assert alone.page.first[0].sentence == "The mean gap is 0.0400, at most 0.0900."
    assert (alone.page.tone, alone.exit_code, made.page.tone, made.exit_code) == ("pass", 0, "insufficient", 1)


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_labels_lie_inside_the_figure(tmp_path: Path) -> None:
    names = ("a very long name of an event, longer than there is room", "許多名字都是很長的名字都是很長的名字", "c")
    made = made_up(tuple(bound(n, 0.4 + i / 10, 0.35, 0.7) for i, n in enumerate(names)), names[:2], 0.05, 0.35)
    browser = chromium.Browser()
    try:
        for width in (400, 1280):
            browser.open(made.save(tmp_path), width, False)
            browser.evaluate("document.body.style.fontFamily = 'DejaVu Sans, sans-serif'")
            assert browser.complaints() == []
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.evaluate(OUTSIDE) == []
    finally:
        browser.close()


OUTSIDE = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
    const box = s.getBoundingClientRect();
    return [...s.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
        return b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2; }).map(t => t.textContent)
})"""


def test_command_line_certifies_verifies_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evenhand.data.simulate import write_sample

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    write_sample(tmp_path / "choices.jsonl", users=60, minority=0.4, pairs_per_user=30)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    fit = ("fit", "choices.jsonl", "--method", "bradley_terry", "--head", "linear", "--set", "max_epochs=1", "--encoder", "none")
    assert run(*fit, "--certify-share", "0.3")[0] in (0, 1, 3)
    ask = ("certify", "out/model", "choices.jsonl", "--notion", "eo", "--group-by", "taste")
    code, told = run(*ask, "--gamma", "0.9", "--notion", "eo")
    assert code == 0, told
    assert "CERTIFIED: gap at most" in told
    code, told = run(*ask, "--gamma", "0.001", "--out", "small")
    assert code == 1
    assert "Users each event would need at gamma 0.001" in told
    assert run(*ask, "--gamma", "0.9", "--unseen-users")[0] == 3
    code, told = run("verify", "certificate/certificate.json", "out/model", "choices.jsonl")
    assert code == 0, told
    assert "VERIFIED" in told
    document = json.loads((tmp_path / "certificate" / "certificate.json").read_text())
    known = document["data"]["read"]
    assert run(*ask, "--gamma", "0.9", "--missing", "nobody,none", "--out", "third")[0] == 0
    third = json.loads((tmp_path / "third" / "certificate.json").read_text())
    assert third["data"]["read"] == {**known, "missing": ["nobody", "none"]}
    assert run("verify", "third/certificate.json", "out/model", "choices.jsonl")[0] == 0
    for change in ({"gamma": 0.8}, *({"data": {**document["data"], "read": r}} for r in ({"source": 3}, {**known, "missing": [1]}))):
        put(sealed({**document, **change}), tmp_path)
        code, told = run("verify", "certificate.json", "out/model", "choices.jsonl")
        assert code == 1
        assert "REFUSED" in told

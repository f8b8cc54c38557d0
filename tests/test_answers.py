"""The two questions a report answers first, what it says of broken scores, and of groups too small to be compared."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from evenhand.audits import Outcomes, check_requirements
from evenhand.audits.broken import broken
from evenhand.audits.constraints import examine_constraints
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import Requirement
from evenhand.audits.shortfall import Parts, Question, needed
from evenhand.cli.terminal import finish
from evenhand.core import Events, Exclusions, Groups, PreferenceData
from evenhand.report import Report
from evenhand.report.audit import report as made
from evenhand.workflows.audit import audit_scores
from evenhand.workflows.facts import joined
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.settings import AuditSettings


def scored(margin: np.ndarray, group: list[str], pairs: int) -> Report:
    """An audit of score columns: `pairs` pairs of each user, on prompts of his or her own."""
    users, n = len(group), len(group) * pairs
    ids = np.arange(n, dtype=np.int32)
    data = PreferenceData(
        users=tuple(f"u{i}" for i in range(users)), texts=tuple(f"prompt {i}" for i in range(n)),
        user=np.repeat(np.arange(users), pairs).astype(np.int32), prompt=ids, chosen=np.full(n, -1, np.int32),
        rejected=np.full(n, -1, np.int32), numbers={"m": margin}, attributes={"group": tuple(group)}, source="made up",
    )  # fmt: skip
    return audit_scores(data, ["m"], AuditSettings(Grouping(("group",)), resamples=50))


def margins(share: list[float], pairs: int, seed: int = 0) -> np.ndarray:
    """Of each user exactly this share of pairs is right."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.where(np.arange(pairs) < round(s * pairs), 1.0, -1.0)) for s in share]
    return np.concatenate(rows)


def outputs(report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each printer says, white space and typographic signs levelled."""
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(Exception, match=str(report.exit_code)):
        finish(report, tmp_path)
    page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", unescape(report.html()), flags=re.S)
    told = {
        "terminal": capsys.readouterr().out,
        "page": page,
        "Markdown": unescape(report.markdown()).replace("**", ""),
        "notebook": repr(report),
    }
    return {k: re.sub(r"\s+", " ", v.translate(LEVELLED)).replace(" ,", ",").replace(" .", ".").replace(" ;", ";") for k, v in told.items()}


def answers_of(report: Report) -> list[str]:
    return [str(a) for a in report.page.answers]


LEVELLED = str.maketrans({"−": "-", "\u00a0": " ", "“": '"', "”": '"', "’": "'"})
HALF = ["a"] * 100 + ["b"] * 100
CONTROLS = {
    "constant": (np.zeros(4000), "Every margin is 0 or under 1e-06."),
    "nearly all tied": (np.where(np.arange(4000) % 33 == 0, 1.0, 0.0), "97.0 % of all margins are 0 or under 1e-06 (3,878 of 4,000)."),
    "anti-oracle": (np.full(4000, -1.0), "Every group lies under 50 %, worse than a coin"),
    "swapped columns": (margins([0.2] * 200, 20), "Every group lies under 50 %, worse than a coin (accuracy is 20.0 % at best"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_broken_scores_never_pass_and_that_is_said_first(name, tmp_path, capsys, monkeypatch):
    margin, said = CONTROLS[name]
    report = scored(margin, HALF, 20)
    assert (report.verdict, report.exit_code) == ("INSUFFICIENT", 3)
    told = outputs(report, tmp_path, capsys, monkeypatch)
    assert told["terminal"].startswith(said)
    assert told["page"].index(said) < told["page"].index("Is somebody served worse?")
    assert told["Markdown"].index(said) < told["Markdown"].index("Is somebody served worse?")
    assert ("are the columns swapped" in told["terminal"].lower()) == ("50 %" in said)
    suite = ET.fromstring(report.junit())[0]
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["2", "0", "2", "0"]
    assert suite[0][0].tag == "error"
    assert suite[0][0].get("message").startswith(said)


def test_controls_that_are_not_broken_are_judged():
    assert scored(np.ones(9600), HALF * 3, 16).verdict == "PASS"  # an oracle
    fair = margins([0.4, 0.6] * 100, 20)
    report = scored(fair, HALF, 20)
    assert report.verdict == "PASS"
    assert "not clearly better than by a coin: 50.0" in " ".join(answers_of(report))
    one = scored(np.ones(400), ["a"], 400)
    assert one.verdict == "INSUFFICIENT"
    assert not one.document["flaw"]
    worse_for_all_but_one = margins([0.2] * 100 + [0.8] * 100, 20)
    assert scored(worse_for_all_but_one, HALF, 20).verdict == "FAIL"


def test_a_bare_half_is_not_broken_while_noise_can_do_it():
    user = np.repeat(np.arange(200), 10).astype(np.int32)
    uneven = np.repeat(np.arange(20) % 5 < 2, 10)  # 20 users who are always or never right: 40 %, and a wide interval
    assert broken(Outcomes("m", "test", user[:200], np.where(uneven, 1.0, -1.0))) == ""
    steady = np.tile(np.arange(10) < 4, 200)
    assert broken(Outcomes("m", "test", user, np.where(steady, 1.0, -1.0))).startswith(
        "All users together lie under 50 %, worse than a coin (accuracy is 40.0 % at best"
    )


def test_a_constraint_is_not_passed_by_broken_scores():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 10).astype(np.int32)
    events = Events(("a", "b"), (user % 2).astype(np.int16), rng.random(4000) < 0.5, "Made up.")
    constant = examine_constraints(None, Outcomes("m", "test", user, np.zeros(4000)), events, "dp", 0.1, seed=0, resamples=20)
    assert constant.verdict == "INSUFFICIENT"
    assert all(v.reason == "These scores bear no PASS: every margin is 0 or under 1e-06." for v in constant.violations)
    fine = np.where(rng.random(4000) < 0.7, 1.0, -1.0)
    assert examine_constraints(None, Outcomes("m", "test", user, fine), events, "dp", 0.1, seed=0, resamples=20).verdict == "PASS"


def test_a_tiny_cell_does_not_hide_the_gap_of_the_others(tmp_path, capsys, monkeypatch):
    group = ["young & f"] * 60 + ["young & m"] * 60 + ["old & f"] * 25 + ["old & m"] * 3
    share = [0.8] * 60 + [0.55] * 60 + [0.8] * 25 + [0.5] * 3
    report = scored(margins(share, 20), group, 20)
    assert report.verdict == "FAIL"
    told = outputs(report, tmp_path, capsys, monkeypatch)
    for name, said in told.items():
        assert 'Yes. "young & m" (60 users, 1,200 pairs) is served 25.0 points worse' in said, name
        left_out = "Left out, too small: old & f (25 users, 30 needed); 1 group of fewer than 10 users."
        assert left_out in said, name


def test_of_groups_too_small_for_a_verdict_those_that_may_be_shown_are_compared():
    group = ["a"] * 100 + ["b"] * 20 + ["c"] * 2
    report = scored(margins([0.8] * 100 + [0.6] * 20 + [0.1] * 2, 20), group, 20)
    assert report.verdict == "INSUFFICIENT"
    assert report.document["model"]["gap"]["value"] == pytest.approx(0.2)
    first, second = answers_of(report)
    assert "Yes. “b” (20 users, 400 pairs) is served 20.0 points worse" in first
    assert first.endswith("“b” is too small for a verdict.")
    assert second.startswith("By more than 5.0 points? Not decided. Too little data: b: 20 users, 30 needed.")
    assert second.endswith("Left out, too small: 1 group of fewer than 10 users.")
    two = scored(margins([0.8] * 100 + [0.6] * 3, 20), ["a"] * 100 + ["b"] * 3, 20)
    assert two.document["model"]["gap"]["value"] is None  # the gap to a group of three would give it away
    assert "20.0" not in " ".join(answers_of(two))


def test_both_questions_are_answered_alike_in_every_output(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(3)
    share = np.clip(np.concatenate([rng.normal(0.75, 0.2, 60), rng.normal(0.69, 0.2, 60)]), 0, 1)
    report = scored(margins(list(share), 20), ["a"] * 60 + ["b"] * 60, 20)
    answers = [" ".join(a.translate(LEVELLED).split()) for a in answers_of(report)]
    assert answers[0].startswith("Is somebody served worse? ")
    assert re.search(
        r"Not decided\. The simultaneous interval, .* about [\d,]+ more users like these would tell, four times in five\.", answers[1]
    )
    for name, said in outputs(report, tmp_path, capsys, monkeypatch).items():
        for answer in answers:
            assert answer in said, name
    failure = ET.fromstring(report.junit())[0][0][0]
    assert failure.tag == "error"
    assert "would tell" in failure.get("message")
    assert json.loads(report.json())["exit_code"] == 3


def test_three_groups_are_a_span_not_a_pair():
    share = [0.8] * 60 + [0.7] * 60 + [0.6] * 60
    report = scored(margins(share, 20), ["a"] * 60 + ["b"] * 60 + ["c"] * 60, 20)
    assert "Accuracy spans 20.0 points" in answers_of(report)[0]
    assert "from “c” (60 users, 1,200 pairs) to “a”" in answers_of(report)[0]


def test_pairs_are_not_called_rows():
    """A file of 20 votes makes 40 pairs: what a split leaves out are pairs, not rows of the file."""
    votes = PreferenceData(
        ("u",), ("a", "b"), *(np.zeros(0, np.int32) for _ in range(4)), exclusions=Exclusions(20, 20), source="votes.csv"
    )
    lost = joined(votes, Exclusions(40, 30, {"unseen user on a validation prompt": 10}))
    assert (lost.unit, lost.rows_in, lost.rows_used) == ("pairs", 40, 30)
    same = joined(replace(votes, exclusions=Exclusions(42, 40, {"empty": 2})), Exclusions(40, 30, {"unseen user": 10}))
    assert (same.unit, same.rows_in, same.reasons) == ("rows", 42, {"empty": 2, "unseen user": 10})
    report = made(replace(scored(np.ones(1600), HALF, 8).findings, exclusions=lost))
    for said in (report.html(), report.markdown()):
        assert "10 of 40 pairs were left out: 10 unseen user on a validation prompt." in said
        assert "40 rows" not in said
    assert report.tables()["exclusions.csv"].splitlines()[:3] == ["group,reason,pairs", ",pairs in,40", ",pairs used,30"]


# --- how much more would tell ---


def test_what_is_short_is_the_larger_part_of_the_variance():
    def ask(by_user: float, by_prompt: float, value: float = 0.08) -> str:
        return needed(Question(value, 0.05, Parts(by_user, by_prompt), 0.05, 200.0, two_sided=True), 400, 60, "prompt")

    assert re.fullmatch(r"about [\d,]+ more users like these would tell, four times in five", ask(9e-4, 0))
    assert "more prompts like these" in ask(1e-5, 9e-4)
    assert "users" not in ask(1e-5, 9e-4)
    assert re.search(r"more users and [\d,]+ more prompts", ask(9e-4, 9e-4))  # either alone leaves the other part
    assert needed(Question(0.08, 0.05, Parts(np.inf, 0.0), 0.05, 1.0), 1, 0, "prompt") == ""


def test_what_nobody_deviates_from_is_known_as_fast_as_users_come():
    """All pairs right: the bound is 1 - .025^(1/n), which falls with n, not its root. With the users asked for it decides, with few less not."""

    def told(minority: int) -> Requirement:
        return scored(np.ones(25 * minority), ["a"] * 4 * minority + ["b"] * minority, 5).findings.requirements[0]

    asked = re.search(r"about ([\d,]+) more users", told(40).reason)
    assert asked
    enough = (200 + int(asked[1].replace(",", ""))) // 5
    assert enough < 120
    assert [told(n).verdict for n in (enough * 9 // 10, enough + 5)] == ["INSUFFICIENT", "PASS"]


def test_the_number_stated_solves_the_stated_chance():
    """The chance that 400 + N users decide, drawn: the truth from the posterior, the later data from the truth."""
    rng, now, value, limit = np.random.default_rng(0), 0.03, 0.09, 0.05
    told = needed(Question(value, limit, Parts(now**2, 0.0), 0.05, 1e9, two_sided=True), 400, 0, "prompt")
    more = int(re.search(r"([\d,]+) more users", told).group(1).replace(",", ""))
    truth = rng.normal(value, now, 40_000)
    later = rng.normal(truth, now * np.sqrt(400 / more))
    both = (400 * value + more * later) / (400 + more)
    half = 1.96 * now * np.sqrt(400 / (400 + more))
    decided = (np.abs(both) - half > limit) | (np.abs(both) + half <= limit)
    assert decided.mean() == pytest.approx(0.8, abs=0.02)


def test_of_very_many_groups_the_ends_of_the_span_decide():
    """40 groups, more than are compared two by two: the number is still one that a study of that kind can reach."""
    rng = np.random.default_rng(2)
    share = np.clip(np.repeat(rng.normal(0.7, 0.005, 40), 40) + rng.normal(0, 0.1, 1600), 0, 1)
    report = scored(margins(list(share), 20), [f"g{g:02d}" for g in range(40) for _ in range(40)], 20)
    (found,) = report.findings.requirements
    assert found.verdict == "INSUFFICIENT"
    more = int(re.search(r"about ([\d,]+) more users", found.reason).group(1).replace(",", ""))
    assert 100 < more < 100 * 1600


def test_more_prompts_are_asked_for_where_prompts_decide():
    """All users judge the same 20 prompts, of which the minority finds half impossible: users are many, prompts are few."""
    rng = np.random.default_rng(1)
    user, prompt = (a.ravel() for a in np.meshgrid(np.arange(3000), np.arange(20), indexing="ij"))
    groups = Groups(("majority", "minority"), (np.arange(3000) % 2).astype(np.int16), "made up")
    ease = np.stack([np.full(20, 0.75), 0.72 + rng.normal(0, 0.15, 20)])
    right = rng.random(len(user)) < ease[user % 2, prompt]
    outcomes = Outcomes("m", "test", user.astype(np.int32), np.where(right, 1.0, -1.0), prompt=prompt.astype(np.int64))
    found = check_requirements(outcomes, groups)[0]
    assert found.verdict == "INSUFFICIENT"
    assert re.search(r"about [\d,]+ more prompts like these would tell", found.reason)
    own = replace(outcomes, prompt=None)
    assert examine_model(own, groups, resamples=20).gap is not None
    assert "prompts" not in check_requirements(own, groups)[0].reason

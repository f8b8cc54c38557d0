"""Pairs drawn from judgements: the unit is dealt first and pairs are drawn inside the parts. Counts worked out by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import evenhand
from evenhand.audits.deals import Deal, _contrast, over_deals, undecided, verdicts
from evenhand.audits.findings import Requirement
from evenhand.audits.ranking import Judged, unfairness
from evenhand.core import DataError, Estimate, EvenhandError, PreferenceData
from evenhand.data.pairing import PAIRS_PER_USER
from evenhand.data.splits import TEST, TRAIN, VALID, Split, deal, split_pairs
from evenhand.report.audit.sentences import deals_sentence
from evenhand.workflows.deals import DEALS, number_of

PARTS = (TRAIN, VALID, TEST)


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def votes(path: Path, items: int = 40, users: int = 25) -> list[dict]:
    """User u agrees with the items whose number plus u is even; every seventh vote is a pass; all on one topic. g: half of the users."""
    return [
        {
            "user": f"u{u}",
            "item": f"item {i:02}",
            "vote": 0 if (i + u) % 7 == 0 else 1 if (i + u) % 2 == 0 else -1,
            "g": "ab"[u % 2],
            "n": i,
        }
        for u in range(users)
        for i in range(items)
    ]


@pytest.fixture
def voted(tmp_path: Path) -> PreferenceData:
    return evenhand.load(written(tmp_path / "v.jsonl", votes(tmp_path)), attributes=["g"], numbers=["n"])


def items_of(data: PreferenceData, rows: np.ndarray) -> set[str]:
    return {data.texts[t] for t in np.concatenate([data.chosen[rows], data.rejected[rows]])}


def test_votes_are_dealt_first_and_paired_inside_the_parts(voted: PreferenceData) -> None:
    """Of 40 statements 24 / 6 / 10 are dealt; a user's pairs in a part are all agreed x disagreed of that part, 100 at most."""
    data, split = deal(voted, seed=0, unseen_users=0, held_pairs=0)
    assert split.unit == "responses"
    assert not split.exclusions.reasons
    items = [items_of(data, split.rows(p)) for p in PARTS]
    assert [len(i) for i in items] == [24, 6, 10]
    assert not items[0] & items[1] | items[0] & items[2] | items[1] & items[2]
    for part, dealt in zip(PARTS, items, strict=True):
        numbers = [int(i.split()[1]) for i in dealt]
        said = np.array([[0 if (i + u) % 7 == 0 else 1 if (i + u) % 2 == 0 else -1 for i in numbers] for u in range(25)])
        expected = np.minimum((said == 1).sum(axis=1) * (said == -1).sum(axis=1), PAIRS_PER_USER)
        user = [int(data.users[u][1:]) for u in data.user[split.rows(part)]]
        np.testing.assert_array_equal(np.bincount(user, minlength=25), expected)
    assert len(set(zip(data.user.tolist(), data.chosen.tolist(), data.rejected.tolist()))) == len(data)
    before = split_pairs(voted, seed=0, unseen_users=0, held_pairs=0)
    assert before.rows(TEST).sum() < split.rows(TEST).sum() / 2


def test_every_row_of_the_file_is_used_or_left_out_for_a_reason(voted: PreferenceData) -> None:
    data, _ = deal(voted, seed=0)
    left = data.exclusions
    assert left.rows_in == voted.exclusions.rows_in == 1000
    used = {(int(u), int(t)) for u, c, r in zip(data.user, data.chosen, data.rejected) for t in (c, r)}
    assert left.rows_used == len(used)
    passes = sum((i + u) % 7 == 0 for u in range(25) for i in range(40))
    assert left.reasons["a vote that neither agrees nor disagrees"] == passes
    assert sum(sum(lost.values()) for lost in left.by_group.values()) == sum(left.reasons.values())


def test_numbers_go_with_their_responses(voted: PreferenceData) -> None:
    data, _ = deal(voted, seed=3)
    for side, column in (("chosen", data.chosen), ("rejected", data.rejected)):
        assert [f"item {int(n):02}" for n in data.numbers[f"n_{side}"]] == [data.texts[t] for t in column]


def test_a_deal_is_the_same_again_and_another_by_seed(voted: PreferenceData) -> None:
    def drawn(seed: int) -> tuple[list[int], ...]:
        data, split = deal(voted, seed=seed)
        return data.user.tolist(), data.chosen.tolist(), data.rejected.tolist(), split.part.tolist()

    assert drawn(1) == drawn(1) != drawn(2)


def test_ratings_on_one_prompt_keep_strict_pairs(tmp_path: Path) -> None:
    """Ten of each of two scores: 24 ratings in train, 6 in valid, 10 in test; ties, more than half, take no room."""
    rows = [{"user": f"u{u}", "prompt": "p", "response": f"r{i:02}", "score": (i + u) % 2} for u in range(6) for i in range(40)]
    data, split = deal(evenhand.load(written(tmp_path / "r.jsonl", rows)), seed=0, unseen_users=0, held_pairs=0)
    assert data.tie is not None
    for part in PARTS:
        numbers = [int(i[1:]) for i in items_of(data, split.rows(part))]
        even = sum(n % 2 == 0 for n in numbers)
        strict = np.bincount(data.user[split.rows(part) & ~data.tie], minlength=6)
        assert strict.tolist() == [min(even * (len(numbers) - even), PAIRS_PER_USER)] * 6


def test_pairs_with_a_split_of_their_own_are_kept(tmp_path: Path) -> None:
    rows = [r | {"split": ("train", "valid", "test")[i % 3]} for i, r in enumerate(votes(tmp_path))]
    data = evenhand.load(written(tmp_path / "v.jsonl", rows))
    same, split = deal(data, seed=0)
    assert same is data
    assert split.unit == "given"


def pairs(prompts: int, users: int = 30) -> PreferenceData:
    """Two responses of its own for each prompt, judged by all users."""
    user, prompt = (a.ravel().astype(np.int32) for a in np.meshgrid(np.arange(users), np.arange(prompts)))
    texts = [f"p{i}" for i in range(prompts)] + [f"{side}{i}" for i in range(prompts) for side in "ab"]
    return PreferenceData([f"u{u}" for u in range(users)], texts, user, prompt, prompts + 2 * prompt, prompts + 2 * prompt + 1)


def test_sixteen_prompts_are_dealt_where_that_keeps_more() -> None:
    """10 / 2 / 4 prompts and 6 of 30 users unseen: 120 test pairs, 48 of validation, 12 of unseen users on validation prompts left out."""
    _, split = deal(pairs(16), seed=0, held_pairs=0)
    assert split.unit == "prompts"
    assert [int(split.rows(p).sum()) for p in PARTS] == [10 * 24, 2 * 24, 4 * 30]
    assert split.exclusions.reasons == {"unseen user on a validation prompt": 2 * 6}
    assert "16 prompts, under 20: dealing prompts keeps 180 pairs" in split.rule


@pytest.mark.skipif(not Path("../shared/cases/few16.csv").exists(), reason="the shared cases are not here")
def test_the_shared_case_of_sixteen_prompts() -> None:
    path = Path("../shared/cases/few16.csv")
    with path.open() as rows:
        assert len(list(csv.reader(rows))) == 481
    _, split = deal(evenhand.load(path), seed=0)
    assert split.unit == "prompts"
    assert sum(split.exclusions.reasons.values()) == 12


def test_prompts_of_users_of_their_own_are_not_dealt() -> None:
    """12 prompts with 20 users each: dealt prompts would leave test users without a past."""
    some = [pairs(40, 20) for _ in range(12)]
    user = np.concatenate([d.user + 20 * k for k, d in enumerate(some)]).astype(np.int32)
    prompt = np.repeat(np.arange(12), 800).astype(np.int32)
    chosen, rejected = (np.concatenate([getattr(d, side) for d in some]) + 12 for side in ("chosen", "rejected"))
    texts = [f"topic {k}" for k in range(12)] + some[0].texts
    data = PreferenceData([f"u{i}" for i in range(240)], texts, user, prompt, chosen.astype(np.int32), rejected.astype(np.int32))
    assert split_pairs(data, seed=0).unit == "responses"


def test_too_few_of_both_is_told_with_the_rule() -> None:
    data = pairs(4)
    bare = PreferenceData(data.users, data.texts, data.user, data.prompt, *(np.full(len(data), -1, np.int32) for _ in range(2)))
    with pytest.raises(DataError, match="20 distinct prompts, or 2 of them for each part, or both responses"):
        split_pairs(bare, seed=0)
    enough = pairs(16)
    scores = PreferenceData(enough.users, enough.texts, enough.user, enough.prompt, *(np.full(len(enough), -1, np.int32) for _ in range(2)))
    split: Split = split_pairs(scores, seed=0)
    assert split.unit == "prompts"
    assert "no responses to deal instead" in split.rule


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> PreferenceData:
    """The votes with words in the statements."""
    words = ["red", "green", "blue", "north", "south", "early", "late", "warm", "cold", "quick"]
    folder = tmp_path_factory.mktemp("worded")
    rows = [r | {"item": f"{words[r['n'] % 10]} {words[r['n'] // 4]} {words[r['n'] % 7]} {r['n']:02}"} for r in votes(folder, users=70)]
    return evenhand.load(written(folder / "v.jsonl", rows), attributes=["g"])


FAST = {"encoding": evenhand.Encoding(None, dim=8), "resamples": 20, "head": "linear", "group_by": "g"}


def test_fit_averages_over_deals_and_keeps_the_first_model(worded: PreferenceData, tmp_path: Path) -> None:
    one = evenhand.fit(worded, "bradley_terry", deals=1, **FAST)
    two = evenhand.fit(worded, "bradley_terry", deals=2, assignments=tmp_path / "who.csv", **FAST)
    assigned = [(r["user"], r["evenhand_seed"]) for r in csv.DictReader((tmp_path / "who.csv").open())]
    assert assigned == [(user, seed) for seed in "01" for user in worded.users]  # verdicts rest on the groups of both
    assert two.report.findings.facts["model sha256"] == one.report.findings.facts["model sha256"]
    assert two.report.findings.model == one.report.findings.model
    over = two.report.findings.deals
    assert over is not None
    assert over.seeds == (0, 1)
    pairs = [int(deal(worded, seed=s)[1].rows(TEST).sum()) for s in (0, 1)]
    everybody = over.models[0].accuracy[-1]
    assert (everybody.n_users, everybody.n_pairs) == (70, sum(pairs))  # a user of two deals is one user
    assert sum(e.n_users for e in over.models[0].accuracy[:-1]) == 70
    assert [e.n_pairs for e in over.models[0].by_deal] == pairs
    assert all(r.reason.startswith("Over 2 deals: ") for r in two.report.findings.requirements)
    assert "Over 2 deals the gap" in two.report.markdown()
    assert {r.verdict for r in one.report.findings.requirements} == {"INSUFFICIENT"}


def test_one_deal_of_votes_bears_no_verdict() -> None:
    passed = Requirement("gap", Estimate(0.01, 0, 0.02, 100, 900), 0.05, "PASS", "The whole interval lies under 5.")
    (told,) = undecided([passed], "ask for --deals 5")
    assert told.verdict == "INSUFFICIENT"
    assert (
        told.reason
        == "One deal of the responses says nothing of another: ask for --deals 5. In this deal: PASS. The whole interval lies under 5."
    )


def test_how_many_deals() -> None:
    assert number_of(None, "responses", constrained=False, certify_share=0) == DEALS
    assert number_of(None, "prompts", constrained=False, certify_share=0) == 1
    assert number_of(None, "responses", constrained=False, certify_share=0.25) == 1
    for count, unit, share, message in (
        (0, "prompts", 0, "1 to 50"),
        (2, "responses", 0.25, "certify-share"),
        (2, "given", 0, "split column"),
    ):
        with pytest.raises(EvenhandError, match=message):
            number_of(count, unit, constrained=False, certify_share=share)


def made_deal(seed: int, minority: float) -> Deal:
    """40 users in each of two groups with ten pairs on responses of their own; the majority is always right."""
    user, own = np.repeat(np.arange(80), 10), np.arange(800) + 2000 * seed
    share_right = np.where(user < 40, 1.0, minority)
    right = (np.tile(np.arange(10), 80) < 10 * share_right).astype(float)
    none = np.full(800, -1)
    judged = Judged(user, none, own, own + 800, np.full(800, 0.1), np.stack([right, np.full(800, 0.5)]))
    return Deal(seed, judged, ("majority", "minority"), (np.arange(80) >= 40).astype(int))


def test_verdicts_over_deals_by_hand() -> None:
    """Gaps of .1, .2 and .3 in three deals whose users do not differ: .2 ± t(2) · .1 / √3, so a gap under 10 points is not decided."""
    board, found, over = over_deals([made_deal(s, m) for s, m in enumerate((0.9, 0.8, 0.7))], ["ours", "other"], "responses")
    assert [e.value for e in over.models[0].by_deal] == pytest.approx([0.1, 0.2, 0.3])
    gap = over.models[0].gap
    assert gap is not None
    assert (gap.value, gap.group) == (pytest.approx(0.2), "majority minus minority")
    user = (1.5 / 79) ** 2
    variance = 0.01 / 3 + user
    half = stats.t.ppf(0.975, variance**2 / ((0.01 / 3) ** 2 / 2 + user**2 / 78)) * np.sqrt(variance)
    assert (gap.low, gap.high) == pytest.approx((max(-1, 0.2 - half), min(1, 0.2 + half)), abs=2e-3)
    assert [e.value for e in over.models[1].gain] == pytest.approx([0.5, 0.3, 0.4])
    (decided,) = verdicts(board, found, [], tolerance=0.1, seed=0)
    assert decided.verdict == "INSUFFICIENT"
    assert "more deals are needed" in decided.reason
    same = over_deals([made_deal(s, 0.5) for s in range(3)], ["ours", "other"], "responses")
    (failed,) = verdicts(*same[:2], [], tolerance=0.1, seed=0)
    assert failed.verdict == "FAIL"
    equal = over_deals([made_deal(s, 1.0) for s in range(3)], ["ours", "other"], "responses")[:2]
    assert [verdicts(*equal, [], tolerance=t, seed=0)[0].verdict for t in (0.2, 0.1)] == ["PASS", "INSUFFICIENT"]  # 2.8 · 1.5/40 = .105
    alone = [replace(made_deal(s, 0.5), names=("both",), group=np.zeros(80, int)) for s in range(3)]
    (none,) = verdicts(*over_deals(alone, ["ours", "other"], "responses")[:2], [], tolerance=0.1, seed=0)
    assert np.isnan(none.estimate.high)
    assert (none.estimate.n_users, none.estimate.n_pairs) == (80, 2400)
    assert (none.verdict, none.reason) == ("INSUFFICIENT", "Over 3 deals: too little data: fewer than two groups have users.")


def test_a_contrast_has_the_degrees_of_freedom_of_the_groups_that_it_touches() -> None:
    one = made_deal(0, 0.5)
    user = one.judged.user
    right = np.stack([(np.tile(np.arange(10), 80) < 1 + user % 9).astype(float), np.full(800, 0.5)])
    _, found, _ = over_deals([replace(one, judged=replace(one.judged, right=right))], ["ours", "other"], "responses")
    rows = np.zeros((2, 6))
    rows[0, 1], rows[1, [0, 1]] = 1.0, (1.0, -1.0)
    contrasts = _contrast(found, rows)
    assert (contrasts.df.tolist(), contrasts.users.tolist(), contrasts.pairs.tolist()) == ([39, 78], [40, 80], [400, 800])
    of_user = (1 + np.arange(40, 80) % 9) / 10
    assert contrasts.se[0] == pytest.approx(of_user.std(ddof=1) / np.sqrt(40))  # of the group's own users, whoever else there is


def test_the_worst_of_one_group_that_is_large_enough_is_it() -> None:
    group = np.where(np.arange(80) >= 61, 1, 0)
    deals = [replace(made_deal(s, 0.5), group=group) for s in range(2)]
    worst = verdicts(*over_deals(deals, ["ours", "other"], "responses")[:2], ["worst_group>=0.3"], tolerance=0.1, seed=0)[1]
    assert (worst.verdict, worst.estimate.group, worst.estimate.n_users) == ("PASS", "majority", 61)


@pytest.mark.parametrize(("right", "told"), [(0.5, "no margin differs from 0"), (0.2, "every group lies under 50 %")])
def test_broken_scores_pass_nothing(right: float, told: str) -> None:
    some = [made_deal(s, 0.5) for s in range(5)]
    broken = [replace(d, judged=replace(d.judged, right=np.full((2, 800), right))) for d in some]
    (found,) = verdicts(*over_deals(broken, ["ours", "other"], "responses")[:2], [], tolerance=0.9, seed=0)
    assert (found.verdict, told in found.reason) == ("INSUFFICIENT", True)


def test_a_user_who_changes_groups_is_one_user() -> None:
    """80 users, of whom ten are in the majority of one deal and in the minority of the other: 50 and 40 users in the groups, 80 in all."""
    some = [made_deal(s, 0.5) for s in range(2)]
    moved = replace(some[1], group=(np.arange(80) >= 50).astype(int))
    board, found, over = over_deals([some[0], moved], ["ours", "other"], "responses")
    (decided,) = verdicts(board, found, [], tolerance=0.1, seed=0)
    assert found.users.tolist() == [50, 40, 80]
    assert over.models[0].gap is not None
    assert over.models[0].gap.n_users == decided.estimate.n_users == 80
    (row, *_) = unfairness(board, found, 0, resamples=10, seed=0)["ours"]
    assert (row.name, row.value.n_users) == ("gap", 80)


def test_a_gap_between_three_groups_over_deals() -> None:
    """Right in all, half and none of the pairs: best minus worst is 1, by every deal and over all; the verdict has the same gap."""
    right = np.repeat([1.0, 0.5, 0.0], 40)

    def three(seed: int) -> Deal:
        user, own = np.repeat(np.arange(120), 10), np.arange(1200) + 3000 * seed
        of = (np.tile(np.arange(10), 120) < 10 * right[user]).astype(float)
        judged = Judged(user, np.full(1200, -1), own, own + 1200, np.full(1200, 0.1), np.stack([np.full(1200, 0.5), of]))
        return Deal(seed, judged, ("a", "b", "c"), np.repeat([0, 1, 2], 40))

    *_, over = over_deals([three(s) for s in range(2)], ["flat", "uneven"], "responses")
    flat, uneven = (m.gap for m in over.models)
    assert flat is not None
    assert uneven is not None
    assert (flat.value, uneven.value, uneven.group) == (0, pytest.approx(1), "a minus c (best minus worst)")
    assert [e.value for e in over.models[1].by_deal] == pytest.approx([1, 1])
    assert 0.8 < uneven.low < uneven.high <= 1.0
    assert "Over 2 deals the gap (" in deals_sentence(over, "flat")
    assert "Over 2 deals of flat, the gap (" in deals_sentence(over, "another one, which the first deal chose")


def test_one_tiny_group_hides_no_gap_over_deals() -> None:
    """A second group too small for a verdict, but not to be shown, is compared with the first; the group of one user is left out."""
    some = [made_deal(s, 0.5) for s in range(2)]
    group = np.where(np.arange(80) == 79, 2, np.where(np.arange(80) >= 60, 1, 0))
    deals = [replace(d, names=("a", "b", "one"), group=group) for d in some]
    (found,) = verdicts(*over_deals(deals, ["ours", "other"], "responses")[:2], [], tolerance=0.1, seed=0)
    assert found.estimate.group == "a minus b"
    assert "1 group of fewer than 10 users" in found.reason


def test_a_saved_model_finds_its_deal_again(worded: PreferenceData, tmp_path: Path) -> None:
    """`audit` of the file that a model was trained on draws the very pairs of its fit, and says whose deal the groups are."""
    fitted = evenhand.fit(worded, "bradley_terry", deals=1, seed=3, **FAST)
    fitted.model.save(tmp_path / "model")
    asked = {"resamples": 20, "group_by": FAST["group_by"], "assignments": tmp_path / "who.csv"}
    again = evenhand.audit(worded, model=tmp_path / "model", **asked).findings.model.overall
    assert again == fitted.report.findings.model.overall
    assert again.n_pairs == deal(worded, seed=3)[1].rows(TEST).sum()
    assert {r["evenhand_seed"] for r in csv.DictReader((tmp_path / "who.csv").open())} == {"3"}

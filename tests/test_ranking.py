"""Several models on the same pairs: levels, paired differences, dominance, fronts. Numbers against closed forms and simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evenhand.audits.metrics import USER_METRICS
from evenhand.audits.ranking import Board, Judged, correlation, dominance, front, knee, levels, over_seeds, pairwise, ranked, unfairness
from evenhand.core import Estimate
from evenhand.workflows.comparing import traded


def board(accuracy: np.ndarray, group: np.ndarray | None = None, names: tuple[str, ...] = ("a", "b", "c")) -> Board:
    """accuracy [entries, seeds, users]."""
    entries, seeds, users = accuracy.shape
    group = np.zeros((seeds, users), int) if group is None else group
    known = tuple(f"g{i}" for i in range(group.max() + 1))
    pairs = np.where(np.isnan(accuracy[0]), 0, 10)
    return Board(names[:entries], known, accuracy, group, np.tile(np.linspace(0.2, 0.9, users), (seeds, 1)), pairs)


def contrast(e: np.ndarray, a: int, b: int) -> np.ndarray:
    row = np.zeros(len(e))
    row[a], row[b] = 1, -1
    return row


def test_one_seed_is_a_plain_t_interval_over_users() -> None:
    p = np.random.default_rng(0).uniform(size=(1, 1, 40))
    found = levels(board(p)).estimate(np.ones(1), 0, "accuracy", "g0")
    low, high = stats.t.interval(0.95, 39, p.mean(), stats.sem(p.ravel()))
    assert (found.value, found.low, found.high) == pytest.approx((p.mean(), low, high))
    assert (found.n_users, found.n_pairs) == (40, 400)


def test_a_difference_is_paired_by_user() -> None:
    rng = np.random.default_rng(1)
    skill = rng.uniform(0.3, 0.7, size=50)
    p = np.stack([skill + 0.05 + rng.normal(0, 0.01, 50), skill])[:, None]
    found = levels(board(p)).estimate(np.array([1.0, -1.0]), 0, "difference", "g0")
    low, high = stats.t.interval(0.95, 49, (p[0] - p[1]).mean(), stats.sem((p[0] - p[1]).ravel()))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.high - found.low < 0.01  # the users' own spread of .4 is not in it


def test_the_same_users_in_another_seed_are_no_new_users() -> None:
    p = np.random.default_rng(2).uniform(size=(1, 1, 30))
    once, twice = levels(board(p)), levels(board(np.repeat(p, 4, axis=1)))
    assert twice.estimate(np.ones(1), 0, "", "").low == pytest.approx(once.estimate(np.ones(1), 0, "", "").low)


def test_a_user_may_change_groups_between_seeds_and_be_missing_from_one() -> None:
    p = np.array([[[1.0, 0.5, 0.0], [0.2, np.nan, 0.4]]])
    found = levels(board(p, np.array([[0, 0, 1], [1, 0, 1]])))
    assert found.value[0] == pytest.approx([(1.0 + 0.5) / 2, (0.0 + 0.2 + 0.4) / 3, (1 + 0.5 + 0 + 0.2 + 0.4) / 5])
    assert found.users.tolist() == [2, 2, 3]
    assert found.users_in([0, 1]) == 3  # who is in both is one user
    assert found.pairs.tolist() == [20, 30, 50]


def test_coverage_of_ratio_intervals_with_two_seeds_and_moving_groups() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(400):
        truth = rng.normal(0.6, 0.1, size=60)
        group = (rng.random((2, 60)) < 0.4).astype(int)
        p = np.clip(truth + rng.normal(0, 0.1, size=(1, 2, 60)), 0, 1)
        e = levels(board(p, group)).estimate(np.ones(1), 1, "", "")
        held += e.low <= 0.6 <= e.high
    assert 0.92 <= held / 400 <= 0.98


def test_intervals_of_pairwise_comparisons_hold_at_once() -> None:
    """Eight equal entries, 28 pairwise: alone, 5 % of each would be wrong and most boards would name a winner."""
    rng, wrong, alone = np.random.default_rng(4), 0, 0
    for trial in range(200):
        b = board(rng.uniform(size=(8, 1, 40)), names=tuple("abcdefgh"))
        found = levels(b)
        wrong += any(d.verdict != "undecided" for d in pairwise(b, found, trial))
        single = [found.estimate(contrast(np.zeros(8), i, j), 0, "", "") for i in range(8) for j in range(i)]
        alone += any(e.low > 0 or e.high < 0 for e in single)
    assert wrong / 200 <= 0.09
    assert alone / 200 > 0.3


def test_a_clear_winner_is_named_in_both_directions() -> None:
    rng = np.random.default_rng(5)
    base = rng.uniform(0.4, 0.6, size=(1, 80))
    group = np.repeat([[0, 1]], 40, axis=1).reshape(1, 80)
    b = board(np.stack([base + 0.1, base, base + np.where(group, -0.1, 0.1)]) + rng.normal(0, 0.01, (3, 1, 80)), group)
    said = {(d.first, d.second): d.verdict for d in pairwise(b, levels(b), 0)}
    assert said == {("a", "b"): "dominates clearly", ("a", "c"): "dominates", ("b", "c"): "trades"} or said == {
        ("a", "b"): "dominates clearly", ("a", "c"): "undecided", ("b", "c"): "trades"
    }  # fmt: skip


def shared(rng: np.random.Generator, users: int = 60, prompts: int = 30, deals: int = 1) -> Board:
    """Two models that are equal but for prompts, which each finds easier or harder: all users judge the same test prompts."""
    user, prompt = np.repeat(np.arange(users), 8), np.concatenate([rng.permutation(prompts)[:8] for _ in range(users)])
    none, easier = np.full(len(user), -1), rng.normal(0, 0.15, (2, prompts))
    right = [(rng.random((2, len(user))) < np.clip(0.65 + easier[:, prompt], 0, 1)).astype(float) for _ in range(deals)]
    judged = tuple(Judged(user, prompt, none, none, np.full(len(user), 1 / 8), r) for r in right)
    found = board(np.stack([[np.bincount(user, r) / 8 for r in s] for s in right], axis=1))
    return replace(found, judged=judged)


def test_prompts_that_users_share_are_no_evidence_of_dominance() -> None:
    """30 test prompts for all: by user alone every sixth comparison of equal models has a winner."""
    rng, wrong, alone = np.random.default_rng(7), 0, 0
    for trial in range(150):
        b = shared(rng)
        wrong += pairwise(b, levels(b), trial)[0].verdict != "undecided"
        alone += pairwise(b, levels(replace(b, judged=())), trial)[0].verdict != "undecided"
    assert wrong / 150 <= 0.09
    assert alone / 150 > 0.12


def test_the_deal_is_a_unit_by_hand() -> None:
    """In three deals every user gains .1, 0 and -.1: no user differs from another, and the mean is known to t(2) · .1 / √3."""
    gain = np.array([0.1, 0.0, -0.1])[:, None] * np.ones((1, 50))
    b = board(np.stack([0.6 + gain, np.full((3, 50), 0.6)]))
    found, row = levels(b), np.array([1.0, -1.0])
    low, high = stats.t.interval(0.95, 2, 0, 0.1 / np.sqrt(3))
    by_run = found.by_run(row, 0, "", "")
    assert (by_run.low, by_run.high) == pytest.approx((low, high))
    everything, fixed = found.estimate(row, 0, "", ""), found.in_these_deals(row, 0, "", "")
    deal, user = 0.01 / 3, (1.5 / 50) ** 2  # users who all agree: a half width of 3/n
    half = stats.t.ppf(0.975, (deal + user) ** 2 / (deal**2 / 2 + user**2 / 49)) * np.sqrt(deal + user)
    assert (everything.low, everything.high) == pytest.approx((-half, half))
    assert fixed.high - fixed.low < 0.15


def test_a_tiny_group_neither_decides_nor_hides_a_choice() -> None:
    assert traded(np.array([40, 1, 12, 0])).tolist() == [0, 2]
    assert traded(np.array([40, 3, 0])).tolist() == [0, 1]


def test_one_deal_says_nothing_of_another() -> None:
    b = board(np.random.default_rng(8).uniform(size=(2, 1, 40)))
    (pair,) = pairwise(b, levels(b), 0)
    assert pair.differences == pair.in_these_deals
    assert (pair.by_run[0].low, pair.by_run[0].high) == (-1.0, 1.0)


def test_intervals_hold_where_deals_differ() -> None:
    rng, held, fixed = np.random.default_rng(9), 0, 0
    for _ in range(300):
        p = rng.uniform(0.4, 0.8, 60) + rng.normal(0, 0.05, (2, 4, 60)) + rng.normal(0, 0.03, (2, 4, 1))
        found = levels(board(p))
        e, f = (of(np.array([1.0, -1.0]), 0, "", "") for of in (found.estimate, found.in_these_deals))
        held += e.low <= 0 <= e.high
        fixed += f.low <= 0 <= f.high
    assert 0.93 <= held / 300 <= 0.99
    assert fixed / 300 < 0.6


def difference(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, low, high, 10, 100)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([(0.1, 0.2, 0.3), (0.1, 0.2, 0.3)], "dominates clearly"),
        ([(-0.1, 0.0, 0.1), (0.1, 0.2, 0.3)], "dominates"),
        ([(-0.2, -0.01, 0.1), (0.1, 0.2, 0.3)], "undecided"),
        ([(-0.3, -0.2, -0.1), (0.1, 0.2, 0.3)], "trades"),
        ([(-0.1, 0.05, 0.1), (-0.1, 0.05, 0.3)], "undecided"),
        ([(-0.3, -0.2, -0.1), (-0.3, 0.0, 0.2)], "is dominated"),
        ([(-0.3, -0.2, -0.1), (-0.3, -0.2, -0.1)], "is dominated clearly"),
    ],
)
def test_dominance_in_words(groups: list[tuple[float, float, float]], said: str) -> None:
    assert dominance([difference(*g) for g in groups]) == said


def test_front_by_hand() -> None:
    names = ["base", "left", "middle", "right", "worse", "trap"]
    valid = np.array([[0.50, 0.50], [0.52, 0.60], [0.55, 0.59], [0.57, 0.51], [0.51, 0.50], [0.49, 0.70]])
    test = np.array([[0.50, 0.50], [0.51, 0.58], [0.54, 0.57], [0.56, 0.49], [0.58, 0.60], [0.48, 0.66]])
    found = front(names, valid, test, "base")
    assert set(found.best) == {"left", "middle", "right", "trap"}
    assert found.chosen == "middle"  # trap has the larger mean, but harms the first group
    assert found.hypervolume_selection == pytest.approx(2 * 10 + 3 * 9 + 2 * 1)  # steps right of (50, 50), in points^2
    assert found.hypervolume_held_out == pytest.approx(1 * 8 + 3 * 7)  # right fell below the reference on test pairs, and trap
    assert set(found.best_held_out) == {"worse", "trap"}


def test_the_knee_is_the_corner() -> None:
    points = np.array([[0.0, 1.0], [0.8, 0.9], [1.0, 0.0]])
    assert knee(["a", "b", "c"], points) == "b"
    assert knee(["a", "c"], points[[0, 2]]) == ""
    assert knee(["a", "b", "c"], np.array([[0.0, 1.0], [0.1, 0.2], [1.0, 0.0]])) == ""  # a dent is no knee


def test_nothing_beats_the_reference() -> None:
    found = front(["base", "worse"], np.array([[0.6, 0.6], [0.5, 0.7]]), np.array([[0.6, 0.6], [0.5, 0.7]]), "base")
    assert found.chosen == "base"
    assert found.hypervolume_selection == 0


def test_unfairness_of_equal_entries_does_not_differ() -> None:
    rng = np.random.default_rng(6)
    p = rng.uniform(0.3, 0.9, size=(1, 2, 60))
    group = np.tile((np.arange(60) < 15).astype(int), (2, 1))
    b = board(np.repeat(p, 2, axis=0), group)
    found = unfairness(b, levels(b), 0, resamples=200, seed=0)
    assert all(u.difference is None for u in found["a"])
    by_name = {u.name: u for u in found["b"]}
    assert {"gap", "Gini", "worst decile", "correlation with support"} <= by_name.keys()
    assert all(u.difference is not None and u.difference.value == 0 for u in found["b"])
    mean = p[0].mean(axis=0)
    assert by_name["worst decile"].value.value == pytest.approx(np.sort(mean)[:6].mean())
    assert by_name["gap"].value.value == pytest.approx(p[0][:, 15:].mean() - p[0][:, :15].mean())
    assert by_name["correlation with support"].value.value == pytest.approx(stats.spearmanr(mean, np.linspace(0.2, 0.9, 60)).statistic)
    assert all(u.value.low <= u.value.value <= u.value.high for u in found["b"])


def test_ranks_are_scipys_to_the_bit() -> None:
    draw = np.random.default_rng(0)
    for n in (1, 2, 3, 40):
        for values in (draw.random(n), draw.integers(0, 5, n) / 7, np.zeros(n)):
            assert np.array_equal(ranked(values), stats.rankdata(values))


def test_correlation_of_a_constant_is_unknown() -> None:
    assert np.isnan(correlation(np.full(5, 0.5), np.arange(5.0)))
    assert np.isnan(correlation(np.array([0.5, np.nan, 0.1, 0.2]), np.arange(4.0)))
    assert np.isnan(correlation(np.arange(4.0), np.array([0.5, np.nan, 0.1, 0.2])))
    b = board(np.full((2, 1, 12), 0.5))
    assert {u.name for u in unfairness(b, levels(b), 0, resamples=20, seed=0)["b"]} == set(USER_METRICS)
    told = board(np.stack([np.full((1, 12), 0.5), np.linspace(0.2, 0.8, 12)[None]]))
    apart = unfairness(told, levels(told), 0, resamples=20, seed=0)["b"][-1].difference
    assert apart is not None
    assert np.isnan([apart.value, apart.low, apart.high]).all()
    assert (apart.n_users, apart.n_pairs) == (12, 120)


def test_spread_over_seeds() -> None:
    p = np.array([[[0.5, 0.7], [0.6, 0.8], [0.4, 0.6]]])
    assert over_seeds(board(p))[0] == pytest.approx([0.1, 0.1])
    assert np.isnan(over_seeds(board(p[:, :1]))).all()
    groups = board(np.array([[[0.5, 0.7, np.nan], [0.6, 0.9, 0.3]]]), np.array([[0, 1, 1], [0, 1, 0]]))
    assert over_seeds(groups)[0] == pytest.approx([0.05 / np.sqrt(2), 0.2 / np.sqrt(2), 0])

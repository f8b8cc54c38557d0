"""Statistics of gaps between texts, against enumerated flips and deals, scipy, and worlds whose gaps are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from evenhand.core import EvenhandError
from evenhand.texts.audit import Measure
from evenhand.texts.audit import Tested as OwnTest
from evenhand.texts.findings import Gap, Run
from evenhand.texts.grid import Axis, Grid
from evenhand.texts.statistics.deals import deal, deal_profiles
from evenhand.texts.statistics.flips import permuted, share
from evenhand.texts.statistics.gaps import gaps, level, usable
from evenhand.texts.statistics.holm import holm, holm_of
from evenhand.texts.statistics.moves import moved
from evenhand.texts.statistics.verdicts import requirements
from evenhand.texts.table import TextTable

NAN = float("nan")


def grid(*unmatched: int, matched: Sequence[int] = (2,)) -> Grid:
    def axis(name: str, size: int, compared: bool) -> Axis:
        return Axis((name,), tuple((f"{name}{v}",) for v in range(size)), compared)

    return Grid(
        "made up",
        "",
        (*(axis(f"u{i}", n, False) for i, n in enumerate(unmatched)), *(axis(f"g{i}", n, True) for i, n in enumerate(matched))),
    )


def given(of: Grid, values: np.ndarray, *, masked: bool = False, **more: object) -> tuple[Measure, TextTable]:
    """values [blocks, *shape, draws(, parts)]; nan in all parts after the first draws = no such text, unless `more` has undefined."""
    x = values.reshape(len(of), values.shape[1 + len(of.shape)], *values.shape[2 + len(of.shape) :])
    there = ~np.isnan(x if x.ndim == 2 else x[..., 0])
    if "undefined" in more:
        there[:] = True
    cell, draw = np.nonzero(there)
    return Measure("m", x[there], "made up", **more), TextTable(of, "run", ("",) * len(cell), cell, draw, masked=masked)  # type: ignore[arg-type]


def one(of: Grid, values: np.ndarray, axis: int = 0, **more: object) -> Gap:
    return gaps("audit", *given(of, values, **more))[axis]


def test_rounding_is_no_gap() -> None:
    """The same texts for both groups, but for the last digit, always on the same side: in 2 blocks, in 12, and in another order."""
    for blocks in (2, 12):
        by_block = np.linspace(-0.01, 0.01, blocks)[:, None, None] + np.zeros((blocks, 2, 3))
        found = one(grid(blocks), by_block + np.array([0.0, 1e-18])[None, :, None])
        assert found.signed.value == 0
        assert found.absolute == 0
        assert found.p == found.systematic_p == 1
        assert np.isnan(found.mde)
        draws = np.random.default_rng(0).normal(size=(blocks, 1, 3))
        found = one(grid(blocks), np.concatenate([draws, draws[..., ::-1] + 1e-15], axis=1))
        assert found.signed.value == 0
        assert found.p > 0.5
    assert one(grid(12), by_block + np.array([0.0, 1e-8])[None, :, None]).p < 0.01


def test_signed_gap_is_the_t_test_of_blocks() -> None:
    x = np.random.default_rng(0).normal(size=(12, 3, 2, 4)) + np.array([0.0, 0.4])[None, None, :, None]
    of = grid(12, matched=(3, 2))
    found = one(of, x, axis=1)
    by_block = (x[:, :, 1] - x[:, :, 0]).mean(axis=(1, 2))
    low, high = ttest_1samp(by_block, 0).confidence_interval()
    assert (found.signed.value, found.signed.low, found.signed.high) == pytest.approx((by_block.mean(), low, high))
    assert found.d.value == pytest.approx(by_block.mean() / x.std(ddof=1))
    assert found.mde == pytest.approx(2.8 * by_block.std(ddof=1) / sqrt(12) / x.std(ddof=1))
    assert (found.contrast, found.signed.n_users, found.n_pairs, found.n_draws) == (("g10", "g11"), 12, 36, 4)
    group = x[:, :, 1].mean(axis=(1, 2))
    assert dict(found.groups)["g11"].value == pytest.approx(group.mean())
    assert dict(found.groups)["g11"].high == pytest.approx(ttest_1samp(group, 0).confidence_interval().high)
    assert dict(found.groups)["g11"].n_pairs == 144


def test_p_is_the_share_of_enumerated_flips_of_whole_blocks() -> None:
    x = np.random.default_rng(3).normal(size=(10, 2, 2, 1)) + np.array([0.0, 0.5])[None, None, :, None]
    by_block = (x[:, :, 1] - x[:, :, 0]).sum(axis=(1, 2))
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    exact = (np.abs(signs @ by_block) >= abs(by_block.sum()) - 1e-9).mean()
    assert 0.01 < exact < 0.5
    assert one(grid(10, matched=(2, 2)), x, axis=1).p == pytest.approx(exact, abs=3.5 * sqrt(exact / 2000))


def test_p_of_three_groups_is_the_share_of_enumerated_permutations() -> None:
    mean = np.random.default_rng(5).normal(size=(4, 3)) + np.array([0.0, 0.2, 0.9])

    def statistic(m: np.ndarray) -> float:
        pairs = [m[:, j] - m[:, i] for i, j in ((0, 1), (0, 2), (1, 2))]
        return max(g.mean() ** 2 / (g.var() / len(g)) for g in pairs)

    orders = list(itertools.permutations(range(3)))
    null = [statistic(np.stack([mean[b, list(o)] for b, o in enumerate(each)])) for each in itertools.product(orders, repeat=4)]
    exact = np.mean(np.array(null) >= statistic(mean) - 1e-9)
    gap = mean[:, None, :] - mean[:, :, None]
    observed, drawn = permuted(gap[..., None], np.ones((4, 3, 3), int), 4000, 0)
    assert observed == pytest.approx(statistic(mean))
    assert share(observed, drawn, lambda: 0.0) == pytest.approx(exact, abs=3.5 * sqrt(exact * (1 - exact) / 4000))


def test_the_tail_beyond_the_permutations_is_that_of_all_flips() -> None:
    """16 blocks have 65,536 flips: p of about .0002, which 2,000 permutations do not see."""
    x = np.random.default_rng(8).normal(size=(16, 2, 2)) + np.array([0.0, 1.5])[None, :, None]
    by_block = (x[:, 1] - x[:, 0]).mean(axis=1)
    signs = np.array(list(itertools.product((-1, 1), repeat=16)))
    exact = (np.abs(signs @ by_block) >= abs(by_block.sum()) - 1e-9).mean()
    assert 0 < exact < 0.002
    assert exact / 3 < one(grid(16), x).p < 3 * exact


def test_no_p_is_smaller_than_one_of_all_arrangements() -> None:
    x = np.zeros((12, 2, 2))
    x[:11, 1] = np.random.default_rng(0).normal(1, 1e-3, (11, 1))  # all the same way, but one block without a gap
    assert one(grid(12), x).p == pytest.approx(2 / 2**11)


def test_systematic_gap_by_hand_and_its_p_by_enumerated_deals() -> None:
    x = np.array([[[1.0, 2.0], [4.0, 6.0]], [[0.0, 1.0], [0.5, 1.5]], [[2.0, 2.5], [1.0, 0.0]]])
    found = deal(x, 4000, 0)
    # (5 - 1.5)² - .5/2 - 2/2; (1 - .5)² - .5/2 - .5/2; (.5 - 2.25)² - .125/2 - .5/2
    assert found.excess[:, 0] == pytest.approx([11.0, -0.25, 2.75])
    assert found.absolute[:, 0] == pytest.approx([3.5, 0.5, 1.75])

    def excess(a: np.ndarray, b: np.ndarray) -> float:
        return float((a.mean() - b.mean()) ** 2 - a.var(ddof=1) / 2 - b.var(ddof=1) / 2)

    every, gap = [], []
    for pair in x:
        pool, sides = pair.ravel(), list(itertools.combinations(range(4), 2))
        dealt = [(pool[list(s)], pool[[i for i in range(4) if i not in s]]) for s in sides]
        every.append([excess(a, b) for a, b in dealt])
        gap.append(np.mean([abs(a.mean() - b.mean()) for a, b in dealt]))
    assert [np.mean(e) for e in every] == pytest.approx([0, 0, 0], abs=1e-12)
    sums = np.array([sum(s) for s in itertools.product(*every)])
    exact = (sums >= 13.5 - 1e-9).mean()
    assert found.p == pytest.approx(exact, abs=3.5 * sqrt(exact / 4000))
    assert found.null[:, 0] == pytest.approx(gap, rel=0.05)


def test_draws_may_be_unequal_and_a_single_one_tells_nothing_of_its_noise() -> None:
    x = np.array([[[1.0, 3.0, NAN], [0.0, 3.0, 6.0]], [[1.0, NAN, NAN], [5.0, 6.0, 7.0]]])
    found = deal(x, 200, 0)
    assert found.excess[0, 0] == pytest.approx((3 - 2) ** 2 - 2 / 2 - 9 / 3)
    assert np.isnan([found.excess[1, 0], found.absolute[1, 0], found.null[1, 0]]).all()


def test_systematic_gap_sees_gaps_that_cancel_out_and_the_signed_one_does_not() -> None:
    rng = np.random.default_rng(0)
    own = np.where(np.arange(40) % 2, 1.0, -1.0)[:, None]
    x = rng.normal(size=(40, 2, 4))
    x[:, 1] += own
    found = one(grid(40), x)
    assert found.systematic.low < 1 < found.systematic.high
    assert found.systematic.low > 0.3
    assert found.systematic_p < 1e-3
    assert found.p > 0.2
    assert found.absolute > found.null + 0.2


def test_without_a_difference_a_mean_gap_is_its_null() -> None:
    found = one(grid(60), np.random.default_rng(1).normal(size=(60, 2, 4)))
    assert found.absolute == pytest.approx(found.null, rel=0.15)
    assert found.null == pytest.approx(2 / sqrt(np.pi) * sqrt(1 / 4), rel=0.1)  # mean |N(0, 2/4)|
    assert found.systematic_p > 0.05
    assert found.systematic.low < 0 < found.systematic.high


def test_gaps_that_go_with_a_shared_value_rest_on_the_values() -> None:
    """12 themes in 5 regions; each theme has a gap of its own, the same in all regions: 12 numbers, not 60."""
    rng = np.random.default_rng(2)
    theme = rng.normal(0.3, 1, 12)
    x = np.zeros((12, 5, 2, 2)) + 0.01 * rng.normal(size=(12, 5, 2, 2))
    x[:, :, 1] += theme[:, None, None]
    found = one(grid(12, 5), x.reshape(60, 2, 2))
    by_theme = (x[:, :, 1] - x[:, :, 0]).mean(axis=(1, 2))
    assert (found.signed.low, found.signed.high) == pytest.approx(tuple(ttest_1samp(by_theme, 0).confidence_interval()))
    assert (found.df, found.signed.n_users) == (11, 60)
    assert found.p == pytest.approx(ttest_1samp(by_theme, 0).pvalue)


def test_an_axis_of_few_values_is_taken_as_it_is() -> None:
    x = np.zeros((5, 12, 2, 2)) + 0.1 * np.random.default_rng(2).normal(size=(5, 12, 2, 2))
    x[:, :, 1] += np.array([-1, 1, -1, 1, 0.5])[:, None, None]
    assert one(grid(5, 12), x.reshape(60, 2, 2)).df == 59


def test_four_groups_have_the_farthest_contrast_and_an_interval_for_all() -> None:
    x = np.random.default_rng(4).normal(size=(30, 4, 2)) + np.array([0.0, 1.0, -0.5, 0.2])[None, :, None]
    found = one(grid(30, matched=(4,)), x)
    assert found.contrast == ("g01", "g02")
    by_block = (x[:, 2] - x[:, 1]).mean(axis=1)
    assert found.signed.value == pytest.approx(by_block.mean())
    assert found.n_pairs == 180
    half = (found.signed.high - found.signed.low) / 2 / (by_block.std(ddof=1) / sqrt(30))
    assert half == pytest.approx(student.ppf(1 - (1 - 0.95 ** (1 / 6)) / 2, 29))  # Šidák: six contrasts
    assert found.p < 1e-4


def test_undefined_values_are_left_out_or_stood_in_for_inside_gaps_alone() -> None:
    x = np.random.default_rng(6).normal(1, 1, size=(12, 2, 3))
    x[:, 1, 0] = NAN
    out = one(grid(12), x)
    assert out.signed.value == pytest.approx(x[:, 1, 1:].mean() - x[:, 0].mean())
    stood_in = one(grid(12), x, undefined=0.0)
    assert stood_in.signed.value == pytest.approx(np.nan_to_num(x)[:, 1].mean() - x[:, 0].mean())
    assert dict(stood_in.groups)["g01"].value == pytest.approx(x[:, 1, 1:].mean())
    nothing = one(grid(12), np.full((12, 2, 3), NAN), undefined=NAN)
    assert nothing.testable == "not testable: no two matched cells have a value"
    assert np.isnan(nothing.p)


def test_missing_cells_leave_their_pairs_out() -> None:
    x = np.random.default_rng(7).normal(size=(14, 2, 2, 2))
    x[3, 0, 1] = x[5] = NAN
    found = one(grid(14, matched=(2, 2)), x, axis=1)
    gap = x[:, :, 1].mean(axis=2) - x[:, :, 0].mean(axis=2)
    assert found.signed.value == pytest.approx(np.nanmean(gap))
    assert (found.n_pairs, found.signed.n_users) == (25, 13)


def test_one_text_a_cell_has_a_signed_gap_alone() -> None:
    found = one(grid(20), np.random.default_rng(0).normal(size=(20, 2, 1)))
    assert found.testable == "not testable: one text a cell"
    assert np.isnan([found.systematic.value, found.systematic_p, found.null]).all()
    assert 0 < found.p <= 1
    assert found.absolute > 0


def test_few_blocks_speak_of_these_prompts_alone() -> None:
    x = np.random.default_rng(0).normal(size=(4, 2, 6))
    x[:, 1] += 2
    found = one(grid(4), x)
    assert np.isnan([found.signed.low, found.d.high, found.mde, found.systematic.low]).all()
    assert found.p < 1e-3  # flips of four blocks could not go under .125
    assert one(grid(4), np.random.default_rng(1).normal(size=(4, 2, 6))).p > 0.01
    alone = one(grid(4), x[:, :, :1])
    assert np.isnan(alone.p)
    assert alone.testable == "not testable: one text a cell"


def test_texts_that_are_all_alike_are_not_tested() -> None:
    found = one(grid(20), np.full((20, 2, 3), 0.1))
    assert found.testable == "not testable: every text has the same value"
    assert found.signed.value == 0
    assert np.isnan([found.p, found.systematic_p, found.d.value]).all()


def test_profiles_have_two_distances_and_no_sign() -> None:
    rng = np.random.default_rng(0)
    x = rng.dirichlet(np.ones(5), size=(30, 2, 4))
    for pull, low in ((0.0, False), (1.0, True)):
        shifted = x + pull * np.array([0.3, 0, 0, 0, 0])[None, None, :] * np.array([0, 1])[:, None, None]
        first, second = gaps("audit", *given(grid(30), shifted))
        assert (first.distance, second.distance) == ("L1", "Jensen-Shannon")
        mean = shifted.mean(axis=2)
        assert first.absolute == pytest.approx(np.abs(mean[:, 0] - mean[:, 1]).sum(axis=1).mean())
        assert second.absolute == pytest.approx((jensenshannon(mean[:, 0], mean[:, 1], base=2, axis=1) ** 2).mean())
        assert first.systematic.value == pytest.approx(first.absolute - first.null)
        assert np.isnan([first.signed.value, first.d.value, first.mde]).all()
        for found in (first, second):
            assert (found.systematic.low > 0) == low
            assert (found.p < 0.001) == low
            assert (found.systematic_p < 0.001) == low


def test_null_of_a_distance_is_its_mean_over_enumerated_deals() -> None:
    x = np.random.default_rng(3).dirichlet(np.ones(3), size=(1, 2, 2))
    found = deal_profiles(x, "Jensen-Shannon", 4000, 0)
    pool = x.reshape(4, 3)
    halves = [(0, 1), (0, 2), (0, 3)]
    every = [jensenshannon(pool[list(h)].mean(0), pool[[i for i in range(4) if i not in h]].mean(0), base=2) ** 2 for h in halves]
    assert found.null[0, 0] == pytest.approx(np.mean(every), rel=0.05)


def test_a_single_profile_a_cell_is_not_tested_systematically() -> None:
    found = gaps("audit", *given(grid(20), np.random.default_rng(0).dirichlet(np.ones(4), size=(20, 2, 1))))
    assert {g.testable for g in found} == {"not testable: one text a cell"}
    assert all(g.absolute > 0 and np.isnan(g.systematic_p) and 0 < g.p <= 1 for g in found)


def test_order_of_groups_turns_the_sign_alone() -> None:
    x = np.random.default_rng(9).normal(size=(25, 2, 3)) + np.array([0, 0.5])[None, :, None]
    there, back = one(grid(25), x), one(grid(25), x[:, ::-1])
    assert back.signed.value == pytest.approx(-there.signed.value)
    assert back.signed.low == pytest.approx(-there.signed.high)
    assert back.p == there.p
    assert back.systematic.value == pytest.approx(there.systematic.value)
    assert one(grid(25), x) == there


def test_level_and_usable_are_clustered_by_block() -> None:
    x = np.random.default_rng(0).normal(2, 1, size=(15, 2, 3))
    measure, table = given(grid(15), x, fidelity=True, scale=100.0)
    found = level("audit", measure, table)
    by_block = ttest_1samp(x.mean(axis=(1, 2)), 0).confidence_interval()
    assert (found.value.value, found.value.low, found.value.high) == pytest.approx((x.mean(), *by_block))
    assert (found.value.n_users, found.value.n_pairs, found.fidelity, found.scale) == (15, 90, True, 100.0)
    share_of = usable(measure.values > 2, table)
    assert share_of.value == pytest.approx((x > 2).mean())
    assert 0 <= share_of.low < share_of.value < share_of.high <= 1
    whole = usable(np.ones(len(table), bool), table)
    assert (whole.value, whole.high) == (1, 1)
    assert whole.low == pytest.approx(0.025 ** (1 / 15))


def test_holm_is_the_closed_test_of_bonferroni() -> None:
    """By definition: the largest over all sets that hold a hypothesis of the set's size times its smallest p."""
    rng = np.random.default_rng(0)
    for m in (1, 2, 5, 6):
        p = rng.random(m) ** 3
        sets = [s for r in range(1, m + 1) for s in itertools.combinations(range(m), r)]
        brute = [min(1.0, max(len(s) * p[list(s)].min() for s in sets if i in s)) for i in range(m)]
        assert holm_of(p) == pytest.approx(brute)
    with_nan = holm_of(np.array([0.01, NAN, 0.02]))
    assert with_nan[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(with_nan[1])


def test_holm_counts_each_test_of_a_run_once() -> None:
    scalar = one(grid(20), np.random.default_rng(0).normal(size=(20, 2, 2)))
    scalar = replace(scalar, p=0.001, systematic_p=0.9)
    profile = gaps("other", *given(grid(20), np.random.default_rng(0).dirichlet(np.ones(4), size=(20, 2, 2))))
    profile = tuple(replace(g, p=0.8, systematic_p=0.7) for g in profile)
    found, own = holm((scalar, *profile), [OwnTest("WEAT", "g0", 1.0, 0.004), OwnTest("none", "g0", 1.0, NAN)])
    assert [t.p_holm for t in own] == pytest.approx([0.02, NAN], nan_ok=True)  # .004 times the 5 that are left
    assert found[0].p_holm == pytest.approx(0.006)  # 2 of the scalar, 1 + 2 of the profile, 1 of the audit's own
    assert all(g.p_holm == 1.0 for g in found[1:])


def test_a_gap_that_shrinks_is_seen_and_one_that_does_not_is_not() -> None:
    rng = np.random.default_rng(0)
    of = grid(60, matched=(4, 2))
    shift = np.array([0.0, 1.0])[None, None, :, None]
    before = [("audit", *given(of, rng.normal(size=(60, 4, 2, 4)) + shift, fidelity=True))]
    after = [("audit", *given(of, rng.normal(size=(60, 4, 2, 4)) + 0.2 * shift + 0.5, fidelity=True))]
    same = [("audit", *given(of, rng.normal(size=(60, 4, 2, 4)) + shift, fidelity=True))]
    found = {(m.kind, m.axis): m for m in moved("trained", before, after)}
    assert len(found) == 5
    signed = found["signed", "g1"]
    assert (signed.change, found["systematic", "g1"].change, found["level", ""].change) == ("improved",) * 3
    assert signed.difference.low < -0.8 < signed.difference.high
    assert signed.difference.value == pytest.approx(abs(signed.after.value) - abs(signed.before.value))
    assert -1.3 < found["systematic", "g1"].difference.value < -0.6
    assert found["level", ""].difference.value == pytest.approx(0.5 - 0.4, abs=0.1)
    assert {found["signed", "g0"].change, found["systematic", "g0"].change} == {"undecided"}
    assert {m.change for m in moved("again", before, same)} == {"undecided"}
    back = {(m.kind, m.axis): m for m in moved("back", after, before)}
    assert back["signed", "g1"].change == "regressed"
    assert back["level", ""].change == "regressed"


def test_changes_are_paired_on_cells_that_both_runs_have() -> None:
    of = grid(20)
    x = np.random.default_rng(0).normal(size=(20, 2, 3))
    y = x.copy()
    y[:8, 1] = NAN
    y[8:, 1] += 1
    found = moved("half", [("audit", *given(of, x))], [("audit", *given(of, y))])
    signed = next(m for m in found if m.kind == "signed")
    gap = x[8:, 1].mean() - x[8:, 0].mean()
    assert signed.before.value == pytest.approx(abs(gap))
    assert signed.after.value == pytest.approx(abs(gap + 1))
    assert (signed.before.n_users, signed.difference.n_users) == (12, 12)
    thin = y.copy()
    thin[5:] = NAN
    thin[:5] = x[:5]
    few = moved("few", [("audit", *given(of, x))], [("audit", *given(of, thin))])
    assert {m.change for m in few} == {"undecided"}
    assert all(np.isnan(m.difference.low) for m in few)


def test_profiles_that_come_nearer_are_seen() -> None:
    rng = np.random.default_rng(0)
    pull = np.array([0.5, 0, 0])[None, None, None] * np.array([0, 1])[None, :, None, None]
    x, y = (rng.dirichlet(np.ones(3), size=(30, 2, 4)) for _ in range(2))
    found = moved("trained", [("audit", *given(grid(30), x + pull))], [("audit", *given(grid(30), y))])
    assert [(m.kind, m.distance, m.change) for m in found] == [
        ("systematic", "L1", "improved"),
        ("systematic", "Jensen-Shannon", "improved"),
    ]
    first = gaps("audit", *given(grid(30), x + pull))[0]
    assert found[0].before.value == pytest.approx(first.systematic.value, rel=0.05)
    assert found[0].difference.value == pytest.approx(found[0].after.value - found[0].before.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros(3), "shape"), (np.full(40, np.inf), "infinite"), (np.full(40, 1e200), "infinite"), (np.full((40, 2), -0.1), "under 0"),
        (np.array(["a"] * 40), "no number"),
    ],
)  # fmt: skip
def test_an_audit_that_gives_no_numbers_is_told_so(values: np.ndarray, told: str) -> None:
    _, table = given(grid(10), np.zeros((10, 2, 2)))
    with pytest.raises(EvenhandError, match=told):
        gaps("audit", Measure("m", values, "wrong"), table)


def test_no_text_at_all_is_nothing_to_test() -> None:
    found = one(grid(12), np.full((12, 2, 3), NAN))
    assert (found.n_pairs, found.testable) == (0, "not testable: no two matched cells have a value")


def run_of(x: np.ndarray, of: Grid, name: str = "run") -> Run:
    measure, table = given(of, x, objective=True)
    found, _ = holm(gaps("audit", measure, table))
    return Run(
        name, len(table), len(of), table.draws, usable(np.ones(len(table), bool), table), {}, found, (level("audit", measure, table),), ()
    )


def test_verdicts_are_made_of_bounds() -> None:
    rng = np.random.default_rng(0)
    shift = np.array([0.0, 1.0])[None, :, None]
    noise = rng.normal(size=(200, 2, 8))
    (fair,), verdict = requirements([run_of(noise, grid(200))], 0.3)
    assert (fair.verdict, verdict, fair.name) == ("PASS", "PASS", "run: m by g0")
    assert fair.estimate.low == 0 <= fair.estimate.value < fair.estimate.high <= 0.3
    assert "lies at or under 0.30" in fair.reason
    (unfair,), verdict = requirements([run_of(noise + shift, grid(200))], 0.3)
    assert (unfair.verdict, verdict) == ("FAIL", "FAIL")
    assert unfair.estimate.low > 0.3
    assert "The whole simultaneous interval" in unfair.reason
    (found,), _ = requirements([run_of(noise[:20] + 0.7 * shift, grid(20))], 0.5)
    assert (found.verdict, found.estimate.low < 0.5) == ("FAIL", True)
    assert "after correction for all tests" in found.reason
    (thin,), verdict = requirements([run_of(noise[:15], grid(15))], 0.1)
    assert (thin.verdict, verdict) == ("INSUFFICIENT", "INSUFFICIENT")
    assert "more blocks like these would tell, four times in five" in thin.reason


def test_verdicts_hold_together_and_say_what_is_short() -> None:
    rng = np.random.default_rng(0)
    runs = [run_of(rng.normal(size=(100, 2, 8)), grid(100), f"run {r}") for r in range(4)]
    (alone,), _ = requirements(runs[:1], 0.3)
    together, _ = requirements(runs, 0.3)
    assert together[0].estimate.high > alone.estimate.high
    assert student.ppf(1 - 0.025 / 4, 99) / student.ppf(0.975, 99) == pytest.approx(
        (together[0].estimate.high - alone.estimate.value) / (alone.estimate.high - alone.estimate.value)
    )
    few = run_of(rng.normal(size=(5, 2, 8)), grid(5))
    (thin,), _ = requirements([few], 0.3)
    assert thin.verdict == "INSUFFICIENT"
    assert "5 of the 10 blocks" in thin.reason
    (here,), _ = requirements([run_of(rng.normal(size=(5, 2, 8)) + np.array([0.0, 3.0])[None, :, None], grid(5))], 0.3)
    assert here.verdict == "FAIL"
    assert "In these very prompts" in here.reason
    constant, _ = requirements([run_of(np.ones((20, 2, 2)), grid(20))], 0.3)
    assert constant[0].verdict == "INSUFFICIENT"
    assert "every text has the same value" in constant[0].reason
    steps = rng.integers(0, 9, size=(20, 1, 2)) + np.array([0.0, 1.0])[None, :, None]  # each block's gap is 1: no noise, and no bound
    for tolerance, verdict in ((0.05, "FAIL"), (9.0, "INSUFFICIENT")):
        (same,), _ = requirements([run_of(steps, grid(20))], tolerance)
        assert (same.verdict, np.isnan(same.estimate.high)) == (verdict, True)
        assert "the gap is the same in every block" in same.reason
        assert "nan" not in same.reason
    assert requirements([replace(runs[0], levels=())], 0.3) == ((), "INSUFFICIENT")
    with pytest.raises(EvenhandError, match="above 0"):
        requirements(runs, 0.0)


def test_what_is_not_there_is_seldom_found() -> None:
    """60 worlds with gaps by block that are 0 on average: p ≤ .05 in 3 expected, at most 8 (chance of more: .4 %). The same worlds with
    flips of single pairs: about 9 expected.
    """
    signed = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 1])
        x = rng.normal(size=(20, 3, 2, 2)) + rng.normal(0, 1, size=(20, 1, 2, 1))
        signed += gaps("audit", *given(grid(20, matched=(3, 2)), x), permutations=200)[1].p <= 0.05
    assert signed <= 8


def test_texts_that_were_chosen_by_what_is_measured_pass_nothing() -> None:
    """The same texts as draws pass; what fails as draws fails as chosen texts, too."""
    rng = np.random.default_rng(0)
    of = grid(60)
    level_ = rng.normal(size=(60, 2, 8)) * 0.01 + np.linspace(-1, 1, 8)
    [made], verdict = requirements([run_of(level_, of)], 0.25)
    assert (made.verdict, verdict) == ("PASS", "PASS")
    [made], verdict = requirements([replace(run_of(level_, of), selected=True)], 0.25)
    assert (made.verdict, verdict) == ("INSUFFICIENT", "INSUFFICIENT")
    assert "nothing follows for others" in made.reason
    apart = level_ + np.array([0.0, 3.0])[None, :, None]
    [failed], verdict = requirements([replace(run_of(apart, of), selected=True)], 0.25)
    assert verdict == "FAIL"
    assert failed.reason.startswith("Even in these texts, which were chosen by what is measured, the estimate")
    for chosen in (made, failed):
        assert np.isnan([chosen.estimate.low, chosen.estimate.high]).all()
        assert "interval" not in chosen.reason

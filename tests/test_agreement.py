"""Agreement of annotators on unordered pairs: the package krippendorff on data plus mirror image, invariance, known truths."""

import krippendorff
import numpy as np
import pytest
from scipy import stats

from evenhand.audits import agreement as rooms
from evenhand.audits.agreement import WIDEST, agreements
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.passes import over
from evenhand.audits.sample import arrange
from evenhand.core import Groups


def agreement(user, pair, side, **of):
    """Of all users; of: the two responses of each pair, where they are known."""
    everybody = Groups(("g",), np.zeros(user.max() + 1, np.int16), "")
    sample = arrange(Outcomes("m", "t", user, np.ones(len(user)), pair=pair, side=side, **of), everybody)
    return over(sample.batches, agreements(sample, everybody.names))[0]


def judged(users: int, pairs: int, raters: int, rng: np.random.Generator, spread: float = 1.0):
    """`raters` of the users judge each pair, whose sides are named at random; users and pairs differ in how often the better one wins."""
    user = np.concatenate([rng.choice(users, raters, replace=False) for _ in range(pairs)])
    pair = np.repeat(np.arange(pairs), raters)
    logit = 0.8 + spread * (rng.normal(size=users)[user] + rng.normal(size=pairs)[pair])
    side = (rng.random(len(user)) < 1 / (1 + np.exp(-logit))) ^ (rng.random(pairs) < 0.5)[pair]
    return user, pair, side


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_the_packages_on_the_data_and_their_mirror_image(seed, monkeypatch):
    monkeypatch.setattr(rooms, "WIDEST", 2.0)  # whatever its interval
    rng = np.random.default_rng(seed)
    user, pair, side = judged(12, 40, int(rng.integers(2, 9)), rng)
    table = np.full((12, 40), np.nan)
    table[user, pair] = side
    oracle = krippendorff.alpha(np.concatenate([table, 1 - table], axis=1), level_of_measurement="nominal")
    assert agreement(user, pair, side).value == pytest.approx(oracle)


def test_two_raters_who_agree_on_nine_pairs_of_ten_have_alpha_80_whoever_stands_first():
    """Coded by the first rater's choice, the same judgements gave -.05: one value is then all but never seen."""
    pair = np.repeat(np.arange(1000), 2)
    user = 2 * (pair // 10 % 100) + np.tile([0, 1], 1000)  # two raters for every ten pairs
    side = (np.arange(2000) % 2 == 0) | (pair % 10 > 0)
    found = agreement(user, pair, side)
    assert found.value == pytest.approx(0.80, abs=2e-4)
    half = (
        stats.t.ppf(0.975, 200 - 1) * 2 * np.sqrt(0.1 * 0.9 / 999)
    )  # users all differ equally often: what varies is which pairs are drawn
    assert (found.high - found.value, found.value - found.low) == pytest.approx((half, half))
    swapped = np.random.default_rng(0).random(1000) < 0.5
    assert agreement(user, pair, side ^ swapped[pair]).value == pytest.approx(0.80, abs=2e-4)


def test_neither_the_order_of_rows_nor_the_names_of_sides_move_anything():
    rng = np.random.default_rng(1)
    user, pair, side = judged(30, 80, 6, rng)
    found = agreement(user, pair, side)
    rows = rng.permutation(len(user))
    swap = (rng.random(80) < 0.5)[pair]
    for other in (
        agreement(user[rows], pair[rows], side[rows]),
        agreement(user, pair, side ^ swap),
        agreement(user, 99 - pair, ~side),
    ):
        assert (other.value, other.low, other.high) == pytest.approx((found.value, found.low, found.high))


def test_a_user_asked_twice_is_not_compared_with_himself():
    user, pair, side = judged(30, 80, 6, np.random.default_rng(2))
    again = np.flatnonzero(user < 3)
    once, twice = agreement(user, pair, side), agreement(*(np.append(a, a[again]) for a in (user, pair, side)))
    assert twice == once


def test_the_interval_holds_the_truth_where_users_and_pairs_are_drawn():
    """95 % is meant: 190 of 200, standard deviation 3."""
    rng = np.random.default_rng(3)
    logit = 0.8 + rng.normal(size=(3000, 1)) + rng.normal(size=(1, 3000))
    share = (1 / (1 + np.exp(-logit))).mean(axis=0)
    truth = 1 - 2 * (2 * share * (1 - share)).mean()
    hits = [e.low <= truth <= e.high for e in (agreement(*judged(60, 40, 30, rng)) for _ in range(200))]
    assert np.mean(hits) >= 0.90


def test_votes_in_many_pairs_widen_the_interval():
    """Pairs of what a user agrees with and what not share votes: 40 statements say less than their 700 pairs would."""
    rng = np.random.default_rng(5)
    widths, hits = [], []
    liked = rng.beta(1, 1, 400_000)
    one, other = liked[:200_000], liked[200_000:]
    first, last = one * (1 - other), other * (1 - one)  # whom a user likes of the two, where he likes one
    truth = 1 - 2 * (2 * first * last / (first + last)).mean() / (first + last).mean()
    for _ in range(40):
        share = rng.beta(1, 1, 40)
        rows = []
        for u in range(60):
            agrees = rng.random(40) < share
            a, b = (x.ravel() for x in np.meshgrid(np.flatnonzero(agrees), np.flatnonzero(~agrees)))
            rows.append(np.column_stack([np.full(len(a), u), a, b]))
        user, chosen, rejected = np.concatenate(rows).T
        pair = np.minimum(chosen, rejected) * 40 + np.maximum(chosen, rejected)
        alone = agreement(user, pair, chosen < rejected)
        drawn = agreement(user, pair, chosen < rejected, chosen=chosen, rejected=rejected)
        widths.append((drawn.high - drawn.low) / (alone.high - alone.low))
        hits.append([e.low <= truth <= e.high for e in (alone, drawn)])
    assert np.mean(widths) > 2
    assert np.mean(hits, axis=0)[1] >= 0.85
    assert np.mean(hits, axis=0)[0] < 0.75


def test_what_says_nothing_is_not_shown():
    rng = np.random.default_rng(4)
    user, pair, side = judged(6, 5, 3, rng)
    assert agreement(user, pair, side) is None  # an interval as wide as half the scale
    assert agreement(user, np.arange(len(user)), side) is None  # nothing shared
    assert agreement(np.repeat([0, 1], 40), np.tile(np.arange(40), 2), np.ones(80, bool)) is None  # two raters are no group
    few, many = (agreement(np.repeat(np.arange(n), 50), np.tile(np.arange(50), n), np.ones(50 * n, bool)) for n in (5, 40))
    assert few is None  # five who agree on everything may be luck
    assert many.value == 1.0
    assert 1 - WIDEST < many.low < 1

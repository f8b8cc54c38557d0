"""Rare taste or carelessness: worlds in which one of the two is true, brute force, and data that cannot tell."""

import numpy as np
import pytest

from evenhand.audits.low_support import LOWEST, low_support_of
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.passes import over
from evenhand.audits.sample import arrange
from evenhand.core import Groups


def low_support(outcomes: Outcomes, support: np.ndarray):
    sample = arrange(outcomes, Groups((), np.full(len(support), -1, np.int16), ""))
    return over(sample.batches, low_support_of(sample, support))


def world(kind: str, rng: np.random.Generator, users: int = 160, pairs: int = 60, each: int = 20) -> tuple[Outcomes, np.ndarray]:
    """Each user judges 20 of 60 pairs. careless: one taste, followed with a care of 50 to 95 %. rare: a fifth of the users share another
    taste, which turns 70 % of the pairs round, all with a care of 85 %. equal: nobody differs. Support is an estimate from other pairs.
    """
    common = rng.choice([-1, 1], pairs)
    other = np.where(rng.random(pairs) < 0.7, -common, common)
    care = rng.uniform(0.5, 0.95, users) if kind == "careless" else np.full(users, 0.85)
    taste = np.where((rng.random(users) < 0.2)[:, None] & (kind == "rare"), other, common)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    pair = np.argsort(rng.random((users, pairs)), axis=1)[:, :each].ravel()
    side = (rng.random(len(user)) < care[user]) == (taste[user, pair] > 0)
    alike = (taste == common).mean(axis=1)
    support = rng.binomial(20, alike * care + (1 - alike) * (1 - care)) / 20 + rng.normal(0, 1e-3, users)
    return Outcomes("m", "t", user, np.ones(len(user)), prompt=pair.astype(np.int32), pair=pair, side=side), support


@pytest.mark.parametrize(
    ("kind", "false", "least"), [("careless", ("rare",), 0.7), ("rare", ("careless",), 0.5), ("equal", ("rare", "careless"), 0.0)]
)
def test_what_is_said_of_low_support_is_true(kind, false, least):
    rng = np.random.default_rng(0)
    found = [low_support(*world(kind, rng)).finding for _ in range(60)]
    assert np.mean([f in false for f in found]) <= 0.06
    assert np.mean([f == kind for f in found]) >= least


def test_agreement_is_that_of_couples_of_users_counted_one_by_one():
    o, support = world("rare", np.random.default_rng(1), users=80)
    found = low_support(o, support)
    low = support <= np.quantile(support, LOWEST)
    of_pair = [np.flatnonzero(o.pair == p) for p in range(60)]
    a, b = [], []
    for rows in of_pair:
        mine, rest = rows[low[o.user[rows]]], rows[~low[o.user[rows]]]
        if len(mine) < 2 or not len(rest):
            continue
        for i in mine:
            a.append(np.mean([o.side[i] == o.side[j] for j in mine if j != i]))
            b.append(np.mean(o.side[rest] == o.side[i]))
    assert (found.among, found.with_others) == pytest.approx((np.mean(a), np.mean(b)))
    assert found.difference.value == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.difference.n_users, found.difference.n_pairs) == (low.sum(), len(a))


def test_neither_order_nor_names_of_sides_nor_a_pair_judged_twice_move_it():
    o, support = world("rare", np.random.default_rng(2))
    found = low_support(o, support).difference
    rows = np.random.default_rng(3).permutation(len(o))
    swapped = Outcomes("m", "t", o.user, o.margin, prompt=o.prompt, pair=o.pair, side=o.side ^ (o.pair % 3 == 0))
    twice = o.take(np.append(np.arange(len(o)), np.arange(200)))
    for other in (o.take(rows), swapped, twice):
        again = low_support(other, support).difference
        assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))


def test_without_enough_shared_pairs_it_cannot_be_told():
    o, support = world("rare", np.random.default_rng(4))
    lone = Outcomes("m", "t", o.user, o.margin, pair=np.arange(len(o)), side=o.side)
    assert low_support(lone, support).finding == "unknown"
    few = low_support(o.take(o.pair < 19), support)
    assert few.finding == "unknown"
    assert np.isnan(few.difference.value)
    assert low_support(Outcomes("m", "t", o.user, o.margin), support) is None
    assert low_support(o, np.full(160, np.nan)) is None

"""Panel 1: is low support a rare taste, or careless choice of the common one?

Both make a user disagree with the others. They differ in what such users make of each other: who share a taste of their own agree with each
other more than with the rest; who follow the common taste with less care agree with the rest more than with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.batch import Batch
from evenhand.audits.clusters import Clusters, Shared, factor
from evenhand.audits.findings import LowSupport
from evenhand.audits.passes import Study, side_by_side
from evenhand.audits.sample import Sample
from evenhand.audits.spread import Spread, spread
from evenhand.audits.units import Judged, find_units
from evenhand.core import Estimate

LOWEST = 0.25  # of the users: those of low support
METRIC = "agreement among users of low support minus with others"
FEWEST_USERS, FEWEST_PAIRS = 10, 20  # that must share pairs with others of low support, and with the rest


def low_support_of(sample: Sample, support: np.ndarray) -> Study[LowSupport | None]:
    """Agreement of the quarter of users with the lowest support among themselves, minus their agreement with the other users, on pairs
    that both judged. support float64[users], nan = unknown, from other pairs than these. None where pairs are not known.

    For a user u of low support and a pair i, a_ui is the share of the others of low support who chose as u, b_ui that of the rest.
    A = mean of a, B = mean of b over these judgements. A user of low support counts in his own a and in the others', one of the rest in B
    alone, so that a user moves A - B by psi = (2 (a - A) - (b - B)) / N, or by -(his mean agreement - B) times his weight, and a pair
    by (a - b - A + B) / N. V = V_user + V_unit - V_(user and unit) with prompts or responses as units (see `twoway`), at least the larger
    of the first two; t with one degree less than the fewest of users of either kind and units.
    """
    x = support[sample.number]
    known = np.isfinite(x)
    if not known.any():
        return None
    edge = float(np.quantile(x[known], LOWEST))
    counts = yield lambda batch: _counted(batch, support, edge)
    if counts is None:
        return None
    low, low_first, rest, rest_first = counts[:, 0].sum(axis=1), counts[:, 0, 1], counts[:, 1].sum(axis=1), counts[:, 1, 1]
    met = (low >= 2) & (rest >= 1)
    pairs, judged_pairs = int(np.count_nonzero(met)), int(low[met].sum())
    if not pairs:
        return _unknown(edge, 0, 0)
    m, k, r, j = low[met], low_first[met], rest[met], rest_first[met]
    among = float(((k * (k - 1) + (m - k) * (m - k - 1)) / (m - 1)).sum()) / judged_pairs
    across = float(((k * j + (m - k) * (r - j)) / r).sum()) / judged_pairs

    def split(batch: Batch) -> list[_Met]:
        return 2 * [_who_meet(batch, support, edge, met)]

    users, (shared, _) = yield from side_by_side(_users(), find_units(lambda those: those.judged), split=split)
    fewest = min(users)
    if fewest < FEWEST_USERS or pairs < FEWEST_PAIRS:
        return _unknown(edge, users[0], judged_pairs)

    def ask(batch: Batch) -> Spread:
        those = _who_meet(batch, support, edge, met)
        m, k, r, j = low[those.pair], low_first[those.pair], rest[those.pair], rest_first[those.pair]
        agreeing = np.where(those.chose, k, m - k)  # of low support, with the row's choice
        a, b = (agreeing - 1) / np.maximum(m - 1, 1), np.where(those.chose, j, r - j) / r
        of_user = np.where(those.is_low, 2 * (a - among) - (b - across), -(agreeing / m - across) * m / r) / judged_pairs
        of_pair = np.where(those.is_low, a - b - among + across, 0.0) / judged_pairs
        if shared is not None:
            clusters = shared.clusters(those.judged)
        else:  # pairs are known, what they consist of is not
            clusters = Shared("pairs", (Clusters(those.pair, batch.keys, 1.0),), (Clusters(None, len(those.pair), 1.0),))
        return spread(clusters, those.judged.user, np.full(len(batch.number), -1), 0, [of_user, of_pair, np.ones(len(of_user))])

    found: Spread = yield ask
    drawn = [t.of_cell(-1) for t in found.across]
    units = int(drawn[0].many)
    by_user = float(found.users.products[0, 0, 0]) * float(factor(np.array(fewest))) ** 2
    by_unit = sum(t.sign * float(t.products[1, 1]) for t in drawn) * float(factor(np.array(units))) ** 2
    twice = sum(t.sign * float(t.products[0, 0, 0]) for t in found.within)
    variance = max(by_user, by_unit, by_user + by_unit - twice)
    if variance <= 1e-24:
        return _unknown(edge, users[0], judged_pairs)
    value = among - across
    half = float(stdtrit(max(min(fewest, units) - 1, 1), 0.975) * np.sqrt(variance))
    low_end, high_end = max(-1.0, value - half), min(1.0, value + half)
    difference = Estimate(value, low_end, high_end, users[0], judged_pairs, METRIC)
    finding = "rare" if difference.low > 0 else "careless" if difference.high < 0 else "unknown"
    return LowSupport(finding, edge, among, across, difference)


def _ballots(batch: Batch, support: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """One judgement of each user with a support on each pair: rows of the batch, and whether the user is of low support."""
    assert batch.ballots is not None
    x = support[batch.number]
    rows = np.sort(batch.ballots.first)  # who judged a pair twice judges it once
    rows = rows[np.isfinite(x)[batch.user[rows]]]
    return rows, (x <= edge)[batch.user[rows]]


def _counted(batch: Batch, support: np.ndarray, edge: float) -> np.ndarray | None:
    """Of each pair, how many of low support and of the rest chose its second and its first response: int64[keys, 2, 2]."""
    if batch.ballots is None:
        return None
    assert batch.strict.pair is not None
    assert batch.strict.side is not None
    rows, is_low = _ballots(batch, support, edge)
    key = batch.strict.pair[rows].astype(np.int64) * 4 + 2 * ~is_low + batch.strict.side[rows]
    return np.bincount(key, minlength=4 * batch.keys).reshape(-1, 2, 2)


@dataclass(frozen=True, eq=False)
class _Met:
    """Judgements of a batch on pairs that enough users of either kind judged."""

    judged: Judged
    pair: np.ndarray
    is_low: np.ndarray
    chose: np.ndarray


def _who_meet(batch: Batch, support: np.ndarray, edge: float, met: np.ndarray) -> _Met:
    assert batch.strict.pair is not None
    assert batch.strict.side is not None
    rows, is_low = _ballots(batch, support, edge)
    there = met[batch.strict.pair[rows]]
    rows = rows[there]
    return _Met(batch.judged.take(rows), batch.strict.pair[rows], is_low[there], batch.strict.side[rows])


def _users() -> Study[tuple[int, int]]:
    """How many of low support, and of the rest."""
    low, rest = yield lambda those: tuple(len(np.unique(those.judged.user[of])) for of in (those.is_low, ~those.is_low))
    return low, rest


def _unknown(edge: float, users: int, low_users: int) -> LowSupport:
    nothing = Estimate(np.nan, -np.inf, np.inf, users, low_users, METRIC)
    return LowSupport("unknown", edge, np.nan, np.nan, nothing)

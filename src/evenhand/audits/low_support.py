"""Panel 1: is low support a rare taste, or careless choice of the common one?

Both make a user disagree with the others. They differ in what such users make of each other: who share a taste of their own agree with each
other more than with the rest; who follow the common taste with less care agree with the rest more than with each other.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.findings import LowSupport
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.twoway import factor, numbered, share_units
from evenhand.core import Estimate

LOWEST = 0.25  # of the users: those of low support
FEWEST_USERS, FEWEST_PAIRS = 10, 20  # that must share pairs with others of low support, and with the rest


def low_support(outcomes: Outcomes, support: np.ndarray) -> LowSupport | None:
    """Agreement of the quarter of users with the lowest support among themselves, minus their agreement with the other users, on pairs
    that both judged. support float64[users], nan = unknown, from other pairs than these. None where pairs are not known.

    For a user u of low support and a pair i, a_ui is the share of the others of low support who chose as u, b_ui that of the rest.
    A = mean of a, B = mean of b over these judgements. A user of low support counts in his own a and in the others', one of the rest in B
    alone, so that a user moves A - B by psi = (2 (a - A) - (b - B)) / N, or by -(his mean agreement - B) times his weight, and a pair
    by (a - b - A + B) / N. V = V_user + V_unit - V_(user and unit) with prompts or responses as units (see `twoway`), at least the larger
    of the first two; t with one degree less than the fewest of users of either kind and units.
    """
    if outcomes.pair is None or outcomes.side is None:
        return None
    x = support[outcomes.user]
    known = np.isfinite(x)
    if not known.any():
        return None
    seen = np.unique(outcomes.user[known])
    edge = float(np.quantile(support[seen], LOWEST))
    rows = np.flatnonzero(known)
    _, first = np.unique(numbered(outcomes.pair[rows])[0] * (int(outcomes.user.max()) + 1) + outcomes.user[rows], return_index=True)
    rows = rows[first]  # who judged a pair twice judges it once
    pair, pairs = numbered(outcomes.pair[rows])
    is_low, chose = x[rows] <= edge, outcomes.side[rows]
    low, rest = (np.bincount(pair, w, minlength=pairs) for w in (is_low, ~is_low))
    both = ((low >= 2) & (rest >= 1))[pair]
    rows, is_low, chose = rows[both], is_low[both], chose[both]
    if len(rows) == 0:
        return _unknown(edge, 0, 0)
    (pair, pairs), (user, _) = numbered(pair[both]), numbered(outcomes.user[rows])
    low_users, rest_users = len(np.unique(user[is_low])), len(np.unique(user[~is_low]))
    judged_pairs = int(is_low.sum())
    if low_users < FEWEST_USERS or rest_users < FEWEST_USERS or pairs < FEWEST_PAIRS:
        return _unknown(edge, low_users, judged_pairs)
    low, low_first = np.bincount(pair, is_low, minlength=pairs)[pair], np.bincount(pair, is_low & chose, minlength=pairs)[pair]
    rest, rest_first = np.bincount(pair, ~is_low, minlength=pairs)[pair], np.bincount(pair, ~is_low & chose, minlength=pairs)[pair]
    agreeing = np.where(chose, low_first, low - low_first)  # of low support, with the row's choice
    a = (agreeing - 1) / np.maximum(low - 1, 1)
    b = np.where(chose, rest_first, rest - rest_first) / rest
    among, across = float(a[is_low].mean()), float(b[is_low].mean())
    value = among - across
    of_user = np.where(is_low, 2 * (a - among) - (b - across), -(agreeing / low - across) * low / rest) / judged_pairs
    of_pair = np.where(is_low, a - b - value, 0.0) / judged_pairs
    responses = None if outcomes.chosen is None or outcomes.rejected is None else (outcomes.chosen[rows], outcomes.rejected[rows])
    shared = share_units(user, None if outcomes.prompt is None else outcomes.prompt[rows], responses)
    sums = np.bincount(user, of_user)
    by_user = float(sums @ sums) * float(factor(np.array(min(low_users, rest_users)))) ** 2
    if shared is None:  # pairs are known, what they consist of is not
        units, by_unit, twice = pairs, float((np.bincount(pair, of_pair) ** 2).sum()), float(of_user @ of_user)
    else:
        units = shared.units
        by_unit = sum(c.sign * float((c.sums(of_pair) ** 2).sum()) for c in shared.across)
        twice = sum(c.sign * float((c.sums(of_user) ** 2).sum()) for c in shared.within)
    by_unit *= float(factor(np.array(units))) ** 2
    variance = max(by_user, by_unit, by_user + by_unit - twice)
    if variance <= 1e-24:
        return _unknown(edge, low_users, judged_pairs)
    half = float(stdtrit(max(min(low_users, rest_users, units) - 1, 1), 0.975) * np.sqrt(variance))
    difference = Estimate(
        value,
        max(-1.0, value - half),
        min(1.0, value + half),
        low_users,
        judged_pairs,
        "agreement among users of low support minus with others",
    )
    finding = "rare" if difference.low > 0 else "careless" if difference.high < 0 else "unknown"
    return LowSupport(finding, edge, among, across, difference)


def _unknown(edge: float, users: int, low_users: int) -> LowSupport:
    nothing = Estimate(np.nan, -np.inf, np.inf, users, low_users, "agreement among users of low support minus with others")
    return LowSupport("unknown", edge, np.nan, np.nan, nothing)

"""Errors that pairs share: through the user who judged them, and through what many users judged.

What users share is a prompt, or, where no prompt repeats (votes), the two responses of a pair. Pairs are correlated if they have the user or
such a unit in common; users, units and pairs were all drawn. With psi_i what pair i adds to the errors of K statistics,

    V = Σ psi_i psi_j' over pairs i, j of one user or with a common unit = V_user + V_unit - V_(user and unit)

(Cameron, Gelbach & Miller 2011). Prompts: V_unit = Σ_p S_p S_p' with S_p the sum of psi over the pairs of a prompt. Responses: pairs are
dyads, V_unit = Σ_items S S' - Σ_dyads S S', since two pairs on the same two responses were counted at both (Aronow, Samii & Assenova
2015); inside a user likewise.
"""

from __future__ import annotations

import numpy as np

from evenhand.audits.clusters import Clusters, Shared, numbered
from evenhand.audits.joint import root
from evenhand.audits.passes import over
from evenhand.audits.spread import spread
from evenhand.audits.units import Judged, find_units

__all__ = ["Clusters", "Shared", "covariance", "share_units", "shared_noise"]


def share_units(user: np.ndarray, prompt: np.ndarray | None, responses: tuple[np.ndarray, np.ndarray] | None) -> Shared | None:
    """What users share: prompts, where at least 20 repeat over users; else responses (first and second int[n] of each pair), else the few
    prompts. None: nothing, or nothing is known. user int[n] in 0..U-1; prompt int[n]: a pair without a prompt (-1) is its own.
    """
    known = [a for a in (prompt, *(responses or ())) if a is not None and len(a)]
    judged = Judged(user, prompt, responses, max((int(a.max()) for a in known), default=-1) + 1)
    units = over([judged], find_units(lambda batch: batch))[0]
    return None if units is None else units.clusters(judged)


def covariance(influence: np.ndarray, user: np.ndarray, shared: Shared | None) -> tuple[np.ndarray, np.ndarray]:
    """(V_user, V), each float64[K, K], of K statistics. influence float64[n, K]: what pair i adds to each statistic's error, so that the
    error is the column's sum; user int[n] >= 0; shared: from `share_units` on the same pairs, None: V = V_user.

    For several models judged on the same pairs, put their influences side by side: differences are then paired. For several deals of
    one data set, stack the pairs of all deals and keep the users' and units' numbers. V need not be positive: take a variance as the
    larger of V_user's and V's, with at most min(users, units) - 1 degrees of freedom. Each part carries G / (G - 1) for its G clusters.
    """
    of, many = numbered(user)
    found = spread(shared, of, np.full(many, -1), 0, [*influence.T, np.ones(len(of))])
    by_user, both = found.covariance()
    return by_user[:-1, :-1], both[:-1, :-1]


def shared_noise(by_user: np.ndarray, by_both: np.ndarray, draws: int, units: int, rng: np.random.Generator) -> np.ndarray:
    """Draws float64[draws, K] of the error that shared units add to what resampling users shows: normal with covariance V - V_user, its
    negative parts left out, and the tails of t with units - 1 degrees.
    """
    degrees = max(units - 1, 1)
    return (rng.standard_normal((draws, len(by_both))) @ root(by_both - by_user)) * np.sqrt(degrees / rng.chisquare(degrees, (draws, 1)))

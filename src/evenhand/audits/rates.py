"""Event rates: how often, or how likely, a model prefers y1 in each group of pairs, as one mean a user and event.

    M = r(y1) - r(y2)      soft p = sigma(M)      hard h = 1[M > 0]        q(e) = mean over users of the user's mean over pairs of event e

    DP  max over groups s, s' of |q(s) - q(s')|           demographic parity
    EO  the same within each label                        equalized odds (Hardt et al. 2016, arXiv 1610.02413)
    CF  mean over matched sets of max |p(x_s) - p(x_s')|  counterfactual fairness on given counterfactuals (Kusner et al. 2017, arXiv 1703.06856)

(Choi et al. 2026, arXiv 2602.07799, for reward models.) Users are the unit: every user counts once in an event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import expit

from evenhand.core import TIE, EvenhandError, Events, Notion

Decision = Callable[[np.ndarray], np.ndarray]  # oriented margins → values in [0, 1]


def soft(margin: np.ndarray) -> np.ndarray:
    """sigma(M): the Bradley-Terry probability that y1 is preferred."""
    return expit(margin)


def hard(margin: np.ndarray) -> np.ndarray:
    """1[M > 0], one half for a tie."""
    return np.where(np.abs(margin) < TIE, 0.5, (margin > 0).astype(np.float64))


DECISIONS: dict[str, Decision] = {"soft": soft, "hard": hard}


@dataclass(frozen=True)
class Rates:
    """The mean of each user in each event, all that intervals and certificates need.

    events: names, such as "women" or "women, label 1". compared: which two events a notion holds against each other; () for CF, whose one
    event is itself a gap. by_user float64[users, events] in [0, 1], nan where a user has no pair of the event. pairs int64[events]
    (matched sets for CF). user int64[users]: the users' numbers in the data.
    """

    events: tuple[str, ...]
    compared: tuple[tuple[int, int], ...]
    by_user: np.ndarray
    pairs: np.ndarray
    user: np.ndarray

    @property
    def users(self) -> np.ndarray:
        """Users in each event, int64[events]."""
        return (~np.isnan(self.by_user)).sum(axis=0)

    @property
    def value(self) -> np.ndarray:
        """q(e), float64[events]; nan for an event nobody has."""
        with np.errstate(invalid="ignore"):
            return np.nansum(self.by_user, axis=0) / np.where(self.users > 0, self.users, np.nan)


def oriented(margin: np.ndarray, events: Events) -> np.ndarray:
    """M = r(y1) - r(y2), from margins r(chosen) - r(rejected)."""
    return np.where(events.first, margin, -margin)


def rates(margin: np.ndarray, user: np.ndarray, events: Events, notion: Notion, decision: Decision) -> Rates:
    """Rates of a model whose margins r(chosen) - r(rejected) are `margin` float[n]; pairs in no group are not looked at.

    Raises EvenhandError where CF is asked for and no two pairs are matched, or where a matched set has pairs of two users.
    """
    value = decision(oriented(margin, events))
    if notion == "cf":
        value, user = matched_gaps(value, user, events)
        return _by_user(*cells(notion, ()), value, user, np.zeros(len(value), np.int64))
    inside = events.of_pair >= 0
    cell = events.of_pair[inside].astype(np.int64)
    if notion == "eo":
        cell = 2 * cell + events.first[inside]
    return _by_user(*cells(notion, events.names), value[inside], user[inside], cell)


def cells(notion: Notion, groups: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """The events whose rates a notion takes over `groups`, and which two of them it compares."""
    if notion == "cf":
        return ("matched sets",), ()
    compared = tuple(combinations(range(len(groups)), 2))
    if notion == "dp":
        return tuple(groups), compared
    names = tuple(f"{name}, label {label}" for name in groups for label in (0, 1))
    return names, tuple((2 * a + label, 2 * b + label) for label in (0, 1) for a, b in compared)


def matched_gaps(value: np.ndarray, user: np.ndarray, events: Events) -> tuple[np.ndarray, np.ndarray]:
    """max - min of `value` in each matched set of two or more pairs → (gaps float64[sets], the sets' users)."""
    twin = events.sets
    rows = np.flatnonzero(twin >= 0)
    _, first, number, size = np.unique(twin[rows], return_index=True, return_inverse=True, return_counts=True)
    if not (size > 1).any():
        raise EvenhandError(
            "cf: no two pairs are matched. Expected: a twin column with one value for the pairs that differ in the group alone, or a "
            "term-swap file. To do: give one (--column twin=NAME, --swap FILE), or choose dp or eo."
        )
    owner = user[rows][first]
    strange = rows[user[rows] != owner[number]]
    if len(strange):
        raise EvenhandError(
            f"cf: {len(strange)} pairs are matched with pairs of another user (first at row {strange[0]}, counted from 0). "
            "Expected: all pairs of a matched set under one user. To do: give each user's sets numbers of their own."
        )
    high, low = np.full(len(size), -np.inf), np.full(len(size), np.inf)
    np.maximum.at(high, number, value[rows])
    np.minimum.at(low, number, value[rows])
    whole = size > 1
    return (high - low)[whole], owner[whole]


def _by_user(names: tuple[str, ...], compared: tuple[tuple[int, int], ...], value: np.ndarray, user: np.ndarray, cell: np.ndarray) -> Rates:
    numbers, place = np.unique(user, return_inverse=True)
    shape = (len(numbers), len(names))
    key = place * shape[1] + cell
    count = np.bincount(key, minlength=shape[0] * shape[1])
    sums = np.bincount(key, value, minlength=shape[0] * shape[1])
    mean = np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0).reshape(shape)
    return Rates(names, compared, mean, np.bincount(cell, minlength=shape[1]), numbers)


def violation(event_rates: Rates) -> float:
    """The notion's D: the largest |q(e) - q(e')| over the compared events, or CF's mean gap; nan where no comparison has users."""
    if not event_rates.compared:
        return float(event_rates.value[0])
    a, b = np.array(event_rates.compared).T
    gaps = np.abs(event_rates.value[a] - event_rates.value[b])
    return float(np.nanmax(gaps)) if (~np.isnan(gaps)).any() else float("nan")

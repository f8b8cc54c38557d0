"""One batch of pairs, arranged by user: what every statistic of pairs is made from, and is lost again with the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenhand.audits.clusters import Distinct, distinct
from evenhand.audits.outcomes import OutcomeBatches, Outcomes, in_batches
from evenhand.audits.units import Judged
from evenhand.core import EvenhandError, Groups
from evenhand.data.batches import PAIRS_AT_ONCE


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of pairs: all pairs of some users. given: with those without a strict preference, which `strict` leaves out; texts, keys: no
    number of a text, or of a pair, is as large.
    """

    given: Outcomes
    texts: int
    keys: int

    @cached_property
    def strict(self) -> Outcomes:
        return self.given.strict()

    @cached_property
    def _users(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        user = self.strict.user
        low = int(user.min()) if len(user) else 0
        counts = np.bincount(user - low)
        there = counts > 0
        dense = user - low if there.all() else (np.cumsum(there) - 1)[user - low]
        return np.flatnonzero(there) + low, counts[there], dense.astype(np.int64)

    @property
    def number(self) -> np.ndarray:
        """The users' own numbers, int64[U], rising."""
        return self._users[0]

    @property
    def pairs(self) -> np.ndarray:
        """Of each user, int64[U]."""
        return self._users[1]

    @property
    def user(self) -> np.ndarray:
        """Of each pair, int64[n] in 0..U-1."""
        return self._users[2]

    @cached_property
    def share(self) -> np.ndarray:
        """A pair's weight within its user, float64[n]; sums to 1 a user."""
        if self.strict.weight is None:
            return (1.0 / self.pairs)[self.user]
        weight = self.strict.weight.astype(np.float64)
        return weight / np.bincount(self.user, weight, minlength=len(self.number))[self.user]

    @cached_property
    def whole(self) -> np.ndarray:
        """What a user's shares add up to, 1 but for rounding."""
        return np.bincount(self.user, self.share, minlength=len(self.number))

    @cached_property
    def judged(self) -> Judged:
        o = self.strict
        responses = None if o.chosen is None or o.rejected is None else (o.chosen, o.rejected)
        return Judged(self.user, o.prompt, responses, self.texts)

    def user_means(self, value: np.ndarray) -> np.ndarray:
        """float64[U] from value [n]. Shares add up to 1 but for rounding; divided by their sum, a mean of values up to 1 is at most 1."""
        return np.bincount(self.user, self.share * value, minlength=len(self.number)) / self.whole

    @cached_property
    def ballots(self) -> Distinct | None:
        """A user's judgements of one pair of responses together; None where pairs are not known."""
        o = self.strict
        return None if o.pair is None or o.side is None else distinct(self.user * self.keys + o.pair)

    def take(self, rows: np.ndarray) -> Batch:
        """Some of the pairs with a strict preference, bool[n], and their users."""
        return self if len(rows) and rows.all() else Batch(self.strict.take(np.flatnonzero(rows)), self.texts, self.keys)


@dataclass(frozen=True)
class Batches:
    """The batches of outcomes, each time anew."""

    outcomes: OutcomeBatches

    def __iter__(self) -> Iterator[Batch]:
        return map(self._arranged, self.outcomes)  # which keeps no batch while it reads the next one

    def _arranged(self, outcomes: Outcomes) -> Batch:
        return Batch(outcomes, self.outcomes.texts, self.outcomes.pairs)


Columns = Callable[[Batch], Sequence[np.ndarray]]


def batches_of(outcomes: Outcomes | OutcomeBatches, groups: Groups | None = None) -> Iterable[Batch]:
    """Batches to go over as often as needed. Few pairs in memory are arranged once; batches from elsewhere are read each time anew.

    Errors: a user without an entry in `groups`.
    """
    batches = in_batches(outcomes)
    refuse_ungrouped(batches, groups)
    few = isinstance(outcomes, Outcomes) and len(outcomes) <= PAIRS_AT_ONCE
    return list(Batches(batches)) if few else Batches(batches)


def refuse_ungrouped(batches: OutcomeBatches, groups: Groups | None) -> None:
    """An error where a user has no entry in `groups`."""
    if groups is not None and batches.users > len(groups.of_user):
        raise EvenhandError(
            f"User number {batches.users - 1} has no group entry. Expected: one entry of Groups.of_user for each of the users"
            f" (found {len(groups.of_user)}; -1 = in no group)."
        )

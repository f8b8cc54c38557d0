"""Pairs batch by batch: whole users, in an order that no file decides, so that no sum depends on how the data was cut into files.

Statistics that go over many pairs take them so. One user's pairs are all in one batch; numbers of users and texts are common to all batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np

from evenhand.core import Exclusions, PreferenceData
from evenhand.data.ballots import Ballots, find_ballots
from evenhand.data.survey import Survey, survey

PAIRS_AT_ONCE = 1_500_000  # a batch ends with the user who reaches this: a few hundred megabytes of arrays

T = TypeVar("T")
Rows = Callable[[PreferenceData], np.ndarray]  # which pairs of a batch, bool[n]: a function of each pair alone


@dataclass(frozen=True)
class PairBatches:
    """What `PreferenceData` holds, without its rows.

    users, texts, attributes, exclusions, source, fingerprint: as there. pairs: how many in all. read: the batches, each time anew and the same,
    each a PreferenceData with the users and texts of all.
    """

    users: Sequence[str]
    texts: Sequence[str]
    pairs: int
    read: Callable[[], Iterator[PreferenceData]]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclusions: Exclusions = field(default_factory=Exclusions)
    source: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        return self.pairs

    def __iter__(self) -> Iterator[PreferenceData]:
        return self.read()

    @cached_property
    def survey(self) -> Survey:
        """Counted in one pass, and kept."""
        return survey(self, len(self.users), len(self.texts))

    @cached_property
    def ballots(self) -> Ballots:
        """The distinct pairs that were judged: found in one pass, and kept."""
        return find_ballots(self, len(self.texts))


Judged = PreferenceData | PairBatches  # what statistics of pairs take


def batches_of(data: Judged, at_once: int = PAIRS_AT_ONCE) -> PairBatches:
    """The data in batches of whole users, where its pairs stand in the order of users as in `canonical`; else in one batch. Batches as they are.

    at_once: a batch ends with the user who reaches so many pairs. The batches are views.
    """
    if isinstance(data, PairBatches):
        return data
    slices = [slice(0, len(data))]
    if len(data) > at_once and bool((np.diff(data.user) >= 0).all()):
        count = np.bincount(data.user, minlength=len(data.users))
        ends = np.concatenate([[0], np.cumsum(count)[batch_ends(count, at_once) - 1]]).tolist()
        slices = [slice(a, b) for a, b in pairwise(ends)]

    def read() -> Iterator[PreferenceData]:
        return (data.take(some) for some in slices) if len(slices) > 1 else iter([data])

    return PairBatches(data.users, data.texts, len(data), read, data.attributes, data.exclusions, data.source, data.fingerprint)


def selected(batches: PairBatches, rows: Rows) -> PairBatches:
    """Those of the pairs that `rows` marks, in the same batches; without numbers, which support and groups do not read."""

    def read() -> Iterator[PreferenceData]:
        return (replace(batch, numbers={}).take(np.flatnonzero(rows(batch))) for batch in batches)

    pairs = sum(int(np.count_nonzero(rows(batch))) for batch in batches)
    return replace(batches, pairs=pairs, read=read)


def again(read: Callable[[], Iterable[T]]) -> Callable[[], Iterator[T]]:
    """`read` for several passes. Where it gives one thing alone - data that is one batch - this is kept, and not worked out again."""
    kept: list[T] = []

    def passes() -> Iterator[T]:
        if kept:
            yield kept[0]
            return
        once: list[T] = []
        for number, found in enumerate(read()):
            once = [found] if number == 0 else []
            yield found
        kept.extend(once)

    return passes


def batch_ends(pairs_of_user: np.ndarray, at_once: int = PAIRS_AT_ONCE) -> np.ndarray:
    """Where batches end, int64[batches]: numbers of users, exclusive. pairs_of_user int64[users], in the order of the users.

    A user with more pairs than a batch has ends his or her batch; no users are no batch.
    """
    total = np.cumsum(pairs_of_user)
    ends: list[int] = []
    while (ends[-1] if ends else 0) < len(total):
        done = int(total[ends[-1] - 1]) if ends else 0
        ends.append(min(int(np.searchsorted(total, done + at_once)) + 1, len(total)))
    return np.array(ends, np.int64)

"""Pairs batch by batch: whole users, in an order that no file decides, so that no sum depends on how the data was cut into files.

Statistics that go over many pairs take them so. One user's pairs are all in one batch; numbers of users and texts are common to all batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evenhand.core import Exclusions, PreferenceData

PAIRS_AT_ONCE = 1_500_000  # a batch ends with the user who reaches this: a few hundred megabytes of arrays


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

"""The distinct pairs that were judged, numbered over all batches: a ballot is an unordered {chosen, rejected} under one prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenhand.core import DataError, PreferenceData

MOST = 2**62  # an integer that two numbers make together stays below
MOST_SLOTS = 26  # bits: 256 MB
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Ballots:
    """Numbers 0..m-1 in lexicographic order of prompt, lower and higher response. Memory: linear in the distinct pairs.

    texts: how many the data has. heads int64[h], sorted: the distinct (prompt, lower response), where texts are so many that three numbers do
    not fit into one; else None. keys int64[m], sorted: head, or what stands for it, and the higher response.
    """

    texts: int
    heads: np.ndarray | None
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, data: PreferenceData) -> np.ndarray:
        """The number of each pair, int64[n]; every pair is one of those numbered, and has both texts."""
        key = self._key(data)
        number = self._table[_slots(key, len(self._table))].astype(np.int64)
        other = np.flatnonzero(self.keys[number] != key) if len(self.keys) else number  # another key has the slot
        number[other] = np.searchsorted(self.keys, key[other])
        return number

    @cached_property
    def _table(self) -> np.ndarray:
        """int32: the number of a key that falls into each slot. A search among millions of keys takes ten times as long."""
        table = np.zeros(2 ** min(max((16 * len(self.keys)).bit_length(), 4), MOST_SLOTS), np.int32)
        table[_slots(self.keys, len(table))] = np.arange(len(self.keys), dtype=np.int32)
        return table

    def _key(self, data: PreferenceData) -> np.ndarray:
        head, high = _head(data, self.texts)
        if self.heads is not None:
            head = np.searchsorted(self.heads, head)
        head *= self.texts
        head += high
        return head

    @cached_property
    def items(self) -> tuple[np.ndarray, np.ndarray, int]:
        """The responses of each ballot under its prompt, numbered: lower and higher int64[m], and how many there are."""
        head, high = np.divmod(self.keys, max(self.texts, 1))
        prompt, low = np.divmod(head if self.heads is None else self.heads[head], max(self.texts, 1))
        distinct, number = np.unique(np.concatenate([prompt, prompt]) * self.texts + np.concatenate([low, high]), return_inverse=True)
        first, second = number.reshape(2, -1)
        return first, second, len(distinct)


def find_ballots(batches: Iterable[PreferenceData], texts: int) -> Ballots:
    """The ballots of the pairs that have both texts. batches: gone through once, twice where there are many texts."""
    heads = None
    if (texts + 1) * texts * texts >= MOST:
        heads = distinct(_head(_known(batch), texts)[0] for batch in batches)
        if len(heads) * texts >= MOST:
            raise DataError(f"{len(heads)} x {texts} distinct combinations", expected="fewer than 2**62", remedy="audit the data in parts")
    empty = Ballots(texts, heads, np.empty(0, np.int64))
    return Ballots(texts, heads, distinct(empty._key(_known(batch)) for batch in batches))


def distinct(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The sorted distinct values of several int64 arrays. Memory: linear in these, and in one array."""
    found, more, waiting = np.empty(0, np.int64), [], 0
    for part in parts:
        more.append(_once(part))
        waiting += len(more[-1])
        if waiting >= len(found):  # so that each value is sorted a few times only, however many arrays there are
            found, more, waiting = _once(np.concatenate([found, *more])), [], 0
    return _once(np.concatenate([found, *more])) if more else found


def _slots(key: np.ndarray, slots: int) -> np.ndarray:
    """A slot for each key: its product with an odd number near 2**64 over the golden ratio, highest bits first (Knuth, TAOCP 3, sec. 6.4)."""
    return (key.view(np.uint64) * GOLDEN) >> np.uint64(64 - (slots.bit_length() - 1))


def _once(values: np.ndarray) -> np.ndarray:
    values = np.sort(values)
    return values[np.diff(values, prepend=values[:1] - 1) > 0]


def _known(data: PreferenceData) -> PreferenceData:
    known = (data.chosen >= 0) & (data.rejected >= 0)
    return data if known.all() else data.take(known)


def _head(data: PreferenceData, texts: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and lower response as one number, and the higher response, int64[n] each."""
    head = data.prompt.astype(np.int64)
    head += 1
    head *= texts
    head += np.minimum(data.chosen, data.rejected)
    return head, np.maximum(data.chosen, data.rejected)

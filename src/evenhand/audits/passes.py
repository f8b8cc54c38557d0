"""Studies: statistics that read pairs batch by batch, several at a time, each as often as it needs.

A study is a generator. It yields a pass, a pure function of one batch, and is sent what the pass gave for every batch, added up in the order
of the batches; then it yields the next pass, or returns what it found. Nothing but these sums is kept, so no array grows with the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from evenhand.core import EvenhandError

T = TypeVar("T")
Study = Generator[Callable[[Any], Any], Any, T]


@dataclass(frozen=True)
class PerUser:
    """Arrays whose last axis goes over the users of a batch: added, one batch's users follow the other's."""

    batches: tuple[np.ndarray, ...]

    def __add__(self, other: PerUser) -> PerUser:
        return PerUser(self.batches + other.batches)

    @property
    def all(self) -> np.ndarray:
        return self.batches[0] if len(self.batches) == 1 else np.concatenate(self.batches, axis=-1)


def per_user(values: np.ndarray) -> PerUser:
    """Of the users of one batch, who are in no other one."""
    return PerUser((values,))


def over(batches: Iterable[Any], study: Study[T]) -> T:
    """What a study finds. batches: the same ones, in the same order, each time they are gone through. Errors: no batch."""
    try:
        asked = next(study)
    except StopIteration as end:
        return end.value
    while True:
        total = _total(batches, asked)
        try:
            asked = study.send(total)
        except StopIteration as end:
            return end.value


def nothing() -> Study[None]:
    """A study that asks for nothing and finds nothing."""
    return
    yield


def side_by_side(*studies: Study[Any], split: Callable[[Any], Sequence[Any]] | None = None) -> Study[tuple[Any, ...]]:
    """What several studies find, read together: their first passes in one pass, then their second ones.

    split: makes of each batch one batch for each of the studies, such as the pairs of a bin. None: all read the same.
    """
    asked: dict[int, Callable[[Any], Any]] = {}
    found: list[Any] = [None] * len(studies)
    sums: dict[int, Any] = dict.fromkeys(range(len(studies)))  # a generator is begun by sending it None
    while sums:
        asked = {}
        for at, total in sums.items():
            try:
                asked[at] = studies[at].send(total)
            except StopIteration as end:
                found[at] = end.value
        if not asked:
            break
        sums = dict(zip(asked, (yield _together(asked, split)), strict=True))
    return tuple(found)


def _together(asked: dict[int, Callable[[Any], Any]], split: Callable[[Any], Sequence[Any]] | None) -> Callable[[Any], tuple[Any, ...]]:
    def ask(batch: Any) -> tuple[Any, ...]:
        if split is None:
            return tuple(one(batch) for one in asked.values())
        own = split(batch)
        return tuple(one(own[at]) for at, one in asked.items())

    return ask


def _total(batches: Iterable[Any], ask: Callable[[Any], Any]) -> Any:
    total: Any = None
    count = 0
    for batch in batches:
        found = ask(batch)
        del batch  # before the next one is read
        total = found if count == 0 else added(total, found)
        count += 1
    if count == 0:
        raise EvenhandError("There is no batch of pairs. Expected: at least one, with a pair with a strict preference.")
    return total


def added(first: Any, second: Any) -> Any:
    """Sums of two batches, the earlier one first: arrays, numbers and what adds itself; tuples entry by entry; None is nothing measured."""
    if isinstance(first, tuple):
        return tuple(added(a, b) for a, b in zip(first, second, strict=True))
    return None if first is None else first + second

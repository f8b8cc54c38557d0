"""Trainings that somebody may watch. A method's `fit` takes pairs and a seed alone, so whoever waits for it says so around the call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Standing:
    """How far a training has come: `done` of at most `most` epochs of a head, or steps, where features train too.

    Of steps, NaN where nothing is known yet: loss of the last one, texts a second in it, seconds left at the most. valid: the last
    validation loss (Bradley-Terry, mean over users) by group's number, -1 = users in none.
    """

    done: int
    most: int
    steps: bool = False
    loss: float = math.nan
    texts_per_second: float = math.nan
    seconds_left: float = math.nan
    valid: Mapping[int, float] = field(default_factory=dict)


Tell = Callable[[Standing], None]
_told: ContextVar[Tell | None] = ContextVar("told", default=None)


@contextmanager
def watching(tell: Tell) -> Iterator[None]:
    """Inside, every training tells how far it has come: it may stop earlier, and a method may train several models one after the other."""
    before = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(before)


class Watched:
    """One phase of a training, as whoever watches is told of it: epoch by epoch, or step by step. valid: the last look at validation."""

    def __init__(self, done: int, most: int, steps: bool):
        self.first, self.most, self.steps, self.began = done, most, steps, time.perf_counter()
        self.valid: Mapping[int, float] = {}
        self.standing = Standing(done, most, steps)

    def at_round(self, number: int) -> None:
        """Before a round; of steps it is told at the first one only."""
        if not self.steps or self.standing.done == self.first:
            self._tell(Standing(self.first if self.steps else number, self.most, self.steps, valid=self.valid))

    def at_step(self, done: int, loss: float, texts_per_second: float) -> None:
        """After a step."""
        left = (time.perf_counter() - self.began) / max(1, done - self.first) * (self.most - done)
        self._tell(Standing(done, self.most, True, loss, texts_per_second, left, self.valid))

    def at_end(self) -> None:
        """All is done, however early."""
        self._tell(replace(self.standing, done=self.most, valid=self.valid, seconds_left=0.0))

    def _tell(self, standing: Standing) -> None:
        self.standing = standing
        told = _told.get()
        if told is not None:
            told(standing)

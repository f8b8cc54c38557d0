"""Epochs that somebody may watch. A method's `fit` takes pairs and a seed alone, so whoever waits for it says so around the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Tell = Callable[[int, int], None]  # (epochs done, the most there may be)
_told: ContextVar[Tell | None] = ContextVar("told", default=None)


@contextmanager
def watching(tell: Tell) -> Iterator[None]:
    """Inside, every training tells how far it has come: it may stop earlier, and a method may train several models one after the other."""
    before = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(before)


def epochs(most: int) -> Iterator[int]:
    """1 to `most`; whoever watches is told of each, and at the end, however early, that all is done."""
    tell = _told.get()
    try:
        for epoch in range(1, most + 1):
            if tell is not None:
                tell(epoch - 1, most)
            yield epoch
    finally:
        if tell is not None:
            tell(most, most)

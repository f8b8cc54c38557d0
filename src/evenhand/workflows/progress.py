"""How far a long piece of work has come: a bar in a terminal or notebook, else a line on stderr now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from evenhand import ranks

Progress = Callable[[str, int, int], None]  # (what is being done, done, in all)
EVERY = 30.0  # seconds between lines where nobody watches a bar


class Told(Protocol):
    """What workflows tell: a caller's `Progress`, and in a few words how it goes, for a bar or a line."""

    def __call__(self, what: str, done: int, total: int, how: str = "") -> None: ...


def silent(what: str, done: int, total: int, how: str = "") -> None:
    """The progress of a caller who does not want any."""


@contextmanager
def shown(progress: Progress | None) -> Iterator[Told]:
    """The caller's own progress; None: a bar where stderr is a terminal or this is a notebook, else lines. Of several ranks the first shows it."""
    if not ranks.first():
        yield silent
        return
    if progress is not None:
        yield lambda what, done, total, how="": progress(what, done, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield Lines()
        return
    columns = (
        TextColumn("{task.description:8}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[how]}", markup=False),
    )
    with Bar(*columns, console=console) as bar:
        stages = {}

        def told(what: str, done: int, total: int, how: str = "") -> None:
            if what not in stages:
                stages[what] = bar.add_task(what, total=total, how=how)
            elif done < bar.tasks[stages[what]].completed:  # the next training
                bar.reset(stages[what])
            bar.update(stages[what], completed=done, total=total, how=how)

        yield told


@dataclass
class Lines:
    """A line on stderr for a stage that takes longer than `every` seconds, and every so often after: what, how far, how long still."""

    every: float = EVERY
    clock: Callable[[], float] = time.monotonic
    began: dict[str, tuple[float, int]] = field(default_factory=dict)  # stage → when it was first told, and how far it was then
    came: dict[str, int] = field(default_factory=dict)  # stage → how far it was when last told
    last: float | None = None

    def __call__(self, what: str, done: int, total: int, how: str = "") -> None:
        now = self.clock()
        if done < self.came.get(what, done):  # the next training
            del self.began[what]
        self.came[what] = done
        start, first = self.began.setdefault(what, (now, done))
        self.last = now if self.last is None else self.last
        if now - self.last < self.every or done >= total:
            return
        self.last = now
        left = f", at most {duration((now - start) / (done - first) * (total - done))} left" if done > first else ""
        goes = f": {how}" if how else ""
        print(f"{what} {done:,} of {total:,} after {duration(now - start)}{left}{goes}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3.5 h"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

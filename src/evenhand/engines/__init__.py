"""Where work in pieces is done: here, in processes of this machine (`here.py`), or on the machines of a Ray cluster (`on_ray.py`).

Whoever has such work says how a worker prepares itself (`hold`: load a model, take the data) and what the pieces are, and gets results as
they end, each with the number of its piece. A piece whose process or machine dies is done again by another, and given up after TRIES
deaths: then all others still come. Nothing is done twice for whoever asked, though a machine that died may have done it once in vain.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evenhand.core import EvenhandError

TRIES = 3  # deaths of workers over one piece before it is given up
BEAT = 5.0  # seconds between two signs of life while no piece ends

Do = Callable[[Any], Any]  # one piece → its result
Hold = Callable[[], Do]


@dataclass(frozen=True)
class Lost:
    """A piece without a result: whatever worked on it died. why: how the last one did, for a sentence."""

    why: str


@dataclass(frozen=True)
class Raised:
    """What the work itself raised, on its way to whoever asked."""

    error: Exception


@dataclass(frozen=True)
class Up:
    """A worker that is ready for its first piece."""


def nothing() -> None:
    """No sign of life is wanted."""


class Engine(Protocol):
    """Who does pieces of work."""

    @property
    def at_once(self) -> int:
        """Pieces at once, one thread each, where nobody says how many."""

    def run(
        self, hold: Hold, work: Iterable[Any], *, at_once: int | None = None, gpu: bool = False, beat: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, Any | Lost]]:
        """Every piece's number, 0 for the first, with its result or `Lost`, in the order in which they end.

        hold: called once in each worker; gives what does a piece. It and the pieces may go to another machine: a function of a module, or
        `functools.partial` of one, whose arguments can be pickled. What is large belongs into hold's arguments, which are sent once.
        work: read no further ahead than there are workers. gpu: the work computes on a GPU, of which a worker on Ray gets one for itself.
        beat: called every few seconds while nothing ends. Leaving early, by an exception or an interrupt, ends all workers.

        Raises what the work raised: EvenhandError, MemoryError and OSError as they are, all else as RuntimeError with its name and place.
        """


class Pool(Protocol):
    """The workers of one run."""

    def start(self) -> Hashable:
        """A new worker, which will be heard of by Up, Raised or Lost."""

    def give(self, worker: Any, piece: Any) -> None: ...

    def wait(self, seconds: float) -> Sequence[tuple[Any, Any]]:
        """What workers have to say by now: Up, Raised, Lost, or a result; empty when nothing came in time."""

    def stop(self) -> None:
        """End all workers."""


def deal(pool: Pool, work: Iterable[Any], at_once: int, beat: Callable[[], None]) -> Iterator[tuple[int, Any | Lost]]:
    """The one loop of all engines: pieces to workers, results out, lost pieces again."""
    coming, waiting, deaths = enumerate(work), deque[tuple[int, Any]](), Counter[int]()
    starting, idle, busy = set[Any](), list[Any](), dict[Any, tuple[int, Any]]()
    unborn = 0  # workers in a row that died before they were ready
    try:
        while True:
            while len(waiting) + len(busy) < at_once and (new := next(coming, None)) is not None:
                waiting.append(new)
            while idle and waiting:
                busy[worker := idle.pop()] = waiting.popleft()
                pool.give(worker, busy[worker][1])
            if not waiting and not busy:
                return
            while len(starting) < min(len(waiting), at_once - len(busy)):
                starting.add(pool.start())
            said = pool.wait(BEAT)
            if not said:
                beat()
            for worker, found in said:
                starting.discard(worker)
                given = busy.pop(worker, None)
                if isinstance(found, Raised):
                    raise found.error
                if not isinstance(found, Lost):
                    unborn = 0
                    idle.append(worker)
                    if given is not None:
                        yield given[0], found
                    continue
                if worker in idle:
                    idle.remove(worker)
                elif given is None:  # it died before it was ready
                    unborn += 1
                    if unborn >= TRIES * at_once:
                        raise EvenhandError(
                            f"Workers die before they begin: {found.why}. Expected: workers that start. To do: fewer at once, or more memory."
                        )
                else:
                    deaths[given[0]] += 1
                    if deaths[given[0]] < TRIES:
                        waiting.append(given)
                    else:
                        yield given[0], found
    finally:
        pool.stop()


def carried(error: Exception) -> Raised:
    """The error in a form that every process can read: an exception's own class may be known where it was raised alone."""
    if isinstance(error, EvenhandError):
        return Raised(EvenhandError(str(error)))
    if isinstance(error, MemoryError):
        return Raised(MemoryError(str(error)))
    if isinstance(error, OSError):
        return Raised(OSError(error.errno, error.strerror or str(error), error.filename))
    return Raised(RuntimeError(f"{type(error).__name__}: {error}{_place(error)}"))


def _place(error: Exception) -> str:
    """ " (loop.py, line 12)": where it was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f" ({last.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {last.tb_lineno})" if last is not None else ""

"""Work on this machine: in this process, or in processes of their own, one thread each.

A process is a copy of this one where the system can copy processes: what `hold` takes along is shared and never sent. For work on a GPU,
which a copied process could not use, and beside Ray, it starts anew and is sent a pickle. A process ends when its parent does, however that came about.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from evenhand.core import DataError
from evenhand.engines import Hold, Lost, Up, carried, deal, nothing

GRACE = 5.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class InProcess:
    """One piece after the other in this process: nothing is sent and nothing is lost, and what the work raises is raised as it is."""

    at_once: int = 1

    def run(
        self, hold: Hold, work: Iterable[Any], *, at_once: int | None = None, gpu: bool = False, beat: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, Any | Lost]]:
        do = hold()
        for number, piece in enumerate(work):
            yield number, do(piece)


@dataclass(frozen=True)
class Processes:
    """So many processes at once; one that dies takes only its piece with it."""

    at_once: int

    def run(
        self, hold: Hold, work: Iterable[Any], *, at_once: int | None = None, gpu: bool = False, beat: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, Any | Lost]]:
        return deal(_Pool(multiprocessing.get_context("spawn" if gpu or _ray_runs() else None), hold), work, at_once or self.at_once, beat)


def processes(jobs: int) -> Processes:
    """jobs: processes at once; 0 = as many as there are cores."""
    if jobs < 0:
        raise DataError(f"jobs is {jobs}", expected="1 or more, or 0 for as many as there are cores", remedy="leave it out")
    return Processes(jobs or os.cpu_count() or 1)


def _ray_runs() -> bool:
    """Whether this process is connected to Ray, whose threads hold locks that a copy would wait for."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@dataclass(frozen=True)
class _Pool:
    context: BaseContext
    hold: Hold
    running: dict[Connection, BaseProcess] = field(default_factory=dict)  # a worker is known by the line to it

    def start(self) -> Connection:
        line, its = self.context.Pipe()
        process = self.context.Process(target=_live, args=(self.hold, its), daemon=True)  # type: ignore[attr-defined]
        process.start()
        its.close()  # the process holds the only other end: the line breaks when it dies
        self.running[line] = process
        return line

    def give(self, worker: Connection, piece: Any) -> None:
        try:
            worker.send(piece)
        except OSError:  # it has died, which `wait` hears of
            return

    def wait(self, seconds: float) -> list[tuple[Connection, Any]]:
        said = []
        for line in wait(list(self.running), seconds):
            assert isinstance(line, Connection)
            try:
                said.append((line, line.recv()))
            except (EOFError, OSError):
                process = self.running.pop(line)
                line.close()
                process.join()
                said.append((line, Lost(f"its process ended with {_ended(process.exitcode)}")))
        return said

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for line, process in self.running.items():
            process.join(GRACE)
            process.kill()  # what is stuck in another library does not hear the first
            process.join()
            line.close()
        self.running.clear()


def _live(hold: Hold, line: Connection) -> None:
    """A process's whole life."""
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its children itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the parent does on being ended is not this one's to do
    os.environ["OMP_NUM_THREADS"] = "1"
    gc.set_threshold(50_000, 20, 20)  # one that starts anew loads libraries of a million objects, of which none is garbage
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)  # a copy of a process that has computed with several has none of its threads, and would wait for them
    try:
        do, said = hold(), Up()
        while True:
            line.send(said)
            said = do(line.recv())
    except Exception as error:
        if os.environ.get("EVENHAND_DEBUG"):
            traceback.print_exc()
        line.send(carried(error))


def _end_with(parent: Any) -> None:
    """End this process as soon as `parent` has ended, however that came about: nobody would take its results, and it holds a core."""
    parent.join()
    os._exit(1)


def _ended(code: int | None) -> str:
    """ "signal 9 (out of memory?)", "exit code 1"."""
    if code is not None and code < 0:
        return f"signal {-code}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return f"exit code {code}"

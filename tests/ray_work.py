"""Work for engines, importable by the workers of a cluster: nothing here needs a test's own modules."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evenhand.core import DataError

Found = tuple[int, int]  # the result, and the process that found it


def squares(plus: int) -> Callable[[int], Found]:
    return lambda piece: (piece**2 + plus, os.getpid())


def slow_squares(folder: Path, seconds: float) -> Callable[[int], Found]:
    """Each leaves a file whose name tells the piece and the process while it is at work."""

    def do(piece: int) -> Found:
        begun = folder / f"{piece}-{os.getpid()}"
        begun.touch()
        time.sleep(seconds)
        begun.unlink()
        return piece**2, os.getpid()

    return do


def together(folder: Path, count: int) -> Callable[[int], Found]:
    """No piece ends before so many are at work at once."""

    def do(piece: int) -> Found:
        (folder / str(piece)).touch()
        while len(list(folder.iterdir())) < count:
            time.sleep(0.02)
        return piece, os.getpid()

    return do


def deadly(piece_that_kills: int) -> Callable[[int], Found]:
    def do(piece: int) -> Found:
        if piece == piece_that_kills:
            os.kill(os.getpid(), signal.SIGKILL)
        return piece**2, os.getpid()

    return do


def deadly_once(folder: Path) -> Callable[[int], Found]:
    """Every piece kills the first process that tries it."""

    def do(piece: int) -> Found:
        if not (mark := folder / f"tried-{piece}").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return piece**2, os.getpid()

    return do


def failing(error: str) -> Callable[[int], Any]:
    errors = {
        "data": DataError("it is odd", expected="even", remedy="double it"),
        "disk": OSError(28, "No space left on device", "/x/y"),
        "own": KeyError("k"),
    }

    def do(piece: int) -> int:
        if piece == 2:
            raise errors[error]
        return piece

    return do


def failing_start() -> Callable[[int], Any]:
    raise DataError("there is no model", expected="one", remedy="bring it")


def dying_start() -> Callable[[int], Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def threads() -> Callable[[int], str]:
    return lambda piece: os.environ.get("OMP_NUM_THREADS", "")

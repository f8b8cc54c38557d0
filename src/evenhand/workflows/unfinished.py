"""Texts as they are written: each appended to a file beside the place of the whole, so that whatever ends the process costs the last few
seconds at most.

    OUT.unfinished     a line with the settings, then a line a text: {"number": …, "text": …, "tokens": …, "whole": …}

Another setting's file is refused by the name of what differs; a torn last line is dropped. One process at a time writes to it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from evenhand.core import DataError, clip
from evenhand.texts.generators.generator import Answer
from evenhand.workflows.sealed import first_difference
from evenhand.writing import settled

ABOUT = "texts of evenhand generate that are not finished: the same command goes on"
SYNC = 2.0  # seconds


class Unfinished:
    """found: number of a request → its answer, of an earlier process."""

    def __init__(self, stream: IO[bytes], found: Mapping[int, Answer]):
        self.found = found
        self._stream, self._synced = stream, time.monotonic()

    def add(self, number: int, answer: Answer) -> None:
        self._stream.write(_line({"number": number, "text": answer.text, "tokens": answer.tokens, "whole": answer.whole}))
        self._stream.flush()
        if time.monotonic() - self._synced > SYNC:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()


def beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.unfinished")


@contextmanager
def unfinished(out: Path, settings: Mapping[str, Any]) -> Iterator[Unfinished]:
    """Of the texts that `out` is to hold. Raises DataError where the file is somebody else's, of other settings, or in use."""
    path = beside(out)
    head = _line({"about": ABOUT, "settings": settings})
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        stream = os.fdopen(settled(path.parent, lambda: os.open(path, flags, 0o644)), "r+b")
    except OSError as error:
        raise DataError(
            f"it cannot be written ({error.strerror or error})", expected="a place that can be written to", remedy="choose another --out", file=path.name
        ) from error  # fmt: skip
    with stream:
        lock(stream, path)
        held = stream.read()
        found: dict[int, Answer] = {}
        if not head.startswith(held):  # else nothing is there, or not even the first line
            first, *rest = held.split(b"\n")
            _compare(first, settings, path)
            found = _answers(rest)
            kept = held[: sum(len(line) + 1 for line in (first, *rest[: len(found)]))]
        else:
            kept = head
        if kept != held:
            stream.seek(0)
            stream.write(kept)
            stream.truncate()
            stream.flush()
            os.fsync(stream.fileno())
        try:
            yield Unfinished(stream, found)
        except BaseException:
            if os.fstat(stream.fileno()).st_size == len(head):  # no text came that could go on
                with suppress(OSError):
                    path.unlink()
            raise


def _answers(lines: list[bytes]) -> dict[int, Answer]:
    """Of the lines before the first that is torn."""
    found: dict[int, Answer] = {}
    for line in lines[:-1]:  # what follows the last line break is torn, or nothing
        try:
            said = json.loads(line)
            found[int(said["number"])] = Answer(str(said["text"]), int(said["tokens"]), bool(said["whole"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            break
    return found


def _compare(first: bytes, settings: Mapping[str, Any], path: Path) -> None:
    try:
        said = json.loads(first)
        there = said["settings"] if said["about"] == ABOUT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        there = None
    if there is None:
        raise DataError(
            "it is not evenhand's, and would be lost",
            expected="no such file, or one of texts that are not finished",
            remedy="move it away, or choose another --out",
            file=path.name,
        )
    refuse_others(there, settings, path.name)


def refuse_others(there: Any, settings: Mapping[str, Any], file: str, what: str = "texts") -> None:
    """Raises DataError where what is there was written with other settings, naming the first that differs."""
    if different := first_difference(there, json.loads(json.dumps(settings))):
        raise DataError(
            f"it holds {what} of other settings: {clip(different[0], 300)}",
            expected=different[1].removesuffix(", as computed again"),
            remedy="give the same options to go on, move it away, or choose another --out",
            file=file,
        )


def lock(stream: IO[bytes] | int, path: Path) -> None:
    """Raises DataError where another process holds it; it is let go when the stream is closed, or this process ends."""
    if os.name == "nt":
        return
    import errno
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise DataError(
                "another process writes there", expected="one at a time", remedy="wait for it, or choose another --out", file=path.name
            ) from error


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"

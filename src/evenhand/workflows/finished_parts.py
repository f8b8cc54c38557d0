"""What is finished of a long file's scoring: a part a batch, each whole or not there, so that whatever ends the process costs one batch.

    OUT.unfinished/
        settings.json                what decides a reward; a folder of other settings is refused by the name of what differs
        part-000000.safetensors      rewards of the first batch, which of its rows they are, who stood in it, and of what users and texts they are

A part counts while its batch has the same users and texts, so that a row that is mended costs its own batch. One process at a time works in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evenhand import ranks
from evenhand.core import DataError
from evenhand.workflows.unfinished import lock, refuse_others
from evenhand.writing import part as partial
from evenhand.writing import settled, stage

ABOUT = "finished parts of evenhand score: the same command goes on"
SETTINGS = "settings.json"
OURS = re.compile(r"part-\d{6}\.safetensors|\.part-\d{6}\.safetensors\.evenhand-part")


@dataclass(frozen=True)
class Part:
    """rewards float32[n, k] of the n good rows of a batch; kept bool[rows of the batch]: which ones. key uint64[n] of user and prompt, of candidates.

    users uint64[u]: keys of its distinct users; known bool[u]: read from a history. counts int64[3]: rows left out, rows without their own pair in
    the history, rows with a text that was not read whole. content uint8[32]: SHA-256 of the batch's users and texts.
    """

    rewards: np.ndarray
    kept: np.ndarray
    key: np.ndarray
    users: np.ndarray
    known: np.ndarray
    counts: np.ndarray
    content: np.ndarray


class Parts:
    """Of one folder; without one, nothing is kept."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def get(self, number: int, content: np.ndarray) -> Part | None:
        """None: not there, damaged, or of other rows. Raises DataError where the first part is: then they all are of other data."""
        if self.folder is None:
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(_place(self.folder, number).read_bytes())
            part = Part(**{field.name: arrays[field.name] for field in fields(Part)})
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if np.array_equal(part.content, content):
            return part
        if number:
            return None
        raise DataError(
            "it holds parts of other data: its first rows have other users or texts", expected="parts of these rows",
            remedy="give the same data to go on, move it away, or choose another --out", file=self.folder.name,
        )  # fmt: skip

    def put(self, number: int, made: Part) -> None:
        if self.folder is None:
            return
        from safetensors.numpy import save

        path = _place(self.folder, number)
        stage(path, save({name: np.ascontiguousarray(values) for name, values in vars(made).items()}))
        os.replace(partial(path), path)


def beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.unfinished")


@contextmanager
def parts(folder: Path | None, settings: Mapping[str, Any]) -> Iterator[Parts]:
    """Raises DataError where the folder is somebody else's, of other settings, in use, or cannot be written to."""
    if folder is None or ranks.count() > 1:  # several ranks must find the same
        yield Parts(None)
        return
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / SETTINGS).is_file())):
            raise _foreign(folder)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        stream = os.fdopen(settled(folder, lambda: os.open(folder / SETTINGS, flags, 0o644)), "r+b")
    except OSError as error:
        raise DataError(
            f"it cannot be written ({error.strerror or error})", expected="a place that can be written to", remedy="choose another --out",
            file=folder.name,
        ) from error  # fmt: skip
    with stream:
        lock(stream, folder)
        said = json.dumps({"about": ABOUT, "settings": settings}).encode()
        held = stream.read()
        if not said.startswith(held):  # something is there, and all of it
            if (there := _settings(held)) is None:
                raise _foreign(folder)
            if any(OURS.fullmatch(path.name) for path in folder.iterdir()):
                refuse_others(there, settings, folder.name, "parts")
        if held != said:  # where no part was finished, as when the first row was bad and has been mended since, no settings are lost
            stream.seek(0)
            stream.truncate()
            stream.write(said)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            yield Parts(folder)
        except BaseException:
            with suppress(OSError):  # somebody may have taken it away, which is not what went wrong
                if not any(OURS.fullmatch(path.name) for path in folder.iterdir()):  # as where the first row is bad: nothing was finished
                    clear(folder)
            raise


def clear(folder: Path) -> None:
    """Takes the parts away, and the folder unless something else lies there."""
    if (folder / SETTINGS).is_file() and _settings((folder / SETTINGS).read_bytes()) is not None and ranks.first():
        for path in (*(p for p in folder.iterdir() if OURS.fullmatch(p.name)), folder / SETTINGS):  # what anybody else put there stays
            path.unlink()
        with suppress(OSError):
            folder.rmdir()


def _foreign(folder: Path) -> DataError:
    return DataError(
        "it is not evenhand's", expected="no such folder, or one of finished parts", remedy="move it away, or choose another --out",
        file=folder.name,
    )  # fmt: skip


def _settings(held: bytes) -> Any:
    """None where these are not ours."""
    try:
        said = json.loads(held)
        return said["settings"] if said["about"] == ABOUT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _place(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.safetensors"

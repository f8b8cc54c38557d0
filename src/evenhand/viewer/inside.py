"""Files under one folder, and none beside it: what is read here is a regular file of that folder, reached by no link."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from evenhand.core import DataError

# a link as the last part is no file, and a pipe is opened without waiting for a writer; Windows has neither flag
FLAGS = os.O_RDONLY if os.name == "nt" else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
EXPECTED = "a file of the folder itself, reached by no link"


def read(root: Path, parts: Sequence[str], most: int) -> bytes:
    """The bytes of a file, at most `most` and one more. root: resolved. parts: the names that lead from there to it.

    Raises DataError for what lies elsewhere, is no regular file, or cannot be read.
    """
    path, shown = root.joinpath(*parts), "/".join(parts)
    if not parts or any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in parts):
        raise DataError("it is no name of a file", expected=EXPECTED, remedy="choose a file that is listed", file=shown)
    try:
        with open(path, "rb", opener=_open) as stream:
            status = os.fstat(stream.fileno())
            # what was opened lies where its name says, and no part of that name is a link
            if path.resolve(strict=True) != path or not os.path.samestat(status, os.lstat(path)):
                raise DataError("it is reached by a link", expected=EXPECTED, remedy="put the file itself there", file=shown)
            if not S_ISREG(status.st_mode):
                raise DataError("it is no regular file", expected=EXPECTED, remedy="choose a file that is listed", file=shown)
            return stream.read(most + 1)
    except OSError as error:
        found = f"it cannot be read ({error.strerror or type(error).__name__})"
        raise DataError(found, expected=EXPECTED, remedy="look at its rights, or remove the link", file=shown) from error


def _open(path: str, _: int) -> int:
    return os.open(path, FLAGS)

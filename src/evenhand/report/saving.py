"""Files of a report → a folder, each in one step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evenhand.core import EvenhandError


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file, name → text, in the mapping's order. A reader never sees half of one.

    Raises EvenhandError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _replace(folder / name, text)
    except OSError as error:
        found = f"The report cannot be written to {folder}: {error.strerror or error}"
        raise EvenhandError(f"{found}. Expected: a folder that can be written. To do: name another one.") from error


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

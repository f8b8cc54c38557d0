"""Who is in which group, as a table: written only when asked for, since it says of every user by id how common his or her taste is."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.core import DataError, Groups

COLUMNS = ("user", "evenhand_seed", "evenhand_group", "evenhand_support")  # no other program's names: they tell our files from others


@dataclass(frozen=True)
class Assignment:
    """One deal's groups and support of every user. support float[users], nan = unknown."""

    seed: int
    groups: Groups
    support: np.ndarray

    def rows(self, users: Sequence[str]) -> Iterator[tuple[str, int, str, str]]:
        for user, group, value in zip(users, self.groups.of_user.tolist(), self.support.tolist(), strict=True):
            yield user, self.seed, self.groups.names[group] if group >= 0 else "", "" if np.isnan(value) else f"{value:.6f}"


def check_place(file: Path) -> None:
    """Raises DataError where something lies that `write` did not write: it would be lost."""
    if not file.exists():
        return
    problem = "a folder" if file.is_dir() else "" if _head(file) == ",".join(COLUMNS).encode() else "a file that evenhand did not write"
    if problem:
        expected = f"no file yet, or one with the columns {', '.join(COLUMNS)}"
        raise DataError(f"--assignments is {problem}", expected=expected, remedy="choose another name", file=file.name)


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.readline(200).rstrip(b"\r\n")


def write(file: Path, users: Sequence[str], assignments: Sequence[Assignment]) -> None:
    """CSV, one row a user and seed; group and support are empty where unknown. All rows or no file; readable by its owner alone."""
    check_place(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            for assignment in assignments:
                writer.writerows(assignment.rows(users))
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

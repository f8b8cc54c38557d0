"""Who is in which group, as a table: written only when asked for, since it says of every user by id how common his or her taste is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand import writing
from evenhand.core import Groups
from evenhand.data.csv_cells import neutral

KIND, COLUMNS = "assignments", ("user", "evenhand_seed", "evenhand_group", "evenhand_support")


@dataclass(frozen=True)
class Assignment:
    """One deal's groups and support of every user. support float[users], nan = unknown."""

    seed: int
    groups: Groups
    support: np.ndarray

    def rows(self, users: Sequence[str]) -> Iterator[tuple[str, int, str, str]]:
        for user, group, value in zip(users, self.groups.of_user.tolist(), self.support.tolist(), strict=True):
            yield (
                neutral(user),
                self.seed,
                neutral(self.groups.names[group]) if group >= 0 else "",
                "" if np.isnan(value) else f"{value:.6f}",
            )


def check_place(file: Path) -> None:
    """Raises DataError where something lies that `write` did not write: it would be lost."""
    writing.check(file.parent, [file.name], KIND)


def write(file: Path, users: Sequence[str], assignments: Sequence[Assignment]) -> None:
    """CSV, one row a user and seed; group and support are empty where unknown. All rows or no file; readable by its owner alone."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for assignment in assignments:
        writer.writerows(assignment.rows(users))
    writing.write(file.parent, {file.name: stream.getvalue().encode("utf-8", "surrogatepass")}, KIND, private=True)

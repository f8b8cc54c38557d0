"""Where every row went: counts by reason and by group, the list of excluded rows, and the marks that lead there."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evenhand.core import DataError, Exclusions
from evenhand.data.csv_cells import neutral
from evenhand.data.rows import Fault
from evenhand.writing import check, write

KIND = "list of excluded rows"


class Marks:
    """The first fault of each row of a batch: code int16[n], 0 = good, else its place in `faults`."""

    def __init__(self, rows: int):
        self.code = np.zeros(rows, np.int16)
        self.faults: list[Fault | None] = [None]

    def mark(self, rows: np.ndarray, fault: Fault) -> None:
        """rows bool[n]. A row keeps the fault it was given first."""
        if rows.any():
            self.code[rows & (self.code == 0)] = len(self.faults)
            self.faults.append(fault)

    @property
    def good(self) -> np.ndarray:
        return self.code == 0


class Ledger:
    """Adds up over a load. No text and no user id ever enters it."""

    def __init__(self) -> None:
        self.rows_in = 0
        self.reasons: Counter[str] = Counter()
        self._rows: list[tuple[str, str, np.ndarray]] = []  # file, reason, lines

    def exclude(self, file: str, reason: str, lines: np.ndarray) -> None:
        """Rows that are not used."""
        if len(lines):
            self.reasons[reason] += len(lines)
            self._rows.append((file, reason, lines))

    def exclusions(self, by_group: Mapping[str, Mapping[str, int]]) -> Exclusions:
        used = self.rows_in - sum(self.reasons.values())
        ordered = dict(sorted(self.reasons.items(), key=lambda r: (-r[1], r[0])))  # no order of rows decides
        return Exclusions(self.rows_in, used, ordered, by_group)

    def write(self, path: Path) -> None:
        """file, row, reason of every excluded row as CSV, in order; the file appears whole or not at all."""
        check_place(path)
        stream = io.StringIO()
        writer = csv.writer(stream)
        writer.writerow(["file", "row", "reason"])
        for file in sorted({f for f, _, _ in self._rows}):
            parts = [(reason, lines) for f, reason, lines in self._rows if f == file]
            lines = np.concatenate([ls for _, ls in parts])
            which = np.repeat(np.arange(len(parts)), [len(ls) for _, ls in parts])
            writer.writerows((neutral(file), int(lines[i]), parts[which[i]][0]) for i in np.argsort(lines, kind="stable"))
        write(path.parent, {path.name: stream.getvalue().encode(errors="backslashreplace")}, KIND)


def check_place(path: Path) -> None:
    """Whether the list of excluded rows will find its place, asked before the work. Raises DataError with the path as it was given."""
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if path.exists() and not path.is_file():
        raise _unwritable(path, "it is a device or pipe, no regular file")
    if not path.parent.is_dir():
        raise _unwritable(path, "its folder does not exist")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "its folder cannot be written to")
    check(path.parent, [path.name], KIND)


def _unwritable(path: Path, why: str) -> DataError:
    remedy = "name a file in a folder that exists and can be written to"
    return DataError(f"cannot write the list of excluded rows: {why}", expected="the name of a CSV file", remedy=remedy, file=str(path))

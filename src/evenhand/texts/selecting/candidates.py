"""Candidates: several texts a cell, of which one is chosen; the first one is the original that the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenhand.core import DataError, clip
from evenhand.texts.table import ORIGINAL, TextTable


@dataclass(frozen=True, repr=False)
class Candidates:
    """row int64[cells, candidates]: of `table`, -1 = none. Column 0 is the cell's original: the first draw of the source of that name; a
    cell without any text has none. All its other texts follow in the order of the table, further originals among them.
    """

    table: TextTable
    row: np.ndarray

    def __repr__(self) -> str:
        return f"Candidates({int(self.there.sum()):,} texts of {int(self.there[:, 0].sum()):,} cells)"

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.table.source))

    @cached_property
    def source(self) -> np.ndarray:
        """int64[cells, candidates]: the number of each candidate's source, -1 where there is none."""
        of = {s: i for i, s in enumerate(self.sources)}
        number = np.array([*(of[s] for s in self.table.source), -1], np.int64)
        return np.asarray(number[self.row])

    @cached_property
    def draft(self) -> np.ndarray:
        """int64[cells, candidates]: the draw as the file numbers it, -1 where there is no candidate. Texts of a cell with one number, such
        as a draft and its revisions by rules, may resemble each other; those of different numbers were drawn apart.
        """
        number = np.array([*(int(d) for d in self.table.extra.get("draw", self.table.draw.tolist())), -1], np.int64)
        return np.asarray(number[self.row])

    @property
    def there(self) -> np.ndarray:
        """bool[cells, candidates]."""
        return self.row >= 0

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values [n, …] of the texts → float64[cells, candidates, …], nan where there is no candidate."""
        none = np.full((1, *values.shape[1:]), np.nan)
        return np.concatenate([np.asarray(values, float), none])[self.row]

    @property
    def originals(self) -> tuple[str, ...]:
        """For each text of the table the one that it may replace: its cell's original."""
        return tuple(self.table.texts[i] for i in self.row[self.table.cell, 0].tolist())

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """int64[cells]: row of the table of the candidate chosen[cell], -1 where the cell has no text."""
        return np.take_along_axis(self.row, chosen[:, None], axis=1)[:, 0]


def candidates(table: TextTable) -> Candidates:
    """The texts of a table, sorted by cell, source and draw, as candidates. Raises DataError where a cell has candidates and no original."""
    original = np.array([s == ORIGINAL for s in table.source], bool)
    counts = np.bincount(table.cell, minlength=len(table.grid))
    row = np.full((len(table.grid), int(counts.max(initial=1))), -1, np.int64)
    lacking: list[int] = []
    for cell, rows in _cells(table, counts):
        first = rows[original[rows]][:1]
        if not len(first):
            lacking.append(cell)
            continue
        row[cell, : len(rows)] = [*first, *rows[rows != first[0]]]
    if lacking:
        raise DataError(
            f"{len(lacking)} cells have candidates and no original, '{clip(table.grid.label(lacking[0]))}' among them",
            expected=f"a text of source '{ORIGINAL}' in every cell: what candidates are compared with",
            remedy=f"write '{ORIGINAL}' into the column source of these texts",
            column="source",
        )
    return Candidates(table, row)


def _cells(table: TextTable, counts: np.ndarray) -> Sequence[tuple[int, np.ndarray]]:
    ends = np.cumsum(counts)
    return [(int(c), np.arange(ends[c] - counts[c], ends[c])) for c in np.flatnonzero(counts)]

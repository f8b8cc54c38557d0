"""A page's tables → CSV files, every row of them. Shares are from 0 to 1; an empty cell has no number: it was hidden, or nobody measured it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from evenhand.core import Estimate
from evenhand.data.csv_cells import neutral
from evenhand.report.page import Cell, Column, Name, Page, Table

PARTS = ("value", "low", "high", "n_users", "n_pairs")  # an estimate's columns; n_users is called by what it counts


def tables(page: Page) -> dict[str, str]:
    """File name → text of the file. Tables of one file have the same columns, and stand one under another in it."""
    files: dict[str, list[Table]] = {}
    for table in page.tables:
        if table.file:
            files.setdefault(f"{table.file}.csv", []).append(table)
    return {name: _text(grid(some, page.unit)) for name, some in files.items()}


def grid(tables: Sequence[Table], unit: str = "user") -> list[list[Any]]:
    """Heading and rows of tables with the same columns, each estimate as five cells. unit: what n_users counts."""
    columns = [c for c in tables[0].columns if c.in_csv]
    rows: list[list[Cell]] = []
    for table in tables:
        if [c.key or c.name for c in table.columns if c.in_csv] != [c.key or c.name for c in columns]:
            raise ValueError(f"{table.file}.csv: '{table.caption}' has other columns than '{tables[0].caption}'")
        rows += [[cell for cell, c in zip(row, table.columns, strict=True) if c.in_csv] for row in table.rows]
    wide = [any(isinstance(row[i], Estimate) for row in rows) for i in range(len(columns))]
    head = [name for c, w in zip(columns, wide) for name in _head(c, w, unit)]
    return [head, *([value for cell, w in zip(row, wide) for value in _cells(cell, w)] for row in rows)]


def _head(column: Column, is_wide: bool, unit: str) -> list[str]:
    name = column.key or column.name
    return [f"{name}_{f'n_{unit}s' if part == 'n_users' else part}".lstrip("_") for part in PARTS] if is_wide else [name]


def _cells(cell: Cell, is_wide: bool) -> Iterator[Any]:
    if isinstance(cell, Estimate):
        yield from (None if cell.suppressed else getattr(cell, part) for part in PARTS)
    elif is_wide:
        yield from (None,) * len(PARTS)
    else:
        yield cell.text if isinstance(cell, Name) else cell


def _text(rows: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([_cell(c) for c in row] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else neutral(value)

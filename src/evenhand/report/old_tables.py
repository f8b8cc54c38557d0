"""The published JSON → CSV files, one a panel, every row of it. Shares are from 0 to 1; an empty cell has no number: it was hidden,
or nobody measured it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from evenhand.data.csv_cells import neutral

Json = dict[str, Any]
ESTIMATE = ("value", "low", "high", "n_users", "n_pairs")


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([neutral("" if c is None else c) for c in row] for row in rows)
    return file.getvalue()


def cells(estimate: Json | None) -> list[Any]:
    return [None if estimate is None else estimate[k] for k in ESTIMATE]


def head(*names: str) -> list[str]:
    return [f"{name}_{part}" for name in names for part in ESTIMATE]


def exclusions(found: Json) -> list[list[Any]]:
    """All reasons, then the same by group where a group is known; rows_in is their sum with rows_used."""
    rows = [["", reason, n] for reason, n in found["reasons"].items()]
    by_group = [[group, reason, n] for group, reasons in found["by_group"].items() for reason, n in reasons.items()]
    return [
        ["group", "reason", found["unit"]],
        ["", f"{found['unit']} in", found["rows_in"]],
        ["", f"{found['unit']} used", found["rows_used"]],
        *rows,
        *by_group,
    ]

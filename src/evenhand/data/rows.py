"""What a reader hands on: a batch of rows as they came, and the rows that could not be read, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evenhand.core import DataError

FIELD_LIMIT = 10_000_000  # characters in one field; more is a broken file, and one such field could fill the memory
LINE_LIMIT = 8 * FIELD_LIMIT  # bytes in one line of a text file: every character of a field may be escaped
NUMBER_LIMIT = 1e49  # a number beyond it is a broken one, and the fourth power of a difference must stay finite
LABEL_LIMIT = 40  # characters of a value in an error: what is longer is somebody's text in a column of labels
BATCH_ROWS = 65_536
BLOCK_BYTES = 4 * 2**20  # text files are cut into blocks of about this size, at line ends

Column = Any  # a pyarrow Array, or a plain list of JSON values


@dataclass(frozen=True)
class Fault:
    """A kind of defect. Rows are counted under `reason`; a set-aside row is counted too, but never stops a load."""

    reason: str
    expected: str
    remedy: str = "mend the row, or skip such rows with --on-bad skip"
    column: str = ""  # canonical name
    set_aside: bool = False

    def error(self, file: str, line: int, value: object = None, column: str = "") -> DataError:
        """The error for one row; `column` is the name in the user's file."""
        shown = _short(value) if isinstance(value, str) else "" if value is None else repr(value)
        found = self.reason.replace(f"'{self.column}'", f"'{column}'") if column and self.column else self.reason
        return DataError(found, expected=self.expected, remedy=self.remedy, file=file, line=line, column=column or self.column, value=shown)


@dataclass(frozen=True)
class BadRow:
    line: int
    fault: Fault
    value: object = field(default=None, repr=False)
    user: object = field(default=None, repr=False)  # whose row it is, where that could be read


@dataclass(frozen=True)
class Batch:
    """Rows of one file, column by column. `line` int64[n]: the 1-based line (text files) or row (Parquet, Arrow) of each."""

    file: str
    line: np.ndarray
    columns: Mapping[str, Column] = field(repr=False)
    bad: Sequence[BadRow] = field(default_factory=tuple)
    notes: Mapping[str, int] = field(default_factory=dict)  # what was read in a way worth saying, and how often; 0 = no count

    def __len__(self) -> int:
        return len(self.line)

    def renamed(self, names: Mapping[str, str]) -> Batch:
        """The same rows with columns under their canonical names: names = {canonical: name in the file}."""
        moved = {canonical: self.columns[name] for canonical, name in names.items() if name in self.columns}
        return replace(self, columns={**{k: v for k, v in self.columns.items() if k not in names}, **moved})

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, for sources whose rows are nested."""
        columns = {name: plain(column) for name, column in self.columns.items()}
        return [dict(zip(columns, values)) for values in zip(*columns.values())] if columns else [{} for _ in self.line]


def cell(batch: Batch, column: str, row: int, personal: Collection[str]) -> object:
    """A value fit for a message: of nested values only the type, since they may be deep; of what stands in `personal` columns only the length, or the type."""
    values = batch.columns.get(column)
    if values is None:
        return None
    value = plain(values[row : row + 1])[0]
    if value is None or (column not in personal and isinstance(value, (str, int, float))):
        return value
    return value and f"<{len(value):,} characters>" if isinstance(value, str) else f"<{type(value).__name__}>"


def _short(text: str) -> str:
    return text if len(text) <= LABEL_LIMIT else f"<{len(text):,} characters>"


def plain(column: Column) -> list[Any]:
    """A column as Python values; texts that are no UTF-8 become bytes, which no check takes for a text."""
    if isinstance(column, list):
        return column
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        import pyarrow as pa

        flat = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        return flat.cast(pa.binary()).to_pylist()


def batch_of(
    file: str, rows: Sequence[tuple[int, Mapping[str, Any]]], bad: Sequence[BadRow] = (), keep: Callable[[str], bool] | None = None
) -> Batch:
    """Records with their line numbers → a batch; a column is there when any record has it."""
    names = dict.fromkeys(name for _, record in rows for name in record)
    columns = {n: [record.get(n) for _, record in rows] for n in names if keep is None or keep(n)}
    return Batch(file, np.array([line for line, _ in rows], np.int64), columns, tuple(bad))


def without(batch: Batch, rows: np.ndarray, fault: Fault) -> Batch:
    """The batch with some rows (bool[n]) moved to its bad rows."""
    return set_aside(batch, [fault if bad else None for bad in rows]) if rows.any() else batch


def set_aside(batch: Batch, faults: Sequence[Fault | None]) -> Batch:
    """The batch with the rows that have a fault moved to its bad rows."""
    keep = np.flatnonzero([fault is None for fault in faults])
    if len(keep) == len(batch):
        return batch
    kept = {n: [c[i] for i in keep] if isinstance(c, list) else c.take(keep) for n, c in batch.columns.items()}
    user = plain(batch.columns["user"]) if "user" in batch.columns else [None] * len(batch)
    bad = [*batch.bad, *(BadRow(int(batch.line[i]), fault, user=user[i]) for i, fault in enumerate(faults) if fault is not None)]
    return replace(batch, line=batch.line[keep], columns=kept, bad=bad)

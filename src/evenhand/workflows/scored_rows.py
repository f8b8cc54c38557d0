"""Rows with their rewards → a file of the kind that its extension says, a batch at a time: JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evenhand.core import DataError, clip
from evenhand.data.rows import Column, plain
from evenhand.data.scorable import Scorable
from evenhand.writing import write_as_it_comes

KIND = "scores"
ENDINGS = (".jsonl", ".csv", ".parquet")

Rows = Mapping[str, Column]  # columns of equally many rows
Types = dict[str, pa.DataType]


def check_ending(path: Path) -> None:
    """Raises DataError for a file of a kind that is not written."""
    if path.suffix.lower() not in ENDINGS:
        raise DataError("the extension of --out is not known", expected=", ".join(ENDINGS), remedy="name such a file", file=path.name)


def write_rows(path: Path, table: Scorable, renames: Mapping[str, str], more: Types, rows: Iterable[Rows]) -> None:
    """renames: of the table's own columns. more: columns beside these, and their types. Raises DataError where anything but older scores would be lost."""
    check_ending(path)
    writers: dict[str, Callable[[], Callable[[IO[bytes]], None]]] = {
        ".jsonl": lambda: lambda stream: _lines(stream, rows),
        ".csv": lambda: _cells([*(renames.get(n, n) for n in _names(table)), *more], rows, path.name),
        ".parquet": lambda: _columns(
            pa.schema([*((renames.get(n, n), kind) for n, kind in types(table).items()), *more.items()]), rows, path.name
        ),
    }
    write_as_it_comes(path, writers[path.suffix.lower()](), KIND)


def types(table: Scorable) -> Types:
    """The type of each of the table's columns. One that does not say them is looked through: of numbers and gaps the widest type counts.

    Raises DataError for a column whose values have no type in common.
    """
    found: Types = {}
    for batch in table.batches():
        for name, column in batch.columns.items():
            try:
                kind = pa.infer_type(column) if isinstance(column, list) else column.type
                kind = kind.value_type if pa.types.is_dictionary(kind) else kind
                found[name] = _wider(found[name], kind) if name in found else kind
            except (pa.ArrowException, UnicodeError) as error:
                raise _no_type(name, batch.file) from error
        if table.typed and len(batch):
            break
    return found


def shown(values: np.ndarray) -> list[Any]:
    """Numbers for JSON and CSV: of float32 the fewest digits that tell it from its neighbours."""
    return [*map(float, values.astype("U"))] if values.dtype == np.float32 else values.tolist()


def _lines(stream: IO[bytes], rows: Iterable[Rows]) -> None:
    for some in rows:
        columns = [shown(c) if isinstance(c, np.ndarray) else plain(c) for c in some.values()]
        lines = (json.dumps(dict(zip(some, values)), default=_said) for values in zip(*columns, strict=True))
        stream.write("".join(f"{line}\n" for line in lines).encode())


def _cells(names: Sequence[str], rows: Iterable[Rows], file: str) -> Callable[[IO[bytes]], None]:
    def fill(stream: IO[bytes]) -> None:
        text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="", write_through=True)
        table = csv.writer(text)
        try:
            table.writerow(names)
            for some in rows:
                size = len(next(iter(some.values())))
                columns = [some.get(name, [None] * size) for name in names]
                table.writerows(zip(*([*map(_cell, shown(c) if isinstance(c, np.ndarray) else plain(c))] for c in columns), strict=True))
        except UnicodeEncodeError as error:  # JSON can name half a character, UTF-8 cannot hold it
            raise DataError(
                "a text or a name is no Unicode, and a CSV file cannot hold it", expected="text without lone surrogates",
                remedy="write .jsonl instead, or leave its column out of the data", file=file,
            ) from error  # fmt: skip
        finally:
            text.detach()

    return fill


def _columns(schema: pa.Schema, rows: Iterable[Rows], file: str) -> Callable[[IO[bytes]], None]:
    def fill(stream: IO[bytes]) -> None:
        with pq.ParquetWriter(stream, schema) as table:
            for some in rows:
                size = len(next(iter(some.values())))
                table.write_batch(pa.record_batch([_array(some.get(f.name, [None] * size), f, file) for f in schema], schema=schema))

    return fill


def _array(column: Column, kind: pa.Field, file: str) -> pa.Array:
    try:
        if isinstance(column, list | np.ndarray):
            return pa.array(column, kind.type)
        return (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).cast(kind.type)
    except (pa.ArrowException, UnicodeError) as error:
        raise _no_type(kind.name, file) from error


def _no_type(name: str, file: str) -> DataError:
    return DataError(
        f"the values of '{clip(name)}' have no type in common, or are no text", expected="columns of one type each, which Parquet needs",
        remedy="write .jsonl instead, or leave the column out of the data", file=file, column=name,
    )  # fmt: skip


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    fields = [pa.schema([pa.field("value", kind)]) for kind in (one, other)]
    return pa.unify_schemas(fields, promote_options="permissive").field(0).type


def _names(table: Scorable) -> list[str]:
    """Of JSON lines, whose rows may have keys of their own, the file is looked through."""
    if table.typed:
        return list(table.names)
    return list(dict.fromkeys(name for batch in table.batches() for name in batch.columns))


def _cell(value: Any) -> Any:
    """What a list was is a list again when it is read (`data/written.py`)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=_said) if isinstance(value, list | dict) else value if not isinstance(value, bytes) else _said(value)


def _said(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)

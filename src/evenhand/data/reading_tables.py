"""Whole tables → batches: a JSON document (an array, or what pandas' to_json writes), an Excel sheet, a query on SQLite or DuckDB, and
tables in memory. The rows of a document are numbered from 1; a sheet's by its own rows.

openpyxl and duckdb are extras, imported when such a file is read and not before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from evenhand.core import DataError
from evenhand.data.reading_text import TWICE, _object, _Repeating, without_bom
from evenhand.data.rows import BATCH_ROWS, BadRow, Batch, Fault, batch_of

LOOKED_AT = 2**20  # bytes of the first line that tell a document from JSON lines
NO_RECORD = Fault("the record is no JSON object", 'objects, such as {"user": "u1", "prompt": …}')
DATABASES = {b"SQLite format 3\0": "SQLite"}


def is_document(start: bytes) -> bool:
    """The start of a .json file is an array or one big object, no JSON lines."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"[":
        return True
    line, end, rest = text.partition(b"\n")
    if text[:1] != b"{":
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line.strip() == b"{" or (not end and len(start) >= LOOKED_AT)
    return not rest.strip() and isinstance(value, dict) and _oriented(value) is not None


def document(stream: IO[bytes], file: str, keep: Any, rows: int = 0) -> Iterator[Batch]:
    """A JSON array of objects, or a table in one of pandas' orients. The file is read whole, whatever `rows` says."""
    try:
        value = json.loads(without_bom(stream.read(), file).decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise DataError("the file is not UTF-8 (Windows-1252 or Latin-1, perhaps)", expected="text in UTF-8",
                        remedy="convert it: iconv -f CP1252 -t UTF-8", file=file) from error  # fmt: skip
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply", expected="flat objects", remedy="check how it was written", file=file) from error
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError("the file is not valid JSON", expected="a JSON array of objects, or one object a line",
                        remedy="check how it was written", file=file, line=line) from error  # fmt: skip
    records = value if isinstance(value, list) else _oriented(value)
    if records is None or (records and all(isinstance(r, list) for r in records)):
        raise DataError("the JSON holds rows without the names of their columns" if records else "the JSON is no table",
                        expected="an array of objects", remedy="write it with to_json(path, orient='records')", file=file)  # fmt: skip
    yield from of_records(records, file, keep)


def _oriented(value: Mapping[str, Any]) -> list[Any] | None:
    """The records in what to_json writes: orient split, table, columns or index, or a dictionary of lists; None = it is none of these."""
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return [dict(zip(value["columns"], row)) for row in value["data"]]
    if isinstance(value.get("schema"), dict) and isinstance(value.get("data"), list):
        return list(value["data"])
    values = list(value.values())
    if values and all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1 and len(values) > 1:
        return [dict(zip(value, row)) for row in zip(*values)]
    if len(values) < 2 and not (values and isinstance(values[0], dict) and all(isinstance(v, dict) for v in values[0].values())):
        return None
    if not all(isinstance(v, dict) and v for v in values):
        return None
    keys = [tuple(v) for v in values]
    if any(k != keys[0] for k in keys[1:]):
        return None
    rows_inside = all(k.lstrip("-").isdigit() for k in keys[0])  # columns → {row: value}; else row → {column: value}
    return [{name: column[row] for name, column in value.items()} for row in keys[0]] if rows_inside else values


def of_records(records: Iterable[Any], file: str, keep: Any) -> Iterator[Batch]:
    """Objects in the order of their rows; whatever is no object is a bad row."""
    rest = iter(enumerate(records, 1))
    while part := list(islice(rest, BATCH_ROWS)):
        bad = [BadRow(n, NO_RECORD, f"<{type(r).__name__}>") for n, r in part if not isinstance(r, Mapping)]
        twice = [BadRow(n, TWICE) for n, r in part if isinstance(r, _Repeating) and any(keep(k) for k in r.twice)]
        faulty = {b.line for b in (*bad, *twice)}
        yield batch_of(file, [(n, r) for n, r in part if n not in faulty], [*bad, *twice], keep)


def sheet(path: Path, part: str, keep: Any) -> Iterator[Batch]:
    """The rows of a sheet of an Excel file below its header; part: its name, "" = the only one that is not empty."""
    try:
        import openpyxl
    except ImportError as error:
        raise DataError("the file is an Excel spreadsheet, and openpyxl is not installed", expected="CSV, or the extra excel",
                        remedy="pip install 'evenhand[excel]', or export the sheet as CSV", file=path.name) from error  # fmt: skip
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what zipfile, its XML parser and itself raise
        raise DataError(
            "the spreadsheet cannot be read", expected="a whole .xlsx file", remedy="save it again, or export it as CSV", file=path.name
        ) from error
    try:
        if part and part not in book.sheetnames:
            raise _no_part(path, "sheet", part, book.sheetnames)
        sheets = [
            s.title for s in book.worksheets if any(c is not None for cells in islice(s.iter_rows(values_only=True), 9) for c in cells)
        ]
        if not part and len(sheets) > 1:
            raise DataError(f"the spreadsheet holds {len(sheets)} sheets ({', '.join(sheets)})", expected="one sheet",
                            remedy=f"name it: '{path.name}::SHEET'", file=path.name)  # fmt: skip
        part = part or (sheets or book.sheetnames)[0]
        rows = enumerate(book[part].iter_rows(values_only=True), 1)
        header = next((cells for _, cells in rows if any(c is not None for c in cells)), ())
        names = [None if c is None else str(c) for c in header]
        if repeated := sorted({n for n in names if n is not None and names.count(n) > 1}):
            raise DataError(
                "a column name occurs twice in the header",
                expected="every name once",
                remedy="rename one",
                file=path.name,
                value=repeated[0],
            )
        filled = ((n, {k: v for k, v in zip(names, cells) if k is not None}) for n, cells in rows if any(c is not None for c in cells))
        while chunk := list(islice(filled, BATCH_ROWS)):
            yield batch_of(path.name, chunk, keep=keep)
    finally:
        book.close()


def database(path: Path, part: str, kind: str, keep: Any) -> Iterator[Batch]:
    """A table of a SQLite or DuckDB file, or the rows of a query; part: the table's name or a SELECT, "" = the only table."""
    names, rows = (_sqlite if kind == "SQLite" else _duckdb)(path, part)
    done = 0
    while chunk := list(islice(rows, BATCH_ROWS)):
        columns = {n: list(c) for n, c in zip(names, zip(*chunk)) if keep(n)}
        yield Batch(path.name, np.arange(done + 1, done + len(chunk) + 1), columns)
        done += len(chunk)


def _sqlite(path: Path, part: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
    try:
        base = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        tables = [n for (n,) in base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'")]
        cursor = base.execute(_query(path, part, tables))
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    return [d[0] for d in cursor.description], cursor


def _duckdb(path: Path, part: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
    try:
        import duckdb
    except ImportError as error:
        raise DataError("the file is a DuckDB database, and duckdb is not installed", expected="a table, or the extra sql",
                        remedy="pip install 'evenhand[sql]', or COPY the table to a Parquet file", file=path.name) from error  # fmt: skip
    try:
        base = duckdb.connect(str(path), read_only=True)
        tables = [n for (n,) in base.execute("SELECT table_name FROM information_schema.tables").fetchall()]
        cursor = base.execute(_query(path, part, tables))
    except duckdb.Error as error:
        raise _refused(path, error) from error
    return [d[0] for d in cursor.description], iter(cursor.fetchone, None)


def _query(path: Path, part: str, tables: Sequence[str]) -> str:
    if part.lstrip().lower().startswith(("select ", "with ")):
        return part
    if part and part not in tables:
        raise _no_part(path, "table", part, tables)
    if not part and len(tables) != 1:
        shown = ", ".join(sorted(tables)) or "none"
        raise DataError(f"the database holds {len(tables)} tables ({shown})", expected="one table or a query",
                        remedy=f"name it: {path.name}::TABLE, or '{path.name}::SELECT …'", file=path.name)  # fmt: skip
    name = (part or tables[0]).replace('"', '""')
    return f'SELECT * FROM "{name}"'  # noqa: S608  # the name is one of the file's own tables, quoted


def _no_part(path: Path, kind: str, part: str, have: Sequence[str]) -> DataError:
    return DataError(
        f"there is no {kind} '{part}'", expected=f"one of {', '.join(have)}", remedy=f"name it: {path.name}::{kind.upper()}", file=path.name
    )


def _refused(path: Path, error: Exception) -> DataError:
    return DataError(f"the database refuses: {str(error).splitlines()[0][:160]}", expected="a table of the file, or a SELECT on it",
                     remedy="check the file and the query", file=path.name)  # fmt: skip


def held(table: Any) -> pa.Table | list[Any] | None:
    """A table in memory as an Arrow table or a list of records; None when it is neither. Of data frames the index is no column."""
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        return table
    if isinstance(table, (list, tuple)):
        return list(table) if any(isinstance(record, Mapping) for record in table) else None
    module = type(table).__module__.partition(".")[0]
    if module == "datasets" and not isinstance(table, Mapping):
        return list(table)
    if module == "pandas":
        try:
            return pa.Table.from_pandas(table, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # columns of several types
            return list(table.to_dict("records"))
    try:
        arrow = pa.table(table)
    except (TypeError, pa.ArrowException):
        return None
    views = {f.name for f in arrow.schema if pa.types.is_string_view(f.type)}
    return arrow.cast(pa.schema([pa.field(f.name, pa.large_string() if f.name in views else f.type) for f in arrow.schema]))

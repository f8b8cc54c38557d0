"""Files and folders → batches of rows: JSONL, CSV, TSV, Parquet, Arrow, each also .gz or .zst, and saved Hugging Face data sets.

Nothing is read whole: memory holds one batch. What a file is, its first bytes decide; the extension only tells CSV from JSONL.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evenhand.core import DataError, EvenhandError, clip
from evenhand.data.reading_tables import LOOKED_AT, database, document, held, is_document, of_records, sheet
from evenhand.data.reading_text import Keep, delimited, jsonl, jsonl_head
from evenhand.data.rows import BATCH_ROWS, Batch, plain

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
MAGIC = (
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"SQLite", "SQLite"),
)
FORMATS = {".jsonl": "JSONL", ".json": "JSONL", ".ndjson": "JSONL", ".csv": "CSV", ".tsv": "TSV", ".parquet": "Parquet", ".pq": "Parquet",
           ".arrow": "Arrow", ".feather": "Arrow", ".ipc": "Arrow", ".arrows": "Arrow"}  # fmt: skip
ABOUT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}  # of Hugging Face: no rows in them
SHOWN_FILES = 20  # names in an error message
KNOWN = ".jsonl, .json, .csv, .tsv, .parquet or .arrow, each also .gz or .zst, .xlsx, SQLite, DuckDB, or a folder of Hugging Face datasets"


@dataclass(frozen=True)
class Input:
    """One file to read. split: the name that the folder or file gave it in a saved data set, "" = none. part: a sheet, or a table or query
    of a database. rows: a table in memory instead of a file."""

    path: Path
    format: str
    compression: str = ""
    split: str = ""
    part: str = ""
    rows: Any = None

    @property
    def name(self) -> str:
        return self.path.name


def describe(path: Path, split: str = "") -> Input:
    """What a file is. Raises DataError when it is missing, empty, of no known kind, or not what its extension says."""
    part = ""
    if not path.is_file() and "::" in str(path):  # a sheet, a table or a query of the file
        name, _, part = str(path).partition("::")
        path = Path(name)
    if not path.is_file():
        raise _missing(path)
    if not _utf8(path):  # Arrow opens none of another name
        raise DataError("the name of the file is no text", expected="a name in UTF-8", remedy="rename it", file=path.name)
    ending = path.suffix.lower()
    stem = path.stem if ending in COMPRESSED else path.name
    format_ = FORMATS.get(Path(stem).suffix.lower(), "")
    packed = _magic(Input(path, format_))
    compression = COMPRESSED.get(ending) or (packed if packed in COMPRESSED.values() else "")
    content = _magic(Input(path, format_, compression, split))
    if content in {"Parquet", "Arrow"}:
        return Input(path, content, compression, split)
    if content in {"SQLite", "DuckDB"}:
        return Input(path, content, part=part)
    if content == "zip" and ending == ".xlsx":
        return Input(path, "Excel", part=part)
    if format_ == "JSONL" and _document(Input(path, format_, compression)):
        return Input(path, "JSON", compression, split)
    if content == "zip":
        raise DataError("the file is a zip archive or spreadsheet", expected=KNOWN, remedy="export it as CSV", file=path.name)
    if not format_:
        raise DataError("the extension is not known", expected=KNOWN, remedy="rename or convert the file", file=path.name)
    if format_ == "Parquet":
        raise DataError("the file is not Parquet, whatever its extension says", expected=KNOWN, remedy="rename it", file=path.name)
    return Input(path, format_, compression, split)


def _utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_address(place: str) -> None:
    """Raises DataError for what lies elsewhere. The address is not repeated: it may hold a key."""
    if (scheme := re.match(r"(\w{2,}):/", place)) is not None:
        expected, remedy = "a file or folder on this machine", "download it yourself, then name the file or folder"
        raise DataError(f"a {scheme[1]}:// address: nothing is ever downloaded", expected=expected, remedy=remedy)


def _missing(path: Path) -> DataError:
    refuse_address(str(path))
    special = "a folder stands where a file should" if path.is_dir() else "this is a device or pipe, no regular file"
    found = special if path.exists() else "no such file"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], 1)
    remedy = f"perhaps '{near[0]}' is meant" if near and near[0] != path.name and not path.exists() else "check the path"
    return DataError(found, expected="a file that exists", remedy=remedy, file=path.name)


def _magic(file: Input) -> str:
    """What the first bytes of the content say it is, "" = a text or unknown. Raises DataError when there is nothing."""
    try:
        with _opened(file) as stream:
            start = bytes(stream.read(12))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error
    if not start:
        raise DataError("the file is empty", expected="at least one row", remedy="check how it was written", file=file.name)
    return "DuckDB" if start[8:] == b"DUCK" else next((kind for mark, kind in MAGIC if start.startswith(mark)), "")


def _document(file: Input) -> bool:
    try:
        with _opened(file) as stream:
            return is_document(bytes(stream.read(LOOKED_AT)))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _opened(file: Input) -> Any:
    """A binary stream of the file's content, decompressed."""
    try:
        return pa.input_stream(str(file.path), compression=file.compression or None)
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Input, error: Exception) -> DataError:
    kind = {"gzip": "gzip ", "zstd": "zstd "}.get(file.compression, "")
    why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)  # Arrow's own words repeat the path
    found = f"the {kind}file cannot be read: {why.splitlines()[0][:120] if why else type(error).__name__}"
    return DataError(found, expected=f"a whole {kind}{file.format} file", remedy="write or download it again", file=file.name)


def read(file: Input, keep: Keep, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """The rows of one file, up to `rows` of a table at a time; `keep` picks columns by their name in the file."""
    if file.rows is not None:
        yield from (
            _numbered(file.rows.to_batches(), file.name, _names(file.rows.schema, file.name, keep), rows)
            if isinstance(file.rows, pa.Table)
            else of_records(file.rows, file.name, keep)
        )
        return
    if file.format == "Excel":
        yield from sheet(file.path, file.part, keep)
        return
    if file.format in {"SQLite", "DuckDB"}:
        yield from database(file.path, file.part, file.format, keep)
        return
    readers = {"JSONL": jsonl, "JSON": document, "CSV": delimited, "TSV": _tabs, "Parquet": _parquet, "Arrow": _arrow}
    try:
        with _opened(file) as stream:
            yield from readers[file.format](stream, file.name, keep, rows)
    except (OSError, pa.ArrowException, EOFError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def _tabs(stream: IO[bytes], file: str, keep: Keep, rows: int) -> Iterator[Batch]:
    return delimited(stream, file, keep, rows, "\t")


def _parquet(stream: Any, file: str, keep: Keep, rows: int) -> Iterator[Batch]:
    """Parquet needs random access: a compressed one is unpacked into a temporary file first."""
    if stream.seekable():
        yield from _parquet_rows(stream, file, keep, rows)
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked)
        unpacked.seek(0)
        yield from _parquet_rows(unpacked, file, keep, rows)


def _parquet_rows(stream: Any, file: str, keep: Keep, rows: int) -> Iterator[Batch]:
    schema = pq.read_schema(stream)
    stream.seek(0)
    names = _names(schema, file, keep)
    texts = [n for n in names if pa.types.is_string(schema.field(n).type) or pa.types.is_large_string(schema.field(n).type)]
    # Texts stay dictionary codes: repeated ones are decoded once. Buffered and not pre-buffered, no row group is in memory whole.
    table = pq.ParquetFile(stream, read_dictionary=texts, pre_buffer=False, buffer_size=2**20)
    yield from _numbered(table.iter_batches(rows, columns=names), file, names, rows)


def _arrow(stream: Any, file: str, keep: Keep, rows: int) -> Iterator[Batch]:
    """An IPC stream, or an IPC file: the same stream behind eight bytes of magic."""
    head = stream.read(8)
    source = stream if head.startswith(b"ARROW1") else _Prefixed(head, stream)
    with pa.ipc.open_stream(source) as batches:
        yield from _numbered(batches, file, _names(batches.schema, file, keep), rows)


class _Prefixed:
    """A stream with its first bytes put back, for Arrow, which asks for read and closed only."""

    def __init__(self, head: bytes, stream: Any):
        self.head, self.stream, self.closed = head, stream, False

    def read(self, size: int = -1) -> bytes:
        if not self.head:
            return bytes(self.stream.read(size))
        first, self.head = (self.head, b"") if size < 0 else (self.head[:size], self.head[size:])
        return first + (bytes(self.stream.read(size - len(first) if size >= 0 else -1)) if size != len(first) else b"")

    def close(self) -> None:
        self.closed = True


def _names(schema: pa.Schema, file: str, keep: Keep) -> list[str]:
    """The columns to read. Raises UnicodeDecodeError where a name, also one inside a nested type, is no text, as it may be in a damaged file;
    DataError where two columns that are to be read have one name.
    """
    for field in schema:
        _look(field)
    names = [name for name in schema.names if keep(name)]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        remedy = "rename one of them, or leave it out"
        raise DataError("two columns have this name", expected="each name once", remedy=remedy, file=file, column=clip(twice))
    return names


def _look(field: pa.Field) -> None:
    """Reads a field's name, and those inside its type."""
    str(field.name)
    for i in range(field.type.num_fields):
        _look(field.type.field(i))


def _numbered(batches: Any, file: str, names: Sequence[str], rows: int) -> Iterator[Batch]:
    done = 0
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            line = np.arange(done + 1, done + part.num_rows + 1)
            done += part.num_rows
            yield Batch(file, line, {n: _sound(_column(part, n)) for n in names})


def _column(part: pa.RecordBatch, name: str) -> pa.Array:
    """Raises ArrowInvalid where the file gives it a type that pyarrow cannot hold."""
    try:
        return part.column(name)
    except KeyError as error:
        raise pa.ArrowInvalid(f"a column of Arrow's type {error}, which cannot be read") from error


def _sound(column: pa.Array) -> pa.Array:
    """The column, after a look at its offsets and codes: Arrow trusts a file, and a damaged one would crash the process.

    Texts are looked at as bytes: whether they are UTF-8 is checked value by value. Raises ArrowInvalid.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        _sound(column.dictionary)
        codes = column.indices.drop_null().to_numpy(zero_copy_only=False)
        if len(codes) and not (codes.min() >= 0 and codes.max() < len(column.dictionary)):
            raise pa.ArrowInvalid("a dictionary code points outside its dictionary")
    elif pa.types.is_string(kind):
        column.view(pa.binary()).validate(full=True)
    elif pa.types.is_large_string(kind):
        column.view(pa.large_binary()).validate(full=True)
    else:
        column.validate(full=True)
    return column


def inputs(place: Any, what: str) -> tuple[list[Input], str, str]:
    """(files to read, name, fingerprint) of a path, or of a table in memory. what: it is given as, for the message. Raises EvenhandError."""
    if isinstance(place, str | Path):
        path = Path(place)
        return (shards(path) if path.is_dir() else [describe(path)]), path.name, fingerprint(path)
    table = held(place)
    if table is None:
        raise EvenhandError(
            f"Found {type(place).__name__} as {what}. Expected: a path, or a table in memory: a data frame or a list of dictionaries. "
            "To do: give one of these."
        )
    return [Input(Path("table in memory"), "in memory", rows=table)], "table in memory", fingerprint_of(table)


def head(file: Input) -> tuple[list[str], dict[str, Any]]:
    """The column names (JSONL: of the objects in the first block) and the first whole row, to tell what the file is."""
    if file.format == "JSONL" and file.rows is None:
        try:
            with _opened(file) as stream:
                return jsonl_head(stream, file.name)
        except (OSError, pa.ArrowException, EOFError) as error:
            raise _unreadable(file, error) from error
    names: list[str] = []
    for batch in read(file, lambda name: True, 1):
        names = list(batch.columns)
        if len(batch):
            return names, {name: plain(column)[0] for name, column in batch.columns.items() if len(column)}
    return names, {}


def shards(folder: Path) -> list[Input]:
    """The files of a data set saved by Hugging Face datasets (Arrow streams with their state.json, in one folder or one a split),
    or of a folder of Parquet files named by split. Raises DataError when there are none, or a listed one is missing."""
    states = sorted(folder.glob("state.json")) or sorted(folder.glob("*/state.json"))
    found = tables(folder)
    kinds = sorted({*found.values(), *(["Arrow"] if states else [])})
    if len(kinds) > 1 or kinds in (["JSONL"], ["CSV"], ["TSV"]):
        names = [p.relative_to(folder).as_posix() for p in found]
        shown = ", ".join(names[:SHOWN_FILES]) + (f" and {len(names) - SHOWN_FILES:,} more" if len(names) > SHOWN_FILES else "")
        raise DataError(
            f"the folder holds {len(names):,} tables ({', '.join(kinds)}): {shown}",
            expected="one data set in Parquet or Arrow files, or the folder of a known source",
            remedy="name one of the files; score columns of several are audited with --partial and --merge",
            file=folder.name,
        )
    if states:
        return [shard for state in states for shard in _saved(state, "" if state.parent == folder else state.parent.name)]
    if not found:
        raise DataError("the folder holds no data this program knows", expected=KNOWN, remedy="name a file inside it", file=folder.name)
    return [describe(p, split_of(p)) for p in found]


def split_of(path: Path) -> str:
    """The name that stands in "train-00003-of-00010.parquet", "" = none."""
    return path.name.split("-")[0].split(".")[0] if "-of-" in path.name else ""


def tables(folder: Path) -> dict[Path, str]:
    """Every table in a folder and below, and its format by extension; hidden files and descriptions of a data set are none.

    A link to nowhere is one: whoever reads it says so, where it would else be missing without a word. Raises DataError where a folder is a link, which
    is not followed, for the same reason.
    """
    found = {}
    there = sorted(folder.rglob("*"))
    for path in there:
        if path.is_dir() and path.is_symlink() and not _hidden(path, folder):
            raise DataError(
                f"{path.relative_to(folder).as_posix()} is a link to a folder, which is not followed", expected="folders and files",
                remedy="name the folder that it leads to, or put the files in its place", file=folder.name,
            )  # fmt: skip
    for path in (p for p in there if p.is_file() or (p.is_symlink() and not p.exists())):
        stem = path.stem if path.suffix.lower() in COMPRESSED else path.name
        format_ = FORMATS.get(Path(stem).suffix.lower(), "")
        if format_ and not _hidden(path, folder) and path.name not in ABOUT_DATA:
            found[path] = format_
    return found


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _saved(state: Path, split: str) -> list[Input]:
    try:
        names = [str(entry["filename"]) for entry in json.loads(state.read_text("utf-8"))["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            "state.json lists no data files", expected="a folder written by save_to_disk", remedy="save it again", file=state.name
        ) from error
    return [describe(state.parent / Path(name).name, split) for name in names]


def fingerprint_of(table: pa.Table | list[Any]) -> str:
    """SHA-256 over a table in memory: over its Arrow stream, or over its records as JSON."""
    if isinstance(table, list):
        return hashlib.sha256(json.dumps(table, default=str).encode("utf-8", "surrogatepass")).hexdigest()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def fingerprint(path: Path) -> str:
    """SHA-256 over the bytes of the file, or of all files of a folder, hidden ones apart, in the order of their paths."""
    shown = (p for p in path.rglob("*") if p.is_file() and not _hidden(p, path))
    files = sorted(shown) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()

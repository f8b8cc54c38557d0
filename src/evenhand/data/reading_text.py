"""JSON lines and CSV → batches. A broken row becomes a BadRow with its line; the rows around it are read."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, Any

import numpy as np

from evenhand.core import DataError
from evenhand.data.rows import BATCH_ROWS, BLOCK_BYTES, FIELD_LIMIT, LINE_LIMIT, BadRow, Batch, Fault, batch_of

Keep = Callable[[str], bool]

BROKEN = Fault("the line is not valid JSON", "one JSON object per line, UTF-8")
NO_OBJECT = Fault("the line is not a JSON object", 'one JSON object per line, such as {"user": "u1", "prompt": …}')
NOT_UTF8 = Fault("the line is not valid UTF-8", "text in UTF-8", "convert the file: iconv -f LATIN1 -t UTF-8")
TWICE = Fault("a key occurs twice in one JSON object", "every key once in an object")
TOO_DEEP = Fault("the JSON is nested too deeply", "flat objects")
LONG_LINE = Fault("the line is too long", f"lines of at most {LINE_LIMIT:,} bytes", "check the file for a missing line break")
RAGGED = Fault(
    "the row has another number of fields than the header",
    "as many fields as the header has",
    "quote fields that hold commas or line breaks",
)
LONG_FIELD = Fault("a field is too long", f"at most {FIELD_LIMIT:,} characters", "check for a quote that is never closed")


class _Repeating(dict[str, Any]):
    """A JSON object that named keys more than once."""

    twice: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeating = _Repeating(record)
    repeating.twice = frozenset(k for k, times in Counter(k for k, _ in pairs).items() if times > 1)
    return repeating


_OBJECTS = json.JSONDecoder(object_pairs_hook=_object)  # json.loads would make one for every line


def _record(line: bytes, keep: Keep) -> dict[str, Any] | Fault:
    """One line → its object, or what is wrong with it."""
    try:
        value = _OBJECTS.decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        return NOT_UTF8
    except RecursionError:
        return TOO_DEEP
    except ValueError:  # also integers beyond Python's digit limit
        return BROKEN
    if not isinstance(value, dict):
        return NO_OBJECT
    if isinstance(value, _Repeating) and any(keep(k) for k in value.twice):
        return TWICE
    return value


def _blocks(stream: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, about BLOCK_BYTES at a time, as (lines, True); (start of an over-long line, False) once for each such line."""
    rest = b""
    overlong = False
    while chunk := stream.read(BLOCK_BYTES):
        if overlong:  # throw away up to the end of the line
            cut = chunk.find(b"\n")
            overlong = cut < 0
            chunk = b"" if overlong else chunk[cut + 1 :]
        rest += chunk
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield rest[:cut], True
            rest = rest[cut:]
        if len(rest) > LINE_LIMIT:
            yield rest[:100], False
            rest, overlong = b"", True
    if rest:
        yield rest, True


def without_bom(block: bytes, file: str) -> bytes:
    """The block without a UTF-8 byte order mark; UTF-16 is refused."""
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("the file is UTF-16", expected="text in UTF-8", remedy="convert it: iconv -f UTF-16 -t UTF-8", file=file)
    return block.removeprefix(b"\xef\xbb\xbf")


def jsonl(stream: IO[bytes], file: str, keep: Keep, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """One JSON object a line. Empty lines are no rows. A batch is what one block of the file holds, whatever `rows` says."""
    for records, bad in _objects(stream, file, keep):
        yield batch_of(file, records, bad, keep)


def jsonl_head(stream: IO[bytes], file: str) -> tuple[list[str], dict[str, Any]]:
    """The keys of the objects in the first block that has any, and the first of these objects with them.

    No column is made: objects with keys of their own would fill a table of all rows by all keys.
    """
    for records, _ in _objects(stream, file, lambda name: True):
        if records:
            names = dict.fromkeys(name for _, record in records for name in record)
            return list(names), {**dict.fromkeys(names), **records[0][1]}
    return [], {}


def _objects(stream: IO[bytes], file: str, keep: Keep) -> Iterator[tuple[list[tuple[int, dict[str, Any]]], list[BadRow]]]:
    """(line, object) of each good row, and the bad rows, block by block."""
    line = 1
    for block, whole in _blocks(stream):
        if line == 1:
            block = without_bom(block, file)
            if block.lstrip()[:1] == b"[":
                raise DataError(
                    "the file is one JSON array",
                    expected="one JSON object per line",
                    remedy="convert it: jq -c '.[]' FILE > FILE.jsonl",
                    file=file,
                )
        if not whole:
            yield [], [BadRow(line, LONG_LINE)]
            line += 1
            continue
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        yield _parsed(lines, line, keep)
        line += len(lines)


def _parsed(lines: list[bytes], first: int, keep: Keep) -> tuple[list[tuple[int, dict[str, Any]]], list[BadRow]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    bad: list[BadRow] = []
    for number, raw in enumerate(lines, first):
        if not (raw := raw.strip()):
            continue
        record = _record(raw, keep)
        if isinstance(record, Fault):
            bad.append(BadRow(number, record, f"<{len(raw):,} bytes>"))
        else:
            rows.append((number, record))
    return rows, bad


def delimited(stream: IO[bytes], file: str, keep: Keep, rows: int = BATCH_ROWS, delimiter: str = ",") -> Iterator[Batch]:
    """CSV with a header line (RFC 4180; a line break inside quotes is part of the field). Every value is a text.

    Semicolons or tabs stand between the fields where they cut the header into more of them than `delimiter` does.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    before = csv.field_size_limit(FIELD_LIMIT)  # a global of the csv module: put back below
    try:
        first = text.readline(LINE_LIMIT)
        delimiter = max((delimiter, ",", ";", "\t"), key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
        reader = csv.reader(chain([first] if first else [], iter(lambda: text.readline(LINE_LIMIT), "")), delimiter=delimiter)
        header = _header(next(reader, []), file)
        yield from _csv_rows(reader, header, file, keep, rows)
    except csv.Error as error:
        raise DataError(
            f"the header cannot be read ({error})", expected="a header line", remedy="check the file", file=file, line=1
        ) from error
    finally:
        csv.field_size_limit(before)


def _header(names: list[str], file: str) -> list[str]:
    if names:
        without_bom(names[0].encode("utf-8", "surrogateescape"), file)
        names = [names[0].removeprefix("\ufeff"), *names[1:]]
    if repeated := sorted(n for n, times in Counter(names).items() if times > 1):
        raise DataError(
            "a column name occurs twice in the header",
            expected="every name once",
            remedy="rename one",
            file=file,
            line=1,
            value=repeated[0],
        )
    return names


def _csv_rows(reader: Any, header: list[str], file: str, keep: Keep, most: int) -> Iterator[Batch]:
    wanted = [(i, n) for i, n in enumerate(header) if keep(n)]
    done, size = False, 0
    while not done:
        rows: list[list[str]] = []
        lines: list[int] = []
        bad: list[BadRow] = []
        size = 0
        while len(rows) + len(bad) < most and size < BLOCK_BYTES:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                done = True
                break
            except csv.Error:
                bad.append(BadRow(line, LONG_FIELD))
                continue
            if len(row) == len(header):
                rows.append(row)
                lines.append(line)
                size += sum(map(len, row))
            elif row:
                bad.append(BadRow(line, RAGGED, f"{len(row)} fields"))
        yield Batch(file, np.array(lines, np.int64), {n: [row[i] for row in rows] for i, n in wanted}, tuple(bad))

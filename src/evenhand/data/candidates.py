"""Tables of candidate responses: one row a response, with the prompt it answers, the prompt's group, and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError
from evenhand.data.columns import Store, numbers, text_faults
from evenhand.data.reading import Input, describe, fingerprint, fingerprint_of, head, read, shards
from evenhand.data.reading_tables import held
from evenhand.data.rows import NUMBER_LIMIT, Batch, Column, plain

WORDS = {"true": 1.0, "false": 0.0}
MEND = "mend the row or drop it"


@dataclass(frozen=True)
class CandidateTable:
    """n rows sorted by prompt. prompt int64[n]: 0, 1, …, by first appearance; neither ids nor texts of prompts are kept.

    group int64[n] indexes `groups`. numbers float64[n, k]: the columns asked for, finite. source: file name and format. fingerprint: SHA-256.
    """

    prompt: np.ndarray
    group: np.ndarray
    groups: tuple[str, ...]
    numbers: np.ndarray
    source: str
    fingerprint: str


def read_candidates(path: Any, prompt: str, group: str, columns: Sequence[str], shares: Sequence[str] = ()) -> CandidateTable:
    """Read JSONL, CSV, TSV, Parquet or Arrow, also .gz and .zst, or a table in memory (see `evenhand.load`). prompt, group: columns with an id or text, and with a name.

    columns: numeric ones. shares: those of them that must lie in [0, 1]; true and false are 1 and 0.
    Raises DataError with file, line, column, expectation and remedy for the first bad row; there is no skipping, since a prompt that lost
    candidates would have other policies.
    """
    table = None if isinstance(path, str | PathLike) else held(path)
    if table is None and not isinstance(path, str | PathLike):
        raise EvenhandError(
            f"Found {type(path).__name__} as candidates. Expected: a path, or a table in memory: a data frame or a list of dictionaries. "
            "To do: give one of these."
        )
    path = Path("table in memory") if table is not None else Path(path)
    files = [Input(path, "in memory", rows=table)] if table is not None else shards(path) if path.is_dir() else [describe(path)]
    wanted = dict.fromkeys((prompt, group, *columns))
    have = head(files[0])[0]
    for name in wanted:
        if name not in have:
            shown = ", ".join(have[:20]) or "none"
            raise DataError(f"there is no column '{name}' (columns: {shown})", expected=f"a column '{name}'", remedy="name the right column "
                            "(--prompt, --group-by, --event, --reward, --other, --ref)", file=path.name)  # fmt: skip
    prompts, names = Store(), Store()
    places: list[tuple[str, np.ndarray]] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in (b for file in files for b in read(file, wanted.__contains__)):
        _refuse_bad(batch)
        if not len(batch):
            continue
        ids = _ids(batch, prompt, prompts, "an id or a text"), _ids(batch, group, names, "a name")
        parts.append((*ids, np.stack([_numbers(batch, name, name in shares) for name in columns], axis=1)))
        places.append((batch.file, batch.line))
    if not parts:
        raise DataError("the file holds no row", expected="at least one candidate", remedy="check how it was written", file=path.name)
    number, cell, values = (np.concatenate([p[i] for p in parts]) for i in range(3))
    first = np.unique(number, return_index=True)[1]
    strange = np.flatnonzero(cell != cell[first[number]])
    if len(strange):
        file, line = _place(places, int(strange[0]))
        found = f"a prompt of group '{names.values[cell[first[number[strange[0]]]]]}' has a candidate of group '{names.values[cell[strange[0]]]}'"
        expected = "one group for all candidates of a prompt"
        raise DataError(found, expected=expected, remedy="mend the row, or make it two prompts", file=file, line=line, column=group)
    order = np.argsort(number, kind="stable")
    return CandidateTable(
        number[order],
        cell[order],
        tuple(names.values),
        values[order],
        f"{path.name} ({_kind(files)})",
        fingerprint(path) if table is None else fingerprint_of(table),
    )


def _kind(files: Sequence[Input]) -> str:
    return files[0].format + (f", {len(files)} files" if len(files) > 1 else "")


def _place(places: Sequence[tuple[str, np.ndarray]], row: int) -> tuple[str, int]:
    """File and line of a row, counted over all batches."""
    for file, line in places:
        if row < len(line):
            return file, int(line[row])
        row -= len(line)
    raise IndexError(row)


def _refuse_bad(batch: Batch) -> None:
    if batch.bad:
        bad = min(batch.bad, key=lambda b: b.line)
        remedy = MEND if "--on-bad" in bad.fault.remedy else bad.fault.remedy
        raise DataError(bad.fault.reason, expected=bad.fault.expected, remedy=remedy, file=batch.file, line=bad.line)


def _column(batch: Batch, name: str) -> Column:
    return batch.columns.get(name, [None] * len(batch))


def _ids(batch: Batch, name: str, store: Store, kind: str) -> np.ndarray:
    ids = store.ids(_column(batch, name), numbers_too=True).astype(np.int64)
    if (ids < 0).any():
        row = int(np.argmax(ids < 0))
        fault = text_faults(name, kind)[int(ids[row])]
        raise DataError(
            fault.reason, expected=fault.expected.split(" (")[0], remedy=MEND, file=batch.file, line=int(batch.line[row]), column=name
        )
    return ids


def _numbers(batch: Batch, name: str, is_share: bool) -> np.ndarray:
    column = _column(batch, name)
    values = numbers([_truth(v) for v in plain(column)] if is_share else column)
    large = np.abs(values) > NUMBER_LIMIT
    bad = np.isnan(values) | large
    if is_share:
        bad |= ~((values >= 0) & (values <= 1))
    if bad.any():
        row = int(np.argmax(bad))
        given = plain(column)[row]
        wrong = "no share" if is_share else f"over {NUMBER_LIMIT:g} in size" if large[row] else "no finite number"
        found = "the value is missing" if given is None or given == "" else f"'{name}' is {wrong}"
        expected = "a number from 0 to 1, true or false" if is_share else f"a number in every row, of size {NUMBER_LIMIT:g} at most"
        value = "" if given is None or isinstance(given, str) else str(given)  # a text is somebody's, where the wrong column was named
        raise DataError(found, expected=expected, remedy=MEND, file=batch.file, line=int(batch.line[row]), column=name, value=value)
    return values


def _truth(value: object) -> object:
    """true and false, also as words, as numbers."""
    if isinstance(value, bool):
        return float(value)
    return WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value

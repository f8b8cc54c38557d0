"""Tables of texts: the grid's columns and `text`, and where there are any `run`, `source` and `draw`; the same as JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError, Exclusions, clip
from evenhand.data.reading import inputs, read
from evenhand.data.rows import Batch, plain
from evenhand.texts.grid import Grid
from evenhand.texts.table import TextTable

LONGEST = 20_000  # characters of a text; a message is some hundreds
LONGEST_NAME = 200  # characters of a run's or a source's name, which stands in every line of a report
ALONE = "matched partner missing"
Key = tuple[str, str, int, int]  # run, source, cell, draw


@dataclass(frozen=True)
class Read:
    """runs: name → its texts, in the order of their first rows. fingerprint: SHA-256 of the file."""

    runs: Mapping[str, TextTable]
    source: str
    fingerprint: str
    exclusions: Exclusions


def read_texts(place: Any, grid: Grid, run: str = "texts", extra: Sequence[str] = (), together: bool = False) -> Read:
    """Texts of the grid's cells, from a table in any format that is read (JSONL, CSV, Parquet, …), or from one in memory.

    run: the name of texts without a column `run` (or `source`). extra: columns to carry along where the table has them. together: texts are
    candidates of one choice, in one table; a source that several runs have is told apart by their names, and a text without any has its
    run's. Without `draw`, texts of a cell are numbered as they come. Empty texts, texts over 20,000 characters and, unless together, cells
    whose every matched partner is missing are left out, and counted by cell. Raises DataError with line and column for a missing column, a
    value that is not the grid's, and a cell with one draw twice.
    """
    files, name, known = inputs(place, "texts")
    found: dict[Key, str] = {}
    carried: dict[str, dict[Key, Any]] = {}
    lost: list[tuple[str, str]] = []
    numbered: Counter[tuple[str, str, int]] = Counter()
    first: dict[str, str] = {}
    rows = 0
    for file in files:
        for batch in read(file, lambda _: True):
            rows += len(batch)
            _collect(batch, grid, run, extra, first if together else None, found, carried, lost, numbered)
    if not rows:
        raise DataError("the table holds no row", expected="at least one text", remedy="check how it was written", file=name)
    runs: dict[str, list[Key]] = {}
    for key in found:
        runs.setdefault(key[0], []).append(key)
    tables = {}
    for one, keys in runs.items():
        table = _table(grid, one, keys, found, carried)
        alone = np.zeros(len(table), bool) if together else _alone(table)
        lost += [(grid.label(c), ALONE) for c in table.cell[alone].tolist()]
        tables[one] = table.take(~alone)
    return Read(tables, name, known, _excluded(rows, lost))


def _collect(
    batch: Batch, grid: Grid, run: str, extra: Sequence[str], first: dict[str, str] | None, found: dict[Key, str], carried: dict[str, dict[Key, Any]],
    lost: list[tuple[str, str]], numbered: Counter[tuple[str, str, int]],
) -> None:  # fmt: skip
    if batch.bad:
        bad = min(batch.bad, key=lambda b: b.line)
        raise DataError(bad.fault.reason, expected=bad.fault.expected, remedy="mend the row or drop it", file=batch.file, line=bad.line)
    for column in (*grid.columns, "text"):
        if column not in batch.columns:
            shown = ", ".join(list(batch.columns)[:20]) or "none"
            raise DataError(f"there is no column '{column}' (columns: {clip(shown, 200)})", expected=f"the columns {', '.join(grid.columns)} of the "
                            "grid, and text", remedy="rename the column, or name the grid that the texts were written for (--grid)", file=batch.file)  # fmt: skip
    values = {c: plain(batch.columns[c]) for c in (*grid.columns, "text", "run", "source", "draw", *extra) if c in batch.columns}
    for i, line in enumerate(batch.line.tolist()):
        cell = _cell(tuple(values[c][i] for c in grid.columns), grid, batch.file, line)
        source = _name(values, "source", i, "", batch.file, line)
        name = _name(values, "run", i, source or run, batch.file, line)
        of = (name, source, cell) if first is None else (run, _told_apart(source, name, first), cell)
        draw = _draw(values["draw"][i], batch.file, line) if "draw" in values else numbered[of]
        numbered[of] += 1
        if (*of, draw) in found:
            again = f"cell '{clip(grid.label(cell))}' has draw {draw} twice"
            raise DataError(
                again,
                expected="each draw of a cell once",
                remedy="number its texts in a column draw, or take one out",
                file=batch.file,
                line=line,
            )
        text = values["text"][i]
        if text is not None and not isinstance(text, str):
            raise DataError(
                "the text is no text", expected="a string", remedy="mend the row or drop it", file=batch.file, line=line, column="text"
            )
        if not text or not text.strip():
            lost.append((grid.label(cell), "empty text"))
        elif len(text) > LONGEST:
            lost.append((grid.label(cell), f"over {LONGEST:,} characters"))
        else:
            found[(*of, draw)] = text
            for column in extra:
                if column in values:
                    carried.setdefault(column, {})[(*of, draw)] = values[column][i]


def _cell(values: tuple[Any, ...], grid: Grid, file: str, line: int) -> int:
    cell = grid.places.get(tuple(str(v) for v in values))
    if cell is not None:
        return cell
    for name, value in zip(grid.columns, values):
        known = list(
            dict.fromkeys(v[grid_axis.names.index(name)] for grid_axis in grid.axes if name in grid_axis.names for v in grid_axis.values)
        )
        if str(value) not in known:
            raise DataError(
                "the value is not of the grid",
                expected=f"one of {clip(', '.join(known), 300)}",
                remedy="mend the row, or the grid",
                file=file,
                line=line,
                column=name,
                value=str(value),
            )
    raise DataError(
        "these values do not go together in the grid",
        expected="a combination that the grid has",
        remedy="mend the row, or the grid",
        file=file,
        line=line,
        value=" / ".join(map(str, values)),
    )


def _name(values: Mapping[str, list[Any]], column: str, row: int, default: str, file: str, line: int) -> str:
    value = values[column][row] if column in values else None
    if value is None or value == "":
        return default
    if isinstance(value, int | str) and len(str(value)) <= LONGEST_NAME:
        return str(value)
    raise DataError(
        "the value is no name",
        expected=f"a text of {LONGEST_NAME} characters at most",
        remedy="mend the row",
        file=file,
        line=line,
        column=column,
        value=str(value),
    )


def _told_apart(source: str, run: str, first: dict[str, str]) -> str:
    """A name of what wrote a candidate: its source, with the run's name before it where another run had that source first; else its run."""
    if not source:
        return run
    return source if first.setdefault(source, run) == run else f"{run}: {source}"


def _draw(value: Any, file: str, line: int) -> int:
    try:
        number = int(value)
        if number == float(value) and 0 <= number < 2**31:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(
        "the draw is no whole number", expected="0, 1, 2, …", remedy="mend the row", file=file, line=line, column="draw", value=str(value)
    )


def _table(grid: Grid, run: str, keys: Sequence[Key], found: Mapping[Key, str], carried: Mapping[str, Mapping[Key, Any]]) -> TextTable:
    sources = list(dict.fromkeys(k[1] for k in keys))
    ordered = sorted(keys, key=lambda k: (k[2], sources.index(k[1]), k[3]))
    draws: Counter[tuple[str, int]] = Counter()
    draw = []
    for _, source, cell, _ in ordered:
        draw.append(draws[source, cell])
        draws[source, cell] += 1
    return TextTable(
        grid, run, tuple(found[k] for k in ordered), np.array([k[2] for k in ordered], np.int64), np.array(draw, np.int64),
        tuple(k[1] for k in ordered), extra={column: tuple(values.get(k) for k in ordered) for column, values in carried.items()},
    )  # fmt: skip


def _alone(table: TextTable) -> np.ndarray:
    """bool[n]: texts whose cell has no matched partner with a text, on any axis."""
    there = np.zeros(len(table.grid), bool)
    there[table.cell] = True
    paired = np.zeros(len(table.grid), bool)
    for axis in table.grid.matched:
        pairs = table.grid.pairs(axis)
        both = pairs[there[pairs].all(axis=1)]
        paired[both.ravel()] = True
    return np.asarray(~paired[table.cell])


def _excluded(rows: int, lost: Sequence[tuple[str, str]]) -> Exclusions:
    by_cell: dict[str, Counter[str]] = {}
    for cell, reason in lost:
        by_cell.setdefault(cell, Counter())[reason] += 1
    return Exclusions(rows, rows - len(lost), Counter(reason for _, reason in lost), by_cell, "texts")


def rows_of(tables: Iterable[TextTable], with_prompt: bool = True) -> Iterable[dict[str, Any]]:
    """One dictionary a text: the grid's columns, prompt, text, run, source, draw."""
    for table in tables:
        for i, text in enumerate(table.texts):
            cell = int(table.cell[i])
            prompt = {"prompt": table.grid.prompt(cell)} if with_prompt else {}
            yield {
                **table.grid.row(cell), **prompt, "text": text, "run": table.run, "source": table.source[i] if table.source else "", "draw": int(table.draw[i]),
            }  # fmt: skip


def jsonl_file(out: str | Path) -> Path:
    """The place of a file that `jsonl` gives. Raises EvenhandError for a name with another ending."""
    path = Path(out)
    if path.suffix != ".jsonl":
        raise EvenhandError(f"Found --out {clip(path.name)}. Expected: a file that ends in .jsonl. To do: call it {clip(path.stem)}.jsonl.")
    return path


def jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON lines in UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")

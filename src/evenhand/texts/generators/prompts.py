"""Prompts that texts are asked for: the cells of a grid, or the rows of a table with a column `prompt`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.core import DataError, clip
from evenhand.data.reading import inputs, read
from evenhand.data.rows import plain
from evenhand.texts.grid import BUILT_IN, RESERVED, Grid, load_grid

LONGEST = 20_000  # characters of a prompt, or of a text that is to be revised
MOST = 1_000_000


@dataclass(frozen=True)
class Prompt:
    """row: the columns that are carried through, those of a grid among them, without the reserved ones. line: in the file, for messages."""

    row: Mapping[str, Any]
    text: str
    line: int = 0

    @property
    def key(self) -> str:
        """What tells it apart: its columns, or where it has none its text."""
        return key(self.row or {"prompt": self.text})

    @property
    def label(self) -> str:
        """A cell's name: its values."""
        return " / ".join(clip(v if isinstance(v, str) else json.dumps(v), 60) for v in self.row.values()) or f"row {self.line}"


@dataclass(frozen=True)
class Prompts:
    """matched: the columns of each matched axis, where a grid says so. fingerprint: SHA-256 of what was read."""

    rows: Sequence[Prompt]
    columns: tuple[str, ...]
    matched: tuple[tuple[str, ...], ...]
    source: str
    fingerprint: str


@dataclass(frozen=True)
class Draft:
    """A text that is to be revised. prompt: its place among the prompts."""

    prompt: int
    text: str
    run: str
    source: str
    draw: int


def read_prompts(place: Any) -> Prompts:
    """Of a grid (a built-in name, a TOML file, a Grid), or of a table: a column `prompt`, and any others, which are carried through.

    Raises DataError with line and column.
    """
    if isinstance(place, Grid) or str(place) in BUILT_IN or (isinstance(place, str | Path) and Path(place).suffix == ".toml"):
        grid = load_grid(place)
        cells = [Prompt(grid.row(c), grid.prompt(c)) for c in range(len(grid))]
        return Prompts(cells, grid.columns, tuple(a.names for a in grid.matched), grid.name, grid.fingerprint)
    rows, name, known = _rows(place, "prompt")
    columns = tuple(dict.fromkeys(c for _, row in rows for c in row if c not in RESERVED))
    prompts = [Prompt({c: row[c] for c in columns if c in row}, _text(row, "prompt", name, line), line) for line, row in rows]
    seen: dict[str, int] = {}
    for prompt in prompts:
        if (first := seen.setdefault(prompt.key, prompt.line)) != prompt.line:
            raise DataError(f"the row is that of line {first} again", expected="every prompt once", remedy="take one out; --k says how many texts it gets",
                            file=name, line=prompt.line)  # fmt: skip
    return Prompts(prompts, columns, (), name, known)


def read_drafts(place: Any, prompts: Prompts) -> tuple[list[Draft], str]:
    """Texts to revise, and their SHA-256: the prompts' columns and `text`; `run`, `source` and `draw` where there are any.

    Raises DataError for a text of no prompt, and for one without words.
    """
    rows, name, known = _rows(place, "text")
    places = {p.key: i for i, p in enumerate(prompts.rows)}
    drafts, counted = [], dict[tuple[int, str, str], int]()
    for line, row in rows:
        for column in prompts.columns:
            if column not in row:
                raise DataError(f"there is no column '{column}'", expected=f"the prompts' columns: {', '.join(prompts.columns)}",
                                remedy="give the texts of these prompts", file=name, line=line)  # fmt: skip
        prompt = places.get(key({c: row.get(c) for c in prompts.columns or ["prompt"]}))
        if prompt is None:
            raise DataError("the text is of no prompt", expected="a text of one of the prompts", remedy="give the prompts that these texts were written for", file=name,
                            line=line, value=" / ".join(str(row[c]) for c in prompts.columns))  # fmt: skip
        run, source = (str(row.get(c) or "") for c in ("run", "source"))
        draw = row.get("draw")
        if draw is None:
            draw = counted.get((prompt, run, source), 0)
            counted[prompt, run, source] = draw + 1
        if not isinstance(draw, int) or isinstance(draw, bool) or not 0 <= draw < 2**31:
            raise DataError("the draw is no whole number", expected="0, 1, 2, …", remedy="mend the row", file=name, line=line, column="draw",
                            value=str(draw))  # fmt: skip
        drafts.append(Draft(prompt, _text(row, "text", name, line), run, source, draw))
    return drafts, known


def _rows(place: Any, needed: str) -> tuple[list[tuple[int, dict[str, Any]]], str, str]:
    files, name, known = inputs(place, "a table")
    found: list[tuple[int, dict[str, Any]]] = []
    for file in files:
        for batch in read(file, lambda _: True):
            if batch.bad:
                bad = min(batch.bad, key=lambda b: b.line)
                raise DataError(
                    bad.fault.reason, expected=bad.fault.expected, remedy="mend the row or drop it", file=batch.file, line=bad.line
                )
            if len(batch) and needed not in batch.columns:
                shown = clip(", ".join(list(batch.columns)[:20]) or "none", 200)
                raise DataError(f"there is no column '{needed}' (columns: {shown})", expected=f"a column '{needed}'" + (", or a grid: climate, vaccination, a TOML file" if needed == "prompt" else ""),
                                remedy="rename the column, or write prompts with `evenhand grid`", file=batch.file)  # fmt: skip
            columns = {c: plain(v) for c, v in batch.columns.items()}
            found += [(line, dict(zip(columns, values))) for line, values in zip(batch.line.tolist(), zip(*columns.values()))]
            if len(found) > MOST:
                raise DataError(f"there are over {MOST:,} rows", expected=f"{MOST:,} at most", remedy="give them in parts", file=name)
    if not found:
        raise DataError("the table holds no row", expected="at least one", remedy="check how it was written", file=name)
    return found, name, known


def _text(row: Mapping[str, Any], column: str, file: str, line: int) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        found = "is no text" if not isinstance(value, str) else "is empty" if not value.strip() else f"is over {LONGEST:,} characters"
        raise DataError(f"the {column} {found}", expected="a text", remedy="mend the row or drop it", file=file, line=line, column=column)
    return value


def key(row: Mapping[str, Any]) -> str:
    """Of a row's columns, whatever types a file gave them."""
    return json.dumps({c: str(v) for c, v in row.items()}, sort_keys=True)

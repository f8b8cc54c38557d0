"""The ten lines a person reads in the terminal after a verb has run, from the same published document as every other output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from evenhand.core import SMALLEST_CELL, Exclusions
from evenhand.report import words
from evenhand.report.public import may_be_named, one_line

MAX_GROUPS, MAX_REQUIREMENTS = 4, 8  # the others are in the report
LONGEST_NAME, LONGEST_GROUP = 60, 24  # characters; a model's name is broken into lines before it is cut

Json = dict[str, Any]


def exclusions(found: Exclusions, source: str) -> Text:
    """Where every row went."""
    reasons = "".join(f"; {count:,} excluded: {one_line(reason)}" for reason, count in found.reasons.items())
    named = {k: sum(v.values()) for k, v in found.by_group.items() if may_be_named(k, v, set(), set())}
    by_group = ", ".join(f"{one_line(k)} {n:,}" for k, n in sorted(named.items(), key=lambda g: -g[1])[:MAX_GROUPS])
    told = f"; excluded by group: {by_group}" if by_group else ""
    return Text(f"{one_line(source)}: {found.rows_in:,} rows in, {found.rows_used:,} used{reasons}{told}")


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts, each on one line and without markup: what looks like markup or a control character is shown as it is."""
    shown = Text(one_line(title), style="bold")
    out = Table(title=shown, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        out.add_column(Text(one_line(name)))
    for row in rows:
        out.add_row(*(Text(one_line(cell)) for cell in row))
    return out


def share(estimate: Json | None) -> str:
    if estimate is None or estimate["value"] is None:
        return _missing(estimate)
    return f"{_points(estimate['value'])} [{_points(estimate['low'])}, {_points(estimate['high'])}]"


def difference(estimate: Json | None) -> str:
    if estimate is None or estimate["value"] is None:
        return _missing(estimate)
    return f"{_points(estimate['value'], signed=True)} [{_points(estimate['low'])}, {_points(estimate['high'])}]"


def _missing(estimate: Json | None) -> str:
    return f"under {SMALLEST_CELL} users" if estimate and estimate.get("suppressed") else "-"


def _points(value: float | None, signed: bool = False) -> str:
    return ascii_only(words.points(value, signed))


def ascii_only(text: str) -> str:
    """Signs that every terminal has."""
    return text.translate(PLAIN)


PLAIN = str.maketrans({"−": "-", words.NONE: "-", words.NB: " ", "“": '"', "”": '"', "’": "'", "²": "^2", "³": "^3"})


def clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

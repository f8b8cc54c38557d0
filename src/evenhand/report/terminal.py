"""A page → the lines that a person reads in the terminal after a verb has run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from evenhand.audits.requirements import GAP
from evenhand.report.numbers import NB, NONE
from evenhand.report.page import Cell, Name, Page, Table
from evenhand.report.verdicts import ORDER, row

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

MOST_ROWS, MOST_REQUIREMENTS = 12, 8
LONGEST_NAME = 60  # characters of a name, and of a word; sentences are broken into lines, not cut
STYLES = {"PASS": "bold green", "FAIL": "bold red", "INSUFFICIENT": "bold yellow"}
TONES = {"pass": "bold green", "fail": "bold red", "insufficient": "bold yellow", "neutral": "bold"}
GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "κ": "kappa", "λ": "lambda", "τ": "tau"}
SYMBOL = re.compile(rf"(?<![^\W\d_])[{''.join(GREEK)}](?![^\W\d_])")
ASCII = str.maketrans(f"−{NONE}{NB}“”’·◆■✕", '-- ""\',*=x') | str.maketrans(
    {"²": "^2", "³": "^3", "→": "->", "≥": ">=", "≤": "<=", "±": "+/-", "∞": "inf", "…": "..."}
)


def lines(page: Page) -> Iterator[RenderableType]:
    """What is wrong with the numbers, the brief tables, the sentences, and the verdicts, what failed first."""
    if page.warning:
        yield Text(plain(page.warning), style="bold red")
    if page.simulated:
        yield Text("Users are simulated: these figures say nothing about people.")
    yield from (Text(plain(c), style="bold yellow") for c in page.cautions)
    yield from (Grid(table) for table in page.brief if table.rows)
    yield from (Text(plain(s)) for s in (*page.said, *page.notes) if s)
    yield Text.assemble((plain(page.headline), TONES[page.tone]))
    yield from (Text(plain(str(a))) for a in page.answers)
    rows = [
        row(r, page.unit) for r in sorted(page.requirements, key=lambda r: ORDER[r.verdict]) if not (r.name == GAP and page.is_answered(r))
    ]
    for r in rows[:MOST_REQUIREMENTS]:
        yield Text.assemble((r.verdict, STYLES[r.verdict]), plain(f"  {r.name}, required {r.required}: {r.reason}"))
    if len(rows) > MOST_REQUIREMENTS:
        yield Text(f"{len(rows) - MOST_REQUIREMENTS} more requirements are in the report")


@dataclass(frozen=True)
class Grid:
    """A table as wide as the terminal lets it be: headings and texts fold, then intervals go under their values."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichTable]:
        """The first rows; what is cut is in the CSV files."""
        table, most = self.table, min(MOST_ROWS, self.table.most)
        heads = [plain(clip(table.columns[i].name)) for i in table.places]
        for space in " ", "\n":  # before an interval
            rows = [[shown(table, i, cells[i], space) for i in table.places] for cells in table.rows[:most]]
            columns = [Fit.of(heads[place], [cells[place] for cells in rows], table.is_text(i)) for place, i in enumerate(table.places)]
            widths = shared(columns, options.max_width - len(heads) + 1)
            if widths:
                break
        out = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left", title_style="")
        out.title = Text(plain(table.caption))  # names in it must not be obeyed as markup
        for place, i in enumerate(table.places):
            side = "left" if table.is_text(i) else "right"
            out.add_column(Text(heads[place]), justify=side, overflow="fold", width=widths[place] if widths else None)  # type: ignore[arg-type]
        for cells in rows:
            out.add_row(*map(Text, cells))
        if len(table.rows) > most:
            out.add_row(Text(f"{len(table.rows) - most} more"), *(Text("") for _ in heads[1:]))
        yield out


class Fit(NamedTuple):
    """The width of a column: the least that breaks no word and no number, and all that it can use."""

    least: int
    most: int

    @classmethod
    def of(cls, head: str, cells: Sequence[str], is_text: bool) -> Fit:
        lines = [line for cell in cells for line in cell.split("\n")]
        parts = [word for line in lines for word in line.split()] if is_text else lines
        return cls(max(map(cell_len, [*head.split(), *parts]), default=0), max(map(cell_len, [head, *lines]), default=0))


def shared(columns: Sequence[Fit], room: int) -> list[int]:
    """The width of each column within `room`, those that need little more than the least served first; [] where there is not enough.

    >>> shared([Fit(4, 6), Fit(5, 40)], 30), shared([Fit(4, 6), Fit(5, 40)], 8)
    ([6, 24], [])
    """
    widths = [c.least for c in columns]
    spare = room - sum(widths)
    for left, i in enumerate(sorted(range(len(columns)), key=lambda i: columns[i].most - columns[i].least)):
        more = min(columns[i].most - columns[i].least, max(spare, 0) // (len(columns) - left))
        widths[i], spare = widths[i] + more, spare - more
    return widths if spare >= 0 else []


def shown(table: Table, column: int, cell: Cell, space: str) -> str:
    """A cell in plain signs: names are cut, of other texts only words that are too long."""
    text, ends = table.columns[column].write(cell)
    text = clip(text) if column == table.places[0] else re.sub(r"\S+", lambda m: clip(m[0]), text)
    marks = f" ({', '.join(cell.marks)})" if isinstance(cell, Name) and cell.marks else ""
    return plain(bracketed(text, ends, space) + marks)


def bracketed(text: str, ends: str, space: str = " ") -> str:
    """ "71.2 [69.8, 72.6]", which is narrower than the words of the page."""
    return f"{text}{space}[{ends.replace(f'{NB}to{NB}', ', ').replace(' to ', ', ')}]" if ends else text


def plain(text: str) -> str:
    """Signs that every terminal has; Greek letters that stand alone are symbols."""
    return SYMBOL.sub(lambda m: GREEK[m[0]], text.translate(ASCII))


def clip(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"

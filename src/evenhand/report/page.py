"""What a report is made of, whatever its kind. A kind builds a `Page` once; printers print it and know no kind.

Cells keep their type until they are printed: an `Estimate` stays one, so that HTML, Markdown, CSV and the terminal show the same number
in their own ways. What a page holds was published before (see `publish`): no number of fewer than ten users is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate, Exclusions
from evenhand.report.numbers import FEW, NONE, Show, bare, count, exact, has_value, interval, is_known, listing, number

LETTER = re.compile(r"[^\W\d_]")
Tone = Literal["pass", "fail", "insufficient", "neutral"]
MOST_LIMITS = 60

RULES = (
    "Intervals count users, and the prompts or responses that users share, as drawn. Grey means: not enough data to say. Cells of fewer than 10 users "
    "are not shown."
)


@dataclass(frozen=True)
class Name:
    """A cell that names its row, with what is said of it beneath: marks such as "chosen", then smaller lines."""

    text: str
    marks: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


Cell = str | int | float | bool | Estimate | Name | None  # None = no number
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """name: its heading. show: how its numbers are written; an Estimate's value and interval alike. key: its heading in CSV files, the name
    if "". A column of texts is set left. on_page, in_csv: where it stands.
    """

    name: str
    show: Show = number
    key: str = ""
    on_page: bool = True
    in_csv: bool = True

    def write(self, cell: Cell) -> tuple[str, str]:
        """A cell as people read it: its text, and the interval that belongs to it ("" where there is none)."""
        if isinstance(cell, Estimate):
            if not has_value(cell):
                return (FEW if cell.suppressed else NONE), ""
            show = exact(self.show, cell)
            return show(cell.value), interval(cell, bare(show)) if is_known(cell.low) or is_known(cell.high) else ""
        if isinstance(cell, Name):
            return cell.text, ""
        if isinstance(cell, str):
            return cell, ""
        if isinstance(cell, bool):
            return ("yes" if cell else "no"), ""
        return self.show(cell), ""

    def line(self, cell: Cell) -> str:
        """The same on one line: "71.2 % (69.8 to 72.6)", "pafo (◆ chosen)"."""
        text, ends = self.write(cell)
        ends = ", ".join(cell.marks) if isinstance(cell, Name) else ends
        return f"{text} ({ends})" if ends else text


@dataclass(frozen=True)
class Table:
    """file: the CSV file that holds every row, without ".csv"; "" = in none. grey: rows without enough data, beside those whose estimates
    all lack a number. most: rows shown on a page (the CSV has all). elsewhere: the CSV file of another table that has these rows too.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    file: str = ""
    grey: frozenset[int] = frozenset()
    most: int = 60
    elsewhere: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.caption}: {len(row)} cells for {len(self.columns)} columns")

    @property
    def is_shown(self) -> bool:
        return bool(self.rows) and any(c.on_page for c in self.columns)

    @property
    def places(self) -> tuple[int, ...]:
        """The columns that people read: those with anything in them."""
        return tuple(
            i
            for i, c in enumerate(self.columns)
            if c.on_page and (any(row[i] not in (None, "") for row in self.rows) or c.show(None) != NONE)
        )

    def rest(self, shown: int) -> str:
        """What is said of the rows that are not shown: "1,000 more rows in groups.csv"; "" where all are."""
        left, file = len(self.rows) - shown, self.file or self.elsewhere
        return f"{left:,} more row{'s' * (left != 1)}{f' in {file}.csv' if file else ''}" if left else ""

    def is_text(self, column: int) -> bool:
        """Whether a column is set left: it holds words, beside cells without a number. Numbers may be written already: "63.8% to 69.0%"."""
        cells = [row[column] for row in self.rows[: self.most]]
        if column == next(i for i, c in enumerate(self.columns) if c.on_page) or any(isinstance(c, Name | bool) for c in cells):
            return True
        words = any(isinstance(c, str) and LETTER.search(c.replace(" to ", "")) for c in cells)
        return words and not any(type(c) in (int, float, Estimate) for c in cells)

    def is_grey(self, row: int) -> bool:
        """Whether a row has not enough data to say anything."""
        estimates = [c for c in self.rows[row] if isinstance(c, Estimate)]
        return row in self.grey or (bool(estimates) and not any(map(has_value, estimates)))


@dataclass(frozen=True)
class Figure:
    """sentence: the finding, which is the figure's title and its text alternative. plot: width in CSS pixels → SVG; None = nothing to draw.
    note: how to read it, at most two lines. section: the panel that holds its numbers, where the figure itself stands on the first screen.
    """

    sentence: str
    plot: Callable[[int], str] | None = None
    note: str = ""
    table: Table | None = None
    section: str = ""


@dataclass(frozen=True)
class Panel:
    """key: its anchor on the page. A panel with nothing in it is not printed."""

    key: str
    name: str
    finding: str = ""  # a title for panels whose tables are the figure
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    csv_only: tuple[Table, ...] = ()  # written as files, not shown

    @property
    def is_shown(self) -> bool:
        return bool(self.figures or self.notes or self.finding) or any(t.is_shown for t in self.tables)


@dataclass(frozen=True)
class Answer:
    """A sentence of the first screen; the question it answers is set bold before it."""

    text: str
    question: str = ""

    def __str__(self) -> str:
        return f"{self.question} {self.text}".strip()


@dataclass(frozen=True)
class Page:
    """headline: the verdict, or what was chosen, in a few words. answers: the first screen's sentences, the two that people open a report for
    first. first: at most three figures that stand side by side under them. brief: the tables of Markdown and the terminal. notes: small
    print under the answers. said: further sentences of Markdown and the terminal, which the page has in its panels. document: what
    report.json holds. exit_code: of the verb that printed it.
    """

    headline: str
    tone: Tone
    answers: tuple[Answer, ...]
    panels: tuple[Panel, ...]
    document: Mapping[str, Any]
    title: str = ""
    simulated: bool = False
    warning: str = ""  # why nothing may rest on these numbers; said before everything else
    cautions: tuple[str, ...] = ()  # what to know before the numbers are read, though they hold; said next
    summary: str = ""
    notes: tuple[str, ...] = ()
    note: str = ""  # the user's own
    first: tuple[Figure, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    requirements_note: str = ""
    brief: tuple[Table, ...] = ()
    said: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    rules: str = RULES
    unit: str = "user"  # what n_users of its estimates counts
    exit_code: int = 0

    def is_answered(self, requirement: Requirement) -> bool:
        """Whether an answer gives the requirement's reason already, so that no printer has to repeat it."""
        return bool(requirement.reason) and any(a.text.endswith(requirement.reason) for a in self.answers)

    @property
    def hashes(self) -> dict[str, str]:
        """The fingerprints among the facts: they say what exactly the page is about."""
        return {k: v for k, v in self.facts.items() if any(word in k.lower() for word in ("hash", "sha256", "sha-256", "fingerprint"))}

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table, in the order of the panels."""
        return tuple(t for p in self.panels for t in (*(f.table for f in p.figures if f.table), *p.tables, *p.csv_only))


COUNTS = (Column("users", count, in_csv=False), Column("pairs", count, in_csv=False))  # CSV files have them beside each estimate


def counts(estimate: Estimate | None) -> tuple[int | str | None, int | None]:
    """Users and pairs behind a row, two cells of `COUNTS`."""
    if estimate is None:
        return None, None
    return ("under 10", None) if estimate.suppressed else (estimate.n_users, estimate.n_pairs)


def plain_table(caption: str, heads: Sequence[str], rows: Iterable[Row], file: str = "") -> Table:
    """A table of columns with nothing but a heading: of texts, or for a CSV file alone."""
    return Table(caption, tuple(map(Column, heads)), tuple(rows), file)


def facts(caption: str, pairs: Mapping[str, str], heads: tuple[str, str] = ("fact", "value")) -> Table:
    """A table of names and what they stand for."""
    return plain_table(caption, heads, pairs.items())


# --- the panel that every kind ends with ---


def data_panel(
    lost: Exclusions | None, made: Mapping[str, str], formulas: Mapping[str, str], limits: Sequence[str], csv_only: Sequence[Table] = ()
) -> Panel:
    """Where the data went, how it was made, what quantities mean, and what the report does not show."""
    used = (
        f"{count(lost.rows_used)} of {count(lost.rows_in)} {lost.unit} were used. {left_out(lost)}".strip() if lost and lost.rows_in else ""
    )
    tables = (
        *(went(lost, "exclusions") if lost and lost.rows_in else ()),
        facts("How it was made", made),
        facts("Formulas", formulas, ("quantity", "formula")),
    )
    return Panel("data", "Data, method, limits", used, tables=tables, notes=tuple(limits)[:MOST_LIMITS], csv_only=tuple(csv_only))


def went(lost: Exclusions, file: str = "") -> tuple[Table, ...]:
    """Where every row, or pair, went; one file has both tables."""
    unit = Column(lost.unit, count)
    whole = ((f"{lost.unit} in", lost.rows_in), (f"{lost.unit} used", lost.rows_used), *lost.reasons.items()) if lost.rows_in else ()
    by_group = tuple((group, reason, n) for group, reasons in lost.by_group.items() for reason, n in reasons.items())
    return (
        Table(
            f"Where all {lost.unit} went: used, or left out for a reason", (Column("group", on_page=False), Column("what", key="reason"), unit),
            tuple(("", *row) for row in whole), file,
        ),
        Table(f"Excluded {lost.unit} by group", (Column("group"), Column("reason"), unit), by_group, file),
    )  # fmt: skip


def left_out(lost: Exclusions) -> str:
    """How many rows, or pairs, are not behind the numbers, why, and whose they are where that is known; "" for none."""
    out = lost.rows_in - lost.rows_used
    if not out:
        return ""
    reasons = [f"{count(n)} {reason}" for reason, n in sorted(lost.reasons.items(), key=lambda r: -r[1])]
    groups = [f"{group} {count(sum(n.values()))}" for group, n in sorted(lost.by_group.items(), key=lambda g: -sum(g[1].values()))]
    of = f" By group: {listing(groups)}." if groups else ""
    return f"{count(out)} of {count(lost.rows_in)} {lost.unit} were left out: {listing(reasons)}.{of}"


def requirements_panel(requirements: Sequence[Requirement], unit: str = "users") -> Panel:
    """requirements.csv: a row a requirement. unit: what its counts are of, beside pairs."""
    heads = ("requirement", "verdict", "tolerance", "value", "low", "high", f"n_{unit}", "n_pairs", "level", "reason")
    rows: list[Row] = []
    for r in requirements:
        e = r.estimate
        size = (None, None) if e.suppressed else (e.n_users, e.n_pairs)
        rows.append((r.name, r.verdict, r.tolerance, e.value, e.low, e.high, *size, e.level, r.reason))
    return Panel("requirements", "Requirements", csv_only=(plain_table("Requirements", heads, rows, "requirements"),))

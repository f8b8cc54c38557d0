"""A page → one HTML file that needs nothing else: no script, no request, figures inline, light and dark, fit for print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from evenhand.audits.findings import Requirement
from evenhand.report.page import Figure, Name, Page, Panel, Table
from evenhand.report.verdicts import ORDER, SIGN, bar, row

if TYPE_CHECKING:
    from jinja2 import Template

WIDE, NARROW = 860, 400  # pixels: a figure for a page, and for a telephone or a third of a page
MOST_BYTES = 2_000_000
MOST_ROWS = (60, 20, 6, 1, 0)  # of a table; fewer where the page would grow beyond its size
MOST_REQUIREMENTS = 12
LONG_TABLE = 15  # rows of a table that is folded
LONG_REASON = 90  # characters of a reason that is folded
SHORT_TEXT, LONG_TEXT, LONG_WORD = (
    16,
    40,
    22,
)  # characters of a cell that stays on one line, that is a sentence, and of a word that may be broken
STACKED = 6  # columns from which on intervals stand under their values


def html(page: Page, kind: str, files: Sequence[str] = ()) -> str:
    """The page. Every text in it went through Jinja's autoescape; only figures, escaped by `figures`, go in as they are."""
    printer = _Printer()
    asked = sorted(page.requirements, key=lambda r: ORDER[r.verdict])
    text = ""
    for most in MOST_ROWS:
        text = _template().render(
            page=page, kind=kind, files=", ".join(files), sign={"pass": "✓", "fail": "✕", "insufficient": "?", "neutral": "◆"}[page.tone],
            answers=[(a.question, finding(a.text)) for a in page.answers], summary=finding(page.summary),
            requirements=[_requirement(r, page) for r in asked[:MOST_REQUIREMENTS]], more_requirements=len(asked[MOST_REQUIREMENTS:]),
            hashes=_unsaid(page), first=[printer.figure(f, most) for f in page.first], panels=[printer.panel(p, most) for p in page.panels if p.is_shown],
        )  # fmt: skip
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("evenhand.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2")


def finding(sentence: str) -> Markup:
    """A finding with its evidence, "(… 48 users, …)", set lighter than the finding itself."""
    return Markup(re.sub(r"\([^()]*\b(?:users?|pairs?|prompts?)\b[^()]*\)", r"<span>\g<0></span>", str(escape(sentence))))  # noqa: S704


def _requirement(requirement: Requirement, page: Page) -> dict[str, Any]:
    """The reason is left out where an answer gives it."""
    reason = "" if page.is_answered(requirement) else requirement.reason
    words = row(requirement)
    return {"row": words, "bar": bar(requirement), "sign": SIGN[words.verdict], "reason": reason, "is_folded": len(reason) > LONG_REASON}


def _unsaid(page: Page) -> dict[str, str]:
    """The fingerprints that no table of the page shows."""
    cells = {cell for panel in page.panels for t in panel.tables for row in t.rows for cell in row if isinstance(cell, str)}
    return {name: value for name, value in page.hashes.items() if value not in cells}


@dataclass(frozen=True)
class _Cell:
    text: str
    interval: str
    name: Name | None
    look: str  # classes of the style sheet


@dataclass
class _Printer:
    """Panels as the template takes them; each figure is drawn once, however often the page is printed."""

    drawn: dict[tuple[int, int], Markup] = field(default_factory=dict)

    def panel(self, panel: Panel, most: int) -> dict[str, Any]:
        """What is seen of a closed panel is its finding, else its first figure's, else what its tables hold."""
        figures = [self.figure(f, most) for f in panel.figures]
        tables = [_table(t, most) for t in panel.tables if t.is_shown]
        lead = finding(panel.finding)
        if not lead and figures:
            lead, figures[0]["title"] = figures[0]["title"], ""
        hint = "" if lead else " · ".join(t["caption"] for t in tables)
        return {
            "key": panel.key,
            "name": panel.name,
            "lead": lead,
            "hint": hint,
            "figures": figures,
            "tables": tables,
            "notes": panel.notes,
        }

    def figure(self, figure: Figure, most: int) -> dict[str, Any]:
        table = _table(figure.table, most) if figure.table and figure.table.is_shown else None
        return {
            "sentence": figure.sentence, "title": finding(figure.sentence), "note": figure.note, "section": figure.section, "table": table,
            "wide": self._plot(figure, WIDE), "narrow": self._plot(figure, NARROW),
        }  # fmt: skip

    def _plot(self, figure: Figure, width: int) -> Markup:
        key = id(figure), width
        if figure.plot and key not in self.drawn:
            self.drawn[key] = Markup(figure.plot(width))  # noqa: S704
        return self.drawn.get(key, Markup())


def _table(table: Table, most: int) -> dict[str, Any]:
    """The table's columns and rows in words."""
    places = table.places
    shown = range(min(len(table.rows), table.most, most))
    written = {i: [table.columns[i].write(table.rows[r][i]) for r in shown] for i in places}
    looks = {i: _look(table, i, [text for text, _ in written[i]]) for i in places}
    rows = [
        {"cells": [_cell(table.rows[r][i], *written[i][r], looks[i]) for i in places], "grey": table.is_grey(r)} for r in shown
    ]  # fmt: skip
    left_out = len(table.rows) - len(rows)
    total = f"{len(rows):,} of {len(table.rows):,} rows" if left_out else f"{len(rows):,} row{'s' * (len(rows) != 1)}"
    return {
        "caption": table.caption, "heads": [(table.columns[i].name, looks[i]) for i in places], "rows": rows, "size": total,
        "is_long": len(rows) > LONG_TABLE, "is_stacked": len(places) >= STACKED,
        "more": f"{left_out:,} more rows{f' in {table.file}.csv' if table.file else ''}" if left_out else "",
    }  # fmt: skip


def _look(table: Table, column: int, texts: Sequence[str]) -> str:
    """Left for words; sentences get room, as they would else be columns of single words."""
    if not table.is_text(column) or column == table.places[0]:
        return "t" * table.is_text(column)
    longest = max(map(len, texts), default=0)
    return "t" if longest <= SHORT_TEXT else "t m" if longest <= LONG_TEXT else "t w"


def _cell(value: Any, text: str, interval: str, look: str) -> _Cell:
    long = " long" if any(len(word) > LONG_WORD for word in text.split()) else ""
    return _Cell(text, interval, value if isinstance(value, Name) else None, (look + long).strip())

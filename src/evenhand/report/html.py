"""A page → one HTML file that needs nothing else: no script, no request, figures inline, light and dark, fit for print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from evenhand.audits.findings import Requirement
from evenhand.report.figures import clipped
from evenhand.report.page import Cell, Figure, Name, Page, Panel, Table
from evenhand.report.verdicts import ORDER, SIGN, bar, row

if TYPE_CHECKING:
    from jinja2 import Template

WIDE, NARROW = 860, 400  # pixels: a figure for a page, and for a telephone or a third of a page
MOST_BYTES = 2_000_000
MOST_ROWS = (60, 20, 6, 1, 0)  # of a table; fewer where the page would grow beyond its size
MOST_REQUIREMENTS = 12
LONG_TABLE, LONG_REASON = 15, 90  # rows of a table, characters of a reason that are folded
SHORT_TEXT, LONG_TEXT, LONG_WORD = 16, 40, 22  # characters of a cell on one line, of one that is a sentence, of a word that may break
FEW, STACKED = 3, 6  # columns up to which the first may take what room it needs, and from which on intervals stand under their values


def html(page: Page, kind: str, files: Sequence[str] = ()) -> str:
    """The page. Every text in it went through Jinja's autoescape; only figures, escaped by `figures`, go in as they are."""
    asked = sorted(page.requirements, key=lambda r: ORDER[r.verdict])
    text = ""
    for most in MOST_ROWS:
        text = _template().render(
            page=page, kind=kind, files=", ".join(files), sign={"pass": "✓", "fail": "✕", "insufficient": "?", "neutral": "◆"}[page.tone],
            answers=[(a.question, finding(a.text)) for a in page.answers], summary=finding(page.summary), hashes=_unsaid(page),
            requirements=[_requirement(r, page) for r in asked[:MOST_REQUIREMENTS]], more_requirements=len(asked[MOST_REQUIREMENTS:]),
            first=[_figure(f, most) for f in page.first], panels=[_panel(p, most) for p in page.panels if p.is_shown],
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
    """A finding with its evidence, "(… 48 users, …)" or "(3.1 to 9.3)", set lighter than the finding itself."""
    evidence = r"\([^()]*(?:\b(?:users?|blocks?|pairs?|prompts?)\b|\d\sto\s[+−]?\d)[^()]*\)"
    return Markup(re.sub(evidence, r"<span>\g<0></span>", str(escape(sentence))))  # noqa: S704


def _unsaid(page: Page) -> dict[str, str]:
    """The fingerprints that no table of the page shows."""
    cells = {cell for panel in page.panels for t in panel.tables for row in t.rows for cell in row if isinstance(cell, str)}
    return {name: value for name, value in page.hashes.items() if value not in cells}


def _requirement(requirement: Requirement, page: Page) -> dict[str, Any]:
    reason = "" if page.is_answered(requirement) else requirement.reason
    words = row(requirement, page.unit)
    return {"row": words, "bar": bar(requirement), "sign": SIGN[words.verdict], "reason": reason, "is_folded": len(reason) > LONG_REASON}


def _panel(panel: Panel, most: int) -> dict[str, Any]:
    """What is seen of a closed panel is its finding, else its first figure's, else what its tables or notes hold."""
    figures, tables = [_figure(f, most) for f in panel.figures], [_table(t, most) for t in panel.tables if t.is_shown]
    lead = finding(panel.finding)
    if not lead and figures:
        lead, figures[0]["title"] = figures[0]["title"], ""
    held = [re.split(r" \(|[;,:] ", t["caption"])[0] for t in tables] or [clipped(n, LONG_REASON) for n in panel.notes[:1]]
    hint = "" if lead else " · ".join(held)
    return {"key": panel.key, "name": panel.name, "lead": lead, "hint": hint, "figures": figures, "tables": tables, "notes": panel.notes}


def _figure(figure: Figure, most: int) -> dict[str, Any]:
    wide, narrow = (Markup(figure.plot(w)) if figure.plot else "" for w in (WIDE, NARROW))  # noqa: S704
    table = _table(figure.table, most) if figure.table and figure.table.is_shown else None
    return {
        "sentence": figure.sentence, "title": finding(figure.sentence), "note": figure.note, "section": figure.section, "table": table,
        "wide": wide, "narrow": narrow,
    }  # fmt: skip


def _table(table: Table, most: int) -> dict[str, Any]:
    """The table's columns and rows in words."""
    places, shown = table.places, range(min(len(table.rows), table.most, most))
    looks = {i: _look(table, i, shown) for i in places}
    rows = [{"cells": [_cell(table, r, i, looks[i]) for i in places], "grey": table.is_grey(r)} for r in shown]
    total = f"{len(rows):,} of {len(table.rows):,} rows" if len(rows) < len(table.rows) else f"{len(rows):,} row{'s' * (len(rows) != 1)}"
    return {
        "caption": table.caption, "heads": [(table.columns[i].name, looks[i]) for i in places], "rows": rows, "size": total,
        "is_long": len(rows) > LONG_TABLE, "look": "stacked" if len(places) >= STACKED else "few" if len(places) <= FEW else "",
        "more": table.rest(len(rows)),
    }  # fmt: skip


def _look(table: Table, column: int, rows: range) -> str:
    """Classes of the style sheet: left for words; sentences get room, as they would else be columns of single words."""
    if column == table.places[0]:
        return "t"
    written = [cell if isinstance(cell := table.rows[r][column], str) else "" for r in rows]
    if not table.is_text(column):  # two intervals in one cell may break between them
        return "m" * any(len(text) > SHORT_TEXT for text in written)
    longest = max((len(table.columns[column].line(table.rows[r][column])) for r in rows), default=0)
    return "t" if longest <= SHORT_TEXT else "t m" if longest <= LONG_TEXT else "t w"


def _cell(table: Table, row: int, column: int, look: str) -> dict[str, Any]:
    value: Cell = table.rows[row][column]
    text, interval = table.columns[column].write(value)
    long = " long" if any(len(word) > LONG_WORD for word in text.split()) else ""
    return {"text": text, "interval": interval, "name": value if isinstance(value, Name) else None, "look": (look + long).strip()}

"""A page → one HTML file that needs nothing else: no script, no request, figures inline, light and dark, fit for print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from evenhand.report.page import Cell, Figure, Name, Page, Panel, Table
from evenhand.report.verdicts import ORDER, SIGN, bar, row

WIDE, NARROW = 860, 400  # pixels: a figure for a page, and for a telephone or a third of a page
MOST_CARDS = 12  # requirements drawn with their intervals
LONG = 15  # rows of a table that is folded


def html(page: Page, kind: str, files: Sequence[str] = ()) -> str:
    """The page. Every text in it went through Jinja's autoescape; only figures, escaped by `figures`, go in as they are."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("evenhand.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    requirements = [
        {"row": row(r), "bar": bar(r), "sign": SIGN[r.verdict], "is_answered": page.is_answered(r)}
        for r in sorted(page.requirements, key=lambda r: ORDER[r.verdict])
    ]
    return environment.get_template("page.html.j2").render(
        page=page, kind=kind, files=", ".join(files), sign={"pass": "✓", "fail": "✕", "insufficient": "?", "neutral": "◆"}[page.tone],
        answers=[(a.question, finding(a.text)) for a in page.answers], summary=finding(page.summary), requirements=requirements,
        most_cards=MOST_CARDS, first=[_figure(f, narrow_only=False) for f in page.first], panels=[_panel(p) for p in page.panels if p.is_shown],
    )  # fmt: skip


def finding(sentence: str) -> Markup:
    """A finding with its evidence, "(… 48 users, …)", set lighter than the finding itself."""
    return Markup(re.sub(r"\([^()]*\b(?:users?|pairs?|prompts?)\b[^()]*\)", r"<span>\g<0></span>", str(escape(sentence))))  # noqa: S704


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "key": panel.key, "name": panel.name, "finding": finding(panel.finding), "notes": panel.notes,
        "figures": [_figure(f) for f in panel.figures], "tables": [_table(t) for t in panel.tables if t.is_shown],
    }  # fmt: skip


def _figure(figure: Figure, narrow_only: bool = False) -> dict[str, Any]:
    """A figure with its drawings marked as markup."""
    narrow = figure.plot(NARROW) if figure.plot else ""
    wide = figure.plot(WIDE) if figure.plot and not narrow_only else ""
    return {
        "sentence": figure.sentence, "title": finding(figure.sentence), "wide": Markup(wide), "narrow": Markup(narrow),  # noqa: S704
        "note": figure.note, "section": figure.section, "table": _table(figure.table) if figure.table and figure.table.is_shown else None,
    }  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    text: str
    interval: str
    name: Name | None


def _table(table: Table) -> dict[str, Any]:
    """The table's columns and rows in words."""
    places = table.places

    def cell(value: Cell, i: int) -> _Cell:
        return _Cell(*table.columns[i].write(value), value if isinstance(value, Name) else None)

    shown = range(min(len(table.rows), table.most))
    rows = [{"cells": [cell(table.rows[r][i], i) for i in places], "grey": table.is_grey(r)} for r in shown]
    left_out = len(table.rows) - len(rows)
    total = f"{len(rows):,} of {len(table.rows):,} rows" if left_out else f"{len(rows):,} row{'s' * (len(rows) != 1)}"
    return {
        "caption": table.caption, "heads": [(table.columns[i].name, table.is_text(i)) for i in places], "rows": rows, "size": total,
        "is_long": len(rows) > LONG, "more": f"{left_out:,} more rows{f' in {table.file}.csv' if table.file else ''}" if left_out else "",
    }  # fmt: skip

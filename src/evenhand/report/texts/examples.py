"""The private page: texts of matched cells side by side. It stands beside a report and never in one."""

from __future__ import annotations

from evenhand.report import Kind
from evenhand.report.html import html as print_html
from evenhand.report.numbers import plural
from evenhand.report.page import Column, Page, Panel, Row, Table
from evenhand.report.publish import LONGEST_TEXT, publish
from evenhand.texts.findings import TextFindings

PRIVATE = "Private: this page holds texts as they were written. It is for whoever may read them, and not to be passed on."
RULES = f"Readable by its owner alone. A text is shown on one line, at most {LONGEST_TEXT} characters of it."


def page(findings: TextFindings) -> Page:
    """A table an example: each cell, and its text."""
    found = publish(findings.examples)
    tables = []
    for i, e in enumerate(found, 1):
        rows: tuple[Row, ...] = tuple(zip(e.cells, e.texts))
        tables.append(Table(f"{i}. “{e.run}”", (Column("cell"), Column("text")), rows))
    headline = f"{plural(len(found), 'set')} of matched texts"
    title = f"Matched texts: {publish(findings.title)}"
    return Page(
        headline,
        "neutral",
        (),
        (Panel("texts", "Texts", tables=tuple(tables)),),
        {},
        title=title,
        warning=PRIVATE,
        command=publish(findings.command),
        rules=RULES,
    )


TEXT_EXAMPLES = Kind("private texts", page, stem="texts")


def html(findings: TextFindings) -> str:
    """The page, which stands alone: nothing of it is in another file."""
    return print_html(page(findings), TEXT_EXAMPLES.name)

"""The private page of matched texts: written beside a report where it is asked for, and taken away where it is not."""

from __future__ import annotations

from pathlib import Path

from evenhand import writing
from evenhand.report import Report
from evenhand.report.texts.examples import TEXT_EXAMPLES, html

FILE = f"{TEXT_EXAMPLES.stem}.html"


def check(folder: Path, wanted: int) -> None:
    """Before the work: whether the page has a place."""
    if wanted:
        writing.check(folder, [FILE], TEXT_EXAMPLES.name)


def beside(report: Report, folder: Path) -> None:
    """texts.html, readable by its owner alone."""
    if report.findings.examples:
        writing.write(folder, {FILE: html(report.findings).encode()}, TEXT_EXAMPLES.name, private=True)
    else:
        writing.remove(folder, FILE, TEXT_EXAMPLES.name)

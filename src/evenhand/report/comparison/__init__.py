"""The report of `compare` and `sweep` as a user holds it: results that show themselves in a notebook and save themselves to a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from evenhand.audits.results import Comparison
from evenhand.report.comparison import words as said
from evenhand.report.comparison.document import publish
from evenhand.report.comparison.markdown import markdown
from evenhand.report.comparison.panels import panels
from evenhand.report.comparison.tables import tables
from evenhand.report.old_html import render, title
from evenhand.writing import write

KIND = "comparison"
FILES = (
    "report.html", "report.json", "report.md", "results.csv", "pairwise.csv", "unfairness.csv", "cells.csv", "exclusions.csv", "violations.csv",
    "events.csv",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ComparisonReport:
    """Several models side by side, printable. All outputs come from one JSON document (see `publish`), so they cannot disagree."""

    findings: Comparison

    @cached_property
    def document(self) -> dict[str, Any]:
        """What every output is printed from, the terminal's too."""
        return publish(self.findings)

    def html(self) -> str:
        """One self-contained page, at most 2 MB: no script, no request, light and dark, fit for print."""
        document = self.document
        return render(
            "comparison.html.j2", document, panels(document), kind=self._kind, headline=said.headline(document), meaning=title(said.meaning(document)),
            summary=said.summary(document), files="report.json, report.md and CSV files",
        )  # fmt: skip

    @property
    def _kind(self) -> str:
        return "sweep" if self.findings.swept else "comparison"

    def markdown(self) -> str:
        """At most 40 lines, for a pull request."""
        return markdown(self.document)

    def json(self) -> str:
        """Everything the other outputs show, and more rows of it. nan, infinities and suppressed numbers are null."""
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def tables(self) -> dict[str, str]:
        """CSV files by name."""
        return tables(self.document)

    def save(self, folder: str | Path) -> Path:
        """Write report.html, report.json, report.md and the CSV files; returns the path of report.html.

        Each file is replaced in one step: a reader never sees half of one. Raises EvenhandError if the folder cannot be written to, or a
        file that evenhand did not write would be lost (see `evenhand.writing`).
        """
        page = Path(folder) / "report.html"
        files = {**self.tables(), "report.md": self.markdown(), "report.json": self.json(), page.name: self.html()}
        write(page.parent, {name: text.encode() for name, text in files.items()}, KIND, FILES)
        return page

    def __repr__(self) -> str:
        """A few plain lines for a terminal."""
        document = self.document
        parts = (document["title"] or self._kind, f"{said.headline(document)}. {said.meaning(document)}", said.summary(document))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and the notebook's leave each other alone."""
        frame = f'sandbox="" title="evenhand {self._kind}" style="width:100%;height:46rem;border:1px solid #8888"'
        return f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>'

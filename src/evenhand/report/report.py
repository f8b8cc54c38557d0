"""The report as a user holds it: findings that show themselves in a notebook and save themselves to a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from evenhand.audits.findings import FairnessReport
from evenhand.core import Verdict
from evenhand.report import words
from evenhand.report.old_html import html
from evenhand.report.old_junit import junit
from evenhand.report.old_markdown import markdown
from evenhand.report.old_tables import tables
from evenhand.report.public import publish
from evenhand.writing import write

KIND = "audit report"
FILES = (
    "report.html", "report.json", "report.md", "junit.xml", "requirements.csv", "groups.csv", "models.csv", "support.csv", "null.csv",
    "users.csv", "confounds.csv", "counts.csv", "changes.csv", "training.csv", "constraints.csv", "multipliers.csv", "exclusions.csv",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Report:
    """An audit's findings, printable. All outputs come from one JSON document (see `publish`), so they cannot disagree."""

    findings: FairnessReport

    @property
    def verdict(self) -> Verdict:
        return self.findings.verdict

    @property
    def exit_code(self) -> int:
        """0 all PASS, 1 any FAIL, 3 INSUFFICIENT (or no requirement)."""
        return self.findings.exit_code

    @cached_property
    def document(self) -> dict[str, Any]:
        """What every output is printed from, the terminal's too."""
        return publish(self.findings)

    def html(self) -> str:
        """One self-contained page, at most 2 MB: no script, no request, light and dark, fit for print."""
        return html(self.document)

    def markdown(self) -> str:
        """At most 40 lines, for a pull request."""
        return markdown(self.document)

    def json(self) -> str:
        """Everything the other outputs show, and more rows of it. nan, infinities and suppressed numbers are null."""
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def junit(self) -> str:
        """Requirements as test cases: FAIL = failure, INSUFFICIENT = error."""
        return junit(self.document)

    def tables(self) -> dict[str, str]:
        """CSV files by name."""
        return tables(self.document)

    def save(self, folder: str | Path) -> Path:
        """Write report.html, report.json, report.md, junit.xml and the CSV files; returns the path of report.html.

        Each file is replaced in one step: a reader never sees half of one. Raises EvenhandError if the folder cannot be written to, or a
        file that evenhand did not write would be lost (see `evenhand.writing`).
        """
        folder = Path(folder)
        page = folder / "report.html"
        files = {
            **self.tables(),
            "junit.xml": self.junit(),
            "report.md": self.markdown(),
            "report.json": self.json(),
            page.name: self.html(),
        }
        write(folder, {name: text.encode() for name, text in files.items()}, KIND, FILES)
        return page

    def __repr__(self) -> str:
        """A few plain lines for a terminal."""
        rows = [words.requirement_row(r) for r in self.document["requirements"][:10]]
        lines = [
            f"{r['verdict']:<12} {r['name']}: {r['value']} (simultaneous {r['interval']}), required {r['required']}, {r['people']}"
            for r in rows
        ]
        told = [self.document["flaw"], *words.answers(self.document), words.summary(self.document)]
        return "\n".join([f"{self.verdict}: {self.document['title'] or 'audit report'}", *(t for t in told if t), *lines])

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and the notebook's leave each other alone."""
        frame = 'sandbox="" title="evenhand audit report" style="width:100%;height:46rem;border:1px solid #8888"'
        return f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>'

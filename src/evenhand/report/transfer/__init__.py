"""The report of `transfer` as a user holds it: findings that show themselves in a notebook and save themselves to a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from evenhand.audits.transfer import Transfer
from evenhand.report.old_html import render, title
from evenhand.report.transfer import words as said
from evenhand.report.transfer.document import publish
from evenhand.report.transfer.markdown import markdown
from evenhand.report.transfer.panels import panels
from evenhand.writing import write

KIND, FILES = "policies", ("report.html", "transfer.json", "transfer.md")


@dataclass(frozen=True, repr=False)
class TransferReport:
    """What policies make of a reward, printable. All outputs come from one JSON document (see `publish`), so they cannot disagree."""

    findings: Transfer

    @cached_property
    def document(self) -> dict[str, Any]:
        """What every output is printed from, the terminal's too."""
        return publish(self.findings)

    def html(self) -> str:
        """One self-contained page: no script, no request, light and dark, fit for print."""
        document = self.document
        return render(
            "transfer.html.j2", document, panels(document), kind="policies", headline=said.headline(document), meaning=title(said.meaning(document)),
            summary=said.summary(document), files="transfer.json and transfer.md",
        )  # fmt: skip

    def markdown(self) -> str:
        """At most 40 lines, for a pull request."""
        return markdown(self.document)

    def json(self) -> str:
        """Everything the other outputs show, and more of it. nan, infinities and suppressed numbers are null."""
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write report.html, transfer.json and transfer.md; returns the path of report.html.

        Each file is replaced in one step: a reader never sees half of one. Raises EvenhandError if the folder cannot be written to, or a
        file that evenhand did not write would be lost (see `evenhand.writing`).
        """
        page = Path(folder) / "report.html"
        files = {"transfer.md": self.markdown(), "transfer.json": self.json(), page.name: self.html()}
        write(page.parent, {name: text.encode() for name, text in files.items()}, KIND, FILES)
        return page

    def __repr__(self) -> str:
        """A few plain lines for a terminal."""
        document = self.document
        return "\n".join((document["title"], f"{said.headline(document)}. {said.meaning(document)}", said.summary(document)))

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and the notebook's leave each other alone."""
        frame = 'sandbox="" title="evenhand policies" style="width:100%;height:46rem;border:1px solid #8888"'
        return f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>'

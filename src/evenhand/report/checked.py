"""What `check` found, as a page, as JSON and in the terminal: a verdict, what to mend first, then the rest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.text import Text

from evenhand.core import PreferenceData
from evenhand.data.doctor import Diagnosis
from evenhand.report.layout import Panel, Table, listed
from evenhand.report.old_html import render
from evenhand.report.public import SMALLEST_CELL, may_be_named, one_line, printable
from evenhand.writing import write

Json = dict[str, Any]
KIND, FILES = "data check", ("check.html", "check.json")
TONE = {"error": ("FAIL", "✕"), "warning": ("INSUFFICIENT", "?"), "note": ("PASS", "✓")}
MOST_GROUPS = 6  # with excluded rows, in the terminal
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold green"}


@dataclass(frozen=True, repr=False)
class CheckReport:
    data: PreferenceData
    found: Diagnosis
    command: str = ""

    @cached_property
    def document(self) -> Json:
        """What every output is printed from. Excluded rows of groups of fewer than 10 users are in the totals alone."""
        small = {g.group for g in self.found.groups if g.users < SMALLEST_CELL}
        shown = {g.group for g in self.found.groups} - small
        lost = asdict(self.data.exclusions)
        lost["by_group"] = {k: v for k, v in lost["by_group"].items() if may_be_named(k, v, small, shown)}
        facts = {
            "data": self.data.source,
            "sha256": self.data.fingerprint,
            "users": f"{len(self.data.users):,}",
            "pairs": f"{len(self.data):,}",
        }
        return printable({
            "format": "evenhand check 1", "title": self.data.source.partition(" (")[0], "simulated": False, "command": self.command,
            "severity": self.found.severity, "verdict": self.found.verdict, "first": [asdict(f) for f in self.found.first],
            "findings": [asdict(f) for f in self.found.findings],
            "tables": [asdict(t) for t in self.found.tables()], "exclusions": lost, "facts": facts,
        })  # fmt: skip

    def html(self) -> str:
        """One self-contained page."""
        document = self.document
        name, sign = TONE[document["severity"]]
        parts = {"tone": name, "sign": sign, "headline": document["verdict"], "meaning": self.read(), "first": document["first"]}
        return render("check.html.j2", document, self._panels(), kind="data check", files="check.json", **parts)

    def json(self) -> str:
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def save(self, folder: Path) -> Path:
        """Write check.html and check.json; returns the page's path. Raises EvenhandError if the folder cannot be written."""
        page = Path(folder) / "check.html"
        write(page.parent, {"check.json": self.json().encode(), page.name: self.html().encode()}, KIND, FILES)
        return page

    def read(self) -> str:
        """How many rows came in and were used, one sentence."""
        lost = self.document["exclusions"]
        return f"{self.document['facts']['data']}: {lost['rows_in']:,} rows in, {lost['rows_used']:,} used."

    def lines(self) -> list[Text]:
        """The verdict and what to mend first, and the excluded rows by group, for a terminal."""
        document = self.document
        out = [Text(document["verdict"], style=STYLES[document["severity"]])]
        for number, f in enumerate(document["first"], 1):
            out.append(Text.assemble((f"{number}. ", "bold"), f"{f['sentence']} {f['remedy']}"))
        lost = sorted(document["exclusions"]["by_group"].items(), key=lambda g: -sum(g[1].values()))
        told = ", ".join(f"{group} {sum(reasons.values()):,}" for group, reasons in lost[:MOST_GROUPS])
        more = f", and {len(lost) - MOST_GROUPS} more groups" if len(lost) > MOST_GROUPS else ""
        return [*out, *([Text(f"excluded rows by group: {told}{more}")] if lost else [])]

    def _panels(self) -> list[Panel]:
        tables = [_table(t) for t in self.document["tables"] if t["rows"]]
        lost = self.document["exclusions"]
        rows = [
            ("rows in", f"{lost['rows_in']:,}"),
            *((f"excluded: {r}", f"{n:,}") for r, n in lost["reasons"].items()),
            ("rows used", f"{lost['rows_used']:,}"),
        ]
        went = [listed("Where every row went", ("row", "count"), rows, "check.json")]
        by_group = [(g, reason, f"{n:,}") for g, reasons in lost["by_group"].items() for reason, n in reasons.items()]
        went += [listed("Excluded rows by group", ("group", "reason", "rows"), by_group, "check.json", text=(0, 1))] if by_group else []
        facts = listed("What was checked", ("fact", "value"), list(self.document["facts"].items()), "check.json", text=(0, 1))
        return [Panel("findings", "What was found", (), tuple(tables)), Panel("rows", "Rows", (), (*went, facts))]


def _table(table: Json) -> Table:
    words = {0} | {i for i, cell in enumerate(table["rows"][0]) if not cell[:1].isdigit()}
    return listed(one_line(table["title"]), table["columns"], table["rows"], "check.json", text=tuple(words))

"""A report as its user holds it: findings that show themselves in a notebook and save themselves to a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenhand.core import EvenhandError, Verdict
from evenhand.report.page import Page
from evenhand.writing import write

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Kind:
    """A kind of report. name: what the list of written files calls it. build: its findings → its page, small cells hidden. tables: the CSV
    files that it may write, without ".csv". stem: of its page and its JSON. judges: whether it has requirements, and so junit.xml.
    """

    name: str
    build: Callable[[Any], Page]
    tables: tuple[str, ...] = ()
    stem: str = "report"
    judges: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that such a report may write, the page last: where it is there, all others are."""
        csv = tuple(f"{t}.csv" for t in self.tables)
        return (*csv, *(("junit.xml",) if self.judges else ()), f"{self.stem}.md", f"{self.stem}.json", f"{self.stem}.html")


@dataclass(frozen=True, repr=False)
class Report:
    """Findings of any kind, printable. All outputs come from one page, so they cannot disagree.

    findings: as they were computed, small groups included: what is printed or saved goes through `page`, which hides them.
    """

    findings: Any
    kind: Kind

    @cached_property
    def page(self) -> Page:
        return self.kind.build(self.findings)

    @property
    def document(self) -> dict[str, Any]:
        """What report.json holds."""
        return dict(self.page.document)

    @property
    def verdict(self) -> Verdict | None:
        """FAIL if any requirement fails, else INSUFFICIENT if any lacks data, else PASS; None for kinds that judge nothing."""
        found: Verdict | None = self.document.get("verdict") if self.kind.judges else None
        return found

    @property
    def exit_code(self) -> int:
        """0 all PASS (or nothing to judge), 1 any FAIL, 3 INSUFFICIENT (or no requirement)."""
        return self.page.exit_code

    def html(self) -> str:
        """One self-contained page, at most 2 MB: no script, no request, light and dark, fit for print."""
        from evenhand.report.html import html

        beside = [f for f in self.kind.files if not f.endswith((".html", ".csv"))]
        return html(self.page, self.kind.name, [*self.tables(), *beside])

    def markdown(self) -> str:
        """At most 40 lines, for a pull request."""
        from evenhand.report.markdown import markdown

        return markdown(self.page)

    def json(self) -> str:
        """Everything the other outputs show, and more rows of it. nan, infinities and hidden numbers are null."""
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def junit(self) -> str:
        """Requirements as test cases: FAIL = failure, INSUFFICIENT = error."""
        from evenhand.report.verdicts import junit

        return junit(self.page)

    def tables(self) -> dict[str, str]:
        """CSV files by name."""
        from evenhand.report.tables import tables

        return tables(self.page)

    def to_dict(self) -> dict[str, Any]:
        """`document`: what report.json holds, as Python's own values."""
        return self.document

    def to_frame(self, table: str = "") -> DataFrame:
        """A CSV file's rows as a pandas data frame; table: its name without ".csv", the kind's first one if "".

        Raises EvenhandError without pandas, or where there is no such table.
        """
        import io

        try:
            import pandas
        except ImportError as error:
            raise EvenhandError("pandas is not installed. Expected: pandas. To do: pip install pandas, or read tables().") from error
        files = self.tables()
        if not files:
            raise EvenhandError(
                f"A {self.kind.name} has no table. Expected: a kind of report with CSV files. To do: to_dict() holds all of it."
            )
        name = f"{table or next((t for t in self.kind.tables if f'{t}.csv' in files), '')}.csv"
        if name not in files:
            known = ", ".join(f.removesuffix(".csv") for f in files)
            raise EvenhandError(f"There is no table '{table}' in this {self.kind.name}. Expected: one of {known}. To do: name one of them.")
        return pandas.read_csv(io.StringIO(files[name]))

    def save(self, folder: str | Path) -> Path:
        """Write the page, its JSON and Markdown, and the CSV files; returns the path of the page.

        Each file is replaced in one step: a reader never sees half of one. Raises EvenhandError if the folder cannot be written to, or a
        file that evenhand did not write would be lost (see `evenhand.writing`).
        """
        stem = self.kind.stem
        files = {**self.tables(), f"{stem}.md": self.markdown(), f"{stem}.json": self.json(), f"{stem}.html": self.html()}
        if self.kind.judges:
            files = {"junit.xml": self.junit(), **files}
        write(Path(folder), {name: text.encode() for name, text in files.items()}, self.kind.name, self.kind.files)
        return Path(folder) / f"{stem}.html"

    def __repr__(self) -> str:
        """A few plain lines for a terminal."""
        page = self.page
        return "\n".join(
            [
                f"{page.headline}: {page.title or self.kind.name}",
                *(s for s in (page.warning, *page.cautions, *map(str, page.answers), page.summary) if s),
            ]
        )

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and the notebook's leave each other alone."""
        frame = f'sandbox="" title="evenhand {escape(self.kind.name)}" style="width:100%;height:46rem;border:1px solid #8888"'
        return f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>'

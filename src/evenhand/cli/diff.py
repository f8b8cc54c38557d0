"""The verb that puts two reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place, command
from evenhand.cli.options import OUTPUT, Note, Pdf, Title, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say


@verb
def diff(
    *,
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a report, or its JSON file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The other one, of the same kind.")],
    out: Annotated[Path, option(OUTPUT, help="Folder for diff.html and its JSON, Markdown and CSV.")] = Path("diff"),
    title: Title,
    note: Note,
    pdf: Pdf = False,
) -> None:
    """Put two reports side by side: numbers of both and their differences, verdicts, facts that differ. Exit code 0 whatever differs."""
    from evenhand.report.diff import DIFF
    from evenhand.report.terminal import lines
    from evenhand.workflows.diff import diff as run
    from evenhand.workflows.pdf import beside

    check_place(out, DIFF.files, DIFF.name, pdf=pdf)
    report = run(a, b, title=title, note=note, command=command())
    say(*lines(report.page), f"report: {beside(report.save(out), pdf)}")

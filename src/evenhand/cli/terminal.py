"""What a verb prints: progress on stderr, findings on stdout, the exit code of the verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evenhand import ranks
from evenhand.core import visible

if TYPE_CHECKING:
    from evenhand.report import Report


def say(*parts: Any) -> None:
    """Print on stdout, as the first rank. If whoever read it has gone (`| head`), the rest is dropped, and the exit code still is the verdict's.

    Names of columns, groups and files are others' words: whatever they hold, no control character and no markup of theirs is obeyed.
    """
    if not ranks.first():
        return
    from rich.console import Console
    from rich.segment import Segment

    class Patient(Console):
        def on_broken_pipe(self) -> None:  # rich would exit with 1, which is a FAIL here
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        def render(self, *args: Any, **more: Any) -> Iterator[Segment]:  # everything that is printed passes here, before its style
            for segment in super().render(*args, **more):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    console = Patient(soft_wrap=True, markup=False, highlight=False, emoji=False)
    for part in parts:
        console.print(part)


def tell(text: str) -> None:
    """Print on stderr, likewise."""
    if ranks.first():
        print(visible(text), file=sys.stderr)


def finish(report: Report, path: Path) -> None:
    """Print what a person reads first, and end with the exit code of the verdict."""
    from evenhand.report.terminal import lines
    from evenhand.workflows.score_facts import EQUAL_SCORES, LARGE, SEVERAL_SCORES, SMALL

    odd = [report.page.facts[name] for name in (EQUAL_SCORES, SEVERAL_SCORES, SMALL, LARGE) if report.page.facts.get(name)]
    say(*lines(report.page), *odd, f"report: {path}")
    raise typer.Exit(report.exit_code)


def finish_comparison(report: Report, path: Path) -> None:
    """Print the entries and what was chosen. There is no requirement here, so the exit code is 0."""
    from evenhand.report.terminal import lines

    say(*lines(report.page), f"report: {path}")

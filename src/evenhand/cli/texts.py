"""The verbs that read texts for many audiences: a grid and its prompts, and an audit of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenhand.cli.inputs import check_place, command
from evenhand.cli.options import DATA, GROUPS, MACHINES, MODEL, OUTPUT, Address, Cache, Engine, Note, Pdf, Seed, Simulated, Title, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import finish, say

if TYPE_CHECKING:
    from evenhand.report import Report

INSTRUMENTS = "Instruments"  # a panel of --help
Instrument = Annotated[Path | None, option(INSTRUMENTS)]  # a file, or the folder of a model
Audits = Annotated[list[str], option(MODEL, "--audit")]


@verb
def grid(
    *,
    grid: Annotated[str, typer.Argument(metavar="GRID")],
    out: Annotated[Path | None, option(OUTPUT)],
) -> None:
    """Write the prompts of a grid - one message for many audiences - and count its matched pairs and blocks."""
    from evenhand.workflows.grid import grid as run

    found = run(grid, out=out)
    say(str(found), *([f"prompts: {found.path}"] if found.path else [found.grid.prompt(0)]))


@verb
def audit_text(
    *,
    texts: Annotated[Path, typer.Argument(metavar="TEXTS")],
    grid: Annotated[str, option(DATA)],
    base: Annotated[str, option(GROUPS)],
    selected: Annotated[list[str], option(GROUPS, "--selected")],
    audits: Audits,
    agency: Instrument,
    formality_model: Instrument,
    emotion_model: Instrument,
    nli: Instrument,
    usable_only: Annotated[bool, option(DATA, "--usable-only")],
    tolerance: Annotated[float, option(OUTPUT)],
    permutations: Annotated[int, option(MODEL)],
    seed: Seed,
    cache: Cache,
    jobs: Annotated[int | None, option(MACHINES, min=0)],
    engine: Engine,
    address: Address,
    show_text: Annotated[int, option(OUTPUT)],
    title: Title,
    note: Note,
    simulated: Simulated,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for the report.")] = Path("audit-text"),
) -> None:
    """Audit texts for many audiences: what differs between matched groups beyond chance, by how much, and whether texts still speak to
    their audience.
    """
    from evenhand.workflows.audit_text import audit_text as run

    check_report(out, show_text, pdf)
    report = run(
        texts,
        grid=grid,
        audits=audits,
        agency=agency,
        formality_model=formality_model,
        emotion_model=emotion_model,
        nli=nli,
        base=base,
        selected=selected,
        tolerance=tolerance,
        usable_only=usable_only,
        show_text=show_text,
        permutations=permutations,
        jobs=jobs,
        engine=str(engine),
        address=address,
        seed=seed,
        title=title,
        note=note,
        simulated=simulated,
        cache=cache,
        command=command(),
    )
    finish_texts(report, out, pdf)


def check_report(out: Path, show_text: int, pdf: bool) -> None:
    """Whether a report of texts, and the private page beside it, will find their places."""
    from evenhand.report.texts import TEXTS
    from evenhand.workflows import shown_texts

    check_place(out, TEXTS.files, TEXTS.name, pdf=pdf)
    shown_texts.check(out, show_text)


def finish_texts(report: Report, out: Path, pdf: bool) -> None:
    """Write them, print what a person reads first, and end with the exit code of the verdict."""
    from evenhand.workflows import shown_texts
    from evenhand.workflows.pdf import beside

    path = beside(report.save(out), pdf)
    shown_texts.beside(report, out)
    finish(report, path)

"""The verb that follows a reward into the policies made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place, command, decimals
from evenhand.cli.options import DATA, GROUPS, MODEL, OUTPUT, Note, Pdf, Seed, Title, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say


@verb
def transfer(
    *,
    candidates: Annotated[Path, typer.Argument(metavar="CANDIDATES")],
    reward: Annotated[str, option(DATA)],
    other: Annotated[str | None, option(DATA)],
    event: Annotated[str, option(DATA)],
    ref: Annotated[str | None, option(DATA)],
    prompt: Annotated[str, option(DATA)],
    group_by: Annotated[str, option(GROUPS)],
    betas: Annotated[str, option(MODEL)] = "0.1,0.5,1,2,4",
    ns: Annotated[str, option(MODEL)] = "1,2,4,8,16",
    seed: Seed,
    title: Title,
    note: Note,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for the report.")] = Path("transfer"),
) -> None:
    """Measure how far groups lie apart once a policy follows the reward: exact Gibbs and best-of-n over given candidates, beside bounds."""
    from evenhand.report.policies import POLICIES
    from evenhand.report.terminal import lines
    from evenhand.workflows.pdf import beside
    from evenhand.workflows.transfer import transfer as run

    check_place(out, POLICIES.files, POLICIES.name, pdf=pdf)
    report = run(
        candidates,
        reward=reward,
        other=other,
        group_by=group_by,
        event=event,
        ref=ref,
        prompt=prompt,
        betas=decimals(betas, "--betas", "0.1,1,4"),
        ns=decimals(ns, "--ns", "1,2,4"),
        title=title,
        note=note,
        seed=seed,
        command=command(),
    )
    path = beside(report.save(out), pdf)
    say(*lines(report.page), f"report: {path}")

"""The verb that follows a reward into the policies made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place, command, decimals
from evenhand.cli.options import DATA, GROUPS, MODEL, OUTPUT, Seed, Title, option
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
    out: Annotated[Path, option(OUTPUT, help="Folder for report.html, transfer.json and transfer.md.")] = Path("transfer"),
) -> None:
    """Measure how far groups lie apart once a policy follows the reward: exact Gibbs and best-of-n over given candidates, beside bounds."""
    from evenhand.report.transfer import FILES, KIND
    from evenhand.report.transfer.terminal import transfer_lines, transfer_table
    from evenhand.workflows.transfer import transfer as run

    check_place(out, FILES, KIND)
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
        seed=seed,
        command=command(),
    )
    path = report.save(out)
    say(transfer_table(report), *transfer_lines(report), f"report: {path}")

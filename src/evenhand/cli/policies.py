"""The verb that follows a reward into the policies made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place, command, decimals
from evenhand.cli.options import Pdf, Seed
from evenhand.cli.terminal import say


def transfer(
    candidates: Annotated[
        Path, typer.Argument(help="A table with one row a candidate response (JSONL, CSV, Parquet, Arrow).", show_default=False)
    ],
    reward: Annotated[str, typer.Option(help="Column of the reward.")] = "reward",
    other: Annotated[str | None, typer.Option(help="Column of a second reward, to be compared at each beta.", show_default=False)] = None,
    group: Annotated[str, typer.Option(help="Column of the group of the prompt, or of who asks.")] = "group",
    event: Annotated[str, typer.Option(help="Column of what is counted: 0, 1 or a rate between.")] = "event",
    ref: Annotated[
        str | None,
        typer.Option(help="Column of log-probabilities under the reference policy; default: all candidates alike.", show_default=False),
    ] = None,
    prompt: Annotated[str, typer.Option(help="Column that tells prompts apart: an id or the text.")] = "prompt",
    betas: Annotated[str, typer.Option(help="Temperatures of Gibbs policies, with commas.")] = "0.1,0.5,1,2,4",
    ns: Annotated[str, typer.Option(help="Draws of best-of-n policies, with commas.")] = "1,2,4,8,16",
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("transfer"),
    pdf: Pdf = False,
    seed: Seed = 0,
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
        group=group,
        event=event,
        ref=ref,
        prompt=prompt,
        betas=decimals(betas, "--betas", "0.1,1,4"),
        ns=decimals(ns, "--ns", "1,2,4"),
        seed=seed,
        command=command(),
    )
    path = beside(report.save(out), pdf)
    say(*lines(report.page), f"report: {path}")

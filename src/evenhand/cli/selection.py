"""The verbs that choose: texts among candidates, and runs among those that were audited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.options import CONSTRAINTS, DATA, MODEL, OUTPUT, Seed, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say

NONE = 3  # exit code: no model is selected


@verb
def select(
    *,
    candidates: Annotated[Path, typer.Argument(metavar="CANDIDATES")],
    grid: Annotated[str, option(DATA)],
    audits: Annotated[list[str], option(MODEL, "--audit")],
    reward: Annotated[str | None, option(MODEL)],
    eps: Annotated[float, option(CONSTRAINTS)],
    eps_fidelity: Annotated[float, option(CONSTRAINTS)],
    similarity: Annotated[float, option(CONSTRAINTS)],
    pairwise: Annotated[bool, option(CONSTRAINTS, "--pairwise")],
    each_pair: Annotated[bool, option(CONSTRAINTS, "--each-pair")],
    unchecked: Annotated[bool, option(CONSTRAINTS, "--unchecked")],
    weighted: Annotated[bool, option(MODEL, "--weighted")],
    seed: Seed,
    out: Annotated[Path, option(OUTPUT)] = Path("selected"),
) -> None:
    """Choose one of several texts for every cell of a grid: matched groups are treated alike, and texts still speak to their audience."""
    from evenhand.workflows.select import select as run
    from evenhand.workflows.selected import sentences

    found = run(
        candidates,
        grid=grid,
        out=out,
        audits=audits,
        reward=reward,
        eps=eps,
        eps_fidelity=eps_fidelity,
        similarity=similarity,
        pairwise=pairwise,
        each_pair=each_pair,
        unchecked=unchecked,
        weighted=weighted,
        seed=seed,
    )
    say(*sentences(found.findings), f"selected: {out}")


@verb
def choose(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN")],
    rho: Annotated[float, option(CONSTRAINTS)],
    eps: Annotated[float, option(CONSTRAINTS)],
    base: Annotated[str, option(DATA)],
    out: Annotated[Path | None, option(OUTPUT)],
) -> None:
    """Choose among audited runs by bounded regression. Exit code 3 where none keeps the bounds: no model is selected."""
    from evenhand.workflows.choose import choose as run
    from evenhand.workflows.choose import sentences

    found = run(runs, rho=rho, eps=eps, base=base, out=out)
    say(*sentences(found), *([f"choice: {out}"] if out else []))
    if not found.best:
        raise typer.Exit(NONE)

"""The verbs that choose: texts among candidates, and runs among those that were audited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.options import CONSTRAINTS, DATA, MODEL, OUTPUT, Seed, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say
from evenhand.cli.texts import Instrument

NONE = 3  # exit code: no model is selected


@verb
def select(
    *,
    candidates: Annotated[Path, typer.Argument(metavar="CANDIDATES")],
    grid: Annotated[str, option(DATA)],
    audits: Annotated[list[str], option(MODEL, "--audit")],
    reward: Annotated[str | None, option(MODEL)],
    agency: Instrument,
    formality_model: Instrument,
    emotion_model: Instrument,
    nli: Instrument,
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
    from evenhand.report.terminal import plain
    from evenhand.report.texts.stage_sentences import fall_sentence, selection_sentence
    from evenhand.workflows.select import select as run

    found = run(
        candidates,
        grid=grid,
        out=out,
        audits=audits,
        reward=reward,
        agency=agency,
        formality_model=formality_model,
        emotion_model=emotion_model,
        nli=nli,
        eps=eps,
        eps_fidelity=eps_fidelity,
        similarity=similarity,
        pairwise=pairwise,
        each_pair=each_pair,
        unchecked=unchecked,
        weighted=weighted,
        seed=seed,
    )
    done = found.findings
    say(*map(plain, (*map(fall_sentence, done.falls), *done.sentences, selection_sentence(done))), f"selected: {out}")


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
    from evenhand.report.terminal import Grid, plain
    from evenhand.report.texts.stage_sentences import choice_sentence
    from evenhand.report.texts.stages import choice as panel
    from evenhand.workflows.choose import choose as run

    found = run(runs, rho=rho, eps=eps, base=base, out=out)
    shown = panel(found)
    say(*map(Grid, shown.tables if shown else ()), plain(found.note), plain(choice_sentence(found)), *([f"choice: {out}"] if out else []))
    if not found.best:
        raise typer.Exit(NONE)

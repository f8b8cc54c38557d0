"""The verb that goes from a grid to texts that treat groups alike: every stage of it in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_track, command
from evenhand.cli.options import DATA, MODEL, OUTPUT, Device, Note, Pdf, Seed, Title, Track, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import tell
from evenhand.cli.texts import Audits, Instrument, check_report, finish_texts

WRITING, TRAINING, CHOICE = "Writing", "Training", "Gate and choice"


@verb
def align(
    *,
    grid: Annotated[str | None, typer.Argument(metavar="GRID")] = None,
    demo: Annotated[bool, option(DATA, "--demo")],
    originals: Annotated[Path | None, option(DATA)],
    model: Annotated[str | None, option(WRITING)],
    endpoint: Annotated[str | None, option(WRITING)],
    wording: Annotated[str | None, option(WRITING)],
    k: Annotated[int, option(WRITING, "--k", min=1)],
    revisions: Annotated[int, option(WRITING, min=0)],
    reviser: Annotated[str | None, option(WRITING)],
    counterpart: Annotated[bool, option(WRITING, "--counterpart")],
    temperature: Annotated[float, option(WRITING)],
    train: Annotated[bool, option(TRAINING, "--train")],
    dpo: Annotated[bool, option(TRAINING, "--dpo")],
    student: Annotated[str | None, option(TRAINING)],
    held: Annotated[float, option(TRAINING)],
    epochs: Annotated[int, option(TRAINING, min=1)],
    lr: Annotated[float, option(TRAINING)],
    dpo_lr: Annotated[float, option(TRAINING, "--dpo-lr")],
    beta: Annotated[float, option(TRAINING)],
    rank: Annotated[int, option(TRAINING, min=1)],
    most_examples: Annotated[int, option(TRAINING, "--most-examples", min=0)],
    device: Device,
    draws: Annotated[int, option(MODEL, min=1)],
    audits: Audits,
    reward: Annotated[Path | None, option(CHOICE)],
    agency: Instrument,
    formality_model: Instrument,
    emotion_model: Instrument,
    nli: Instrument,
    eps: Annotated[float, option(CHOICE)],
    eps_fidelity: Annotated[float, option(CHOICE, "--eps-fidelity")],
    rho: Annotated[float, option(CHOICE)],
    fall: Annotated[float, option(CHOICE)],
    tolerance: Annotated[float, option(OUTPUT)],
    permutations: Annotated[int, option(MODEL)],
    seed: Seed,
    show_text: Annotated[int, option(OUTPUT)],
    title: Title,
    note: Note,
    track: Track,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for the files of all stages, and for the report.")] = Path("align"),
) -> None:
    """Texts for every audience that treat matched groups alike: write, revise, select, train if asked, audit every stage, and choose one."""
    from evenhand.workflows.align import align as run

    check_report(out, show_text, pdf)
    check_track(track, out)
    found = run(
        grid,
        out=out,
        demo=demo,
        originals=originals,
        model=model,
        endpoint=endpoint,
        wording=wording,
        k=k,
        revisions=revisions,
        reviser=reviser,
        counterpart=counterpart,
        train=train,
        dpo=dpo,
        student=student,
        held=held,
        draws=draws,
        audits=audits,
        reward=reward,
        agency=agency,
        formality_model=formality_model,
        emotion_model=emotion_model,
        nli=nli,
        eps=eps,
        eps_fidelity=eps_fidelity,
        epochs=epochs,
        lr=lr,
        dpo_lr=dpo_lr,
        beta=beta,
        rank=rank,
        most_examples=most_examples,
        temperature=temperature,
        tolerance=tolerance,
        rho=rho,
        fall=fall,
        device=device,
        seed=seed,
        show_text=show_text,
        permutations=permutations,
        title=title,
        note=note,
        command=command(),
        track=track,
        say=tell,
    )
    finish_texts(found.report, out, pdf)

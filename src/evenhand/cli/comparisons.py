"""The verbs that train many models: compare methods, sweep settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import assignments, check_place, command, encoder_named, listed
from evenhand.cli.options import (
    Assignments,
    Cache,
    Chunked,
    Data,
    Dim,
    Encoder,
    Head,
    Jobs,
    LeaveOut,
    Mentions,
    Minority,
    Seed,
    Seeds,
    Simulated,
    Tfidf,
    Threshold,
    WithPrompt,
)  # fmt: skip
from evenhand.cli.reading import Reading, reads
from evenhand.cli.terminal import finish_comparison, progress_bar, say


@reads
def compare(
    *,
    data: Data,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Files of methods/ or user models of models/, with commas; pafo:lore is PAFO on LoRe's head. Default: all.",
            show_default=False,
        ),
    ] = None,
    seeds: Seeds = 5,
    tune: Annotated[
        int, typer.Option(min=0, help="Settings of each method to try on validation in every seed, at most 8; 0 = defaults.")
    ] = 4,
    out: Annotated[
        Path, typer.Option(help="Folder for the report, and for finished fits: the same command goes on where it stopped.")
    ] = Path("compare"),
    head: Head = None,
    reading: Reading,
    minority: Minority = 0.2,
    threshold: Threshold = None,
    mentions: Mentions = None,
    leave_out: LeaveOut = None,
    encoder: Encoder = "minilm",
    chunked: Chunked = True,
    with_prompt: WithPrompt = False,
    tfidf: Tfidf = True,
    dim: Dim = None,
    assigned: Assignments = None,
    seed: Seed = 0,
    cache: Cache = None,
    jobs: Jobs = 0,
    simulated: Simulated = False,
) -> None:
    """Train every method within one tuning budget, in several seeds, and say who serves whom best on held-out pairs."""
    from evenhand.report.comparison import COMPARISON
    from evenhand.workflows.compare import EVERYTHING
    from evenhand.workflows.compare import compare as run
    from evenhand.workflows.grouping import Grouping
    from evenhand.workflows.prepare import Encoding

    check_place(out, COMPARISON.files, COMPARISON.name, reading.bad_rows, assigned)
    loaded = reading.load(data, mentions=mentions, leave_out=leave_out)
    with progress_bar() as progress:
        report = run(
            loaded,
            EVERYTHING if methods is None else listed(methods, "--methods", "pafo,lore"),
            seeds=seeds,
            tune_settings=tune,
            out=out,
            head=head,
            encoding=Encoding(encoder_named(encoder, chunked), with_prompt, tfidf, dim, cache),
            grouping=Grouping(reading.group_by or (), threshold, minority),
            seed=seed,
            jobs=jobs,
            simulated=simulated,
            command=command(),
            assignments=assigned,
            progress=progress,
            say=say,
        )
    finish_comparison(report, report.save(out))


@reads
def sweep(
    *,
    data: Data,
    over: Annotated[
        list[str], typer.Option(help="A hyperparameter and its values: alpha=0.1,0.5. Repeated: every combination.", show_default=False)
    ],
    method: Annotated[str, typer.Option(help="A file of methods/ or a user model of models/.")] = "pafo",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A hyperparameter that stays: rank=6. May be repeated.", show_default=False)
    ] = None,
    seeds: Seeds = 5,
    out: Annotated[
        Path, typer.Option(help="Folder for the report, and for finished fits: the same command goes on where it stopped.")
    ] = Path("sweep"),
    head: Head = None,
    reading: Reading,
    minority: Minority = 0.2,
    threshold: Threshold = None,
    mentions: Mentions = None,
    leave_out: LeaveOut = None,
    encoder: Encoder = "minilm",
    chunked: Chunked = True,
    with_prompt: WithPrompt = False,
    tfidf: Tfidf = True,
    dim: Dim = None,
    seed: Seed = 0,
    cache: Cache = None,
    jobs: Jobs = 0,
    simulated: Simulated = False,
) -> None:
    """Train a grid of settings of one method, many at once, and draw what can be traded for what."""
    from evenhand.report.comparison import SWEEP
    from evenhand.workflows.grouping import Grouping
    from evenhand.workflows.prepare import Encoding
    from evenhand.workflows.sweep import sweep as run

    check_place(out, SWEEP.files, SWEEP.name, reading.bad_rows)
    grid = {
        hyperparameter: listed(values, "--over", "alpha=0.1,0.5")
        for hyperparameter, values in assignments(over, "--over", "alpha=0.1,0.5").items()
    }
    loaded = reading.load(data, mentions=mentions, leave_out=leave_out)
    with progress_bar() as progress:
        report = run(
            loaded,
            grid,
            method,
            seeds=seeds,
            settings=assignments(setting, "--set", "rank=6"),
            out=out,
            head=head,
            encoding=Encoding(encoder_named(encoder, chunked), with_prompt, tfidf, dim, cache),
            grouping=Grouping(reading.group_by or (), threshold, minority),
            seed=seed,
            jobs=jobs,
            simulated=simulated,
            command=command(),
            progress=progress,
            say=say,
        )
    finish_comparison(report, report.save(out))

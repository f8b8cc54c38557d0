"""The verbs that audit, train and score one model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import assignments, check_place, command, constraints, encoder_named
from evenhand.cli.options import (
    Assignments,
    Cache,
    Chunked,
    Constraint,
    Data,
    Dim,
    Encoder,
    Head,
    LeaveOut,
    Mentions,
    Minority,
    Require,
    Seed,
    Simulated,
    Swap,
    Tfidf,
    Threshold,
    Tolerance,
    WithPrompt,
)  # fmt: skip
from evenhand.cli.reading import Reading, Rows, reads
from evenhand.cli.terminal import finish, progress_bar, say, tell


@reads
def check(
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the page and check.json.")] = Path("check"),
    reading: Reading,
) -> None:
    """Read DATA, say whether it can be used and what to mend first: duplicates, contradictions, leakage, surface features, ids."""
    from evenhand.report.checked import FILES, KIND, CheckReport
    from evenhand.report.old_terminal import exclusions, plain_table
    from evenhand.workflows.check import check as run

    check_place(out, FILES, KIND, reading.bad_rows)
    loaded = reading.load(data)
    report = CheckReport(loaded, run(loaded, reading.group_by or ()), command())
    told = (plain_table(part.title, part.columns, part.rows) for part in report.found.tables() if part.rows)
    say(exclusions(loaded.exclusions, loaded.source), *report.lines(), *told, f"report: {report.save(out)}")


@reads
def audit(
    *,
    data: Data,
    model: Annotated[Path | None, typer.Option(help="Folder of a model saved by `evenhand fit`.", show_default=False)] = None,
    scores: Annotated[str | None, typer.Option(help="Column of margins, or two: CHOSEN,REJECTED rewards.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("audit"),
    reading: Reading,
    minority: Minority = 0.2,
    threshold: Threshold = None,
    mentions: Mentions = None,
    swap: Swap = None,
    leave_out: LeaveOut = None,
    constraint: Constraint = None,
    tolerance: Tolerance = 0.05,
    require: Require = None,
    assigned: Assignments = None,
    seed: Seed = 0,
    cache: Cache = None,
) -> None:
    """Audit a reward model: a saved one (--model), or any that left its scores in DATA (--scores)."""
    from evenhand.report.audit import AUDIT
    from evenhand.workflows.audit import audit as run
    from evenhand.workflows.grouping import Grouping

    check_place(out, AUDIT.files, AUDIT.name, reading.bad_rows, assigned)
    columns = None if scores is None else [name.strip() for name in scores.split(",")]
    loaded = reading.load(
        data,
        columns,
        mentions=mentions,
        swap=swap,
        leave_out=leave_out,
    )
    report = run(
        loaded,
        model=model,
        scores=columns,
        grouping=Grouping(reading.group_by or (), threshold, minority),
        tolerance=tolerance,
        require=require or (),
        constraints=constraints(constraint),
        assignments=assigned,
        seed=seed,
        command=command(),
        cache=cache,
    )
    finish(report, report.save(out))


@reads
def fit(
    *,
    data: Data,
    method: Annotated[
        str,
        typer.Option(
            help="auto lets validation choose among bradley_terry, lore, collaborative and pafo; or name one, or group_dro, vpl, …"
        ),
    ] = "auto",
    head: Head = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A hyperparameter: alpha=0.25. May be repeated.", show_default=False)
    ] = None,
    tune: Annotated[int, typer.Option(min=0, help="Settings of each model to try on validation, at most 8; 0 = the defaults.")] = 0,
    certify_share: Annotated[
        float, typer.Option(help="Share of the prompts that nothing looks at, kept for `evenhand certify`; 0.25 is usual.")
    ] = 0.0,
    deals: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Deals of prompts and users to train and judge in: verdicts hold over deals. Default: 5 for votes, else 1.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the model and the report.")] = Path("out"),
    reading: Reading,
    minority: Minority = 0.2,
    threshold: Threshold = None,
    mentions: Mentions = None,
    swap: Swap = None,
    leave_out: LeaveOut = None,
    constraint: Constraint = None,
    tolerance: Tolerance = 0.05,
    require: Require = None,
    encoder: Encoder = "minilm",
    chunked: Chunked = True,
    with_prompt: WithPrompt = False,
    tfidf: Tfidf = True,
    dim: Dim = None,
    assigned: Assignments = None,
    seed: Seed = 0,
    cache: Cache = None,
    simulated: Simulated = False,
) -> None:
    """Train a reward model, judge it on held-out users and prompts, and write model and report."""
    from evenhand.report.audit import AUDIT
    from evenhand.serve.saved import check_replaceable
    from evenhand.workflows.fit import fit as run
    from evenhand.workflows.grouping import Grouping
    from evenhand.workflows.prepare import Encoding

    check_place(out, AUDIT.files, AUDIT.name, reading.bad_rows, assigned)
    check_replaceable(out / "model")
    loaded = reading.load(
        data,
        mentions=mentions,
        swap=swap,
        leave_out=leave_out,
    )
    with progress_bar() as progress:
        result = run(
            loaded,
            method,
            settings=assignments(setting, "--set", "alpha=0.25"),
            head=head,
            tune_settings=tune,
            certify_share=certify_share,
            deals=deals,
            tolerance=tolerance,
            require=require or (),
            constraints=constraints(constraint),
            encoding=Encoding(encoder_named(encoder, chunked), with_prompt, tfidf, dim, cache),
            grouping=Grouping(reading.group_by or (), threshold, minority),
            assignments=assigned,
            seed=seed,
            simulated=simulated,
            command=command(),
            progress=progress,
            keep=lambda trained: trained.save(out / "model"),
            say=say,
        )
    finish(result.report, result.report.save(out))


@reads
def score(
    *,
    model: Annotated[Path, typer.Argument(help="Folder of a saved model.", show_default=False)],
    data: Data,
    history: Annotated[
        Path | None, typer.Option(help="Earlier pairs of the users; without it everybody gets the generic reward.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="CSV: pair (from 0), reward_chosen, reward_rejected.")] = Path("scores.csv"),
    reading: Rows,
    history_column: Annotated[
        list[str] | None, typer.Option(help="As --column, for the history; default: the same names.", show_default=False)
    ] = None,
    cache: Cache = None,
) -> None:
    """Score the pairs of DATA with a saved model, each user read from his or her pairs in --history."""
    from evenhand.core import DataError
    from evenhand.workflows.score import KIND
    from evenhand.workflows.score import score as run
    from evenhand.writing import check

    if out.is_dir():
        raise DataError("--out is a folder", expected="a file", remedy="name a CSV file", file=out.name)
    check(out.parent, [out.name], KIND)
    loaded = reading.load(data)
    known = None if history is None else replace(reading, column=history_column or reading.column).load(history)
    with progress_bar() as progress:
        scored = run(model, loaded, known, cache=cache, progress=progress)
    scored.save(out)
    told = f"{len(loaded):,} pairs of {scored.users:,} users scored, {scored.known:,} of them with a history: {out}"
    if scored.left_out:
        told += f"\n{scored.left_out:,} pairs of the history were not read, since they are scored themselves"
    say(told)
    if known is not None and not scored.known:
        tell("warning: no user of the data has a history left, so everybody got the reward for everybody.")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the sample, the model and the report.")] = Path("out/demo"),
    seed: Seed = 0,
    cache: Cache = None,
) -> None:
    """The whole main job on the built-in sample. Its users are simulated."""
    from evenhand.data.simulate import DEMO_MINORITY, DEMO_USERS, write_sample

    say("Built-in sample: texts written for this project; its users are simulated, with a minority of rare taste.")
    sample = write_sample(out / "sample.jsonl", seed=seed, users=DEMO_USERS, minority=DEMO_MINORITY)
    with suppress(typer.Exit):  # a demonstration ends well whatever its verdict
        fit(data=sample, out=out, seed=seed, cache=cache, simulated=True, minority=DEMO_MINORITY)

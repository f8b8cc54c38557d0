"""The verbs that train many models: compare methods, sweep settings."""

from __future__ import annotations

from typing import Annotated

from evenhand.cli.inputs import assignments as named_values
from evenhand.cli.inputs import check_place, check_track, command, hyperparameters, listed
from evenhand.cli.options import (
    MODEL,
    Address,
    Assignments,
    Data,
    Engine,
    Head,
    Jobs,
    LeaveOut,
    Mentions,
    Method,
    Metrics,
    Note,
    OutOfTrials,
    Pdf,
    Seed,
    Seeds,
    Settings,
    Simulated,
    Title,
    Track,
    Tune,
    Violation,
    option,
)  # fmt: skip
from evenhand.cli.reading import Encoded, Grouped, verb
from evenhand.cli.terminal import finish_comparison, say


@verb
def compare(
    *,
    data: Data,
    reading: Grouped,
    methods: Annotated[str | None, option(MODEL)],
    head: Head,
    tune: Tune,
    encoded: Encoded,
    seeds: Seeds,
    seed: Seed,
    jobs: Jobs,
    engine: Engine,
    address: Address,
    mentions: Mentions = None,
    leave_out: LeaveOut = None,
    violation: Violation,
    metrics: Metrics,
    title: Title,
    note: Note,
    simulated: Simulated,
    assignments: Assignments,
    track: Track,
    pdf: Pdf = False,
    out: OutOfTrials,
) -> None:
    """Train every method within one tuning budget, in several seeds, and say who serves whom best on held-out pairs."""
    from evenhand.report.comparison import COMPARISON
    from evenhand.workflows.compare import compare as run
    from evenhand.workflows.pdf import beside

    check_place(out, COMPARISON.files, COMPARISON.name, reading.bad_rows_to, assignments, pdf=pdf)
    check_track(track, out)
    encoding = encoded.encoding()
    report = run(
        reading.load(data, mentions=mentions, leave_out=leave_out),
        None if methods is None else listed(methods, "--methods", "pafo,lore"),
        head=head,
        tune=tune,
        seeds=seeds,
        group_by=reading.grouping(),
        violation=violation,
        metrics=metrics or (),
        encoding=encoding,
        out=out,
        title=title,
        note=note,
        simulated=simulated,
        assignments=assignments,
        seed=seed,
        jobs=jobs,
        engine=str(engine),
        address=address,
        command=command(),
        track=track,
        say=say,
    )
    finish_comparison(report, beside(report.save(out), pdf))


@verb
def sweep(
    *,
    data: Data,
    reading: Grouped,
    over: Annotated[list[str], option(MODEL)],
    method: Method,
    head: Head,
    settings: Settings,
    encoded: Encoded,
    seeds: Seeds,
    seed: Seed,
    jobs: Jobs,
    engine: Engine,
    address: Address,
    mentions: Mentions = None,
    leave_out: LeaveOut = None,
    violation: Violation,
    metrics: Metrics,
    title: Title,
    note: Note,
    simulated: Simulated,
    pdf: Pdf = False,
    out: OutOfTrials,
) -> None:
    """Train a grid of settings of one method, many at once, and draw what can be traded for what."""
    from evenhand.report.comparison import SWEEP
    from evenhand.workflows.pdf import beside
    from evenhand.workflows.sweep import sweep as run

    check_place(out, SWEEP.files, SWEEP.name, reading.bad_rows_to, pdf=pdf)
    example = "alpha=0.1,0.5"
    grid = {name: listed(values, "--over", example) for name, values in named_values(over, "--over", example).items()}
    encoding = encoded.encoding()
    report = run(
        reading.load(data, mentions=mentions, leave_out=leave_out),
        grid,
        method,
        head=head,
        settings=hyperparameters(settings, "rank=6"),
        seeds=seeds,
        group_by=reading.grouping(),
        violation=violation,
        metrics=metrics or (),
        encoding=encoding,
        out=out,
        title=title,
        note=note,
        simulated=simulated,
        seed=seed,
        jobs=jobs,
        engine=str(engine),
        address=address,
        command=command(),
        say=say,
    )
    finish_comparison(report, beside(report.save(out), pdf))

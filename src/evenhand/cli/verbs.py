"""The verbs that audit and train one model."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from evenhand.cli import many_files
from evenhand.cli.inputs import check_place, check_track, command, constraint_pairs, hyperparameters, listed, without_comma
from evenhand.cli.options import (
    MODEL,
    OUTPUT,
    Address,
    Assignments,
    Cache,
    Constraints,
    Data,
    EncoderAt,
    Engine,
    FilesAtOnce,
    Head,
    MakerOfShards,
    Merge,
    Method,
    Metrics,
    Name,
    Note,
    Out,
    OutsideHead,
    Partial,
    Pdf,
    Repeated,
    Require,
    Seed,
    Settings,
    ShowExamples,
    Simulated,
    Title,
    Tolerance,
    Track,
    Tune,
    option,
)  # fmt: skip
from evenhand.cli.reading import Encoded, Events, Grouped, Hub, Reading, verb
from evenhand.cli.terminal import finish, say


@verb
def check(
    *,
    data: Data,
    reading: Reading,
    title: Title,
    note: Note,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for the page and check.json.")] = Path("check"),
) -> None:
    """Read DATA, say whether it can be used and what to mend first: duplicates, contradictions, leakage, surface features, ids."""
    from evenhand.report.check import CHECK
    from evenhand.report.terminal import lines
    from evenhand.workflows.check import check as run
    from evenhand.workflows.pdf import beside

    check_place(out, CHECK.files, CHECK.name, reading.bad_rows_to, pdf=pdf)
    report = run(reading.load(data), reading.group_by, title=title, note=note, command=command())
    say(*lines(report.page), f"report: {beside(report.save(out), pdf)}")


@verb
def audit(
    context: typer.Context,
    *,
    data: Data,
    reading: Grouped,
    model: Annotated[Path | None, option(MODEL, help="Folder of a saved model.")] = None,
    scores: Annotated[str | None, option(MODEL, help="Column of margins, or two: CHOSEN,REJECTED rewards.")] = None,
    hub: Hub,
    head: OutsideHead,
    encoder_at: EncoderAt,
    events: Events,
    constraints: Constraints,
    tolerance: Tolerance,
    require: Require,
    metrics: Metrics,
    name: Name,
    title: Title,
    note: Note,
    simulated: Simulated,
    assignments: Assignments,
    seed: Seed,
    cache: Cache,
    partial: Partial = None,
    merge: Merge = False,
    repeated: Repeated = False,
    jobs: FilesAtOnce = 0,
    engine: MakerOfShards,
    address: Address,
    show_examples: ShowExamples = None,
    pdf: Pdf = False,
    out: Out = Path("audit"),
) -> None:
    """Audit a reward model: a saved one (--model), one of the hub's format (--reward-model), or any that left its scores in DATA (--scores).

    Many files may be read one by one (--partial) and put together (--merge). A folder of Parquet files with over 5 million rows is read so by itself.
    """
    from evenhand.report.audit import AUDIT
    from evenhand.workflows import examples as private
    from evenhand.workflows.audit import audit as run
    from evenhand.workflows.pdf import beside
    from evenhand.workflows.score_columns import no_scores

    in_one = (model, hub.reward_model, constraints, events.mentions, events.swap, events.leave_out, show_examples, reading.bad_rows_to)
    judged: dict[str, Any] = {
        "group_by": reading.grouping(), "tolerance": tolerance, "require": require or (), "metrics": metrics or (), "name": name,
        "title": title, "note": note, "simulated": simulated, "assignments": assignments, "seed": seed, "command": command(),
    }  # fmt: skip
    machines = many_files.Machines(jobs, str(engine), address)
    if merge:
        many_files.refuse("--merge", context)
        check_place(out, AUDIT.files, AUDIT.name, None, assignments, pdf=pdf)
        report = many_files.merged([data, *map(Path, context.args)], out, judged, repeated)
        finish(report, beside(report.save(out), pdf))
    without_comma("--scores", scores, context.args)
    reward_model = hub.model()
    if model is None and scores is None and reward_model is None:
        raise no_scores(data, **reading.how())
    columns = None if scores is None else listed(scores, "--scores", "reward_chosen,reward_rejected")
    if partial is not None:
        many_files.refuse("--partial", context)
        say(many_files.partial(data, partial, many_files.files(reading, columns or ()), machines))
        return
    check_place(out, AUDIT.files, AUDIT.name, reading.bad_rows_to, assignments, pdf=pdf)
    if columns is not None and not any(in_one) and data.is_dir():
        named = bool(many_files.asked(context))
        large = many_files.audited(data, out, many_files.files(reading, columns), judged, repeated, machines, named)
        if large is not None:
            page = large.save(out)
            many_files.clear(out)
            finish(large, beside(page, pdf))
    many_files.in_one_piece(context)
    report = run(
        reading.load(data, columns, **events.files()),
        columns,
        model=model,
        reward_model=reward_model,
        head=head,
        encoder_at=encoder_at,
        constraints=constraint_pairs(constraints),
        show_examples=private.asked(show_examples, out),
        cache=cache,
        **judged,
    )
    finish(report, beside(report.save(out), pdf))


@verb
def fit(
    *,
    data: Data,
    reading: Grouped,
    method: Method,
    head: Head,
    settings: Settings,
    tune: Tune,
    encoded: Encoded,
    certify_share: Annotated[float, option(MODEL)],
    deals: Annotated[int | None, option(MODEL, min=1)],
    seed: Seed,
    events: Events,
    constraints: Constraints,
    tolerance: Tolerance,
    require: Require,
    metrics: Metrics,
    name: Name,
    title: Title,
    note: Note,
    simulated: Simulated,
    assignments: Assignments,
    show_examples: ShowExamples = None,
    track: Track,
    engine: Engine,
    address: Address,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for the model and the report.")] = Path("out"),
) -> None:
    """Train a reward model, judge it on held-out users and prompts, and write model and report."""
    from evenhand.report.audit import AUDIT
    from evenhand.serve.model_files import check_replaceable
    from evenhand.workflows import cards
    from evenhand.workflows import examples as private
    from evenhand.workflows.fit import fit as run
    from evenhand.workflows.pdf import beside
    from evenhand.writing import check

    check_place(out, AUDIT.files, AUDIT.name, reading.bad_rows_to, assignments, pdf=pdf)
    check_replaceable(out / "model")
    check(out, [cards.FILE], cards.KIND)
    check_track(track, out)
    encoding = encoded.encoding()
    result = run(
        reading.load(data, **events.files()),
        method,
        head=head,
        settings=hyperparameters(settings, "alpha=0.25"),
        tune=tune,
        group_by=reading.grouping(),
        tolerance=tolerance,
        require=require or (),
        constraints=constraint_pairs(constraints),
        metrics=metrics or (),
        encoding=encoding,
        certify_share=certify_share,
        deals=deals,
        name=name,
        title=title,
        note=note,
        simulated=simulated,
        assignments=assignments,
        seed=seed,
        show_examples=private.asked(show_examples, out),
        command=command(),
        track=track,
        checkpoint=out / "checkpoint" if encoded.backbone else None,
        engine=str(engine),
        address=address,
        keep=lambda trained: trained.save(out / "model"),
        say=say,
    )
    cards.save_card(out, result.model, result.report.document)
    finish(result.report, beside(result.report.save(out), pdf))


@verb
def demo(
    *,
    seed: Seed,
    cache: Cache,
    out: Annotated[Path, option(OUTPUT, help="Folder for the sample, the model and the report.")] = Path("out/demo"),
) -> None:
    """The whole main job on the built-in sample. Its users are simulated."""
    from evenhand.data.simulate import DEMO_MINORITY, DEMO_USERS, write_sample

    say("Built-in sample: texts written for this project; its users are simulated, with a minority of rare taste.")
    sample = write_sample(out / "sample.jsonl", seed=seed, users=DEMO_USERS, minority=DEMO_MINORITY)
    with suppress(typer.Exit):  # a demonstration ends well whatever its verdict
        fit(data=sample, out=out, seed=seed, cache=cache, simulated=True, minority=DEMO_MINORITY)

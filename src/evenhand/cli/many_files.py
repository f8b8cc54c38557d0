"""What `audit` does with many files: shards of them, shards put together, or both without being asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evenhand.cli.options import OnBad
from evenhand.cli.reading import Grouped

if TYPE_CHECKING:
    from evenhand.engines import Engine
    from evenhand.report import Report
    from evenhand.workflows.shards import Reading

READ = (
    "source",
    "columns",
    "on_bad",
    "one_user",
    "min_strength",
    "weigh_strength",
    "missing",
)  # how rows are read: options by their parameter
JUDGED = (
    "minority",
    "threshold",
    "tolerance",
    "require",
    "metrics",
    "name",
    "title",
    "note",
    "simulated",
    "assignments",
    "seed",
    "pdf",
    "out",
)
WORK = ("jobs", "engine", "address")
TAKES = {
    "--partial": {"data", "partial", "scores", "group_by", *READ, *WORK},
    "--merge": {"data", "merge", "repeated", "group_by", *JUDGED},
}
IN_ONE = "leave it out, or audit DATA in one piece, in memory: it needs all pairs at once"


def refuse(half: str, context: typer.Context) -> None:
    """Raises EvenhandError for an option that was given and that this half of an audit does not follow: nothing that is said goes unheard."""
    from evenhand.core import EvenhandError

    for parameter in context.command.params:
        name = str(parameter.name)
        if name in TAKES[half] or not _given(context, name):
            continue
        if half == "--partial":
            other = name in TAKES["--merge"]
            remedy = "give it with --merge, which writes the report" if other else IN_ONE
        elif name == "partial":
            remedy = "shards first (--partial), then one report of them (--merge)"
        elif name in WORK:
            remedy = "leave it out: shards are made by many processes or machines (--partial), and put together by one"
        else:
            remedy = "leave it out: the shards say how they were read" if name in TAKES["--partial"] else IN_ONE
        raise EvenhandError(f"Found {parameter.opts[0]} with {half}. Expected: options that {half} follows. To do: {remedy}.")


def asked(context: typer.Context) -> str:
    """An option of many files that was given, "" = none. That the work is done here says nothing."""
    given = [name for name in (*WORK, "repeated") if _given(context, name) and context.params[name] != "here"]
    return f"--{given[0]}" if given else ""


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def in_one_piece(context: typer.Context) -> None:
    """Raises EvenhandError where an audit that is not of many files was given an option of these."""
    from evenhand.core import EvenhandError

    if said := asked(context):
        raise EvenhandError(
            f"Found {said} with an audit in one piece. Expected: a folder of files with score columns, judged shard by shard. "
            "To do: leave it out: it needs all pairs at once."
        )


def files(reading: Grouped, scores: Sequence[str]) -> Reading:
    from evenhand.workflows.shards import Reading

    how = reading.how()
    return Reading(
        tuple(scores), tuple(reading.group_by or ()), how["source"], how["columns"], "skip" if reading.on_bad is OnBad.skip else "error",
        tuple(how.get("missing", ())), reading.one_user, reading.min_strength, reading.weigh_strength,
    )  # fmt: skip


@dataclass(frozen=True)
class Machines:
    """Who makes the shards."""

    jobs: int
    engine: str
    address: str | None

    @contextmanager
    def work(self) -> Iterator[Engine]:
        from evenhand.engines.asked import asked
        from evenhand.engines.here import processes

        with asked(self.engine, self.address, processes(self.jobs), self.jobs) as engine:
            yield engine


def partial(data: Path, out: Path, reading: Reading, machines: Machines) -> str:
    """Shards of the files, and what to say of them."""
    from evenhand.core import clip
    from evenhand.workflows import shards
    from evenhand.workflows.progress import shown

    with machines.work() as engine, shown(None) as told:
        made = shards.make(data, out, reading, engine, told)
    left = "".join(f"\n{clip(name, 100)} is left out: {clip(why, 300)}" for name, why in made.left_out.items())
    others = f"\nThere, too, of files that are not in DATA: {shards.names(made.others)}" if made.others else ""
    return f"{len(made.shards):,} {'shard' if len(made.shards) == 1 else 'shards'}, one a file: {out}{left}{others}"


def merged(folders: Sequence[Path], out: Path, judged: Mapping[str, Any], repeated: bool) -> Report:
    from evenhand.core import EvenhandError, clip
    from evenhand.workflows.audit_shards import audit_merge

    if wrong := [str(f) for f in folders if str(f).startswith("-")]:
        raise EvenhandError(
            f"Found {clip(' '.join(wrong))}, which nothing takes. Expected: folders of shards, and options. To do: see --help."
        )
    return audit_merge(folders, repeated=repeated, unfinished=beside(out), **judged)


def audited(
    data: Path, out: Path, reading: Reading, judged: Mapping[str, Any], repeated: bool, machines: Machines, named: bool
) -> Report | None:
    """None where DATA is not so large and no option of many files was named, or where it cannot be read file by file. Shards lie beside `out` until the report is written."""
    from evenhand.workflows.audit_shards import audit_files, is_large
    from evenhand.workflows.given import all_metrics
    from evenhand.workflows.progress import shown
    from evenhand.workflows.settings import AuditSettings

    if not named and not is_large(data, reading):
        return None
    asked = {**judged, "grouping": judged["group_by"], "metrics": all_metrics(judged["metrics"])}
    settings = AuditSettings(**{name: value for name, value in asked.items() if name != "group_by"})
    with machines.work() as engine, shown(None) as told:
        return audit_files(data, reading, settings, engine, beside(out), told, repeated)


def clear(out: Path) -> None:
    from evenhand.workflows import shards

    shards.clear(beside(out))


def beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.unfinished")

"""What `audit` does with many files: shards of them, shards put together, or both without being asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenhand.cli.options import OnBad
from evenhand.cli.reading import Grouped

if TYPE_CHECKING:
    from evenhand.engines import Engine
    from evenhand.report import Report
    from evenhand.workflows.shards import Reading

READ = {
    "source": "--source", "columns": "--column", "on_bad": "--on-bad", "one_user": "--one-user", "min_strength": "--min-strength",
    "weigh_strength": "--weigh-strength", "missing": "--missing",
}  # fmt: skip


OF_REPORT = ("--require", "--metric", "--name", "--title", "--note", "--simulated", "--assignments", "--pdf", "--repeated")


def refuse(option: str, given: Mapping[str, object]) -> None:
    """Raises EvenhandError for an option that shards cannot follow, or that belongs to the other half. given: option → value."""
    if said := [name for name, value in given.items() if value]:
        from evenhand.core import EvenhandError

        if said[0] in ("--engine", "--address"):
            remedy = "leave it out: shards are made on many machines (--partial), and put together on one"
        elif said[0] in (*READ.values(), "--scores", "--partial"):
            remedy = "leave it out: the shards say how they were read"
        elif said[0] in OF_REPORT:
            remedy = "give it with --merge, which writes the report"
        else:
            remedy = "leave it out, or audit DATA in one piece, in memory: it needs all pairs at once"
        raise EvenhandError(f"Found {said[0]} with {option}. Expected: score columns, judged shard by shard. To do: {remedy}.")


def said(reading: Grouped) -> dict[str, object]:
    """Option → what was said of how files are read, "" where nothing was."""
    given, left = asdict(reading), asdict(Grouped())
    return {option: given[name] if given[name] != left[name] else "" for name, option in READ.items()}


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

    def said(self) -> dict[str, object]:
        """Option → what was said, "" where nothing was."""
        return {"--engine": "" if self.engine == "here" else self.engine, "--address": self.address}

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
    return f"{len(made.shards):,} {'shard' if len(made.shards) == 1 else 'shards'}, one a file: {out}{left}"


def merged(folders: Sequence[Path], out: Path, judged: Mapping[str, Any], repeated: bool) -> Report:
    from evenhand.core import EvenhandError, clip
    from evenhand.workflows.audit_shards import audit_merge

    if wrong := [str(f) for f in folders if str(f).startswith("-")]:
        raise EvenhandError(
            f"Found {clip(' '.join(wrong))}, which nothing takes. Expected: folders of shards, and options. To do: see --help."
        )
    return audit_merge(folders, repeated=repeated, unfinished=beside(out), **judged)


def audited(data: Path, out: Path, reading: Reading, judged: Mapping[str, Any], repeated: bool, machines: Machines) -> Report | None:
    """None where DATA is not so large and no engine was named, or where it cannot be read file by file. Shards lie beside `out` until the report is written."""
    from evenhand.workflows.audit_shards import audit_files, is_large
    from evenhand.workflows.given import all_metrics
    from evenhand.workflows.progress import shown
    from evenhand.workflows.settings import AuditSettings

    if machines.engine == "here" and not is_large(data, reading):
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

"""Audits of many files: a shard of each, put together, and one report, the same as of all rows in one file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from evenhand.core import DataError, EvenhandError, Exclusions, PreferenceData, clip
from evenhand.data.batches import PairBatches
from evenhand.data.load import place_of
from evenhand.data.merging import batches, merge
from evenhand.data.shards import opened
from evenhand.engines import Engine
from evenhand.engines.asked import asked
from evenhand.engines.here import processes
from evenhand.report import Report
from evenhand.workflows import shards
from evenhand.workflows.batched import audit_batches
from evenhand.workflows.given import GroupBy, Metrics, all_metrics, grouping_of, several
from evenhand.workflows.progress import Progress, Told, shown
from evenhand.workflows.settings import AuditSettings
from evenhand.workflows.shards import Made, Reading

LARGE = 5_000_000  # rows from which a folder of Parquet files is audited in shards without being asked
MERGED = "merged"  # the folder of batches, in that of the shards


def audit_partial(
    data: str | Path,
    out: str | Path,
    scores: str | Sequence[str],
    *,
    group_by: str | Sequence[str] = (),
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    missing: Sequence[str] = (),
    one_user: bool = False,
    min_strength: float = 0.0,
    weigh_strength: bool = False,
    jobs: int = 0,
    engine: str | Engine = "here",
    address: str | None = None,
    progress: Progress | None = None,
) -> Made:
    """The first half of an audit of many files: what an audit needs of them, one private shard a file, in a folder.

        evenhand.audit_partial("monday", "shards/monday", scores=("reward_chosen", "reward_rejected"))
        evenhand.audit_merge(["shards/monday", "shards/tuesday"]).save("audit")

    Run again, it goes on. A file that cannot be used is named in a DataError when all others are finished, which stay; with on_bad="skip" it is left
    out, and named in what is given back and in the report.

    Args:
        data: a file, or a folder of files of one kind.
        out: Folder for the shards: ids and texts of users are in it.
        scores: Column of margins, or two: CHOSEN,REJECTED rewards.
        group_by: Attribute columns that users may be grouped by later.
        jobs: Files at once, a process each; 0 = one a core.
        engine: here (processes of this machine) or ray (those of a Ray cluster; extra ray), whose machines see data and shards under the same paths.
        address: HOST:PORT of the Ray cluster, or auto; default: RAY_ADDRESS, else a Ray of this machine for as long as it takes.

    Parameters that `audit` or `load` has, too, mean the same here.
    """
    reading = Reading(
        tuple(several(scores)), tuple(several(group_by)), source, dict(columns or {}), on_bad, tuple(missing), one_user, min_strength, weigh_strength
    )  # fmt: skip
    with asked(engine, address, processes(jobs), jobs) as who, shown(progress) as told:
        return shards.make(place_of(data, "data"), Path(out), reading, who, told)


def audit_merge(
    folders: str | Path | Sequence[str | Path],
    *,
    group_by: GroupBy = None,
    repeated: bool = False,
    tolerance: float = 0.05,
    require: Sequence[str] = (),
    metrics: Metrics = (),
    name: str = "",
    title: str = "",
    note: str = "",
    simulated: bool = False,
    assignments: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    unfinished: str | Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """The audit of all that `audit_partial` wrote into these folders: however the rows were dealt to files, the report is the same.

    Args:
        folders: those that `audit_partial` was given, or single shards in them.
        repeated: Count a file that is there several times as often as it is; else that is an error.
        unfinished: Folder for the merged pairs while they are read, 12-24 bytes each; default: one for temporary files.

    Parameters that `audit` has, too, mean the same here.
    """
    settings = AuditSettings(
        grouping_of(group_by), tolerance, several(require), resamples, seed, simulated, command, (), assignments, all_metrics(metrics), name, title, note,
    )  # fmt: skip
    given = [folders] if isinstance(folders, str | Path) else [*folders]
    with shown(progress) as told:
        made = shards.found_in([Path(f) for f in given])
        return _audited(made, settings, repeated, None if unfinished is None else Path(unfinished), told)


def audit_files(
    data: Path, reading: Reading, settings: AuditSettings, engine: Engine, unfinished: Path, told: Told, repeated: bool = False
) -> Report:
    """Both halves, with shards in `unfinished`, which stay until they are cleared (`shards.clear`)."""
    made = shards.make(data, unfinished, reading, engine, told)
    return _audited(made, settings, repeated, unfinished, told, data.name)


def _audited(made: Made, settings: AuditSettings, repeated: bool, unfinished: Path | None, told: Told, name: str = "") -> Report:
    """name: of the folder that all shards are of, and nobody asked for."""
    if not made.shards:
        raise DataError("there is no shard", expected="at least one", remedy="name folders that --partial wrote")
    parts = [opened(place) for place in made.shards]
    about = parts[0].about
    lacking = [n for n in settings.grouping.attributes if n not in about.attributes]
    if lacking:
        has = ", ".join(map(clip, about.attributes)) or "none"
        raise DataError(
            f"the shards have no attribute '{clip(lacking[0])}'", expected=f"one of theirs ({has})",
            remedy=f"make them with --partial and --group-by {clip(lacking[0])}", file=parts[0].name,
        )  # fmt: skip
    told("merge", 0, 1)
    with _folder(unfinished) as folder:
        merged = merge(parts, repeated=repeated, skip=any(p.about.on_bad == "skip" for p in parts))
        pairs = batches(merged, shards.putting(folder, folder if unfinished is None else unfinished), told)
        facts = {"read in": f"{len(parts):,} shards, one a file"} if name else {"shards": f"{len(parts):,}, put together"}
        if name:
            pairs = replace(pairs, source=name + pairs.source.removeprefix("shards"))
        if made.left_out:
            pairs, left = _without(pairs, made.left_out)
            facts |= {"files left out": left}
        scores = _scores(about.read.get("scores"), about.numbers)
        return audit_batches(_watched(pairs, told), scores, settings, facts)


def _watched(pairs: PairBatches, told: Told) -> PairBatches:
    """The same, and `told` how far each pass over them has come."""
    passes = count(1)

    def read() -> Iterator[PreferenceData]:
        number, done = next(passes), 0
        for batch in pairs:
            told("pairs", done, len(pairs), f"pass {number}")
            yield batch
            done += len(batch)
        told("pairs", done, len(pairs), f"pass {number}")

    return replace(pairs, read=read)


def _without(pairs: PairBatches, left_out: Mapping[str, str]) -> tuple[PairBatches, str]:
    """The pairs with whole files among their exclusions, and a sentence."""
    names = ", ".join(clip(name, 100) for name in list(left_out)[: shards.NAMED])
    names += f" and {len(left_out) - shards.NAMED:,} more" if len(left_out) > shards.NAMED else ""
    reason = f"whole files that cannot be used ({names}), counted as one row each"
    read = pairs.exclusions
    lost = Exclusions(read.rows_in + len(left_out), read.rows_used, {**read.reasons, reason: len(left_out)}, read.by_group)
    return replace(pairs, exclusions=lost), f"{len(left_out):,} of the files cannot be used and are not in this report: {names}"


def _scores(asked: Any, numbers: Sequence[str]) -> list[str]:
    """The columns that hold what was asked for."""
    found = (
        [n for name in asked for n in ((name,) if name in numbers else (f"{name}_chosen", f"{name}_rejected"))]
        if isinstance(asked, list)
        else []
    )
    if not found or {*found} - {*numbers}:
        raise EvenhandError(
            "The shards hold no scores. Expected: scores of chosen and rejected. To do: make them with --partial and --scores."
        )
    return [str(name) for name in asked]


@contextmanager
def _folder(unfinished: Path | None) -> Iterator[Path]:
    """An empty private folder for batches, which is taken away afterwards."""
    if unfinished is None:
        with tempfile.TemporaryDirectory(prefix="evenhand-") as name:
            yield Path(name)
        return
    place = unfinished / f".{MERGED}.evenhand-part"
    shards.private_folder(unfinished)
    with shards.held(unfinished):
        shutil.rmtree(place, ignore_errors=True)
        with shards.writes(unfinished):
            place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):  # shards lie there
                unfinished.rmdir()


def rows_in(data: Path) -> int:
    """Rows of a folder of several Parquet files by what their ends say, 0 where it is none; a file that cannot be read counts nothing."""
    if not data.is_dir():
        return 0
    files = sorted(p for p in data.rglob("*.parquet") if p.is_file())
    rows = 0
    for file in files if len(files) > 1 else ():
        try:
            rows += int(pq.read_metadata(file).num_rows)
        except (OSError, pa.ArrowException):
            continue
    return rows


def is_large(data: Path, reading: Reading) -> bool:
    """Whether a folder has so many rows that it is audited in shards, and can be."""
    if rows_in(data) <= LARGE:
        return False
    try:
        plan = shards.plan_of(data, reading)
        shards.refuse(plan)
    except EvenhandError:
        return False
    return len(plan.files) > 1 and "time" not in plan.names

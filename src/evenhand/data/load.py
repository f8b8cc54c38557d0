"""A file or folder of people's choices → checked PreferenceData. Nothing is lost: rows in = rows used + rows excluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evenhand.core import DataError, EvenhandError, PreferenceData, clip
from evenhand.data import assemble
from evenhand.data.collect import Collector, Wanted
from evenhand.data.columns import SPLIT_NAMES
from evenhand.data.ledger import check_place
from evenhand.data.reading import Input, fingerprint, fingerprint_of, read, refuse_address
from evenhand.data.reading_tables import held
from evenhand.data.resolve import Plan, SourceHints, check_columns, resolve, resolve_file, unread_labels
from evenhand.data.rows import Batch
from evenhand.data.source import Sides
from evenhand.parts import calling

ONE_USER = "everybody"  # whose rows are all of a file that does not say


def load(
    path: Any,
    *,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    bad_rows_to: Path | None = None,
    attributes: Sequence[str] = (),
    numbers: Sequence[str] = (),
    need_texts: bool = True,
    one_user: bool = False,
    missing: Sequence[str] = (),
    min_strength: float = 0.0,
    weigh_strength: bool = False,
    seed: int = 0,
) -> PreferenceData:
    """Read, check and index preferences.

    Args:
        path: a file (JSONL, JSON, CSV, TSV, Parquet, Arrow, each also .gz, .zst; Excel, SQLite or DuckDB, with ::SHEET, ::TABLE or ::SELECT …
            behind the name where there are several), a folder (Hugging Face datasets, Polis, CREHate, PRISM), or a table in memory (a list of
            dictionaries, a data frame of pandas or polars, a datasets.Dataset, a pyarrow.Table).
        source: Format of DATA; told from its columns when left out. Or one from outside: ./FILE.py:NAME of a Source, or of its parse.
        columns: Columns under other names, such as user=annotator_id.
        on_bad: What to do with a bad row: error stops at the first one, skip counts them by reason and group.
        bad_rows_to: CSV for the numbers of skipped rows and the reasons.
        attributes: columns with one value a user.
        numbers: numeric columns to keep, finite in every row; of ratings, votes and choices (reward for reward_a and reward_b) each number
            becomes two, NAME_chosen and NAME_rejected.
        need_texts: False: prompt, chosen and rejected may be absent, or be ids.
        one_user: All rows are one user's, where DATA does not say whose they are.
        missing: Attribute values that stand for none: nan,N/A,None.
        min_strength: Graded choices weaker than this are ties: 1 slightly, 2 better, 3 much better.
        weigh_strength: Let the strength of a graded choice be the weight of its pair.
        seed: of the sources that draw pairs (see each source).

    Raises DataError with file, line, column, value, expectation and remedy; EvenhandError for wrong arguments.
    """
    if on_bad not in ("error", "skip"):
        raise EvenhandError(f"Unknown on_bad '{on_bad}'. Expected: error or skip. To do: choose one of the two")
    file = path if isinstance(path, Input) else None  # of a folder, which says in what split it is
    table = None if file is not None or isinstance(path, (str, PathLike)) else held(path)
    path = Path("table in memory") if table is not None else place_of(path if file is None else file.path, "path")
    list_to = None if bad_rows_to is None else place_of(bad_rows_to, "bad_rows_to")
    if list_to is not None:
        if list_to.resolve() == path.resolve():
            raise DataError(
                "the list of bad rows would replace the data", expected="another file", remedy="name another file", file=str(list_to)
            )
        check_place(list_to)
    hints = SourceHints(source, dict(columns or {}), need_texts, one_user)
    if table is not None:
        file = Input(path, "in memory", rows=table)
    plan = resolve(path, hints) if file is None else replace(resolve_file(file, hints), path=path)
    of_each = {name: plan.source.scored(plan.names, name) for name in numbers} if plan.source.scored else {}
    cells = [column for name in numbers for column in of_each.get(name) or (name,)]
    check_columns(plan, attributes, cells, need_texts)
    numbers = [n for name in numbers for n in ((f"{name}_chosen", f"{name}_rejected") if of_each.get(name) else (name,))]
    unread = unread_labels(plan, [*attributes, *cells])
    expected = {c for c in plan.source.required if need_texts or c in plan.names}
    expected |= {"target"} & plan.names & set(plan.source.optional)  # a pair whose orientation nobody told would get one by chance
    wanted = Wanted(
        tuple(dict.fromkeys([*plan.source.numbers, *numbers])), frozenset(expected), not need_texts, on_bad == "error", plan.renames
    )
    collector = Collector(wanted, tuple(dict.fromkeys([*plan.source.attributes, *attributes])), missing)
    if unread:
        collector.notes[f"chosen and rejected say who won; not read: {', '.join(clip(n, 40) for n in unread[:4])}"] = 0
    with calling("parse(batches, sides, seed) that gives batches with the columns user, prompt, chosen, rejected", plan.source.parse):
        for batch in plan.source.parse(_batches(plan, [*attributes, *cells], one_user), _sides(plan.sides), seed):
            collector.notes.update(batch.notes)
            if plan.source.pairing is None:
                collector.add_pairs(batch)
            else:
                collector.add_judgements(batch)
    collector.order_by_time()
    data = assemble.pairs(collector) if plan.source.pairing is None else assemble.judged(collector, plan.source.pairing, seed)
    if list_to is not None:
        collector.ledger.write(list_to)
    exclusions = collector.ledger.exclusions(collector.attributes.lost())
    if not len(data):
        why = "; ".join(f"{count} x {reason}" for reason, count in exclusions.reasons.items()) or "the file holds no row"
        raise DataError(
            f"no usable pair ({why})", expected="at least one", remedy="mend the rows, or check --source and --column", file=path.name
        )
    notes = "".join(f"; {f'{count:,} ' if count else ''}{note}" for note, count in collector.notes.items())
    part = clip(plan.files[0].part, 60)
    name = path.name if table is not None or not part else f"{plan.files[0].name}::{part}"
    kind = f"{name} ({plan.files[0].format}, {plan.source.name}{notes})"
    if min_strength or weigh_strength:
        data = _graded(data, min_strength, weigh_strength)
    return replace(data, exclusions=exclusions, source=kind, fingerprint=fingerprint(plan.path) if table is None else fingerprint_of(table))


def _graded(data: PreferenceData, least: float, weigh: bool) -> PreferenceData:
    """The pairs with weak choices as ties, or with their strength as weight."""
    strength = data.numbers.get("strength")
    if strength is None:
        raise EvenhandError("The data has no strength of choices. Expected: a table whose label is graded. To do: leave the option out")
    weak = strength < least
    tie = weak if data.tie is None else data.tie | weak
    weights = np.ones(len(data), np.float32) if data.weight is None else data.weight
    return replace(
        data, tie=tie if tie.any() else None, weight=weights * np.where(tie, 1, strength).astype(np.float32) if weigh else data.weight
    )


def place_of(path: object, argument: str) -> Path:
    """A path that has a name, also where "." or ".." was given. EvenhandError when it is no path at all."""
    if not isinstance(path, (str, PathLike)) or not isinstance(fspath(path), str) or not fspath(path):
        listed = f"{'a list without dictionaries' if path else 'an empty list'}" if isinstance(path, list | tuple) else ""
        found = "an empty text" if path == "" else listed or type(path).__name__
        table = ", or a table in memory: a data frame, or a list of dictionaries, one a row" if argument == "path" else ""
        raise EvenhandError(
            f"Found {found} for '{argument}'. Expected: the path of a file or folder, as text or Path{table}. To do: name one"
        )
    refuse_address(fspath(path))
    place = Path(path)
    return place if place.name not in ("", "..") else place.resolve()


def _batches(plan: Plan, more: Sequence[str], one_user: bool) -> Iterator[Batch]:
    """The rows of all files under canonical names; rows of a shard named after a split carry its name, unless they have a split."""
    keep = plan.keep(more)
    for file in plan.files:
        for batch in read(file, keep):
            batch = batch.renamed(plan.renames)
            if file.split in SPLIT_NAMES and "split" not in batch.columns:
                batch = replace(batch, columns={**batch.columns, "split": [file.split] * len(batch)})
            if one_user:
                batch = replace(batch, columns={**batch.columns, "user": [ONE_USER] * len(batch)})
            yield batch


def _sides(files: Mapping[str, Input]) -> Sides:
    """The other files of a folder, whole: they are small. A bad row in them is an error whatever on_bad says."""
    sides = {}
    for name, file in files.items():
        batches = list(read(file, lambda column: True))
        for bad in (bad for batch in batches for bad in batch.bad):
            raise bad.fault.error(file.name, bad.line, bad.value)
        sides[name] = [record for batch in batches for record in batch.records()]
    return sides

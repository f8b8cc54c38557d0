"""A file or folder of people's choices → checked PreferenceData. Nothing is lost: rows in = rows used + rows excluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from evenhand.core import DataError, EvenhandError, PreferenceData
from evenhand.data import assemble
from evenhand.data.collect import Collector, Wanted
from evenhand.data.columns import SPLIT_NAMES
from evenhand.data.ledger import check_place
from evenhand.data.reading import Input, fingerprint, read
from evenhand.data.resolve import Plan, check_columns, resolve
from evenhand.data.rows import Batch
from evenhand.data.source import Sides


def load(
    path: Path | str,
    *,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    bad_rows_to: Path | None = None,
    attributes: Sequence[str] = (),
    numbers: Sequence[str] = (),
    need_texts: bool = True,
    seed: int = 0,
) -> PreferenceData:
    """Read, check and index preferences.

    path: a file (JSONL, CSV, TSV, Parquet, Arrow; each also .gz, .zst), or a folder (Hugging Face datasets, Polis, CREHate, PRISM).
    source: the format's name (a file in data/sources/); None = told from the columns. columns: canonical → name in the file.
    on_bad: "error" raises at the first bad row; "skip" counts bad rows by reason and group and lists them in bad_rows_to (CSV, no text).
    attributes: columns with one value a user. numbers: numeric columns to keep, finite in every row; of ratings and votes
    each number becomes two, NAME_chosen and NAME_rejected. need_texts=False: prompt, chosen and rejected may be absent, or be ids.
    seed: of the sources that draw pairs (see each source).
    Raises DataError with file, line, column, value, expectation and remedy; EvenhandError for wrong arguments.
    """
    if on_bad not in ("error", "skip"):
        raise EvenhandError(f"Unknown on_bad '{on_bad}'. Expected: error or skip. To do: choose one of the two")
    path = _place(path, "path")
    list_to = None if bad_rows_to is None else _place(bad_rows_to, "bad_rows_to")
    if list_to is not None:
        if list_to.resolve() == path.resolve():
            raise DataError(
                "the list of bad rows would replace the data", expected="another file", remedy="name another file", file=str(list_to)
            )
        check_place(list_to)
    plan = resolve(path, source, dict(columns or {}), need_texts)
    check_columns(plan, attributes, numbers, need_texts)
    expected = {c for c in plan.source.required if need_texts or c in plan.names}
    expected |= {"target"} & plan.names & set(plan.source.optional)  # a pair whose orientation nobody told would get one by chance
    wanted = Wanted(tuple(numbers), frozenset(expected), not need_texts, on_bad == "error", plan.renames)
    collector = Collector(wanted, tuple(dict.fromkeys([*plan.source.attributes, *attributes])))
    for batch in plan.source.parse(_batches(plan, [*attributes, *numbers]), _sides(plan.sides), seed):
        if plan.source.pairing is None:
            collector.add_pairs(batch)
        else:
            collector.add_judgements(batch)
    data = assemble.pairs(collector) if plan.source.pairing is None else assemble.judged(collector, plan.source.pairing, seed)
    if list_to is not None:
        collector.ledger.write(list_to)
    exclusions = collector.ledger.exclusions(collector.attributes.lost())
    if not len(data):
        why = "; ".join(f"{count} x {reason}" for reason, count in exclusions.reasons.items()) or "the file holds no row"
        raise DataError(
            f"no usable pair ({why})", expected="at least one", remedy="mend the rows, or check --source and --column", file=path.name
        )
    kind = f"{path.name} ({plan.files[0].format}, {plan.source.name})"
    return replace(data, exclusions=exclusions, source=kind, fingerprint=fingerprint(path))


def _place(path: object, argument: str) -> Path:
    """A path that has a name, also where "." or ".." was given. EvenhandError when it is no path at all."""
    if not isinstance(path, (str, PathLike)) or not isinstance(fspath(path), str) or not fspath(path):
        found = "an empty text" if path == "" else type(path).__name__
        raise EvenhandError(f"Found {found} for '{argument}'. Expected: the path of a file or folder, as text or Path. To do: name one")
    place = Path(path)
    return place if place.name not in ("", "..") else place.resolve()


def _batches(plan: Plan, more: Sequence[str]) -> Iterator[Batch]:
    """The rows of all files under canonical names; rows of a shard named after a split carry its name, unless they have a split."""
    keep = plan.keep(more)
    for file in plan.files:
        for batch in read(file, keep):
            batch = batch.renamed(plan.renames)
            if file.split in SPLIT_NAMES and "split" not in batch.columns:
                batch = replace(batch, columns={**batch.columns, "split": [file.split] * len(batch)})
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

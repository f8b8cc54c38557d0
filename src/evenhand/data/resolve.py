"""Which files to read as what: a path, perhaps a source's name, and perhaps renamed columns → a Plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenhand.core import DataError, EvenhandError
from evenhand.data.reading import COMPRESSED, FORMATS, Input, describe, head, read, shards
from evenhand.data.reading_text import Keep
from evenhand.data.source import TEXTS, Source, every, guessed, missing_column, named


@dataclass(frozen=True)
class Plan:
    """files: those with the rows. sides: the other files of a folder, by name. names: the columns, under canonical names."""

    source: Source
    files: Sequence[Input]
    names: frozenset[str]
    renames: Mapping[str, str]
    sides: Mapping[str, Input] = field(default_factory=dict)

    def keep(self, more: Sequence[str]) -> Keep:
        """Which columns of the files to read."""
        canonical = (*self.source.required, *self.source.optional)
        wanted = {self.renames.get(c, c) for c in canonical} | set(more)
        pattern = re.compile(self.source.pattern or r"(?!)")
        return lambda name: name in wanted or pattern.fullmatch(name) is not None


def resolve(path: Path, source: str | None, renames: Mapping[str, str], need_texts: bool = True) -> Plan:
    """Raises DataError when there is nothing to read, or nothing that any source knows."""
    asked = named(source) if source else None
    if path.is_dir():
        for candidate in [asked] if asked else every().values():
            if plan := _folder(path, candidate, renames, surely=asked is not None):
                return plan
    files = shards(path) if path.is_dir() else [describe(path)]
    names, first = _canonical(files[0], renames)
    chosen = asked or guessed(names, first, files[0].name, need_texts)
    if chosen.needs:
        expected = f"a folder with the files {', '.join((*chosen.main, *chosen.needs))}"
        raise DataError(
            f"the source {chosen.name} is a folder of several files", expected=expected, remedy="name the folder", file=path.name
        )
    return Plan(chosen, files, names, renames)


def _folder(path: Path, source: Source, renames: Mapping[str, str], surely: bool) -> Plan | None:
    """The plan for a source that is a folder of several files; None when this is not one."""
    lying = {_stem(p): p for p in sorted(path.iterdir()) if _stem(p)}
    if source.many:
        return _together(list(lying.values()), source, renames, surely)
    main = next((name for name in source.main if name in lying), None)
    if main is None or not all(name in lying for name in source.needs):
        return None
    file = describe(lying[main])
    names, first = _canonical(file, renames)
    if not surely and not source.recognises(names, first):
        return None
    sides = {n: describe(lying[n]) for n in (*source.needs, *source.sides) if n in lying and n != main}
    return Plan(source, [file], names, renames, sides)


def _together(paths: Sequence[Path], source: Source, renames: Mapping[str, str], surely: bool) -> Plan | None:
    """The plan for a folder of files of one format; None when there are none, or, where nobody named the source, when one is of another.

    Of a named source, a file that cannot be read or is of another format is an error, since nobody knows what was meant.
    """
    files: list[Input] = []
    names: frozenset[str] = frozenset()
    for path in (p for p in paths if p.is_file()):
        try:
            file = describe(path)
            have, first = _canonical(file, renames)
        except DataError:
            if surely:
                raise
            return None
        if not source.recognises(have, first):
            if not surely:
                return None
            raise DataError(
                f"the file has not the columns of the source {source.name}", expected="files of this source alone in the folder",
                remedy="name one file, or move this one elsewhere", file=file.name,
            )  # fmt: skip
        files.append(file)
        names |= have
    return Plan(source, files, names, renames) if files else None


def _stem(path: Path) -> str:
    """A data file's name without its extensions, "" for other files."""
    name = path.name
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((name.removesuffix(e) for e in FORMATS if name.endswith(e)), "")


def _canonical(file: Input, renames: Mapping[str, str]) -> tuple[frozenset[str], dict[str, Any]]:
    """Column names and first row of a file, under canonical names too."""
    names, first = head(file)
    if not names:
        raise _nothing(file)
    for canonical, name in renames.items():
        if name not in names:
            raise missing_column(name, names, file.name, f"the column named for '{canonical}'", canonical)
    return frozenset(names) | frozenset(renames), {**first, **{c: first.get(name) for c, name in renames.items()}}


def _nothing(file: Input) -> DataError:
    """The error of a file without a readable row: it names the first row that is there."""
    remedy = "check how it was written"
    for batch in read(file, lambda name: True):
        if batch.bad:
            bad = min(batch.bad, key=lambda b: b.line)
            found = f"the file holds no readable row: here {bad.fault.reason}"
            return DataError(found, expected=bad.fault.expected, remedy=remedy, file=file.name, line=bad.line)
    return DataError("the file holds no readable row", expected="at least one row", remedy=remedy, file=file.name)


def check_columns(plan: Plan, attributes: Sequence[str], numbers: Sequence[str], need_texts: bool) -> None:
    """Raises DataError or EvenhandError, with the nearest match, for columns that are asked for but not there."""
    source = plan.source
    known = [*source.required, *source.optional]
    for canonical in plan.renames:
        if canonical not in known:
            near = difflib.get_close_matches(canonical, known, 1, 0.5)
            remedy = f"perhaps '{near[0]}' is meant" if near else "use one of these"
            raise EvenhandError(
                f"Unknown column '{canonical}' for the source {source.name}. Expected: one of {', '.join(known)}. To do: {remedy}"
            )
    needed = [c for c in source.required if need_texts or c not in TEXTS]
    asked = [*needed, *numbers, *(a for a in attributes if a not in source.attributes)]
    for name in asked:
        if name not in plan.names:
            columns = f"the columns {', '.join(dict.fromkeys(asked))}"
            raise missing_column(name, plan.names, plan.files[0].name, columns, name if name in known else "", needed)

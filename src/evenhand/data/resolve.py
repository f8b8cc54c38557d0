"""Which files to read as what: a path, perhaps a source's name, and perhaps renamed columns → a Plan."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenhand.core import DataError, EvenhandError, clip
from evenhand.data.reading import COMPRESSED, FORMATS, Input, describe, head, read, shards
from evenhand.data.reading_text import Keep
from evenhand.data.source import TEXTS, Source, every, guessed, is_label, missing_column, named


@dataclass(frozen=True)
class Plan:
    """files: those with the rows. sides: the other files of a folder, by name. names: the columns, under canonical names."""

    source: Source
    files: Sequence[Input]
    names: frozenset[str]
    renames: Mapping[str, str]
    sides: Mapping[str, Input] = field(default_factory=dict)
    path: Path = Path()  # what was named

    def keep(self, more: Sequence[str]) -> Keep:
        """Which columns of the files to read."""
        canonical = (*self.source.required, *self.source.optional)
        wanted = {self.renames.get(c, c) for c in canonical} | set(more)
        pattern = re.compile(self.source.pattern or r"(?!)")
        return lambda name: name in wanted or pattern.fullmatch(name) is not None


@dataclass(frozen=True)
class SourceHints:
    """source: a format's name, None = told from the columns. renames: canonical → name in the file. one_user: no column of users is needed."""

    source: str | None
    renames: Mapping[str, str]
    need_texts: bool = True
    one_user: bool = False


def resolve(path: Path, hints: SourceHints) -> Plan:
    """Raises DataError when there is nothing to read, or nothing that any source knows."""
    source = named(hints.source) if hints.source else None
    if path.is_dir():
        for candidate in [source] if source else every().values():
            if plan := _folder(path, candidate, hints.renames, surely=source is not None):
                return replace(plan, path=path)
    files = shards(path) if path.is_dir() else [describe(path)]
    plan = resolve_file(files[0], hints)
    if plan.source.needs:
        beside = _folder(path.parent, plan.source, hints.renames, surely=False, main=path) if path.is_file() else None
        if beside is None:
            expected = f"a folder with the files {', '.join((plan.source.main[0], *plan.source.needs))}"
            raise DataError(
                f"the source {plan.source.name} is a folder of several files", expected=expected, remedy="name the folder", file=path.name
            )
        return replace(beside, path=path.parent)
    return replace(plan, files=files, path=path if path.exists() else files[0].path)


def resolve_file(file: Input, hints: SourceHints) -> Plan:
    """The plan for one file, or for a table in memory."""
    names, first = _canonical(file, hints.renames)
    names = names | {"user"} if hints.one_user else names
    source = named(hints.source) if hints.source else guessed(names, first, file.name, hints.need_texts)
    usual = {c: next((n for n in known if n in names), "") for c, known in source.aliases.items() if c not in names}
    renames = {**hints.renames, **{c: n for c, n in usual.items() if n}}
    return Plan(source, [file], names | frozenset(renames), renames)


def _folder(path: Path, source: Source, renames: Mapping[str, str], surely: bool, main: Path | None = None) -> Plan | None:
    """The plan for a source that is a folder of several files; None when this is not one. main: the file that was named in it.

    The names may all begin alike, as exports do ("2024-05-01-votes.csv" beside "2024-05-01-comments.csv").
    """
    lying = {_stem(p): p for p in sorted(path.iterdir()) if _stem(p)}
    if source.many:
        return _together(list(lying.values()), source, renames, surely)
    whole = [
        (start, name) for name in source.main for start in _starts(lying, name) if all(f"{start}{other}" in lying for other in source.needs)
    ]
    whole = [(start, name) for start, name in whole if main is None or lying[f"{start}{name}"] == main]
    for start, name in whole:
        file = describe(lying[f"{start}{name}"])
        names, first = _canonical(file, renames)
        if surely or source.recognises(names, first):
            others = {n: f"{start}{n}" for n in (*source.needs, *source.sides) if n != name}
            return Plan(source, [file], names, renames, {n: describe(lying[other]) for n, other in others.items() if other in lying})
    return None


def _starts(lying: Mapping[str, Path], name: str) -> list[str]:
    """What may stand before the names of a folder's files, nothing first."""
    return sorted(stem.removesuffix(name) for stem in lying if stem == name or stem.endswith((f"-{name}", f"_{name}", f".{name}")))


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
        if name not in names and canonical in names and any(name in (*s.required, *s.optional) for s in every().values()):
            raise DataError(
                f"there is no column '{clip(name)}', but there is one called '{clip(canonical)}': the two names are turned round",
                expected=f"{clip(name)}, then the name in the file", remedy=f"turn them: --column {shlex.quote(f'{name}={canonical}')}",
                file=file.name, line=1,
            )  # fmt: skip
        if name not in names:
            raise missing_column(name, names, file.name, f"the column named for '{canonical}'", canonical, first=first)
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
    if ids := {"user", plan.renames.get("user", "user")} & {*attributes}:
        raise EvenhandError(
            f"Found {ids.pop()} as a column to group users by. Expected: an attribute that users share: groups of one user are not shown, and their "
            "names would be ids. To do: name another column."
        )
    known = [*source.required, *source.optional]
    for canonical in plan.renames:
        if canonical not in known:
            near = difflib.get_close_matches(canonical, known, 1, 0.5)
            remedy = f"perhaps '{near[0]}' is meant" if near else "use one of these"
            raise EvenhandError(
                f"Unknown column '{canonical}' for the source {source.name}. Expected: one of {', '.join(known)}. To do: {remedy}"
            )
    needed = [c for c in source.required if need_texts or c not in TEXTS]
    wanted = [*needed, *numbers, *(a for a in attributes if a not in source.attributes)]
    for name in wanted:
        if name not in plan.names:
            columns = f"the columns {', '.join(dict.fromkeys(wanted))}"
            raise missing_column(name, plan.names, plan.files[0].name, columns, name if name in known else "", needed)


def unread_labels(plan: Plan, wanted: Sequence[str]) -> list[str]:
    """Columns beside chosen and rejected that may say who won, and that nothing reads. wanted: further columns that are read.

    Raises DataError where two columns were named as chosen and rejected beside such a label: of a table of two responses and a label
    this gives wrong pairs without a word. Where the file itself calls them so, they are what they are called, and the label is told.
    """
    named = {c for c in ("chosen", "rejected") if c in plan.renames}
    unread = [n for n in sorted(plan.names) if is_label(n) and n not in (*plan.renames.values(), *wanted)]
    if plan.source.name not in ("table", "trl"):
        return []
    if named and unread:
        raise DataError(
            f"chosen and rejected were named, but nothing reads {', '.join(unread)}, which may say who won",
            expected="a table of pairs, or two responses and a label (source choices)",
            remedy="leave chosen and rejected out: such tables are told from their columns; or drop the column if it says something else",
            file=plan.files[0].name,
        )  # fmt: skip
    return unread

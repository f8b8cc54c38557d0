"""Which columns of a file may be scores, for whoever did not name any."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError
from evenhand.data import columns
from evenhand.data.reading import head
from evenhand.data.resolve import SourceHints, check_columns, resolve

WORDS = ("reward", "score", "margin", "logit", "rating")
SIDES = (("chosen", "rejected"), ("_c", "_r"), ("winner", "loser"), ("preferred", "dispreferred"))


def score_columns(numeric: list[str]) -> list[str]:
    """What --scores may be given: of numeric columns first those in pairs, "a,b", then those whose name says that they are scores."""
    pairs = [
        f"{name},{other}"
        for name in numeric
        for one, two in SIDES
        if one in name and (other := name.replace(one, two)) != name and other in numeric
    ]
    taken = {name for pair in pairs for name in pair.split(",")}
    return [*dict.fromkeys(pairs), *(n for n in numeric if n not in taken and any(word in n.lower() for word in WORDS))]


def no_scores(
    path: Path, source: str | None = None, columns: Mapping[str, str] | None = None, one_user: bool = False, **others: Any
) -> EvenhandError:
    """The error of an audit that is told of neither a model nor scores: it names the columns that may be scores, and the command.

    path, source, columns, one_user: as `load` takes them; others are of no matter here. Raises DataError, as `load` does, where columns that no
    audit does without are missing.
    """
    plan = resolve(path, SourceHints(source, dict(columns or {}), False, one_user))
    check_columns(plan, (), (), False)
    known = {*plan.source.required, *plan.source.optional, *plan.renames.values()}
    names, first = head(plan.files[0])
    numeric = [n for n in names if n not in known and _is_number(first.get(n))]
    found = score_columns(numeric)
    said = "this file has no numeric column" if not numeric else f"of this file these are numeric: {', '.join(numeric[:12])}"
    how = [f"--source {shlex.quote(source)}"] if source else []
    how += [f"--column {shlex.quote(f'{canonical}={name}')}" for canonical, name in (columns or {}).items()]
    start = " ".join(["evenhand audit", shlex.quote(str(path)), *how, *(["--one-user"] if one_user else [])])
    remedy = " or ".join(f"{start} --scores {shlex.quote(s)}" for s in found[:3])
    return DataError(
        f"neither a model nor scores were named; {said}", expected="--scores with one column of margins or two of rewards, --model with a folder, or --reward-model with one of the hub's format",
        remedy=f"try {remedy}" if remedy else "score the pairs into columns of the table, or train a model with evenhand fit", file=path.name,
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and bool(np.isfinite(columns.numbers([value])[0]))

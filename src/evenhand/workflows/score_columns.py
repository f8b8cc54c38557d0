"""Score columns: the margins that they give, and which columns of a file may be some, for whoever did not name any."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError, PreferenceData
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


def margins_of(data: PreferenceData, scores: Sequence[str]) -> np.ndarray:
    """Margins float64[n] from one margin column or two reward columns."""
    if len(scores) == 1 and f"{scores[0]}_chosen" in data.numbers:  # the reward of each response, not of each pair
        scores = [f"{scores[0]}_chosen", f"{scores[0]}_rejected"]
    missing = [name for name in scores if name not in data.numbers]
    if missing or len(scores) not in (1, 2) or len(set(scores)) < len(scores):
        found = f"score columns {', '.join(missing)} were not loaded" if missing else f"score columns {', '.join(scores)}"
        remedy = f"name them as --scores CHOSEN,REJECTED (in Python load(path, numbers={[*scores]}), or audit the path itself)"
        raise DataError(found, expected="one column of margins, or two different ones: rewards of chosen and of rejected", remedy=remedy)
    return data.numbers[scores[0]] if len(scores) == 1 else data.numbers[scores[0]] - data.numbers[scores[1]]


def _is_number(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and bool(np.isfinite(columns.numbers([value])[0]))

"""What a source is, and finding one by name or by the look of a file. A source is a file in `sources/` that defines SOURCE."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError, Judgements
from evenhand.data import sources
from evenhand.data.pairing import Drawn
from evenhand.data.rows import Batch

TEXTS = frozenset({"prompt", "chosen", "rejected"})  # may be absent from a table that is only audited by its score columns

USUAL_NAMES = {  # what others call these columns, the surest first
    "user": ("user_id", "userid", "annotator_id", "annotator", "worker_id", "workerid", "worker", "rater_id", "rater", "participant_id",
             "participant", "labeler_id", "labeler", "labeller", "judge_id", "person", "respondent"),
    "prompt": ("question", "instruction", "query", "input", "context", "post"),
    "chosen": ("response_chosen", "chosen_response", "preferred", "winner", "winning_response", "accepted", "better"),
    "rejected": ("response_rejected", "rejected_response", "dispreferred", "loser", "losing_response", "worse"),
}  # fmt: skip

Sides = Mapping[str, Sequence[Mapping[str, Any]]]  # the other files of a folder: name without extension → records
Parse = Callable[[Iterable[Batch], Sides, int], Iterator[Batch]]  # (batches, sides, seed) → batches under canonical columns
Recognise = Callable[[frozenset[str], Mapping[str, Any]], bool]  # (column names, first row) → is it this source?
Pairing = Callable[[Judgements, np.random.Generator], Drawn]


@dataclass(frozen=True)
class Source:
    """One format. Its `parse` turns batches of the file into batches with canonical columns: either pairs
    (user, prompt, chosen, rejected; weight, tie, split, event, target, twin) or, when it has a `pairing`, judgements (user, prompt,
    response, score; block, split).
    """

    name: str
    summary: str  # one line for --help: the columns and what becomes a pair
    required: tuple[str, ...]  # columns of the file, under canonical names
    optional: tuple[str, ...]
    recognises: Recognise
    parse: Parse
    sample: tuple[Mapping[str, Any], ...]  # made-up rows in the format's schema
    pairing: Pairing | None = None
    pattern: str = ""  # further columns by regular expression
    attributes: tuple[str, ...] = ()  # user attributes that `parse` brings along, where the files have them
    main: tuple[str, ...] = ()  # for a folder: the file with the rows, name without extension; the first that exists
    needs: tuple[str, ...] = ()  # other files of the folder that must be there
    sides: tuple[str, ...] = ()  # other files that may be there
    many: bool = False  # a folder of several files of this format is read whole, in the order of their names


def as_given(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    """For files whose columns are canonical already."""
    yield from batches


def every() -> dict[str, Source]:
    """All sources, by name: whatever files lie in the folder."""
    names = sorted(m.name for m in pkgutil.iter_modules(sources.__path__))
    return {name: importlib.import_module(f"{sources.__name__}.{name}").SOURCE for name in names}


def named(name: str) -> Source:
    """The source of that name; an error names the nearest."""
    known = every()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"perhaps '{near[0]}' is meant" if near else "leave the source out, and it is told from the columns"
    raise EvenhandError(f"Unknown source '{name}'. Expected: one of {', '.join(known)}. To do: {remedy}")


def guessed(names: Iterable[str], first: Mapping[str, Any], file: str, need_texts: bool) -> Source:
    """The first source whose columns these are. Raises DataError with the nearest match when there is none."""
    have = frozenset(names)
    for columns in (have,) if need_texts else (have, have | TEXTS):
        for source in every().values():
            if source.recognises(columns, first):
                return source
    missing = next((c for c in ("user", "chosen", "rejected") if c not in have and (need_texts or c not in TEXTS)), "prompt")
    needed = [c for c in ("user", "prompt", "chosen", "rejected") if need_texts or c not in TEXTS]
    raise missing_column(missing, have, file, "the columns of a known source, such as user, prompt, chosen, rejected", missing, needed)


def missing_column(name: str, have: Iterable[str], file: str, expected: str, canonical: str = "", needed: Sequence[str] = ()) -> DataError:
    """The error for a column that is not there, with the nearest of those that are.

    canonical: the column it would be, "" = none: such a column cannot be renamed. needed: all canonical columns, so that the remedy
    names the further ones that are missing.
    """
    names = sorted(have)
    near = _nearest(name, names)
    if not canonical:
        remedy = f"ask for '{near}', or for another column of the file" if near else "ask for a column of the file"
    else:
        renames = {canonical: near or "NAME"}
        for other in (c for c in needed if c not in have and c != canonical):
            if also := _nearest(other, [n for n in names if n not in {*needed, *renames.values()}]):
                renames[other] = also
        remedy = "name the column with " + " ".join(f"--column {c}={n}" for c, n in renames.items())
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    nearest = f"; nearest match '{near}'" if near else ""
    return DataError(f"there is no column '{name}'{nearest} (columns: {shown})", expected=expected, remedy=remedy, file=file, line=1)


def _nearest(name: str, names: Sequence[str]) -> str:
    """The column that is probably meant, "" = none: one that is nearly spelt so, or has a usual name for it, or is spelt a bit so."""
    spelt = {n.lower(): n for n in reversed(names)}
    near = difflib.get_close_matches(name, spelt, 1, 0.8)
    usual = [n for n in USUAL_NAMES.get(name, ()) if n in spelt]
    found = [*near, *usual, *difflib.get_close_matches(name, spelt, 1, 0.5)]
    return spelt[found[0]] if found else ""

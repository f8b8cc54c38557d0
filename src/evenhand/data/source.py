"""What a source is, and finding one by name or by the look of a file. A source is a file in `sources/` that defines SOURCE."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError, Judgements
from evenhand.data import columns, sources
from evenhand.data.pairing import Drawn
from evenhand.data.rows import Batch
from evenhand.parts import installed, part

TEXTS = frozenset({"prompt", "chosen", "rejected"})  # may be absent from a table that is only audited by its score columns

USUAL_NAMES = {  # what others call these columns, the surest first
    "user": ("user_id", "userid", "annotator_id", "annotator", "worker_id", "workerid", "worker", "rater_id", "rater", "participant_id",
             "participant", "labeler_id", "labeler", "labeller", "judge_id", "judge", "evaluator", "voter_id", "voter-id", "person", "respondent"),
    "prompt": ("question", "instruction", "query", "input", "context", "post"),
    "chosen": ("response_chosen", "chosen_response", "preferred", "winner", "winning_response", "accepted", "better"),
    "item": ("statement", "comment", "response", "text", "reply", "answer", "completion", "output", "comment_body", "comment-body"),
    "rejected": ("response_rejected", "rejected_response", "dispreferred", "loser", "losing_response", "worse"),
}  # fmt: skip

STARTS = {"chosen": ("chosen", "winning", "preferred", "better", "accepted"),
          "rejected": ("rejected", "losing", "dispreferred", "non_preferred", "worse")}  # fmt: skip
SCORES = ("score", "rating", "stars", "grade", "points", "rank_score", "overall_score", "overall_rating")
SLOT = re.compile(r"(?:[ab012]|left|right)$")
TIME_NAMES = ("time", "timestamp", "tstamp", "updated_at", "created_at", "submitted_at")
LONGEST_ID = 80
NO_PROSE = re.compile(r"[-+\d.,:TZ/ ]*|[0-9a-fA-F-]{8,}|[A-Z]\w{2} [A-Z]\w{2} \d.*")  # numbers, dates, hashes and UUIDs
LABEL_NAMES = ("label", "winner", "preference", "overall_preference", "overall_pref", "human_preference", "preferred", "preferred_response",
               "preferred_answer", "preferred_completion", "preferred_output", "preferred_model", "preferred_option", "preference_label",
               "choice", "user_choice", "chosen_index", "chosen_idx", "chosen_response", "chosen_id", "better", "better_response",
               "better_response_id", "best", "comparison", "verdict", "judgment", "judgement", "selected", "selection",
               "vote", "labels")  # fmt: skip  # the surest first: what says which of two responses was chosen

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
    numbers: tuple[str, ...] = ()  # numbers of every pair that `parse` brings along
    scored: Callable[[frozenset[str], str], tuple[str, ...]] | None = None  # (column names, a number) → its columns, one a response
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # canonical → names that mean the same beyond doubt
    many: bool = False  # a folder of several files of this format is read whole, in the order of their names


def as_given(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    """For files whose columns are canonical already."""
    yield from batches


def every() -> dict[str, Source]:
    """All sources, by name: whatever files lie in the folder."""
    names = sorted(m.name for m in pkgutil.iter_modules(sources.__path__))
    return {name: importlib.import_module(f"{sources.__name__}.{name}").SOURCE for name in names}


def named(name: str) -> Source:
    """The source of that name, or one from outside the package (see `evenhand.parts`); an error names the nearest."""
    known = every()
    if name in known:
        return known[name]
    if (found := part("sources", name)) is not None:
        return _from_outside(found, name.rpartition(":")[2])
    near = difflib.get_close_matches(name, [*known, *installed("sources")], 1)
    remedy = f"perhaps '{near[0]}' is meant" if near else "leave the source out, and it is told from the columns"
    raise EvenhandError(f"Unknown source '{name}'. Expected: one of {', '.join(known)}. To do: {remedy}")


def _from_outside(found: Any, name: str) -> Source:
    """A `Source` as it is; a function that turns batches into batches of pairs as one, whose first line of docstring is the summary."""
    if isinstance(found, Source):
        return found
    if not inspect.isfunction(found) or len(inspect.signature(found).parameters) != 3:
        raise EvenhandError(
            f"{name} is no source. Expected: a Source, or a function parse(batches, sides, seed) that gives batches with the columns "
            "user, prompt, chosen, rejected. To do: see data/sources/table.py for one."
        )
    summary = (inspect.getdoc(found) or name).splitlines()[0]
    return Source(name, summary, (), (), lambda names, first: True, found, (), pattern=".*")


def guessed(names: Iterable[str], first: Mapping[str, Any], file: str, need_texts: bool) -> Source:
    """The first source whose columns these are. Raises DataError with the nearest match when there is none."""
    have = frozenset(names)
    for names_ in (have,) if need_texts else (have, have | TEXTS):
        for source in every().values():
            if source.recognises(names_, first):
                return source
    needed = [c for c in ("user", "prompt", "chosen", "rejected") if need_texts or c not in TEXTS]
    known = "the columns of a known source, such as user, prompt, chosen, rejected"
    if not any(_nearest(c, sorted(have), first) or c in have for c in ("chosen", "rejected")):
        if roles := _votes(have, first) or _ratings(have, first):
            raise _unnamed(roles, have, file, f"{known}; or {', '.join(roles)}")
        if two := _two_texts(have, first):
            label = min((n for n in have if is_label(n)), key=lambda n: (n not in LABEL_NAMES, len(n), n), default="")
            roles = {"user": _user(have, first), "response_a": two[0], "response_b": two[1], "label": label}
            raise _unnamed(roles, have, file, f"a column that says which of {two[0]} and {two[1]} was chosen, such as winner or preference")
    missing = next((c for c in ("user", "chosen", "rejected") if c not in have and (need_texts or c not in TEXTS)), "prompt")
    raise missing_column(missing, have, file, known, missing, needed, first)


def _votes(names: frozenset[str], first: Mapping[str, Any]) -> dict[str, str]:
    """user, item and vote of a table with one text a row and a vote on it; empty when it is none."""
    item = "item" if "item" in names else _nearest("item", sorted(names), first)
    words = (
        n
        for n in names - {item}
        if (is_label(n) or isinstance(first.get(n), (str, bool))) and np.isfinite(columns.votes([first.get(n)])[0])
    )
    said = (n for n in words if re.fullmatch(r".*([_-]id|timestamp|date)|id|age|turn|phase", n, re.I) is None)
    vote = min(
        said, key=lambda n: (not is_label(n), "overall" not in n.lower(), len(n), n), default=""
    )  # of several questions the one on the whole
    return {"user": _user(names, first), "item": item, "vote": vote} if item and vote else {}


def _ratings(names: frozenset[str], first: Mapping[str, Any]) -> dict[str, str]:
    """user, prompt, response and score of a table with one text a row and a number for it; empty when it is none."""
    spelt = {n.lower(): n for n in sorted(names)}
    score = next((spelt[n] for n in SCORES if n in spelt and np.isfinite(columns.numbers([first.get(spelt[n])])[0])), "")
    prompt = "prompt" if "prompt" in names else _nearest("prompt", sorted(names), first)
    response = _nearest("item", sorted(names - {prompt}), first)
    return {"user": _user(names, first), "prompt": prompt, "response": response, "score": score} if prompt and response and score else {}


def _user(names: frozenset[str], first: Mapping[str, Any]) -> str:
    return "user" if "user" in names else _nearest("user", sorted(names), first)


def _two_texts(names: frozenset[str], first: Mapping[str, Any]) -> tuple[str, ...]:
    """The two columns of texts that differ in a letter or number at the end; () = there are none."""
    texts = [n for n in sorted(names) if _may_be("chosen", n, first.get(n), sorted(names))]
    candidates = ([n for n in texts if n.lower() in (f"{stem}{slot}" for slot in slots)] for stem in dict.fromkeys(re.sub(SLOT, "", n.lower()) for n in texts)
             for slots in (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right")))  # fmt: skip
    return next((tuple(two) for two in candidates if len(two) == 2), ())


def _unnamed(roles: Mapping[str, str], have: frozenset[str], file: str, expected: str) -> DataError:
    """The error of a table whose columns have other names. roles: canonical → the column that is probably meant, "" = not known."""
    renames = {c: n or "NAME" for c, n in roles.items() if c != n and c not in have}
    missing = next(iter(renames), "user")
    near = f"; nearest match '{roles[missing]}'" if roles[missing] else ""
    remedy = "name the column with " + " ".join(f"--column {shlex.quote(f'{c}={n}')}" for c, n in renames.items())
    return DataError(f"there is no column '{missing}'{near} (columns: {_shown(have)})", expected=expected, remedy=remedy, file=file, line=1)


def _shown(have: Iterable[str]) -> str:
    names = sorted(have)
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def is_label(name: str) -> bool:
    """A column that may say which of two responses was chosen."""
    low = name.lower()
    return (
        low in LABEL_NAMES
        or low.startswith(("winner_", "preferred_"))
        or low.endswith(("_preference", "_winner", "_preferred_response", "_label"))
    )


def missing_column(
    name: str, have: Iterable[str], file: str, expected: str, canonical: str = "", needed: Sequence[str] = (),
    first: Mapping[str, Any] | None = None, known: Mapping[str, str] | None = None,
) -> DataError:  # fmt: skip
    """The error for a column that is not there, with the nearest of those that are.

    canonical: the column it would be, "" = none: such a column cannot be renamed. needed: all canonical columns, so that the remedy
    names the further ones that are missing. first: a row, so that nothing is proposed that cannot be what is missing. known: further
    renames of the remedy, and perhaps its own.
    """
    names = sorted(have)
    near = (known or {}).get(name) or _nearest(name, names, first)
    if not canonical:
        remedy = f"ask for '{near}', or for another column of the file" if near else "ask for a column of the file"
    else:
        renames = {canonical: near or "NAME"}
        for other in (c for c in needed if c not in have and c != canonical):
            if also := _nearest(other, [n for n in names if n not in {*needed, *renames.values()}], first):
                renames[other] = also
        renames |= {c: n for c, n in (known or {}).items() if c != n}
        remedy = "name the column with " + " ".join(f"--column {shlex.quote(f'{c}={n}')}" for c, n in renames.items())
        if canonical == "user" and not near and needed:
            pairs = all(c in have or c in renames for c in ("chosen", "rejected") if c in needed)
            remedy = (
                f"{remedy}, or read all rows as one user's with --one-user"
                if pairs
                else "bring a table with a user, a prompt and two responses a row"
            )
    nearest = f"; nearest match '{near}'" if near else ""
    return DataError(
        f"there is no column '{name}'{nearest} (columns: {_shown(names)})", expected=expected, remedy=remedy, file=file, line=1
    )


def _nearest(name: str, names: Sequence[str], first: Mapping[str, Any] | None = None) -> str:
    """The column that is probably meant, "" = none: one that is nearly spelt so, has a usual name for it, or holds its name."""
    fits = [n for n in names if first is None or n not in first or _may_be(name, n, first[n], names)]
    spelt = {n.lower(): n for n in reversed(fits)}
    near = difflib.get_close_matches(name, spelt, 1, 0.8)
    usual = [n for n in USUAL_NAMES.get(name, ()) if n in spelt]
    parts = [n for n in sorted(spelt) if name in re.split(r"[^a-z]+", n)]
    loose = difflib.get_close_matches(name, spelt, 1, 0.5) if name not in USUAL_NAMES else []
    begun = [n for start in STARTS.get(name, ()) for n in sorted(spelt) if n.startswith(f"{start}_")]
    ranked = [*near, *usual, *parts, *begun, *loose]
    return spelt[ranked[0]] if ranked else ""


def _may_be(role: str, name: str, value: Any, names: Sequence[str]) -> bool:
    """A column of this name and value can play the part: no label, date, id or number is a text; no text is a user."""
    if role not in USUAL_NAMES:
        return True
    if role == "user":
        return not isinstance(value, (float, bool, list, dict)) and (not isinstance(value, str) or len(value) <= LONGEST_ID)
    opposite = {"winner": "loser", "preferred": "dispreferred", "better": "worse", "chosen_response": "rejected_response"}
    if (
        is_label(name)
        and not isinstance(value, list)
        and not (isinstance(value, str) and " " in value.strip())
        and opposite.get(name.lower()) not in names
    ):
        return False
    if isinstance(value, list):
        return all(isinstance(v, (str, dict)) for v in value) and bool(value)
    return isinstance(value, str) and NO_PROSE.fullmatch(value.strip()) is None and not name.lower().endswith(("_id", "-id"))

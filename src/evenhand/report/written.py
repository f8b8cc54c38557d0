"""Written reports, read back: their files are read as anybody's, strictly, and nothing of them is obeyed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from evenhand.core import DataError, Estimate, clip
from evenhand.report.diff import Side
from evenhand.report.publish import TWIN, is_small, one_line
from evenhand.report.publish import hidden as suppressed

FILES = ("report.json", "certificate.json", "check.json")  # of a folder, in this order
NEWEST = {
    "report": 1,
    "comparison": 1,
    "transfer": 2,
    "check": 2,
    "certificate": 1,
    "texts": 1,
    "diff": 1,
}  # kinds, by the version that this program writes
NAMES = ("model", "name", "method", "kind", "setting", "notion", "decision", "first", "second", "before", "after", "group", "event", "feature", "prefers", "statistic", "metric", "split", "seed", "beta")  # fmt: skip
PARTS = ("model", "data", "split", "code")  # of a certificate, in the place of facts
PART = " › "
LEFT_OUT = ("format", "facts", "formulas", "limits", "details", "exit_code")
TWICE = {
    ("metrics", "accuracy"): "",
    ("metrics", "log_loss"): "groups",
    ("metrics", "margin"): "groups",
}  # what stands elsewhere in a report
MOST_BYTES, MOST_NUMBERS, DEEPEST, LONGEST, LARGEST = 50_000_000, 50_000, 12, 120, 1e300
EXPECTED = "a folder with a report, or its JSON file, as evenhand wrote it"


def parse(raw: bytes, file: str) -> tuple[str, dict[str, Any]]:
    """(kind, document) of a report's bytes, at most MOST_BYTES and one. file: what errors call it. Raises DataError."""
    try:
        if len(raw) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        document = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        found = f"it is no JSON that a report could be: {clip(str(error))}"
        raise DataError(found, expected=EXPECTED, remedy="write it anew", file=file) from error
    named = re.fullmatch(r"evenhand ([a-z]{1,20}) (\d{1,4})", str(document.get("format"))) if isinstance(document, dict) else None
    if named is None or named[1] not in NEWEST:
        known = f"{', '.join(NEWEST)}, with a version"
        raise DataError("its format is none of a report", expected=known, remedy="name another file", file=file)
    if int(named[2]) > NEWEST[named[1]]:
        known = f"version {NEWEST[named[1]]} of '{named[1]}' or an earlier one"
        raise DataError(f"its format is version {named[2]}", expected=known, remedy="install a later evenhand", file=file)
    return named[1], document


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def side(place: str, document: Mapping[str, Any]) -> Side:
    """What a report says. place: what it is called. Raises DataError for more than MOST_NUMBERS."""
    numbers: dict[str, Estimate | float] = {}
    for path, number in _numbers(document, ()):
        if any(pair in TWICE and (not TWICE[pair] or TWICE[pair] in path) for pair in pairwise(path)):
            continue
        name = PART.join(path)
        while name in numbers:
            name += TWIN
        numbers[name] = number
        if len(numbers) > MOST_NUMBERS:
            found = f"it has more than {MOST_NUMBERS:,} numbers"
            raise DataError(found, expected=EXPECTED, remedy="compare smaller reports", file=place)
    return Side(place, text(document.get("title")), numbers, dict(verdicts(document)), dict(facts(document)))


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Estimate | float]]:
    """Every number with the names that lead to it; an estimate is one. Curves and other lists of bare numbers are left out."""
    if len(path) > DEEPEST:
        return
    if isinstance(value, Mapping):
        if {"value", "low", "high"} <= value.keys():
            yield path, estimate(value)
            return
        for key, v in value.items():
            if path or key not in LEFT_OUT:
                yield from _numbers(v, (*path, text(key)))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            if isinstance(v, Mapping):
                name = ", ".join(text(v[n]) for n in NAMES if isinstance(v.get(n), (str, int, float)) and v[n] != "")
                yield from _numbers(v, (*path, name or str(i + 1)))
            elif isinstance(v, list) and len(v) == 2 and isinstance(v[0], str):
                yield from _numbers(v[1], (*path, text(v[0])))
    elif path and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, number(value)


def estimate(value: Mapping[str, Any]) -> Estimate:
    """Of a file's estimate what is a number. Policies count prompts in the place of users."""
    users, pairs = (_count(value.get(name, value.get(other))) for name, other in (("n_users", "n_prompts"), ("n_pairs", "n_candidates")))
    middle, low, high, level = (number(value.get(name, 0.95)) for name in ("value", "low", "high", "level"))
    hidden = value.get("suppressed") is True or is_small(users)
    found = Estimate(middle, low, high, users, pairs, text(value.get("metric")), text(value.get("group")), level)
    return suppressed(found) if hidden else found


def number(value: Any) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < LARGEST else math.nan


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else 0


def text(value: Any) -> str:
    """A name of the file, on one printable line."""
    return one_line(str(value)[:LONGEST]) if isinstance(value, (str, int, float)) else ""


def verdicts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The verdict as a whole, and of each requirement and constraint."""
    for name in ("verdict", "certified"):
        if isinstance(value := document.get(name), (str, bool)):
            yield "as a whole", text(value) if isinstance(value, str) else "CERTIFIED" if value else "NOT CERTIFIED"
    for part in ("requirements", "constraints"):
        for row in document[part] if isinstance(document.get(part), list) else ():
            if isinstance(row, Mapping) and isinstance(row.get("verdict"), str):
                yield text(row.get("name")), text(row["verdict"])


def facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "format", text(document.get("format"))
    parts = (
        {"": document["facts"]} if isinstance(document.get("facts"), Mapping) else {f"{k}: ": document[k] for k in PARTS if k in document}
    )
    for part, values in parts.items():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, (str, int, float)):
                yield f"{part}{text(name)}", text(value)

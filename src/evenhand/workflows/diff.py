"""Two written reports side by side: their files are read as anybody's, strictly, and nothing of them is obeyed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from evenhand.core import DataError, Estimate, clip
from evenhand.report import Report
from evenhand.report.diff import Diff, Side, report
from evenhand.report.publish import TWIN, is_small, one_line
from evenhand.report.publish import hidden as suppressed

FILES = ("report.json", "certificate.json", "check.json")  # of a folder, in this order
NEWEST = {"report": 1, "comparison": 1, "transfer": 2, "check": 2, "certificate": 1}  # kinds, by the version that this program writes
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
OF_TEXTS = "texts"  # reports that are not put side by side: runs in one report have paired intervals, two reports have none
EXPECTED = "a folder with a report, or its JSON file, as evenhand wrote it"


def diff(a: str | Path, b: str | Path, *, title: str = "", note: str = "", command: str = "") -> Report:
    """The numbers, verdicts and facts of two reports of one kind: A, B, and B - A.

    a, b: folders of reports, or their JSON files. Raises DataError without a report, for two kinds, and for a file of a later version.
    """
    (kind, one), (other, two) = _read(Path(a)), _read(Path(b))
    if kind != other:
        found, expected = f"it holds a report of kind '{other}'", f"'{kind}', as the first one"
        raise DataError(found, expected=expected, remedy="compare reports of one kind", file=str(b))
    return report(Diff(kind, _side(Path(a), one), _side(Path(b), two), command, title=title, note=note))


def _read(place: Path) -> tuple[str, dict[str, Any]]:
    """(kind, document) of a report."""
    file = next((place / name for name in FILES if (place / name).is_file()), None) if place.is_dir() else place
    if file is None or not file.is_file():
        found = f"there is no {', '.join(FILES[:-1])} or {FILES[-1]} in it" if place.is_dir() else "there is no such file or folder"
        raise DataError(found, expected=EXPECTED, remedy="name the folder that a verb wrote with --out", file=str(place))
    with file.open("rb") as stream:
        raw = stream.read(MOST_BYTES + 1)
    try:
        if len(raw) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        document = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        found = f"it is no JSON that a report could be: {clip(str(error))}"
        raise DataError(found, expected=EXPECTED, remedy="write it anew", file=str(file)) from error
    named = re.fullmatch(r"evenhand ([a-z]{1,20}) (\d{1,4})", str(document.get("format"))) if isinstance(document, dict) else None
    if named is not None and named[1] == OF_TEXTS:
        expected = f"a report of {', '.join(NEWEST)}"
        remedy = "audit both runs at once with evenhand audit-text (column run): only there can texts of one cell be paired"
        raise DataError("it is a report of texts, and two of these are not compared", expected=expected, remedy=remedy, file=str(file))
    if named is None or named[1] not in NEWEST:
        known = f"{', '.join(NEWEST)}, with a version"
        raise DataError("its format is none of a report", expected=known, remedy="name another file", file=str(file))
    if int(named[2]) > NEWEST[named[1]]:
        known = f"version {NEWEST[named[1]]} of '{named[1]}' or an earlier one"
        raise DataError(f"its format is version {named[2]}", expected=known, remedy="install a later evenhand", file=str(file))
    return named[1], document


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _side(place: Path, document: Mapping[str, Any]) -> Side:
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
            raise DataError(found, expected=EXPECTED, remedy="compare smaller reports", file=str(place))
    return Side(place.name or str(place), _text(document.get("title")), numbers, dict(_verdicts(document)), dict(_facts(document)))


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Estimate | float]]:
    """Every number with the names that lead to it; an estimate is one. Curves and other lists of bare numbers are left out."""
    if len(path) > DEEPEST:
        return
    if isinstance(value, Mapping):
        if {"value", "low", "high"} <= value.keys():
            yield path, _estimate(value)
            return
        for key, v in value.items():
            if path or key not in LEFT_OUT:
                yield from _numbers(v, (*path, _text(key)))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            if isinstance(v, Mapping):
                name = ", ".join(_text(v[n]) for n in NAMES if isinstance(v.get(n), (str, int, float)) and v[n] != "")
                yield from _numbers(v, (*path, name or str(i + 1)))
            elif isinstance(v, list) and len(v) == 2 and isinstance(v[0], str):
                yield from _numbers(v[1], (*path, _text(v[0])))
    elif path and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, _number(value)


def _estimate(value: Mapping[str, Any]) -> Estimate:
    """Of a file's estimate what is a number. Policies count prompts in the place of users."""
    users, pairs = (_count(value.get(name, value.get(other))) for name, other in (("n_users", "n_prompts"), ("n_pairs", "n_candidates")))
    middle, low, high, level = (_number(value.get(name, 0.95)) for name in ("value", "low", "high", "level"))
    hidden = value.get("suppressed") is True or is_small(users)
    found = Estimate(middle, low, high, users, pairs, _text(value.get("metric")), _text(value.get("group")), level)
    return suppressed(found) if hidden else found


def _number(value: Any) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < LARGEST else math.nan


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else 0


def _text(value: Any) -> str:
    """A name of the file, on one printable line."""
    return one_line(str(value)[:LONGEST]) if isinstance(value, (str, int, float)) else ""


def _verdicts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The verdict as a whole, and of each requirement and constraint."""
    for name in ("verdict", "certified"):
        if isinstance(value := document.get(name), (str, bool)):
            yield "as a whole", _text(value) if isinstance(value, str) else "CERTIFIED" if value else "NOT CERTIFIED"
    for part in ("requirements", "constraints"):
        for row in document[part] if isinstance(document.get(part), list) else ():
            if isinstance(row, Mapping) and isinstance(row.get("verdict"), str):
                yield _text(row.get("name")), _text(row["verdict"])


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "format", _text(document.get("format"))
    parts = (
        {"": document["facts"]} if isinstance(document.get("facts"), Mapping) else {f"{k}: ": document[k] for k in PARTS if k in document}
    )
    for part, values in parts.items():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, (str, int, float)):
                yield f"{part}{_text(name)}", _text(value)

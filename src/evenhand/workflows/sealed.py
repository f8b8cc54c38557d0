"""Sealed documents: canonical JSON, its SHA-256 beside it, and the first field in which two documents differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError, clip

Json = dict[str, Any]
SEAL = "seal"
MOST_BYTES = 10_000_000  # a certificate has some kilobytes; nothing larger is read


class Refused(EvenhandError):
    """A certificate that does not hold; the message names the first field that differs. Exit code 1."""


def canonical(value: Any) -> str:
    """The one way to write a JSON value: keys sorted, no spaces, ASCII, numbers as Python's shortest repr; no nan, no infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sealed(document: Json) -> Json:
    """`document` with the SHA-256 of its canonical JSON as its last field. It binds the fields to one another, and to nobody: no signature."""
    content = {key: value for key, value in document.items() if key != SEAL}
    return {**content, SEAL: hashlib.sha256(canonical(content).encode()).hexdigest()}


def read_document(path: str | Path) -> Json:
    """The JSON object in a file. Raises Refused if it is none, or names a key twice; OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    try:
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise refused(f"no JSON that a certificate could be ({clip(str(error))})", "the file that `evenhand certify` wrote") from error
    if not isinstance(document, dict):
        raise refused(f"a JSON {type(document).__name__}", "an object with the fields of a certificate")
    return document


def refused(found: str, expected: str) -> Refused:
    """The error of a certificate that does not hold."""
    return Refused(f"REFUSED: found {found}. Expected: {expected}. To do: ask for the certificate again, or certify anew.")


def compare(found: Json, expected: Json) -> None:
    """Raises Refused naming the first field of `expected`, in its order, that `found` does not have alike, or a field it has beyond."""
    different = first_difference(found, expected)
    if different is not None:
        raise refused(*different)


def first_difference(found: Any, expected: Any, place: str = "") -> tuple[str, str] | None:
    """(what was found, what was expected) at the first difference; None if there is none. 1, 1.0 and true are three values."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        below = f"{place}." if place else ""
        for key, value in expected.items():
            if key not in found:
                return f"no field '{below}{key}'", f"'{below}{key}' = {_shown(value)}"
            if different := first_difference(found[key], value, f"{below}{key}"):
                return different
        extra = [key for key in found if key not in expected]
        return (f"a field '{below}{clip(extra[0])}'", "no such field") if extra else None
    if isinstance(found, list) and isinstance(expected, list):
        for i, (a, b) in enumerate(zip(found, expected)):
            if different := first_difference(a, b, f"{place}[{i}]"):
                return different
        return (f"{len(found)} entries in '{place}'", f"{len(expected)}") if len(found) != len(expected) else None
    if type(found) is not type(expected) or repr(found) != repr(expected):
        return f"'{place}' = {_shown(found)}", f"{_shown(expected)}, as computed again"
    return None


def _shown(value: Any) -> str:
    try:
        return clip(json.dumps(value, ensure_ascii=True), 200)
    except RecursionError:  # deeper than Python goes: no certificate is
        return "lists in lists"


def _once(pairs: list[tuple[str, Any]]) -> Json:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise ValueError(f"the key '{clip(twice)}' is there twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")

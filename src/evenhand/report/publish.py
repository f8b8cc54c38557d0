"""Findings → what may be printed. Everything that leaves this package passes here once, so that no panel and no printer has to remember it.

Estimates of fewer than ten users lose their numbers (a group of three people must not be readable off a table), and every text becomes one
printable line. What else must go with a hidden number, such as the gap to a small group, each kind of report knows and hides before.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from evenhand.core import SMALLEST_CELL, Estimate

LONGEST_TEXT = 600  # characters; a group name or a sentence beyond it is clipped
SMALL_GROUP = f"fewer than {SMALLEST_CELL} users: not shown"
TWIN = "′"  # tells apart what looks the same once it is printable
JOINERS = "\u200c\u200d"  # needed to spell Persian and emoji, harmless to the layout
SIZE = re.compile(
    r"(?<![\d.,])[1-9](?: of [\d,]+)? users?\b(, \d+ needed)?(; \d+ pairs, \d+ needed)?"
)  # a small group's size in a sentence

T = TypeVar("T")
Json = dict[str, Any]


def publish(findings: T, small: Callable[[Estimate], Estimate] | None = None) -> T:
    """The same records with printable texts, Python's own numbers, and no number of fewer than ten users.

    Records are rebuilt, never changed. Where two keys of a mapping look the same once they are printable, neither is lost. small: what
    becomes of an estimate of fewer than ten; it is hidden where nothing else is said, as where the ten are persons it must be.
    """
    out: Any = _published(findings, small or hidden)
    return out


def _published(value: Any, small: Callable[[Estimate], Estimate]) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Estimate) and is_small(value.n_users):
        value = small(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _published(getattr(value, f.name), small) for f in fields(value) if f.init})
    if isinstance(value, Mapping):
        out: Json = {}
        for key, v in value.items():
            name = one_line(str(key))
            while name in out:
                name += TWIN
            out[name] = _published(v, small)
        return out
    if isinstance(value, (list, tuple)):
        return tuple(_published(v, small) for v in value)
    return value.item() if isinstance(value, np.generic) else value


def apart(names: Iterable[str]) -> dict[str, str]:
    """Each name as it may be printed: two that look alike then stay two."""
    out: dict[str, str] = {}
    for name in dict.fromkeys(names):
        shown = one_line(name)
        while shown in out.values():
            shown += TWIN
        out[name] = shown
    return out


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same records with other names wherever a text is one of `names`; mappings are left as they are."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(renamed(v, names) for v in value)
    is_record = is_dataclass(value) and not isinstance(value, type)
    return replace(value, **{f.name: renamed(getattr(value, f.name), names) for f in fields(value)}) if is_record else value


def document(value: Any) -> Any:
    """Published records → plain JSON values; nan, infinities and hidden counts become null, so that any JSON reader takes the file."""
    if isinstance(value, Estimate):
        plain = {f.name: document(getattr(value, f.name)) for f in fields(value)}
        return plain | {"n_users": None, "n_pairs": None} if value.suppressed else plain
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: document(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): document(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [document(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else one_line(str(value))


def is_small(n_users: int | None) -> bool:
    return n_users is not None and 0 < n_users < SMALLEST_CELL


def hidden(estimate: Estimate) -> Estimate:
    """The estimate without its numbers."""
    nan = math.nan
    return replace(estimate, value=nan, low=nan, high=nan, n_users=0, n_pairs=0, suppressed=True)


def without_size(sentence: str) -> str:
    """A reason without the number of users of a small group."""
    return SIZE.sub(f"fewer than {SMALLEST_CELL} users", sentence)


def may_be_named(key: str, reasons: Mapping[str, int], small: set[str], shown: set[str]) -> bool:
    """Whether excluded rows may be told to a group: "minority", or "country=FR" as the loader writes it. Of a group that is not in the
    audit nobody knows the number of users; under 10 rows it may be small.
    """
    key = key.rstrip(TWIN)
    names = {key, *(key[i + 1 :] for i, c in enumerate(key) if c == "=")}
    return not names & small and (bool(names & shown) or sum(reasons.values()) >= SMALLEST_CELL)


def one_line(text: str) -> str:
    """Printable text on one line: white space becomes a space; controls, direction marks, surrogates show as \\uXXXX or \\UXXXXXXXX.

    >>> one_line("a\\u202eb\\n")
    'a\\\\u202eb '
    """
    text = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    return printable(text)


def printable(text: str) -> str:
    """The same of any length."""
    return text if text.isprintable() else "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":
        return " "
    if unicodedata.category(character) == "Zs":
        return " "
    return f"\\u{ord(character):04x}" if character <= "\uffff" else f"\\U{ord(character):08x}"

"""The private file of users beside a report: from a group to its users, and from a user to the pairs that the model orders against him or her."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evenhand.core import DataError
from evenhand.report.examples import Example, People, Person
from evenhand.report.publish import one_line
from evenhand.report.written import number, text
from evenhand.viewer.gist import items

USERS = "users.json"  # written by `workflows.examples`
FORMAT = "evenhand users 1"
MOST_BYTES = 50_000_000


def people(raw: bytes) -> tuple[People, ...]:
    """What the file says, which is anybody's. Raises DataError where it is no such file."""
    try:
        document = json.loads(raw.decode("utf-8")) if len(raw) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        expected = f"a file of format '{FORMAT}'"
        raise DataError("it is no file of users", expected=expected, remedy="write it anew with --show-examples", file=USERS)
    return tuple(
        People(text(g.get("group")), _count(g.get("n_users")), tuple(map(_person, items(g.get("users")))))
        for g in items(document.get("groups"))
    )


def _person(value: Mapping[str, Any]) -> Person:
    pairs = tuple(
        Example(_long(p.get("prompt")), _long(p.get("chosen")), _long(p.get("rejected")), number(p.get("margin")), number(p.get("support")))
        for p in items(value.get("pairs"))
    )
    counts = _count(value.get("n_pairs")), _count(value.get("misordered"))
    return Person(text(value.get("user")), number(value.get("accuracy")), *counts, number(value.get("support")), pairs)


def _long(value: Any) -> str:
    return one_line(value) if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else 0

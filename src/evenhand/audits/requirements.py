"""Requirements as people write them: `gap<=0.05`, `accuracy(minority)>=0.6`, `worst_group>=0.6`, `gain(minority)>=0`."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Literal

from evenhand.core import EvenhandError, Groups, clip

# name → (direction it must have, least and most groups in its brackets, meaning)
QUANTITIES: dict[str, tuple[str, int, int, str]] = {
    "gap": ("<=", 0, 2, "best-served minus worst-served group; gap(a, b): accuracy of a minus accuracy of b"),
    "accuracy": (">=", 0, 1, "accuracy of all users, or of the group in brackets"),
    "worst_group": (">=", 0, 0, "accuracy of the worst-served group"),
    "gain": (">=", 0, 1, "accuracy minus that of the model compared with, for all users or for the group in brackets"),
}
GAP = "accuracy gap, best-served minus worst-served group"  # the heading of a requirement on all groups
EXAMPLES = "'gap<=0.05', 'accuracy(minority)>=0.6', 'worst_group>=0.6', 'gain(minority)>=0'"


@dataclass(frozen=True)
class Expression:
    """quantity(groups) direction threshold, as a fraction of 1: 5 % is 0.05."""

    quantity: str
    groups: tuple[str, ...]
    direction: Literal["<=", ">="]
    threshold: float

    @property
    def name(self) -> str:
        """A short heading for the verdict strip."""
        where = ", ".join(self.groups)
        if self.quantity == "gap":
            return f"accuracy gap, {self.groups[0]} minus {self.groups[1]}" if self.groups else GAP
        if self.quantity == "worst_group":
            return "accuracy of the worst-served group"
        return f"{'gain in accuracy' if self.quantity == 'gain' else 'accuracy'}, {where or 'all users'}"


def parse_requirement(text: str, groups: Groups | None) -> Expression:
    """Reads one requirement. Errors name the nearest known quantity or group. groups: None where they are not known yet, and any name may be one."""
    if not isinstance(text, str):
        raise _error(text, f"it is {type(text).__name__}", f"a text like {EXAMPLES}", "write quantity, <= or >=, and a number")
    operators = list(re.finditer(r"<=|>=|==|=|<|>", text))
    if not operators:
        raise _error(text, "no comparison was found", f"one like {EXAMPLES}", "write quantity, <= or >=, and a number")
    operator = operators[-1]  # group names may hold "=" and "<"
    left, direction, right = text[: operator.start()].strip(), operator.group(), text[operator.end() :].strip()
    name, inside = _call(text, left)
    expected, least, most, meaning = QUANTITIES[name]
    if direction != expected:
        raise _error(text, f"'{name}' stands with '{direction}'", f"'{name}{expected}number'", f"use {expected} ({name} = {meaning})")
    unknown = groups is None and bool(inside)
    named = _groups(text, inside, groups) if inside and groups is not None else ()
    if not unknown and (not least <= len(named) <= most or (name == "gap" and len(named) == 1)):
        wanted = {"gap": "no group or two", "worst_group": "none"}.get(name, "one group or none")
        raise _error(text, f"{len(named)} groups in brackets", f"{wanted} for '{name}'", f"{name} = {meaning}")
    return Expression(name, named, "<=" if direction == "<=" else ">=", _threshold(text, right, -1 if name == "gain" else 0))


def _call(text: str, left: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^()]*?)\s*(?:\((.*)\))?", left, flags=re.DOTALL)
    name, inside = (match.group(1), (match.group(2) or "").strip()) if match else (left, "")
    if name not in QUANTITIES:
        raise _error(
            text, f"unknown quantity '{clip(name)}'", f"one of {', '.join(QUANTITIES)}", _nearest(name, QUANTITIES) or f"see {EXAMPLES}"
        )
    return name, inside


def _groups(text: str, inside: str, groups: Groups) -> tuple[str, ...]:
    """The group or groups in brackets: the whole as one name first, since names may hold commas."""
    if inside in groups.names:
        return (inside,)
    cuts = [i for i, c in enumerate(inside) if c == ","]
    for i in cuts:
        pair = inside[:i].strip(), inside[i + 1 :].strip()
        if pair[0] in groups.names and pair[1] in groups.names:
            return pair
    parts = [p.strip() for p in inside.split(",")]
    unknown = next(p for p in parts if p not in groups.names) if not all(p in groups.names for p in parts) else inside
    raise _error(
        text, f"unknown group '{clip(unknown)}'", f"one of {', '.join(clip(n, 40) for n in groups.names) or 'no group is known'}",
        _nearest(unknown, groups.names) or "name a group of this audit",
    )  # fmt: skip


def _threshold(text: str, right: str, least: int) -> float:
    """A fraction from `least` to 1: a gap that must be negative, or an accuracy that may be, is a slip of the pen."""
    percent = right.endswith("%")
    try:
        value = float(right.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not least <= value <= 1:
        raise _error(
            text,
            f"the threshold '{clip(right)}'",
            f"a number from {least} to 1, or a percentage such as 5%",
            "write 0.05 or 5% for five points",
        )
    return value


def _nearest(word: str, known: object) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5) if isinstance(known, (dict, tuple)) else []
    return f"did you mean '{clip(match[0])}'?" if match else ""


def _error(text: str, found: str, expected: str, remedy: str) -> EvenhandError:
    return EvenhandError(f"Requirement '{clip(text)}': {found}. Expected: {expected}. To do: {remedy}")

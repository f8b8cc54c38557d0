"""What a label says about two or more responses: words ("model_a", "B-is-slightly-better", "A>>B", "tie") or numbers (-3 … 3, 1 … 7, 0/1).

Numbers mean what the whole column holds: a scale is told from all of its values, and one that can be read two ways is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evenhand.core import DataError
from evenhand.data.rows import Fault

TIES = {
    "tie",
    "ties",
    "tied",
    "equal",
    "equally",
    "same",
    "draw",
    "both",
    "bothbad",
    "bothgood",
    "neither",
    "even",
    "indifferent",
    "similar",
}
NONE = {"", "none", "unsure", "skip", "skipped", "unknown", "n", "nan", "null", "unclear"}
SIDES = {"left": 0, "first": 0, "right": 1, "second": 1, "third": 2, "fourth": 3}
GRADES = {"slightly": 1.0, "marginally": 1.0, "somewhat": 1.0, "bit": 1.0, "little": 1.0, "clearly": 3.0, "much": 3.0, "significantly": 3.0,
          "strongly": 3.0, "far": 3.0, "definitely": 3.0, "greatly": 3.0}  # fmt: skip
WORDS = re.compile(r"[a-z]+|\d+|[<>]+|=+")

UNKNOWN = Fault(
    "the label names none of the responses", "which response is better (model_a, B, left, response-2, 1 …), or tie", column="label"
)
NO_CHOICE = Fault("nobody chose (the label is empty, or says skipped or unsure)", "a choice or a tie", set_aside=True)


@dataclass(frozen=True)
class Choice:
    """best: the number of the better response, -1 = a tie. strength: 1 slightly, 2 better, 3 much better; a bare label is 1, a tie 0."""

    best: int
    strength: float


TIE = Choice(-1, 0.0)


@dataclass(frozen=True)
class Scale:
    """How numbers are read. base: number of the first response where labels are indices, None: a scale around `middle`, low = first better."""

    base: float | None = 0.0
    middle: float = 0.0
    slots: tuple[float, ...] = ()  # where the labels are the responses' own numbers
    step: float = 1.0  # of a scale around the middle, the distance that is strength 1
    note: str = ""

    def choice(self, value: float) -> Choice | None:
        if self.base is None:
            return TIE if value == self.middle else Choice(int(value > self.middle), abs(value - self.middle) / self.step)
        if value in self.slots:
            return Choice(self.slots.index(value), 1.0)
        return (
            Choice(int(value - self.base), 1.0)
            if not self.slots and value == int(value) >= self.base
            else TIE
            if self.slots and value == 0
            else None
        )


def scale_of(values: Iterable[float], slots: Sequence[str], names: Sequence[str]) -> Scale:
    """The scale of all numeric labels of a column. slots: how the responses are numbered; names: their columns, for the note.

    Raises DataError where the numbers can be read in two ways.
    """
    distinct = sorted(set(values))
    if not distinct:
        return Scale()
    low, high, k = distinct[0], distinct[-1], len(slots)
    whole = all(v == int(v) for v in distinct)
    if (
        k == 2 and names[0].lower().startswith("human_ref") and set(distinct) <= {0.0, 1.0}
    ):  # SHP: the label says whether the first is preferred
        return Scale(0.0, slots=(1.0, 0.0), note=f"label 1 = {names[0]}, 0 = {names[1]}")
    if k == 2 and 1.5 in distinct and set(distinct) <= {1.0, 1.5, 2.0}:  # 0, 0.5 and 1 may be what the first response won, too
        return Scale(None, 1.5, step=0.5, note=f"label 1 = {names[0]}, 2 = {names[1]}, 1.5 = tie")
    slot_numbers = tuple(float(s) for s in slots) if all(s.isdigit() for s in slots) else ()
    if slot_numbers and set(distinct) <= {*slot_numbers, 0.0} and high > 0 and not (0.0 in distinct and set(distinct) <= {0.0, 1.0}):
        return Scale(0.0, slots=slot_numbers, note=f"labels are the numbers of the responses ({', '.join(names)})")
    if whole and low >= 0 and high <= k - 1:
        return Scale(0.0, note=f"label 0 = {names[0]}, 1 = {names[1]}")
    if whole and low >= 1 and high <= k:
        return Scale(1.0, note=f"label 1 = {names[0]}, 2 = {names[1]}")
    if k == 2 and low < 0:
        return Scale(None, 0.0, note=f"a label below 0 = {names[0]} is better, above 0 = {names[1]}, 0 = tie")
    if k == 2 and whole and low >= 1 and high in (3, 5, 7, 9):
        return Scale(
            None, (high + 1) / 2, note=f"labels 1 to {high:g}: below {(high + 1) / 2:g} = {names[0]} is better, above = {names[1]}"
        )
    shown = ", ".join(f"{v:g}" for v in distinct[:8]) + (", …" if len(distinct) > 8 else "")
    raise DataError(
        f"the labels {shown} can be read in more than one way", expected="indices of the responses, -3 to 3 (below 0: the first is better), or "
        "1 to 3, 5, 7 or 9", remedy=f"write {names[0]}, {names[1]} or tie into the column", column="label",
    )  # fmt: skip


def number(value: object) -> float | None:
    """A label that is a number, or a text of one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def read(value: object, slots: Sequence[str], scale: Scale, *named: Sequence[object]) -> Choice | Fault:
    """What one label says. slots: letters, numbers or sides of the responses in order; named: what else names them in order, where the
    row says it: who wrote them, or the texts themselves."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_CHOICE
    if (as_number := number(value)) is not None:
        choice = scale.choice(as_number)
        return choice if choice is not None and choice.best < len(slots) else UNKNOWN
    if not isinstance(value, str):
        return UNKNOWN
    for those in named:
        if list(those).count(value) == 1:
            return Choice(list(those).index(value), 1.0)
    words = WORDS.findall(value.lower())
    if not words or words[0] in NONE or {"no", "choice"} <= set(words):
        return NO_CHOICE
    if TIES & set(words) or "=" in words or {"no", "preference"} <= set(words):
        return TIE
    return _worded(words, slots)


def _worded(words: Sequence[str], slots: Sequence[str]) -> Choice | Fault:
    places = {s.lower(): i for i, s in enumerate(slots)}
    numbered = {str(i + 1): i for i in range(len(slots))}
    lettered = {chr(ord("a") + i): i for i in range(len(slots))}
    places = {**numbered, **lettered, **{w: i for w, i in SIDES.items() if i < len(slots)}, **places}
    named = [places[w] for w in words if w in places]
    if not named:
        return UNKNOWN
    signs = [w for w in words if w[0] in "<>"]
    worse = "worse" in words or (bool(signs) and signs[0][0] == "<")
    if worse and len(slots) != 2:
        return UNKNOWN
    graded = next((GRADES[w] for w in words if w in GRADES), 2.0 if "better" in words else 1.0)
    return Choice(1 - named[0] if worse else named[0], float(len(signs[0])) if signs else graded)

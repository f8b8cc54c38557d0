"""Where labels of points stand: they cover no marker, line, frame or other label, at the end of a thin pointer if need be. Without such a place
there is no label: marker and legend say what a point is, and the tables have all names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import cos, hypot, pi, sin

from evenhand.report.figures import XY, Side, apart, columns  # XY: pixels from the upper left corner

Box = tuple[float, float, float, float]  # left, top, right, bottom
LONGEST, LINE = 28, 13.0  # columns of a label; pixels of a line of text
CLEAR = 2.0  # pixels between a label and a line
SAME = 4.0  # pixels within which nobody could tell two points apart


@dataclass(frozen=True)
class Label:
    at: XY
    text: str
    colour: str
    is_bold: bool = False


@dataclass(frozen=True)
class Placed:
    """pointer: from the point to its label, where the two do not touch."""

    label: Label
    box: Box
    side: Side  # "left": the text begins at the box's left edge; "right", "center"
    pointer: tuple[XY, XY] | None


def place(labels: Sequence[Label], marks: Sequence[Box], paths: Iterable[Sequence[XY]], frame: Box) -> list[Placed]:
    """The labels that find a free place within the frame, the first ones first; points at one place share a label."""
    segments = [(a, b) for path in paths for a, b in pairwise(path)]
    out: list[Placed] = []
    for label in _together([x for x in labels if _overlap(around(x.at, 0.5), frame)]):
        boxes = [*marks, *(p.box for p in out)]
        for box, side, pointer in _candidates(label.at, (6.7 if label.is_bold else 6.0) * columns(label.text)):
            inside = box[0] >= frame[0] + 2 and box[2] <= frame[2] and box[1] >= frame[1] and box[3] <= frame[3] - 2
            wider = box[0] - CLEAR, box[1] - CLEAR, box[2] + CLEAR, box[3] + CLEAR
            if not inside or any(_overlap(box, b) for b in boxes) or any(crosses(s, wider) for s in segments):
                continue
            if pointer and any(crosses(pointer, b) for b in boxes if not _overlap(b, around(label.at, 1))):
                continue
            out.append(Placed(label, box, side, pointer))
            segments += [pointer] if pointer else []
            break
    return out


def _together(labels: Sequence[Label]) -> list[Label]:
    groups: list[list[Label]] = []
    shown = apart([x.text for x in labels], LONGEST)
    for label in (replace(x, text=text) for x, text in zip(labels, shown, strict=True)):
        same = next((g for g in groups if hypot(g[0].at[0] - label.at[0], g[0].at[1] - label.at[1]) < SAME), None)
        if same is None:
            groups.append([label])
        else:
            same.append(label)
    return [Label(g[0].at, _names([x.text for x in g]), g[0].colour, g[0].is_bold) for g in groups]


def _names(names: Sequence[str]) -> str:
    both = len(names) == 2 and sum(map(columns, names)) < LONGEST
    return names[0] if len(names) == 1 else f"{names[0]}, {names[1]}" if both else f"{names[0]} and {len(names) - 1} more"


def _candidates(at: XY, wide: float) -> Iterable[tuple[Box, Side, tuple[XY, XY] | None]]:
    """Boxes around a point, the nearest first, all around; a pointer to those that do not touch it."""
    for reach in (8, 12, 18, 28, 40, 56, 76, 100, 130, 160):
        for k in (0, 8, 2, 6, 14, 10, 4, 12, 1, 7, 15, 9, 3, 5, 11, 13):  # sixteenths of a turn: right, left, then between
            dx, dy = cos(k * pi / 8), sin(k * pi / 8)
            x, y = at[0] + reach * dx, at[1] + reach * dy
            side: Side
            left, side = (x, "left") if dx > 0.5 else (x - wide, "right") if dx < -0.5 else (x - wide / 2, "center")
            low = y if dy > 0.5 else y - LINE if dy < -0.5 else y - LINE / 2
            yield (left, low, left + wide, low + LINE), side, ((at, (x, y)) if reach > 18 else None)


def around(at: XY, r: float) -> Box:
    return at[0] - r, at[1] - r, at[0] + r, at[1] + r


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def crosses(segment: tuple[XY, XY], box: Box) -> bool:
    """Whether a straight line runs through a box (Liang & Barsky 1984)."""
    (x, y), (u, v) = segment
    start, end = 0.0, 1.0
    for move, low, high in ((u - x, box[0] - x, box[2] - x), (v - y, box[1] - y, box[3] - y)):
        if abs(move) < 1e-12:
            if low > 0 or high < 0:
                return False
            continue
        near, far = sorted((low / move, high / move))
        start, end = max(start, near), min(end, far)
    return start <= end

"""Intervals of every row of a figure on axes that stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, DOTTED, LEGEND_ROW, MUTED, ORANGE, Axes, Canvas, Limits, draw, flow
from evenhand.report.figures.axes import ends, marks, padded, row_labels, x_ticks
from evenhand.report.numbers import has_value, is_known

MOST_STRIPS = 3  # of a figure
FAR = 2.0  # quartile ranges beyond the quartiles from which on an entry is named at the edge, lest it flatten all others
WIDE_INTERVAL = 3.0  # times the middle one: an interval so wide ends in an arrow at the edge, lest it squeeze the axis
STROKE = "smallest detectable deficit"
DODGE = 0.16  # of a row, between the marks of two series


@dataclass(frozen=True)
class Series:
    """Estimates, one a row, with what they are called in the legend ("" = nothing)."""

    label: str
    estimates: Sequence[Estimate | None]
    filled: bool = True
    marker: str = "o"
    colour: str = BLUE


@dataclass(frozen=True)
class Block:
    """Rows that are compared with each other, and where the band that must hold all of them starts, in the units of their estimates."""

    rows: range
    start: float


@dataclass(frozen=True)
class Strip:
    """One of the axes that stand side by side. scale: from estimates to the axis, 100 for shares; zero: differences, with a line at 0.
    limits: of the axis; where there are none, entries far from the others are named at the edge. bands: shaded, each `band` long.
    level: a dotted line. strokes: short upright ones, one a row. is_moved: the first series becomes the second.
    """

    title: str
    series: Sequence[Series]
    scale: float = 100
    unit: str = ""
    zero: bool = True
    limits: Limits | None = None
    bands: Sequence[Block] = ()
    band: tuple[float, str] = (0.0, "")  # length, and its name in the legend
    level: tuple[float, str] = (float("nan"), "")
    strokes: Sequence[float] = ()
    is_moved: bool = False
    most_ticks: int = 4

    @property
    def is_dodged(self) -> bool:
        """Whether a row holds two estimates that each need room."""
        several = zip(*(s.estimates for s in self.series), strict=True)
        return not self.is_moved and any(sum(e is not None and has_value(e) for e in row) > 1 for row in several)


def strips(name: str, rows: Sequence[str], shown: Sequence[Strip], width: int, notes: Sequence[str] = ()) -> str:
    """Intervals of every row, strips side by side on a page and one above the other on a telephone; notes right of the rows on a page."""
    shown, is_narrow = shown[:MOST_STRIPS], width < 500
    labels = dict.fromkeys(x for s in shown for x in (s.band[1], s.level[1], *(y.label for y in s.series), STROKE * bool(s.strokes)) if x)
    head = 4 + LEGEND_ROW * (1 + flow(list(labels), width)[-1][1]) if labels else 4
    above = 24 if any(s.title for s in shown) else 8
    body = (36 if any(s.is_dodged for s in shown) else 26) * len(rows) + 4
    left, right = (132, 20) if is_narrow else (190, 165 if notes else 20)

    def paint(canvas: Canvas) -> None:
        places = canvas.panes(len(shown), left, right, head, above, 28, 34)
        for i, (strip, place) in enumerate(zip(shown, places, strict=True)):
            near = _near(strip)
            axes = canvas.axes(*place, strip.limits or limits(near, strip.scale, [0.0] if strip.zero else []), (len(rows) - 0.4, -0.6))
            axes.title(strip.title, left=8 if is_narrow else None, longest=int((width - 14 if is_narrow else axes.size[0] + 20) / 6.4))
            _strip(axes, strip, near)
            if i == 0 or is_narrow:
                row_labels(axes, rows)
            if i == len(shown) - 1:
                row_labels(axes, [], notes)

    return draw(name, width, head + (above + body + 28) * (len(shown) if is_narrow else 1), paint)


def _strip(axes: Axes, strip: Strip, near: Sequence[Estimate]) -> None:
    for n, block in enumerate(strip.bands):
        start, rows = strip.scale * block.start, (block.rows[0] - 0.45, block.rows[-1] + 0.45)
        axes.band((start, start + strip.scale * strip.band[0]), rows, "" if n else strip.band[1])
    x_ticks(axes, strip.most_ticks, strip.unit, signed=strip.zero)
    if is_known(strip.level[0]):
        axes.upright(strip.scale * strip.level[0], MUTED, 1, DOTTED, strip.level[1])
    if strip.zero:
        axes.upright(0, MUTED, 1.1)
    if strip.is_moved:
        for y, (a, b) in enumerate(zip(*(s.estimates for s in strip.series), strict=True)):
            axes.line([(strip.scale * e.value, y) for e in (a, b) if e], MUTED, 1.4)
    far: dict[int, list[tuple[float, str]]] = {}
    for series, shift in zip(strip.series, (-DODGE, DODGE) if strip.is_dodged else (0.0, 0.0)):
        at = {y + shift: e for y, e in enumerate(series.estimates) if e and e in near}
        if strip.is_moved:
            at = {y: replace(e, low=float("nan")) for y, e in at.items()}
        if at:
            marks(axes, at, series.label, series.colour, series.marker, series.filled, scale=strip.scale, wide=1.8)
        _cut(axes, at, series.colour, strip.scale)
        for y, e in enumerate(series.estimates):
            if e and has_value(e) and e not in near:
                far.setdefault(y, []).append((strip.scale * e.value, series.colour))
    _beyond(axes, strip, far)
    if strip.strokes:
        axes.dots([(strip.scale * x, y) for y, x in enumerate(strip.strokes) if is_known(x)], "|", ORANGE, 13, label=STROKE)


def _near(strip: Strip) -> list[Estimate]:
    """Entries that are drawn in place: all of few, or where the limits are given."""
    known = [e for s in strip.series for e in s.estimates if e and has_value(e)]
    values = [strip.scale * e.value for e in known]
    if strip.limits or len(values) < 5:
        return known
    first, third = np.quantile(values, (0.25, 0.75))
    most = FAR * max(float(third - first), 0.02 * float(np.abs(values).max()))
    return [e for e, v in zip(known, values, strict=True) if first - most <= v <= third + most]


def limits(estimates: Sequence[Estimate], scale: float, also: Sequence[float]) -> Limits:
    """Room for every value and for all intervals but those far wider than the others, or than the values are apart by far."""
    values, spans = [scale * e.value for e in estimates] + list(also), [s for e in estimates if (s := ends(e, scale))]
    if not values:
        return 0.0, scale
    widths = [b - a for a, b in spans]
    most = min(WIDE_INTERVAL * median(widths), max(6 * (max(values) - min(values)), 0.2 * scale)) if widths else 0.0
    return padded([*values, *(v for a, b in spans if b - a <= most for v in (a, b))], least=0.01 * scale)


def _cut(axes: Axes, at: Mapping[float, Estimate], colour: str, scale: float) -> None:
    """Arrows where intervals go on beyond the edge."""
    low, high = axes.xlim
    spans = {y: span for y, e in at.items() if (span := ends(e, scale))}
    axes.dots([(low, y) for y, (start, _) in spans.items() if start < low], "<", colour, 5)
    axes.dots([(high, y) for y, (_, end) in spans.items() if end > high], ">", colour, 5)


def _beyond(axes: Axes, strip: Strip, far: Mapping[int, Sequence[tuple[float, str]]]) -> None:
    """Entries beyond the edge: arrows, and the values of all series on one line."""
    for y, values in far.items():
        is_left = values[0][0] < sum(axes.xlim) / 2
        edge, marker = (axes.xlim[0], "<") if is_left else (axes.xlim[1], ">")
        axes.dots([(edge, y)], marker, values[0][1], 6)
        texts = (f"{v:+.2g}" if strip.scale == 1 else f"{v:+.0f}" if strip.zero else f"{v:.0f}" for v, _ in values)
        x, base = axes.at(edge, y)
        text = f"{' and '.join(texts)}{strip.unit}".replace("-", "−")
        axes.canvas.text((x + (8 if is_left else -8), base + 3.5), text, side="left" if is_left else "right", size=9.5)

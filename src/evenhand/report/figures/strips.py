"""Figures with a row for every entry, or a line over a hyperparameter: intervals side by side, who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from evenhand.core import Estimate
from evenhand.report.figures import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, Canvas, draw
from evenhand.report.figures.axes import ends, few_ticks, legend, marks, percent_ticks, row_labels
from evenhand.report.numbers import has_value, is_known

MARKS = {  # verdict of the row against the column → marker, colour, filled, size
    "dominates clearly": ("^", BLUE, True, 9), "dominates": ("^", BLUE, False, 9), "trades": ("D", INK, False, 6), "undecided": ("o", GREY, True, 2.5),
    "is dominated": ("v", ORANGE, False, 9), "is dominated clearly": ("v", ORANGE, True, 9),
}  # fmt: skip
FAR = 2.0  # quartile ranges beyond the quartiles from which on an entry is named at the edge, lest it flatten all others
WIDE_INTERVAL = 3.0  # times the middle one: an interval so wide ends in an arrow at the edge, lest it squeeze the axis
MOST_MARKED = 24  # values of a hyperparameter that all have a marker and an interval


@dataclass(frozen=True)
class Series:
    label: str  # in the legend; "" for none
    estimates: Sequence[Estimate | None]  # one a row
    filled: bool = True
    marker: str = "o"
    colour: str = BLUE


@dataclass(frozen=True)
class Strip:
    """One of the axes that stand side by side. scale: from estimates to the axis, 100 for shares; zero: differences, with a line at 0."""

    title: str
    series: Sequence[Series]
    scale: float = 100
    unit: str = ""
    zero: bool = True


def strips(name: str, rows: Sequence[str], shown: Sequence[Strip], width: int) -> str:
    """Intervals of every entry, strips side by side on a page and one above the other on a telephone."""
    shown = shown[:3]
    body, head = 24 * len(rows) + 10, 30 if any(s.label for s in shown[0].series) else 4

    def paint(canvas: Canvas) -> None:
        left, right, gap = (132, 14, 0) if canvas.is_narrow else (200, 14, 34)
        n = 1 if canvas.is_narrow else len(shown)
        each = (canvas.width - left - right - gap * (n - 1)) / n
        for i, strip in enumerate(shown):
            start, top = (left, head + i * (body + 54)) if canvas.is_narrow else (left + i * (each + gap), head)
            axes = canvas.axes(start, canvas.width - start - each, top + 22, canvas.height - top - 22 - body)
            title = canvas.token(strip.title, int((canvas.width - 14 if canvas.is_narrow else each) / 6.4))
            at = -left / each if canvas.is_narrow else 0.0
            axes.text(at, 1 + 3 / body, title, transform=axes.transAxes, va="bottom", color=MUTED, fontsize=11)
            _strip(canvas, axes, strip)
            row_labels(canvas, axes, rows if i == 0 or canvas.is_narrow else [""] * len(rows))
            if i == 0 and head > 4:
                legend(canvas, axes)

    return draw(name, width, head + (len(shown) * (body + 54) if width < 500 else body + 50), paint)


def _strip(canvas: Canvas, axes: Any, strip: Strip) -> None:
    known = [e for s in strip.series for e in s.estimates if e and has_value(e)]
    low, high = _in_place([strip.scale * e.value for e in known])
    near = [e for e in known if low <= strip.scale * e.value <= high]
    axes.set_xlim(*limits(near, strip.scale, [0.0] if strip.zero else []))
    far: dict[int, list[tuple[float, str]]] = {}
    for series, shift in zip(strip.series, (0.0,) if len(strip.series) == 1 else (-0.16, 0.16)):
        at = {y + shift: e for y, e in enumerate(series.estimates) if e and e in near}
        marks(axes, at, series.label, series.colour, series.marker, series.filled, scale=strip.scale, size=6.5, wide=1.8)
        _cut(axes, at, series.colour, strip.scale)
        for y, e in enumerate(series.estimates):
            if e and e in known and e not in near:
                far.setdefault(y, []).append((strip.scale * e.value, series.colour))
    _beyond(axes, strip, far)
    if strip.zero:
        axes.axvline(0, color=MUTED, linewidth=1.1)
    few_ticks(axes.xaxis, canvas, 4, strip.unit, signed=strip.zero)


def limits(estimates: Sequence[Estimate], scale: float, also: Sequence[float]) -> tuple[float, float]:
    """Room for every value and for all intervals but those far wider than the others, or than the values are apart by far."""
    values, spans = [scale * e.value for e in estimates] + list(also), [s for e in estimates if (s := ends(e, scale))]
    if not values:
        return 0.0, scale
    widths = [b - a for a, b in spans]
    most = min(WIDE_INTERVAL * median(widths), max(6 * (max(values) - min(values)), 0.2 * scale)) if widths else 0.0
    reach = [*values, *(v for a, b in spans if b - a <= most for v in (a, b))]
    pad = max(0.08 * (max(reach) - min(reach)), 0.01 * scale)
    return min(reach) - pad, max(reach) + pad


def _cut(axes: Any, at: Mapping[float, Estimate], colour: str, scale: float) -> None:
    """Arrows where intervals go on beyond the edge."""
    low, high = axes.get_xlim()
    for y, (start, end) in ((y, s) for y, e in at.items() if (s := ends(e, scale))):
        for is_cut, x, marker in ((start < low, 0.0, "<"), (end > high, 1.0, ">")):
            if is_cut:
                axes.plot([x], [y], marker, color=colour, markersize=5, transform=axes.get_yaxis_transform(), clip_on=False)


def _in_place(values: Sequence[float]) -> tuple[float, float]:
    """Between which values entries are drawn in place."""
    if len(values) < 5:
        return -np.inf, np.inf
    first, third = np.quantile(values, (0.25, 0.75))
    reach = FAR * max(float(third - first), 0.02 * float(np.abs(values).max()))
    return float(first) - reach, float(third) + reach


def _beyond(axes: Any, strip: Strip, far: Mapping[int, Sequence[tuple[float, str]]]) -> None:
    """Entries beyond the edge: arrows, and the values of all series on one line."""
    across, middle = axes.get_yaxis_transform(), float(np.mean(axes.get_xlim()))
    for y, values in far.items():
        is_left = values[0][0] < middle
        x, text_x, side, marker = (0.0, 0.03, "left", "<") if is_left else (1.0, 0.97, "right", ">")
        for _, colour in values:
            axes.plot([x], [y], marker, color=colour, markersize=6, transform=across, clip_on=False)
        texts = (f"{v:+.2g}" if strip.scale == 1 else f"{v:+.0f}" if strip.zero else f"{v:.0f}" for v, _ in values)
        look = {"va": "center_baseline", "ha": side, "color": MUTED, "fontsize": 9.5}
        axes.text(text_x, y, f"{' and '.join(texts)}{strip.unit}".replace("-", "−"), transform=across, **look)


def matrix(
    names: Sequence[str], rows: Sequence[int], columns: Sequence[int], verdicts: Mapping[tuple[int, int], str], marked: int, width: int
) -> str:
    """The verdict of each row against each column, a sign each. rows, columns, marked: places in `names`, which number them; verdicts: (row,
    column) → words.
    """
    seen = [v for v in MARKS if v in {verdicts.get((r, c)) for r in rows for c in columns}]
    head = 30 + 18 * (len(seen) + 1) // 2 if width < 500 else 62

    def paint(canvas: Canvas) -> None:
        left, most = (132, 30) if canvas.is_narrow else (230, 40)
        across = min(canvas.width - left - 8, most * len(columns))
        axes = canvas.axes(left, canvas.width - left - across, head, 8)
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        for y, r in enumerate(rows):
            if r == marked:
                axes.axhspan(y - 0.5, y + 0.5, facecolor=BAND, linewidth=0)
            axes.plot([-0.5, len(columns) - 0.5], [y + 0.5] * 2, color=GREY, linewidth=0.5, alpha=0.4)
        for verdict in seen:
            marker, colour, filled, size = MARKS[verdict]
            at = [(x, y) for y, r in enumerate(rows) for x, c in enumerate(columns) if verdicts.get((r, c)) == verdict]
            size = size * 0.72 if across / len(columns) < 16 and size > 3 else size
            look = {"color": colour, "markerfacecolor": colour if filled else PAPER, "markersize": size, "markeredgewidth": 1.5}
            axes.plot(*zip(*at), marker, linestyle="none", label=verdict, clip_on=False, **look)
        row_labels(canvas, axes, [f"{r + 1}  {names[r]}" for r in rows], longest=30)
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(-0.5, len(columns) - 0.5))
        axes.set_xticks(range(len(columns)), [str(c + 1) for c in columns])
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", labelsize=8.5 if canvas.is_narrow and len(columns) > 8 else 11, pad=3)
        legend(canvas, axes)

    return draw("pairwise", width, head + 16 + 25 * len(rows), paint)


@dataclass(frozen=True)
class Line:
    """Accuracy over the values of a hyperparameter, for one group."""

    title: str
    selection: Sequence[Estimate]  # one a value
    held_out: Sequence[Estimate]
    reference: Estimate | None  # of the reference, on test pairs


def lines(name: str, values: Sequence[str], shown: Sequence[Line], label: str, width: int) -> str:
    """A small panel a group: dashed on validation pairs, solid on test pairs."""
    shown, is_narrow, high = shown[:3], width < 500, 190

    def paint(canvas: Canvas) -> None:
        each = canvas.width - 62 if is_narrow else (canvas.width - 50 * len(shown) - 12) / len(shown)
        for i, line in enumerate(shown):
            left, top = (50, 54 + i * (high + 62)) if is_narrow else (50 + i * (each + 50), 54)
            axes = canvas.axes(left, canvas.width - left - each, top, canvas.height - top - high)
            axes.text(0, 1.03, canvas.token(line.title, 34), transform=axes.transAxes, va="bottom", color=INK, fontsize=11.5)
            level = [100 * line.reference.value] if line.reference and is_known(line.reference.value) else []
            axes.set_ylim(*limits([e for e in (*line.selection, *line.held_out) if has_value(e)], 100, level))
            looks: tuple[tuple[str, Sequence[Estimate], float, str, Any, bool], ...] = (
                ("validation pairs", line.selection, -0.06, ORANGE, (0, (4, 2)), False), ("test pairs", line.held_out, 0.06, BLUE, "-", True),
            )  # fmt: skip
            for title, estimates, shift, colour, style, filled in looks:
                if len(values) > MOST_MARKED:
                    known = [(x, 100 * e.value, *(ends(e) or (100 * e.value,) * 2)) for x, e in enumerate(estimates) if has_value(e)]
                    x, values_there, low, top_end = zip(*known) if known else ((), (), (), ())
                    axes.plot(x, values_there, color=colour, linestyle=style, linewidth=1.6, label=title)
                    axes.fill_between(x, low, top_end, facecolor=colour, alpha=0.14, linewidth=0)
                else:
                    at = {x + shift: e for x, e in enumerate(estimates)}
                    marks(axes, at, title, colour, filled=filled, upright=True, line=style, size=6.5, wide=1.2)
            for y in level:
                axes.axhline(y, color=MUTED, linewidth=1.1, linestyle=(0, (1, 2)), label="reference, test pairs")
            step = max(1, -(-len(values) // (5 if is_narrow else 8)))
            axes.set_xlim(-0.4, len(values) - 0.6)
            axes.set_xticks(range(0, len(values), step), [canvas.token(v, 8) for v in values[::step]])
            axes.set_xlabel(canvas.token(label, 30))
            percent_ticks(axes.yaxis, canvas, 5)
            if i == 0:
                legend(canvas, axes)

    return draw(name, width, 54 + (len(shown) * (high + 62) - 10 if is_narrow else high + 46), paint)

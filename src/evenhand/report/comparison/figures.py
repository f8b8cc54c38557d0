"""The figures of a comparison or a sweep that are rows: who beats whom, and intervals of every entry side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.report.plots import bounds, few_ticks
from evenhand.report.rowplots import row_labels
from evenhand.report.svg import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, Canvas, draw

Json = dict[str, Any]
MARKS = {  # verdict of the row against the column → marker, colour, filled, size, words of the legend
    "dominates clearly": ("^", BLUE, True, 9, "dominates clearly"),
    "dominates": ("^", BLUE, False, 9, "dominates"),
    "trades": ("D", INK, False, 6, "trades"),
    "undecided": ("o", GREY, True, 2.5, "undecided"),
    "is dominated": ("v", ORANGE, False, 9, "is dominated"),
    "is dominated clearly": ("v", ORANGE, True, 9, "is dominated clearly"),
}


def matrix(
    names: Sequence[str], rows: Sequence[int], columns: Sequence[int], verdicts: Mapping[tuple[str, str], str], marked: str, width: int
) -> str:
    """The verdict of each row against each column, a sign each: places in `names`, which number them. verdicts: (row, column) → words;
    marked: the name that was chosen.
    """
    row = 25

    def paint(canvas: Canvas) -> None:
        left = 130 if canvas.is_narrow else 230
        across = min(canvas.width - left - 8, (30 if canvas.is_narrow else 40) * len(columns))
        axes = canvas.axes(left, canvas.width - left - across, 92 if canvas.is_narrow else 68, 8)
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        for y, r in enumerate(rows):
            if names[r] == marked:
                axes.axhspan(y - 0.5, y + 0.5, facecolor=BAND, linewidth=0)
            axes.plot([-0.5, len(columns) - 0.5], [y + 0.5] * 2, color=GREY, linewidth=0.5, alpha=0.4)
        for verdict, (marker, colour, filled, size, label) in MARKS.items():
            at = [(x, y) for y, a in enumerate(rows) for x, b in enumerate(columns) if verdicts.get((names[a], names[b])) == verdict]
            size = size * 0.72 if canvas.is_narrow and across / len(columns) < 16 and size > 3 else size
            look = {"color": colour, "markerfacecolor": colour if filled else PAPER, "markersize": size, "markeredgewidth": 1.5}
            axes.plot(*(zip(*at) if at else ([], [])), marker, linestyle="none", label=label, clip_on=False, **look)
        labels = [f"{r + 1}  {names[r]}" for r in rows]
        row_labels(canvas, axes, labels, [], 30)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_xticks(range(len(columns)), [str(c + 1) for c in columns])
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", labelsize=8.5 if canvas.is_narrow and len(columns) > 8 else 11, pad=3)
        canvas.figure.legend(
            *axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0, 1), ncols=2 if canvas.is_narrow else 6, labelcolor=MUTED,
            columnspacing=1.0,
        )  # fmt: skip

    return draw("pairwise", width, (108 if width < 500 else 84) + row * len(rows), paint)


@dataclass(frozen=True)
class Series:
    label: str  # in the legend; "" for none
    estimates: Sequence[Json]  # one a row; without a value where there is nothing
    filled: bool = True
    marker: str = "o"
    colour: str = BLUE


@dataclass(frozen=True)
class Strip:
    """One of the axes that stand side by side, with a row for every entry."""

    title: str
    series: Sequence[Series]
    scale: float  # from estimates to the axis: 100 for shares
    unit: str  # " %", " pts" or ""
    zero: bool  # differences: a line at 0, signs before the numbers


MOST_STRIPS = 3
FAR = 2.0  # quartile ranges beyond the quartiles from which on an entry is named at the edge, lest it flatten all others


def strips(name: str, rows: Sequence[str], shown: Sequence[Strip], width: int) -> str:
    """Intervals of every entry, strips side by side on a page and one above the other on a telephone."""
    shown = shown[:MOST_STRIPS]
    labels = [s.label for s in shown[0].series if s.label]
    body, head = 24 * len(rows) + 10, 30 if labels else 4

    def paint(canvas: Canvas) -> None:
        left, right, gap = (130, 14, 0) if canvas.is_narrow else (200, 14, 34)
        each = canvas.width - left - right if canvas.is_narrow else (canvas.width - left - right - gap * (len(shown) - 1)) / len(shown)
        for i, strip in enumerate(shown):
            from_left, top = (left, head + i * (body + 54)) if canvas.is_narrow else (left + i * (each + gap), head)
            axes = canvas.axes(from_left, canvas.width - from_left - each, top + 22, canvas.height - top - 22 - body)
            start = -left / each if canvas.is_narrow else 0.0
            title = canvas.token(strip.title, int((canvas.width - 14 if canvas.is_narrow else each) / 6.4))
            axes.text(start, 1 + 3 / body, title, transform=axes.transAxes, va="bottom", color=MUTED, fontsize=11)
            _strip(canvas, axes, strip)
            row_labels(canvas, axes, list(rows) if i == 0 or canvas.is_narrow else [""] * len(rows), [], 26)
            if i == 0 and labels:
                canvas.figure.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0, 1), ncols=4, labelcolor=MUTED)

    height = head + (len(shown) * (body + 54) if width < 500 else body + 50)
    return draw(name, width, height, paint)


def _strip(canvas: Canvas, axes: Any, strip: Strip) -> None:
    offsets = [0.0] if len(strip.series) == 1 else [-0.16, 0.16]
    placed = [(s, [(y + d, e) for y, e in enumerate(s.estimates) if e["value"] is not None]) for s, d in zip(strip.series, offsets)]
    low, high = _near([strip.scale * e["value"] for _, known in placed for _, e in known])
    ends: list[float] = [0.0] if strip.zero else []
    far = []
    for series, known in placed:
        near = [(y, e) for y, e in known if low <= strip.scale * e["value"] <= high]
        far += [(series, y, strip.scale * e["value"]) for y, e in known if not low <= strip.scale * e["value"] <= high]
        values = [strip.scale * e["value"] for _, e in near]
        spans = [(y, strip.scale * e["low"], strip.scale * e["high"]) for y, e in near if None not in (e["low"], e["high"])]
        if spans:
            axes.hlines(*zip(*spans), color=series.colour, linewidth=1.8)
        look = {
            "color": series.colour,
            "markerfacecolor": series.colour if series.filled else PAPER,
            "markeredgewidth": 1.5,
            "markersize": 6.5,
        }
        axes.plot(values, [y for y, _ in near], series.marker, linestyle="none", label=series.label or None, **look)
        ends += [*values, *(e for _, *span in spans for e in span)]
    if strip.zero:
        axes.axvline(0, color=MUTED, linewidth=1.1)
    if strip.scale == 100:
        axes.set_xlim(*bounds(ends, 2.0, (-100.0, 100.0) if strip.zero else (0.0, 100.0)))
    elif ends:
        pad = 0.08 * (max(ends) - min(ends)) or 0.05
        axes.set_xlim(min(ends) - pad, max(ends) + pad)
    few_ticks(axes.xaxis, canvas, 4)
    axes.xaxis.set_major_formatter(_labelled(strip))
    _beyond(axes, strip, far)


def _near(values: Sequence[float]) -> tuple[float, float]:
    """Where entries lie that are drawn in place."""
    if len(values) < 5:
        return -np.inf, np.inf
    first, third = np.quantile(values, (0.25, 0.75))
    reach = FAR * max(float(third - first), 0.02 * float(np.abs(values).max()))
    return float(first) - reach, float(third) + reach


def _beyond(axes: Any, strip: Strip, far: Sequence[tuple[Series, float, float]]) -> None:
    """Arrows at the edge, with the value; of several series in a row the first."""
    across, middle, rows = axes.get_yaxis_transform(), float(np.mean(axes.get_xlim())), set()
    for series, y, value in far:
        is_left = value < middle
        axes.plot(
            [0.0 if is_left else 1.0], [y], "<" if is_left else ">", color=series.colour, markersize=6, transform=across, clip_on=False
        )
        if round(y) not in rows:
            rows.add(round(y))
            said = f"{value:+.2g}" if strip.scale == 1 else f"{value:+.0f}" if strip.zero else f"{value:.0f}"
            axes.text(
                0.03 if is_left else 0.97, round(y), f"{said}{strip.unit}".replace("-", "−"), transform=across, va="center_baseline",
                ha="left" if is_left else "right", color=MUTED, fontsize=9.5,
            )  # fmt: skip


def _labelled(strip: Strip) -> Callable[[float, int], str]:
    def text(value: float, _: int) -> str:
        sign = "+" if strip.zero and value > 0 else ""
        return f"{sign}{value:g}{strip.unit}".replace("-", "−")

    return text

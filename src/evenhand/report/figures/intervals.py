"""Figures that are rows of intervals: groups and bins, spreads against chance, changes, and rates of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.core import Estimate
from evenhand.report.figures import BAND, BLUE, GREY, MUTED, ORANGE, PAPER, RULE, Canvas, draw
from evenhand.report.figures.axes import (
    bounds,
    counts_note,
    few_ticks,
    legend,
    marks,
    percent_ticks,
    reach,
    row_labels,
)
from evenhand.report.numbers import has_value, is_known

MOST_ROWS = 30  # of a figure; tables and CSV files hold more
ROW, RATE_ROW, DODGE = 27, 38, 0.16  # pixels of a row, of one with two marks, and the part of it between these
SHADED: dict[str, Any] = {"facecolor": BAND, "edgecolor": RULE, "hatch": "////", "linewidth": 0}
DOTTED = (0, (2, 3))


@dataclass(frozen=True)
class Row:
    """is_thin: without enough data to be compared. stroke: the least deficit that could have been seen lies here; nan = not drawn."""

    label: str
    estimate: Estimate
    is_thin: bool = False
    stroke: float = float("nan")


def rows(name: str, shown: Sequence[Row], overall: float, of: str, band: tuple[float, float] | None, width: int) -> str:
    """One row an estimate of a share. overall: the share of all, `of` whom is said. band: the tolerated stretch, from and to."""
    shown = [r for r in shown if has_value(r.estimate)][:MOST_ROWS]

    def paint(canvas: Canvas) -> None:
        head = 58 if canvas.is_narrow and band else 36
        axes = canvas.axes(118 if canvas.is_narrow else 190, 14 if canvas.is_narrow else 165, head, 30)
        if band:
            within = f"within {100 * (band[1] - band[0]):g} points of the best"
            axes.axvspan(100 * band[0], 100 * band[1], label=within, **SHADED)
        if is_known(overall):
            axes.axvline(100 * overall, color=MUTED, linewidth=1, linestyle=DOTTED, label=of)
        if any(not r.is_thin for r in shown):
            marks(axes, {y: r.estimate for y, r in enumerate(shown) if not r.is_thin}, "accuracy, 95 % interval")
        if any(r.is_thin for r in shown):
            marks(axes, {y: r.estimate for y, r in enumerate(shown) if r.is_thin}, "insufficient", GREY, "s", filled=False)
        limits = bounds([*reach(r.estimate for r in shown), *([100 * overall] if is_known(overall) else [])])
        axes.set_xlim(*limits)
        strokes = [(100 * r.stroke, y) for y, r in enumerate(shown) if is_known(r.stroke) and limits[0] <= 100 * r.stroke <= limits[1]]
        if strokes:
            look = {"color": ORANGE, "markersize": 13, "markeredgewidth": 1.8, "linestyle": "none"}
            axes.plot(*zip(*strokes), "|", label="smallest detectable deficit", **look)
        row_labels(canvas, axes, [r.label for r in shown], [counts_note(r.estimate) for r in shown])
        percent_ticks(axes.xaxis, canvas)
        legend(canvas, axes)

    return draw(name, width, (88 if width < 500 and band else 66) + ROW * len(shown), paint)


@dataclass(frozen=True)
class Span:
    """A statistic beside what chance gives: expected, and 95 % from low to high. scale: 100 for points, 1 for a bare number."""

    label: str
    observed: float
    expected: float
    low: float
    high: float
    p_value: float
    scale: float = 100


def spans(name: str, shown: Sequence[Span], width: int) -> str:
    """Each statistic (diamond) over what chance alone gives (bar), on an axis of its own."""
    head = 52 if width < 500 else 34

    def paint(canvas: Canvas) -> None:
        for i, s in enumerate(shown):
            top = head + 58 * i
            axes = canvas.axes(118 if canvas.is_narrow else 190, 40, top, canvas.height - top - 26)
            observed, expected, low, high = (s.scale * v for v in (s.observed, s.expected, s.low, s.high))
            axes.barh([0], [high - low], 0.62, [low], label="95 % of permutations", **SHADED)
            axes.plot([expected], [0], "|", color=MUTED, ms=14, mew=1.8, linestyle="none", label="expected by chance")
            axes.plot([observed], [0], "D", color=ORANGE if s.p_value < 0.05 else BLUE, ms=8, linestyle="none", label="observed")
            seen = observed, low, high
            pad = 0.08 * (max(seen) - min(seen)) or 0.01
            axes.set_xlim(min(seen) - pad, max(seen) + pad)
            row_labels(canvas, axes, [s.label])
            few_ticks(axes.xaxis, canvas, unit=" pts" if s.scale == 100 else "")
            if i == 0:
                legend(canvas, axes)

    return draw(name, width, head + 10 + 58 * len(shown), paint)


@dataclass(frozen=True)
class Moved:
    """A share before and after, with the paired change; before and change are None where nothing was before."""

    label: str
    before: Estimate | None
    after: Estimate
    change: Estimate | None


def changes(name: str, shown: Sequence[Moved], width: int) -> str:
    """Left, accuracy before (hollow) → after (filled); right, the paired difference with its interval."""
    known = [r for r in shown if all(has_value(e) for e in (r.before, r.after, r.change))][:MOST_ROWS]

    def paint(canvas: Canvas) -> None:
        half = (canvas.height - 52) / 2
        places = ((118, 14, 52, half + 30), (118, 14, 52 + half, 30)) if canvas.is_narrow else ((190, 410, 32, 30), (420, 165, 32, 30))
        axes, deltas = (canvas.axes(*p) for p in places)
        before, after = [100 * r.before.value for r in known if r.before], [100 * r.after.value for r in known]
        axes.hlines(range(len(known)), before, after, color=MUTED, linewidth=1.4)
        hollow = {"markerfacecolor": PAPER, "markeredgewidth": 1.8, "markersize": 8, "linestyle": "none"}
        axes.plot(before, range(len(known)), "o", color=ORANGE, label="before", **hollow)
        axes.plot(after, range(len(known)), "o", color=BLUE, markersize=8, linestyle="none", label="after")
        gains = [r.change for r in known if r.change]
        marks(deltas, dict(enumerate(gains)), "difference, 95 % interval", marker="D")
        axes.set_xlim(*bounds([*before, *after]))
        deltas.set_xlim(*bounds([*reach(gains), 0.0], 2.0, (-100.0, 100.0)))
        deltas.axvline(0, color=MUTED, linewidth=1.2)
        labels = [r.label for r in known]
        row_labels(canvas, axes, labels)
        row_labels(canvas, deltas, labels if canvas.is_narrow else [""] * len(known), [counts_note(e) for e in gains])
        percent_ticks(axes.xaxis, canvas, 4)
        few_ticks(deltas.xaxis, canvas, 4, " pts", signed=True)
        legend(canvas, axes, deltas)

    return draw(name, width, 100 + 2 * ROW * len(known) if width < 500 else 64 + ROW * len(known), paint)


@dataclass(frozen=True)
class Block:
    """Rows that are compared with each other, and where the band that must hold all of them starts."""

    rows: range
    start: float


@dataclass(frozen=True)
class Rates:
    """The rates of events under one kind of decision."""

    title: str
    rows: tuple[Moved, ...]
    blocks: tuple[Block, ...]


def rates(name: str, panels: Sequence[Rates], gamma: float, width: int) -> str:
    """Rates before (hollow) and after (filled), a panel a kind of decision on one scale. Band: gamma wide; all rates after lie in it if and
    only if their violation is at most gamma.
    """
    count = len(panels[0].rows)
    of_all = [e for p in panels for r in p.rows for e in (r.before, r.after) if e]
    limits = bounds([*reach(of_all), *(100 * v for p in panels for b in p.blocks for v in (b.start, b.start + gamma))], 10)

    def paint(canvas: Canvas) -> None:
        for place, panel in enumerate(panels):
            axes = _beside(canvas, place, len(panels))
            for n, block in enumerate(panel.blocks):
                label = "_" if n else f"within {100 * gamma:g} points"
                height = block.rows[-1] - block.rows[0] + 0.9
                axes.barh([block.rows[0] - 0.45], [100 * gamma], height, 100 * block.start, align="edge", label=label, **SHADED)
            before = {y - DODGE: r.before for y, r in enumerate(panel.rows) if r.before and has_value(r.before)}
            if before:
                marks(axes, before, "before", ORANGE, filled=False, wide=1.3)
            marks(axes, {y + DODGE: r.after for y, r in enumerate(panel.rows)}, "after")
            axes.set_xlim(*limits)
            is_last = place == len(panels) - 1
            labels = [r.label for r in panel.rows] if place == 0 or canvas.is_narrow else [""] * count
            row_labels(canvas, axes, labels, [counts_note(r.after) for r in panel.rows] if is_last else [])
            axes.set_title(canvas.token(panel.title, 40), loc="left", fontsize=11.5, color=MUTED, pad=7)
            percent_ticks(axes.xaxis, canvas, 4)
            if place == 0:
                legend(canvas, axes)

    return draw(name, width, 60 + 2 * (50 + RATE_ROW * count) if width < 500 else 92 + RATE_ROW * count, paint)


def _beside(canvas: Canvas, place: int, places: int) -> Any:
    """Side by side on a page, one below the other on a telephone."""
    if not canvas.is_narrow:
        left, right, gap = 150, 150, 36
        width = (canvas.width - left - right - gap * (places - 1)) / places
        start = left + place * (width + gap)
        return canvas.axes(start, canvas.width - start - width, 58, 30)
    height = (canvas.height - 44) / places
    return canvas.axes(118, 14, 44 + place * height + 24, (places - 1 - place) * height + 26)

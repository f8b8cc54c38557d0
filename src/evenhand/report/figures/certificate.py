"""Rates of events with the intervals that hold at once, beside the gap that is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from evenhand.core import Estimate
from evenhand.report.figures import BAND, RULE, Canvas, draw
from evenhand.report.figures.axes import counts_note, few_ticks, legend, marks, reach, row_labels

ROW = 27  # pixels


def events(rates: Sequence[Estimate], accepted: tuple[float, float], width: int) -> str:
    """One row an event, named by `Estimate.group`. accepted: a stretch of the axis as long as the largest accepted gap."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(118 if canvas.is_narrow else 190, 20 if canvas.is_narrow else 165, 34, 48)
        low, high = (f(*reach(rates, 1), *accepted) for f in (min, max))
        pad = 0.06 * max(high - low, 0.01)
        axes.set_xlim(low - pad, high + pad)
        axes.axvspan(*accepted, facecolor=BAND, edgecolor=RULE, hatch="////", linewidth=0, label="as wide as gamma")
        marks(axes, dict(enumerate(rates)), "rate", scale=1)
        row_labels(canvas, axes, [e.group for e in rates], [counts_note(e) for e in rates])
        few_ticks(axes.xaxis, canvas, 6)
        axes.set_xlabel("rate")
        legend(canvas, axes)

    return draw("events", width, 90 + ROW * len(rates), paint)

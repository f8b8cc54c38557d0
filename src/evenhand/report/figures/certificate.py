"""Rates of events with the intervals that hold at once, beside the gap that is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from evenhand.core import Estimate
from evenhand.report.plots import few_ticks, legend
from evenhand.report.rowplots import ROW, row_labels
from evenhand.report.svg import BAND, BLUE, RULE, Canvas, draw


def events(rates: Sequence[Estimate], accepted: tuple[float, float], width: int) -> str:
    """One row an event, named by `Estimate.group`. accepted: a stretch of the axis as long as the largest accepted gap."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(118 if canvas.is_narrow else 190, 20 if canvas.is_narrow else 165, 34, 48)
        low, high = (f(*(end for e in rates for end in (e.low, e.high)), *accepted) for f in (min, max))
        pad = 0.06 * max(high - low, 0.01)
        axes.set_xlim(low - pad, high + pad)
        axes.axvspan(*accepted, facecolor=BAND, edgecolor=RULE, hatch="////", linewidth=0, label="as wide as gamma")
        rows = range(len(rates))
        axes.hlines(rows, [e.low for e in rates], [e.high for e in rates], color=BLUE, linewidth=2)
        axes.plot([e.value for e in rates], rows, "o", color=BLUE, markersize=7, linestyle="none", label="rate")
        row_labels(canvas, axes, [e.group for e in rates], [f"{e.n_users:,} users · {e.n_pairs:,} pairs" for e in rates])
        few_ticks(axes.xaxis, canvas, 6)
        axes.set_xlabel("rate")
        legend(canvas, axes)

    return draw("events", width, 90 + ROW * len(rates), paint)

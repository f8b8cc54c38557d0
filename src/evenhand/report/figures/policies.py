"""Gaps with their bound, and rates by group, over β or n on a logarithmic axis. Values are shares of 1, drawn in points and per cent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.core import Estimate
from evenhand.report.figures import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, Canvas, draw
from evenhand.report.figures.axes import LEGEND_ROW, bounds, few_ticks, legend, marks, percent_ticks, reach

LOOKS = (("o", BLUE), ("s", ORANGE), ("^", INK), ("D", GREY), ("v", BLUE), ("P", ORANGE))  # a shape beside every colour
MOST_LINES = len(LOOKS)
TICK = 34  # pixels that a label of the axis needs


@dataclass(frozen=True)
class Axis:
    """The policies of one kind, from the reference on. settings: β falling from inf, or n rising from 1. name: of the figure's ids."""

    name: str
    settings: tuple[float, ...]

    @property
    def is_beta(self) -> bool:
        return math.isinf(self.settings[0])

    @property
    def places(self) -> list[float]:
        """Where each policy stands. β = ∞ stands apart, on the side of ever blunter policies."""
        known = [math.log10(s) for s in self.settings if math.isfinite(s)]
        apart = max(known) + 0.16 * max(max(known) - min(known), 0.3)
        return [math.log10(s) if math.isfinite(s) else apart for s in self.settings]

    def axes(self, canvas: Canvas, head: int) -> Any:
        """Axes under `head` pixels, with as many labels as have room."""
        axes, places = canvas.axes(58, 14, head, 46), self.places
        low, high = min(places), max(places)
        pad = 0.04 * max(high - low, 0.3)
        axes.set_xlim(low - pad, high + pad)
        each = (canvas.width - 72) / (high - low + 2 * pad)
        labelled: dict[float, str] = {}
        for x, setting in zip(places, self.settings, strict=True):
            if all(abs(x - y) * each >= TICK for y in labelled):
                labelled[x] = f"{setting:g}" if math.isfinite(setting) else "∞"
        axes.set_xticks(list(labelled), list(labelled.values()))
        sign, blunt, sharp = ("β", "∞", "smaller") if self.is_beta else ("n", "1", "larger")
        short, long = f"{sign} ({blunt}: reference)", f"{sign}, logarithmic: the {sharp}, the sharper the policy; {blunt} is the reference"
        axes.set_xlabel(short if canvas.is_narrow else long)
        return axes


def highest(measured: Sequence[Estimate]) -> float:
    """Where the axis of gaps ends, in [0, 1]: by what was measured, since a bound may lie far beyond."""
    return min(1.0, max(1.12 * max(reach(measured, 1), default=1.0), 0.1)) + 0.02


def gap(axis: Axis, measured: Sequence[Estimate], bound: Sequence[float], second: Sequence[Estimate], width: int) -> str:
    """Measured gaps with intervals, the bound as far as the axis goes, and the gaps under a second reward, () for none. One entry a policy;
    `second` has none for the reference.
    """

    def paint(canvas: Canvas) -> None:
        axes, places, top = axis.axes(canvas, 52 if canvas.is_narrow else 34), axis.places, 100 * highest(measured)
        marks(axes, dict(zip(places, measured)), "measured, 95 % interval", upright=True, line="-", size=6.5, wide=1.6)
        edge = [100 * b for b in bound]
        axes.fill_between(places, edge, [max(top, 101)] * len(places), facecolor=BAND, linewidth=0, zorder=0.5)
        look = {"markersize": 6, "linestyle": (0, (4, 2)), "color": ORANGE, "markerfacecolor": PAPER, "linewidth": 1.6}
        axes.plot(places, edge, "s", label="bound", **look)
        if second:
            look = {"markersize": 5.5, "linestyle": (0, (1, 2)), "color": MUTED, "markerfacecolor": PAPER, "linewidth": 1.2}
            axes.plot(places[-len(second) :], [100 * e.value for e in second], "D", label="second reward", zorder=4, **look)
        axes.set_ylim(-0.02 * top, top)
        few_ticks(axes.yaxis, canvas, 5)
        axes.set_ylabel("gap, points")
        legend(canvas, axes)

    return draw(f"gap-{axis.name}", width, 290 if width < 500 else 330, paint)


def rates(axis: Axis, groups: Sequence[tuple[str, Sequence[Estimate]]], width: int) -> str:
    """The event's rate in each group, one entry a policy: the first MOST_LINES groups."""
    groups = groups[:MOST_LINES]
    head = LEGEND_ROW * -(-len(groups) // (2 if width < 500 else 4))

    def paint(canvas: Canvas) -> None:
        axes, places = axis.axes(canvas, 14 + head), axis.places
        side = 0.012 * (max(places) - min(places))
        for i, ((name, found), (marker, colour)) in enumerate(zip(groups, LOOKS)):
            at = {x + side * (i - (len(groups) - 1) / 2): e for x, e in zip(places, found, strict=True)}
            label = canvas.token(name, 18 if canvas.is_narrow else 28)
            marks(axes, at, label, colour, marker, upright=True, line="-", size=6.5, wide=1.6)
        axes.set_ylim(*bounds(reach(e for _, found in groups for e in found), 10))
        percent_ticks(axes.yaxis, canvas, 5)
        legend(canvas, axes)

    return draw(f"rates-{axis.name}", width, 260 + head, paint)

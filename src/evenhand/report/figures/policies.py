"""Figures of policies: gaps and rates over β or n, beside what bounds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, DASHED, DOTTED, GREY, INK, LEGEND_ROW, MUTED, ORANGE, PAPER, Axes, Canvas, Limits, draw
from evenhand.report.figures.axes import bounds, marks, padded, reach, x_labels, y_ticks

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

    def axes(self, canvas: Canvas, head: int, heights: Limits) -> Axes:
        """Axes under `head` pixels, with as many labels as have room."""
        axes = canvas.axes(58, 14, head, 46, padded(self.places, 0.04, 0.012), heights)
        labelled: dict[float, str] = {}
        for x, setting in zip(self.places, self.settings, strict=True):
            if all(abs(axes.at(x, 0)[0] - axes.at(y, 0)[0]) >= TICK for y in labelled):
                labelled[x] = f"{setting:g}" if math.isfinite(setting) else "∞"
        x_labels(axes, list(labelled), list(labelled.values()))
        sign, blunt, sharp = ("β", "∞", "smaller") if self.is_beta else ("n", "1", "larger")
        short, long = f"{sign} ({blunt}: reference)", f"{sign}, logarithmic: the {sharp}, the sharper the policy; {blunt} is the reference"
        axes.names(short if canvas.is_narrow else long)
        return axes


def highest(measured: Sequence[Estimate]) -> float:
    """Where the axis of gaps ends, in [0, 1]: by what was measured, since a bound may lie far beyond."""
    return min(1.0, max(1.12 * max(reach(measured, 1), default=1.0), 0.1)) + 0.02


def gap(axis: Axis, measured: Sequence[Estimate], bound: Sequence[float], second: Sequence[Estimate], width: int) -> str:
    """Measured gaps with intervals, the bound as far as the axis goes, and the gaps under a second reward, () for none. One entry a policy;
    `second` has none for the reference. Shares of 1, drawn in points.
    """
    top, places = 100 * highest(measured), axis.places
    edge = [(x, 100 * b) for x, b in zip(places, bound, strict=True)]

    def paint(canvas: Canvas) -> None:
        axes = axis.axes(canvas, 44 if canvas.is_narrow else 28, (-0.02 * top, top))
        axes.area([*edge, (places[-1], max(top, 101)), (places[0], max(top, 101))])
        y_ticks(axes, 5)
        axes.names("", "gap, points")
        axes.line(edge, ORANGE, 1.6, DASHED, label="bound")
        axes.dots(edge, "s", ORANGE, 6, PAPER, label="bound")
        marks(axes, dict(zip(places, measured)), "measured, 95 % interval", upright=True, line="", size=6.5, wide=1.6)
        if second:
            others = [(x, 100 * e.value) for x, e in zip(places[-len(second) :], second, strict=True)]
            axes.line(others, MUTED, 1.2, DOTTED, label="second reward")
            axes.dots(others, "D", MUTED, 5, PAPER, label="second reward")

    return draw(f"gap-{axis.name}", width, 290 if width < 500 else 330, paint)


def rates(axis: Axis, groups: Sequence[tuple[str, Sequence[Estimate]]], width: int) -> str:
    """The event's rate in each group, one entry a policy: the first MOST_LINES groups."""
    groups, places = groups[:MOST_LINES], axis.places
    head, side = LEGEND_ROW * -(-len(groups) // (2 if width < 500 else 4)), 0.012 * (max(places) - min(places))

    def paint(canvas: Canvas) -> None:
        canvas.longest = 18 if canvas.is_narrow else 28
        axes = axis.axes(canvas, 14 + head, bounds(reach(e for _, found in groups for e in found), 10))
        y_ticks(axes, 5, " %")
        for i, ((name, found), (marker, colour)) in enumerate(zip(groups, LOOKS)):
            at = {x + side * (i - (len(groups) - 1) / 2): e for x, e in zip(places, found, strict=True)}
            marks(axes, at, name, colour, marker, upright=True, line="", size=6.5, wide=1.6)

    return draw(f"rates-{axis.name}", width, 260 + head, paint)

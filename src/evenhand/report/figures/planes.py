"""Figures of texts: where runs stand on two measures, and the trace of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, INK, LEGEND_ROW, MUTED, ORANGE, PAPER, XY, Axes, Canvas, draw
from evenhand.report.figures.axes import ends, padded, reach, x_ticks, y_ticks
from evenhand.report.figures.labels import LONGEST, Label, around, place
from evenhand.report.numbers import has_value, is_known

MOST_CROSSES = 8  # runs whose intervals are all drawn; of more, only those of the first and the chosen one
MOST_PANES = 3
MOST_STEPS = 400  # of a trace that are drawn
EDGE = 58  # pixels left of the axes


@dataclass(frozen=True)
class Stand:
    """A run on two measures."""

    name: str
    x: Estimate
    y: Estimate
    is_base: bool = False
    is_chosen: bool = False

    @property
    def look(self) -> tuple[str, str]:
        """Marker and colour."""
        return ("s", INK) if self.is_base else ("D", ORANGE) if self.is_chosen else ("o", BLUE)


@dataclass(frozen=True)
class Plane:
    """Runs on one pair of measures. scales: from estimates to the axes, 100 for shares; unit: of the ticks of y."""

    title: str
    stands: Sequence[Stand]
    scales: tuple[float, float] = (1.0, 1.0)
    unit: str = ""

    def at(self, s: Stand) -> XY:
        return self.scales[0] * s.x.value, self.scales[1] * s.y.value


def planes(name: str, shown: Sequence[Plane], axis_names: tuple[str, str], width: int) -> str:
    """Planes side by side on a page, one above the other on a telephone; crosses are intervals."""
    shown = [p for p in shown if any(has_value(s.x) and has_value(s.y) for s in p.stands)][:MOST_PANES]
    is_narrow = width < 500
    side, head = (210 if is_narrow else 280), LEGEND_ROW + 6

    def paint(canvas: Canvas) -> None:
        for pane, margins in zip(shown, canvas.panes(len(shown), EDGE, 14, head, 26, 48, EDGE + 6), strict=True):
            known = [s for s in pane.stands if has_value(s.x) and has_value(s.y)]
            across, up = pane.scales
            x, y = padded(reach([s.x for s in known], across), 0.1, 0.01 * across), padded(reach([s.y for s in known], up), 0.1, 0.01 * up)
            axes = canvas.axes(*margins, x, y)
            axes.title(pane.title, INK, longest=int((axes.size[0] + EDGE - 8) / 6.4), left=axes.left - EDGE + 8)
            axes.names(*axis_names, longest=36)
            x_ticks(axes, 3 if len(shown) > 1 else 5, "")
            y_ticks(axes, 5, pane.unit)
            if x[0] < 0 < x[1]:
                axes.upright(0, MUTED, 1.1)
            axes.paths.clear()  # labels may cover the grid
            _stands(axes, pane, known)

    return draw(name, width, head + (side + 74) * (len(shown) if is_narrow else 1), paint)


def _stands(axes: Axes, pane: Plane, known: Sequence[Stand]) -> None:
    for label, marker, colour in (("first run", "s", INK), ("chosen", "D", ORANGE), ("other runs", "o", BLUE)):
        if any(s.look == (marker, colour) for s in known):
            axes.dots([], marker, colour, label=label)
    for s in known:
        if len(known) <= MOST_CROSSES or s.is_base or s.is_chosen:
            (x, y), colour = pane.at(s), s.look[1]
            if across := ends(s.x, pane.scales[0]):
                axes.line([(across[0], y), (across[1], y)], colour, 1, alpha=0.6)
            if up := ends(s.y, pane.scales[1]):
                axes.line([(x, up[0]), (x, up[1])], colour, 1, alpha=0.6)
    for s in sorted(known, key=lambda s: s.is_base + 2 * s.is_chosen):
        axes.dots([pane.at(s)], *s.look, size=8)
    labels = [
        Label(axes.at(*pane.at(s)), s.name, s.look[1], s.is_chosen) for s in sorted(known, key=lambda s: not (s.is_base or s.is_chosen))
    ]
    frame = axes.left, axes.top, axes.right, axes.bottom
    for p in place(labels, [around(at, 1 + size / 2) for at, size in axes.marked], axes.paths, frame):
        end = {"left": p.box[0], "right": p.box[2], "center": (p.box[0] + p.box[2]) / 2}[p.side]
        axes.canvas.text((end, p.box[3] - 3), p.label.text, p.label.colour, p.side, 10, LONGEST + 12, p.label.is_bold)
        if p.pointer:
            axes.canvas.path(p.pointer, f"stroke: {MUTED}; stroke-width: 0.6")


def trace(name: str, points: Sequence[tuple[int, float]], width: int) -> str:
    """A loss over steps."""
    known = [(float(step), loss) for step, loss in points if is_known(loss)]
    known = known[:: len(known) // MOST_STEPS + 1]
    x, y = (padded((p[i] for p in known), 0.05, least) for i, least in ((0, 0.5), (1, 0.001)))

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(46, 14, 12, 44, x, y)
        x_ticks(axes, 6, least=1)
        y_ticks(axes, 4)
        axes.names("step", "loss")
        axes.line(known, BLUE)
        axes.dots(known if len(known) <= 40 else [], "o", BLUE, 4, PAPER)

    return draw(name, width, 220, paint)

"""The figures of a comparison or a sweep that have two axes: the frontier, and accuracy over a hyperparameter."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.report.plots import bounds, legend, percent_ticks
from evenhand.report.svg import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, RULE, Canvas, draw

Json = dict[str, Any]
MOST_NAMED = 14  # entries whose front is named in the figure; of more, only the reference, the choice and the knee
SHORT_NAME = 16  # characters; longer names of dominated entries, such as a sweep's settings, would cover the points
LONGEST_NAME = 26  # characters in the figure; the tables have all
EDGE = 62  # pixels left of the frontier's axes
MOST_CROSSES = 24  # entries, or values of a hyperparameter, that all have their intervals drawn


@dataclass(frozen=True)
class Place:
    """An entry on the two accuracies of the frontier, in both splits."""

    name: str
    selection: tuple[Json, Json]  # x, y
    held_out: tuple[Json, Json]
    is_best: bool  # not dominated on validation pairs
    is_best_held_out: bool
    is_reference: bool = False
    is_chosen: bool = False
    is_knee: bool = False

    def at(self, split: str) -> tuple[Json, Json]:
        return self.selection if split == "selection" else self.held_out

    def xy(self, split: str) -> tuple[float, float]:
        x, y = self.at(split)
        return 100 * x["value"], 100 * y["value"]

    @property
    def is_special(self) -> bool:
        return self.is_reference or self.is_chosen or self.is_knee

    @property
    def what(self) -> str:
        """ "reference, chosen", or "" for an entry like all others."""
        told = (("reference", self.is_reference), ("chosen", self.is_chosen), ("knee", self.is_knee))
        return ", ".join(word for word, is_so in told if is_so)

    @property
    def label(self) -> str:
        """The name, clipped, and what the entry is."""
        name = self.name if len(self.name) <= LONGEST_NAME else self.name[: LONGEST_NAME - 1] + "…"
        return f"{name} ({self.what})" if self.what else name

    @property
    def look(self) -> tuple[str, str, float]:
        """Marker, colour, size."""
        if self.is_reference:
            return "s", INK, 7.5
        if self.is_chosen:
            return "D", ORANGE, 8
        return ("o", BLUE, 7.5) if self.is_best else ("o", GREY, 5.5)


def frontier(places: Sequence[Place], axis_names: tuple[str, str], is_plane: bool, width: int) -> str:
    """Panel 8. Left (hollow) where entries were chosen, right (filled) where they are reported; both panels have one scale.

    is_plane: the axes are all the groups there are, so that the front is a staircase and the area won can be shaded.
    """
    windows = _windows(places)
    is_narrow = width < 500
    side = 300 if is_narrow else 340

    def paint(canvas: Canvas) -> None:
        each = canvas.width - EDGE - 12 if is_narrow else (canvas.width - 2 * EDGE - 12) / 2
        for i, (split, title) in enumerate((("selection", "validation pairs: chosen here"), ("held_out", "test pairs: reported here"))):
            left, top = (EDGE, 92 + i * (side + 74)) if is_narrow else (EDGE + i * (each + EDGE), 58)
            axes = canvas.axes(left, canvas.width - left - each, top, canvas.height - top - side)
            axes.text(0, 1.02, title, transform=axes.transAxes, va="bottom", color=INK, fontsize=11.5)
            (x0, x1), (y0, y1) = windows[split]
            axes.set_xlim(x0, x1)
            axes.set_ylim(y0, y1)
            if is_plane:
                _staircase(axes, places, split, (x0, y0))
            _points(axes, places, split)
            _names(canvas, axes, places, split, (each, side))
            for axis, name, set_label in ((axes.xaxis, axis_names[0], axes.set_xlabel), (axes.yaxis, axis_names[1], axes.set_ylabel)):
                percent_ticks(axis, canvas, 5)
                set_label(canvas.token(name, 30))
            if i == 0:
                _key(canvas, is_plane)

    return draw("frontier", width, 2 * (side + 74) + 66 if is_narrow else side + 58 + 44, paint)


def _key(canvas: Canvas, is_plane: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dot(marker: str, colour: str, label: str) -> Any:
        return Line2D(
            [], [], marker=marker, color=colour, markerfacecolor=PAPER, markeredgewidth=1.5, linestyle="none", markersize=7, label=label
        )

    handles = [
        dot("s", INK, "reference"),
        dot("D", ORANGE, "chosen"),
        dot("o", BLUE, "on the front of validation"),
        dot("o", GREY, "behind it"),
    ]
    if is_plane:
        handles.append(Patch(facecolor=BAND, edgecolor=RULE, hatch="////", linewidth=0, label="area won"))
    canvas.figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=2 if canvas.is_narrow else 5, labelcolor=MUTED, columnspacing=1.2
    )


def _windows(places: Sequence[Place]) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Limits of both panels: what matters, and all that lies near it; the same number of points to the pixel in both."""
    out: dict[str, list[tuple[float, float]]] = {}
    for split in ("selection", "held_out"):
        out[split] = []
        for axis in (0, 1):
            core = [p.xy(split)[axis] for p in places if p.is_best or p.is_special or p.is_best_held_out]
            reach = max(max(core) - min(core), 2.0)
            near = [v for p in places if core and min(core) - 1.2 * reach <= (v := p.xy(split)[axis]) <= max(core) + 1.2 * reach]
            low, high = min(near), max(near)
            pad = max(0.16 * (high - low), 0.6)
            out[split].append((low - pad, high + pad))
    for axis in (0, 1):
        span = max(high - low for low, high in (out[s][axis] for s in out))
        for split in out:
            low, high = out[split][axis]
            extra = (span - (high - low)) / 2
            out[split][axis] = (low - extra, high + extra)
    return {split: (limits[0], limits[1]) for split, limits in out.items()}


def _staircase(axes: Any, places: Sequence[Place], split: str, corner: tuple[float, float]) -> None:
    """The non-dominated set, joined by steps, and the area it wins over the reference. On test pairs: of what validation picked."""
    picked = _envelope([p.xy(split) for p in places if p.is_best])
    reference = next((p.xy(split) for p in places if p.is_reference), None)
    if reference:
        won = _envelope([(x, y) for x, y in picked if x > reference[0] and y > reference[1]])
        if won:
            outline = [reference, (reference[0], won[0][1]), *_steps(won), (won[-1][0], reference[1])]
            axes.fill(*zip(*outline), facecolor=BAND, edgecolor=RULE, hatch="////", linewidth=0, zorder=0.5)
    line = [(corner[0], picked[0][1]), *_steps(picked), (picked[-1][0], corner[1])]
    axes.plot(*zip(*line), color=BLUE, linewidth=1.4, zorder=1)
    if split == "held_out":
        own = _envelope([p.xy(split) for p in places if p.is_best_held_out])
        if own and own != picked:
            line = [(corner[0], own[0][1]), *_steps(own), (own[-1][0], corner[1])]
            axes.plot(*zip(*line), color=MUTED, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)


def _envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other exceeds in both, from left to right."""
    out: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (-p[0], -p[1])):
        if not out or y > out[-1][1]:
            out.append((x, y))
    return out[::-1]


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the boundary of what the points dominate."""
    out = [points[0]]
    for x, y in points[1:]:
        out += [(out[-1][0], y), (x, y)]
    return out


def _points(axes: Any, places: Sequence[Place], split: str) -> None:
    reference = next((p for p in places if p.is_reference), None)
    for p in sorted(places, key=lambda p: (p.is_special, p.is_best)):
        marker, colour, size = p.look
        (x, y), order = p.xy(split), 3 + p.is_best + 2 * p.is_special
        if len(places) <= MOST_CROSSES or p.is_best or p.is_special:
            _cross(axes, p.at(split), (x, y), colour, 0.85 if p.is_best or p.is_special else 0.35)
        if split == "held_out" and reference and (p.is_best or p.is_chosen) and not p.is_reference:
            promised = [a + b - c for a, b, c in zip(reference.xy("held_out"), p.xy("selection"), reference.xy("selection"))]
            axes.plot([promised[0], x], [promised[1], y], color=colour, linewidth=1, zorder=2.5)
            axes.plot(
                *([v] for v in promised), marker, color=colour, markerfacecolor=PAPER, markersize=size - 2, markeredgewidth=1.2, zorder=2.6
            )
        face = PAPER if split == "selection" else colour
        axes.plot([x], [y], marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1.6, zorder=order)


def _cross(axes: Any, at: tuple[Json, Json], xy: tuple[float, float], colour: str, alpha: float) -> None:
    across, up = at
    if None not in (across["low"], across["high"]):
        axes.plot((100 * across["low"], 100 * across["high"]), [xy[1]] * 2, color=colour, linewidth=0.9, alpha=alpha, zorder=2)
    if None not in (up["low"], up["high"]):
        axes.plot([xy[0]] * 2, (100 * up["low"], 100 * up["high"]), color=colour, linewidth=0.9, alpha=alpha, zorder=2)


Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels of the axes


def _names(canvas: Canvas, axes: Any, places: Sequence[Place], split: str, size: tuple[float, float]) -> None:
    """Names beside their points, each where it covers nothing; an entry outside is named at the edge it lies beyond."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()

    def pixel(p: Place) -> tuple[float, float]:
        x, y = p.xy(split)
        return size[0] * (x - x0) / (x1 - x0), size[1] * (y - y0) / (y1 - y0)

    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in map(pixel, places)]
    are_few = len(places) <= MOST_NAMED
    shown = [p for p in places if p.is_special or (are_few and (p.is_best or len(p.name) <= SHORT_NAME))]
    for p in sorted(shown, key=lambda p: (not p.is_special, not p.is_best)):
        x, y = pixel(p)
        label, is_out = p.label, not (0 <= x <= size[0] and 0 <= y <= size[1])
        if is_out:
            label = f"{'←' if x < 0 else '→' if x > size[0] else ''}{'↓' if y < 0 else '↑' if y > size[1] else ''} {p.label}"
            x, y = min(max(x, 2), size[0] - 2), min(max(y, 2), size[1] - 2)
        each = 6.2 if p.is_chosen else 5.6
        box = _free(x, y, each * _columns(label), 13.0, taken, size)
        if box is None and p.is_special:  # what it is alone, and over other points if need be, but never over another name
            label = p.what
            box = _free(x, y, each * _columns(label), 13.0, taken[len(places) :], size)
        if box is None:
            continue
        taken.append(box)
        colour = p.look[1] if p.is_special or p.is_best else MUTED
        token = canvas.token(label, 60)
        axes.text(
            (box[0]) / size[0], (box[1] + 2) / size[1], token, transform=axes.transAxes, fontsize=10, color=colour, zorder=8,
            fontweight="bold" if p.is_chosen else "normal",
        )  # fmt: skip


def _columns(label: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label)


def _free(x: float, y: float, wide: float, high: float, taken: Sequence[Box], size: tuple[float, float]) -> Box | None:
    """A box for a label near its point that overlaps no other and stays inside."""
    for reach in (8, 18, 32, 48):
        for dx, dy in ((0, 0.5), (-1, 0.5), (0, -1.2), (-1, -1.2), (-0.5, 0.8), (-0.5, -1.8), (0, -0.5), (-1, -0.5)):
            left = x + dx * wide + (reach if dx == 0 else -reach if dx == -1 else 0)
            low = y + dy * high + (reach - 8 if dy > 0 else 8 - reach if dy < -0.6 else 0)
            box = left, low, left + wide, low + high
            inside = box[0] >= 0 and box[2] <= size[0] and box[1] >= 0 and box[3] <= size[1]
            if inside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                return box
    return None


@dataclass(frozen=True)
class Line:
    """Accuracy over the values of a hyperparameter, for one group."""

    title: str
    selection: Sequence[Json]  # one a value
    held_out: Sequence[Json]
    reference: Json | None  # of the reference, on test pairs


def hyperparameter(name: str, values: Sequence[str], lines: Sequence[Line], label: str, width: int) -> str:
    """A small panel a group: dashed on validation pairs, solid on test pairs."""
    shown = lines[:3]
    is_narrow = width < 500
    high = 190

    def paint(canvas: Canvas) -> None:
        head = 54
        each = canvas.width - 62 if is_narrow else (canvas.width - 50 * len(shown) - 12) / len(shown)
        for i, line in enumerate(shown):
            left, top = (50, head + i * (high + 62)) if is_narrow else (50 + i * (each + 50), head)
            axes = canvas.axes(left, canvas.width - left - each, top, canvas.height - top - high)
            axes.text(0, 1.03, canvas.token(line.title, 34), transform=axes.transAxes, va="bottom", color=INK, fontsize=11.5)
            ends = []
            looks = (
                (line.selection, -0.06, {"color": ORANGE, "linestyle": (0, (4, 2)), "markerfacecolor": PAPER, "label": "validation pairs"}),
                (line.held_out, 0.06, {"color": BLUE, "linestyle": "-", "markerfacecolor": BLUE, "label": "test pairs"}),
            )
            for estimates, shift, look in looks:
                known = [(x + shift, e) for x, e in enumerate(estimates) if e["value"] is not None]
                is_dense = len(values) > MOST_CROSSES
                marker = "" if is_dense else "o"
                axes.plot(
                    [x for x, _ in known],
                    [100 * e["value"] for _, e in known],
                    marker=marker,
                    markersize=6.5,
                    markeredgewidth=1.5,
                    linewidth=1.6,
                    **look,
                )
                spans = [(x, 100 * e["low"], 100 * e["high"]) for x, e in known if None not in (e["low"], e["high"])]
                if spans and is_dense:
                    axes.fill_between(*zip(*spans), facecolor=look["color"], alpha=0.14, linewidth=0)
                elif spans:
                    axes.vlines(*zip(*spans), color=look["color"], linewidth=1.2, alpha=0.8)
                ends += [100 * e["value"] for _, e in known] + [v for _, *span in spans for v in span]
            if line.reference and line.reference["value"] is not None:
                level = 100 * line.reference["value"]
                axes.axhline(level, color=MUTED, linewidth=1.1, linestyle=(0, (1, 2)), label="reference, test pairs")
                ends.append(level)
            axes.set_ylim(*bounds(ends, 4.0))
            axes.set_xlim(-0.4, len(values) - 0.6)
            step = max(1, -(-len(values) // (5 if is_narrow else 8)))
            axes.set_xticks(range(0, len(values), step), [canvas.token(v, 8) for v in values[::step]])
            axes.set_xlabel(canvas.token(label, 30))
            percent_ticks(axes.yaxis, canvas, 5)
            if i == 0:
                legend(canvas, axes)

    return draw(name, width, 54 + (len(shown) * (high + 62) if is_narrow else high + 46) - (10 if is_narrow else 0), paint)

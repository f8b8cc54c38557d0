"""The figure of a constraint's frontier: accuracy against violation, on validation pairs and on test pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.report.comparison.curves import Box, _columns, _free
from evenhand.report.plots import bounds, few_ticks, percent_ticks
from evenhand.report.svg import BLUE, INK, MUTED, ORANGE, PAPER, Canvas, draw

Json = dict[str, Any]
MOST_NAMED, MOST_CROSSES, LONGEST_NAME = 14, 16, 22
SPLITS: tuple[tuple[str, str, str, Any], ...] = (
    ("selection", ORANGE, PAPER, (0, (4, 2))),
    ("held_out", BLUE, BLUE, "-"),
)  # colour, face, line
HEAD, SIDE, EDGE = 58, 300, 60  # pixels
SAME = 4.0  # pixels within which two points are one


@dataclass(frozen=True)
class Spot:
    """An entry's violation and accuracy of all users, by split."""

    name: str  # of the entry
    label: str  # in the figure
    violation: Json  # split → estimate
    accuracy: Json
    is_best: bool  # not dominated on validation pairs
    is_reference: bool = False
    is_chosen: bool = False
    is_knee: bool = False

    def xy(self, split: str) -> tuple[float, float]:
        return 100 * self.violation[split]["value"], 100 * self.accuracy[split]["value"]

    @property
    def is_special(self) -> bool:
        return self.is_reference or self.is_chosen or self.is_knee

    @property
    def marker(self) -> tuple[str, float]:
        """Shape and size."""
        return ("D", 8.0) if self.is_chosen else ("s", 7.5) if self.is_reference else ("o", 7.5 if self.is_best else 5.0)

    @property
    def words(self) -> str:
        said = [w for w, told in (("chosen", self.is_chosen), ("knee", self.is_knee)) if told]
        name = self.label if len(self.label) <= LONGEST_NAME else self.label[: LONGEST_NAME - 1] + "…"
        name = "reference" if self.is_reference else name
        return f"{name} ({', '.join(said)})" if said else name


@dataclass(frozen=True)
class Pane:
    """One kind of decision. lines: names of entries that are joined; noise: split → D that noise alone would show, or None."""

    title: str
    spots: Sequence[Spot]
    lines: Sequence[Sequence[str]]
    gamma: float
    noise: Json


Limits = tuple[float, float]


def window(panes: Sequence[Pane]) -> list[tuple[Limits, Limits]]:
    """Limits of violation and accuracy in per cent, those of accuracy the same in all panes."""
    whole = _limits(panes, 1)
    return [(_limits([pane], 0), whole) for pane in panes]


def _limits(panes: Sequence[Pane], axis: int) -> Limits:
    """Room for entries that are joined, special or not dominated and for what is near, of violation (0) or accuracy (1)."""
    spots = [s for pane in panes for s in pane.spots]
    every = [(s, s.xy(split)[axis]) for s in spots for split, *_ in SPLITS]
    joined = {name for pane in panes for line in pane.lines for name in line}
    core = [v for s, v in every if s.is_special or s.is_best or s.name in joined] or [v for _, v in every]
    reach = 1.5 * max(max(core) - min(core), 2.0)
    near = [v for _, v in every if min(core) - reach <= v <= max(core) + reach]
    drawn = [(s.violation, s.accuracy)[axis][split] for s in spots for split, *_ in SPLITS if len(spots) <= MOST_CROSSES * len(panes)]
    spans = [100 * e[k] for e in drawn for k in ("low", "high") if e[k] is not None and min(near) <= 100 * e["value"] <= max(near)]
    ends = [
        *near,
        *(min(max(v, min(near) - reach), max(near) + reach) for v in spans),
    ]  # a wide interval is cut, lest it press points together
    if axis == 1:
        return bounds(ends, 4.0)
    return bounds([0.0, *ends, *(100 * pane.gamma for pane in panes if pane.gamma < 0.5)], 4.0)


def outside(panes: Sequence[Pane]) -> list[str]:
    """Entries that are not in the figure on some split, lest they flatten all others."""
    found: dict[str, None] = {}
    for pane, ((x0, x1), (y0, y1)) in zip(panes, window(panes)):
        for s in pane.spots:
            if not all(x0 <= x <= x1 and y0 <= y <= y1 for x, y in (s.xy(split) for split, *_ in SPLITS)):
                found[s.name] = None
    return list(found)


def tradeoff(name: str, panes: Sequence[Pane], width: int) -> str:
    """Panel 8 of a constraint: a pane a kind of decision. Up and to the left is better."""
    limits, is_narrow = window(panes), width < 500
    head = HEAD + 54 if is_narrow else HEAD + 20

    def paint(canvas: Canvas) -> None:
        each = canvas.width - EDGE - 12 if is_narrow else (canvas.width - EDGE * len(panes) - 12) / len(panes)
        for i, (pane, (across, up)) in enumerate(zip(panes, limits)):
            left, top = (EDGE, head + i * (SIDE + 76)) if is_narrow else (EDGE + i * (each + EDGE), head)
            axes = canvas.axes(left, canvas.width - left - each, top, canvas.height - top - SIDE)
            axes.text(0, 1.02, canvas.token(pane.title, 40), transform=axes.transAxes, va="bottom", color=INK, fontsize=11.5)
            axes.set_xlim(*across)
            axes.set_ylim(*up)
            _bounds(axes, pane)
            _joined(axes, pane)
            _spots(axes, pane)
            _labels(canvas, axes, pane, (each, SIDE))
            few_ticks(axes.xaxis, canvas, 5)
            percent_ticks(axes.yaxis, canvas, 5)
            axes.set_xlabel("violation, points")
            if i == 0 or is_narrow:
                axes.set_ylabel("accuracy, all users")
        _key(canvas, panes)

    return draw(name, width, head + len(panes) * (SIDE + 76) - 22 if is_narrow else head + SIDE + 46, paint)


def _key(canvas: Canvas, panes: Sequence[Pane]) -> None:
    from matplotlib.lines import Line2D

    is_joined = any(pane.lines for pane in panes)
    handles = [
        Line2D(
            [], [], marker="o", color=colour, markerfacecolor=face, markeredgewidth=1.5, linestyle=line if is_joined else "none", markersize=7,
            label="validation pairs" if split == "selection" else "test pairs",
        )
        for split, colour, face, line in SPLITS
    ]  # fmt: skip
    shapes = (("D", "chosen for the constraint", 7, 1.0), ("s", "reference", 7, 1.0), ("o", "behind the front (small)", 4.5, 0.55))
    handles += [
        Line2D([], [], marker=m, color=MUTED, markerfacecolor=PAPER, markeredgewidth=1.5, linestyle="none", markersize=size, label=label, alpha=alpha)
        for m, label, size, alpha in shapes
    ]  # fmt: skip
    handles.append(Line2D([], [], color=INK, linewidth=1.2, label="accepted"))
    if any(v is not None for pane in panes for v in pane.noise.values()):
        handles.append(Line2D([], [], color=MUTED, linewidth=1.4, linestyle=(0, (1, 2)), label="noise alone"))
    columns = 2 if canvas.is_narrow else 4
    canvas.figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, labelcolor=MUTED, columnspacing=1.2)


def _bounds(axes: Any, pane: Pane) -> None:
    """The violation that is accepted, and what noise alone would show on either split."""
    axes.axvline(100 * pane.gamma, color=INK, linewidth=1.2, zorder=1)
    for split, colour, *_ in SPLITS:
        if pane.noise[split] is not None:
            axes.axvline(100 * pane.noise[split], color=colour, linewidth=1.4, linestyle=(0, (1, 2)), zorder=1)


def _joined(axes: Any, pane: Pane) -> None:
    """Lines in the order of gamma; where nothing is joined, the way of each entry from validation to test pairs."""
    by_name = {s.name: s for s in pane.spots}
    for line in pane.lines:
        for split, colour, _, style in SPLITS:
            path = [by_name[n].xy(split) for n in line if n in by_name]
            if len(path) > 1:
                axes.plot(*zip(*path), color=colour, linewidth=1.6, linestyle=style, zorder=2)
    for s in pane.spots if not pane.lines else ():
        axes.plot(*zip(s.xy("selection"), s.xy("held_out")), color=MUTED, linewidth=0.8, alpha=0.6, zorder=1.5)


def _spots(axes: Any, pane: Pane) -> None:
    for s in sorted(pane.spots, key=lambda s: (s.is_special, s.is_best)):
        marker, size = s.marker
        stands_out = s.is_best or s.is_special
        for split, colour, face, _ in SPLITS:
            (x, y), alpha = s.xy(split), 1.0 if stands_out else 0.55
            for e, is_across in ((s.violation[split], True), (s.accuracy[split], False)):
                if None in (e["low"], e["high"]) or (len(pane.spots) > MOST_CROSSES and not stands_out):
                    continue
                ends = (100 * e["low"], 100 * e["high"])
                at = (ends, (y, y)) if is_across else ((x, x), ends)
                axes.plot(*at, color=colour, linewidth=0.9, alpha=0.5 if stands_out else 0.28, zorder=2)
            axes.plot(
                [x],
                [y],
                marker,
                color=colour,
                markerfacecolor=face,
                markersize=size,
                markeredgewidth=1.6,
                alpha=alpha,
                zorder=3 + s.is_special,
            )


def _labels(canvas: Canvas, axes: Any, pane: Pane, size: tuple[float, float]) -> None:
    """Names beside points on test pairs, each where it covers nothing; entries at one place share a label."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()

    def pixel(s: Spot, split: str) -> tuple[float, float]:
        x, y = s.xy(split)
        return size[0] * (x - x0) / (x1 - x0), size[1] * (y - y0) / (y1 - y0)

    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for s in pane.spots for split, *_ in SPLITS for x, y in [pixel(s, split)]]
    shown = [s for s in pane.spots if s.is_special or len(pane.spots) <= MOST_NAMED]
    for place, spots in _together(sorted(shown, key=lambda s: (not s.is_special, not s.is_best)), lambda s: pixel(s, "held_out")):
        if not (0 <= place[0] <= size[0] and 0 <= place[1] <= size[1]):
            continue
        first = spots[0]
        label = ", ".join(s.words for s in spots[:3]) + (f" and {len(spots) - 3} more" if len(spots) > 3 else "")
        wide = (6.2 if first.is_chosen else 5.6) * _columns(label)
        box = _free(*place, wide, 13.0, taken, size)
        if box is None and first.is_special:  # over points if need be, but never over another name
            box = _free(*place, wide, 13.0, taken[2 * len(pane.spots) :], size)
        if box is None:
            continue
        taken.append(box)
        axes.text(
            box[0] / size[0], (box[1] + 2) / size[1], canvas.token(label, 60), transform=axes.transAxes, fontsize=10, zorder=8,
            color=INK if first.is_special else MUTED, fontweight="bold" if first.is_chosen else "normal",
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.8},
        )  # fmt: skip


Pixel = tuple[float, float]


def _together(spots: Sequence[Spot], pixel: Callable[[Spot], Pixel]) -> list[tuple[Pixel, list[Spot]]]:
    """Spots that nobody could tell apart, with their place."""
    out: list[tuple[Pixel, list[Spot]]] = []
    for s in spots:
        x, y = pixel(s)
        near = next((found for (a, b), found in out if abs(a - x) < SAME and abs(b - y) < SAME), None)
        if near is None:
            out.append(((x, y), [s]))
        else:
            near.append(s)
    return out

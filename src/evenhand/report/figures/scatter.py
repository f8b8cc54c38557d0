"""Figures with two axes of estimates: the frontier of two accuracies, and accuracy against the violation of a constraint; in per cent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, DASHED, DOTTED, GREY, INK, LEGEND_ROW, MUTED, ORANGE, PAPER, XY, Axes, Canvas, Limits, draw
from evenhand.report.figures.axes import x_ticks, y_ticks
from evenhand.report.figures.labels import LONGEST, Label, around, place
from evenhand.report.numbers import is_known

Split = Literal["selection", "held_out"]  # validation pairs, where entries are chosen; test pairs, where they are judged
LOOKS: tuple[tuple[Split, str, str, str], ...] = (("selection", ORANGE, PAPER, DASHED), ("held_out", BLUE, "", ""))
TITLES: dict[Split, str] = {"selection": "validation pairs: chosen here", "held_out": "test pairs: reported here"}
MOST_NAMED = 14  # entries whose front is named; of more, only the reference, the choice and the knee
MOST_CROSSES = 16  # entries that all have their intervals drawn; of more, only those of the front
EDGE = 62  # pixels left of the axes


@dataclass(frozen=True)
class Place:
    """An entry on two axes, (x, y) in both splits. is_best: on the front of validation pairs."""

    name: str
    selection: tuple[Estimate, Estimate]
    held_out: tuple[Estimate, Estimate]
    is_best: bool
    is_best_held_out: bool = False
    is_reference: bool = False
    is_chosen: bool = False
    is_knee: bool = False

    def at(self, split: Split) -> tuple[Estimate, Estimate]:
        return self.selection if split == "selection" else self.held_out

    def xy(self, split: Split) -> XY:
        x, y = self.at(split)
        return 100 * x.value, 100 * y.value

    @property
    def is_special(self) -> bool:
        return self.is_reference or self.is_chosen or self.is_knee

    @property
    def marker(self) -> str:
        return "D" if self.is_chosen else "s" if self.is_reference else "o"

    @property
    def colour(self) -> str:
        return ORANGE if self.is_chosen else INK if self.is_reference else BLUE if self.is_best else GREY


@dataclass(frozen=True)
class Bound:
    """One kind of decision of a constraint. lines: names of entries in the order of gamma; gamma: the violation accepted; noise: the violation
    that noise alone would show on validation and on test pairs, nan where nobody knows.
    """

    title: str
    places: Sequence[Place]
    lines: Sequence[Sequence[str]]
    gamma: float
    noise: tuple[float, float]


def _dot(axes: Axes, p: Place, at: XY, colour: str, face: str, smaller: float = 0.0) -> None:
    stands_out = p.is_best or p.is_special
    axes.dots([at], p.marker, colour, (7.5 if stands_out else 5.0) - smaller, face, 1.0 if stands_out else 0.6)


def _line(axes: Axes, path: Sequence[XY], colour: str, width: float = 1.3, dash: str = "", alpha: float = 1.0) -> None:
    if all(is_known(v) for at in path for v in at):
        axes.line(path, colour, width, dash, alpha)


def _cross(axes: Axes, p: Place, split: Split, colour: str, n: int) -> None:
    (x, y), (across, up), stands_out = p.xy(split), p.at(split), p.is_best or p.is_special
    flat, upright = (across, axes.xlim, lambda v: (100 * v, y)), (up, axes.ylim, lambda v: (x, 100 * v))
    for e, (low, high), at in (flat, upright):  # what is wider than the figure says nothing in it
        if (stands_out or n <= MOST_CROSSES) and not (100 * e.low < low and 100 * e.high > high):
            _line(axes, [at(e.low), at(e.high)], colour, 0.9, alpha=0.7 if stands_out else 0.3)


def _raised(places: Sequence[Place]) -> list[Place]:
    """In the order of drawing: what matters lies over the rest."""
    return sorted(places, key=lambda p: 2 * p.is_special + p.is_best)


def frontier(places: Sequence[Place], axis_names: tuple[str, str], is_plane: bool, width: int) -> str:
    """Left hollow on validation pairs, right filled on test pairs, on one scale. is_plane: the axes are all the groups there are, so that the
    front is a staircase and the area won can be shaded.
    """
    base, hopes = next(p for p in places if p.is_reference), promised(places)
    marks = (("reference", "s", INK), ("chosen", "D", ORANGE), ("on the front of validation", "o", BLUE), ("behind it", "o", GREY))

    def paint(axes: Axes, split: Split) -> None:
        for label, marker, colour in marks:
            axes.dots([], marker, colour, face=PAPER, label=label)
        if is_plane:
            _staircase(axes, places, split, base.xy(split))
        kept = hopes if split == "held_out" else {}
        for p in places:
            _cross(axes, p, split, p.colour, len(places))
            if p.name in kept:
                _line(axes, (kept[p.name], p.xy(split)), p.colour, 1.0)
        for p in _raised(places):
            if p.name in kept:
                _dot(axes, p, kept[p.name], p.colour, PAPER, 2)
            _dot(axes, p, p.xy(split), p.colour, PAPER if split == "selection" else "")
        _name(axes, places, split, lambda p: p.colour if p.is_best or p.is_special else MUTED)

    panes = [_Pane(TITLES[split], *limits, partial(paint, split=split)) for split, limits in windows(places).items()]
    return _scatter("frontier", panes, axis_names, 5, width)


def tradeoff(name: str, bound: Bound, width: int) -> str:
    """Accuracy of all users over the violation: hollow and dashed on validation pairs, filled and solid on test pairs."""
    by_name = {p.name: p for p in bound.places}
    marks = (
        ("reference", "s", MUTED, PAPER), ("chosen for the constraint", "D", MUTED, PAPER), ("validation pairs", "o", ORANGE, PAPER),
        ("test pairs", "o", BLUE, ""),
    )  # fmt: skip
    noise = ("noise alone", bound.noise[0], ORANGE, DOTTED), ("noise alone, test", bound.noise[1], BLUE, DOTTED)

    def paint(axes: Axes) -> None:
        for label, marker, colour, face in marks:
            axes.dots([], marker, colour, face=face, label=label)
        for label, x, colour, dash in (("accepted", bound.gamma, INK, ""), *noise):
            if is_known(x) and axes.xlim[0] <= 100 * x <= axes.xlim[1]:
                axes.upright(100 * x, colour, 1.3, dash, label)
        for split, colour, _, dash in LOOKS:
            for line in bound.lines:
                _line(axes, [by_name[n].xy(split) for n in line if n in by_name], colour, 1.6, dash)
            for p in bound.places:
                _cross(axes, p, split, colour, len(bound.places))
        for p in () if bound.lines else bound.places:
            _line(axes, (p.xy("selection"), p.xy("held_out")), MUTED, 0.8, alpha=0.6)
        for p in _raised(bound.places):
            for split, colour, face, _ in LOOKS:
                _dot(axes, p, p.xy(split), colour, face)
        _name(axes, bound.places, "held_out", lambda p: INK if p.is_special else MUTED)

    return _scatter(name, [_Pane(bound.title, *window(bound), paint)], ("violation, points", "accuracy, all users"), 7, width, "")


def window(bound: Bound) -> tuple[Limits, Limits]:
    """Limits of violation and accuracy: entries of both splits that are special or not dominated and what is near, lines too."""
    twice = [*bound.places, *bound.places]
    (low, high), y = (_near(twice, [p.xy(split)[axis] for split, *_ in LOOKS for p in bound.places], []) for axis in (0, 1))
    reach, pad = 0.6 * (high - low), 0.06 * (high - low)
    near = [100 * v for v in (bound.gamma, *bound.noise) if is_known(v) and low - reach <= 100 * v <= high + reach]
    return (max(min([low, *(v - pad for v in near)]), -pad), max([high, *(v + pad for v in near)])), y


def outside(bound: Bound) -> list[str]:
    """Entries, and the violation accepted, that lie beyond the figure of a trade-off."""
    x, y = window(bound)
    accepted = [] if x[0] <= 100 * bound.gamma <= x[1] else [f"what is accepted, {100 * bound.gamma:g} points"]
    return [*_beyond(bound.places, x, y), *accepted]


def _beyond(places: Sequence[Place], x: Limits, y: Limits) -> list[str]:
    return [p.name for p in places if not (x[0] <= p.xy("held_out")[0] <= x[1] and y[0] <= p.xy("held_out")[1] <= y[1])]


def far(places: Sequence[Place]) -> list[str]:
    """Entries that lie beyond the frontier's figure on test pairs."""
    return _beyond(places, *windows(places)["held_out"])


def promised(places: Sequence[Place]) -> dict[str, XY]:
    """Where entries of the front would stand on test pairs if they kept there what they won over the reference on validation pairs."""
    base = next(p for p in places if p.is_reference)
    (x, y), (c, d) = base.xy("held_out"), base.xy("selection")
    some = [p for p in places if (p.is_best or p.is_chosen) and not p.is_reference]
    return {p.name: (x + p.xy("selection")[0] - c, y + p.xy("selection")[1] - d) for p in some}


def windows(places: Sequence[Place]) -> dict[Split, tuple[Limits, Limits]]:
    """Limits of both panes: what matters, what validation promised, and all that lies near; the same number of points to the pixel in both."""
    hopes = list(promised(places).values())
    found = {
        split: [_near(places, [p.xy(split)[axis] for p in places], [h[axis] for h in hopes if split == "held_out"]) for axis in (0, 1)]
        for split in TITLES
    }
    halves = [max(high - low for low, high in (f[axis] for f in found.values())) / 2 for axis in (0, 1)]
    x, y = ({s: (sum(f[axis]) / 2 - halves[axis], sum(f[axis]) / 2 + halves[axis]) for s, f in found.items()} for axis in (0, 1))
    return {split: (x[split], y[split]) for split in TITLES}


def _near(places: Sequence[Place], values: Sequence[float], more: Sequence[float]) -> Limits:
    core = [*(v for p, v in zip(places, values) if p.is_best or p.is_special or p.is_best_held_out), *more] or list(values)
    reach = 1.2 * max(max(core) - min(core), 2.0)
    kept = [*more, *(v for v in values if min(core) - reach <= v <= max(core) + reach)]
    pad = max(0.16 * (max(kept) - min(kept)), 0.6)
    return min(kept) - pad, max(kept) + pad


def _staircase(axes: Axes, places: Sequence[Place], split: Split, base: XY) -> None:
    """The non-dominated set, joined by steps, and the area it wins over the reference. On test pairs: of what validation picked."""
    picked = envelope([p.xy(split) for p in places if p.is_best])
    won = envelope([(x, y) for x, y in picked if x > base[0] and y > base[1]])
    if sum((x - x0) * (y - base[1]) for (x0, _), (x, y) in zip([base, *won], won)) >= 0.05:  # what the title rounds to 0.0 is not shaded
        axes.area([base, (base[0], won[0][1]), *steps(won), (won[-1][0], base[1])], label="area won")
    own = envelope([p.xy(split) for p in places if p.is_best_held_out]) if split == "held_out" else picked
    for front, colour, width, dash in ((picked, BLUE, 1.4, ""), (own if own != picked else [], MUTED, 1.1, DOTTED)):
        if front:
            _line(axes, [(axes.xlim[0], front[0][1]), *steps(front), (front[-1][0], axes.ylim[0])], colour, width, dash)


def envelope(points: Iterable[XY]) -> list[XY]:
    """The points that no other exceeds in both, from left to right."""
    out: list[XY] = []
    for x, y in sorted(points, key=lambda p: (-p[0], -p[1])):
        if not out or y > out[-1][1]:
            out.append((x, y))
    return out[::-1]


def steps(points: Sequence[XY]) -> list[XY]:
    """Corners of the boundary of what the points dominate."""
    return [points[0], *(corner for a, b in zip(points, points[1:]) for corner in ((a[0], b[1]), b))]  # noqa: RUF007


@dataclass(frozen=True)
class _Pane:
    title: str
    x: Limits
    y: Limits
    paint: Callable[[Axes], None]


def _scatter(name: str, panes: Sequence[_Pane], axis_names: tuple[str, str], labels: int, width: int, unit: str = " %") -> str:
    """Panes side by side on a page, one above the other on a telephone. labels: how many the legend may have."""
    is_narrow = width < 500
    side, head = (236, LEGEND_ROW * ((labels + 1) // 2)) if is_narrow else (330, 36)

    def paint(canvas: Canvas) -> None:
        for pane, margins in zip(panes, canvas.panes(len(panes), EDGE, 12, head, 26, 46, EDGE + 8), strict=True):
            axes = canvas.axes(*margins, pane.x, pane.y)
            axes.title(pane.title, INK)
            axes.names(*axis_names, longest=34)
            x_ticks(axes, 5, unit)
            y_ticks(axes, 5, " %")
            axes.paths.clear()  # labels may cover the grid
            pane.paint(axes)

    return draw(name, width, head + (len(panes) if is_narrow else 1) * (side + 72), paint)


def _name(axes: Axes, places: Sequence[Place], split: Split, colour: Callable[[Place], str]) -> None:
    """Labels where they find a place, in the order of what matters; of many entries of the special ones alone."""
    named = [p for p in places if p.is_special or len(places) <= MOST_NAMED]
    named.sort(key=lambda p: (not p.is_chosen, not p.is_special, not p.is_best))
    labels = [Label(axes.at(*p.xy(split)), p.name, colour(p), p.is_chosen) for p in named]
    frame = axes.left, axes.top, axes.right, axes.bottom
    for x in place(labels, [around(at, 1 + size / 2) for at, size in axes.marked], axes.paths, frame):
        end = {"left": x.box[0], "right": x.box[2], "center": (x.box[0] + x.box[2]) / 2}[x.side]
        axes.canvas.text((end, x.box[3] - 3), x.label.text, x.label.colour, x.side, 10, LONGEST + 12, x.label.is_bold)
        if x.pointer:
            axes.canvas.path(x.pointer, f"stroke: {MUTED}; stroke-width: 0.6")

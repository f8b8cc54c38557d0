"""Figures that are lines over an axis: accuracy over support, accuracies of users, training, hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evenhand.audits.findings import FittedConstraints, SupportBin
from evenhand.core import Estimate
from evenhand.report.figures import BLUE, DASHED, DOTTED, GREY, INK, MUTED, ORANGE, Axes, Canvas, draw
from evenhand.report.figures.axes import bounds, ends, marks, padded, reach, x_labels, x_ticks, y_ticks
from evenhand.report.figures.strips import limits
from evenhand.report.numbers import has_value, is_known

MOST_DOTS = 500  # users drawn one by one
MOST_MARKED = 24  # values of a hyperparameter that all have a marker and an interval
Points = Sequence[tuple[float, float]]


def support(bins: Sequence[SupportBin], users: Points, line: Points, overall: Estimate, is_trend: bool, width: int) -> str:
    """The signature plot: per-user accuracy against preference support; flat = even-handed. The isotonic line is drawn where there is a
    trend: a monotone line climbs through noise as well.
    """
    shown = [b for b in bins if has_value(b.accuracy)]
    every = max(1, -(-len(users) // MOST_DOTS))  # every k-th user where they are many
    dots, fit = ([(100 * x, 100 * y) for x, y in of if is_known(x) and is_known(y)] for of in (users[::every], line if is_trend else ()))
    seen = sorted(y for _, y in dots)
    cut = len(seen) // 100  # a few outliers must not flatten the finding
    heights = bounds([*seen[cut : len(seen) - cut], *reach(b.accuracy for b in shown), *(y for _, y in fit)], 10)
    places = padded([*(x for x, _ in (*dots, *fit)), *(100 * x for b in shown for x in (b.low, b.high))], 0.05)

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(46, 12, 44 if canvas.is_narrow else 26, 44, places, heights)
        x_ticks(axes, unit=" %")
        y_ticks(axes, unit=" %")
        _cloud(axes, dots, "one user (shrunken)" if every == 1 else f"one user of {every} (shrunken)")
        if has_value(overall):
            axes.across(100 * overall.value, MUTED, 1, DOTTED, "all users")
        for b in shown:
            axes.line([(100 * x, 100 * b.accuracy.value) for x in (b.low, b.high)], BLUE, 1.2, alpha=0.6)
        marks(axes, {100 * b.mean: b.accuracy for b in shown}, "users of a bin, 95 % interval", upright=True, size=8, wide=2.2)
        if fit:
            axes.line(_stairs(fit), ORANGE, 1.8, label="isotonic fit")
        axes.names("preference support" + ("" if canvas.is_narrow else ": share of the other users who choose alike"))

    return draw("support", width, 300 if width < 500 else 380, paint)


def _cloud(axes: Axes, dots: Points, label: str) -> None:
    """All users as one path of dots: one SVG element whatever their number."""
    places = " ".join(f"M {x:.1f} {y:.1f} h 0" for x, y in (axes.at(*p) for p in dots))
    style = f"stroke: {MUTED}; stroke-width: 3.4; stroke-linecap: round; stroke-opacity: 0.32"
    axes.canvas.shapes.append(f'<path d="{places}"{axes.clip} style="{style}"/>')
    axes.dots([], colour=MUTED, size=2, alpha=0.45, label=label)


def _stairs(points: Points) -> list[tuple[float, float]]:
    """Steps in the middle between points; a corner where the height changes."""
    corners = [points[0]] if points else []
    for (x, y), (u, v) in zip(points, points[1:]):  # noqa: RUF007
        corners += [((x + u) / 2, y), ((x + u) / 2, v)] if v != y else []
    return [*corners, *points[-1:]]


def density(grid: Sequence[float], raw: Sequence[float], shrunken: Sequence[float], width: int) -> str:
    """How accurate the model is for single users; the raw curve is mostly noise and drawn as a ghost."""
    at = [100 * x for x in grid]
    seen = [x for x, r, s in zip(at, raw, shrunken, strict=True) if max(r, s) > 1e-3 * max(shrunken)]

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(16, 16, 44 if canvas.is_narrow else 26, 30, bounds([*seen, 50]), (0, 1.05 * max(*raw, *shrunken)))
        x_ticks(axes, unit=" %")
        curve = list(zip(at, shrunken))
        axes.line(zip(at, raw), GREY, 1.4, DASHED, label="raw")
        axes.area([(at[0], 0), *curve, (at[-1], 0)], BLUE, 0.16)
        axes.line(curve, BLUE, 2.2, label="shrunken towards the mean")
        axes.upright(50, ORANGE, 1.4, DOTTED, "a coin’s accuracy")

    return draw("users", width, 250 if width < 500 else 270, paint)


def _over_epochs(values: Sequence[float], scale: float = 1) -> list[tuple[float, float]]:
    return [(i, scale * v) for i, v in enumerate(values, 1) if is_known(v)]


def _trained(axes: Axes, train: Points, valid: Points) -> None:
    """A curve over epochs on training pairs, solid, and on validation pairs, dashed."""
    x_ticks(axes, 5, least=1)
    y_ticks(axes, 5)
    axes.names("epoch")
    for points, label, colour, dash in ((train, "training", BLUE, ""), (valid, "validation", ORANGE, DASHED)):
        axes.line(points, colour, 1.8, dash, label=label)
        if len(points) == 1:
            axes.dots(points, colour=colour)


def losses(name: str, train: Sequence[float], valid: Sequence[float], kept: int, width: int) -> str:
    """Loss over epochs; kept: the epoch that was, counted from 1."""
    curves = _over_epochs(train), _over_epochs(valid)
    x, y = (padded((p[i] for curve in curves for p in curve), 0.05, least) for i, least in ((0, 0.2), (1, 0.001)))

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(46, 14, 26, 44, x, y)
        _trained(axes, *curves)
        axes.dots([p for p in curves[1] if p[0] == kept], "v", INK, 8, label="kept")

    return draw(name, width, 220, paint)


def multipliers(name: str, fitted: FittedConstraints, width: int) -> str:
    """Violations by epoch with what is allowed; beside them the multipliers, the largest set apart."""
    largest, curves = largest_multiplier(fitted), (_over_epochs(fitted.train_violation, 100), _over_epochs(fitted.valid_violation, 100))
    paths = [_over_epochs([m[j] if j < len(m) else math.nan for m in fitted.multipliers]) for j in range(len(fitted.names))]
    allowed = [100 * fitted.gamma] if is_known(fitted.gamma) else []

    def paint(canvas: Canvas) -> None:
        head, right = 62 if canvas.is_narrow else 40, 14
        places = canvas.panes(2, 46, right, head, 26, 44, 46)
        epochs = padded((x for path in (*curves, *paths) for x, _ in path), 0.05, 0.2)
        heights = [[y for path in of for _, y in path] for of in (curves, paths)]
        axes, other = (
            canvas.axes(*place, epochs, (0, 1.06 * max([*values, *more, 1e-3])))
            for place, values, more in zip(places, heights, (allowed, []), strict=True)
        )
        axes.title("violation, points")
        other.title("multipliers")
        _trained(axes, *curves)
        _trained(other, [], [])
        for y in allowed:
            axes.across(y, INK, 1.1, DOTTED, f"allowed, {y:g} points")
        for each, label in ((axes, "epoch kept"), (other, "")) if fitted.best_epoch else ():
            each.upright(fitted.best_epoch, MUTED, 1, DASHED, label)
        for j in sorted(range(len(paths)), key=lambda j: j == largest):  # the largest is drawn over the others
            look = (BLUE, 2.0, f"largest: {fitted.names[j]}") if j == largest else (GREY, 1.0, "")
            other.line(paths[j], look[0], look[1], alpha=1.0 if look[2] else 0.8, label=look[2])
            if len(paths[j]) == 1:
                other.dots(paths[j], colour=look[0])

    return draw(name, width, 480 if width < 500 else 270, paint)


def largest_multiplier(fitted: FittedConstraints) -> int | None:
    """Which multiplier is the largest in the epoch kept, else in the last one; None where there are none or all are 0."""
    if not fitted.multipliers:
        return None
    at = fitted.best_epoch - 1 if 0 < fitted.best_epoch <= len(fitted.multipliers) else -1
    known = [(m, j) for j, m in enumerate(fitted.multipliers[at][: len(fitted.names)]) if is_known(m) and m > 0]
    return max(known)[1] if known else None


@dataclass(frozen=True)
class Line:
    """Accuracy over the values of a hyperparameter, for one group."""

    title: str
    selection: Sequence[Estimate]  # one a value
    held_out: Sequence[Estimate]
    reference: Estimate | None  # of the reference, on test pairs


def lines(name: str, values: Sequence[str], shown: Sequence[Line], label: str, width: int) -> str:
    """A small panel a group: dashed on validation pairs, solid on test pairs."""
    shown, step = shown[:3], max(1, -(-len(values) // (5 if width < 500 else 8)))
    looks = (("validation pairs", -0.06, ORANGE, DASHED, False), ("test pairs", 0.06, BLUE, "", True))

    def paint(canvas: Canvas) -> None:
        for line, place in zip(shown, canvas.panes(len(shown), 50, 12, 34 if canvas.is_narrow else 26, 26, 46, 50), strict=True):
            level = [100 * line.reference.value] if line.reference and is_known(line.reference.value) else []
            heights = limits([e for e in (*line.selection, *line.held_out) if has_value(e)], 100, level)
            axes = canvas.axes(*place, (-0.4, len(values) - 0.6), heights)
            axes.title(line.title, INK, 34)
            x_labels(axes, range(0, len(values), step), values[::step])
            y_ticks(axes, 5, " %")
            axes.names(label, longest=30)
            for (title, shift, colour, dash, filled), estimates in zip(looks, (line.selection, line.held_out), strict=True):
                if len(values) > MOST_MARKED:
                    _ribbon(axes, estimates, title, colour, dash)
                else:
                    at = {x + shift: e for x, e in enumerate(estimates)}
                    marks(axes, at, title, colour, filled=filled, upright=True, line=dash, size=6.5, wide=1.2)
            for y in level:
                axes.across(y, MUTED, 1.1, DOTTED, "reference, test pairs")

    return draw(name, width, 34 + 262 * len(shown) if width < 500 else 290, paint)


def _ribbon(axes: Axes, estimates: Sequence[Estimate], title: str, colour: str, dash: str) -> None:
    """A line of many values in the area of their intervals."""
    known = [(x, 100 * e.value, *(ends(e) or (100 * e.value,) * 2)) for x, e in enumerate(estimates) if has_value(e)]
    axes.line([(x, y) for x, y, *_ in known], colour, 1.6, dash, label=title)
    if known:
        axes.area([*((x, low) for x, _, low, _ in known), *((x, high) for x, *_, high in reversed(known))], colour, 0.14)

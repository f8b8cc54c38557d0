"""Figures that are curves: accuracy over support, accuracies of users, and how training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenhand.audits.findings import FittedConstraints, SupportBin
from evenhand.core import Estimate
from evenhand.report.figures import BLUE, GREY, INK, MUTED, ORANGE, Canvas, draw
from evenhand.report.figures.axes import bounds, few_ticks, legend, marks, percent_ticks, reach
from evenhand.report.numbers import has_value, is_known

MOST_DOTS = 500  # users drawn one by one
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))
Points = Sequence[tuple[float, float]]


def support(bins: Sequence[SupportBin], users: Points, line: Points, overall: Estimate, is_trend: bool, width: int) -> str:
    """The signature plot: per-user accuracy against preference support; flat = even-handed. Where there is no trend the isotonic line is
    grey and dashed: a monotone line climbs through noise as well.
    """

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(46, 12, 52 if canvas.is_narrow else 32, 44)
        shown = [b for b in bins if has_value(b.accuracy)]
        _dots(axes, users)
        if has_value(overall):
            axes.axhline(100 * overall.value, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), label="all users")
        for b in shown:
            axes.plot((100 * b.low, 100 * b.high), [100 * b.accuracy.value] * 2, color=BLUE, linewidth=1.2, alpha=0.6)
        marks(axes, {100 * b.mean: b.accuracy for b in shown}, "users of a bin, 95 % interval", upright=True, size=8, wide=2.2)
        steps = [(100 * x, 100 * y) for x, y in line if is_known(x) and is_known(y)]
        if steps:
            look: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": DASHED, "label": "isotonic fit (no trend)"}
            look = {"color": ORANGE, "linewidth": 1.8, "label": "isotonic fit"} if is_trend else look
            axes.plot(*zip(*steps), drawstyle="steps-mid", **look)
        seen = sorted(100 * y for _, y in users if is_known(y))
        cut = len(seen) // 100  # a few outliers must not flatten the finding
        axes.set_ylim(*bounds([*seen[cut : len(seen) - cut], *reach(b.accuracy for b in shown), *(y for _, y in steps)], 10))
        axes.set_xlabel("preference support" + ("" if canvas.is_narrow else ": share of the other users who choose alike"))
        percent_ticks(axes.xaxis, canvas)
        percent_ticks(axes.yaxis, canvas)
        legend(canvas, axes)

    return draw("support", width, 300 if width < 500 else 380, paint)


def _dots(axes: Any, users: Points) -> None:
    """All users as one path of dots: one SVG element whatever their number. Every k-th user where they are many."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    step = max(1, -(-len(users) // MOST_DOTS))
    dots = [(100 * x, 100 * y) for x, y in users[::step] if is_known(x) and is_known(y)]
    if not dots:
        return
    corners = [p for x, y in dots for p in ((x, y), (x + 1e-3, y))]
    path = Path(corners, [Path.MOVETO, Path.LINETO] * len(dots))
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=MUTED, linewidth=3.4, capstyle="round", alpha=0.32, zorder=1))
    label = "one user (shrunken)" if step == 1 else f"one user of {step} (shrunken)"
    axes.plot([], [], "o", color=MUTED, alpha=0.45, markersize=3.4, label=label)
    axes.update_datalim(corners)
    axes.autoscale_view()


def density(grid: Sequence[float], raw: Sequence[float], shrunken: Sequence[float], width: int) -> str:
    """How accurate the model is for single users; the raw curve is mostly noise and drawn as a ghost."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(16, 16, 50 if canvas.is_narrow else 30, 30)
        at = [100 * x for x in grid]
        axes.plot(at, raw, color=GREY, linestyle=(0, (4, 3)), linewidth=1.4, label="raw")
        axes.fill_between(at, shrunken, facecolor=BLUE, alpha=0.16, linewidth=0)
        axes.plot(at, shrunken, color=BLUE, linewidth=2.2, label="shrunken towards the mean")
        axes.axvline(50, color=ORANGE, linewidth=1.4, linestyle=DOTTED, label="a coin’s accuracy")
        axes.set_ylim(0, None)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(*bounds([*(x for x, r, s in zip(at, raw, shrunken) if max(r, s) > 1e-3 * max(shrunken)), 50]))
        percent_ticks(axes.xaxis, canvas)
        legend(canvas, axes)

    return draw("users", width, 250 if width < 500 else 270, paint)


def _both(axes: Any, train: Sequence[float], valid: Sequence[float], scale: float = 1) -> None:
    """A curve over epochs on training pairs, solid, and on validation pairs, dashed."""
    for values, label, colour, dash in ((train, "training", BLUE, "-"), (valid, "validation", ORANGE, DASHED)):
        known = [(i, scale * v) for i, v in enumerate(values, 1) if is_known(v)]
        if known:
            marker = "o" if len(known) == 1 else None
            axes.plot(*zip(*known), color=colour, linestyle=dash, linewidth=1.8, label=label, marker=marker)


def losses(name: str, train: Sequence[float], valid: Sequence[float], kept: int, width: int) -> str:
    """Loss over epochs; kept: the epoch that was, counted from 1."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(46, 14, 50 if canvas.is_narrow else 30, 40)
        _both(axes, train, valid)
        if 0 < kept <= len(valid) and is_known(valid[kept - 1]):
            axes.plot([kept], [valid[kept - 1]], "v", color=INK, markersize=8, linestyle="none", label="kept")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend(canvas, axes)

    return draw(name, width, 220, paint)


def multipliers(name: str, fitted: FittedConstraints, width: int) -> str:
    """Violations by epoch with what is allowed; beside them the multipliers, the largest set apart."""
    largest = largest_multiplier(fitted)

    def paint(canvas: Canvas) -> None:
        half = (canvas.height - 74) / 2
        places = ((46, 14, 98, half + 44), (46, 14, 98 + half, 44)) if canvas.is_narrow else ((46, 424, 60, 44), (430, 14, 60, 44))
        axes, other = (canvas.axes(*p) for p in places)
        _both(axes, fitted.train_violation, fitted.valid_violation, 100)
        if is_known(fitted.gamma):
            axes.axhline(100 * fitted.gamma, color=INK, linewidth=1.1, linestyle=DOTTED, label=f"allowed, {100 * fitted.gamma:g} points")
        for j, title in enumerate(fitted.names):
            known = [(i, m[j]) for i, m in enumerate(fitted.multipliers, 1) if j < len(m) and is_known(m[j])]
            look: dict[str, Any] = {"color": GREY, "linewidth": 1, "alpha": 0.8, "zorder": 2}
            if j == largest:
                look = {"color": BLUE, "linewidth": 2, "zorder": 3, "label": canvas.token(f"largest: {title}", 40)}
            if known:
                other.plot(*zip(*known), marker="o" if len(known) == 1 else None, **look)
        for each, title in ((axes, "violation, points"), (other, "multipliers")):
            if fitted.best_epoch:
                label = "epoch kept" if each is axes else None
                each.axvline(fitted.best_epoch, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=label)
            each.set_title(title, loc="left", fontsize=11.5, color=MUTED, pad=7)
            each.set_xlabel("epoch")
            each.set_ylim(0, None)
            few_ticks(each.xaxis, canvas, 5)
            few_ticks(each.yaxis, canvas, 5)
            each.xaxis.get_major_locator().set_params(integer=True)
        legend(canvas, axes, other)

    return draw(name, width, 470 if width < 500 else 260, paint)


def largest_multiplier(fitted: FittedConstraints) -> int | None:
    """Which multiplier is the largest in the epoch kept, else in the last one; None where there are none or all are 0."""
    if not fitted.multipliers:
        return None
    at = fitted.best_epoch - 1 if 0 < fitted.best_epoch <= len(fitted.multipliers) else -1
    known = [(m, j) for j, m in enumerate(fitted.multipliers[at][: len(fitted.names)]) if is_known(m) and m > 0]
    return max(known)[1] if known else None

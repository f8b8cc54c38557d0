"""What plots share: limits, ticks, marks with intervals, and labels of rows.

Estimates of shares are drawn in per cent (scale = 100). Colour is never alone: measured = filled circle, compared = hollow or dashed,
insufficient = hollow grey square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, INK, PAPER, RULE, Axes, apart
from evenhand.report.numbers import FEW, has_value, is_known


def ends(estimate: Estimate, scale: float = 100) -> tuple[float, float] | None:
    """The interval as it is drawn; None where there is none."""
    if not (has_value(estimate) and is_known(estimate.low) and is_known(estimate.high)):
        return None
    return scale * estimate.low, scale * estimate.high


def reach(estimates: Iterable[Estimate | None], scale: float = 100) -> list[float]:
    """Every value and every end of an interval: what limits have to leave room for."""
    known = [e for e in estimates if e and has_value(e)]
    return [v for e in known for v in (scale * e.value, *(ends(e, scale) or ()))]


def bounds(values: Sequence[float], least: float = 4.0, possible: tuple[float, float] = (0.0, 100.0)) -> tuple[float, float]:
    """Limits around values, at least `least` apart, hardly beyond what is possible, as a t interval of few users may be.

    >>> bounds([50.0, 60.0]), bounds([99.0, 100.0])
    ((49.4, 60.6), (97.5, 101.5))
    """
    low, high = (min(values), max(values)) if values else possible
    pad = max(0.06 * (high - low), (least - (high - low)) / 2, 0.5)
    return max(low - pad, possible[0] - 2), min(high + pad, possible[1] + 2)


def padded(values: Iterable[float], share: float = 0.08, least: float = 0.01) -> tuple[float, float]:
    """Limits around values of any unit."""
    seen = list(values) or [0.0, 1.0]
    pad = max(share * (max(seen) - min(seen)), least)
    return min(seen) - pad, max(seen) + pad


def round_numbers(limits: tuple[float, float], most: int, least: float = 0.0) -> list[float]:
    """At most `most` + 1 round numbers within limits, at least `least` apart.

    >>> round_numbers((49.4, 60.6), 4), round_numbers((0.3, 9.8), 3, 1)
    ([50.0, 55.0, 60.0], [5.0])
    """
    low, high = limits
    raw = max((high - low) / most, 1e-12)
    decade = 10.0 ** math.floor(math.log10(raw))
    step = max(next(m for m in (1, 2, 2.5, 5, 10) if m * decade >= raw * (1 - 1e-9)) * decade, least)
    return [round(k * step, 10) + 0.0 for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def x_ticks(axes: Axes, most: int = 7, unit: str = "", signed: bool = False, least: float = 0.0) -> None:
    """Round numbers only, and no more of them than fit, each with its unit."""
    ticks = round_numbers(axes.xlim, 4 if axes.canvas.is_narrow else most, least)
    x_labels(axes, ticks, [_written(v, unit, signed) for v in ticks])


def x_labels(axes: Axes, places: Sequence[float], labels: Sequence[str], lines: bool = True) -> None:
    """Labels under the axes, each with a thin line upwards."""
    for x, label in zip(places, labels):
        if lines:
            axes.line([(x, axes.ylim[0]), (x, axes.ylim[1])], RULE, 0.6, alpha=0.55)
        axes.canvas.text((axes.at(x, axes.ylim[0])[0], axes.bottom + 16), label, side="center", longest=9)
    axes.canvas.path([(axes.left, axes.bottom), (axes.right, axes.bottom)], f"stroke: {RULE}; stroke-width: 0.8")


def y_ticks(axes: Axes, most: int = 7, unit: str = "") -> None:
    for y in round_numbers(axes.ylim, min(most, 4) if axes.canvas.is_narrow else most):
        axes.line([(axes.xlim[0], y), (axes.xlim[1], y)], RULE, 0.6, alpha=0.55)
        axes.canvas.text((axes.left - 6, axes.at(axes.xlim[0], y)[1] + 4), _written(y, unit), side="right")
    axes.canvas.path([(axes.left, axes.top), (axes.left, axes.bottom)], f"stroke: {RULE}; stroke-width: 0.8")


def _written(value: float, unit: str, signed: bool = False) -> str:
    return f"{'+' if signed and value > 0 else ''}{value:g}{unit}".replace("-", "−")


def marks(
    axes: Axes, at: Mapping[float, Estimate], label: str = "", colour: str = BLUE, marker: str = "o", filled: bool = True,
    upright: bool = False, scale: float = 100, line: str | None = None, size: float = 7, wide: float = 2,
) -> None:  # fmt: skip
    """Estimates with their intervals, each in its row (upright: at its x); those without a value are left out. line: how the dashes of a
    line that joins the values are, "" for a solid one.
    """

    def turned(place: float, value: float) -> tuple[float, float]:
        return (place, value) if upright else (value, place)

    known = {place: scale * e.value for place, e in at.items() if has_value(e)}
    for place in known:
        if span := ends(at[place], scale):
            axes.line([turned(place, span[0]), turned(place, span[1])], colour, wide)
    points = [turned(*item) for item in known.items()]
    if line is not None:
        axes.line(points, colour, dash=line, label=label)
    axes.dots(points, marker, colour, size, "" if filled else PAPER, label=label)


def row_labels(axes: Axes, labels: Sequence[str], notes: Sequence[str] = (), longest: int = 26) -> None:
    """Labels left of the rows, the first on top, clipped to `longest` columns so that they stay apart, and, on a wide page, notes right of
    them.
    """
    canvas = axes.canvas
    for y, (label, shown) in enumerate(zip(labels, apart(labels, 18 if canvas.is_narrow else longest), strict=True)):
        canvas.text((axes.left - 8, axes.at(0, y)[1] + 4), label, INK, "right", shown=shown)
    for y, note in enumerate(() if canvas.is_narrow else notes):
        canvas.text((axes.right + 10, axes.at(0, y)[1] + 4), note, size=10.5)


def counts_note(estimate: Estimate) -> str:
    """ "48 users · 1,344 pairs", right of a row."""
    return FEW if estimate.suppressed else f"{short(estimate.n_users)} users · {short(estimate.n_pairs)} pairs"


def short(count: int) -> str:
    """A count of at most six characters; the table has all its digits.

    >>> short(99_999), short(123_456), short(2_345_678)
    ('99,999', '123 k', '2.3 M')
    """
    return f"{count:,}" if count < 100_000 else f"{count / 1e3:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"

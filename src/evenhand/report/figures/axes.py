"""What plots share: limits, ticks, marks with intervals, the legend, and labels of rows.

Estimates of shares are drawn in per cent (scale = 100). Colour is never alone: measured = filled circle, compared = hollow or dashed,
insufficient = hollow grey square.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, MUTED, PAPER, Canvas, columns
from evenhand.report.numbers import FEW, has_value, is_known

LEGEND_ROW = 18  # pixels
SIGN, LETTER, APART = 27, 6.0, 14  # pixels of a legend's sign, of a letter at font size 11, and between two entries


def ends(estimate: Estimate, scale: float = 100) -> tuple[float, float] | None:
    """The interval as it is drawn; None where there is none."""
    if not (has_value(estimate) and is_known(estimate.low) and is_known(estimate.high)):
        return None
    return scale * estimate.low, scale * estimate.high


def reach(estimates: Iterable[Estimate], scale: float = 100) -> list[float]:
    """Every value and every end of an interval: what limits have to leave room for."""
    known = [e for e in estimates if has_value(e)]
    return [v for e in known for v in (scale * e.value, *(ends(e, scale) or ()))]


def bounds(values: Sequence[float], least: float = 4.0, possible: tuple[float, float] = (0.0, 100.0)) -> tuple[float, float]:
    """Limits around values, at least `least` apart, hardly beyond what is possible, as a t interval of few users may be.

    >>> bounds([50.0, 60.0]), bounds([99.0, 100.0])
    ((49.4, 60.6), (97.5, 101.5))
    """
    low, high = (min(values), max(values)) if values else possible
    pad = max(0.06 * (high - low), (least - (high - low)) / 2, 0.5)
    return max(low - pad, possible[0] - 2), min(high + pad, possible[1] + 2)


def few_ticks(axis: Any, canvas: Canvas, most: int = 7, unit: str = "", signed: bool = False) -> None:
    """Round numbers only, and no more of them than fit, each with its unit."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(4 if canvas.is_narrow else most, steps=[1, 2, 2.5, 5, 10]))
    if unit or signed:
        axis.set_major_formatter(lambda v, _: f"{'+' if signed and v > 0 else ''}{v:g}{unit}".replace("-", "−"))


def percent_ticks(axis: Any, canvas: Canvas, most: int = 7) -> None:
    few_ticks(axis, canvas, most, " %")


def marks(
    axes: Any, at: Mapping[float, Estimate], label: str = "", colour: str = BLUE, marker: str = "o", filled: bool = True,
    upright: bool = False, scale: float = 100, line: Any = "none", size: float = 7, wide: float = 2,
) -> None:  # fmt: skip
    """Estimates with their intervals, each in its row (upright: at its x); those without a value are left out. line: joins the values.

    One artist for all values and one for all intervals, since artists are slow.
    """
    known = {place: scale * e.value for place, e in at.items() if has_value(e)}
    spans = {place: span for place in known if (span := ends(at[place], scale))}
    if spans:
        (axes.vlines if upright else axes.hlines)(list(spans), *zip(*spans.values()), color=colour, linewidth=wide)
    pairs = (list(known), list(known.values())) if upright else (list(known.values()), list(known))
    look = {"color": colour, "markerfacecolor": colour if filled else PAPER, "markeredgewidth": 1.6, "markersize": size}
    axes.plot(*pairs, marker=marker, linestyle=line, linewidth=1.6, label=label or "_", zorder=3, **look)


def legend(canvas: Canvas, *axes: Any, top: float = 0) -> None:
    """The labels of all axes, each once, in the figure's upper left corner, `top` pixels below its edge, in as many rows as they need."""
    entries = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels())}
    for (x, row), label in zip(_flow(canvas, list(entries)), entries):
        canvas.figure.legend(
            [entries[label]], [label], loc="upper left", labelcolor=MUTED, borderpad=0,
            bbox_to_anchor=(x / canvas.width, 1 - (top + 2 + LEGEND_ROW * row) / canvas.height),
        )  # fmt: skip


def _flow(canvas: Canvas, labels: Sequence[str]) -> list[tuple[float, int]]:
    """Left edge and row of each entry. matplotlib would measure the stand-ins of labels, not the labels."""
    out, x, row = [], 0.0, 0
    for label in labels:
        wide = SIGN + LETTER * columns(canvas.words(label))
        if x and x + wide > canvas.width:
            x, row = 0.0, row + 1
        out.append((x, row))
        x += wide + APART
    return out


def row_labels(canvas: Canvas, axes: Any, labels: Sequence[str], notes: Sequence[str] = (), longest: int = 26) -> None:
    """Labels left of the rows, the first on top, clipped to `longest` columns, and, on a wide page, notes right of them."""
    across, pixel = axes.get_yaxis_transform(), 1 / axes.bbox.width
    for y, label in enumerate(labels):
        token = canvas.token(label, 18 if canvas.is_narrow else longest)
        axes.text(-8 * pixel, y, token, transform=across, ha="right", va="center_baseline", fontsize=11)
    for y, note in enumerate(() if canvas.is_narrow else notes):
        axes.text(1 + 10 * pixel, y, note, transform=across, va="center_baseline", color=MUTED, fontsize=10.5)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def counts_note(estimate: Estimate) -> str:
    """ "48 users · 1,344 pairs", right of a row."""
    return FEW if estimate.suppressed else f"{short(estimate.n_users)} users · {short(estimate.n_pairs)} pairs"


def short(count: int) -> str:
    """A count of at most six characters; the table has all its digits.

    >>> short(99_999), short(123_456), short(2_345_678)
    ('99,999', '123 k', '2.3 M')
    """
    return f"{count:,}" if count < 100_000 else f"{count / 1e3:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"

"""Figures with a row for every entry: groups, changes and rates of events with their intervals; spreads against chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, GREY, MUTED, ORANGE, Canvas, Limits, draw
from evenhand.report.figures.axes import bounds, counts_note, padded, reach, row_labels, x_ticks
from evenhand.report.figures.strips import Block, Series, Strip, strips
from evenhand.report.numbers import has_value, is_known

MOST_ROWS = 30  # of a figure; tables and CSV files hold more


@dataclass(frozen=True)
class Row:
    """is_thin: without enough data to be compared. stroke: the least deficit that could have been seen lies here; nan = not drawn."""

    label: str
    estimate: Estimate
    is_thin: bool = False
    stroke: float = float("nan")


def strokes(shown: Sequence[Row], overall: float) -> list[float]:
    """The strokes that lie within the axis, which is made for the intervals and the share of all; nan for the others."""
    low, high = _axis(shown, overall)
    return [r.stroke if is_known(r.stroke) and low <= 100 * r.stroke <= high else float("nan") for r in shown]


def _axis(shown: Sequence[Row], overall: float) -> Limits:
    return bounds([*reach(r.estimate for r in shown), *([100 * overall] if is_known(overall) else [])])


def rows(name: str, shown: Sequence[Row], overall: float, of: str, band: tuple[float, float] | None, width: int) -> str:
    """One row an estimate of a share. overall: the share of all, `of` whom is said. band: the tolerated stretch, from and to."""
    shown = [r for r in shown if has_value(r.estimate)][:MOST_ROWS]
    enough = Series("accuracy, 95 % interval", [None if r.is_thin else r.estimate for r in shown])
    thin = Series("insufficient", [r.estimate if r.is_thin else None for r in shown], False, "s", GREY)
    (start, end), upright = band or (0.0, 0.0), strokes(shown, overall)
    strip = Strip(
        "", (enough, thin), 100, " %", False, _axis(shown, overall),
        (Block(range(len(shown)), start),) if band else (), (end - start, f"within {100 * (end - start):g} points of the best" if band else ""),
        (overall, of), upright if any(map(is_known, upright)) else (), most_ticks=7,
    )  # fmt: skip
    return strips(name, [r.label for r in shown], [strip], width, [counts_note(r.estimate) for r in shown])


@dataclass(frozen=True)
class Moved:
    """A share before and after, with the paired change; before and change are None where nothing was before."""

    label: str
    before: Estimate | None
    after: Estimate
    change: Estimate | None


def _before_and_after(shown: Sequence[Moved]) -> tuple[Series, Series]:
    return Series("before", [r.before for r in shown], False, colour=ORANGE), Series("after", [r.after for r in shown])


def changes(name: str, shown: Sequence[Moved], width: int) -> str:
    """Left, accuracy before (hollow) → after (filled); right, the paired difference with its interval."""
    known = [r for r in shown if all(has_value(e) for e in (r.before, r.after, r.change))][:MOST_ROWS]
    both, gains = _before_and_after(known), [r.change for r in known if r.change]
    values = [100 * e.value for s in both for e in s.estimates if e]
    shares = Strip("", both, 100, " %", False, bounds(values), is_moved=True)
    difference = Series("difference, 95 % interval", gains, marker="D")
    deltas = Strip("", [difference], 100, " pts", True, bounds([*reach(gains), 0.0], 2.0, (-100.0, 100.0)))
    return strips(name, [r.label for r in known], [shares, deltas], width, [counts_note(e) for e in gains])


@dataclass(frozen=True)
class Rates:
    """The rates of events under one kind of decision."""

    title: str
    rows: tuple[Moved, ...]
    blocks: tuple[Block, ...]


def rates(name: str, panels: Sequence[Rates], gamma: float, width: int) -> str:
    """Rates before (hollow) and after (filled), a panel a kind of decision on one scale. Band: gamma wide; all rates after lie in it if and
    only if their violation is at most gamma.
    """
    of_all = reach(e for p in panels for r in p.rows for e in (r.before, r.after))
    common = bounds([*of_all, *(100 * v for p in panels for b in p.blocks for v in (b.start, b.start + gamma))], 10)
    band = gamma, f"within {100 * gamma:g} points"
    shown = [Strip(p.title, _before_and_after(p.rows), 100, " %", False, common, p.blocks, band) for p in panels]
    return strips(name, [r.label for r in panels[0].rows], shown, width, [counts_note(r.after) for r in panels[-1].rows])


def events(rates: Sequence[Estimate], accepted: tuple[float, float], width: int) -> str:
    """One row an event, named by `Estimate.group`. accepted: a stretch of the axis as long as the largest accepted gap."""
    (start, end), around = accepted, padded([*reach(rates, 1), *accepted], 0.06, 0.0006)
    band = (Block(range(len(rates)), start),), (end - start, "as wide as gamma")
    strip = Strip("", [Series("rate", rates)], 1, "", False, around, *band, most_ticks=6)
    return strips("events", [e.group for e in rates], [strip], width, [counts_note(e) for e in rates])


@dataclass(frozen=True)
class Span:
    """A statistic beside what chance gives: expected, and 95 % from low to high. scale: 100 for points, 1 for a bare number."""

    label: str
    observed: float
    expected: float
    low: float
    high: float
    p_value: float
    scale: float = 100


def spans(name: str, shown: Sequence[Span], width: int) -> str:
    """Each statistic (diamond) over what chance alone gives (bar), on an axis of its own."""
    head = 42 if width < 500 else 26

    def paint(canvas: Canvas) -> None:
        for i, s in enumerate(shown):
            top, (observed, expected, low, high) = head + 58 * i, (s.scale * v for v in (s.observed, s.expected, s.low, s.high))
            margins = 118 if canvas.is_narrow else 190, 40, top, canvas.height - top - 30
            axes = canvas.axes(*margins, padded((observed, low, high), least=1e-4), (0.5, -0.5))
            axes.band((low, high), (0.4, -0.4), "95 % of permutations")
            x_ticks(axes, unit=" pts" if s.scale == 100 else "")
            axes.dots([(expected, 0)], "|", MUTED, 14, label="expected by chance")
            axes.dots([(observed, 0)], "D", ORANGE if s.p_value < 0.05 else BLUE, 7, label="observed")
            row_labels(axes, [s.label])

    return draw(name, width, head + 58 * len(shown), paint)

"""Figures with a row for every entry: groups, changes, rates of events and gains with their intervals; spreads against chance; who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from evenhand.core import Estimate
from evenhand.report.figures import BLUE, DOTTED, GREY, INK, LEGEND_ROW, MUTED, ORANGE, PAPER, Axes, Canvas, Limits, draw, flow
from evenhand.report.figures.axes import bounds, counts_note, ends, marks, padded, reach, row_labels, x_ticks
from evenhand.report.numbers import has_value, is_known

MARKS = {  # verdict of the row against the column → marker, colour, filled, size
    "dominates clearly": ("^", BLUE, True, 9), "dominates": ("^", BLUE, False, 9), "trades": ("D", INK, False, 6), "undecided": ("o", GREY, True, 2.5),
    "is dominated": ("v", ORANGE, False, 9), "is dominated clearly": ("v", ORANGE, True, 9),
}  # fmt: skip
MOST_ROWS, MOST_STRIPS = 30, 3  # of a figure; tables and CSV files hold more
FAR = 2.0  # quartile ranges beyond the quartiles from which on an entry is named at the edge, lest it flatten all others
WIDE_INTERVAL = 3.0  # times the middle one: an interval so wide ends in an arrow at the edge, lest it squeeze the axis
STROKE = "smallest detectable deficit"
DODGE = 0.16  # of a row, between the marks of two series


@dataclass(frozen=True)
class Series:
    """Estimates, one a row, with what they are called in the legend ("" = nothing)."""

    label: str
    estimates: Sequence[Estimate | None]
    filled: bool = True
    marker: str = "o"
    colour: str = BLUE


@dataclass(frozen=True)
class Block:
    """Rows that are compared with each other, and where the band that must hold all of them starts, in the units of their estimates."""

    rows: range
    start: float


@dataclass(frozen=True)
class Strip:
    """One of the axes that stand side by side. scale: from estimates to the axis, 100 for shares; zero: differences, with a line at 0.
    limits: of the axis; where there are none, entries far from the others are named at the edge. bands: shaded, each `band` long.
    level: a dotted line. strokes: short upright ones, one a row. is_moved: the first series becomes the second.
    """

    title: str
    series: Sequence[Series]
    scale: float = 100
    unit: str = ""
    zero: bool = True
    limits: Limits | None = None
    bands: Sequence[Block] = ()
    band: tuple[float, str] = (0.0, "")  # length, and its name in the legend
    level: tuple[float, str] = (float("nan"), "")
    strokes: Sequence[float] = ()
    is_moved: bool = False
    most_ticks: int = 4

    @property
    def is_dodged(self) -> bool:
        """Whether a row holds two estimates that each need room."""
        several = zip(*(s.estimates for s in self.series), strict=True)
        return not self.is_moved and any(sum(e is not None and has_value(e) for e in row) > 1 for row in several)


def strips(name: str, rows: Sequence[str], shown: Sequence[Strip], width: int, notes: Sequence[str] = ()) -> str:
    """Intervals of every row, strips side by side on a page and one above the other on a telephone; notes right of the rows on a page."""
    shown, is_narrow = shown[:MOST_STRIPS], width < 500
    labels = dict.fromkeys(x for s in shown for x in (s.band[1], s.level[1], *(y.label for y in s.series), STROKE * bool(s.strokes)) if x)
    head = 4 + LEGEND_ROW * (1 + flow(list(labels), width)[-1][1]) if labels else 4
    above = 24 if any(s.title for s in shown) else 8
    body = (36 if any(s.is_dodged for s in shown) else 26) * len(rows) + 4
    left, right = (132, 20) if is_narrow else (190, 165 if notes else 20)

    def paint(canvas: Canvas) -> None:
        places = canvas.panes(len(shown), left, right, head, above, 28, 34)
        for i, (strip, place) in enumerate(zip(shown, places, strict=True)):
            near = _near(strip)
            axes = canvas.axes(*place, strip.limits or limits(near, strip.scale, [0.0] if strip.zero else []), (len(rows) - 0.4, -0.6))
            axes.title(strip.title, left=8 if is_narrow else None, longest=int((width - 14 if is_narrow else axes.size[0] + 20) / 6.4))
            _strip(axes, strip, near)
            if i == 0 or is_narrow:
                row_labels(axes, rows)
            if i == len(shown) - 1:
                row_labels(axes, [], notes)

    return draw(name, width, head + (above + body + 28) * (len(shown) if is_narrow else 1), paint)


def _strip(axes: Axes, strip: Strip, near: Sequence[Estimate]) -> None:
    for n, block in enumerate(strip.bands):
        start, rows = strip.scale * block.start, (block.rows[0] - 0.45, block.rows[-1] + 0.45)
        axes.band((start, start + strip.scale * strip.band[0]), rows, "" if n else strip.band[1])
    x_ticks(axes, strip.most_ticks, strip.unit, signed=strip.zero)
    if is_known(strip.level[0]):
        axes.upright(strip.scale * strip.level[0], MUTED, 1, DOTTED, strip.level[1])
    if strip.zero:
        axes.upright(0, MUTED, 1.1)
    if strip.is_moved:
        for y, (a, b) in enumerate(zip(*(s.estimates for s in strip.series), strict=True)):
            axes.line([(strip.scale * e.value, y) for e in (a, b) if e], MUTED, 1.4)
    far: dict[int, list[tuple[float, str]]] = {}
    for series, shift in zip(strip.series, (-DODGE, DODGE) if strip.is_dodged else (0.0, 0.0)):
        at = {y + shift: e for y, e in enumerate(series.estimates) if e and e in near}
        if strip.is_moved:
            at = {y: replace(e, low=float("nan")) for y, e in at.items()}
        if at:
            marks(axes, at, series.label, series.colour, series.marker, series.filled, scale=strip.scale, wide=1.8)
        _cut(axes, at, series.colour, strip.scale)
        for y, e in enumerate(series.estimates):
            if e and has_value(e) and e not in near:
                far.setdefault(y, []).append((strip.scale * e.value, series.colour))
    _beyond(axes, strip, far)
    if strip.strokes:
        axes.dots([(strip.scale * x, y) for y, x in enumerate(strip.strokes) if is_known(x)], "|", ORANGE, 13, label=STROKE)


def _near(strip: Strip) -> list[Estimate]:
    """Entries that are drawn in place: all of few, or where the limits are given."""
    known = [e for s in strip.series for e in s.estimates if e and has_value(e)]
    values = [strip.scale * e.value for e in known]
    if strip.limits or len(values) < 5:
        return known
    first, third = np.quantile(values, (0.25, 0.75))
    most = FAR * max(float(third - first), 0.02 * float(np.abs(values).max()))
    return [e for e, v in zip(known, values, strict=True) if first - most <= v <= third + most]


def limits(estimates: Sequence[Estimate], scale: float, also: Sequence[float]) -> Limits:
    """Room for every value and for all intervals but those far wider than the others, or than the values are apart by far."""
    values, spans = [scale * e.value for e in estimates] + list(also), [s for e in estimates if (s := ends(e, scale))]
    if not values:
        return 0.0, scale
    widths = [b - a for a, b in spans]
    most = min(WIDE_INTERVAL * median(widths), max(6 * (max(values) - min(values)), 0.2 * scale)) if widths else 0.0
    return padded([*values, *(v for a, b in spans if b - a <= most for v in (a, b))], least=0.01 * scale)


def _cut(axes: Axes, at: Mapping[float, Estimate], colour: str, scale: float) -> None:
    """Arrows where intervals go on beyond the edge."""
    low, high = axes.xlim
    spans = {y: span for y, e in at.items() if (span := ends(e, scale))}
    axes.dots([(low, y) for y, (start, _) in spans.items() if start < low], "<", colour, 5)
    axes.dots([(high, y) for y, (_, end) in spans.items() if end > high], ">", colour, 5)


def _beyond(axes: Axes, strip: Strip, far: Mapping[int, Sequence[tuple[float, str]]]) -> None:
    """Entries beyond the edge: arrows, and the values of all series on one line."""
    for y, values in far.items():
        is_left = values[0][0] < sum(axes.xlim) / 2
        edge, marker = (axes.xlim[0], "<") if is_left else (axes.xlim[1], ">")
        axes.dots([(edge, y)], marker, values[0][1], 6)
        texts = (f"{v:+.2g}" if strip.scale == 1 else f"{v:+.0f}" if strip.zero else f"{v:.0f}" for v, _ in values)
        x, base = axes.at(edge, y)
        text = f"{' and '.join(texts)}{strip.unit}".replace("-", "−")
        axes.canvas.text((x + (8 if is_left else -8), base + 3.5), text, side="left" if is_left else "right", size=9.5)


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


def matrix(
    names: Sequence[str], rows: Sequence[int], columns: Sequence[int], verdicts: Mapping[tuple[int, int], str], marked: int, width: int
) -> str:
    """The verdict of each row against each column, a sign each. rows, columns, marked: places in `names`, which number them; verdicts: (row,
    column) → words.
    """
    seen = [v for v in MARKS if v in {verdicts.get((r, c)) for r in rows for c in columns}]
    is_narrow = width < 500
    head = 26 + 18 * ((len(seen) + 1) // 2 if is_narrow else 1)
    left, each = (132, 30.0) if is_narrow else (230, 40.0)
    each = min((width - left - 8) / len(columns), each)

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(left, width - left - each * len(columns), head, 8, (-0.5, len(columns) - 0.5), (len(rows) - 0.5, -0.5))
        for y, r in enumerate(rows):
            if r == marked:
                axes.band(axes.xlim, (y + 0.5, y - 0.5))
            axes.line([(axes.xlim[0], y + 0.5), (axes.xlim[1], y + 0.5)], GREY, 0.5, alpha=0.4)
        for verdict in seen:
            marker, colour, filled, size = MARKS[verdict]
            at = [(x, y) for y, r in enumerate(rows) for x, c in enumerate(columns) if verdicts.get((r, c)) == verdict]
            size = size * 0.72 if each < 16 and size > 3 else size
            axes.dots(at, marker, colour, size, "" if filled else PAPER, label=verdict)
        row_labels(axes, [f"{r + 1}  {names[r]}" for r in rows], longest=30)
        for x, c in enumerate(columns):
            at_top = axes.at(x, -0.5)[0], axes.top - 6
            canvas.text(at_top, str(c + 1), side="center", size=8.5 if is_narrow and len(columns) > 8 else 11)

    return draw("pairwise", width, head + 8 + 25 * len(rows), paint)

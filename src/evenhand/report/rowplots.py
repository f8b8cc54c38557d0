"""The figures that are rows of intervals: groups, spreads, confounds, changes."""

from __future__ import annotations

from typing import Any

from evenhand.report.plots import bounds, few_ticks, in_percent, interval, legend, percent_ticks
from evenhand.report.svg import BAND, BLUE, GREY, MUTED, ORANGE, PAPER, RULE, Canvas, draw
from evenhand.report.words import is_share

Json = dict[str, Any]
MOST_ROWS = 30  # of a forest; the tables and groups.csv hold more
ROW = 27  # pixels


def points(axes: Any, rows: dict[int, Json], label: str, colour: str = BLUE, marker: str = "o", filled: bool = True) -> None:
    """Values with their intervals, each on its row; one artist for all points and one for all intervals, since artists are slow."""
    known = {y: ends for y, e in rows.items() if (ends := interval(e))}
    if known:
        axes.hlines(list(known), *zip(*known.values()), color=colour, linewidth=2)
    values = [100 * e["value"] for e in rows.values()]
    face = colour if filled else PAPER
    axes.plot(
        values, list(rows), marker, color=colour, markerfacecolor=face, markeredgewidth=1.6, markersize=7, linestyle="none", label=label
    )


def row_labels(canvas: Canvas, axes: Any, labels: list[str], notes: list[str], longest: int = 26) -> None:
    """Labels left of the rows, clipped to `longest` columns, and, on a wide page, counts right of them."""
    across, pixel = axes.get_yaxis_transform(), 1 / axes.bbox.width
    for y, label in enumerate(labels):
        token = canvas.token(label, 18 if canvas.is_narrow else longest)
        axes.text(-8 * pixel, y, token, transform=across, ha="right", va="center_baseline", fontsize=11)
    for y, note in enumerate([] if canvas.is_narrow else notes):
        axes.text(1 + 10 * pixel, y, note, transform=across, va="center_baseline", color=MUTED, fontsize=10.5)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _all(axes: Any, overall: Json, label: str) -> None:
    if overall["value"] is not None:
        axes.axvline(100 * overall["value"], color=MUTED, linewidth=1, linestyle=(0, (2, 3)), label=label)


def fit(axes: Any, estimates: list[Json], also: list[float], least: float = 4.0, possible: tuple[float, float] = (0.0, 100.0)) -> None:
    """Room for every value and interval."""
    ends = [e for x in estimates for e in (interval(x) or ())]
    axes.set_xlim(*bounds([*ends, *in_percent([x["value"] for x in estimates]), *also], least, possible))


def counts_note(estimate: Json) -> str:
    if estimate["n_users"] is None:
        return "under 10 users"
    return f"{_short(estimate['n_users'])} users · {_short(estimate['n_pairs'])} pairs"


def _short(count: int) -> str:
    """A count of at most six characters; the table has all its digits."""
    return f"{count:,}" if count < 100_000 else f"{count / 1e3:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def forest(groups: list[Json], overall: Json, tolerance: float | None, width: int) -> str:
    """Panel 3: one row a group, the worst served on top. Excluded groups are hollow grey squares at the bottom."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(118 if canvas.is_narrow else 190, 14 if canvas.is_narrow else 165, 58 if canvas.is_narrow else 36, 30)
        used = [g for g in groups if not g["excluded"]]
        best = max((g["accuracy"]["value"] for g in used), default=None)
        if tolerance is not None and best is not None:
            axes.axvspan(
                100 * (best - tolerance),
                100 * best,
                facecolor=BAND,
                edgecolor=RULE,
                hatch="////",
                linewidth=0,
                label=f"within {100 * tolerance:g} points of the best",
            )
        _all(axes, overall, "all users")
        judged = {y: g["accuracy"] for y, g in enumerate(groups) if not g["excluded"]}
        excluded = {y: g["accuracy"] for y, g in enumerate(groups) if g["excluded"]}
        for rows, look in ((judged, ("accuracy", BLUE, "o", True)), (excluded, ("insufficient", GREY, "s", False))):
            if rows:
                points(axes, rows, *look)
        _strokes(axes, groups, overall)
        fit(axes, [g["accuracy"] for g in groups], in_percent([overall["value"]]))
        row_labels(canvas, axes, [g["group"] for g in groups], [counts_note(g["accuracy"]) for g in groups])
        percent_ticks(axes.xaxis, canvas)
        legend(canvas, axes)

    return draw("forest", width, (88 if width < 500 else 66) + ROW * len(groups), paint)


def _strokes(axes: Any, groups: list[Json], overall: Json) -> None:
    """The smallest deficit that could have been seen, group by group."""
    known = [
        (y, 100 * (overall["value"] - g["mde"])) for y, g in enumerate(groups) if g["mde"] is not None and overall["value"] is not None
    ]
    if known:
        y, x = zip(*known)
        axes.plot(x, y, "|", color=ORANGE, markersize=13, markeredgewidth=1.8, linestyle="none", label="smallest detectable deficit")


def forest_groups(model: Json) -> list[Json]:
    """The rows of the forest: groups with a number, at most MOST_ROWS, the worst served first, then the excluded."""
    shown = [g for g in model["groups"] if g["accuracy"]["value"] is not None]
    return sorted(shown, key=lambda g: (bool(g["excluded"]), g["accuracy"]["value"], g["group"]))[:MOST_ROWS]


def null(rows: list[Json], width: int) -> str:
    """Panel 4: each spread statistic (diamond) against what chance alone gives (bar = 95 % of permutations)."""
    head = 52 if width < 500 else 34

    def paint(canvas: Canvas) -> None:
        left, height = (118 if canvas.is_narrow else 190), canvas.height
        for i, row in enumerate(rows):
            scale = 100 if is_share(row["statistic"]) else 1
            top = head + 58 * i
            axes = canvas.axes(left, 40, top, height - top - 26)
            axes.barh(
                [0],
                [scale * (row["null_high"] - row["null_low"])],
                left=[scale * row["null_low"]],
                height=0.62,
                facecolor=BAND,
                edgecolor=RULE,
                hatch="////",
                label="95 % of permutations",
            )
            axes.plot(
                [scale * row["expected"]],
                [0],
                "|",
                color=MUTED,
                markersize=14,
                markeredgewidth=1.8,
                linestyle="none",
                label="expected by chance",
            )
            axes.plot(
                [scale * row["observed"]],
                [0],
                "D",
                color=ORANGE if row["p_value"] < 0.05 else BLUE,
                markersize=8,
                linestyle="none",
                label="observed",
            )
            values = [scale * row[k] for k in ("observed", "null_low", "null_high")]
            axes.set_xlim(*bounds(values, 0.02))
            pad = 0.08 * (max(values) - min(values)) or 0.01
            axes.set_xlim(min(values) - pad, max(values) + pad)
            row_labels(canvas, axes, [row["statistic"].replace(" - ", " − ")], [])
            few_ticks(axes.xaxis, canvas)
            unit = " pts" if scale == 100 else ""
            axes.xaxis.set_major_formatter(lambda v, _, unit=unit: f"{v:g}{unit}".replace("-", "−"))
            if i == 0:
                legend(canvas, axes)

    return draw("null", width, head + 10 + 58 * len(rows), paint)


def confound(panel: Json, overall: Json, name: str, width: int) -> str:
    """Panel 6: accuracy over the bins of a nuisance."""
    bins = [b for b in panel["bins"] if b[1]["value"] is not None][:MOST_ROWS]

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(118 if canvas.is_narrow else 190, 14 if canvas.is_narrow else 165, 30, 30)
        _all(axes, overall, "all pairs")
        points(axes, {y: estimate for y, (_, estimate) in enumerate(bins)}, "accuracy, 95 % interval")
        fit(axes, [x for _, x in bins], in_percent([overall["value"]]))
        row_labels(canvas, axes, [label for label, _ in bins], [counts_note(x) for _, x in bins])
        percent_ticks(axes.xaxis, canvas)
        legend(canvas, axes)

    return draw(name, width, 60 + ROW * len(bins), paint)


def change(panel: Json, name: str, width: int) -> str:
    """Panel 7: left, accuracy before (hollow) → after (filled); right, the paired difference with its interval."""
    rows = [
        r
        for r in panel["rows"]
        if r["difference"]["value"] is not None and r["before"]["value"] is not None and r["after"]["value"] is not None
    ]
    rows = rows[:MOST_ROWS]

    def paint(canvas: Canvas) -> None:
        axes, deltas = _change_axes(canvas)
        before, after = ([100 * r[k]["value"] for r in rows] for k in ("before", "after"))
        places = range(len(rows))
        axes.hlines(places, before, after, color=MUTED, linewidth=1.4)
        axes.plot(
            before, places, "o", color=ORANGE, markerfacecolor=PAPER, markeredgewidth=1.8, markersize=8, linestyle="none", label="before"
        )
        axes.plot(after, places, "o", color=BLUE, markersize=8, linestyle="none", label="after")
        points(deltas, {y: r["difference"] for y, r in enumerate(rows)}, "difference, 95 % interval", marker="D")
        axes.set_xlim(*bounds([*before, *after]))
        fit(deltas, [r["difference"] for r in rows], [0.0], 2.0, (-100.0, 100.0))
        deltas.axvline(0, color=MUTED, linewidth=1.2)
        row_labels(canvas, axes, [r["group"] for r in rows], [])
        row_labels(
            canvas,
            deltas,
            [r["group"] for r in rows] if canvas.is_narrow else [""] * len(rows),
            [counts_note(r["difference"]) for r in rows],
        )
        percent_ticks(axes.xaxis, canvas, 4)
        few_ticks(deltas.xaxis, canvas, 4)
        deltas.xaxis.set_major_formatter(lambda v, _: f"{v:+g} pts".replace("-", "−").replace("+0 ", "0 "))
        handles = [h + d for h, d in zip(axes.get_legend_handles_labels(), deltas.get_legend_handles_labels())]
        canvas.figure.legend(*handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=2 if canvas.is_narrow else 4, labelcolor=MUTED)

    return draw(name, width, 100 + 2 * ROW * len(rows) if width < 500 else 64 + ROW * len(rows), paint)


def _change_axes(canvas: Canvas) -> tuple[Any, Any]:
    """Side by side on a page, one above the other on a telephone."""
    if not canvas.is_narrow:
        return canvas.axes(190, 410, 32, 30), canvas.axes(420, 165, 32, 30)
    half = (canvas.height - 52) / 2
    return canvas.axes(118, 14, 52, half + 30), canvas.axes(118, 14, 52 + half, 30)

"""The figures of constraints: rates of events before and after, and how violations and multipliers moved in training."""

from __future__ import annotations

from typing import Any

from evenhand.report.plots import bounds, few_ticks, in_percent, interval, legend, percent_ticks
from evenhand.report.rowplots import counts_note, row_labels
from evenhand.report.svg import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, RULE, Canvas, draw

Json = dict[str, Any]
MOST_ROWS = 30  # events; the table and constraints.csv hold more
ROW = 38  # pixels
DODGE = 0.16  # of a row, between before and after


def rates(constraint: Json, name: str, width: int) -> str:
    """Rates of each event before (hollow) and after (filled), with intervals, by soft and by hard decisions.

    Band: gamma wide, in the middle of the rates after; all of them lie in it if and only if their violation is at most gamma.
    """
    order = event_order(constraint)[:MOST_ROWS]
    rows, limits = len(order), _limits(constraint, order)

    def paint(canvas: Canvas) -> None:
        for place, violation in enumerate(constraint["violations"]):
            axes = _axes(canvas, place, len(constraint["violations"]))
            shown = [violation["rates"][i] for i in order]
            _bands(axes, constraint, violation, order)
            _dots(axes, shown)
            axes.set_xlim(*limits)
            first = place == 0 or canvas.is_narrow
            labels = [r["event"] for r in shown] if first else [""] * rows
            last = place == len(constraint["violations"]) - 1
            row_labels(canvas, axes, labels, [counts_note(r["rate"]["after"]) for r in shown] if last else [])
            axes.set_title(canvas.token(f"{violation['decision']} decisions", 40), loc="left", fontsize=11.5, color=MUTED, pad=7)
            percent_ticks(axes.xaxis, canvas, 4)
            if place == 0:
                legend(canvas, axes)

    return draw(name, width, 60 + 2 * (50 + ROW * rows) if width < 500 else 92 + ROW * rows, paint)


def event_order(constraint: Json) -> list[int]:
    """Events in the order of rows. For equalized odds those of one label together, since only they are compared."""
    events = range(len(constraint["violations"][0]["rates"]))
    return sorted(events, key=lambda i: _block(constraint, i))


def _block(constraint: Json, event: int) -> int:
    """Which events are compared with each other: under equalized odds those of one label, which take turns."""
    return event % 2 if constraint["notion"] == "eo" else 0


def _limits(constraint: Json, order: list[int]) -> tuple[float, float]:
    """Room for every interval and band, the same for both decisions, so that they can be compared."""
    values = [
        100 * end
        for v in constraint["violations"]
        for _, start in _starts(constraint, v, order)
        for end in (start, start + constraint["gamma"])
    ]
    rates = (v["rates"][i]["rate"] for v in constraint["violations"] for i in order)
    for estimate in (rate[k] for rate in rates for k in ("before", "after") if rate[k]):
        values += [*in_percent([estimate["value"]]), *(interval(estimate) or ())]
    return bounds(values, 10)


def _starts(constraint: Json, violation: Json, order: list[int]) -> list[tuple[list[int], float]]:
    """(rows that are compared with each other, where their band starts), one a block with a number; of a gap the band starts at 0."""
    out = []
    for block in sorted({_block(constraint, i) for i in order}):
        rows = [y for y, i in enumerate(order) if _block(constraint, i) == block]
        known = [v for y in rows if (v := violation["rates"][order[y]]["rate"]["after"]["value"]) is not None]
        if known:
            out.append((rows, 0.0 if constraint["notion"] == "cf" else (min(known) + max(known) - constraint["gamma"]) / 2))
    return out


def _bands(axes: Any, constraint: Json, violation: Json, order: list[int]) -> None:
    look = {"align": "edge", "facecolor": BAND, "edgecolor": RULE, "hatch": "////", "linewidth": 0}
    for n, (rows, start) in enumerate(_starts(constraint, violation, order)):
        label = "_nolegend_" if n else f"within {100 * constraint['gamma']:g} points"
        axes.barh([rows[0] - 0.45], [100 * constraint["gamma"]], rows[-1] - rows[0] + 0.9, 100 * start, label=label, **look)


def _dots(axes: Any, shown: list[Json]) -> None:
    looks = (("before", -DODGE, ORANGE, PAPER, "before"), ("after", DODGE, BLUE, BLUE, "after"))
    for key, offset, colour, face, label in looks:
        known = {y + offset: r["rate"][key] for y, r in enumerate(shown) if r["rate"][key] and r["rate"][key]["value"] is not None}
        ends = {y: span for y, e in known.items() if (span := interval(e))}
        if ends:
            axes.hlines(list(ends), *zip(*ends.values()), color=colour, linewidth=1.3 if key == "before" else 2)
        if known:
            values = [100 * e["value"] for e in known.values()]
            axes.plot(
                values,
                list(known),
                "o",
                color=colour,
                markerfacecolor=face,
                markeredgewidth=1.6,
                markersize=7,
                linestyle="none",
                label=label,
            )


def _axes(canvas: Canvas, place: int, places: int) -> Any:
    """Side by side on a page, one below the other on a telephone."""
    if not canvas.is_narrow:
        left, right, gap = 150, 150, 36
        width = (canvas.width - left - right - gap * (places - 1)) / places
        start = left + place * (width + gap)
        return canvas.axes(start, canvas.width - start - width, 58, 30)
    height = (canvas.height - 44) / places
    return canvas.axes(118, 14, 44 + place * height + 24, (places - 1 - place) * height + 26)


def training(constraint: Json, name: str, width: int) -> str:
    """Panel 9: violations by epoch, training solid, validation dashed, with gamma; beside them the multipliers, the largest set apart."""
    fitted = constraint["fitted"]

    def paint(canvas: Canvas) -> None:
        axes, other = _two(canvas)
        for key, label, colour, dash in (
            ("train_violation", "training", BLUE, "-"),
            ("valid_violation", "validation", ORANGE, (0, (4, 2))),
        ):
            known = [(i, 100 * v) for i, v in enumerate(fitted[key], 1) if v is not None]
            if known:
                axes.plot(*zip(*known), color=colour, linestyle=dash, linewidth=1.8, label=label, marker="o" if len(known) == 1 else None)
        axes.axhline(
            100 * fitted["gamma"], color=INK, linewidth=1.1, linestyle=(0, (1, 2)), label=f"allowed, {100 * fitted['gamma']:g} points"
        )
        largest = largest_multiplier(fitted)
        for j in range(len(fitted["names"])):
            known = [(i, m[j]) for i, m in enumerate(fitted["multipliers"], 1) if j < len(m) and m[j] is not None]
            if known:
                look = (
                    {"color": BLUE, "linewidth": 2, "label": canvas.token(f"largest: {fitted['names'][j]}", 40)}
                    if j == largest
                    else {"color": GREY, "linewidth": 1, "alpha": 0.8}
                )
                other.plot(*zip(*known), marker="o" if len(known) == 1 else None, zorder=3 if j == largest else 2, **look)
        for each, title in ((axes, "violation, points"), (other, "multipliers")):
            if fitted["best_epoch"]:
                each.axvline(
                    fitted["best_epoch"], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="epoch kept" if each is axes else None
                )
            each.set_title(title, loc="left", fontsize=11.5, color=MUTED, pad=7)
            each.set_xlabel("epoch")
            each.set_ylim(0, None)
            few_ticks(each.xaxis, canvas, 5)
            few_ticks(each.yaxis, canvas, 5)
            each.xaxis.get_major_locator().set_params(integer=True)
        handles = [a + b for a, b in zip(axes.get_legend_handles_labels(), other.get_legend_handles_labels())]
        canvas.figure.legend(*handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=2 if canvas.is_narrow else 5, labelcolor=MUTED)

    return draw(name, width, 470 if width < 500 else 260, paint)


def largest_multiplier(fitted: Json) -> int | None:
    """Which multiplier is the largest in the epoch kept, else in the last one; None where there are none or all are 0."""
    if not fitted["multipliers"]:
        return None
    at = fitted["best_epoch"] - 1 if 0 < fitted["best_epoch"] <= len(fitted["multipliers"]) else -1
    known = [(m, j) for j, m in enumerate(fitted["multipliers"][at][: len(fitted["names"])]) if m is not None and m > 0]
    return max(known)[1] if known else None


def _two(canvas: Canvas) -> tuple[Any, Any]:
    if not canvas.is_narrow:
        return canvas.axes(46, 424, 60, 44), canvas.axes(430, 14, 60, 44)
    half = (canvas.height - 74) / 2
    return canvas.axes(46, 14, 98, half + 44), canvas.axes(46, 14, 98 + half, 44)

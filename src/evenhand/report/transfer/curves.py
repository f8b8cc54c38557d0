"""The figures of `transfer`: gaps with their bound, and rates by group, over β or n on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evenhand.report.plots import bounds, few_ticks, interval, legend, percent_ticks
from evenhand.report.svg import BAND, BLUE, GREY, INK, MUTED, ORANGE, PAPER, Canvas, draw
from evenhand.report.transfer.words import number_of

Json = dict[str, Any]
LOOKS = (("o", BLUE), ("s", ORANGE), ("^", INK), ("D", GREY), ("v", BLUE), ("P", ORANGE))  # a shape beside every colour
MOST_LINES = len(LOOKS)
TICK = 34  # pixels that a label of the axis needs


def gap(document: Json, kind: str, width: int) -> str:
    """Measured gaps with intervals, the bound, and, over β, the gap under the second reward."""

    def paint(canvas: Canvas) -> None:
        policies = _grid(document, kind)
        axes, places = _axes(canvas, policies, kind, 52 if canvas.is_narrow else 34)
        top = [100 * p["bound"] for p in policies]
        _measured(axes, places, [p["gap"] for p in policies], "o", BLUE, "measured, 95 % interval")
        axes.fill_between(places, top, [104] * len(places), facecolor=BAND, linewidth=0, zorder=0.5)
        axes.plot(
            places, top, "s", markersize=6, linestyle=(0, (4, 2)), color=ORANGE, markerfacecolor=PAPER, linewidth=1.6,
            label="bound",
        )  # fmt: skip
        if document["versus"] and kind == "gibbs":
            theirs = [v["gap"] for v in document["versus"]]
            axes.plot(
                places[1:], [100 * g["value"] for g in theirs], "D", markersize=5.5, linestyle=(0, (1, 2)), color=MUTED, markerfacecolor=PAPER,
                linewidth=1.2, label="second reward",
            )  # fmt: skip
        axes.set_ylim(-2, 104)
        few_ticks(axes.yaxis, canvas, 5)
        axes.set_ylabel("gap, points")
        legend(canvas, axes)

    return draw(f"gap-{kind.replace('_', '-')}", width, 290 if width < 500 else 330, paint)


def rates(document: Json, kind: str, width: int) -> str:
    """The event's rate in each compared group, at most MOST_LINES of them, the highest at the sharp end first."""

    def paint(canvas: Canvas) -> None:
        policies = _grid(document, kind)
        names = drawn_groups(document, kind)[:MOST_LINES]
        rows = _key(canvas, names)
        axes, places = _axes(canvas, policies, kind, 14 + 20 * rows)
        ends: list[float] = []
        reach = 0.012 * (max(places) - min(places))
        for i, (name, (marker, colour)) in enumerate(zip(names, LOOKS)):
            found = [next(r for r in p["rates"] if r["group"] == name) for p in policies]
            aside = reach * (i - (len(names) - 1) / 2)
            _measured(axes, [x + aside for x in places], found, marker, colour)
            ends += [v for r in found for v in (100 * r["value"], *(interval(r) or ()))]
        axes.set_ylim(*bounds(ends, 10))
        percent_ticks(axes.yaxis, canvas, 5)

    lines = -(-min(len(document["compared"]), MOST_LINES) // (2 if width < 500 else 3))
    return draw(f"rates-{kind.replace('_', '-')}", width, 260 + 20 * lines, paint)


def _key(canvas: Canvas, names: Sequence[str]) -> int:
    """The key above the axes, in columns of fixed width: matplotlib's own would be as wide as the stand-ins, and names would overlap.

    Returns its rows.
    """
    from matplotlib.lines import Line2D

    columns = 2 if canvas.is_narrow else 3
    each = canvas.width / columns
    for i, (name, (marker, colour)) in enumerate(zip(names, LOOKS)):
        x, y = (i % columns) * each, canvas.height - 10 - 20 * (i // columns)
        place = [(x + 2) / canvas.width, (x + 20) / canvas.width], [y / canvas.height] * 2
        canvas.figure.add_artist(Line2D(*place, color=colour, linewidth=1.6))
        canvas.figure.add_artist(Line2D([(x + 11) / canvas.width], [y / canvas.height], color=colour, marker=marker, markersize=6.5))
        token = canvas.token(name, 18 if canvas.is_narrow else 28)
        canvas.figure.text((x + 26) / canvas.width, (y - 4) / canvas.height, token, fontsize=11, color=MUTED)
    return -(-len(names) // columns)


def drawn_groups(document: Json, kind: str) -> list[str]:
    """Compared groups by their rate under the sharpest policy, the highest first; of too many for a figure, the lowest is the last drawn."""
    end = document[kind][-1]
    value = {r["group"]: r["value"] for r in end["rates"]}
    names = sorted(document["compared"], key=lambda g: -value[g])
    return [*names[: MOST_LINES - 1], names[-1], *names[MOST_LINES - 1 : -1]] if len(names) > MOST_LINES else names


def _grid(document: Json, kind: str) -> list[Json]:
    """The policies from the reference on; n = 1 is the reference already."""
    grid: list[Json] = document[kind]
    return grid if kind == "best_of" and grid[0]["setting"] == 1 else [document["reference"], *grid]


def _axes(canvas: Canvas, policies: Sequence[Json], kind: str, head: int) -> tuple[Any, list[float]]:
    """Axes under `head` pixels, and where each policy stands on them. The reference stands apart, on the side of ever blunter policies."""
    known = [math.log10(p["setting"]) for p in policies if p["kind"] != "reference"]
    span = max(max(known) - min(known), 0.3)
    apart = max(known) + 0.16 * span if kind == "gibbs" else min(known) - 0.16 * span
    places = [apart if p["kind"] == "reference" else math.log10(p["setting"]) for p in policies]
    axes = canvas.axes(58, 14, head, 46)
    low, high = min(places), max(places)
    pad = 0.04 * max(high - low, 0.3)
    axes.set_xlim(low - pad, high + pad)
    each = (canvas.width - 72) / (high - low + 2 * pad)
    labelled: list[float] = []
    ticks, labels = [], []
    for x, policy in zip(places, policies, strict=True):
        if all(abs(x - y) * each >= TICK for y in labelled):
            labelled.append(x)
            ticks.append(x)
            labels.append(("∞" if kind == "gibbs" else "reference") if policy["kind"] == "reference" else number_of(policy))
    axes.set_xticks(ticks, labels)
    if kind == "gibbs":
        axes.set_xlabel(
            "β (∞: reference)" if canvas.is_narrow else "β, logarithmic: the smaller, the sharper the policy; ∞ is the reference"
        )
    else:
        axes.set_xlabel(
            "n (1: reference)" if canvas.is_narrow else "n, logarithmic: the larger, the sharper the policy; 1 is the reference"
        )
    return axes, places


def _measured(axes: Any, places: Sequence[float], found: Sequence[Json], marker: str, colour: str, label: str = "") -> None:
    axes.plot(
        places, [100 * m["value"] for m in found], marker=marker, markersize=6.5, linewidth=1.6, color=colour, label=label or None, zorder=3
    )
    spans = [(x, *ends) for x, m in zip(places, found, strict=True) if (ends := interval(m))]
    if spans:
        axes.vlines(*zip(*spans), color=colour, linewidth=1.6, alpha=0.8, zorder=3)

"""Where the entries of a comparison, or the runs of texts, stand on two measures: as SVG whose points say what they are to a pointer, to the
keyboard and to a screen reader, without a script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evenhand.core import NOTIONS, Estimate
from evenhand.report.figures.axes import padded, reach, round_numbers
from evenhand.report.numbers import Show, decimals, has_value, is_known, percent, shown
from evenhand.report.written import text
from evenhand.viewer.gist import at, items, read

MOST_PLANES, MOST_SPOTS, MOST_CROSSES = 6, 200, 30  # planes of a report, points of a plane, points that all have their intervals drawn
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 44, 50  # pixels around the axes
ROLES = ("reference", "chosen", "on the front", "behind it", "a run")  # the last one where no front is told


@dataclass(frozen=True)
class Spot:
    """An entry. role: one of ROLES."""

    name: str
    x: Estimate
    y: Estimate
    role: str


@dataclass(frozen=True)
class Plane:
    """axes: names of x and y. show: how numbers of each are written; scale: from estimates to ticks, 100 for shares."""

    title: str
    axes: tuple[str, str]
    spots: tuple[Spot, ...]
    show: tuple[Show, Show]
    scale: tuple[float, float]


def planes(kind: str, document: Mapping[str, Any]) -> tuple[Plane, ...]:
    """Those with two points or more; () for kinds that have no frontier."""
    found = _of_comparison(document) if kind == "comparison" else _of_texts(document) if kind == "texts" else iter(())
    return tuple(p for p in found if len(p.spots) > 1)[:MOST_PLANES]


def roles(shown: Sequence[Plane]) -> list[tuple[str, str]]:
    """Those of all their points, each with its class of the style sheet."""
    return [(r.split()[-1], r) for r in ROLES if any(s.role == r for p in shown for s in p.spots)]


def _of_comparison(document: Mapping[str, Any]) -> Iterator[Plane]:
    """Groups against each other, or all users against the worst-served group; then accuracy against each violation; on test pairs."""
    entries = items(document.get("entries"))[:MOST_SPOTS]
    front = next(iter(items([document.get("front")])), {})
    groups = [text(g) for g in document["groups"]] if isinstance(document.get("groups"), list) else []
    spots: list[Spot] = []
    for e in entries if front else ():
        held_out = [read(x) for x in e["held_out"]] if isinstance(e.get("held_out"), list) else []
        known = [x for x in held_out[:-1] if has_value(x)]
        both = tuple(known) if len(groups) == 2 else (held_out[-1], min(known, key=_value)) if known else ()
        spots += _spots(e.get("name"), both, front)
    ends = groups if len(groups) == 2 else ["all users", "the worst-served group"]
    names = f"accuracy, {ends[0]}", f"accuracy, {ends[1]}"
    yield Plane("Accuracy on test pairs; up and to the right is better for both.", names, tuple(spots), (percent, percent), (100, 100))
    for front in items(document.get("constraint_fronts")):
        notion, decision = text(front.get("notion")), text(front.get("decision"))
        spots = []
        for e in entries:
            of = next((v for v in items(e.get("violations")) if (v.get("notion"), v.get("decision")) == (notion, decision)), {})
            held_out = e["held_out"] if isinstance(e.get("held_out"), list) and e["held_out"] else [None]
            spots += _spots(e.get("name"), (read(of.get("held_out")), read(held_out[-1])), front)
        name = f"{next((said for name, said in NOTIONS.items() if name == notion), notion)}, {decision} decisions"
        yield Plane(
            f"{name}, on test pairs: up is more accurate, left is more even.", ("violation, points", "accuracy, all users"), tuple(spots),
            (percent, percent), (100, 100),
        )  # fmt: skip


def _of_texts(document: Mapping[str, Any]) -> Iterator[Plane]:
    """Systematic gaps of objectives against fidelity, every run a point."""
    runs = items(document.get("runs"))[:MOST_SPOTS]
    first = runs[0] if runs else {}
    levels = [x for x in items(first.get("levels")) if not x.get("masked")]
    fidelity = next((x for x in levels if x.get("fidelity")), {})
    objectives = {(text(x.get("audit")), text(x.get("measure"))) for x in levels if x.get("objective")}
    roles = {"reference": first.get("name"), "chosen": at(document, "choice", "best")}
    for gap in items(first.get("gaps")) if fidelity else ():
        key = _key(gap)
        if gap.get("masked") or key[-1] not in ("", "L1") or key[:2] not in objectives:
            continue
        spots: list[Spot] = []
        for run in runs:
            own = next((g for g in items(run.get("gaps")) if _key(g) == key and not g.get("masked")), {})
            level = next((x for x in items(run.get("levels")) if _key(x)[:2] == _key(fidelity)[:2] and not x.get("masked")), {})
            spots += _spots(run.get("name"), (read(own.get("systematic")), read(level.get("value"))), roles)
        title = f"{key[1]} by {key[2]}: nearer to 0 is more even, up speaks more to its audience."
        three = decimals(3)
        yield Plane(title, (f"systematic gap, {key[1]}", text(fidelity.get("measure"))), tuple(spots), (three, three), (1, 1))


def _key(value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return text(value.get("audit")), text(value.get("measure")), text(value.get("axis")), text(value.get("distance"))


def _spots(name: Any, both: Sequence[Estimate | None], front: Mapping[str, Any]) -> Iterator[Spot]:
    """One, or none where a number is missing."""
    if len(both) != 2 or not all(map(has_value, both)) or both[0] is None or both[1] is None:
        return
    best = front.get("best")
    role = (
        "chosen" if name == front.get("chosen")
        else "reference" if name == front.get("reference")
        else "a run" if best is None
        else "on the front" if isinstance(best, list) and name in best
        else "behind it"
    )  # fmt: skip
    yield Spot(text(name), both[0], both[1], role)


def _value(estimate: Estimate | None) -> float:
    return estimate.value if estimate is not None else math.nan


# --- drawing ---

LINE = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>')
SPOT = Markup(
    '<g class="spot {}" tabindex="0" role="img" aria-label="{}"><title>{}</title>{}<circle class="hit" cx="{:.1f}" cy="{:.1f}" r="12"/>{}{}</g>'
)
SVG = Markup('<svg class="frontier" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>')
MARKS = {
    "reference": Markup('<rect class="mark" x="{:.1f}" y="{:.1f}" width="9" height="9"/>'),
    "chosen": Markup('<rect class="mark" x="{:.1f}" y="{:.1f}" width="9" height="9" transform="rotate(45 {:.1f} {:.1f})"/>'),
}
CIRCLE = Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>')


def svg(plane: Plane, width: int) -> Markup:
    """One plane. What is under the pointer, or has the keyboard, is told in the two lines above the axes."""
    height = min(int(0.62 * width), 420) + TOP
    x_of, x_limits = _axis([s.x for s in plane.spots], plane.scale[0], LEFT, width - RIGHT)
    y_of, y_limits = _axis([s.y for s in plane.spots], plane.scale[1], height - BOTTOM, TOP)
    ground = Markup('<rect class="ground" x="{}" y="{}" width="{}" height="{}"/>')
    parts = [
        TEXT.format("idle", 6, 33, "Point at a mark, or go to it with Tab, to read it."),
        ground.format(LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM),
    ]
    for tick in round_numbers(x_limits, 5 if width < 500 else 8):
        parts += [
            LINE.format("grid", x_of(tick), TOP, x_of(tick), height - BOTTOM),
            TEXT.format("tick middle", x_of(tick), height - BOTTOM + 16, f"{tick:g}"),
        ]
    for tick in round_numbers(y_limits, 6):
        parts += [
            LINE.format("grid", LEFT, y_of(tick), width - RIGHT, y_of(tick)),
            TEXT.format("tick end", LEFT - 6, y_of(tick) + 4, f"{tick:g}"),
        ]
    longest = (width - LEFT - RIGHT) // 7
    units = [" (%)" * (scale == 100 and "points" not in name) for scale, name in zip(plane.scale, plane.axes)]
    parts.append(TEXT.format("name middle", (LEFT + width - RIGHT) / 2, height - 12, _clip(plane.axes[0] + units[0], longest)))
    turned = Markup('<text class="name middle" transform="translate(14 {:.1f}) rotate(-90)">{}</text>')
    parts.append(turned.format((TOP + height - BOTTOM) / 2, _clip(plane.axes[1] + units[1], (height - TOP - BOTTOM) // 6)))
    few = len(plane.spots) <= MOST_CROSSES
    for spot in sorted(plane.spots, key=lambda s: -ROLES.index(s.role)):
        parts.append(_spot(plane, spot, (x_of, y_of), few or spot.role in ROLES[:2], (width - 12) // 7))
    return SVG.format(width, height, plane.title, Markup("").join(parts))


def _axis(estimates: Sequence[Estimate], scale: float, start: float, end: float) -> tuple[Any, tuple[float, float]]:
    """From a number on the axis to pixels, and the axis's limits; intervals far beyond the values are cut."""
    values = [scale * e.value for e in estimates]
    spread = max(max(values) - min(values), 0.02 * scale)
    low, high = padded((min(max(v, min(values) - spread), max(values) + spread) for v in reach(estimates, scale)), 0.06, 0.005 * scale)
    return (lambda v: start + (min(max(v, low), high) - low) / (high - low) * (end - start)), (low, high)


def _spot(plane: Plane, spot: Spot, of: tuple[Any, Any], has_cross: bool, longest: int) -> Markup:
    x, y = of[0](plane.scale[0] * spot.x.value), of[1](plane.scale[1] * spot.y.value)
    cross = Markup("")
    if has_cross and all(map(is_known, (spot.x.low, spot.x.high, spot.y.low, spot.y.high))):
        cross = LINE.format("cross", of[0](plane.scale[0] * spot.x.low), y, of[0](plane.scale[0] * spot.x.high), y)
        cross += LINE.format("cross", x, of[1](plane.scale[1] * spot.y.low), x, of[1](plane.scale[1] * spot.y.high))
    numbers = [f"{name} {shown(e, show)}" for name, e, show in zip(plane.axes, (spot.x, spot.y), plane.show)]
    said = f"{spot.name}, {spot.role}: {'; '.join(numbers)}"
    mark = (
        MARKS[spot.role].format(x - 4.5, y - 4.5, x, y) if spot.role in MARKS else CIRCLE.format(x, y, 3.5 if spot.role == ROLES[3] else 5)
    )
    brief = "; ".join(shown(e, show) for e, show in zip((spot.x, spot.y), plane.show))
    tip = TEXT.format("tip strong", 6, 16, _clip(f"{spot.name}, {spot.role}", longest)) + TEXT.format(
        "tip", 6, 33, _clip(f"x {brief.replace('; ', '; y ')}", longest)
    )
    return SPOT.format(spot.role.split()[-1], said, said, cross, x, y, mark, tip)


def _clip(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: max(longest - 1, 1)]}…"

"""Published results → what the tables of the page are made of: numbers with their intervals beneath, and names with what they are."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from evenhand.report import words
from evenhand.report.comparison import reading as of
from evenhand.report.words import NONE, number, points

Json = dict[str, Any]
MOST_GROUPS = 4  # with a column each
NOTHING: Json = {"value": None, "low": None, "high": None}  # where a figure has a row without a number


def stacked(value: str, *below: str) -> Markup:
    """A cell with its interval, smaller, under the value."""
    return Markup("{}{}").format(value, Markup("").join(Markup('<span class="ci">{}</span>').format(b) for b in below if b))


def shown(estimate: Json | None, kind: str = "share", *below: str) -> str:
    """An estimate as such a cell. kind: "share" (per cent), "level" (points), "points" (signed), "number"."""
    if estimate is None or estimate["value"] is None:
        return "under 10 users" if estimate and estimate.get("suppressed") else NONE
    write = {
        "share": points, "level": points, "points": lambda v: points(v, True), "number": lambda v: number(v, 3),
    }[kind]  # fmt: skip
    value = words.percent(estimate["value"]) if kind == "share" else write(estimate["value"])
    ends = estimate["low"], estimate["high"]
    return stacked(value, f"{write(ends[0])} to {write(ends[1])}" if None not in ends else "", *below)


def marked(document: Json, entry: Json) -> Markup:
    """An entry's name with what it is, its settings and what it cannot do."""
    best, front = of.chosen(document), document["front"]
    told = []
    if best and entry["name"] == best["name"]:
        told.append("◆ chosen on validation" if front else "◆ highest on validation")
    if entry["name"] == of.reference(document):
        told.append("■ reference")
    if front and entry["name"] == front["knee"]:
        told.append("knee")
    hyperparameters = words.settings(entry["settings"]) if not set(document["swept"]) & set(entry["settings"]) else ""
    below = Markup("").join(Markup('<span class="tag">{}</span>').format(t) for t in told)
    return stacked(entry["name"], *(t for t in (hyperparameters, entry["note"]) if t)) + below

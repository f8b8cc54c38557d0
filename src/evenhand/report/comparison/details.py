"""Panels d to f of a comparison or a sweep: single users, seen and unseen users, the hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.report.comparison import reading as of
from evenhand.report.comparison import words as said
from evenhand.report.comparison.cells import MOST_GROUPS, NOTHING, marked, shown
from evenhand.report.comparison.curves import Line, hyperparameter
from evenhand.report.comparison.figures import Series, Strip, strips
from evenhand.report.layout import MOST_FIGURES, Figure, Panel, Table, counts, drawn, listed
from evenhand.report.svg import BLUE, ORANGE
from evenhand.report.words import NONE, number, people, points

Json = dict[str, Any]
SPREAD = ("standard deviation", "coefficient of variation", "Gini", "Jain")
DRAWN = ("worst decile", "correlation with support")


def users(document: Json) -> Panel:
    key, name = "users", "Single users"
    ran = [e for e in of.running(document) if e["unfairness"]]
    if not ran:
        return Panel(key, name, empty="No user-level metric was computed: it takes users with pairs in the test split.")
    reference = of.reference(document)
    best = of.best_but(document, reference)
    best = best if best and best["unfairness"] else ran[0]
    known = list(dict.fromkeys(m["name"] for e in ran for m in e["unfairness"]))
    worst = [k for k in known if k not in SPREAD]
    tables = [
        _metrics(document, ran, part, f"{caption}; in brackets which way is better ({people(ran[0]['unfairness'][-1]['value'])})")
        for caption, part in (("The worst served", worst), ("Spread over users", [k for k in known if k in SPREAD])) if part
    ]  # fmt: skip
    near = set(of.drawn_names(document))
    rows = [e for e in ran if e["name"] != reference and e["name"] in near]
    axes = [_metric_strip(m, rows) for m in DRAWN if any(of.metric_of(e, m) for e in rows)]
    note = (
        "Differences from the reference, 95 % intervals from a bootstrap by user. A higher worst decile is better; so is a correlation of accuracy with "
        "support nearer to 0. Raw metrics of single users hold noise that inflates them, for all entries alike: compare entries, do not read levels."
    )
    if not axes or not rows:
        return Panel(key, name, (), tuple(tables), (note,), said.unfairness_sentence(best, reference, DRAWN))
    label = of.labels([e["name"] for e in of.running(document)])
    wide, narrow = drawn(lambda w: strips("unfairness", [label[e["name"]] for e in rows], axes, w))
    figure = Figure(said.unfairness_sentence(best, reference, DRAWN), wide, narrow, note, tables[0])
    return Panel(key, name, (figure,), tuple(tables[1:]))


def _metric_strip(metric: str, rows: Sequence[Json]) -> Strip:
    differences = [(of.metric_of(e, metric) or {"difference": None})["difference"] or NOTHING for e in rows]
    if said.in_points(metric):
        return Strip(f"change of {metric}, points", [Series("", differences)], 100, "", True)
    return Strip(f"change of {metric}", [Series("", differences)], 1, "", True)


def _metrics(document: Json, ran: Sequence[Json], metrics: Sequence[str], caption: str) -> Table:
    rows = []
    for e in ran:
        cells = []
        for name in metrics:
            found, as_points = of.metric_of(e, name), said.in_points(name)
            change = found["difference"] if found else None
            below: list[str] = []
            if change and change["value"] is not None:
                write = points if as_points else lambda v, s: number(v, 3, s)
                below = [f"change {write(change['value'], True)}", f"{write(change['low'], True)} to {write(change['high'], True)}"]
            kind = "points" if name == "gap" else "level" if as_points else "number"
            cells.append(shown(found["value"], kind, *below) if found else NONE)
        rows.append((marked(document, e), *cells))
    columns = ("entry", *(f"{m}{', points' * said.in_points(m)} ({said.BETTER.get(m, '')})" for m in metrics))
    return listed(caption, columns, rows, "unfairness.csv")


def cells(document: Json) -> Panel:
    key, name = "cells", "Users seen in training, and users who were not"
    ran = [e for e in of.running(document) if e["cells"]]
    if not ran:
        return Panel(key, name, empty="All users of the test split are of one kind, or none were told apart.")
    parts = list(dict.fromkeys(k for e in ran for k in e["cells"]))
    groups = [*range(len(document["groups"])), len(document["groups"])]
    groups = groups if len(groups) <= MOST_GROUPS else groups[-1:]
    best = of.chosen(document)
    best = best if best and best["cells"] else ran[0]
    near = set(of.drawn_names(document))
    rows = [e for e in ran if e["name"] in near]
    looks = ({"filled": True, "colour": BLUE, "marker": "o"}, {"filled": False, "colour": ORANGE, "marker": "D"})
    drawn_groups = groups[-3:]
    axes = [
        Strip(
            of.group_label(document, c),
            [Series(p, [e["cells"][p][c] if p in e["cells"] else NOTHING for e in rows], **look) for p, look in zip(parts, looks)],  # type: ignore[arg-type]
            100, " %", False,
        )
        for c in drawn_groups
        if any(e["cells"][p][c]["value"] is not None for e in rows for p in parts if p in e["cells"])
    ]  # fmt: skip
    table = _cells(document, ran, parts, groups)
    label = of.labels([e["name"] for e in of.running(document)])
    wide, narrow = drawn(lambda w: strips("cells", [label[e["name"]] for e in rows], axes, w)) if axes else ("", "")
    note = "These are different people, so a difference between the two is also one of tastes and luck; compare entries within a column."
    note += " A group with too few users of either kind is not drawn." if len(axes) < len(drawn_groups) else ""
    return Panel(key, name, (Figure(said.cell_sentence(best), wide, narrow, note, table),))


def _cells(document: Json, ran: Sequence[Json], parts: Sequence[str], groups: Sequence[int]) -> Table:
    def cell(e: Json, part: str, c: int) -> str:
        return shown(e["cells"][part][c]) if part in e["cells"] else NONE

    rows = [(marked(document, e), *(cell(e, p, c) for c in groups for p in parts)) for e in ran]
    counted = "; ".join(f"{p}: {people(ran[0]['cells'][p][-1])}" for p in parts if p in ran[0]["cells"])
    columns = ("entry", *(f"{of.group_label(document, c)}, {p}" for c in groups for p in parts))
    return listed(f"Accuracy on test pairs ({counted})", columns, rows, "cells.csv")


def hyperparameters(document: Json) -> Panel:
    """Panel f: one hyperparameter at a time, the others at the choice's."""
    key, name = "hyperparameters", "What each hyperparameter does"
    centre = _centre(document)
    figures = []
    for i, turned in enumerate(document["swept"][:MOST_FIGURES]):
        found = _line(document, turned, centre)
        if len(found) > 1:
            figures.append(_hyperparameter(document, turned, found, centre, i))
    if not figures:
        return Panel(key, name, empty="No hyperparameter has two values that ran with all others alike.")
    return Panel(key, name, tuple(figures))


def _centre(document: Json) -> Mapping[str, str]:
    """The settings the other hyperparameters stay at: the choice's, or, where a reference was chosen, those highest on validation."""
    swept = set(document["swept"])
    best = of.chosen(document)
    if best and swept <= set(best["settings"]):
        settings: Mapping[str, str] = best["settings"]
        return settings
    ran = [e for e in of.running(document) if swept <= set(e["settings"])]

    best = max(ran, key=of.on_validation, default=None)
    return best["settings"] if best else {}


def _line(document: Json, turned: str, centre: Mapping[str, str]) -> list[tuple[str, Json]]:
    """(value, entry) along a hyperparameter, in the order of its values: numbers by size, words as they came."""
    fixed = {k: v for k, v in centre.items() if k in document["swept"] and k != turned}
    found = [
        (str(e["settings"][turned]), e)
        for e in of.running(document)
        if turned in e["settings"] and all(e["settings"].get(k) == v for k, v in fixed.items())
    ]
    try:
        return sorted(found, key=lambda f: float(f[0]))
    except ValueError:
        return found


def _hyperparameter(document: Json, turned: str, found: Sequence[tuple[str, Json]], centre: Mapping[str, str], i: int) -> Figure:
    groups = len(document["groups"])
    cells = [*range(groups)] if 1 < groups <= 3 else [groups]
    base = of.entry(document, of.reference(document))
    lines = [
        Line(
            of.group_label(document, c), [e["selection"][c] for _, e in found], [e["held_out"][c] for _, e in found],
            base["held_out"][c] if base and base["held_out"] else None,
        )
        for c in cells
    ]  # fmt: skip
    is_drawable = any(x["value"] is not None for line in lines for x in (*line.selection, *line.held_out))
    wide, narrow = (
        drawn(lambda w: hyperparameter(f"hyperparameter-{i}", [v for v, _ in found], lines, turned, w)) if is_drawable else ("", "")
    )
    rows = [
        (value, *(shown(e[split][c]) for c in [*cells, *([groups] if cells[-1] != groups else [])] for split in ("selection", "held_out")), *counts(e["held_out"][-1]))
        for value, e in found
    ]  # fmt: skip
    named = [of.group_label(document, c) for c in [*cells, *([groups] if cells[-1] != groups else [])]]
    columns = (turned, *(f"{n}, {split}" for n in named for split in ("validation", "test")), "users", "pairs")
    others = ", ".join(f"{k} {v}" for k, v in centre.items() if k in document["swept"] and k != turned)
    note = f"The other hyperparameters stay at {others}." if others else "This is the one hyperparameter that was turned."
    note += " Dashed: validation pairs, where settings are chosen; solid: test pairs."
    return Figure(
        said.sweep_sentence(document, turned, found), wide, narrow, note, listed(f"Accuracy over {turned}", columns, rows, "results.csv")
    )

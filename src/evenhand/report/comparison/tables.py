"""Published results → CSV files, every row of them. Shares are from 0 to 1; an empty cell has no number: it was hidden, or nobody measured it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evenhand.report.old_tables import ESTIMATE, as_csv, cells, exclusions, head
from evenhand.report.words import settings

Json = dict[str, Any]


def tables(document: Json) -> dict[str, str]:
    """File name → text of the file."""
    files = {
        "results.csv": _results(document),
        "pairwise.csv": _pairwise(document["pairwise"]),
        "unfairness.csv": _unfairness(document["entries"]),
        "cells.csv": _cells(document),
        "exclusions.csv": exclusions(document["exclusions"]),
    }
    if document["constraint_fronts"]:
        files |= {"violations.csv": _violations(document), "events.csv": _events(document["events"])}
    return {name: as_csv(rows) for name, rows in files.items()}


def _groups(document: Json) -> Iterator[tuple[int, str]]:
    """Places in an entry's tuples: the groups, then all users."""
    yield from enumerate([*document["groups"], "all"])


def _results(document: Json) -> list[list[Any]]:
    """A row an entry and group. Log-loss is known of all users only."""
    front = document["front"] or {"reference": "", "chosen": "", "knee": "", "best": [], "best_held_out": []}
    columns = [
        "entry", "settings", "reference", "chosen", "knee", "not_dominated_validation", "not_dominated_test", "dominated_by", "tried", "seconds",
        "seeds", "note", "failed", "group", *head("validation", "test"), "sd_over_seeds", *head("log_loss", "log_loss_calibrated"),
    ]  # fmt: skip
    rows: list[list[Any]] = [columns]
    for e in document["entries"]:
        name = e["name"]
        told = [
            name, settings(e["settings"]), name == front["reference"], name == front["chosen"], name == front["knee"], name in front["best"],
            name in front["best_held_out"], "; ".join(e["dominated_by"]), e["tried"], e["seconds"], e["seeds"], e["note"], e["failed"],
        ]  # fmt: skip
        if not e["held_out"]:
            rows.append([*told, "", *cells(None), *cells(None), None, *cells(None), *cells(None)])
        for c, group in _groups(document) if e["held_out"] else ():
            chosen_on, sd = (e[key][c] if e[key] else None for key in ("selection", "over_seeds"))
            losses = [e[key] if c == len(document["groups"]) else None for key in ("log_loss", "calibrated")]
            rows.append([*told, group, *cells(chosen_on), *cells(e["held_out"][c]), sd, *(x for loss in losses for x in cells(loss))])
    return rows


def _pairwise(pairwise: list[Json]) -> list[list[Any]]:
    """A row a pairwise comparison and group: with users and deals drawn, with the deals as they are, and by run."""
    units = ("differences", "in_these_deals", "by_run")
    rows = [
        [d["first"], d["second"], d["verdict"], x[0]["group"], *(c for y in x for c in cells(y))]
        for d in pairwise
        for x in zip(*(d[u] or d["differences"] for u in units), strict=True)
    ]
    return [["first", "second", "verdict", "group", *head("difference", "difference_in_these_deals", "difference_by_run")], *rows]


def _unfairness(entries: list[Json]) -> list[list[Any]]:
    rows = [[e["name"], m["name"], *cells(m["value"]), *cells(m["difference"])] for e in entries for m in e["unfairness"]]
    return [["entry", "metric", *ESTIMATE, *head("difference_from_reference")], *rows]


def _cells(document: Json) -> list[list[Any]]:
    rows = [
        [e["name"], name, group, *cells(of[c])] for e in document["entries"] for name, of in e["cells"].items() for c, group in _groups(document)
    ]  # fmt: skip
    return [["entry", "users", "group", *head("accuracy")], *rows]


def _violations(document: Json) -> list[list[Any]]:
    """A row an entry, notion and kind of decision. Pooled: of rates averaged over seeds."""
    fronts = {(f["notion"], f["decision"]): f for f in document["constraint_fronts"]}
    none: Json = {"gamma": None, "chosen": "", "knee": "", "best": [], "best_held_out": []}
    rows: list[list[Any]] = []
    for e in document["entries"]:
        for v in e["violations"]:
            front = fronts.get((v["notion"], v["decision"]), none)
            name = e["name"]
            rows.append([
                name, v["notion"], v["decision"], front["gamma"], name == front["chosen"], name == front["knee"], name in front["best"],
                name in front["best_held_out"], *(x for key in VIOLATION for x in cells(v[key])), *cells(e["cost"]),
            ])  # fmt: skip
    columns = ["entry", "notion", "decision", "gamma", "chosen", "knee", "not_dominated_validation", "not_dominated_test"]
    return [[*columns, *head(*VIOLATION.values(), "accuracy_difference_from_reference")], *rows]


VIOLATION = {
    "selection": "validation", "held_out": "test", "pooled_selection": "pooled_validation", "pooled": "pooled_test",
    "difference": "difference_from_reference", "pooled_difference": "pooled_difference_from_reference",
}  # fmt: skip


def _events(events: list[Json]) -> list[list[Any]]:
    columns = ["notion", "event", "selection_users", "selection_pairs", "held_out_users", "held_out_pairs"]
    named = [c.replace("selection", "validation").replace("held_out", "test") for c in columns]
    return [named, *([e[c] for c in columns] for e in events)]

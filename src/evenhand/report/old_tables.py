"""The published JSON → CSV files, one a panel, every row of it. Shares are from 0 to 1; an empty cell has no number: it was hidden,
or nobody measured it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from evenhand.data.csv_cells import neutral
from evenhand.report.words import settings

Json = dict[str, Any]
ESTIMATE = ("value", "low", "high", "n_users", "n_pairs")


def tables(document: Json) -> dict[str, str]:
    """File name → text of the file."""
    model, models = document["model"], [document["model"], *document["others"], *document["cells"]]
    files = {
        "requirements.csv": _requirements(document),
        "groups.csv": _groups(models),
        "models.csv": _models(models),
        "support.csv": _support(model),
        "null.csv": _null(model),
        "users.csv": _users(model),
        "confounds.csv": _confounds(model),
        "counts.csv": _counts(model),
        "changes.csv": _changes(document["changes"]),
        "training.csv": _training(document["training"]),
        "constraints.csv": _constraints(document["constraints"]),
        "multipliers.csv": _multipliers(document["constraints"]),
        "exclusions.csv": exclusions(document["exclusions"]),
    }
    return {name: as_csv(rows) for name, rows in files.items()}


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([neutral("" if c is None else c) for c in row] for row in rows)
    return file.getvalue()


def cells(estimate: Json | None) -> list[Any]:
    return [None if estimate is None else estimate[k] for k in ESTIMATE]


def head(*names: str) -> list[str]:
    return [f"{name}_{part}" for name in names for part in ESTIMATE]


def _requirements(document: Json) -> list[list[Any]]:
    rows = [
        [r["name"], r["verdict"], r["tolerance"], *cells(r["estimate"]), r["estimate"]["level"], r["reason"]]
        for r in document["requirements"]
    ]
    return [["requirement", "verdict", "tolerance", *ESTIMATE, "level", "reason"], *rows]


def _groups(models: list[Json]) -> list[list[Any]]:
    metrics = ("accuracy", "margin", "log_loss", "ece", "ceiling")
    rows = [
        [
            m["model"],
            m["split"],
            g["group"],
            g["n_users"],
            g["n_pairs"],
            g["mde"],
            g["p_value"],
            g["notable"],
            g["excluded"],
            *(c for k in metrics for c in cells(g[k])),
        ]
        for m in models
        for g in m["groups"]
    ]
    return [["model", "split", "group", "n_users", "n_pairs", "mde", "p_value", "notable", "excluded", *head(*metrics)], *rows]


def _models(models: list[Json]) -> list[list[Any]]:
    return [
        ["model", "split", *head("accuracy", "gap")],
        *([m["model"], m["split"], *cells(m["overall"]), *cells(m["gap"])] for m in models),
    ]


def _support(model: Json) -> list[list[Any]]:
    bins = model["support"]["bins"] if model["support"] else []
    return [
        ["support_low", "support_high", "support_mean", *head("accuracy")],
        *([b["low"], b["high"], b["mean"], *cells(b["accuracy"])] for b in bins),
    ]


def _null(model: Json) -> list[list[Any]]:
    columns = ["statistic", "observed", "expected", "null_low", "null_high", "excess", "p_value"]
    return [columns, *([r[c] for c in columns] for r in model["null"])]


def _users(model: Json) -> list[list[Any]]:
    columns = ["name", "raw", "expected_if_equal", "excess", "shrunken"]
    return [columns, *([m[c] for c in columns] for m in (model["spread"]["metrics"] if model["spread"] else []))]


def _confounds(model: Json) -> list[list[Any]]:
    rows = [[c["name"], label, *cells(e)] for c in model["confounds"] for label, e in c["bins"]]
    alone = [[c["name"], "the feature alone", *cells(c["alone"])] for c in model["confounds"] if c["alone"]]
    return [["confound", "bin", *head("accuracy")], *rows, *alone]


def _counts(model: Json) -> list[list[Any]]:
    columns = ["group", "pairs", "truncated", "identical_after_truncation", "hardly_read", "dropped", "tied", "no_preference"]
    return [columns, *([c[k] for k in columns] for c in model["counts"])]


def _changes(changes: list[Json]) -> list[list[Any]]:
    rows = [
        [c["before"], c["after"], r["group"], *cells(r["before"]), *cells(r["after"]), *cells(r["difference"])]
        for c in changes
        for r in c["rows"]
    ]
    gaps = [[c["before"], c["after"], "gap", *cells(c["gap_before"]), *cells(c["gap_after"]), *cells(c["gap_change"])] for c in changes]
    return [["model_before", "model_after", "group", *head("before", "after", "difference")], *rows, *gaps]


def _training(traces: list[Json]) -> list[list[Any]]:
    columns = ["method", "seed", "epoch", "train_loss", "valid_loss", "kept", "seconds", "pairs_per_second", "settings"]
    rows = []
    for t in traces:
        for i, loss in enumerate(t["train_loss"]):
            valid = t["valid_loss"][i] if i < len(t["valid_loss"]) else None
            fit = t["seconds"], t["pairs_per_second"], settings(t["settings"])
            rows.append([t["method"], t["seed"], i + 1, loss, valid, i + 1 == t["best_epoch"], *fit])
    return [columns, *rows]


def _constraints(constraints: list[Json]) -> list[list[Any]]:
    """A row a number under both models: violations, with what noise alone would show after, then rates of events, then costs of groups."""
    rows = []
    for c in constraints:
        about = [c["notion"], c["gamma"], c["before"], c["after"]]
        for v in c["violations"]:
            rows.append([*about, f"{v['decision']} violation", "", *_paired(v["size"]), v["expected_after"], v["verdict"]])
            rows += [[*about, f"{v['decision']} rate", r["event"], *_paired(r["rate"]), None, ""] for r in v["rates"]]
        rows += [[*about, k, g["group"], *_paired(g[k]), None, ""] for g in c["costs"] for k in ("accuracy", "log_loss", "ece")]
    columns = ["notion", "gamma", "model_before", "model_after", "quantity", "event", *head("before", "after", "change")]
    return [[*columns, "expected_by_noise", "verdict"], *rows]


def _paired(found: Json) -> list[Any]:
    return [cell for key in ("before", "after", "change") for cell in cells(found[key])]


def _multipliers(constraints: list[Json]) -> list[list[Any]]:
    """A row an epoch and multiplier of each constrained fit."""
    rows = []
    for c in (c for c in constraints if c["fitted"]):
        fitted = c["fitted"]
        for epoch, multipliers in enumerate(fitted["multipliers"], 1):
            seen = [v[epoch - 1] if epoch <= len(v) else None for v in (fitted["train_violation"], fitted["valid_violation"])]
            kept = epoch == fitted["best_epoch"]
            rows += [[c["notion"], epoch, kept, *seen, name, m] for name, m in zip(fitted["names"], multipliers, strict=False)]
    return [["notion", "epoch", "kept", "train_violation", "valid_violation", "constraint", "multiplier"], *rows]


def exclusions(found: Json) -> list[list[Any]]:
    """All reasons, then the same by group where a group is known; rows_in is their sum with rows_used."""
    rows = [["", reason, n] for reason, n in found["reasons"].items()]
    by_group = [[group, reason, n] for group, reasons in found["by_group"].items() for reason, n in reasons.items()]
    return [
        ["group", "reason", found["unit"]],
        ["", f"{found['unit']} in", found["rows_in"]],
        ["", f"{found['unit']} used", found["rows_used"]],
        *rows,
        *by_group,
    ]

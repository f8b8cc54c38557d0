"""Published findings on policies → panels: gaps over β, over n, the two rewards, and where it all comes from."""

from __future__ import annotations

from typing import Any

from evenhand.report.layout import Figure, Panel, Table, drawn, listed
from evenhand.report.transfer import curves
from evenhand.report.transfer import words as said
from evenhand.report.words import NB, NONE, number, points

Json = dict[str, Any]
MOST_COLUMNS = 8  # groups with a column in the table of rates
FILE = "transfer.json"
NAMES = {"gibbs": "Gibbs policies", "best_of": "Best of n"}


def panels(document: Json) -> tuple[Panel, ...]:
    shown = [_policies(document, kind) for kind in ("gibbs", "best_of") if document[kind]]
    return (*shown, *([_versus(document)] if document["versus"] else []), _data(document))


def _policies(document: Json, kind: str) -> Panel:
    key = kind.replace("_", "-")
    if len(document["compared"]) < 2:
        return Panel(key, NAMES[kind], empty=f"{said.HIDDEN}.")
    end, hidden = document[kind][-1], len(document["compared"]) - curves.MOST_LINES
    gap = Figure(
        said.gap_sentence(document, end), *drawn(lambda w: curves.gap(document, kind, w)),
        f"{said.widest(document, kind)} Shaded: where no gap can lie, by the measured κ.", _gaps(document, kind),
    )  # fmt: skip
    more = f"{hidden} more groups are in the table." if hidden > 0 else ""
    rates = Figure(
        said.rate_sentence(document, kind), *drawn(lambda w: curves.rates(document, kind, w)),
        f"95 % intervals over prompts. {more}".strip(), _rates(document, kind),
    )  # fmt: skip
    return Panel(key, NAMES[kind], (gap, rates))


def _gaps(document: Json, kind: str) -> Table:
    """One row a policy, the reference first."""
    limits = kind == "best_of"
    columns = ["policy", "gap, points", "most", "least", "shift, points", "κ, nats", "bound, points"]
    columns += ["largest KL, nats", "log n − (n−1)/n"] if limits else []
    rows = []
    for p in (document["reference"], *document[kind]):
        row = [
            said.setting(p),
            _cell(p["gap"]),
            p["most"] or NONE,
            p["least"] or NONE,
            _cell(p["shift"], True),
            number(p["kappa"], 3),
            said.bound_note(p),
        ]
        rows.append([*row, number(p["largest_kl"], 3), number(p["kl_limit"], 3)] if limits else row)
    gap = document["reference"]["gap"]
    caption = f"Gaps with 95 % intervals ({said.counted(gap['n_prompts'], gap['n_candidates'])}); shift: against the reference, the same two groups"
    return listed(caption, columns, rows, FILE, text=(0, 2, 3))


def _rates(document: Json, kind: str) -> Table:
    names = curves.drawn_groups(document, kind)[:MOST_COLUMNS]
    start = {r["group"]: r for r in document["reference"]["rates"]}
    rows = []
    for p in (document["reference"], *document[kind]):
        of = {r["group"]: r for r in p["rates"]}
        rows.append([said.setting(p), *(_cell(of[name]) for name in names)])
    heads = [f"{name} ({start[name]['n_prompts']:,} prompts)" for name in names]
    return listed(f"Rate of “{document['event']}” in %, with 95 % intervals", ["policy", *heads], rows, FILE)


def _cell(m: Json, signed: bool = False) -> str:
    if m["value"] is None:
        return NONE
    return f"{points(m['value'], signed)} ({points(m['low'], signed)}{NB}to{NB}{points(m['high'], signed)})"


def _versus(document: Json) -> Panel:
    """Measured beside allowed, for two rewards under one β."""
    columns = ["β", "|log π/π′|", "at most", "TV", "at most", "J lost", "at most", "gap under r′, points", "gap under r at most"]
    rows = [
        [
            f"{v['beta']:g}", number(v["log_ratio"], 3), number(v["log_ratio_bound"], 3), number(v["distance"], 4), number(v["distance_bound"], 4),
            number(v["loss"], 4), number(v["loss_bound"], 4), _cell(v["gap"]), points(v["gap_bound"]),
        ]
        for v in document["versus"]
    ]  # fmt: skip
    notes = (
        "Each is the largest over prompts; “at most” follows from e = max |r − r′| alone, where each prompt has the constant that makes e smallest.",
        "J lost: what the second reward’s policy is worth less by the first reward’s own objective E[r] − β KL.",
    )
    return Panel("versus", "Two rewards", (), (listed("Measured and allowed", columns, rows, FILE),), notes, said.versus_sentence(document))


def _data(document: Json) -> Panel:
    tables = [
        listed(caption, columns, list(document[field].items()), FILE, text=(0, 1))
        for caption, columns, field in (("How it was made", ("fact", "value"), "facts"), ("Formulas", ("quantity", "formula"), "formulas"))
        if document[field]
    ]
    return Panel("data", "Data, method, limits", (), tuple(tables), tuple(document["limits"]))

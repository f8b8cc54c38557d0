"""Panels 1-5: who is served how well, and is it more than chance?"""

from __future__ import annotations

from typing import Any

from evenhand.report import plots, rowplots, words
from evenhand.report.layout import Figure, Panel, Table, counts, drawn, listed, without_number
from evenhand.report.words import count, difference, number, people, percent, plain, points, share

Json = dict[str, Any]


OWN_AGREEMENT = (
    "Own agreement is Krippendorff’s alpha of the group’s users on the pairs they share (1 = they all agree, 0 = as if by chance): "
    "where it is low, no model without a view of the user can do well."
)
STROKE = (
    "Upright stroke: a group whose true accuracy lies left of its stroke would be told from all users four times in five. "
    "“Stands out” allows for the number of groups (Benjamini-Hochberg, 10 %)."
)
SHUFFLED = (
    "Users were shuffled over groups of the same sizes many times, and what users share, prompts or responses, was drawn anew. A spread inside "
    "the hatched bar is what equal groups would show as well."
)
RAW = "Users have few pairs each, so the raw curve is mostly noise; the shrunken one is the beta-binomial estimate."


def support(model: Json) -> Panel:
    curve, key, name = model["support"], "support", "Accuracy against preference support"
    if curve is None:
        return Panel(
            key,
            name,
            empty="No preference support was computed: it takes training pairs that several users judged, clusters or an attribute.",
        )
    if model["overall"]["value"] is None:
        return Panel(key, name, empty="Not shown: fewer than 10 users, or no accuracy to show.")
    bins = curve["bins"]
    rows = [(f"{points(b['low'])} to {percent(b['high'])}", percent(b["mean"]), share(b["accuracy"]), *counts(b["accuracy"])) for b in bins]
    table = listed(
        "Accuracy by support bin",
        ("support", "mean support", "accuracy (95 % interval)", "users", "pairs"),
        rows,
        "support.csv",
        without_number([b["accuracy"] for b in bins]),
    )
    wide, narrow = drawn(lambda w: plots.support(curve, model["overall"], w))
    rank = curve["correlation"]
    noise = "" if words.trend(curve) else " The dashed line is drawn through noise: read no trend into it."
    told = words.low_support_sentence(curve)
    note = f"A flat line is even-handed.{noise}{' ' * bool(told)}{told} Rank correlation with support: {plain(rank, 2)}; {people(rank)}. {_rule(curve)}."
    return Panel(key, name, (Figure(words.support_sentence(curve), wide, narrow, note, table),))


def _rule(curve: Json) -> str:
    """How support was measured, without a full stop."""
    rule: str = curve["rule"].rstrip(".")
    return rule if rule.startswith("Support") else f"Support: {rule}"


def groups(document: Json) -> Panel:
    model, key, name = document["model"], "groups", "Groups side by side"
    if not model["groups"]:
        return Panel(
            key, name, (), _comparisons(document), empty="No groups: none were named, and none could be formed from preference support."
        )
    shown = _ordered(model)
    columns = ("group", "users", "pairs", "accuracy", "mean margin", "log-loss", "ECE", "own agreement")
    rows = [
        (
            g["group"],
            "under 10" if g["suppressed"] else count(g["n_users"]),
            count(g["n_pairs"]),
            share(g["accuracy"]),
            plain(g["margin"], 2),
            plain(g["log_loss"]),
            share(g["ece"]),
            plain(g["ceiling"], 2) if g["ceiling"] else words.NONE,
        )
        for g in shown
    ]
    grey = [i for i, g in enumerate(shown) if g["excluded"]]
    table = listed("Each group, with 95 % intervals", columns, rows, "groups.csv", grey)
    rule, curve = document["groups_rule"], model["support"]
    if curve is not None and rule.endswith(f" {curve['rule']}"):  # the panel of support has said how it is measured
        rule = rule.removesuffix(curve["rule"])
    notes = (f"Groups: {rule.rstrip('. ')}." if rule else "", words.ungrouped_sentence(model))
    ceiling = OWN_AGREEMENT if any(g["ceiling"] for g in model["groups"]) else ""
    return Panel(key, name, (), (table, *_comparisons(document)), tuple(n for n in (*notes, ceiling) if n), words.gap_sentence(model))


def _comparisons(document: Json) -> tuple[Table, ...]:
    tables = []
    if document["others"]:
        rows = [_model_row(m["model"], m) for m in (document["model"], *document["others"])]
        tables.append(listed("Models on the same pairs", _MODEL_COLUMNS, rows, "models.csv"))
    if document["cells"]:
        rows = [_model_row(m["split"], m) for m in document["cells"]]
        tables.append(
            listed(
                "The audited model by seen and unseen users and prompts",
                ("split", *_MODEL_COLUMNS[1:]),
                rows,
                "models.csv",
                without_number([m["overall"] for m in document["cells"]]),
            )
        )
    return tuple(tables)


_MODEL_COLUMNS = ("model", "accuracy", "worst-served group", "gap, points", "users", "pairs")


def _model_row(name: str, model: Json) -> tuple[str, ...]:
    judged = words.usable(model)
    lowest = f"{judged[0]['group']}: {share(judged[0]['accuracy'])}" if len(judged) > 1 else words.NONE  # worst of one is nothing
    return name, share(model["overall"]), lowest, difference(model["gap"]) if model["gap"] else words.NONE, *counts(model["overall"])


def forest(model: Json, required: Json | None) -> Panel:
    """required: the requirement on the gap, if there is one; its tolerance is the band, its verdict decides what may be said."""
    key, name, rows = "forest", "Every group with its interval", rowplots.forest_groups(model)
    allowed = required["tolerance"] if required else None
    if not rows:
        return Panel(key, name, empty="No group to draw: none has enough users and an accuracy.")
    cells = [
        (
            g["group"],
            "under 10" if g["suppressed"] else count(g["n_users"]),
            count(g["n_pairs"]),
            share(g["accuracy"]),
            words.NONE if g["mde"] is None else points(g["mde"]),
            _against_others(g),
            g["excluded"],
        )
        for g in _ordered(model)
    ]
    grey = [i for i, g in enumerate(_ordered(model)) if g["excluded"]]
    table = listed(
        "Accuracy by group, the worst served first",
        ("group", "users", "pairs", "accuracy (95 % interval)", "detectable, points", "against all others", "excluded because"),
        cells,
        "groups.csv",
        grey,
        (0, 6),
    )
    wide, narrow = drawn(lambda w: rowplots.forest(rows, model["overall"], allowed, w))
    note = STROKE
    if len(rows) < len(model["groups"]):
        note += f" Drawn: {len(rows)} of {len(model['groups'])} groups."
    excluded = sum(bool(g["excluded"]) for g in model["groups"])
    sentence = _forest_sentence(model, allowed, excluded, required is None or required["verdict"] != "INSUFFICIENT")
    return Panel(key, name, (Figure(sentence, wide, narrow, note, table),))


def _against_others(group: Json) -> str:
    """Exploration, not a verdict: the p-value, and whether the group stands out once the number of groups is allowed for."""
    if group["p_value"] is None:
        return words.NONE
    return words.p_value(group["p_value"]) + (", stands out" if group["notable"] else "")


def _ordered(model: Json) -> list[Json]:
    """All groups: by accuracy, then the excluded, then those without a number."""
    return sorted(
        model["groups"], key=lambda g: (g["accuracy"]["value"] is None, bool(g["excluded"]), g["accuracy"]["value"] or 0.0, g["group"])
    )


def _forest_sentence(model: Json, allowed: float | None, excluded: int, decided: bool) -> str:
    used = words.usable(model)
    left_out = f" {excluded} of {len(model['groups'])} groups cannot be judged." if excluded else ""
    if not used:
        return f"No group can be judged.{left_out}"
    worst, best = used[0], used[-1]
    if len(used) == 1:
        return f"Accuracy of {words.group_name(worst['group'])} is {share(worst['accuracy'])}, {people(worst['accuracy'])}.{left_out}"
    ends = [f"{share(g['accuracy'])} for {words.group_name(g['group'])} ({people(g['accuracy'])})" for g in (worst, best)]
    span = f"Accuracy runs from {ends[0]} to {ends[1]}"
    if allowed is None:
        return f"{span}.{left_out}"
    outside = sum(g["accuracy"]["value"] < best["accuracy"]["value"] - allowed for g in used)
    lie = f"{outside} groups lie" if outside > 1 else f"{'one' if outside else 'no'} group lies"
    where = f"{lie} more than the tolerated {points(allowed)} points below the best-served"
    return f"{span}; {where}.{left_out}" if decided else f"{span}; by the estimates alone, {where}: not decided.{left_out}"


def null(model: Json) -> Panel:
    key, name = "null", "The gap against chance"
    rows = [r for r in model["null"] if None not in (r["observed"], r["expected"], r["null_low"], r["null_high"], r["p_value"])]
    if not rows:
        return Panel(key, name, empty="No comparison with chance: it takes two groups with enough users.")

    def show(row: Json, column: str, signed: bool = False) -> str:
        return f"{points(row[column], signed)} points" if words.is_share(row["statistic"]) else number(row[column], 3, signed)

    cells = [
        (
            r["statistic"],
            show(r, "observed"),
            show(r, "expected"),
            f"{show(r, 'null_low')} to {show(r, 'null_high')}",
            show(r, "excess", True),
            words.p_value(r["p_value"]),
            *counts(model["overall"]),
        )
        for r in rows
    ]
    table = listed(
        "Spread of the groups against permuted groups",
        ("statistic", "observed", "expected by chance", "95 % of permutations", "excess", "p-value", "users", "pairs"),
        cells,
        "null.csv",
    )
    wide, narrow = drawn(lambda w: rowplots.null(rows, w))
    note = SHUFFLED
    return Panel(key, name, (Figure(words.null_sentence(rows[0], model["overall"]), wide, narrow, note, table),))


def users(model: Json) -> Panel:
    key, name, spread = "users", "Single users", model["spread"]
    if spread is None:
        return Panel(key, name, empty="Not shown: fewer than 10 users, or too few pairs a user.")
    rows = [
        (
            m["name"],
            number(m["raw"], 3),
            number(m["expected_if_equal"], 3),
            number(m["excess"], 3, signed=True),
            number(m["shrunken"], 3),
            *counts(spread["tau"]),
        )
        for m in spread["metrics"]
    ]
    table = listed(
        "User-level metrics on accuracies from 0 to 1",
        ("metric", "raw", "expected if all were equal", "excess", "shrunken", "users", "pairs"),
        rows,
        "users.csv",
    )
    drawable = bool(spread["grid"]) and None not in (*spread["grid"], *spread["raw_density"], *spread["shrunken_density"])
    wide, narrow = drawn(lambda w: plots.users(spread, w)) if drawable else ("", "")
    note = f"{RAW} Test of equal users: {words.p_value(spread['tau_p_value'])}."
    return Panel(key, name, (Figure(words.users_sentence(spread), wide, narrow, note, table),))

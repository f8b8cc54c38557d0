"""The panel of constraints, and what a constrained fit adds to training health."""

from __future__ import annotations

from typing import Any

from evenhand.report import rateplots, words
from evenhand.report.layout import MOST_FIGURES, Figure, Panel, Table, counts, drawn, listed
from evenhand.report.words import NONE, capital, difference, number, plain, plain_difference, points, share

Json = dict[str, Any]

READ = "Hollow: before, filled: after, with single 95 % intervals."
READ_RATES = {
    "dp": f"A rate says how often y1 is preferred. {READ} The hatched band, in the middle of the rates after, must hold all of them.",
    "eo": f"A rate says how often y1 is preferred. {READ} The hatched band of a label, in the middle of its rates after, must hold all of them.",
    "cf": f"{READ} The hatched band must hold the mean gap of matched pairs.",
}
NOISE = (
    "Expected by noise: the violation that this model’s events would show if all their true rates were equal. A violation is the largest of "
    "several distances, so noise alone keeps it above 0."
)


def constraints(found: list[Json]) -> Panel:
    """At least one constraint: its rates, its violations, what it cost each group, and how it was asked for."""
    figures = tuple(_rates(c, i) for i, c in enumerate(found[:MOST_FIGURES]))
    tables = tuple(t for c in found for t in (_violations(c), *_costs(c)))
    notes: list[str] = []
    for c in found:
        about = f"{capital(c['name'])}: " if len(found) > 1 else ""
        notes += [f"{about}{lowered(said) if about else said}" for said in (c["levelling"], c["training"]) if said]
    rules = dict.fromkeys(c["rule"].rstrip(".") for c in found if c["rule"])
    notes += [f"Groups and the order of responses: {rule}." for rule in rules]
    notes += [NOISE] if any(c["notion"] != "cf" for c in found) else []
    return Panel("constraints", "Constraints", figures, tables, tuple(notes))


def _rates(constraint: Json, i: int) -> Figure:
    """Rates of all events. A rate counts how often y1 is preferred: neither high nor low is good, apart is not."""
    both = len({v["decision"] for v in constraint["violations"]}) > 1
    rows: list[tuple[str, ...]] = []
    grey: list[int] = []
    for v in constraint["violations"]:
        for r in v["rates"]:
            rate = r["rate"]
            grey += [len(rows)] if rate["after"]["value"] is None else []
            rows.append((r["event"], *([v["decision"]] if both else []), *_three(rate, share, difference), *counts(rate["after"])))
    columns = ("event", *(["decisions"] if both else []), *_before_after(constraint), "change, points", "users", "pairs")
    caption = "Mean gap of matched pairs" if constraint["notion"] == "cf" else "How often y1 is preferred, by event"
    table = listed(caption, columns, rows, "constraints.csv", grey, (0, 1) if both else (0,))
    drawable = any(r["rate"]["after"]["value"] is not None for v in constraint["violations"] for r in v["rates"])
    wide, narrow = drawn(lambda w: rateplots.rates(constraint, f"constraint-{i}", w)) if drawable else ("", "")
    note = READ_RATES[constraint["notion"]] if drawable else ""
    return Figure(words.constraint_sentence(constraint), wide, narrow, note, table)


def _before_after(constraint: Json) -> tuple[str, str]:
    return f"before: {constraint['before']}" if constraint["before"] else "before", f"after: {constraint['after']}"


def _three(paired: Json, show: Any, show_change: Any) -> tuple[str, str, str]:
    """Before, after and change as cells."""
    before, after, change = paired["before"], paired["after"], paired["change"]
    return show(before) if before else NONE, show(after), show_change(change) if change else NONE


def _unsigned(estimate: Json) -> str:
    """A violation in points, without a sign."""
    return NONE if estimate["value"] is None else share(estimate).replace(f"{words.NB}%", "")


def _violations(constraint: Json) -> Table:
    rows = []
    for v in constraint["violations"]:
        noise = f"{points(v['expected_before'])} → {points(v['expected_after'])}" if constraint["before"] else points(v["expected_after"])
        noise = NONE if v["expected_after"] is None else noise
        after = v["size"]["after"]
        name = f"{v['decision']}: {after['group']}" if after["group"] else v["decision"]
        rows.append((name, *_three(v["size"], _unsigned, difference), noise, v["verdict"], *counts(after)))
    columns = ("decisions: furthest apart", "before", "after", "change", "expected by noise", "verdict", "users", "pairs")
    caption = f"Violation of {constraint['name']} in points, with simultaneous intervals; at most {points(constraint['gamma'])} allowed"
    grey = [i for i, v in enumerate(constraint["violations"]) if v["size"]["after"]["value"] is None]
    return listed(caption, columns, rows, "constraints.csv", grey)


def _costs(constraint: Json) -> tuple[Table, ...]:
    """One table a metric: what the pairs of each group paid."""
    tables = []
    for key, name, show, show_change in (
        ("accuracy", "accuracy, difference in points", share, difference),
        ("log_loss", "log-loss", plain, plain_difference),
        ("ece", "expected calibration error (ECE), difference in points", share, difference),
    ):
        rows = [(c["group"], *_three(c[key], show, show_change), *counts(c[key]["after"])) for c in constraint["costs"]]
        grey = [i for i, c in enumerate(constraint["costs"]) if c[key]["after"]["value"] is None]
        about = f"What {constraint['name']} cost each group: {name}"
        tables.append(listed(about, ("pairs of", "before", "after", "difference", "users", "pairs"), rows, "constraints.csv", grey))
    return tuple(tables) if constraint["costs"] else ()


def lowered(sentence: str) -> str:
    """To stand after a colon."""
    return sentence[:1].lower() + sentence[1:]


def training(found: list[Json]) -> tuple[Figure, ...]:
    """Panel 9: violations and multipliers by epoch of each constrained fit."""
    return tuple(_training(c, i) for i, c in enumerate(found) if c["fitted"])[:MOST_FIGURES]


def _training(constraint: Json, i: int) -> Figure:
    fitted = constraint["fitted"]
    largest = rateplots.largest_multiplier(fitted)
    epochs = max(len(fitted[k]) for k in ("train_violation", "valid_violation", "multipliers"))

    def at(values: list[Any], epoch: int) -> Any:
        return values[epoch] if epoch < len(values) else None

    rows = []
    for e in range(epochs):
        multipliers = at(fitted["multipliers"], e) or []
        own = number(multipliers[largest], 3) if largest is not None and largest < len(multipliers) else NONE
        violations = (points(at(fitted[k], e)) for k in ("train_violation", "valid_violation"))
        rows.append((str(e + 1), *violations, own, number(sum(m for m in multipliers if m is not None), 3)))
    name = "largest multiplier" if largest is None else f"multiplier of {fitted['names'][largest]}"
    columns = ("epoch", "violation in training, points", "in validation, points", name, "sum of all multipliers")
    table = listed(f"Violations and multipliers by epoch: {constraint['name']}", columns, rows, "multipliers.csv")
    drawable = any(v is not None for k in ("train_violation", "valid_violation") for v in fitted[k])
    wide, narrow = drawn(lambda w: rateplots.training(constraint, f"constrained-{i}", w)) if drawable else ("", "")
    note = f"Multipliers are {fitted['multiplier']} and follow the violations by {fitted['dual']} decisions: they grow while a constraint is violated and sink while it is not."
    return Figure(f"{capital(constraint['name'])}: {lowered(constraint['training'])}", wide, narrow, note, table)

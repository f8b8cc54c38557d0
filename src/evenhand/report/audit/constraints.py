"""The panel of constraints: rates, violations, what they cost each group, and how they were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from evenhand.audits import findings as f
from evenhand.core import Estimate
from evenhand.report.audit import sentences
from evenhand.report.audit.panels import MOST_FIGURES
from evenhand.report.audit.training import multipliers
from evenhand.report.figures import intervals
from evenhand.report.figures.strips import Block
from evenhand.report.numbers import NONE, Show, capital, decimals, has_value, is_known, percent, points, signed_points
from evenhand.report.page import COUNTS, Cell, Column, Figure, Panel, Table, counts, plain_table

READ = {
    "dp": "A rate says how often y1 is preferred. Hollow: before, filled: after. The shaded band must hold all rates after.",
    "eo": "A rate says how often y1 is preferred. Hollow: before, filled: after. The shaded band of a label must hold its rates after.",
    "cf": "Hollow: before, filled: after. The shaded band must hold the mean gap of matched pairs.",
}
NOISE = (
    "Expected by noise: the violation that this model’s events would show if all their true rates were equal. A violation is the largest of "
    "several distances, so noise alone keeps it above 0."
)
COSTS: tuple[tuple[str, str, Show, Show], ...] = (  # what a group paid
    ("accuracy", "accuracy, difference in points", percent, signed_points),
    ("log_loss", "log-loss", decimals(3), decimals(3, signed=True)),
    ("ece", "expected calibration error (ECE), difference in points", percent, signed_points),
)


def constraints(found: Sequence[f.ConstraintFindings]) -> Panel | None:
    """The rates under each constraint, its violations, what it cost each group, and how it was asked for."""
    if not found:
        return None
    figures = tuple(_rates(c, i) for i, c in enumerate(found[:MOST_FIGURES]))
    levelled = [c for c in found if c.levelling]
    levelling = [f"{capital(c.name)}: {sentences.lowered(c.levelling)}" for c in levelled]
    levelling = levelling if len({c.levelling for c in levelled}) > 1 else [c.levelling for c in levelled[:1]]  # all say the same
    rules = dict.fromkeys(f"Groups and the order of responses: {c.rule.rstrip('.')}." for c in found if c.rule)
    noise = [NOISE] if any(c.notion != "cf" for c in found) else []
    tables, files = (violations(found), *_costs(found)), (_numbers(found), multipliers(found))
    return Panel("constraints", "Constraints", "", figures, tables, (*levelling, *rules, *noise), csv_only=files)


def _rates(constraint: f.ConstraintFindings, i: int) -> Figure:
    """Rates of all events. A rate counts how often y1 is preferred: neither high nor low is good, apart is not."""
    shown = constraint.violations
    rows = tuple((r.event, v.decision, *_three(r.rate), *counts(r.rate.after)) for v in shown for r in v.rates)
    columns = (Column("event"), Column("decisions", on_page=len({v.decision for v in shown}) > 1), *_columns(constraint, percent), *COUNTS)
    about = "Mean gap of matched pairs" if constraint.notion == "cf" else "How often y1 is preferred, by event"
    about += f"; before: {constraint.before}, after: {constraint.after}" if constraint.before else ""
    drawable = is_known(constraint.gamma) and any(has_value(r.rate.after) for v in shown for r in v.rates)
    panels = [_strip_of_rates(constraint, v) for v in shown]
    plot = partial(intervals.rates, f"constraint-{i}", panels, constraint.gamma) if drawable else None
    table = Table(about, columns, rows, elsewhere="constraints")
    return Figure(sentences.constraint_sentence(constraint), plot, READ[constraint.notion] if plot else "", table)


def _strip_of_rates(constraint: f.ConstraintFindings, violation: f.ViolationFinding) -> intervals.Rates:
    """Under equalized odds only events of one label are compared; these take turns."""
    is_by_label = constraint.notion == "eo"
    order = sorted(range(len(violation.rates)), key=lambda i: i % 2 if is_by_label else 0)[: intervals.MOST_ROWS]
    rows = [violation.rates[i] for i in order]
    blocks = []
    for label in sorted({i % 2 if is_by_label else 0 for i in order}):
        of = [y for y, i in enumerate(order) if not is_by_label or i % 2 == label]
        known = [rows[y].rate.after.value for y in of if has_value(rows[y].rate.after)]
        if known:
            start = 0.0 if constraint.notion == "cf" else (min(known) + max(known) - constraint.gamma) / 2
            blocks.append(Block(range(of[0], of[-1] + 1), start))
    moved = tuple(intervals.Moved(r.event, r.rate.before, r.rate.after, r.rate.change) for r in rows)
    return intervals.Rates(f"{violation.decision} decisions", moved, tuple(blocks))


def _columns(constraint: f.ConstraintFindings, show: Show, change: Show = signed_points, unit: str = ", points") -> tuple[Column, ...]:
    first = bool(constraint.before)
    return Column("before", show, on_page=first), Column("after", show), Column(f"change{unit}", change, on_page=first)


def _three(paired: f.Paired) -> tuple[Estimate | None, Estimate, Estimate | None]:
    return paired.before, paired.after, paired.change


def violations(found: Sequence[f.ConstraintFindings]) -> Table:
    """Of all constraints, in points, each by soft and by hard decisions."""
    rows: list[tuple[Cell, ...]] = []
    for c in found:
        for v in c.violations:
            after = v.size.after
            noise = f"{points(v.expected_before)} → {points(v.expected_after)}" if c.before else points(v.expected_after)
            name = f"{c.name}, {v.decision}" + (f": {after.group}" if after.group else "")
            rows.append((name, *_three(v.size), noise if is_known(v.expected_after) else NONE, c.gamma, v.verdict, *counts(after)))
    columns = (
        Column("decisions: furthest apart"), Column("before", points), Column("after", points), Column("change", signed_points),
        Column("expected by noise"), Column("allowed", points), Column("verdict"), *COUNTS,
    )  # fmt: skip
    return Table("Violations in points, with simultaneous intervals", columns, tuple(rows))


def _costs(found: Sequence[f.ConstraintFindings]) -> Iterator[Table]:
    """One table a metric: what the pairs of each group paid. Constraints on one fit cost each group the same, which is said once."""
    groups: list[f.GroupCost] = []
    for c in found:
        groups += [cost for cost in c.costs if not any(g.group == cost.group and g.accuracy == cost.accuracy for g in groups)]
    whose = "the constraints" if len(found) > 1 else found[0].name
    for name, title, show, change in COSTS:
        rows = tuple((g.group, *_three(vars(g)[name]), *counts(vars(g)[name].after)) for g in groups)
        columns = (Column("pairs of"), *_columns(found[0], show, change, ""), *COUNTS)
        yield Table(f"What {whose} cost each group: {title}", columns, rows, elsewhere="constraints")


def _numbers(found: Sequence[f.ConstraintFindings]) -> Table:
    """A row a number under both models: violations, with what noise alone would show after, then rates of events, then costs of groups."""
    rows: list[tuple[Cell, ...]] = []
    for c in found:
        about = c.notion, c.gamma, c.before, c.after
        for v in c.violations:
            rows.append((*about, f"{v.decision} violation", "", *_three(v.size), v.expected_after, v.verdict))
            rows += [(*about, f"{v.decision} rate", r.event, *_three(r.rate), None, "") for r in v.rates]
        rows += [(*about, name, g.group, *_three(vars(g)[name]), None, "") for g in c.costs for name, *_ in COSTS]
    heads = (
        "notion", "gamma", "model_before", "model_after", "quantity", "event", "before", "after", "change", "expected_by_noise", "verdict",
    )  # fmt: skip
    return plain_table("Constraints", heads, rows, "constraints")

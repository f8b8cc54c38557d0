"""Panel 8 for constraints: what entries give up in accuracy for event rates that lie closer together."""

from __future__ import annotations

from dataclasses import replace

from evenhand.audits.results import Comparison, ConstraintFront
from evenhand.report.comparison import sentences as said
from evenhand.report.figures.scatter import Bound, Place, outside, tradeoff
from evenhand.report.numbers import count, has_value, listing, people, percent, points, signed_points
from evenhand.report.page import Column, Figure, Name, Panel, Table

MOST_FIGURES = 4
RULE = (
    "Chosen: of the entries whose violation on validation pairs is within what is accepted, the one with the highest accuracy there. Accepted is the "
    "gamma of the constrained entries if they share one, else what was asked for, or 5 points. Noise alone: the violation that the reference would "
    "show if all its true rates were equal; no model can be told from an even one to its left."
)
SEEDS = (
    "A violation is the mean of the seeds’ own, what one training is to be expected to have; the noise of each seed pushes it up. Pooled: rates are "
    "averaged over seeds first, so that noise which differs between seeds cancels and the bias that they share remains; its intervals hold for all "
    "compared events at once."
)
COLUMNS = (
    Column("entry"), Column("notion", on_page=False), Column("decision", on_page=False), Column("gamma", on_page=False),
    Column("chosen", on_page=False), Column("knee", on_page=False), Column("not_dominated_validation", on_page=False),
    Column("not_dominated_test", on_page=False), Column("violation, validation", points, "validation"), Column("violation, test", points, "test"),
    Column("", key="pooled_validation", on_page=False), Column("pooled, test", points, "pooled_test"),
    Column("change of violation", signed_points, "difference_from_reference"), Column("", key="pooled_difference_from_reference", on_page=False),
    Column("accuracy, test", percent, in_csv=False), Column("change of accuracy", signed_points, "accuracy_difference_from_reference"),
)  # fmt: skip


def panel(found: Comparison) -> Panel:
    """A figure a notion and kind of decision."""
    fronts = found.constraint_fronts
    rule = f"Groups and the order of responses: {found.events_rule.rstrip('.')}." if found.events_rule else ""
    notes = tuple(
        n for n in (rule, RULE, SEEDS * (len(found.seeds) > 1), *(_beyond(found, f) for f in fronts[:MOST_FIGURES])) if n and fronts
    )
    figures, tables = tuple(_figure(found, f, i) for i, f in enumerate(fronts)), (_events(found),) if found.events else ()
    return Panel("constraints", "Accuracy against constraints", "", figures, tables, notes)


def _figure(found: Comparison, front: ConstraintFront, i: int) -> Figure:
    bound, sentence, table = _bound(found, front), said.constraint_sentence(found, front), violations(found, front)
    if front.suppressed or i >= MOST_FIGURES or len(bound.places) < 2:
        return Figure(sentence, table=table)
    note = "Up and to the left is better. Crosses: 95 % intervals." + (" Lines join entries in the order of gamma." if bound.lines else "")
    return Figure(sentence, lambda width: tradeoff(f"tradeoff-{i}", bound, width), note, table)


def _beyond(found: Comparison, front: ConstraintFront) -> str:
    """What a figure has no room for."""
    bound = _bound(found, front)
    beyond = [] if front.suppressed or len(bound.places) < 2 else outside(bound)
    name = f"{said.NOTIONS[front.notion]} by {front.decision} decisions"
    return f"Beyond the figure of {name}: {listing(beyond)}." if beyond else ""


def _bound(found: Comparison, front: ConstraintFront) -> Bound:
    labels, joined = said.labels(found), {name for line in front.lines for name in line}
    gammas = {e.name: f"γ {float(e.settings['gamma']):g}" for e in found.running if e.name in joined and len(front.lines) == 1}
    names = labels | gammas
    places = []
    for e in found.running:
        v = e.violation(front)
        if v and e.selection and all(map(has_value, (v.selection, v.held_out, e.selection[-1], e.held_out[-1]))):
            places.append(Place(names[e.name], (v.selection, e.selection[-1]), (v.held_out, e.held_out[-1]), *said.roles(front, e.name)))
    lines = [[names[n] for n in line] for line in front.lines]
    return Bound(f"{front.decision} decisions", places, lines, front.gamma, (front.noise_selection, front.noise_held_out))


def violations(found: Comparison, front: ConstraintFront) -> Table:
    """A row an entry; violations.csv has those of all fronts, pooled differences too."""
    rows, counted = [], ""
    for e, v in ((e, v) for e in found.entries if (v := e.violation(front))):
        is_best, is_best_held_out, is_base, is_chosen, is_knee = said.roles(front, e.name)
        is_so = {"◆ chosen for the constraint": is_chosen, "knee": is_knee, "on the front": is_best, "■ reference": is_base}
        rows.append((
            Name(e.name, tuple(mark for mark, so in is_so.items() if so)), v.notion, v.decision, front.gamma, is_chosen, is_knee, is_best, is_best_held_out,
            v.selection, v.held_out, v.pooled_selection, v.pooled, v.difference, v.pooled_difference, e.held_out[-1], e.cost,
        ))  # fmt: skip
        counted = counted or f" ({people(v.held_out)} in events)"
    caption = f"Violation of {said.NOTIONS[front.notion]} by {front.decision} decisions, in points, at most {points(front.gamma)} accepted"
    columns = tuple(replace(c, on_page=c.on_page and (len(found.seeds) > 1 or c.name != "pooled, test")) for c in COLUMNS)
    return Table(caption + counted, columns, tuple(rows), "violations")


def _events(found: Comparison) -> Table:
    """Who stands behind each rate."""
    columns = (
        Column("notion", on_page=False), Column("notion", in_csv=False), Column("event"), Column("users, validation", _few, "validation_users"),
        Column("pairs, validation", count, "validation_pairs"), Column("users, test", _few, "test_users"), Column("pairs, test", count, "test_pairs"),
    )  # fmt: skip
    rows = tuple(
        (c.notion, said.NOTIONS[c.notion], c.event, c.selection_users, c.selection_pairs, c.held_out_users, c.held_out_pairs)
        for c in found.events
    )
    grey = frozenset(i for i, c in enumerate(found.events) if c.held_out_users is None or c.selection_users is None)
    caption = f"Users and pairs of each event{', over all seeds' * (len(found.seeds) > 1)} (counterfactual fairness: matched sets)"
    return Table(caption, columns, rows, "events", grey)


def _few(value: float | None) -> str:
    return "under 10" if value is None else count(value)

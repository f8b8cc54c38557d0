"""Results without the numbers of small groups, and without what these could be computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

from evenhand.audits.ranking import dominance
from evenhand.audits.results import Comparison, ConstraintFront, EventCount, Pairwise, Result, Violated
from evenhand.core import SMALLEST_CELL, Estimate
from evenhand.report.publish import hidden, is_small, may_be_named

HIDDEN_FRONT: dict[str, Any] = {
    "best": (), "best_held_out": (), "knee": "", "hypervolume_selection": nan, "hypervolume_held_out": nan, "suppressed": True,
}  # fmt: skip


def hide(found: Comparison) -> Comparison:
    """What may be printed: without the numbers of small groups, what they could be computed from, and the shape of fronts made of them."""
    small = {i for e in found.entries for i, at in enumerate(zip(e.selection, e.held_out)) if any(is_small(x.n_users) for x in at)}
    gone = _with_complement(small, found.running[0].held_out) if found.running else small
    names = {found.groups[i] for i in gone if i < len(found.groups)}
    few = {c.notion for c in found.events if is_small(c.selection_users) or is_small(c.held_out_users)}
    kept, front = set(found.groups) - names, found.front
    by_group = {k: v for k, v in found.exclusions.by_group.items() if may_be_named(k, v, names, kept)}
    return replace(
        found, entries=tuple(_entry(e, gone, few) for e in found.entries), pairwise=tuple(_pair(p, names) for p in found.pairwise),
        front=replace(front, **HIDDEN_FRONT) if front and names and len(kept) < 2 else front,
        constraint_fronts=tuple(_constraint_front(f) if f.notion in few else f for f in found.constraint_fronts),
        events=tuple(_event(c) if c.notion in few else c for c in found.events), exclusions=replace(found.exclusions, by_group=by_group),
    )  # fmt: skip


def _with_complement(small: set[int], cells: Sequence[Estimate]) -> set[int]:
    """Small groups, and the next larger ones until what the numbers of all users (the last cell) leave beside those of the groups shown is of
    ten users or more: else the small group's could be computed.
    """
    out = set(small)
    for i in sorted(range(len(cells) - 1), key=lambda i: cells[i].n_users):
        rest = cells[-1].n_users - sum(e.n_users for j, e in enumerate(cells[:-1]) if j not in out)
        out |= {i} if out and rest < SMALLEST_CELL and cells[i].n_users else set()
    return out


def _entry(e: Result, gone: set[int], few: set[str]) -> Result:
    def without(estimates: tuple[Estimate, ...], places: set[int]) -> tuple[Estimate, ...]:
        return tuple(hidden(x) if i in places else x for i, x in enumerate(estimates))

    columns = list(zip(*e.cells.values()))
    scarce = gone | {i for i, column in enumerate(columns) if any(is_small(x.n_users) for x in column)}
    if columns and len(columns) - 1 in scarce:  # few unseen users in all
        scarce = set(range(len(columns)))
    elif len(scarce) == 1:  # a group's would be what those of all users leave beside those of the other groups
        others = {i: sum(x.n_users for x in c) for i, c in enumerate(columns[:-1]) if i not in scarce and any(x.n_users for x in c)}
        scarce |= set(sorted(others, key=lambda i: others[i])[:1])
    metrics = [replace(m, groups=without(m.groups, gone), gap=m.gap and hidden(m.gap) if gone & {0, 1} else m.gap) for m in e.metrics]
    is_gap = [m.name == "gap" and bool(gone & {0, 1}) for m in e.unfairness]
    return replace(
        e, selection=without(e.selection, gone), held_out=without(e.held_out, gone), cells={k: without(v, scarce) for k, v in e.cells.items()},
        over_seeds=tuple(nan if i in gone else s for i, s in enumerate(e.over_seeds)),
        unfairness=tuple(
            replace(m, value=hidden(m.value), difference=m.difference and hidden(m.difference)) if gap else m
            for m, gap in zip(e.unfairness, is_gap)
        ),
        metrics=tuple(metrics), violations=tuple(_violated(v) if v.notion in few else v for v in e.violations),
    )  # fmt: skip


def _violated(v: Violated) -> Violated:
    """Where an event is small no violation is shown, nor which two events are furthest apart. A difference speaks of no event alone, but with
    the reference's violation it would give an entry's away.
    """
    gone: dict[str, Any] = {k: replace(hidden(x), group="") for k, x in vars(v).items() if isinstance(x, Estimate)}
    return replace(v, **gone)


def _pair(pair: Pairwise, gone: set[str]) -> Pairwise:
    """A verdict between two entries is that of the differences that are shown."""

    def without(estimates: tuple[Estimate, ...]) -> tuple[Estimate, ...]:
        return tuple(hidden(x) if x.group in gone else x for x in estimates)

    kept = [d for d in pair.differences if d.group not in gone and not is_small(d.n_users)]
    verdict = pair.verdict if len(kept) == len(pair.differences) else dominance(kept) if kept else ""
    return Pairwise(pair.first, pair.second, without(pair.differences), verdict, without(pair.in_these_deals), without(pair.by_run))


def _constraint_front(front: ConstraintFront) -> ConstraintFront:
    """Nothing of a front is shown where an event is small: every place on it is a distance between events."""
    return replace(front, **HIDDEN_FRONT, chosen="", nearest="", noise_selection=nan, noise_held_out=nan)


def _event(c: EventCount) -> EventCount:
    """Pairs of the other events beside those of all events would give a small one's away."""
    users = [None if is_small(n) else n for n in (c.selection_users, c.held_out_users)]
    return replace(c, selection_users=users[0], held_out_users=users[1], selection_pairs=None, held_out_pairs=None)

"""What `compare` and `sweep` print: several models on the same pairs, the choice among them, and what it gives and takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

from evenhand.audits.ranking import dominance
from evenhand.audits.results import Comparison, ConstraintFront, EventCount, Pairwise, Result, Violated
from evenhand.core import SMALLEST_CELL, Estimate
from evenhand.report import Kind
from evenhand.report.comparison import constraints, panels
from evenhand.report.comparison import sentences as said
from evenhand.report.page import Answer, Figure, Page, Panel, data_panel
from evenhand.report.publish import apart, document, hidden, is_small, may_be_named, one_line, publish, renamed, without_size

TABLES = ("results", "metrics", "pairwise", "unfairness", "cells", "exclusions", "violations", "events")
HIDDEN_FRONT: dict[str, Any] = {
    "best": (), "best_held_out": (), "knee": "", "hypervolume_selection": nan, "hypervolume_held_out": nan, "suppressed": True,
}  # fmt: skip


def page(findings: Comparison) -> Page:
    """The choice, its figures and tables."""
    found = published(findings)
    bound, data = constraints.panel(found), data_panel(found.exclusions, found.facts, said.formulas(found), found.limits)
    makers = panels.users, panels.seen_and_unseen, panels.hyperparameters, panels.settings
    every = (panels.results(found), bound, panels.pairwise(found), *(make(found) for make in makers), data)
    first, every = lifted(every, ("results", "pairwise", "constraints" if bound.figures else "users"))
    about = dict.fromkeys(said.constraint_sentence(found, f) for f in found.constraint_fronts)
    sentences = (said.users_sentence(found), said.pairwise_sentence(found), said.front_sentence(found), *list(about)[:2])
    failed = [f"Failed: {e.name}: {e.failed}" for e in found.entries if e.failed][:4]
    answers = tuple(Answer(text) for text in (said.choice(found), said.meaning(found)) if text)
    return Page(
        said.headline(found), "neutral", answers, every, to_json(found), found.title, found.simulated, summary=said.summary(found),
        note=found.note, first=first, brief=panels.brief(found), said=(*filter(None, sentences), *failed), facts=found.facts,
        command=found.command,
    )  # fmt: skip


def published(findings: Comparison) -> Comparison:
    """The same records as they may be printed."""
    return publish(replace(shown(distinct(findings)), groups_rule=without_size(findings.groups_rule)))


def lifted(every: Sequence[Panel], keys: tuple[str, ...]) -> tuple[tuple[Figure, ...], tuple[Panel, ...]]:
    """The first figures of some panels, for the first screen; their tables stay where they are."""
    first, out = [], []
    for p in every:
        figure = p.figures[0] if p.figures and p.key in keys else None
        if figure and figure.plot:
            first.append(replace(figure, table=None, section=p.key))
            p = replace(p, figures=p.figures[1:], tables=(*([figure.table] if figure.table else []), *p.tables))
        out.append(p)
    return tuple(sorted(first, key=lambda f: keys.index(f.section))), tuple(out)


COMPARISON = Kind("comparison", page, TABLES)
SWEEP = Kind("sweep", page, TABLES)


def to_json(found: Comparison) -> dict[str, Any]:
    """Published results, plus `format`, `formulas` and, of every entry, `dominates` and `dominated_by`: names of entries."""
    by = found.dominated_by
    beats = {e.name: [n for n, winners in by.items() if e.name in winners] for e in found.entries}
    entries = [document(e) | {"dominates": beats[e.name], "dominated_by": list(by[e.name])} for e in found.entries]
    return {"format": "evenhand comparison 1", **document(found), "entries": entries, "formulas": said.formulas(found)}


def distinct(found: Comparison) -> Comparison:
    """Entries and groups whose names look alike once they are printable get names that stay two."""
    names = apart((*(e.name for e in found.entries), *found.groups))
    parts = {k: renamed(v, names) for k, v in vars(found).items() if k in ("entries", "groups", "pairwise", "front", "constraint_fronts")}
    return replace(found, **parts) if any(one_line(k) != v for k, v in names.items()) else found


def shown(found: Comparison) -> Comparison:
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

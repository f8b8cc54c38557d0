"""What `compare` and `sweep` print: several models on the same pairs, the choice among them, and what it gives and takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evenhand.audits.results import Comparison
from evenhand.report import Kind
from evenhand.report.comparison import constraints, pairwise, panels, settings
from evenhand.report.comparison import sentences as said
from evenhand.report.comparison.hide import hide
from evenhand.report.page import Answer, Figure, Page, Panel, data_panel
from evenhand.report.publish import apart, document, one_line, publish, renamed, without_size

TABLES = ("results", "metrics", "pairwise", "unfairness", "cells", "exclusions", "violations", "events")


def page(findings: Comparison) -> Page:
    """The choice, its figures and tables."""
    found = published(findings)
    bound, data = constraints.panel(found), data_panel(found.exclusions, found.facts, said.formulas(found), found.limits)
    makers = panels.users, panels.seen_and_unseen, settings.hyperparameters, settings.settings
    every = (panels.results(found), bound, pairwise.pairwise(found), *(make(found) for make in makers), data)
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
    return publish(replace(hide(distinct(findings)), groups_rule=without_size(findings.groups_rule)))


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

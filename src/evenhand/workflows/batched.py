"""Audit of score columns over batches of whole users: any number of pairs, and the same bits however they lie in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evenhand.core import Exclusions, Groups
from evenhand.data.batches import PairBatches, Rows
from evenhand.data.canonical import places, sorted_order
from evenhand.data.support import Support
from evenhand.report import Report
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.grouping import support_of
from evenhand.workflows.halves import halves_of, is_split
from evenhand.workflows.model_report import report_on
from evenhand.workflows.outcome_batches import outcome_batches
from evenhand.workflows.score_facts import score_facts
from evenhand.workflows.settings import AuditSettings


def audit_batches(
    data: PairBatches,
    scores: Sequence[str],
    settings: AuditSettings,
    told: Mapping[str, str] | None = None,
    users: Sequence[str] | None = None,
) -> Report:
    """The audit of score columns, as `audit.audit_scores` says, in passes over the batches. told: further facts. users: those of the data, in the
    order in which a table of them is written.

    Raises DataError as there; settings have neither constraints nor examples to show, which need all pairs at once.
    """
    halves = halves_of(data, settings.seed)
    support = support_of(data, halves.known)
    groups = settings.grouping.groups(data, support)
    settings.check(groups)
    assign(settings, data.users if users is None else users, groups, support)
    name = settings.name or " - ".join(scores)
    curve = outcomes = outcome_batches(data, scores, halves.tested, model=name, split=halves.where)
    judged = _count(data, halves.tested)
    if settings.grouping.attributes and not is_split(data):
        outcomes, judged = outcome_batches(data, scores, model=name, split="all rows"), len(data)
    out = len(data) - judged
    left = Exclusions(len(data), judged, {"serve for support, or in no scored part": out} if out else {})
    known = f"{_count(data, halves.known):,} pairs, none of which is in the support curve"
    more = {"scores": ", ".join(scores), "support from": known, **score_facts(data, scores), **(told or {})}
    return report_on(data, outcomes, curve, groups, support, left, more, settings, ())


def assign(settings: AuditSettings, users: Sequence[str], groups: Groups, support: Support) -> None:
    """The table of users, in the order that they were given in. groups, support: in the order of ids."""
    if settings.assignments is None:
        return
    order, of_user, values = sorted_order(users), groups.of_user, support.values
    if order is not None:
        place = places(order)[:-1]
        of_user, values = of_user[place], values[place]
    settings.assign(users, Assignment(settings.seed, replace(groups, of_user=of_user), values))


def _count(data: PairBatches, rows: Rows) -> int:
    return sum(int(np.count_nonzero(rows(batch))) for batch in data)

"""Audit of score columns over batches of whole users: any number of pairs, and the same bits however they lie in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evenhand.core import Exclusions
from evenhand.data.batches import PairBatches, Rows
from evenhand.report import Report
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.grouping import support_of
from evenhand.workflows.halves import halves_of, is_split
from evenhand.workflows.model_report import report_on
from evenhand.workflows.outcome_batches import outcome_batches
from evenhand.workflows.score_facts import score_facts
from evenhand.workflows.settings import AuditSettings


def audit_batches(data: PairBatches, scores: Sequence[str], settings: AuditSettings, told: Mapping[str, str] | None = None) -> Report:
    """What `audit.audit_scores` does with columns, in passes over the batches. told: further facts.

    Raises DataError as there; settings have neither constraints nor examples to show, which need all pairs at once.
    """
    halves = halves_of(data, settings.seed)
    support = support_of(data, halves.known)
    groups = settings.grouping.groups(data, support)
    settings.check(groups)
    settings.assign(data.users, Assignment(settings.seed, groups, support.values))
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


def _count(data: PairBatches, rows: Rows) -> int:
    return sum(int(np.count_nonzero(rows(batch))) for batch in data)

"""The report of one model, of which pairs are in memory or in batches."""

from __future__ import annotations

from dataclasses import replace

from evenhand.audits.batch import batches_of
from evenhand.audits.examine import examine_support, study_of_model
from evenhand.audits.findings import ConstraintFindings, FairnessReport
from evenhand.audits.outcomes import OutcomeBatches, Outcomes
from evenhand.audits.passes import over, side_by_side
from evenhand.audits.verdicts import study_of_requirements
from evenhand.core import Exclusions, Groups, PreferenceData
from evenhand.data.batches import PairBatches
from evenhand.data.support import Support
from evenhand.report import Report
from evenhand.report.audit import report as report_of
from evenhand.workflows.facts import LIMITS, facts, joined
from evenhand.workflows.score_facts import ONE_SIDE
from evenhand.workflows.settings import AuditSettings


def report_on(
    data: PreferenceData | PairBatches,
    outcomes: Outcomes | OutcomeBatches,
    curve: Outcomes | OutcomeBatches,
    groups: Groups,
    support: Support,
    left: Exclusions,
    more: dict[str, str],
    settings: AuditSettings,
    constraints: tuple[ConstraintFindings, ...],
    limits: tuple[str, ...] = LIMITS,
) -> Report:
    """The report of one model without a model to compare it with; `curve` are the outcomes that support may be held against."""
    exclusions = joined(data, left)
    drawn = {"resamples": settings.resamples, "seed": settings.seed}
    known = support.values if curve is outcomes else None
    model = study_of_model(outcomes, groups, known, support.rule, exclusions=data.exclusions, metrics=settings.metrics, **drawn)
    asked = study_of_requirements(outcomes, groups, settings.require, tolerance=settings.tolerance, seed=settings.seed)
    found, (requirements, flaw) = over(batches_of(outcomes, groups), side_by_side(model, asked))
    if curve is not outcomes:
        found = replace(found, support=examine_support(curve, support.values, support.rule, **drawn))
    if isinstance(data, PreferenceData) and isinstance(outcomes, Outcomes):
        settings.show(data, outcomes, groups, support, found)
    return report_of(
        FairnessReport(
            title=settings.title or f"Audit of {outcomes.model} on {data.source}",
            note=settings.note,
            simulated=settings.simulated,
            requirements=requirements,
            model=found,
            others=(),
            changes=(),
            cells=(),
            training=(),
            groups_rule=groups.rule,
            exclusions=exclusions,
            facts=facts(data, settings.seed, more),
            formulas=settings.formulas,
            limits=limits,
            command=settings.command,
            constraints=constraints,
            flaw=flaw or more.get(ONE_SIDE, ""),
        )
    )

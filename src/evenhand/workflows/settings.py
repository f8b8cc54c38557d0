"""What an audit is held to: groups, tolerances, requirements, and how its numbers are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path

from evenhand.audits.findings import ModelFindings
from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.requirements import parse_requirement
from evenhand.audits.verdicts import TOLERANCE
from evenhand.core import NOTIONS, EvenhandError, Groups, Notion, PreferenceData, clip
from evenhand.data.support import Support
from evenhand.workflows import assignments
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.examples import ShowExamples
from evenhand.workflows.facts import FORMULAS
from evenhand.workflows.grouping import Grouping


@dataclass(frozen=True)
class AuditSettings:
    """tolerance: the largest accepted accuracy gap, a fraction of 1. require: further requirements."""

    grouping: Grouping = Grouping()  # noqa: RUF009 - frozen, so it may be shared
    tolerance: float = TOLERANCE
    require: Sequence[str] = ()
    resamples: int = 1000
    seed: int = 0
    simulated: bool = False
    command: str = ""
    constraints: Sequence[tuple[Notion, float]] = ()  # (notion, gamma): largest accepted gap of event rates
    assignments: str | Path | None = None  # CSV for every user's group and support; private, so only where it is asked for
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    name: str = ""  # of the model in the report; "" = what it is called by itself
    title: str = ""
    note: str = ""
    show_examples: ShowExamples | None = None  # a private page of misordered pairs

    def __post_init__(self) -> None:
        for notion, gamma in self.constraints:
            if notion not in NOTIONS or not 0 < gamma <= 1:
                raise EvenhandError(
                    f"Found constraint {notion}={gamma:g}. Expected: {', '.join(NOTIONS)}, with a gap above 0 and at most 1. "
                    "To do: such as dp=0.05."
                )
        for text in self.require:
            parse_requirement(text, None)
        if self.assignments is not None:
            assignments.check_place(Path(self.assignments))
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise EvenhandError(f"seed is {clip(self.seed)}. Expected: a whole number, 0 or more. To do: 0 is usual.")
        if not isinstance(self.tolerance, Real) or not 0 <= self.tolerance <= 1:
            raise EvenhandError(f"tolerance is {clip(self.tolerance)}. Expected: a fraction from 0 to 1. To do: 5 points are 0.05.")
        if not isinstance(self.resamples, Integral) or self.resamples < 1:
            raise EvenhandError(f"resamples is {clip(self.resamples)}. Expected: a whole number above 0. To do: 1000 are usual.")
        if self.show_examples is not None and not isinstance(self.show_examples, ShowExamples):
            raise EvenhandError(
                f"show_examples is {clip(self.show_examples)}. Expected: how many pairs, and the folder of their private page. "
                "To do: show_examples=evenhand.ShowExamples(20, 'folder')."
            )

    @property
    def formulas(self) -> dict[str, str]:
        """For the report: those of every report, and of metrics brought along."""
        return {**FORMULAS, **{name: metric.formula for name, metric in self.metrics.items() if name not in METRICS}}

    def check(self, groups: Groups) -> None:
        """Read the requirements once more, now that groups are known, so that a typo costs no training."""
        for text in self.require:
            parse_requirement(text, groups)

    def show(self, data: PreferenceData, outcomes: Outcomes, groups: Groups, support: Support, found: ModelFindings) -> None:
        """Write the private page where that was asked for."""
        if self.show_examples is not None:
            self.show_examples.write(data, outcomes, groups, support, found, self.command)

    def assign(self, users: Sequence[str], *deals: Assignment) -> None:
        """Write every user's group and support in each deal where that was asked for."""
        if self.assignments is not None:
            assignments.write(Path(self.assignments), users, deals)

"""Examine a data set before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.core import PreferenceData
from evenhand.data.doctor import Diagnosis, Finding, examine
from evenhand.jobs.grouping import Grouping, support_of


def check(data: PreferenceData, attributes: Sequence[str] = ()) -> Diagnosis:
    """The doctor's findings, by the groups of `attributes`, or by support where none are named; the last finding says by which rule."""
    groups = Grouping(attributes).groups(data, support_of(data))
    found = examine(data, groups, data.split)
    remedy = "Training and audits group users by the same rule, on fewer pairs." if not attributes else ""
    return replace(found, findings=(*found.findings, Finding("note", "groups", groups.rule, remedy, int((groups.of_user >= 0).sum()))))

"""Examine a data set before anything is made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evenhand.core import SMALLEST_CELL, Groups, PreferenceData, clip
from evenhand.data.doctor import Diagnosis, Finding, Severity, examine
from evenhand.data.votes import has_texts
from evenhand.encode.minilm import MiniLM
from evenhand.encode.unknown import MUCH
from evenhand.report import Report
from evenhand.report.check import Checked, report
from evenhand.workflows.given import GroupBy, grouping_of, read
from evenhand.workflows.grouping import Grouping, support_of


def check(data: Any, group_by: GroupBy = None, *, title: str = "", note: str = "", command: str = "") -> Report:
    """Whether the data can be used, and what to mend first, as a report: `diagnosis` says more.

    The parameters mean what they mean in `audit`.
    """
    grouping = grouping_of(group_by)
    data = read(data, attributes=grouping.attributes)
    checked = Checked(
        diagnosis(data, grouping), data.exclusions, data.source, data.fingerprint, len(data.users), len(data), command, title, note
    )
    return report(checked)


def diagnosis(data: PreferenceData, grouping: Grouping) -> Diagnosis:
    """The doctor's findings, by the groups of `grouping`; the last finding says by which rule these came about."""
    groups = grouping.groups(data, support_of(data))
    found = examine(data, groups, data.split)
    order: tuple[Severity, ...] = ("error", "warning", "note")
    findings = sorted([*found.findings, *unknown_findings(data, groups)], key=lambda f: order.index(f.severity))
    remedy = "Training and audits group users by the same rule, on fewer pairs." if not grouping.attributes else ""
    return replace(found, findings=(*findings, Finding("note", "groups", groups.rule, remedy, int((groups.of_user >= 0).sum()))))


def unknown_findings(data: PreferenceData, groups: Groups) -> list[Finding]:
    """Pairs of which the embedded encoder hardly reads a text, in all and where their share is highest; a tenth of a group is a warning."""
    known = np.flatnonzero(has_texts(data))
    if not len(known):
        return []
    rows = np.zeros(len(data.texts), bool)
    used = np.unique([data.chosen[known], data.rejected[known]])
    rows[used] = MiniLM().unknown([data.texts[t] for t in used.tolist()]) >= MUCH
    pairs = rows[data.chosen[known]] | rows[data.rejected[known]]
    if not pairs.any():
        return []
    of, user = groups.of_user[data.user[known]], data.user[known]
    large = [(g, name) for g, name in enumerate(groups.names) if len(np.unique(user[of == g])) >= SMALLEST_CELL]
    shares = [(float(pairs[of == g].mean()), name) for g, name in large]
    worst = max([(float(pairs.mean()), "all"), *shares])
    sentence = (
        f"In {pairs.sum():,} of {len(known):,} pairs ({pairs.mean():.1%}) a fifth or more of a text is unknown to the embedded encoder"
    )
    sentence += f"; most in group '{clip(worst[1], 40)}' ({worst[0]:.1%})." if shares else "."
    remedy = (
        "Its vocabulary is English: name an encoder of these languages (--encoder), or leave it out and use words alone (--encoder none)."
    )
    return [Finding("warning" if worst[0] >= 0.1 else "note", "texts the encoder hardly reads", sentence, remedy, int(pairs.sum()))]

"""Examine a data set before anything is made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evenhand.core import Groups, PreferenceData, clip
from evenhand.data.doctor import Diagnosis, Finding, Severity, examine
from evenhand.data.votes import has_texts
from evenhand.encode.minilm import MiniLM
from evenhand.encode.unknown import MUCH
from evenhand.workflows.given import GroupBy, grouping_of, read
from evenhand.workflows.grouping import support_of


def check(data: Any, group_by: GroupBy = None) -> Diagnosis:
    """The doctor's findings, by the groups of `group_by`, or by support where none are named; the last finding says by which rule.

    The parameters mean what they mean in `audit`.
    """
    grouping = grouping_of(group_by)
    data = read(data, attributes=grouping.attributes)
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
    of = groups.of_user[data.user[known]]
    shares = [(float(pairs[of == g].mean()), name) for g, name in enumerate(groups.names) if (of == g).any()]
    worst = max([(float(pairs.mean()), "all"), *shares])
    sentence = (
        f"In {pairs.sum():,} of {len(known):,} pairs ({pairs.mean():.1%}) a fifth or more of a text is unknown to the embedded encoder"
    )
    sentence += f"; most in group '{clip(worst[1], 40)}' ({worst[0]:.1%})." if shares else "."
    remedy = (
        "Its vocabulary is English: name an encoder of these languages (--encoder), or leave it out and use words alone (--encoder none)."
    )
    return [Finding("warning" if worst[0] >= 0.1 else "note", "texts the encoder hardly reads", sentence, remedy, int(pairs.sum()))]

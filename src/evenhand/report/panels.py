"""The published JSON → panels in the order of decisions."""

from __future__ import annotations

from typing import Any

from evenhand.report import constrained, context, dealt, served, words
from evenhand.report.layout import Panel

Json = dict[str, Any]


def panels(document: Json) -> tuple[Panel, ...]:
    """Panels 1-7, 9 and 10, and deals and constraints after 7 where there are any. The verdict strip (0) is the head of the page."""
    model = document["model"]
    constraints = document["constraints"]
    return (
        served.support(model),
        served.groups(document),
        served.forest(model, words.required_gap(document["requirements"])),
        served.null(model),
        served.users(model),
        context.confounds(model, document["exclusions"]),
        context.changes(document["changes"]),
        *([dealt.deals(document["deals"], document["model"]["model"])] if document["deals"] else []),
        *([constrained.constraints(constraints)] if constraints else []),
        context.training(document["training"], constrained.training(constraints)),
        context.data(document),
    )

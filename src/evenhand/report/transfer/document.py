"""Findings on policies → the one JSON document that every output of `transfer` is printed from; small groups lose their numbers here."""

from __future__ import annotations

from typing import Any

from evenhand.audits.findings import to_json
from evenhand.audits.transfer import FEWEST_PROMPTS, Transfer
from evenhand.report.public import TWIN, one_line, printable
from evenhand.report.transfer.words import FORMULAS

Json = dict[str, Any]


def publish(found: Transfer) -> Json:
    """The findings' own fields, plus `format`, `formulas` and `simulated`. Suppressed numbers are null.

    Rates of a group of fewer than FEWEST_PROMPTS prompts are hidden under every policy; gaps and bounds never speak of such a group.
    """
    document = printable(to_json(found))
    names = _distinct(found.groups)
    document["groups"] = [names[g] for g in found.groups]
    document["compared"] = [names[g] for g in found.compared]
    given = (found.reference, *found.gibbs, *found.best_of)
    shown = (document["reference"], *document["gibbs"], *document["best_of"])
    for before, policy in zip(given, shown, strict=True):
        policy.update(most=names.get(before.most, ""), least=names.get(before.least, ""))
        for rate, name in zip(policy["rates"], document["groups"], strict=True):
            rate.update(group=name, suppressed=0 < rate["n_prompts"] < FEWEST_PROMPTS)
            if rate["suppressed"]:
                rate.update(value=None, low=None, high=None, n_prompts=None, n_candidates=None)
    if not found.compared:  # no group is large enough, so that these too would speak of few prompts
        for v in document["versus"]:
            v.update({key: None for key in v if key != "beta" and not key.endswith("_bound")})
    return {"format": "evenhand transfer 1", "simulated": False, **document, "formulas": FORMULAS}


def _distinct(texts: tuple[str, ...]) -> dict[str, str]:
    """Text → one printable line of its own: two names that look alike stay two."""
    out: dict[str, str] = {}
    for text in texts:
        shown = one_line(text)
        while shown in out.values():
            shown += TWIN
        out.setdefault(text, shown)
    return out

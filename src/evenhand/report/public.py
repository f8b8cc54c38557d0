"""Findings → the one JSON document that HTML, Markdown, JUnit and CSV are printed from.

Two things happen on the way, so that no printer has to remember them: cells of fewer than 10 users lose their numbers
(a group of three people must not be readable off a table), and every text becomes one printable line.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from evenhand.audits.findings import FairnessReport, to_json
from evenhand.core import SMALLEST_CELL

LONGEST_TEXT = 600  # characters; a group name or a sentence beyond it is clipped
SMALL_GROUP = f"fewer than {SMALLEST_CELL} users: not shown"
TWIN = "′"  # tells apart what looks the same once it is printable
FEW = re.compile(r"(?<![\d.,])[1-9] users?\b(, \d+ needed)?(; \d+ pairs, \d+ needed)?")  # a small group's size in a reason
JOINERS = "\u200c\u200d"  # needed to spell Persian and emoji, harmless to the layout

Json = dict[str, Any]


def publish(findings: FairnessReport) -> Json:
    """The document: the findings' own fields, plus `format`, `verdict` and `exit_code`. Suppressed numbers are null."""
    document = printable(to_json(findings))
    document["requirements"] = printable(to_json(findings.judged))
    for model in (document["model"], *document["others"], *document["cells"]):
        _suppress_model(model)
    small = {g["group"] for g in document["model"]["groups"] if g["suppressed"]}
    for requirement in document["requirements"]:
        _suppress_requirement(requirement, small, _comparable(document["model"]))
    for change in document["changes"]:
        if any(is_small(r["difference"]["n_users"]) for r in change["rows"]) and _comparable(document["model"]) < 2:
            for key in ("gap_before", "gap_after", "gap_change"):
                suppress(change[key])
            change.update(verdict="", levelled_down=None)
    own = document["requirements"][len(document["requirements"]) - len(document["constraints"]) :]
    for constraint, requirement in zip(document["constraints"], own, strict=True):
        _suppress_constraint(constraint, requirement)
    suppress_estimates(document)
    shown = {g["group"] for g in document["model"]["groups"]} - small
    by_group = document["exclusions"]["by_group"]
    document["exclusions"]["by_group"] = {key: reasons for key, reasons in by_group.items() if may_be_named(key, reasons, small, shown)}
    return {"format": "evenhand report 1", "verdict": findings.verdict, "exit_code": findings.exit_code, **document}


def one_line(text: str) -> str:
    """Printable text on one line: white space becomes a space; controls, direction marks, surrogates show as \\uXXXX.

    >>> one_line("a\\u202eb\\n")
    'a\\\\u202eb '
    """
    text = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    return text if text.isprintable() else "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":
        return " "
    return f"\\u{ord(character):04x}" if unicodedata.category(character) != "Zs" else " "


def printable(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        out: Json = {}
        for key, v in value.items():
            name = one_line(str(key))
            while name in out:  # two keys that look the same: neither is lost
                name += TWIN
            out[name] = printable(v)
        return out
    if isinstance(value, (list, tuple)):
        return [printable(v) for v in value]
    if isinstance(value, np.generic):  # numpy numbers are welcome in findings; JSON knows only Python's own
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else one_line(str(value))


def _is_estimate(value: Mapping[str, Any]) -> bool:
    return {"value", "low", "high", "n_users", "n_pairs"} <= value.keys()


def is_small(n_users: int | None) -> bool:
    return n_users is not None and 0 < n_users < SMALLEST_CELL


def suppress(estimate: Json) -> None:
    estimate.update(value=None, low=None, high=None, n_users=None, n_pairs=None, suppressed=True)


def may_be_named(key: str, reasons: Mapping[str, int], small: set[str], shown: set[str]) -> bool:
    """Whether excluded rows may be told to a group: "minority", or "country=FR" as the loader writes it. Of a group that is not in the
    audit nobody knows the number of users; under 10 rows it may be small.
    """
    key = key.rstrip(TWIN)
    names = {key, *(key[i + 1 :] for i, c in enumerate(key) if c == "=")}
    return not names & small and (bool(names & shown) or sum(reasons.values()) >= SMALLEST_CELL)


def _suppress_requirement(requirement: Json, small: set[str], comparable: int) -> None:
    """A requirement on a small group, or on a gap to one. Its estimate names its groups: "a", "a, b" or "a minus b"."""
    estimate = requirement["estimate"]
    named = set(re.split(", | minus ", estimate["group"])) | {estimate["group"]}
    if named & small or (small and not estimate["group"] and comparable < 2) or is_small(estimate["n_users"]):
        suppress(estimate)
        requirement["reason"] = f"It concerns a group of fewer than {SMALLEST_CELL} users."
    requirement["reason"] = FEW.sub("fewer than 10 users", requirement["reason"])


def _suppress_constraint(constraint: Json, requirement: Json) -> None:
    """A violation is the distance of two events: where one of them is small, no violation is shown, nor anything computed from it."""
    small = any(is_small(r["rate"]["after"]["n_users"]) for v in constraint["violations"] for r in v["rates"])
    if small:
        for violation in constraint["violations"]:
            for estimate in (e for e in violation["size"].values() if e):
                suppress(estimate)
                estimate["group"] = ""
            violation.update(expected_before=None, expected_after=None)
        suppress(requirement["estimate"])
        requirement["estimate"]["group"] = ""
        constraint.update(fitted=None, training="", sentence=f"It concerns an event of fewer than {SMALLEST_CELL} users.")
    if any(is_small(c["accuracy"]["after"]["n_users"]) for c in constraint["costs"]):
        constraint.update(levelled_down=None, levelling="")
    for told in (*constraint["violations"], requirement):
        told["reason"] = FEW.sub("fewer than 10 users", told["reason"])


def suppress_estimates(value: Any) -> None:
    """Every estimate over too few users, wherever it stands."""
    if isinstance(value, (list, tuple)):
        for v in value:
            suppress_estimates(v)
    elif isinstance(value, dict):
        if _is_estimate(value) and is_small(value["n_users"]):
            suppress(value)
        for v in value.values():
            suppress_estimates(v)


def _comparable(model: Json) -> int:
    """How many groups may be shown: with two of them no gap speaks of a smaller group (see `examine.compared`)."""
    return sum((g["n_users"] or 0) >= SMALLEST_CELL for g in model["groups"])


def _suppress_model(model: Json) -> None:
    """The cells that are no estimates: groups and their counts, and all that describes single users."""
    comparable = _comparable(model)
    for group in model["groups"]:
        group["suppressed"] = is_small(group["n_users"])
        if group["suppressed"]:
            if model["gap"] and (not group["excluded"] or comparable < 2):
                suppress(model["gap"])  # else the small group could be read off as the other group minus the gap
            for estimate in (group[k] for k in ("accuracy", "margin", "log_loss", "ece", "ceiling") if group[k]):
                suppress(estimate)
            group.update(n_users=None, n_pairs=None, mde=None, p_value=None, notable=False, excluded=SMALL_GROUP)
    small = {g["group"] for g in model["groups"] if g["suppressed"]}
    for counts in model["counts"]:
        if counts["group"] in small:
            counts.update({k: None for k in counts if k != "group"})
    if is_small(model["overall"]["n_users"]):
        model.update(null=[], spread=None)
        if model["support"]:
            model["support"].update(users=[], line=[])

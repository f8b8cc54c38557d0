"""The published JSON → one HTML page that needs nothing else: no script, no request, figures inline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from evenhand.report import words
from evenhand.report.layout import Panel, listed
from evenhand.report.panels import panels

SIGN = {"PASS": "✓", "FAIL": "✕", "INSUFFICIENT": "?"}  # a shape beside every colour
MOST_CARDS = 12  # requirements drawn with their intervals


def html(document: dict[str, Any]) -> str:
    """The page of an audit. Every text in it went through Jinja's autoescape; only figures, escaped by svg.py, go in as they are."""
    return render(
        "report.html.j2", document, panels(document), **_requirements(document), summary=title(words.summary(document)), sign=SIGN,
        answers=[_parted(a) for a in words.answers(document)], outcome=words.outcome(document["requirements"]), kind="audit report",
        files="report.json, report.md, junit.xml and CSV files",
    )  # fmt: skip


def render(template: str, document: dict[str, Any], shown: Sequence[Panel], **parts: Any) -> str:
    """A page of this folder's templates: its head from `parts`, then the panels."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("evenhand.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template)
    return page.render(document=document, panels=[_safe(p) for p in shown], hashes=_hashes(document["facts"]), **parts)


def title(sentence: str) -> Markup:
    """A finding with its evidence, "(… 48 users, …)", set lighter than the finding itself."""
    return Markup(re.sub(r"\([^()]*\b(?:users?|pairs?|prompts?)\b[^()]*\)", r"<span>\g<0></span>", str(escape(sentence))))  # noqa: S704


def _parted(answer: str) -> tuple[str, Markup]:
    """The question, which is set bold, and its answer."""
    question, mark, said = answer.partition("? ")
    return (question + "?", title(said)) if mark else ("", title(answer))


def _safe(panel: Panel) -> dict[str, Any]:
    """The panel for the template, its figures marked as markup."""
    figures = [{**vars(f), "title": title(f.sentence), "wide": Markup(f.wide), "narrow": Markup(f.narrow)} for f in panel.figures]  # noqa: S704
    return {**vars(panel), "figures": figures, "finding": title(panel.finding)}


def _requirements(document: dict[str, Any]) -> dict[str, Any]:
    """The verdict strip, what failed first; a long list goes on as a table."""
    order = {"FAIL": 0, "INSUFFICIENT": 1, "PASS": 2}
    answered = words.required_gap(document["requirements"])
    strip: list[dict[str, Any]] = [
        {**words.requirement_row(r), "bar": _bar(r), "answered": r is answered}
        for r in sorted(document["requirements"], key=lambda r: order[r["verdict"]])
    ]
    columns = ("requirement", "verdict", "estimate", "simultaneous interval", "required", "from", "why")
    rows = [(r["name"], r["verdict"], r["value"], r["interval"], r["required"], r["people"], r["reason"]) for r in strip[MOST_CARDS:]]
    return {
        "requirements": strip[:MOST_CARDS],
        "more_requirements": listed("More requirements", columns, rows, "requirements.csv", text=(0, 1, 6)),
    }


def _bar(requirement: dict[str, Any]) -> dict[str, float | None] | None:
    """Where the allowed stretch, zero, estimate and interval lie on a line, each in per cent of its length."""
    estimate = requirement["estimate"]
    metric = estimate["metric"]
    limit, value, low, high = requirement["tolerance"], estimate["value"], estimate["low"], estimate["high"]
    if None in (limit, value, low, high):
        return None
    shown = [limit, value, low, high] + ([] if metric in words.LEVELS else [0.0])
    start, end = min(shown), max(shown)
    pad = 0.06 * (end - start) or 1.0

    def at(v: float) -> float:
        return round(100 * (v - start + pad) / (end - start + 2 * pad), 2)

    floor = metric in words.AT_LEAST
    zero = None if metric in words.LEVELS else at(0.0)
    allowed = {"from": at(limit) if floor else 0.0, "length": round(100 - at(limit), 2) if floor else at(limit)}
    return {**allowed, "zero": zero, "limit": at(limit), "value": at(value), "start": at(low), "end": at(high)}


def _hashes(facts: dict[str, str]) -> dict[str, str]:
    """The fingerprints among the facts: they say what exactly the verdict is about."""
    return {k: v for k, v in facts.items() if any(word in k.lower() for word in ("hash", "sha256", "sha-256", "fingerprint"))}

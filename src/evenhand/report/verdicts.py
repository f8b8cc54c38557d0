"""A requirement as a row in words (per cent for accuracies, points for their differences, else the bare number), as a bar, and as a test case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evenhand.audits.findings import Requirement
from evenhand.audits.requirements import GAP
from evenhand.core import Verdict
from evenhand.report.numbers import NONE, interval, is_known, level, number, people, percent, points

if TYPE_CHECKING:
    from evenhand.report.page import Page

SIGN: dict[str, str] = {"PASS": "✓", "FAIL": "✕", "INSUFFICIENT": "?"}  # a shape beside every colour
ORDER: dict[Verdict, int] = {"FAIL": 0, "INSUFFICIENT": 1, "PASS": 2}  # what failed stands first
PLAIN = ("|d|", "log-loss", "log loss", "log_loss", "margin", "slope", "correlation", "alpha", "ratio", "tau")  # metrics that are no shares
AT_LEAST = ("accuracy", "worst_group", "gain")  # metrics of requirements that are floors; all others are ceilings
LEVELS = ("accuracy", "worst_group")  # metrics of requirements that are shares, not differences of shares


def is_share(metric: str) -> bool:
    """Whether a metric is a share (or a difference of shares), hence printed in per cent (or points)."""
    return not any(word in metric.lower() for word in PLAIN)


@dataclass(frozen=True)
class Row:
    name: str
    verdict: Verdict
    value: str
    interval: str
    level: str
    required: str
    people: str
    reason: str


def row(requirement: Requirement, unit: str = "user") -> Row:
    """The requirement in words. unit: what its estimate's n_users counts."""
    estimate = requirement.estimate
    in_points = is_share(f"{estimate.metric} {requirement.name}")

    def with_unit(value: float) -> str:
        if not is_known(value):
            return NONE
        return percent(value) if estimate.metric in LEVELS else f"{points(value)} points" if in_points else number(value)

    has_interval = is_known(estimate.low) or is_known(estimate.high)
    return Row(
        requirement.name, requirement.verdict, with_unit(estimate.value),
        interval(estimate, points if in_points else number) if has_interval else NONE, level(estimate),
        f"at {'least' if estimate.metric in AT_LEAST else 'most'} {with_unit(requirement.tolerance)}", people(estimate, unit), requirement.reason,
    )  # fmt: skip


def required_gap(requirements: tuple[Requirement, ...]) -> Requirement | None:
    """The requirement on the gap of all groups, if there is one: its tolerance is the band of the figures."""
    return next((r for r in requirements if r.name == GAP and is_known(r.tolerance)), None)


@dataclass(frozen=True)
class Bar:
    """Where the allowed stretch, zero, estimate and interval of a requirement lie on a line, each in per cent of its length."""

    allowed_from: float
    allowed_length: float
    zero: float | None
    limit: float
    value: float
    start: float
    end: float


def bar(requirement: Requirement) -> Bar | None:
    """None where a number is missing."""
    estimate, limit = requirement.estimate, requirement.tolerance
    if not all(map(is_known, (limit, estimate.value, estimate.low, estimate.high))):
        return None
    has_zero = estimate.metric not in LEVELS
    shown = [limit, estimate.value, estimate.low, estimate.high, *([0.0] if has_zero else [])]
    start, end = min(shown), max(shown)
    pad = 0.06 * (end - start) or 1.0

    def at(v: float) -> float:
        return round(100 * (v - start + pad) / (end - start + 2 * pad), 2)

    is_floor = estimate.metric in AT_LEAST
    allowed = (at(limit), round(100 - at(limit), 2)) if is_floor else (0.0, at(limit))
    return Bar(*allowed, at(0.0) if has_zero else None, at(limit), at(estimate.value), at(estimate.low), at(estimate.high))


def junit(page: Page) -> str:
    """JUnit XML, so that any CI shows requirements as test cases: one suite; FAIL = failure, INSUFFICIENT = error, so that neither passes a CI;
    a page's warning is the first error. Texts were made legal for XML by `publish`.
    """
    failed, undecided = (sum(r.verdict == v for r in page.requirements) for v in ("FAIL", "INSUFFICIENT"))
    total, errors = len(page.requirements) + bool(page.warning), undecided + bool(page.warning)
    tally = {"tests": str(total), "failures": str(failed), "errors": str(errors), "skipped": "0"}
    suites = Element("testsuites", tally)
    suite = SubElement(suites, "testsuite", {"name": f"evenhand: {page.title or 'audit'}", **tally})
    if page.warning:
        case = SubElement(suite, "testcase", {"classname": "evenhand.scores", "name": "scores tell pairs apart", "time": "0"})
        SubElement(case, "error", {"type": "scores", "message": page.warning})
    for requirement in page.requirements:
        case = SubElement(suite, "testcase", {"classname": "evenhand.requirements", "name": requirement.name, "time": "0"})
        _outcome(case, requirement, page.unit)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _outcome(case: Element, requirement: Requirement, unit: str) -> None:
    r = row(requirement, unit)
    numbers = f"estimate {r.value}, {r.level} simultaneous interval {r.interval}, required {r.required}, {r.people}"
    if r.verdict == "FAIL":
        SubElement(case, "failure", {"type": "requirement", "message": r.reason}).text = numbers
    elif r.verdict == "INSUFFICIENT":
        SubElement(case, "error", {"type": "insufficient", "message": r.reason}).text = numbers
    else:
        SubElement(case, "system-out").text = numbers

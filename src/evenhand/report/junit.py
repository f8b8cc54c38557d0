"""A page → JUnit XML, so that any CI shows its requirements as test cases."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evenhand.audits.findings import Requirement
from evenhand.report.page import Page
from evenhand.report.verdicts import row


def junit(page: Page) -> str:
    """One test suite; FAIL = failure, INSUFFICIENT = error, so that neither passes a CI; a page's warning is the first error. Texts were
    made legal for XML by `publish`.
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
        _outcome(case, requirement)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _outcome(case: Element, requirement: Requirement) -> None:
    r = row(requirement)
    numbers = f"estimate {r.value}, {r.level} simultaneous interval {r.interval}, required {r.required}, {r.people}"
    if r.verdict == "FAIL":
        SubElement(case, "failure", {"type": "requirement", "message": r.reason}).text = numbers
    elif r.verdict == "INSUFFICIENT":
        SubElement(case, "error", {"type": "insufficient", "message": r.reason}).text = numbers
    else:
        SubElement(case, "system-out").text = numbers

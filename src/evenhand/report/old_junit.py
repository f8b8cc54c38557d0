"""The published JSON → JUnit XML, so that any CI shows the requirements as test cases."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evenhand.report.words import requirement_row


def junit(document: dict[str, Any]) -> str:
    """One test suite; FAIL = failure, INSUFFICIENT = error, so that neither passes a CI; broken scores are the first error. Texts were made
    legal for XML by `publish`.
    """
    requirements, flaw = document["requirements"], document["flaw"]
    tally = {v: sum(r["verdict"] == v for r in requirements) for v in ("FAIL", "INSUFFICIENT")}
    errors = tally["INSUFFICIENT"] + bool(flaw)
    counts = {
        "tests": str(len(requirements) + bool(flaw)), "failures": str(tally["FAIL"]), "errors": str(errors), "skipped": "0",
    }  # fmt: skip
    suites = Element("testsuites", counts)
    suite = SubElement(suites, "testsuite", {"name": f"evenhand: {document['title'] or 'audit'}", **counts})
    if flaw:
        case = SubElement(suite, "testcase", {"classname": "evenhand.scores", "name": "scores tell pairs apart", "time": "0"})
        SubElement(case, "error", {"type": "scores", "message": flaw})
    for requirement in requirements:
        case = SubElement(suite, "testcase", {"classname": "evenhand.requirements", "name": requirement["name"], "time": "0"})
        _outcome(case, requirement)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _outcome(case: Element, requirement: dict[str, Any]) -> None:
    row = requirement_row(requirement)
    numbers = (
        f"estimate {row['value']}, {row['level']} simultaneous interval {row['interval']}, required {row['required']}, {row['people']}"
    )
    if requirement["verdict"] == "FAIL":
        SubElement(case, "failure", {"type": "requirement", "message": requirement["reason"]}).text = numbers
    elif requirement["verdict"] == "INSUFFICIENT":
        SubElement(case, "error", {"type": "insufficient", "message": requirement["reason"]}).text = numbers
    else:
        SubElement(case, "system-out").text = numbers

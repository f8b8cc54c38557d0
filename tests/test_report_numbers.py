"""No number of a published report gets lost: report.json of fixed findings against what was published before, number by number.

golden/NAME.json.gz holds {path: number} of each. A rewritten report may rename fields; a number has to stand somewhere in it. To write one
anew: `PYTHONPATH=src:tests python tests/test_report_numbers.py NAME`.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import comparison_example
import numpy as np
import pytest
import report_example

import evenhand
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import FairnessReport
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.verdicts import check_requirements
from evenhand.core import Exclusions, Groups
from evenhand.report import Report
from evenhand.report.audit import report
from evenhand.report.comparison import COMPARISON, SWEEP
from evenhand.report.numbers import count, number, of_any_size

GOLDEN = Path(__file__).parent / "golden"
LEFT_OUT = "format"


def real() -> Report:
    """Examined outcomes of 120 users, three groups, of which one bears no verdict; support decides who is served well."""
    rng = np.random.default_rng(5)
    user = np.repeat(np.arange(120, dtype=np.int32), 16)
    of_user = np.concatenate([np.zeros(60), np.ones(40), np.full(20, 2)]).astype(np.int16)
    support = np.clip(0.7 - 0.15 * of_user + rng.normal(0, 0.08, 120), 0.05, 0.95)
    margin = rng.normal(2.0 * (support[user] - 0.35), 1.0)
    groups = Groups(("majority", "minority", "newcomer"), of_user, "made up")
    outcomes = Outcomes("scores", "all rows", user, margin)
    found = examine_model(outcomes, groups, support, "made up", resamples=100)
    requirements = check_requirements(outcomes, groups, ["accuracy>=0.5"])
    lost = Exclusions(len(user) + 7, len(user), {"empty response": 7}, {"majority": {"empty response": 7}})
    return report(FairnessReport("real", False, requirements, found, (), (), (), (), "made up", lost, {}, {}, (), ""))


BUILDERS: dict[str, Callable[[], str]] = {  # name → report.json
    "audit_made": lambda: report(report_example.constrained()).json(),
    "audit_insufficient": lambda: report(report_example.insufficient()).json(),
    "audit_real": lambda: real().json(),
    "comparison_made": lambda: Report(comparison_example.compared(), COMPARISON).json(),
    "sweep_made": lambda: Report(comparison_example.bound_sweep(), SWEEP).json(),
}
# Hidden by now, since they told of four users: all users, of whom twelve are in the other group.
HIDDEN = {"audit_insufficient": {16.0, 0.65, 0.54, 0.76}}
RARER = {"audit_insufficient": {96.0}}  # their pairs


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every finite number with the path where it stands; booleans are none."""
    if isinstance(value, Mapping):
        for key, v in value.items():
            yield from () if key == LEFT_OUT else numbers(v, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for i, v in enumerate(value):
            yield from numbers(v, f"{path}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield path, float(f"{value:.6g}")


def read(name: str) -> dict[str, float]:
    with gzip.open(GOLDEN / f"{name}.json.gz", "rt") as file:
        found: dict[str, float] = json.load(file)
    return found


def write(name: str, document: Any) -> None:
    GOLDEN.mkdir(exist_ok=True)
    text = json.dumps(dict(numbers(document)), separators=(",", ":"))
    (GOLDEN / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


@pytest.mark.parametrize("name", BUILDERS)
def test_no_number_that_was_published_is_lost(name: str) -> None:
    after = Counter(dict(numbers(json.loads(BUILDERS[name]()))).values())
    hidden = HIDDEN.get(name, set())
    lost = Counter(read(name).values()) - after
    assert {n: times for n, times in lost.items() if n not in hidden | RARER.get(name, set())} == {}
    assert not hidden & set(after)


def test_a_lost_number_is_seen() -> None:
    assert dict(numbers({"a": [1, 2.5, True, None, "3"], LEFT_OUT: 9, "b": {"c": -0.1}})) == {"a[0]": 1.0, "a[1]": 2.5, "b.c": -0.1}
    assert min(len(read(name)) for name in BUILDERS) >= 20


if __name__ == "__main__":
    for each in sys.argv[1:]:
        write(each, json.loads(BUILDERS[each]()))


def test_numbers_have_a_readable_form_at_every_size() -> None:
    assert [number(v) for v in (999_999.99, 1e6, -3.25e49, 0.004, 0.0)] == ["999,999.99", "1.00e+06", "−3.25e+49", "0.00", "0.00"]
    assert number(1.5e7, 1, signed=True) == "+1.5e+07"
    assert [number(v, 0) for v in (12_345_678.4, 1e300)] == ["12,345,678", "1.0e+300"]
    assert [of_any_size(v) for v in (3e-5, -3.13e-9, 1e-4, 0.25, 1e49, 0.0, None)] == [
        "3.00e-05", "−3.13e-09", "0.00", "0.25", "1.00e+49", "0.00", "–",
    ]  # fmt: skip
    assert count(123_456_789_012) == "123,456,789,012"  # a count is whole at every size


def test_an_audit_of_margins_of_any_size_prints_no_string_of_digits() -> None:
    draw = np.random.default_rng(0)
    rows = [
        {"user": f"u{i % 80}", "prompt": f"p{i % 40}", "chosen": f"yes {i}", "rejected": f"no {i}", "half": "ab"[i % 80 < 40], "margin": m}
        for i, m in enumerate(draw.normal(0.3, 1, 2400) * 1e48)
    ]
    found = evenhand.audit(rows, "margin", group_by="half", resamples=20)
    assert re.search(r"mean margin [\d.]+e\+47", found.markdown())
    for text in (found.html(), found.markdown(), found.junit(), str(found)):
        assert not re.search(r"\d[\d,]{14,}(?![\da-f])", re.sub(r"[0-9a-f]{64}", "", text))

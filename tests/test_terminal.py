"""What is printed after a run: ten lines that keep the promises of the report."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
import report_example as example
from payloads import PAYLOADS
from rich.console import Console, RenderableType

from evenhand.audits.findings import FairnessReport, Requirement
from evenhand.audits.requirements import GAP
from evenhand.core import Estimate
from evenhand.report.audit import report as made
from evenhand.report.page import Column, Table
from evenhand.report.publish import publish
from evenhand.report.terminal import Grid, lines


def printed(*shown: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, color_system=None)
    for part in shown:
        console.print(part)
    text: str = console.file.getvalue()
    return "\n".join(line.rstrip() for line in text.splitlines())


def output(findings: FairnessReport, width: int = 80) -> str:
    return printed(*lines(made(findings).page), width=width)


def fitted() -> FairnessReport:
    """Three models, two groups, two changes and one verdict, as `evenhand fit` ends."""
    found = example.realistic()
    changes = (example.change(), replace(example.change(), before="one reward for all (Bradley-Terry)"))
    return replace(found, changes=changes, requirements=found.requirements[:1], model=replace(found.model, model="PAFO"))


def test_a_fit_ends_in_numbers_then_sentences_then_the_verdict():
    shown = output(fitted(), width=100).splitlines()
    assert len(shown) <= 14
    rows = {line.split()[0]: line for line in shown if line.startswith(("minority ", "majority ", "gap ", "all "))}
    assert [line.split()[1:3] for line in rows.values()] == [["48", "1,440"], ["352", "10,560"], ["400", "12,000"], ["400", "12,000"]]
    assert rows["minority"].endswith(" 66.4 [63.8, 69.0]")
    assert rows["gap"].endswith(" 6.2 [3.1, 9.3]")
    at = next(i for i, line in enumerate(shown) if line.startswith("418 of 12,418"))
    assert "rows were left out: 211 chosen equals rejected, 163 user with a single pair" in shown[at]
    assert shown[at].endswith("By group: majority 132, minority 31.")
    assert shown[at + 1].startswith("Users with low support are served worse: accuracy goes")
    assert shown[-4].startswith("Gain over personalised Bradley-Terry: minority +3.4 (+1.8 to +5.0), majority +0.1 (-0.4 to +0.7)")
    assert "; gain over one reward for all (Bradley-Terry): minority" in shown[-4]
    assert shown[-3:] == [
        "FAIL",
        "Is somebody served worse? Yes. The minority (48 users, 1,440 pairs) is served 6.2 points worse"
        " (95 % interval 3.1 to 9.3; 400 users, 12,000 pairs).",
        "By more than 3.0 points? Yes. The whole simultaneous interval, 3.1 to 9.3 points, lies above 3.0.",
    ]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_of_models_and_numbers_are_whole(width):
    shown = output(fitted(), width)
    assert "…" not in shown
    head = shown[: shown.index("minority")].split()
    assert {"(Bradley-Terry)", "personalised", "PAFO"} - set(head) <= {"(Bradley-Terry)"}
    assert all(n in shown for n in ("66.4", "[63.8, 69.0]", "72.6", "[71.7, 73.5]", "63.0", "[60.4, 65.6]"))


def test_users_in_no_group_are_named():
    found = fitted()
    assert "in no group" not in output(found)
    wider = replace(found.model, overall=replace(found.model.overall, n_users=485))
    said = "85 of 485 users are in no group: no group’s number speaks of them."
    assert said.replace("’", "'") in output(replace(found, model=wider))
    assert said in " ".join(made(replace(found, model=wider)).html().split())
    assert "Fewer than 10 users are in no group, or in one too small to be shown" in output(example.insufficient(), 200)


def test_a_gain_without_groups_is_that_of_all_users():
    found = fitted()
    everybody = tuple(replace(c, rows=tuple(r for r in c.rows if r.group == "all")) for c in found.changes)
    assert "Gain over personalised Bradley-Terry: all +0.5" in output(replace(found, changes=everybody), 200)


def test_a_minus_sign_is_one_that_every_terminal_has():
    requirement = replace(fitted().requirements[0], reason="The whole interval, −2.7 to −0.1 points, lies under 0.0.")
    assert "interval, -2.7 to -0.1 points" in output(replace(fitted(), requirements=(requirement,)), 200)


@pytest.mark.parametrize(
    ("metric", "said"), [("accuracy", "at least 60.0 %"), ("worst_group", "at least 60.0 %"), ("gain", "at least 60.0 points")]
)
def test_a_floor_is_called_a_floor(metric, said):
    requirement = Requirement("accuracy, minority", replace(example.estimate(0.66), metric=metric), 0.6, "PASS", "It holds.")
    assert f"PASS  accuracy, minority, required {said}: It holds." in output(replace(fitted(), requirements=(requirement,)))


def test_of_many_groups_the_worst_served_are_shown_and_the_rest_is_named():
    found = example.many_groups(30)
    judged = sorted((g for g in found.model.groups if not g.excluded), key=lambda g: g.accuracy.value)
    shown = output(found, 120)
    rows = {line[:11]: line for line in shown.splitlines()}
    assert [g.group for g in judged if g.group in rows] == [g.group for g in judged[:4]]
    for g in judged[:4]:
        assert f" {g.n_users:,} " in rows[g.group]
        assert f" {100 * g.accuracy.value:.1f} [" in rows[g.group]
    assert "4 of 30 groups are shown, the worst served first; all are in the report" in shown
    assert "22 more requirements are in the report" in shown


def test_what_failed_is_never_among_the_requirements_left_out():
    def one(verdict: str, name: str) -> Requirement:
        return Requirement(name, Estimate(0.1, 0.0, 0.2, 400, 900, "gap"), 0.1, verdict, "Why.")

    shown = output(replace(fitted(), requirements=(*(one("PASS", f"p{i}") for i in range(20)), one("FAIL", "last"))))
    assert "FAIL  last" in shown


def test_a_requirement_with_the_reason_of_the_answered_gap_is_printed_all_the_same() -> None:
    gap = Requirement(GAP, Estimate(0.1, 0.08, 0.12, 400, 900, "gap"), 0.05, "FAIL", "Why.")
    floor = Requirement("accuracy of minority", Estimate(0.5, 0.45, 0.55, 60, 300, "accuracy"), 0.6, "FAIL", "Why.")
    shown = output(replace(fitted(), requirements=(gap, floor)))
    assert "FAIL  accuracy of minority, required at least 60.0 %: Why." in shown
    assert f"FAIL  {GAP}" not in shown


def test_small_cells_are_hidden_in_the_terminal_too():
    shown = output(example.insufficient())
    rows = [line.split() for line in shown.splitlines()]
    assert ["minority", "under", "10", "-", "under", "10", "users"] in [row[:7] for row in rows]
    assert ["gap", "under", "10", "-", "under", "10", "users"] in [row[:7] for row in rows]
    assert "INSUFFICIENT  accuracy gap, required at most 5.0 points: It concerns a group of fewer than 10 users." in shown
    assert "4 users" not in shown
    assert "50.0 [" not in shown
    assert "7351" not in output(example.one_user())
    assert "73.5" not in output(example.one_user())


def test_small_groups_are_not_named_with_their_size_in_a_reason():
    reason = "The whole interval lies above 3.0. Left out, too small: tiny (7 users, 30 needed)."
    requirement = replace(example.realistic().requirements[0], reason=reason)
    shown = output(replace(fitted(), requirements=(requirement,)))
    assert "7 users" not in shown
    assert "tiny (fewer than 10 users)" in shown


def test_a_constraint_is_its_violation_how_training_ended_and_a_verdict():
    shown = output(replace(fitted(), constraints=(example.constraint(),)), 300)
    assert "Demographic parity is violated: its violation by hard decisions fell from 32.4 to 9.5 points (simultaneous 95 %" in shown
    assert re.search(r"demographic parity, soft: lgbt against none +24\.0 \[21\.0, 27\.0\] +7\.0 \[4\.0, 10\.0\]", shown)
    assert "Training ended within 5.0 points on training pairs, which decide: the epoch kept, 24 of 40" in shown
    assert (
        "FAIL  demographic parity, hard decisions, required at most 5.0 points: The whole simultaneous interval" in shown.splitlines()[-1]
    )


@pytest.mark.parametrize("make", [example.bare, example.undefined])
def test_nothing_to_show_is_a_dash(make):
    shown = output(make())
    assert next(line for line in shown.splitlines() if line.startswith("all ")).endswith(" -")
    assert "nan" not in shown


HOSTILE = [t for t in PAYLOADS if not t.isprintable()] + ["[bold red]x[/]", "[/]", "\x1b[31mred\x1b[0m", "a\nb", "\\[x]\\"]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_reach_the_terminal_as_text(text):
    found = fitted()
    groups = (replace(found.model.groups[0], group=text), found.model.groups[1])
    requirement = replace(found.requirements[0], name=text, reason=text)
    hostile = replace(
        found, model=replace(found.model, model=text, groups=groups), requirements=(requirement,), changes=(replace(found.changes[0], before=text),)
    )  # fmt: skip
    shown = [
        output(hostile, width=1_000),
        printed(Grid(publish(Table(text, (Column(text), Column("b")), ((text, text),)))), width=1_000),
    ]
    for part in shown:
        assert all(c.isprintable() or c in "\n\u200c\u200d" for c in part), ascii(part)
    assert len(shown[1].splitlines()) <= 3  # less where the text is blank


def test_markup_is_shown_and_not_obeyed():
    assert printed(Grid(Table("[b]t[/b]", (Column("[i]"),), (("[red]x[/red]",),)))).splitlines() == ["[b]t[/b]", "[i]", "[red]x[/red]"]

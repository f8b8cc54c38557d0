"""Pages of every noun, and of none: what the printers are looked at with. All numbers are made up."""

from __future__ import annotations

import math
from dataclasses import replace

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate
from evenhand.report.figures import ORANGE, strips
from evenhand.report.figures.axes import bounds, counts_note, reach
from evenhand.report.numbers import p_value, percent, signed_points
from evenhand.report.page import COUNTS, Answer, Column, Figure, Name, Page, Panel, Table, counts, facts
from evenhand.report.publish import document, publish

HIDDEN = 0.987654  # the accuracy of a group of seven users: stands nowhere
GROUPS = ("majority", "minority", "newcomer", "recluse")


def share(value: float, half: float, users: int, pairs: int, group: str = "") -> Estimate:
    return Estimate(value, value - half, value + half, users, pairs, "accuracy", group)


def accuracies() -> tuple[Estimate, ...]:
    """As an audit finds them; the last of seven users."""
    numbers = ((0.7041, 0.033, 97, 1267), (0.6291, 0.065, 36, 542), (0.655, 0.104, 20, 159), (HIDDEN, 0.01, 7, 70))
    return tuple(share(*n, group=g) for n, g in zip(numbers, GROUPS, strict=True))


def rows_of(name: str, estimates: tuple[Estimate, ...], labels: tuple[str, ...]):
    def plot(width: int) -> str:
        before = strips.Series("before", estimates, False, colour=ORANGE)
        strip = strips.Strip("", [strips.Series("accuracy, 95 % interval", estimates), before], 100, " %", False, bounds(reach(estimates)))
        return strips.strips(name, labels, [strip], width, [counts_note(e) for e in estimates])

    return plot


def requirements() -> tuple[Requirement, ...]:
    def gap(value: float, low: float, high: float, metric: str = "gap") -> Estimate:
        return Estimate(value, low, high, 133, 1809, metric)

    nan = math.nan
    return (
        Requirement("accuracy gap", gap(0.075, 0.005, 0.144), 0.05, "INSUFFICIENT", "The simultaneous interval, 0.5 to 14.4 points, lies on both sides of 5.0: about 4,400 more users like these would decide it."),
        Requirement("accuracy of the worst group", gap(0.629, 0.55, 0.7, "worst_group"), 0.75, "FAIL", "The whole simultaneous interval lies below 75.0 %."),
        Requirement("demographic parity, hard decisions", gap(0.018, 0.01, 0.03), 0.05, "PASS", "The whole interval lies under 5.0."),
        Requirement("log-loss gap", gap(nan, nan, nan), 0.2, "INSUFFICIENT", "No group has 30 users."),
    )  # fmt: skip


def table(estimates: tuple[Estimate, ...], labels: tuple[str, ...] = GROUPS) -> Table:
    columns = (
        Column("group"),
        Column("accuracy", percent),
        *COUNTS,
        Column("gap to the best", signed_points),
        Column("p", p_value),
        Column("left out"),
    )
    rows = tuple(
        (Name(g, ("reference",) * (i == 0), ("alpha 0.25, balance 0.5",)), e, *counts(e), None if i == 0 or e.suppressed else e.value - estimates[0].value,
         None if e.suppressed else 0.0004, "" if i < 3 else "fewer than 10 users: not shown")
        for i, (g, e) in enumerate(zip(labels, estimates, strict=True))
    )  # fmt: skip
    return Table("Accuracy by group", columns, rows, file="groups")


def long_table(rows: int, text: str = "pair") -> Table:
    columns = (Column("entry"), Column("verdict"), Column("difference", signed_points), Column("remark"))
    return Table(
        "Every pair of entries", columns,
        tuple((f"{text} {i}", "contradictions" if i % 3 else "dominates clearly", share(i / 1000, 0.01, 50, 400), "Compare every model with this rule alone, and read its accuracy where the feature does not differ.") for i in range(rows)),
        file="pairwise",
    )  # fmt: skip


def whole(labels: tuple[str, ...] = GROUPS, rows: int = 80, word: str = "Users with low support are served worse") -> Page:
    """Everything that a page may hold, published."""
    labels, found, asked = publish((labels, accuracies(), requirements()))
    first = tuple(
        Figure(f"{word}: the rarer a taste, the less accurate the model, by 8.0 points (95 % interval 3.1 to 12.9; 153 users, 1,968 pairs).",
               rows_of(f"first-{i}", found, labels), "Filled: measured. Hollow: before.", section=key)
        for i, key in enumerate(("groups", "support", "changes"))
    )  # fmt: skip
    panels = (
        Panel("groups", "Groups", f"{word}: 62.9 % against 70.4 % (133 users, 1,809 pairs).", tables=(table(found, labels),)),
        Panel("support", "Support", figures=(Figure(f"{word} in every tenth", rows_of("support", found, labels), "", long_table(30, labels[0])),)),
        Panel("changes", "Before and after", f"{word} after as before", (Figure("Nobody lost", rows_of("changes", found, labels)),)),
        Panel("pairwise", "Pairwise", "One entry dominates", tables=(long_table(rows, labels[1]),), notes=("Adjusted for all pairs at once.",)),
        Panel("limits", "Limits", tables=(facts("Settings", {"alpha": "0.25", labels[2]: labels[1]}),), notes=("Groups are what the data call them.",)),
        Panel("files", "Nothing to see", csv_only=(Table("Users", (Column("user"), Column("accuracy")), ((labels[0], 0.25),), file="users"),)),
        Panel("empty", "Nothing at all", tables=(Table("No rows", (Column("row"),), ()),)),
    )  # fmt: skip
    return Page(
        "NOT DECIDED", "insufficient",
        (Answer("Yes. The minority is served 7.5 points worse (95 % interval 0.5 to 14.4; 133 users, 1,809 pairs).", "Is somebody served worse?"),
         Answer(f"Not decided. {asked[0].reason}", "By more than 5.0 points?")),
        panels, {"format": "evenhand audit 0", "groups": document(found), "labels": list(labels)}, title=f"Faro on {labels[0]}", simulated=True,
        warning="All scores are equal.", summary="All users together: 68.2 % (65.1 to 71.2; 160 users, 1,968 pairs).", notes=("Left out, too small: newcomer.",),
        note=f"For the {labels[1]} meeting.", first=first, requirements=asked, requirements_note="Intervals hold for all requirements at once.",
        brief=(table(found, labels), long_table(rows)), said=("1,791 of 3,600 rows were left out.", f"{word}: a rare taste."), facts={"data sha256": "ab" * 32, "users": "160"},
        command="evenhand audit choices.jsonl --scores margin --tolerance 0.05", exit_code=3,
    )  # fmt: skip


def bare() -> Page:
    """The least that a page may hold."""
    return Page("PASS", "pass", (), (), {"format": "evenhand audit 0"})


def huge(cells: int = 32_000) -> Page:
    """More than fits into 2 MB: many tables of long texts."""
    columns = tuple(Column(f"column {i}") for i in range(10))
    rows = tuple(("&" * 600,) * 10 for _ in range(cells // 400))
    panels = tuple(Panel(f"panel-{i}", f"Panel {i}", tables=(Table(f"Table {i}", columns, rows),)) for i in range(40))
    return replace(whole(), panels=panels)

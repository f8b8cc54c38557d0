"""What `check` found: a verdict, what to mend first, then the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evenhand.core import SMALLEST_CELL, Exclusions
from evenhand.data.doctor import Diagnosis
from evenhand.report import Kind, Report
from evenhand.report.numbers import count
from evenhand.report.page import Answer, Column, Page, Panel, Table, Tone, facts
from evenhand.report.publish import document, may_be_named, publish

TONES: dict[str, Tone] = {"error": "fail", "warning": "insufficient", "note": "pass"}
RULES = "Counts are of rows, users or texts; nothing on this page is a text or a user id of the data."


@dataclass(frozen=True)
class Checked:
    """A diagnosis, and what was examined."""

    diagnosis: Diagnosis
    exclusions: Exclusions
    source: str
    fingerprint: str
    users: int
    pairs: int
    command: str = ""
    title: str = ""
    note: str = ""


def page(checked: Checked) -> Page:
    """Excluded rows of groups of fewer than 10 users are in the totals alone."""
    small = {g.group for g in checked.diagnosis.groups if g.users < SMALLEST_CELL}
    named = {g.group for g in checked.diagnosis.groups} - small
    kept = {k: v for k, v in checked.exclusions.by_group.items() if may_be_named(k, v, small, named)}
    found = publish(replace(checked, exclusions=replace(checked.exclusions, by_group=kept)))
    diagnosis, lost = found.diagnosis, found.exclusions
    about = {"data": found.source, "sha256": found.fingerprint, "users": count(found.users), "pairs": count(found.pairs)}
    rest = tuple(Table(t.title, tuple(map(Column, t.columns)), tuple(t.rows)) for t in diagnosis.tables() if t.rows)
    went = [("rows in", lost.rows_in), *((f"excluded: {r}", n) for r, n in lost.reasons.items()), ("rows used", lost.rows_used)]
    by_group = tuple((g, reason, n) for g, reasons in lost.by_group.items() for reason, n in reasons.items())
    rows = (
        Table("Where every row went", (Column("row"), Column("count", count)), tuple(went)),
        Table("Excluded rows by group", (Column("group"), Column("reason"), Column("rows", count)), by_group),
        facts("What was checked", about),
    )
    return Page(
        diagnosis.verdict, TONES[diagnosis.severity],
        tuple(Answer(f.remedy, f.sentence) for f in diagnosis.first),
        (Panel("findings", "What was found", tables=rest), Panel("rows", "Rows", tables=rows)),
        {"format": "evenhand check 2", **document(found)}, title=found.title or found.source.partition(" (")[0],
        summary=f"{count(lost.rows_in)} rows in, {count(lost.rows_used)} used.", note=found.note,
        brief=tuple(replace(t, most=12) for t in (*rest, rows[1])), facts=about, command=found.command, rules=RULES,
    )  # fmt: skip


CHECK = Kind("data check", page, stem="check")


def report(checked: Checked) -> Report:
    return Report(checked, CHECK)

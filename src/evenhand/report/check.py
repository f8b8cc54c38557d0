"""What `check` found: a verdict, what to mend first, then the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evenhand.core import SMALLEST_CELL, Estimate, Exclusions
from evenhand.data.doctor import Diagnosis
from evenhand.report import Kind, Report
from evenhand.report.numbers import FEW, count, percent
from evenhand.report.page import Answer, Column, Name, Page, Panel, Row, Table, Tone, facts, plain_table, went
from evenhand.report.publish import document, is_small, may_be_named, publish, without_size

TONES: dict[str, Tone] = {"error": "fail", "warning": "insufficient", "note": "pass"}
RULES = f"Counts are of rows, users or texts; nothing here is a text or a user id of the data, nor a count of a group of fewer than {SMALLEST_CELL} users."
COUNTED = ("users", "pairs", "ties", "identical", "near_identical", "duplicates", "contradictions", "one_pair_users")
HEADS = ("users", "pairs", "ties", "chosen = rejected", "nearly so", "duplicates", "contradictions", "users with one pair")


@dataclass(frozen=True)
class Checked:
    """A diagnosis, and what was examined. hidden: groups of fewer than 10 users; beside: the group whose counts are not told either, lest a
    hidden one's follow from them and the totals.
    """

    diagnosis: Diagnosis
    exclusions: Exclusions
    source: str
    fingerprint: str
    users: int
    pairs: int
    command: str = ""
    title: str = ""
    note: str = ""
    hidden: tuple[str, ...] = ()
    beside: str = ""


def page(checked: Checked) -> Page:
    """Counts of small groups are in the totals alone."""
    found = publish(_without_small(checked))
    diagnosis, lost = found.diagnosis, found.exclusions
    about = {"data": found.source, "sha256": found.fingerprint, "users": count(found.users), "pairs": count(found.pairs)}
    order = [f.remedy for f in (*diagnosis.first, *(f for f in diagnosis.findings if f not in diagnosis.first))]
    remedies = iter("" if r in order[:i] else r for i, r in enumerate(order))  # each is said once
    answers = tuple(Answer(next(remedies), f.sentence) for f in diagnosis.first)
    rest = tuple((f.severity, f.check, f.sentence, next(remedies)) for f in diagnosis.findings if f not in diagnosis.first)
    counts: list[Row] = [(g.group, *(vars(g)[name] for name in COUNTED)) for g in diagnosis.groups]
    blank: Row = (None,) * len(COUNTED)
    counts += [(Name(found.beside, lines=("counts would tell a smaller group’s",)), *blank)] if found.beside else []
    counts += [(name, FEW, *blank[1:]) for name in found.hidden]
    flagged = any(f.flagged for f in diagnosis.surface)
    surface: tuple[Row, ...] = tuple(
        (f.group, f.rule, f.accuracy, f.where_it_differs, f.accuracy.n_users or None, f.accuracy.n_pairs or None) for f in diagnosis.telling
    )
    alone = (Column("group"), Column("prefer"), Column("right (95 %)", percent), Column("right where it differs", percent))
    tables = (
        plain_table("The rest" if answers else "Findings", ("severity", "check", "found", "to do"), rest),
        Table("Counts by group", (Column("group"), *(Column(h, count) for h in HEADS)), tuple(counts)),
        Table(f"Surface features {'that alone separate chosen from rejected' if flagged else '(none is flagged)'}",
              (*alone, Column("users", count), Column("pairs", count)), surface),
    )  # fmt: skip
    lines, reasons = went(lost), "".join(f"; {n:,} excluded: {reason}" for reason, n in lost.reasons.items())
    return Page(
        diagnosis.verdict.rstrip("."), TONES[diagnosis.severity], answers,
        (Panel("findings", "What was found", tables=tables), Panel("rows", "Rows", tables=(*lines, facts("What was checked", about)))),
        {"format": "evenhand check 2", "verdict": diagnosis.verdict, "severity": diagnosis.severity, **document(found), "facts": about},
        title=found.title or found.source.partition(" (")[0], summary=f"{count(lost.rows_in)} rows in, {count(lost.rows_used)} used.",
        note=found.note, said=(f"{found.source}: {lost.rows_in:,} rows in, {lost.rows_used:,} used{reasons}.",),
        brief=tuple(replace(t, most=12) for t in (*tables, lines[1])), facts=about, command=found.command, rules=RULES,
    )  # fmt: skip


CHECK = Kind("data check", page, stem="check")


def report(checked: Checked) -> Report:
    return Report(checked, CHECK)


def _without_small(checked: Checked) -> Checked:
    """Without counts of groups of fewer than 10 users, nor, where these have fewer than 10 together, of the next larger group."""
    everyone, *groups = checked.diagnosis.groups
    small = {g.group for g in groups if is_small(g.users)}
    large = sorted((g for g in groups if g.group not in small and g.users), key=lambda g: g.users)
    beside = large[0].group if large and is_small(sum(g.users for g in groups if g.group in small)) else ""

    def uncounted(e: Estimate) -> Estimate:
        return replace(e, n_users=0, n_pairs=0)

    surface = tuple(
        replace(f, accuracy=uncounted(f.accuracy), where_it_differs=uncounted(f.where_it_differs)) if f.group == beside else f
        for f in checked.diagnosis.surface
    )
    findings = tuple(replace(f, sentence=without_size(f.sentence)) for f in checked.diagnosis.findings)
    gone = small | ({beside} - {""})
    shown = tuple(g for g in (everyone, *groups) if g.group not in gone)
    kept = {k: v for k, v in checked.exclusions.by_group.items() if may_be_named(k, v, gone, {g.group for g in shown})}
    return replace(
        checked, diagnosis=replace(checked.diagnosis, groups=shown, surface=surface, findings=findings), hidden=tuple(sorted(small)), beside=beside,
        exclusions=replace(checked.exclusions, by_group=kept),
    )  # fmt: skip

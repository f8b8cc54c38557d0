"""Two reports of one kind side by side: the numbers that both have, what one alone has, and which facts differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from evenhand.core import Estimate
from evenhand.report import Kind, Report
from evenhand.report.numbers import NONE, Show, is_known, number, percent, plural, points, signed_points
from evenhand.report.page import Answer, Column, Page, Panel, Table, plain_table
from evenhand.report.publish import document, publish
from evenhand.report.verdicts import is_share

KINDS = ("report", "comparison", "transfer", "check", "certificate")  # of reports, by their format, that are put side by side
DATA = ("data sha256", "candidates sha256", "sha256", "data: file_sha256")  # what the file is known by, in one kind or another
# facts that say which of its pairs count
PAIRS = ("splits", "scores", "rows read", "seed", "seeds", "deals", "columns", "data: read_sha256", "split: digest")
TOLD = ("sha256", "version", "format")  # facts that Markdown and the terminal have
LEAD = tuple(
    map(re.compile, ("model › overall", "model › gap", "model › groups › .* › accuracy", ".* › held_out › .*"))
)  # what a report is about
SUPPORT_BIN = re.compile("(.*support › bins › [^›]*) › .*")
BINS = " bins "  # of a curve: after all other numbers
FIRST = 12  # shares that are not folded, and stand in Markdown and the terminal
RULES = (
    "A and B as their files have them; the difference is B less A. Cells of fewer than 10 users are not shown, nor bins of support whose borders "
    "differ."
)
NOT_PAIRED = (
    "Both stand on the same pairs. Their intervals are each report's own and not paired: two that overlap may still differ clearly."
)
OTHER_DATA = "A difference mixes what changed in the pairs with what changed in the model; no interval of it can be had from two reports."


@dataclass(frozen=True)
class Side:
    """What a report's file says. numbers: name → estimate, or a bare number. verdicts: requirement → verdict."""

    place: str
    title: str
    numbers: Mapping[str, Estimate | float]
    verdicts: Mapping[str, str]
    facts: Mapping[str, str]

    @property
    def data(self) -> str | None:
        """The fingerprint of its data; None where the file does not say."""
        return next((self.facts[n] for n in DATA if n in self.facts), None)


@dataclass(frozen=True)
class Diff:
    kind: str
    a: Side
    b: Side
    command: str = ""
    title: str = ""
    note: str = ""

    @property
    def same_data(self) -> bool | None:
        """None where a file does not say."""
        return None if None in (self.a.data, self.b.data) else self.a.data == self.b.data

    @property
    def same_pairs(self) -> bool:
        return self.same_data is True and all(self.a.facts.get(n) == self.b.facts.get(n) for n in PAIRS)


@dataclass(frozen=True)
class Change:
    """One number of both. difference: B less A; nan where one of them has none."""

    name: str
    a: Estimate | float
    b: Estimate | float

    @property
    def difference(self) -> float:
        return _value(self.b) - _value(self.a)

    @property
    def file(self) -> str:
        """Where it stands: shares are in per cent."""
        if not (isinstance(self.a, Estimate) and isinstance(self.b, Estimate)):
            return "numbers"
        return "shares" if is_share(f"{self.a.metric} {self.name}") else "estimates"


def page(diff: Diff) -> Page:
    """Small cells are hidden again, whatever the files hold."""
    found = publish(diff)
    a, b = found.a, found.b
    names = [name for name in a.numbers if name in b.numbers and _has_same_borders(name, a, b)]
    both = [Change(name, a.numbers[name], b.numbers[name]) for name in names]
    verdicts = tuple((n, a.verdicts.get(n, NONE), b.verdicts.get(n, NONE)) for n in dict.fromkeys((*a.verdicts, *b.verdicts)))
    turned = [f"{name}, {before} → {after}" for name, before, after in verdicts if before != after]
    changed = sum(c.difference != 0 for c in both if is_known(c.difference))
    known = dict.fromkeys((*a.facts, *b.facts))
    apart = tuple((n, a.facts.get(n, NONE), b.facts.get(n, NONE)) for n in known if a.facts.get(n) != b.facts.get(n))
    shares = sorted((c for c in both if c.file == "shares"), key=lambda c: (_rank(c), BINS in c.name))
    lead = [c for c in shares if _rank(c) < len(LEAD)] or shares
    lead = lead[:FIRST]
    first, tables = (
        _table("Shares in %, differences in points", lead, percent, signed_points, "shares"),
        (
            _table("Further shares", shares[len(lead) :], percent, signed_points, "shares"),
            _table("Other estimates", [c for c in both if c.file == "estimates"], _plain, _signed, "estimates"),
            _table("Other numbers", [c for c in both if c.file == "numbers"], _plain, _signed, "numbers"),
        ),
    )
    moved = sorted((c for c in lead if is_known(c.difference)), key=lambda c: -round(abs(c.difference), 9))
    only = tuple((side, name) for side, one, two in (("A", a, b), ("B", b, a)) for name in one.numbers if name not in two.numbers)
    return Page(
        _headline(lead, changed, len(both)), "neutral",
        (Answer(_same(found), "Do both stand on the same data?"), Answer(_most(moved), "What differs most?")),
        (
            Panel("first", "What the reports are about", tables=(first,)),
            Panel("verdicts", "Verdicts", tables=(plain_table("Verdicts", ("requirement", "A", "B"), verdicts, "verdicts"),) if verdicts else ()),
            Panel("numbers", "All numbers", tables=tables),
            Panel("facts", "Facts that differ", tables=(plain_table("Facts", ("fact", "A", "B"), apart, "facts"),)),
            Panel("only", "In one alone", tables=(plain_table("Numbers of one report alone", ("in", "number"), only, "only"),)),
        ),
        {"format": "evenhand diff 1", "kind": found.kind, "same_data": found.same_data, "same_pairs": found.same_pairs,
         "numbers": [{"name": c.name, "a": document(c.a), "b": document(c.b), "difference": document(c.difference)} for c in both],
         "a": document(replace(a, numbers={n: v for n, v in a.numbers.items() if n not in b.numbers})),
         "b": document(replace(b, numbers={n: v for n, v in b.numbers.items() if n not in a.numbers}))},
        title=found.title or f"{a.place} (A) and {b.place} (B)", note=found.note, brief=(first,), command=found.command,
        notes=tuple(f"{n}: {x.title} ({x.place})" for n, x in (("A", a), ("B", b)) if x.title),
        summary=f"Verdicts that differ: {'; '.join(turned)}." if turned else "No verdict differs." if verdicts else "",
        said=tuple(f"{n}: {one} in A, {two} in B." for n, one, two in apart if any(word in n for word in TOLD)), rules=RULES,
    )  # fmt: skip


DIFF = Kind("difference of two reports", page, ("shares", "estimates", "numbers", "verdicts", "facts", "only"), stem="diff")


def report(diff: Diff) -> Report:
    return Report(diff, DIFF)


def _table(caption: str, changes: list[Change], show: Show, signed: Show, file: str) -> Table:
    columns = (Column("number"), Column("A", show), Column("B", show), Column("B − A", signed, key="difference"))
    sides = [(_value(c.a), _value(c.b)) if file == "numbers" else (c.a, c.b) for c in changes]
    return Table(caption, columns, tuple((c.name, *both, c.difference) for c, both in zip(changes, sides)), file)


def _rank(change: Change) -> int:
    """Accuracy of all users, the gap, the groups' accuracies, test accuracies of entries; then all others."""
    return next((i for i, pattern in enumerate(LEAD) if pattern.fullmatch(change.name)), len(LEAD))


def _has_same_borders(name: str, a: Side, b: Side) -> bool:
    """Whether a number is of no bin of support, or of one that holds the same stretch in both."""
    found = SUPPORT_BIN.fullmatch(name)
    ends = [f"{found[1]} › {end}" for end in ("low", "high")] if found else []
    return all(a.numbers.get(end) == b.numbers.get(end) for end in ends)


def _headline(lead: list[Change], changed: int, n: int) -> str:
    """The accuracy of all users, or the first number of those that a report is about."""
    if not changed:
        return "No number that both have differs"
    known = [c for c in lead if is_known(c.difference)]
    if not known or _rank(known[0]):
        return f"{changed:,} of {plural(n, 'number')} that both have differ"
    c = known[0]
    return f"Accuracy of all users: {percent(_value(c.a))} in A, {percent(_value(c.b))} in B, {points(c.difference, True)} points"


def _value(number: Estimate | float) -> float:
    return number.value if isinstance(number, Estimate) else number


def _plain(value: float | None, signed: bool = False) -> str:
    """As many decimals as the size asks for."""
    return number(value, 0 if value is not None and is_known(value) and (abs(value) >= 100 or value == int(value)) else 4, signed)


def _signed(value: float | None) -> str:
    return _plain(value, signed=True)


def _same(found: Diff) -> str:
    if found.same_data is None:
        return f"The files do not say. {OTHER_DATA}"
    if not found.same_data:
        return f"No. {OTHER_DATA}"
    return f"Yes. {NOT_PAIRED}" if found.same_pairs else f"Yes, but on other pairs of it, or other splits: see the facts. {OTHER_DATA}"


def _most(moved: list[Change]) -> str:
    if not moved or not moved[0].difference:
        return "No share does." if moved else "They have no share in common."
    c = moved[0]
    return f"{c.name}: {percent(_value(c.a))} in A, {percent(_value(c.b))} in B, {points(c.difference, True)} points."

"""The panels of texts audit by audit: every gap and test of each, and its own tables. What the first screen shows, a panel does not repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.core import Estimate
from evenhand.report.numbers import capital, count, decimals, flipped
from evenhand.report.page import MOST_LIMITS, Column, Panel, Row, Table, facts
from evenhand.report.texts import sentences as said
from evenhand.report.texts import sizes, told
from evenhand.report.texts.panels import blocks_and_pairs, p_cell, run_column, three, two
from evenhand.texts.findings import AuditFinding, Gap, Run, TextFindings

signed_two = decimals(2, signed=True)
VERSIONS = {False: "as written", True: "names hidden"}
HIDDEN = "Names hidden: every word that names a value of a matched axis was replaced before the audit, so that what is left is not the naming itself."
READ = (
    "Gap: the mean of the second value less that of the first. d: the gap over the standard deviation of the texts. Would show: the |d| that one test "
    "would find four times in five, before Holm."
)
SYSTEMATIC = (
    "Mean |gap| of pairs is mostly the noise of single draws: read it beside “if equal”, what texts without any difference would give. Systematic: what is "
    "left of it once that noise is taken off."
)
Own = Sequence[tuple[Run, Gap]]


def anything(value: float | None) -> str:
    """Numbers of an audit's own tables: whole ones as they are."""
    return count(value) if isinstance(value, int) else three(value)


def audits(found: TextFindings) -> tuple[Panel, ...]:
    """A panel an audit, in the order in which they ran."""
    names = list(dict.fromkeys((*(a.name for r in found.runs for a in r.audits), *(g.audit for r in found.runs for g in r.gaps))))
    return tuple(_audit(found, name, i) for i, name in enumerate(names))


def _audit(found: TextFindings, audit: str, i: int) -> Panel:
    of = sizes.scales(found)
    own = [(r, g) for r in found.runs for g in r.gaps if g.audit == audit]
    order = list(dict.fromkeys((g.measure, g.axis, g.distance, g.masked) for _, g in own))
    own.sort(key=lambda rg: order.index((rg[1].measure, rg[1].axis, rg[1].distance, rg[1].masked)))
    parts = [(r, a) for r in found.runs for a in r.audits if a.name == audit]
    tables: list[Table] = []
    for scale in sorted({of.get((audit, g.measure), 1.0) for _, g in own}):
        some = [(r, g) for r, g in own if of.get((audit, g.measure), 1.0) == scale]
        tables += [_signed(found, some, scale), _systematic(found, some, scale), _groups(found, some, scale)]
    tables += [_tests(found, parts), *_tabled(found, parts)]
    formulas = {m: f for _, a in parts for m, f in a.formulas.items()}
    notes = list(dict.fromkeys(f"{m}: {n.rstrip('.')}." for _, a in parts for m, n in a.notes.items() if n))
    more = list(dict.fromkeys(s for _, a in parts for s in a.sentences))
    has_gaps = [READ, SYSTEMATIC, *([HIDDEN] if any(g.masked for _, g in own) else [])] if own else []
    lead = _lead(found, audit) if own else _tests_lead(found, parts)
    tables.append(facts(f"How {audit} is computed", formulas, ("measure", "formula")))
    return Panel(
        f"audit-{i + 1}",
        capital(audit),
        lead,
        tables=tuple(t for t in tables if t.rows),
        notes=tuple((*more, *notes, *has_gaps)[:MOST_LIMITS]),
    )


def _tests_lead(found: TextFindings, parts: Sequence[tuple[Run, AuditFinding]]) -> str:
    """What tests of an audit without gaps find in the run to be used, as written."""
    last = told.last(found).name
    text = said.tests_sentence([t for r, a in parts if r.name == last and not a.masked for t in a.tests])
    return text if len(found.runs) == 1 or not text else f"In “{last}”, as written: {text[:1].lower()}{text[1:]}"


def _lead(found: TextFindings, audit: str) -> str:
    """What the audit finds in the first run, and in the one to be used."""
    of = sizes.scales(found)
    first, last = (replace(r, gaps=tuple(g for g in r.gaps if g.audit == audit)) for r in (told.base(found), told.last(found)))
    text = said.differences(first.gaps, of)
    if len(found.runs) == 1:
        return text
    start = f"In “{first.name}”: {text[:1].lower()}{text[1:]}"
    return start if last.name == first.name else f"{start} {said.briefly(last, of)}"


def _what(g: Gap) -> str:
    return f"{g.measure}{f' ({g.distance})' if g.distance else ''} by {g.axis}"


def _both(own: Own) -> list[tuple[Run, Gap, Gap | None]]:
    """Gaps as written, each with its twin with names hidden; where there are only such, these."""
    hidden = {(r.name, *g.key[:3], g.distance): g for r, g in own if g.masked}
    plain = [(r, g, hidden.get((r.name, *g.key[:3], g.distance))) for r, g in own if not g.masked]
    return plain or [(r, g, g) for r, g in own]


def _table(
    found: TextFindings, caption: str, scale: float, columns: Sequence[Column], rows: Sequence[Row], grey: Sequence[int] = ()
) -> Table:
    start = (Column("measure and axis"), run_column(found))
    return Table(f"{caption}{', in points' * (scale == 100)}", (*start, *columns), tuple(rows), elsewhere="gaps", grey=frozenset(grey))


def _signed(found: TextFindings, own: Own, scale: float) -> Table:
    columns = (Column("gap of"), Column("gap", sizes.of_gap(scale)), Column("d", signed_two), Column("p after Holm", p_cell), Column("would show, |d|", two),
               Column("d, names hidden", signed_two), Column("p after Holm", p_cell, "p_hidden"), *blocks_and_pairs())  # fmt: skip
    rows = [
        (_what(g), r.name, f"{g.contrast[1]} − {g.contrast[0]}", g.signed, g.d, g.p_holm, g.mde, _turned(twin, g), twin.p_holm if twin else None, g.signed.n_users, g.n_pairs)
        for r, g, twin in _both(own) if not g.distance
    ]  # fmt: skip
    return _table(found, "Signed gaps, with 95 % intervals over blocks", scale, columns, rows)


def _turned(twin: Gap | None, gap: Gap) -> Estimate | None:
    """d with names hidden, of the same two values in the same order; None where two others lie farthest apart."""
    if twin is None or set(twin.contrast) != set(gap.contrast):
        return None
    return twin.d if twin.contrast == gap.contrast else flipped(twin.d)


def _systematic(found: TextFindings, own: Own, scale: float) -> Table:
    show = sizes.of_gap(scale, False)
    columns = (Column("systematic gap", sizes.of_gap(scale)), Column("p after Holm", p_cell), Column("mean |gap|", show), Column("if equal", show),
               Column("systematic, names hidden", sizes.of_gap(scale)), Column("p after Holm", p_cell, "p_hidden"), Column("draws", count),
               *blocks_and_pairs(), Column("not testable"))  # fmt: skip
    both = _both(own)
    rows = [
        (_what(g), r.name, g.systematic, g.systematic_p_holm, g.absolute, g.null, twin.systematic if twin else None, twin.systematic_p_holm if twin else None, g.n_draws,
         g.systematic.n_users or g.signed.n_users, g.n_pairs, g.testable.removeprefix("not testable: ")) for r, g, twin in both
    ]  # fmt: skip
    grey = [i for i, (_, g, _) in enumerate(both) if g.testable]
    return _table(found, "Systematic gaps, and mean |gap| beside its null", scale, columns, rows, grey)


def _groups(found: TextFindings, own: Own, scale: float) -> Table:
    """Means of the values of each axis, as written and with names hidden side by side."""
    seen: dict[tuple[str, str, str], dict[bool, Estimate]] = {}
    for r, g in own:
        for value, e in g.groups if g.distance in ("", "L1") else ():
            seen.setdefault((f"{g.measure} by {g.axis}", r.name, value), {})[g.masked] = e
    columns = (Column("measure and axis"), Column("value"), run_column(found), Column("as written", sizes.of_level(scale)), Column("names hidden", sizes.of_level(scale)), *blocks_and_pairs("texts"))  # fmt: skip
    rows = []
    for (what, run, value), of in seen.items():
        any_ = of.get(False) or of[True]
        rows.append((what, value, run, of.get(False), of.get(True), any_.n_users, any_.n_pairs))
    return Table("Means of groups, with 95 % intervals over blocks", columns, tuple(rows), elsewhere="groups")


def _tests(found: TextFindings, parts: Sequence[tuple[Run, AuditFinding]]) -> Table:
    columns = (
        Column("test"),
        Column("axis"),
        Column("texts"),
        run_column(found),
        Column("value", three),
        Column("p, unadjusted", p_cell),
        Column("p after Holm", p_cell),
        Column("note"),
    )
    rows = tuple((t.name, t.axis, VERSIONS[a.masked], r.name, t.value, t.p, t.p_holm, t.note) for r, a in parts for t in a.tests)
    return Table("Tests of the whole of the texts", columns, rows, elsewhere="tests")


def _tabled(found: TextFindings, parts: Sequence[tuple[Run, AuditFinding]]) -> list[Table]:
    """An audit's own tables, of the first run and the one to be used; with names hidden, of the latter alone."""
    first, last = told.base(found).name, told.last(found).name
    out = []
    for r, a in ((r, a) for r, a in parts if r.name == last or (r.name == first and not a.masked)):
        for t in a.tables:
            of_run = f"“{r.name}”, " if len(found.runs) > 1 else ""
            caption = f"{t.caption} ({of_run}{f'{t.axis}, ' if t.axis else ''}{VERSIONS[a.masked]})"
            out.append(Table(caption, tuple(Column(h, anything) for h in t.heads), t.rows, elsewhere="words"))
    return out

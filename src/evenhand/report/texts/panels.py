"""The panels of texts in the order of decisions: which runs, which audits moved, audit by audit, and where it all comes from. What the
first screen shows, a panel does not repeat: it holds the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.core import Estimate
from evenhand.report.numbers import NONE, capital, count, decimals, flipped, has_value, is_known
from evenhand.report.page import MOST_LIMITS, Cell, Column, Name, Panel, Row, Table, facts, left_out, plain_table
from evenhand.report.texts import drawn, sizes, told
from evenhand.report.texts import sentences as said
from evenhand.report.texts import stage_sentences as of_stages
from evenhand.texts.audit import Tabled
from evenhand.texts.findings import FEWEST_BLOCKS, AuditFinding, Gap, Moved, Run, TextFindings

MOST_FIGURES = 4
two, three = decimals(2), decimals(3)
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
NOT_CLAIMED = (
    "That a gap is not shown does not say that there is none; beside each stands how large a one would have been found.",
    "The measures are of words and of their likeness. What a text does to its readers was not measured.",
    "No emotion is named as a finding unless two instruments agree on it: they disagree on most texts.",
)


def run_column(found: TextFindings) -> Column:
    return Column("run", on_page=len(found.runs) > 1)


def blocks_and_pairs(pairs: str = "pairs") -> tuple[Column, Column]:
    return Column("blocks", count, in_csv=False), Column(pairs, count, in_csv=False)


def p_cell(p: float | None) -> str:
    """ "0.012", "< 0.001"."""
    return NONE if p is None or not is_known(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def anything(value: float | None) -> str:
    """Numbers of an audit's own tables: whole ones as they are."""
    return count(value) if isinstance(value, int) else three(value)


def marked(found: TextFindings, name: str) -> Name:
    """A run's name with what it is."""
    is_so = {"◆ chosen": told.is_chosen(found, name), "■ first": len(found.runs) > 1 and name == told.base(found).name}
    return Name(name, tuple(mark for mark, so in is_so.items() if so))


# --- runs, and what moved ---


def runs(found: TextFindings) -> Panel:
    """A row a run: how many texts, how many of them usable, what was found, and how well they speak to their audience."""
    checks = list(dict.fromkeys(c for r in found.runs for c in r.refused))
    refused: tuple[Row, ...] = tuple((r.name, *(r.refused.get(c, 0) for c in checks[:10])) for r in found.runs)
    tables = (
        runs_table(found),
        Table("Texts that fail a check, by run", (Column("run"), *(Column(c, count) for c in checks[:10])), refused if checks else ()),
        *(_levels(found, scale) for scale in sorted({x.scale for r in found.runs for x in r.levels})),
    )  # fmt: skip
    heads = (
        Column("run"),
        Column("audit"),
        Column("measure"),
        Column("names_hidden"),
        Column("fidelity"),
        Column("objective"),
        Column("scale"),
        Column("mean"),
    )
    rows = tuple((r.name, x.audit, x.measure, x.masked, x.fidelity, x.objective, x.scale, x.value) for r in found.runs for x in r.levels)
    counted = said.listing([said.tally(found, r) for r in found.runs], 5)
    lead = f"Gaps beyond the null, {told.version(told.is_hidden(found))}: {counted}." if len(found.runs) > 1 else ""
    return Panel("runs", "Texts and runs", lead, tables=tables, csv_only=(Table("Levels", heads, rows, "levels"),))


def runs_table(found: TextFindings) -> Table:
    level = next((x for r in found.runs for x in r.levels if x.fidelity and not x.masked), None)
    hidden = told.is_hidden(found)
    rows: list[Row] = []
    for r in found.runs:
        own = next((x.value for x in r.levels if level and (x.audit, x.measure, x.masked) == (level.audit, level.measure, False)), None)
        n, new = len(told.testable(r, hidden)), len(told.new_gaps(found, r))
        known, plain = (len(told.shown_gaps(r, masked)) if n else None for masked in (hidden, False))
        rows.append(
            (marked(found, r.name), r.n_texts, r.n_cells, r.n_draws, r.usable, n, known, new or None, plain if hidden else None, own)
        )
    columns = (
        Column("run"), Column("texts", count), Column("cells", count), Column("texts a cell", count), Column("usable", said.percent),
        Column("gaps tested", count), Column("beyond the null", count), Column("new", count), Column("the same as written", count), Column(level.measure if level else "fidelity", sizes.of_level(level.scale if level else 1.0)),
    )  # fmt: skip
    return Table(f"Runs, with 95 % intervals over blocks; gaps {told.version(hidden)}", columns, tuple(rows))


def _levels(found: TextFindings, scale: float) -> Table:
    """Means over all texts of the measures of one scale, as written and with names hidden side by side."""
    seen: dict[tuple[str, str, str], dict[bool, Estimate]] = {}
    for r in found.runs:
        for x in (x for x in r.levels if x.scale == scale and has_value(x.value)):
            seen.setdefault((x.measure, x.audit, r.name), {})[x.masked] = x.value
    rows: list[Row] = []
    for (measure, audit, run), of in seen.items():
        one = next(iter(of.values()))
        rows.append((measure, audit, run, of.get(False), of.get(True), one.n_users, one.n_pairs))
    show = sizes.of_level(scale)
    columns = (
        Column("measure"),
        Column("audit"),
        run_column(found),
        Column("as written", show),
        Column("names hidden", show),
        *blocks_and_pairs("texts"),
    )
    return Table(f"Means of all texts{', in per cent' * (scale == 100)}", columns, tuple(rows), elsewhere="levels")


def moved(found: TextFindings) -> Panel:
    """The verdict strip, a row a run, and under it every gap before and after."""
    others = list(dict.fromkeys(m.run for m in found.moved))
    hidden = told.is_moved_hidden(found)
    of = sizes.scales(found)
    scaled = {
        (is_level, s): [m for m in found.moved if of.get((m.audit, m.measure), 1.0) == s and (m.kind == "level") == is_level]
        for is_level in (False, True)
        for s in sorted({of.get((m.audit, m.measure), 1.0) for m in found.moved})
    }
    tables = (
        *(_strip(found, others, masked) for masked in ([True, False] if hidden else [False])),
        *(_moved_table(found, some, s, hidden and not is_level) for (is_level, s), some in scaled.items()),
    )
    order = sorted(others, key=lambda r: r != told.last(found).name)[:MOST_FIGURES]
    figures = tuple(f for run in order if (f := drawn.changes(found, run)))
    lead = said.moves(found) if found.moved else ""
    notes = (
        "A gap is a measure on an axis: its signed and its systematic size, of a profile both distances. Improved, regressed: the interval of a difference, "
        "simultaneous over all that a run is compared in (with names hidden, and as written), leaves 0 out. Undecided: it does not; that is no proof of no "
        "change. New: beyond its null in this run and not in the first one, and larger beyond noise; or beyond it on the other side.",
    )
    heads = ("run", "audit", "measure", "axis", "names_hidden", "kind", "change", "before", "after", "difference")
    csv = tuple((m.run, m.audit, m.measure, m.axis, m.masked, m.kind, m.change, m.before, m.after, m.difference) for m in found.moved)
    return Panel(
        "moved",
        "What changed",
        lead,
        figures,
        tables if found.moved else (),
        notes if found.moved else (),
        (plain_table("Moved", heads, csv, "moved"),),
    )


def _strip(found: TextFindings, runs: Sequence[str], masked: bool) -> Table:
    """A row a run, a cell an audit: how many of its gaps improved, regressed, are undecided, and are new. New ones are told where verdicts
    are.
    """
    audits = list(dict.fromkeys(m.audit for m in found.moved if m.kind != "level"))
    hidden, by_name = told.is_moved_hidden(found), {r.name: r for r in found.runs}
    rows: list[Row] = []
    for run in runs:
        new = [len(told.new_gaps(found, by_name[run], a)) if masked == hidden else 0 for a in audits]
        levels = [m.change for m in found.moved if m.run == run and m.kind == "level" and m.masked == masked]
        cells = (said.strip([s.change for s in told.shifts(found, run, masked, a)], n) for a, n in zip(audits, new))
        rows.append((marked(found, run), *cells, said.strip(levels), _learned(found, by_name[run]) if masked == hidden else ""))
    columns = (
        Column("run"),
        *map(Column, audits),
        Column("level of fidelity: a rise improves"),
        Column("falls of selection, on fresh draws"),
    )
    return Table(f"Gaps of each audit against “{told.base(found).name}”, {told.version(masked)}", columns, tuple(rows))


def _learned(found: TextFindings, run: Run) -> str:
    """Of texts that selection chose, how many of its falls are shown on other texts."""
    falls = found.selection.falls if found.selection and run.selected else ()
    known = [f for f in falls if has_value(f.fresh)]
    n = sum(map(of_stages.is_learned, known))
    return f"{'✓' if n == len(falls) else '◇' if n else '✕'} {n} of {len(falls)} shown" if known else "? no fresh draws" if falls else ""


def _moved_table(found: TextFindings, some: Sequence[Moved], scale: float, hidden: bool) -> Table:
    """What moved in the version that verdicts are on, the other one beside it."""
    show, change = sizes.of_gap(scale, False), sizes.of_gap(scale)
    other = told.version(not hidden)
    columns = (
        Column("measure"), Column("run", on_page=len({m.run for m in found.moved}) > 1), Column("size"), Column("before", show), Column("after", show),
        Column("difference", change), Column("change"), *(Column(f"{name}, {other}", show) for name in ("before", "after")), Column(f"change, {other}"),
        *blocks_and_pairs(),
    )  # fmt: skip
    twins = {(m.run, m.audit, m.measure, m.axis, m.kind, m.distance): m for m in some if m.masked != hidden}
    rows: list[Row] = []
    for m in sorted((m for m in some if m.masked == hidden), key=lambda m: m.change == "undecided"):
        twin = twins.get((m.run, m.audit, m.measure, m.axis, m.kind, m.distance))
        beside = (twin.before, twin.after, twin.change) if twin else (None, None, "")
        what = f"{m.measure}{f' ({m.distance})' if m.distance else ''}{f' by {m.axis}' if m.axis else ''}"
        size = "mean" if m.kind == "level" else m.kind
        rows.append((what, m.run, size, m.before, m.after, m.difference, m.change, *beside, m.difference.n_users, m.difference.n_pairs))
    of = "Means" if any(m.kind == "level" for m in some) else "Gaps"
    caption = f"{of} before and after, {told.version(hidden)}{', in points' * (scale == 100)}; intervals of differences are simultaneous"
    return Table(caption, columns, tuple(rows), most=60, elsewhere="moved")


# --- audit by audit ---


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


Own = Sequence[tuple[Run, Gap]]


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


# --- data; the files that hold every number ---


def data(found: TextFindings) -> Panel:
    """Where the texts went, cell by cell, the grid, how it was made, what quantities mean."""
    lost = found.exclusions
    whole: Sequence[Row] = (
        ("", f"{lost.unit} in", lost.rows_in),
        ("", f"{lost.unit} used", lost.rows_used),
        *(("", reason, n) for reason, n in lost.reasons.items()),
    )
    by_cell: Sequence[Row] = [(cell, reason, n) for cell, reasons in lost.by_group.items() for reason, n in reasons.items()]
    columns = Column("cell"), Column("what", key="reason"), Column(lost.unit, count)
    axes: Sequence[Row] = [(name, "yes" if matched else "", len(values), ", ".join(values)) for name, values, matched in found.axes]
    tables = (
        Table(f"Where all {lost.unit} went: used, or left out for a reason", (replace(columns[0], on_page=False), *columns[1:]), tuple(whole) if lost.rows_in else (), "exclusions"),
        Table(f"Excluded {lost.unit} by cell", columns, tuple(by_cell), "exclusions"),
        Table(f"The grid “{found.grid}”", (Column("axis"), Column("matched"), Column("values", count), Column("which")), tuple(axes)),
        facts("How it was made", found.facts), facts("Formulas", found.formulas, ("quantity", "formula")),
    )  # fmt: skip
    used = f"{count(lost.rows_used)} of {count(lost.rows_in)} {lost.unit} were used." if lost.rows_in else ""
    out = left_out(replace(lost, by_group={}))
    return Panel("data", "Data and method", f"{used} {out}".strip(), tables=tables, csv_only=_files(found))


def not_claimed(found: TextFindings) -> Panel:
    few = (
        (f"Under {FEWEST_BLOCKS} blocks no interval is given: these prompts may stand for no others.",)
        if found.n_blocks < FEWEST_BLOCKS
        else ()
    )
    return Panel("not-claimed", "What is not claimed", notes=(*NOT_CLAIMED, *few, *found.limits)[:MOST_LIMITS])


def _files(found: TextFindings) -> tuple[Table, ...]:
    """gaps.csv, groups.csv, words.csv, tests.csv."""
    heads = ("run", "audit", "measure", "axis", "distance", "names_hidden", "first", "second", "signed", "d", "p", "p_holm", "systematic", "systematic_p",
             "systematic_p_holm", "absolute", "null", "mde", "pairs", "draws", "not_testable")  # fmt: skip
    every = [(r, g) for r in found.runs for g in r.gaps]
    gaps = [(r.name, g.audit, g.measure, g.axis, g.distance, g.masked, *g.contrast, g.signed, g.d, g.p, g.p_holm, g.systematic, g.systematic_p,
             g.systematic_p_holm, g.absolute, g.null, g.mde, g.n_pairs, g.n_draws, g.testable) for r, g in every]  # fmt: skip
    groups = [(r.name, g.audit, g.measure, g.axis, g.distance, g.masked, value, e) for r, g in every for value, e in g.groups]
    own = [(r, a) for r in found.runs for a in r.audits]
    words = [(r.name, a.name, a.masked, t.caption, t.axis, *cell) for r, a in own for t in a.tables for cell in _long(t)]
    tests = [(r.name, a.name, a.masked, t.axis, t.name, t.value, t.p, t.p_holm, t.note) for r, a in own for t in a.tests]
    return (
        plain_table("Gaps", heads, gaps, "gaps" if gaps else ""),
        plain_table("Groups", ("run", "audit", "measure", "axis", "distance", "names_hidden", "value", "mean"), groups, "groups" if groups else ""),
        plain_table("Words", ("run", "audit", "names_hidden", "table", "axis", "row", "column", "value"), words, "words" if words else ""),
        plain_table("Tests", ("run", "audit", "names_hidden", "axis", "test", "value", "p", "p_holm", "note"), tests, "tests" if tests else ""),
    )  # fmt: skip


def _long(t: Tabled) -> list[tuple[Cell, ...]]:
    """Tables of different columns in one file: a line a cell."""
    return [(i, head, cell) for i, row in enumerate(t.rows, 1) for head, cell in zip(t.heads, row, strict=True)]

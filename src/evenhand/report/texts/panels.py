"""The panels of texts that no audit has to itself: which runs, which audits moved, and where it all comes from. What the first screen shows,
a panel does not repeat: it holds the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.core import Estimate
from evenhand.report.numbers import NONE, count, decimals, has_value, is_known
from evenhand.report.page import MOST_LIMITS, Cell, Column, Name, Panel, Row, Table, facts, left_out, plain_table
from evenhand.report.texts import drawn, sizes, told
from evenhand.report.texts import sentences as said
from evenhand.report.texts import stage_sentences as of_stages
from evenhand.texts.audit import Tabled
from evenhand.texts.findings import FEWEST_BLOCKS, Moved, Run, TextFindings

MOST_FIGURES = 4
two, three = decimals(2), decimals(3)
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

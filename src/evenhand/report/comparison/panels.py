"""The panels of results, in the order of decisions: who stands where, single users, seen and unseen users; and the short tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan

from evenhand.audits.results import Comparison, Result
from evenhand.core import Estimate
from evenhand.report.comparison import constraints
from evenhand.report.comparison import sentences as said
from evenhand.report.comparison.sentences import BETTER, IN_POINTS, group_label, labels, shown_groups, signed
from evenhand.report.figures import BLUE, ORANGE
from evenhand.report.figures.scatter import TITLES, Place, far, frontier
from evenhand.report.figures.strips import Series, Strip, strips
from evenhand.report.numbers import NONE, Show, decimals, has_value, listing, people, percent, points, signed_points
from evenhand.report.page import COUNTS, Column, Figure, Name, Panel, Row, Table

MOST_GROUPS = 4  # with a column each
MOST_OPEN = 15  # entries of the main table; the others follow folded
MOST_DRAWN = 30  # rows of a figure
SHOWN_ABOVE = ("accuracy", "log_loss")  # metrics with a column of the main table
UNITS = ": in these deals / by run"  # ends the heading of intervals by other units
WIDE = ("log-loss", "calibrated", "pooled, test", "accuracy, test")  # columns that the short tables leave out
DRAWN = ("worst decile", "correlation with support")
EMPTY = Estimate(nan, nan, nan, 0, 0, suppressed=True)  # five empty cells of a CSV file
PLANE = "Steps: the front of validation pairs (dotted: of test pairs). Crosses: 95 % intervals."
SPACE = "More than two groups: drawn by all users and by the group each entry serves worst."
HOLLOW = (
    "In the figure of the front no cross is drawn that is wider than the figure. Hollow beside filled: what validation promised over the reference, "
    "and what test pairs gave."
)
DOMINATED = "Dominated by: entries that are better in some group beyond noise and in none worse by the estimates; the front goes by the estimates alone."
SLOPES = "Calibrated: log-loss with a slope a rater, fitted on validation pairs and shrunk to the pool’s (empirical Bayes); choices stay as they are."
RAW = "Intervals: bootstrap by user. Noise inflates metrics of single users, for all entries alike: compare entries, do not read levels."
CSV_RESULTS = ("entry", "settings", "reference", "chosen", "knee", "not_dominated_validation", "not_dominated_test", "dominated_by", "tried", "seconds",
               "seeds", "note", "failed", "group", "validation", "test", "sd_over_seeds", "log_loss", "log_loss_calibrated")  # fmt: skip


def csv(file: str, names: Sequence[str], rows: Sequence[Row]) -> tuple[Table, ...]:
    """A file that the page does not show."""
    return (Table(file, tuple(map(Column, names)), tuple(rows), file),)


def marked(found: Comparison, e: Result) -> Name:
    """An entry's name with what it is."""
    best, front = found.chosen, found.front
    is_best, is_knee = bool(best and e.name == best.name), bool(front and e.name == front.knee)
    is_so = {f"◆ {'chosen' if front else 'highest'} on validation": is_best, "■ reference": e.name == found.reference, "knee": is_knee}
    return Name(e.name, tuple(mark for mark, so in is_so.items() if so))


def foremost(found: Comparison, most: int) -> list[Result]:
    """At most that many entries in their order: the choice and the reference, the front, the failed, the highest on validation."""
    front, best = found.front, found.chosen
    first = best.name if best else "", found.reference, front.knee if front else ""
    on_front = front.best if front else ()

    def rank(e: Result) -> tuple[int, float]:
        return 0 if e.name in first else 1 if e.name in on_front else 2 if e.failed else 3, -e.on_validation

    kept = {e.name for e in sorted(found.entries, key=rank)[:most]}
    return [e for e in found.entries if e.name in kept]


def drawn(found: Comparison, but: str = "") -> list[Result]:
    """The rows of a figure."""
    return [e for e in foremost(found, MOST_DRAWN) if e.held_out and e.name != but]


def evidence(found: Comparison) -> str:
    """Users and pairs of every group that has a column, and of all users."""
    groups, cells = shown_groups(found), found.running[0].held_out
    apart = [f"{found.groups[i]}: {people(cells[i])}; " for i in groups] if len(groups) <= MOST_GROUPS else []
    return "".join(apart) + "all users: " * bool(apart) + people(cells[-1])


def results(found: Comparison) -> Panel:
    """Who stands where: accuracies on test pairs, the front, and accuracies on validation pairs."""
    groups, first = shown_groups(found), foremost(found, MOST_OPEN)
    caption = f"Accuracy on test pairs, with 95 % intervals ({evidence(found)})" if found.running else "No entry has numbers"
    main, rest = _results(found, first, caption), [e for e in found.entries if e not in first]
    tables = [_results(found, rest, "The other entries, on test pairs"), _validation(found)]
    if len(groups) > MOST_GROUPS:
        rows = tuple((e.name, x.group, x, x.n_users, x.n_pairs) for e in found.running for x in (e.held_out[i] for i in groups))
        columns = Column("entry"), Column("group"), Column("accuracy", percent), *COUNTS
        tables.append(Table("Accuracy by group on test pairs; results.csv has every row", columns, rows))
    tables.append(_metrics_table(found))
    by_note = {note: [e.name for e in found.entries if e.note == note] for note in dict.fromkeys(e.note for e in found.entries) if note}
    gone = [g for i, g in enumerate(found.groups) if i not in groups and found.running]
    notes = (
        f"Groups: {found.groups_rule.rstrip('.')}." if found.groups_rule else "",
        f"Not shown: {', '.join(gone)}. A group of under 10 users is hidden, and with it what it could be computed from." if gone else "",
        *(f"About {', '.join(names[:4])}{' and others' * (len(names) > 4)}: {note}." for note, names in by_note.items()),
        "Intervals say what other users, and other prompts or responses that they share, would show"
        + (", and other deals; sd is the standard deviation over seeds." if len(found.seeds) > 1 else ". What another deal would show takes more seeds."),
        SLOPES if any(e.calibrated for e in found.running) else "", said.users_sentence(found), DOMINATED,
    ) if found.entries else ()  # fmt: skip
    by_metric: list[Row] = []
    for name, m in ((e.name, m) for e in found.running for m in e.metrics):
        by_metric += [(name, m.name, group, x, EMPTY) for group, x in zip(found.groups, m.groups)]
        by_metric.append((name, m.name, "all", m.overall, m.gap or EMPTY))
    more = csv("metrics", ("entry", "metric", "group", "estimate", "gap"), by_metric) if by_metric else ()
    more += csv("results", CSV_RESULTS, [row for e in found.entries for row in _csv_rows(found, e)])
    sentence, figure = said.front_sentence(found), None
    places, is_plane = _places(found), len(found.groups) == 2
    are_apart = any(len({p.xy(split) for p in places}) > 1 for split in TITLES)
    if are_apart and any(p.is_best for p in places) and any(p.is_reference for p in places):
        ends = found.groups if is_plane else ("all users", "worst-served")
        axes = f"accuracy, {ends[0]}", f"accuracy, {ends[1]}"
        figure = Figure(sentence, lambda w: frontier(places, axes, is_plane, w), PLANE if is_plane else SPACE, main)
        notes = (HOLLOW, f"Beyond the figure of the front: {listing(far(places))}." if far(places) else "", *notes)
    shown = tuple(t for t in (tables if figure else [main, *tables]) if t.rows)
    figures, finding = ((figure,), "") if figure else ((), sentence)
    return Panel("results", "Who stands where", finding, figures, shown, tuple(filter(None, notes)), more)


def _results(found: Comparison, entries: Sequence[Result], caption: str) -> Table:
    """A column a group, or, of many groups, the worst served."""
    groups, rows = shown_groups(found), list[Row]()
    apart, loss = groups if len(groups) <= MOST_GROUPS else [], decimals(3)
    columns = (
        Column("entry"), *(Column(found.groups[i], percent) for i in apart), Column("worst served", percent), Column("who that is"),
        Column("all users", percent), Column("gap, points", signed_points), Column("log-loss", loss), Column("calibrated", loss),
        Column("dominated by"),
    )  # fmt: skip
    for e in entries:
        if not e.held_out:
            rows.append((marked(found, e), *[None] * (len(columns) - 2), f"✕ failed: {e.failed or 'no reason given'}"))
            continue
        low = min((e.held_out[i] for i in groups if not apart and has_value(e.held_out[i])), key=lambda x: x.value, default=None)
        gap, by, worst = e.metric("gap"), found.dominated_by[e.name], f"{low.group}; {people(low)}" if low else None
        winners = ", ".join(by[:2]) + (f" and {len(by) - 2} more" if len(by) > 2 else "") or "none"
        rows.append((
            marked(found, e), *(e.held_out[i] for i in apart), low, worst, e.held_out[-1], gap.value if gap else None, e.log_loss, e.calibrated, winners,
        ))  # fmt: skip
    return Table(caption, columns, tuple(rows), grey=frozenset(i for i, e in enumerate(entries) if not e.held_out))


def _metrics_table(found: Comparison) -> Table:
    """Every metric but those of the tables above, by group; metrics.csv has all."""
    groups = shown_groups(found) if len(shown_groups(found)) <= MOST_GROUPS else []
    some = [(e, m) for e in found.running for m in e.metrics if m.name not in SHOWN_ABOVE]
    rows = tuple((e.name, m.name, *(m.groups[i] for i in groups), m.overall, m.gap) for e, m in some)
    columns = [Column(found.groups[i], decimals(3)) for i in groups] + [Column("all users", decimals(3)), Column("gap", signed)]
    formulas = "; ".join(dict.fromkeys(f"{m.name}: {m.formula}" for _, m in some))
    return Table(f"Other metrics on test pairs; metrics.csv has all ({formulas})", (Column("entry"), Column("metric"), *columns), rows)


def _csv_rows(found: Comparison, e: Result) -> list[Row]:
    """results.csv: a row a group. Log-loss is known of all users only."""
    is_so = said.roles(found.front, e.name) if found.front else (False,) * 5
    by = "; ".join(found.dominated_by[e.name])
    about: Row = (e.name, said.words(e.settings), *is_so[2:], *is_so[:2], by, e.tried, e.seconds, e.seeds, e.note, e.failed)
    out: list[Row] = [(*about, "", EMPTY, EMPTY, None, EMPTY, EMPTY)] if not e.held_out else []
    for c, group in enumerate((*found.groups, "all") if e.held_out else ()):
        losses = [loss if loss and c == len(found.groups) else EMPTY for loss in (e.log_loss, e.calibrated)]
        seen, sd = e.selection[c] if e.selection else EMPTY, e.over_seeds[c] if e.over_seeds else None
        out.append((*about, group, seen, e.held_out[c], sd, *losses))
    return out


def _validation(found: Comparison) -> Table:
    """Accuracies on validation pairs, and what seeds differ by."""
    f, groups = found.front, [*shown_groups(found), len(found.groups)]
    groups, is_spread = groups if len(groups) <= MOST_GROUPS + 1 else groups[-1:], len(found.seeds) > 1
    fronts, rows = {"validation": f.best, "test": f.best_held_out} if f else {}, []
    for e in found.running:
        where = " and ".join(split for split, best in fronts.items() if e.name in best)
        sds = [e.over_seeds[c] if e.over_seeds else None for c in groups if is_spread]
        rows.append((marked(found, e), where or NONE, *(e.selection[c] if e.selection else None for c in groups), *sds))
    names = [group_label(found, c) for c in groups]
    sds_of = [Column(f"sd, {n}", points) for n in names if is_spread]
    columns = Column("entry"), Column("on the front of"), *(Column(n, percent) for n in names), *sds_of
    counted = next((people(e.selection[-1]) for e in found.running if e.selection), "none")
    return Table(f"Accuracy on validation pairs ({counted}){'; sd over seeds on test pairs, in points' * is_spread}", columns, tuple(rows))


def _places(found: Comparison) -> list[Place]:
    front, label, is_plane, out = found.front, labels(found), len(found.groups) == 2, []
    for e in found.running if front and not front.suppressed else ():
        ends = []
        for estimates in (e.selection, e.held_out):
            known = [x for x in estimates[:-1] if has_value(x)]
            if is_plane:
                ends.append((known[0], known[1]) if len(known) == 2 else None)
            else:
                ends.append((estimates[-1], min(known, key=lambda x: x.value)) if known else None)
        if front and ends[0] and ends[1]:
            out.append(Place(label[e.name], ends[0], ends[1], *said.roles(front, e.name)))
    return out


def users(found: Comparison) -> Panel:
    """What entries change for the worst served, and all metrics of one beside the reference's."""
    base, ran = found.entry(found.reference), [e for e in found.running if e.unfairness]
    rows: list[Row] = [(e.name, m.name, m.value, m.difference or EMPTY) for e in found.entries for m in e.unfairness]
    more = csv("unfairness", ("entry", "metric", "", "difference_from_reference"), rows)
    if not ran:
        return Panel("users", "Single users", csv_only=more)
    others, label = [e for e in ran if e is not base], labels(found)
    best = found.chosen if found.chosen in others else max(others, key=lambda e: e.on_validation, default=ran[0])
    shown = [e for e in drawn(found, found.reference) if e in others]
    units: dict[str, tuple[Show, Show, float, str]] = {
        m: (points, signed_points, 100, ", points") if m in IN_POINTS else (decimals(3), signed, 1, "")
        for m in DRAWN if any(e.metric(m) for e in shown)
    }  # fmt: skip
    columns = Column("entry"), *(c for m, (show, change, *_) in units.items() for c in (Column(m, show), Column(f"change of {m}", change)))
    of = {e.name: {m: (u.value, u.difference) if (u := e.metric(m)) else (None, None) for m in units} for e in ran}
    rows_of = tuple((marked(found, e), *(x for pair in of[e.name].values() for x in pair)) for e in ran)
    table = Table(f"Changes from the reference; shares in points ({people(ran[0].unfairness[-1].value)})", columns, rows_of)
    axes = [Strip(f"change of {m}{unit}", [Series("", [of[e.name][m][1] for e in shown])], scale) for m, (*_, scale, unit) in units.items()]
    plot = (lambda w: strips("unfairness", [label[e.name] for e in shown], axes, w)) if axes else None
    note = "A higher worst decile is better; so is a correlation of accuracy with support nearer to 0."
    figure = Figure(said.unfairness_sentence(found, best, DRAWN), plot, note * bool(axes), table if axes else None)
    return Panel("users", "Single users", "", (figure,), _metrics(base, best, tuple(units)), (RAW,), more)


def _metrics(base: Result | None, best: Result, but: Sequence[str]) -> tuple[Table, ...]:
    """All other metrics of two entries: shares, and bare numbers."""
    out = []
    for caption, show, change, in_points in (("in points", points, signed_points, True), ("bare numbers", decimals(3), signed, False)):
        some = [m for m in best.unfairness if m.name not in but and (m.name in IN_POINTS) == in_points]
        before = [base.metric(m.name) if base else None for m in some]
        rows = tuple((m.name, BETTER.get(m.name, ""), b.value if b else None, m.value, m.difference) for m, b in zip(some, before))
        names = base.name if base else "reference", best.name
        columns = Column("metric"), Column("better"), *(Column(n, show) for n in names), Column("change", change)
        out.append(Table(f"Other metrics over users, {caption}; unfairness.csv has those of every entry", columns, rows))
    return tuple(t for t in out if t.rows)


def seen_and_unseen(found: Comparison) -> Panel:
    """Users seen in training beside users who were not."""
    key, name = "cells", "Users seen in training, and users who were not"
    ran, names = [e for e in found.running if e.cells], (*found.groups, "all")
    rows = [(e.name, part, group, x) for e in found.entries for part, of in e.cells.items() for group, x in zip(names, of)]
    more = csv("cells", ("entry", "users", "group", "accuracy"), rows)
    if not ran:
        return Panel(key, name, csv_only=more)
    parts, shown, label = list(dict.fromkeys(k for e in ran for k in e.cells)), [e for e in drawn(found) if e.cells], labels(found)
    cells = [c for c in range(len(names)) if any(has_value(of[c]) for e in ran for of in e.cells.values())]
    cells = cells if len(cells) <= MOST_GROUPS + 1 else cells[-1:]

    def at(e: Result, part: str, c: int) -> Estimate | None:
        return e.cells[part][c] if part in e.cells else None

    looks = ((True, "o", BLUE), (False, "D", ORANGE))
    drawn_as = {c: [Series(p, [at(e, p, c) for e in shown], *look) for p, look in zip(parts, looks)] for c in cells[-3:]}
    axes = [Strip(group_label(found, c), series, 100, " %", False) for c, series in drawn_as.items()]
    columns = Column("entry"), *(Column(f"{group_label(found, c)}, {p}", percent) for c in cells for p in parts)
    counted = "; ".join(f"{p}: {people(ran[0].cells[p][-1])}" for p in parts if p in ran[0].cells)
    levels = tuple((marked(found, e), *(at(e, p, c) for c in cells for p in parts)) for e in ran)
    table = Table(f"Accuracy on test pairs ({counted})", columns, levels)
    note = "These are different people, so a difference between the two is also one of tastes and luck; compare entries within a column."
    plot = (lambda w: strips("cells", [label[e.name] for e in shown], axes, w)) if axes else None
    best = found.chosen if found.chosen in ran else ran[0]
    return Panel(key, name, "", (Figure(said.cell_sentence(found, best), plot, note, table),), csv_only=more)


def brief(found: Comparison) -> tuple[Table, ...]:
    """For Markdown and the terminal: the entries, and the first constraint."""
    front, entries = next(iter(found.constraint_fronts), None), _results(found, foremost(found, MOST_OPEN), "")
    if front is None or front.suppressed:
        return (_narrow(entries, "results", 12),)
    entries = replace(entries, columns=tuple(replace(c, on_page=c.on_page and c.name != "dominated by") for c in entries.columns))
    return _narrow(entries, "results", 7), _narrow(constraints.violations(found, front), "violations", 7)


def _narrow(table: Table, file: str, most: int) -> Table:
    """Without the columns that a terminal has no room for."""
    columns = tuple(replace(c, on_page=c.on_page and c.name not in WIDE and not c.name.endswith(UNITS)) for c in table.columns)
    return replace(table, columns=columns, file=file, most=most)

"""The panel of who beats whom: every entry against the reference, and every two against each other."""

from __future__ import annotations

from collections.abc import Sequence

from evenhand.audits.results import Comparison, Pairwise
from evenhand.report.comparison import sentences as said
from evenhand.report.comparison.panels import MOST_GROUPS, UNITS, csv, drawn, evidence
from evenhand.report.comparison.sentences import labels
from evenhand.report.figures.matrix import matrix
from evenhand.report.figures.strips import Series, Strip, strips
from evenhand.report.numbers import NB, NONE, has_value, interval, signed_points
from evenhand.report.page import Column, Figure, Panel, Row, Table

MOST_IN_MATRIX = 16  # entries whose pairwise comparisons are all drawn; of more, only those with the choice and the reference
CLEARLY = (
    "Intervals hold for all pairwise comparisons and all groups at once, so they are wider than single ones. “Clearly”: every group’s lies on one side; "
    "“trades”: one group gains and another loses, beyond noise."
)


def pairwise(found: Comparison) -> Panel:
    """Every entry against the reference, and every two against each other."""
    names = ("first", "second", "verdict", "group", "difference", "difference_in_these_deals", "difference_by_run")
    in_deals = [(p, zip(p.differences, p.in_these_deals or p.differences, p.by_run or p.differences)) for p in found.pairwise]
    more = csv("pairwise", names, [(p.first, p.second, p.verdict, x[0].group, *x) for p, cells in in_deals for x in cells])
    if not found.pairwise or found.chosen is None:
        return Panel("pairwise", "Who beats whom", csv_only=more)
    against, best = _against(found), found.chosen.name
    base = against[0].second
    rest = [p.seen_from(best) if best in (p.first, p.second) else p for p in found.pairwise if base not in (p.first, p.second)]
    rest.sort(key=lambda p: p.first != best)
    table = _pairs(found, rest, "All other pairwise comparisons, in points, those of the choice first; pairwise.csv has every row")
    return Panel("pairwise", "Who beats whom", "", (_gains(found, base, against), _matrix(found, best, base)), (table,), (CLEARLY,), more)


def _matrix(found: Comparison, best: str, base: str) -> Figure:
    """Signs of all pairs; none where they are all undecided or there is one pair."""
    names, sentence, label = [e.name for e in found.running], said.pairwise_sentence(found), labels(found)
    places, is_whole, centre = {n: i for i, n in enumerate(names)}, len(names) <= MOST_IN_MATRIX, list(dict.fromkeys((best, base)))
    rows = [places[n] for n in (names if is_whole else (e.name for e in drawn(found)))]
    columns = list(range(len(names))) if is_whole else [places[n] for n in centre]
    verdicts = {(places[p.first], places[p.second]): p.verdict for pair in found.pairwise for p in (pair, pair.seen_from(pair.second))}
    if len(names) < 3 or not {v for (r, c), v in verdicts.items() if r in rows and c in columns} - {"undecided", ""}:
        return Figure(sentence)
    note = "Read: the row against the column of that number."
    if not is_whole:
        note += f" Columns: {', '.join(f'{places[n] + 1} {n}' for n in centre)}; drawn: {len(rows)} of {len(names)} entries."
    return Figure(sentence, lambda w: matrix([label[n] for n in names], rows, columns, verdicts, places[best], w), note)


def _gains(found: Comparison, base: str, against: Sequence[Pairwise]) -> Figure:
    table = _pairs(found, against, f"Differences of accuracy from {base} on test pairs, in points ({evidence(found)})")
    rows, label = drawn(found, base), labels(found)
    by = {(p.first, d.group): d for p in against for d in p.differences if has_value(d)}
    groups = list(dict.fromkeys(g for _, g in by))[:3]
    axes = [Strip(f"{'all users' if g == 'all' else g}, points", [Series("", [by.get((e.name, g)) for e in rows])]) for g in groups]
    note = "Right of the line is better than the reference. An arrow: the interval, or the entry, lies beyond the figure."
    plot = (lambda w: strips("gains", [label[e.name] for e in rows], axes, w)) if axes else None
    return Figure(said.gain_sentence(found), plot, note * bool(axes), table)


def _pairs(found: Comparison, pairs: Sequence[Pairwise], caption: str) -> Table:
    """Pairs as they are seen from their first."""
    some, by_unit, rows = pairs[0].differences if pairs else (), len(found.seeds) > 1, []
    places = [i for i in range(len(some)) if any(has_value(p.differences[i]) for p in pairs)][:MOST_GROUPS]
    for p in pairs:
        both = [[interval(x[i], signed_points, NB) for x in (p.in_these_deals, p.by_run) if x] for i in places]
        units = [" / ".join(ends) or NONE for ends in both]
        cells: Row = tuple(p.differences[i] for i in places)
        rows.append((p.first, p.verdict or "not shown", p.second, *cells, *(units if by_unit else [])))
    names = ["all users" if some[i].group == "all" else some[i].group for i in places]
    against = {p.second for p in pairs}
    verdict = f"verdict against {pairs[0].second}" if len(against) == 1 else "verdict"
    columns = Column("entry"), Column(verdict), Column("against", on_page=len(against) > 1), *(Column(n, signed_points) for n in names)
    return Table(caption, (*columns, *(Column(n + UNITS) for n in names if by_unit)), tuple(rows))


def _against(found: Comparison) -> list[Pairwise]:
    """Every other entry against the reference."""
    base = found.reference or (found.running[0].name if found.running else "")
    return [p for e in found.running if e.name != base and (p := found.versus(e.name, base))]

"""The panels of settings: what each hyperparameter does, and what every entry was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenhand.audits.results import Comparison, Result
from evenhand.report.comparison import sentences as said
from evenhand.report.comparison.panels import MOST_GROUPS, marked
from evenhand.report.comparison.sentences import group_label, shown_groups
from evenhand.report.figures.curves import Line, lines
from evenhand.report.numbers import count, decimals, has_value, percent
from evenhand.report.page import Column, Figure, Panel, Row, Table

MOST_COLUMNS = 8  # hyperparameters with a column of their own


def hyperparameters(found: Comparison) -> Panel:
    """One hyperparameter at a time, the others at the choice's."""
    centre = centre_of(found)
    lined = [(turned, line_of(found, turned, centre)) for turned in found.swept[:MOST_GROUPS]]
    figures = tuple(_hyperparameter(found, turned, line, centre, i) for i, (turned, line) in enumerate(lined) if len(line) > 1)
    return Panel("hyperparameters", "What each hyperparameter does", "", figures)


def centre_of(found: Comparison) -> Mapping[str, str]:
    """The settings the other hyperparameters stay at: the choice's, or, where a reference was chosen, those highest on validation."""
    swept = set(found.swept)
    ran = [found.chosen] if found.chosen and swept <= set(found.chosen.settings) else [e for e in found.running if swept <= set(e.settings)]
    return max(ran, key=lambda e: e.on_validation).settings if ran else {}


def line_of(found: Comparison, turned: str, centre: Mapping[str, str]) -> list[tuple[str, Result]]:
    """(value, entry) along a hyperparameter, in the order of its values: numbers by size, words as they came."""
    fixed = {k: v for k, v in centre.items() if k in found.swept and k != turned}
    same = [e for e in found.running if turned in e.settings and all(e.settings.get(k) == v for k, v in fixed.items())]
    line = [(e.settings[turned], e) for e in same]
    try:
        return sorted(line, key=lambda f: float(f[0]))
    except ValueError:
        return line


def _hyperparameter(found: Comparison, turned: str, line: Sequence[tuple[str, Result]], centre: Mapping[str, str], i: int) -> Figure:
    groups, base = shown_groups(found), found.entry(found.reference)
    cells = groups if 1 < len(groups) <= 3 else [len(found.groups)]
    ran, of = [e for _, e in line], base.held_out if base else ()
    shown = [Line(group_label(found, c), [e.selection[c] for e in ran], [e.held_out[c] for e in ran], of[c] if of else None) for c in cells]
    rows: list[Row] = [(value, *(x for c in cells for x in (e.selection[c], e.held_out[c]))) for value, e in line]
    columns = Column(turned), *(Column(f"{group_label(found, c)}, {split}", percent) for c in cells for split in ("validation", "test"))
    others = said.words({k: v for k, v in centre.items() if k in found.swept and k != turned})
    note = f"The other hyperparameters stay at {others}." if others else "This is the one hyperparameter that was turned."
    is_flat = all(len({e.value for e in side if has_value(e)}) < 2 for s in shown for side in (s.selection, s.held_out))
    plot = (lambda w: lines(f"hyperparameter-{i}", [v for v, _ in line], shown, turned, w)) if not is_flat else None
    return Figure(said.sweep_sentence(found, turned, line), plot, note, Table(f"Accuracy over {turned}", columns, tuple(rows)))


def settings(found: Comparison) -> Panel:
    """A row an entry, a column a hyperparameter; those that are the same in all rows are said once."""
    of = {k: [e.settings[k] for e in found.entries if k in e.settings] for k in dict.fromkeys(k for e in found.entries for k in e.settings)}
    same = {k: v[0] for k, v in of.items() if len(v) > 1 and len(set(v)) == 1 and k not in found.swept}
    wide = [k for k, v in of.items() if (len(v) > 1 or k in found.swept) and k not in same][:MOST_COLUMNS]
    others = [said.words({k: v for k, v in e.settings.items() if k not in (*same, *wide)}) for e in found.entries]
    rows = tuple((marked(found, e), *map(e.settings.get, wide), o, e.tried, e.seeds, e.seconds) for e, o in zip(found.entries, others))
    columns = (
        Column("entry"),
        *map(Column, (*wide, "others")),
        Column("tried", count),
        Column("seeds", count),
        Column("seconds", decimals(0)),
    )
    caption = "Tried: settings that validation chose among in every seed. Seconds: of training, over all settings and seeds"
    notes = (f"The same in all rows that have it: {said.words(same)}.",) if same else ()
    return Panel("settings", "Settings", tables=(Table(caption, columns, rows),), notes=notes)

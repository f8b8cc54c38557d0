"""The figures of texts: signed gaps, mean |gap| against its null, runs by fairness and fidelity, gaps before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import nan

from evenhand.core import Estimate
from evenhand.report.figures import ORANGE
from evenhand.report.figures.axes import padded, reach
from evenhand.report.figures.planes import Plane, Stand, planes
from evenhand.report.figures.strips import Series, Strip, strips
from evenhand.report.numbers import decimals, flipped, has_value, is_known, listing, number, plural
from evenhand.report.page import Figure
from evenhand.report.texts import sentences as said
from evenhand.report.texts import sizes, told
from evenhand.report.texts.told import base
from evenhand.texts.findings import Gap, Moved, Run, TextFindings

MOST_DRAWN, MOST_MOVED = 14, 10  # measures of a figure, rows of the first screen
KINDS = ("signed", "systematic")  # sizes of a gap
signed_two = decimals(2, signed=True)


def forest(found: TextFindings, run: Run) -> Figure | None:
    """Signed gaps in standard deviations, a strip a matched axis: to the right, more for the later value of the axis."""
    known = [g for g in run.gaps if not g.distance and has_value(g.d)]
    axes = [(name, values) for name, values, matched in found.axes if matched and any(g.axis == name for g in known)]
    measures = list(dict.fromkeys((g.audit, g.measure) for g in known))[:MOST_DRAWN]
    if not measures:
        return None

    def series(axis: str, values: Sequence[str], masked: bool) -> list[Estimate | None]:
        of = {(g.audit, g.measure): g for g in known if g.axis == axis and g.masked == masked}
        return [_towards_the_later(of[m], values) if m in of else None for m in measures]

    limits = padded([0.0, *reach((g.d for g in known), 1)])
    shown = []
    for name, values in axes:
        title = f"{name}: right = more for {values[-1] if len(values) == 2 else 'the later of the two compared'}"
        plain, hidden = (series(name, values, masked) for masked in (False, True))
        both = [Series("as written", plain), *([Series("names hidden", hidden, False, "s", ORANGE)] if any(hidden) else [])]
        shown.append(Strip(title, both, 1, limits=limits))
    of_run = f" in “{run.name}”" if len(found.runs) > 1 else ""
    judged = told.is_hidden(found)
    beyond, tested = told.shown_gaps(run, judged), plural(len(told.testable(run, judged)), "gap")
    signed = [g for g in reversed(beyond.values()) if told.is_signed_found(g) and has_value(g.d)]
    names = [f"{g.measure} by {g.axis} (d {signed_two(_towards_the_later(g, dict(axes).get(g.axis, ())).value)})" for g in signed]
    sides = f"with a side: {listing(names, 3)}" if names else "none of them with a side"
    start = f"{of_run}, {told.version(judged)}"
    sentence = (
        f"{len(beyond)} of {tested}{start}, {'is' if len(beyond) == 1 else 'are'} beyond the null after Holm, {sides}."
        if beyond else f"Of {tested}{start}, none is shown beyond its null after Holm."
        if told.testable(run, judged) else f"Signed gaps{of_run} of {plural(len(measures), 'measure')}: none of them could be tested."
    )  # fmt: skip
    labels = [m for _, m in measures]
    return Figure(
        sentence,
        partial(strips, "gaps", labels, shown),
        f"d = gap over the standard deviation of texts{'; bars: 95 % intervals over blocks' * any(is_known(g.d.low) for g in known)}.",
    )


def _towards_the_later(gap: Gap, values: Sequence[str]) -> Estimate:
    """d with the sign of the value that comes later on its axis."""
    places = [values.index(v) if v in values else -1 for v in gap.contrast]
    return flipped(gap.d) if places[0] > places[1] else gap.d


def against_null(found: TextFindings, run: Run) -> Figure | None:
    """Mean |gap| over what equal texts would show, a strip a matched axis."""
    known = [g for g in run.gaps if is_known(g.absolute) and is_known(g.null) and g.null > 0 and not g.masked]
    axes = [name for name, _, matched in found.axes if matched and any(g.axis == name for g in known)]
    labels = list(dict.fromkeys((g.audit, g.measure, g.distance) for g in known))[:MOST_DRAWN]
    if not labels:
        return None
    ratio = {(g.audit, g.measure, g.distance, g.axis): Estimate(g.absolute / g.null, nan, nan, g.signed.n_users, g.n_pairs) for g in known}
    limits = padded([1.0, *(e.value for e in ratio.values())])
    ends = [number(f(e.value for e in ratio.values()), 2) for f in (min, max)]
    shown = [Strip(a, [Series("mean |gap| over its null", [ratio.get((*x, a)) for x in labels], marker="D")], 1, "", False, limits, level=(1.0, "equal texts")) for a in axes]  # fmt: skip
    systematic = [g for g in told.beyond(known) if told.is_systematic_found(g)]
    tested = [g for g in known if is_known(g.systematic_p_holm)]
    names = list(dict.fromkeys(map(told.name, systematic)))
    more = (
        f"beyond single draws after Holm: {listing(names, 3)}"
        if names
        else f"none of {plural(len(tested), 'test')} is beyond single draws after Holm"
    )
    sentence = f"Mean |gap| of pairs is {' to '.join(dict.fromkeys(ends))} times what equal texts would show; {more if tested or names else 'not testable'}."
    written = [f"{m} ({d})" if d else m for _, m, d in labels]
    return Figure(
        sentence,
        partial(strips, "null", written, shown),
        "As written. 1 = as large as texts without any difference would give by the noise of single draws.",
    )


def frontier(found: TextFindings, most: int) -> Figure | None:
    """Systematic gaps of objectives against fidelity, every run a point."""
    level = next((x for x in base(found).levels if x.fidelity and not x.masked and has_value(x.value)), None)
    if len(found.runs) < 2 or level is None:
        return None
    of, objectives = sizes.scales(found), {(x.audit, x.measure) for r in found.runs for x in r.levels if x.objective}
    keys = [
        g.key
        for g in base(found).gaps
        if not g.masked and g.distance in ("", "L1") and (g.audit, g.measure) in objectives and has_value(g.systematic)
    ]
    size = {g.key: g.systematic.value / g.absolute if g.absolute > 0 else 0.0 for g in base(found).gaps if g.key in keys}
    panes = []
    for key in sorted(keys, key=lambda k: -size[k]):
        stands = []
        for r in found.runs:
            gap = next((g for g in r.gaps if g.key == key), None)
            own = next((x for x in r.levels if (x.audit, x.measure, x.masked) == (level.audit, level.measure, False)), None)
            if gap and own and has_value(gap.systematic) and has_value(own.value):
                stands.append(Stand(r.name, gap.systematic, own.value, r.name == base(found).name, told.is_chosen(found, r.name)))
        if len(stands) > 1:
            panes.append(Plane(f"{key[1]} by {key[2]}", stands, (of.get(key[:2], 1.0), level.scale), " %" * (level.scale == 100)))
    if not panes:
        return None
    sentence = (
        said.fidelity_in_short(found, told.last(found).name) or f"Where {len(found.runs)} runs stand: what they differ by was not computed."
    )
    axis_names = "systematic gap, as written", level.measure
    note = (
        "At 0 pairs differ as much as single draws do, right of it more, left of it less; up speaks more to its audience. Crosses: 95 % intervals, "
        "each alone; differences of runs are paired, in the table."
    )
    return Figure(sentence, partial(planes, f"frontier-{most}", panes[:most], axis_names), note)


def before_and_after(found: TextFindings, run: str) -> Figure | None:
    """Sizes of the gaps of one run beside those of the first one: signed ones, where they are known."""
    versions = [True, False] if told.is_moved_hidden(found) else [False]
    of = {masked: _in_deviations(found, run, masked) for masked in versions}
    kind = next((k for k in KINDS if any(k in kinds for kinds in of[versions[0]].values())), "")
    names = [name for name, kinds in of[versions[0]].items() if kind in kinds][:MOST_MOVED]
    if not names:
        return None
    moved = {masked: [some.get(name, {}).get(kind) for name in names] for masked, some in of.items()}
    limits = padded([0.0, *(e.value for some in moved.values() for m in some if m for e in (m.before, m.after))])
    shown = []
    for masked, some in moved.items():
        both = (
            Series("before", [m.before if m else None for m in some], False, colour=ORANGE),
            Series("after", [m.after if m else None for m in some]),
        )
        shown.append(Strip(f"{kind} gaps {told.version(masked)}", both, 1, "", True, limits, is_moved=True))
    note = "Sizes, in standard deviations of the first run’s texts; those that moved beyond noise first."
    return Figure(said.moved_sentence(found, run), partial(strips, "before", names, shown), note)


def changes(found: TextFindings, run: str) -> Figure | None:
    """Differences of the gaps of one run from those of the first one, a strip a kind of size."""
    hidden = told.is_moved_hidden(found)
    of = _in_deviations(found, run, hidden)
    other = _in_deviations(found, run, masked=False) if hidden else {}
    names = list(of)[:MOST_DRAWN]
    if not names:
        return None
    shown = []
    for kind in KINDS:
        own, beside = ([m.difference if (m := some.get(name, {}).get(kind)) else None for name in names] for some in (of, other))
        both = [Series(f"difference {told.version(hidden)}", own, marker="D")]
        both += [Series(f"difference {told.version(masked=False)}", beside, False, "s", ORANGE)] if any(beside) else []
        if any(own):
            shown.append(Strip(f"{kind} gap: left = smaller than before", both, 1, "", True, padded([0.0, *reach([*own, *beside], 1)])))
    place = [r.name for r in found.runs].index(run)
    note = "In standard deviations of the first run’s texts. Intervals hold for all differences of the run at once."
    return Figure(said.moved_sentence(found, run), partial(strips, f"changes-{place}", names, shown), note)


def _in_deviations(found: TextFindings, run: str, masked: bool) -> dict[str, dict[str, Moved]]:
    """ "modality, gender" → kind of size → how it moved in one version, in standard deviations of the first run's texts; what moved beyond
    noise first. Profiles have none.
    """
    deviation = {(g.audit, g.measure, g.axis): abs(g.signed.value / g.d.value) for g in base(found).gaps
                 if g.masked == masked and has_value(g.signed) and has_value(g.d) and g.d.value and g.signed.value}  # fmt: skip
    own = [
        m for m in found.moved if m.run == run and m.masked == masked and m.kind != "level" and has_value(m.before) and has_value(m.after)
    ]
    out: dict[str, dict[str, Moved]] = {}
    for m in sorted(own, key=lambda m: m.change == "undecided"):
        if sd := deviation.get((m.audit, m.measure, m.axis)):
            parts = [replace(e, value=e.value / sd, low=e.low / sd, high=e.high / sd) for e in (m.before, m.after, m.difference)]
            out.setdefault(f"{m.measure}, {m.axis}", {})[m.kind] = replace(m, before=parts[0], after=parts[1], difference=parts[2])
    return out

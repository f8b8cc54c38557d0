"""What may be told of gaps: which are beyond their null after Holm, which are new, and what became of each from run to run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evenhand.report.numbers import has_value, is_known
from evenhand.texts.audit import SURE
from evenhand.texts.findings import Gap, Moved, Run, TextFindings

Key = tuple[str, str, str]  # audit, measure, axis


def base(found: TextFindings) -> Run:
    return found.runs[0]


def last(found: TextFindings) -> Run:
    """The run to be used: the chosen one, else the last."""
    return next((r for r in found.runs if is_chosen(found, r.name)), found.runs[-1])


def is_chosen(found: TextFindings, run: str) -> bool:
    return found.choice is not None and run == found.choice.best


def is_signed_found(gap: Gap) -> bool:
    """Whether one side has more on average, beyond its null after Holm."""
    return not gap.distance and is_known(gap.p_holm) and gap.p_holm <= SURE and has_value(gap.signed) and gap.signed.value != 0


def is_mean_profile_found(gap: Gap) -> bool:
    """Whether mean profiles differ, after Holm. Both distances of a profile share this test."""
    return bool(gap.distance) and is_known(gap.p_holm) and gap.p_holm <= SURE


def is_systematic_found(gap: Gap) -> bool:
    """Whether the texts of pairs, or their profiles, differ by more than single draws do, after Holm."""
    p = gap.systematic_p_holm
    return is_known(p) and p <= SURE and has_value(gap.systematic) and gap.systematic.value > 0


def tests(gaps: Sequence[Gap]) -> int:
    """How many tests Holm allows for among these gaps."""
    of_means = {(g.audit, g.measure, g.axis, g.masked) for g in gaps if is_known(g.p_holm)}
    return len(of_means) + sum(is_known(g.systematic_p_holm) for g in gaps)


def beyond(gaps: Sequence[Gap]) -> list[Gap]:
    """Gaps beyond their null that may be told: those as written first, of them those that are there with names hidden as well, how well
    texts speak to their audience last; then those with a direction, the largest first. A profile whose mean alone is told stands there
    once.
    """
    known = [g for g in gaps if (is_signed_found(g) or is_systematic_found(g)) and _may_be_named(g, gaps)]
    of_means = {g.key[:4]: g for g in reversed(gaps) if is_mean_profile_found(g)}
    known += [g for key, g in of_means.items() if key not in {k.key[:4] for k in known}]

    def order(g: Gap) -> tuple[bool, bool, bool, bool, float]:
        size = -abs(g.d.value) if has_value(g.d) else 0.0
        return g.masked, g.audit == "fidelity", not is_kept(g, gaps), not is_signed_found(g), size

    return sorted(known, key=order)


def is_hidden(found: TextFindings) -> bool:
    """Whether verdicts are on texts with the words that name groups hidden: where there are such. Gaps are counted in that version alone."""
    return any(g.masked for r in found.runs for g in r.gaps)


def version(masked: bool) -> str:
    return "with names hidden" if masked else "as written"


def testable(run: Run, masked: bool) -> set[Key]:
    """The gaps of a run, a measure on an axis each, of which anything was tested: their means, pairs, or profiles."""
    known = [g for g in run.gaps if is_known(g.p_holm) or is_known(g.systematic_p_holm)]
    return {g.key[:3] for g in known if g.masked == masked}


def shown_gaps(run: Run, masked: bool, audit: str = "") -> dict[Key, Gap]:
    """Of these the ones beyond their null that may be told."""
    return {g.key[:3]: g for g in reversed(beyond(run.gaps)) if g.masked == masked and audit in ("", g.audit)}


def new_gaps(found: TextFindings, run: Run, audit: str = "") -> list[Gap]:
    """Gaps beyond their null in a run and not in the first one, of which it is shown that they grew; or there on the other side. One test
    that is passed and another that is not are no change: where nothing changes, half of the gaps that are found half of the time would be.
    """
    grown = {(m.audit, m.measure, m.axis, m.masked, m.kind) for m in found.moved if m.run == run.name and m.change == "regressed"}
    before = shown_gaps(base(found), is_hidden(found))
    return [g for g in _unseen(found, run, audit) if g.key[:3] in before or any((*g.key[:4], kind) in grown for kind in _sizes(g))]


def unshown_gaps(found: TextFindings, run: Run) -> list[Gap]:
    """Gaps beyond their null in a run and not in the first one, of which it is not shown that they grew."""
    new = {g.key for g in new_gaps(found, run)}
    return [g for g in _unseen(found, run) if g.key not in new]


def _unseen(found: TextFindings, run: Run, audit: str = "") -> list[Gap]:
    """Gaps beyond their null in a run, and in the first one not, or on the other side."""
    masked = is_hidden(found)
    before = shown_gaps(base(found), masked)
    every = shown_gaps(run, masked, audit) if run is not base(found) else {}
    return [g for key, g in every.items() if key not in before or _is_turned(g, before[key])]


def _sizes(gap: Gap) -> list[str]:
    """Which sizes of a gap are beyond their null."""
    return ["signed"] * is_signed_found(gap) + ["systematic"] * is_systematic_found(gap)


def _is_turned(gap: Gap, before: Gap) -> bool:
    return is_signed_found(gap) and is_signed_found(before) and sides(gap) == sides(before)[::-1]


def _may_be_named(gap: Gap, gaps: Sequence[Gap]) -> bool:
    """A named emotion is told only where a second instrument finds it too, on the same side."""
    if gap.audit != "emotion" or gap.distance:
        return True
    others = [
        g for g in gaps if (g.audit, g.axis, g.masked) == (gap.audit, gap.axis, gap.masked) and not g.distance and g.measure != gap.measure
    ]
    same = [g for g in others if _stem(g.measure) == _stem(gap.measure) and g.contrast in (gap.contrast, gap.contrast[::-1])]
    return is_signed_found(gap) and any(is_signed_found(g) and sides(g) == sides(gap) for g in same)


def _stem(measure: str) -> str:
    """ "joy (words)", "joy by words" → "joy"."""
    return re.split(r" \(| by |: |, ", measure)[0].lower()


def sides(gap: Gap) -> tuple[str, str]:
    """The value with more, and the one with less."""
    return gap.contrast[::-1] if gap.signed.value > 0 else gap.contrast


def name(gap: Gap | Moved) -> str:
    """ "modality by gender", "profile (L1) by age, names hidden"."""
    distance = f" ({gap.distance})" if isinstance(gap, Gap) and gap.distance and is_systematic_found(gap) else ""
    return f"{gap.measure}{distance}{f' by {gap.axis}' if gap.axis else ''}{', names hidden' * gap.masked}"


def twin_of(gap: Gap, gaps: Sequence[Gap]) -> Gap | None:
    """The same gap with names hidden."""
    return next((g for g in gaps if g.masked and g.key[:3] == gap.key[:3] and g.distance == gap.distance), None)


def is_kept(gap: Gap, gaps: Sequence[Gap]) -> bool:
    """Whether it is there with names hidden as well, on the same side."""
    twin = twin_of(gap, gaps)
    if twin is None:
        return False
    if is_signed_found(gap):
        return is_signed_found(twin) and sides(twin) == sides(gap)
    return is_systematic_found(twin) if is_systematic_found(gap) else is_mean_profile_found(twin)


@dataclass(frozen=True)
class Shift:
    """What became of one gap: its signed and its systematic size together. change: "mixed" where one grew and the other shrank."""

    name: str
    change: str


def is_moved_hidden(found: TextFindings) -> bool:
    """Whether what moved is told with names hidden, as verdicts are."""
    return any(m.masked for m in found.moved if m.kind != "level")


def shifts(found: TextFindings, run: str, masked: bool, audit: str = "") -> list[Shift]:
    """Every gap of a run in one version; of one audit, or of all."""
    by: dict[Key, list[Moved]] = {}
    for m in found.moved:
        if m.run == run and m.kind != "level" and m.masked == masked and audit in ("", m.audit):
            by.setdefault((m.audit, m.measure, m.axis), []).append(m)
    return [_shift(sizes) for sizes in by.values()]


def _shift(sizes: Sequence[Moved]) -> Shift:
    known = [m for m in sizes if m.change != "undecided"]
    change = known[0].change if known and len({m.change for m in known}) == 1 else "mixed" if known else "undecided"
    which = f" ({known[0].kind})" if change in ("improved", "regressed") and len(known) < len(sizes) else ""
    return Shift(name(replace(sizes[0], masked=False)) + which, change)

"""What a report of texts says. Sentences are computed from the published findings, so that they cannot say more than these do: a gap is
told beyond its null, after Holm, and where none is, how large a gap would have been found; a profile has no direction; an emotion has no
name unless two instruments agree on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evenhand.core import Estimate
from evenhand.report.numbers import (
    NONE,
    Decimals,
    Show,
    bare,
    capital,
    count,
    decimals,
    evidence,
    exact,
    flipped,
    has_value,
    interval,
    is_known,
    listing,
    number,
    percent,
    plural,
    points,
)
from evenhand.texts.audit import SURE, Tested
from evenhand.texts.findings import FEWEST_BLOCKS, Choice, Fall, Gap, Level, Moved, Run, Selection, TextFindings, Trained

USABLE = 0.9  # share of usable texts under which nothing comes before it
UNIT = "block"
CHANGES = ("improved", "regressed", "mixed", "undecided")
MIXED = "smaller in one size and larger in the other"
PHRASES = {  # audit and measure → what texts of the higher side do
    ("persuasion", "persuasion bias"): "are worded more forcefully",
    ("persuasion", "agency"): "lean more to verbs of high agency",
    ("persuasion", "modality"): "lean more to words of certainty",
    ("persuasion", "imperatives"): "hold more imperatives",
    ("formality", "formality"): "are more formal",
}
two, three = decimals(2), decimals(3)
Key = tuple[str, str, str]  # audit, measure, axis
Scales = Mapping[tuple[str, str], float]  # audit and measure → a number of the measure's own range, as 100 for per cent


def base(found: TextFindings) -> Run:
    return found.runs[0]


def last(found: TextFindings) -> Run:
    """The run to be used: the chosen one, else the last."""
    return next((r for r in found.runs if is_chosen(found, r.name)), found.runs[-1])


def is_chosen(found: TextFindings, run: str) -> bool:
    return found.choice is not None and run == found.choice.best


# --- numbers in the unit of their measure ---


def scales(found: TextFindings) -> Scales:
    return {(x.audit, x.measure): x.scale for run in found.runs for x in run.levels}


def of_level(scale: float) -> Show:
    """How a mean of a measure is written."""
    return percent if scale == 100 else of_gap(scale, False)


def of_gap(scale: float, signed: bool = True) -> Show:
    """How a difference of means is written: points where the measure is in per cent, without the word."""
    return Decimals(1, signed, 100.0) if scale == 100 else Decimals(3, signed, scale, thinned=True)


def with_unit(estimate: Estimate, scale: float, signed: bool = False) -> str:
    """Its value, with as many decimals as its interval takes."""
    return exact(of_gap(scale, signed), estimate)(estimate.value) + points_of(scale)


def points_of(scale: float) -> str:
    return " points" * (scale == 100)


def with_interval(estimate: Estimate, scale: float) -> str:
    """A difference: "+2.1 points (+0.3 to +3.9)"."""
    return f"{with_unit(estimate, scale, True)} ({interval(estimate, exact(of_gap(scale), estimate))})"


def percents(share: float, signed: bool = False) -> str:
    """A share of more than one, or under nought, too: a relative change."""
    return number(100 * share, 1, signed) + "\u00a0%" if is_known(share) else NONE


# --- which gaps are beyond their null ---


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
        return g.masked, g.audit == "fidelity", not _is_kept(g, gaps), not is_signed_found(g), size

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


def new_sentence(found: TextFindings) -> str:
    """Which gaps came up in which run, and of which that is not shown."""
    new, unshown = (
        [f"{listing(names, 3)} in “{r.name}”" for r in found.runs if (names := [name(replace(g, masked=False)) for g in of(found, r)])]
        for of in (new_gaps, unshown_gaps)
    )
    start = f"beyond the null {version(is_hidden(found))} and not so in “{base(found).name}”"
    said = [f"New, {start}, and larger beyond noise: {listing(new, 3)}."] if new else []
    said += [f"{capital(start)}, but that it grew is not shown: {listing(unshown, 3)}."] if unshown else []
    return " ".join(said)


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


# --- do the versions differ? ---


def gap_sentence(gap: Gap, scale: float) -> str:
    """Who has more, by how much; of a profile, and of gaps that differ from pair to pair, only that they are apart."""
    if is_signed_found(gap):
        more, less = sides(gap)
        size = gap.signed if gap.signed.value > 0 else flipped(gap.signed)
        phrase = PHRASES.get((gap.audit, gap.measure), "score higher")
        d = f", |d| = {two(abs(gap.d.value))}" if has_value(gap.d) else ""
        return (
            f"Texts for “{more}” {phrase} than those for “{less}”: {gap.measure} by {with_unit(size, scale)} "
            f"{evidence(size, exact(of_gap(scale, False), size), UNIT)}{d}; {holm(gap.p_holm)}.{_here(gap)}"
        )
    found, p = gap.systematic, gap.systematic_p_holm
    if gap.distance and not is_systematic_found(gap):
        return f"The mean profiles of {gap.measure} by {gap.axis} differ; {holm(gap.p_holm)}. A profile has no side.{_here(gap)}"
    if gap.distance:
        apart = f": {gap.distance} {three(gap.absolute)}, of equal texts {three(gap.null)}" if is_known(gap.null) else ""
        return (
            f"Profiles of {gap.measure} in matched cells by {gap.axis} lie further apart than those of equal texts would{apart}; {holm(p)}. "
            f"A profile has no side.{_here(gap)}"
        )
    return (
        f"Texts of matched cells differ in {gap.measure} by {gap.axis} from pair to pair, by {with_unit(found, scale)} once the noise of single draws "
        f"is taken off {evidence(found, exact(of_gap(scale, False), found), UNIT)}; {holm(p)}. That one side has more on average is not shown.{_here(gap)}"
    )  # fmt: skip


def _here(gap: Gap) -> str:
    """Whom a gap speaks of where there are few blocks."""
    blocks = gap.signed.n_users or gap.systematic.n_users
    return f" It is a gap of these {plural(blocks, UNIT)} alone, too few to speak of other prompts." if blocks < FEWEST_BLOCKS else ""


def holm(p: float) -> str:
    """ "p = 0.012 after Holm"."""
    return f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} after Holm"


def differences(gaps: Sequence[Gap], of: Scales) -> str:
    """The largest gap beyond its null, then the others' names; where there is none, what would have been found."""
    n, known = tests(gaps), beyond(gaps)
    if not n:
        return f"Not testable: {next((_why(g) for g in gaps if g.testable), 'no test that allows for the others was made')}."
    if not known:
        return f"Not shown: {nothing(gaps)}"
    first = known[0]
    start = gap_sentence(first, of.get((first.audit, first.measure), 1.0))
    start = f"Only with the words that name groups hidden: {start[:1].lower()}{start[1:]}" if first.masked else start
    rest = [name(g) for g in known[1:] if not g.masked or first.masked]
    more = f" Beyond {'its null' if len(rest) == 1 else 'their nulls'} too: {listing(rest)}." if rest else ""
    return f"Yes. {start}{_hidden(first, gaps)}{more}{untestable(gaps)}"


def briefly(run: Run, of: Scales) -> str:
    """The same of one more run: names and sizes alone."""
    known = [g for g in beyond(run.gaps) if not g.masked]
    if not known:
        text = differences(run.gaps, of)
        return f"In “{run.name}”: {text[:1].lower()}{text[1:]}"
    sizes = [f"{name(g)} (more for “{sides(g)[0]}”, |d| = {two(abs(g.d.value))})" if is_signed_found(g) else name(g) for g in known]
    return f"In “{run.name}” beyond the null after Holm: {listing(sizes, 3)}."


def _hidden(gap: Gap, gaps: Sequence[Gap]) -> str:
    """Whether a gap is still there when words that name groups are hidden."""
    twin = _twin(gap, gaps)
    if gap.masked or twin is None or not tests([twin]):
        return ""
    kept = _is_kept(gap, gaps)
    return " It is there with words that name groups hidden as well." if kept else " With words that name groups hidden it is not shown."


def _twin(gap: Gap, gaps: Sequence[Gap]) -> Gap | None:
    return next((g for g in gaps if g.masked and g.key[:3] == gap.key[:3] and g.distance == gap.distance), None)


def _is_kept(gap: Gap, gaps: Sequence[Gap]) -> bool:
    twin = _twin(gap, gaps)
    if twin is None:
        return False
    if is_signed_found(gap):
        return is_signed_found(twin) and sides(twin) == sides(gap)
    return is_systematic_found(twin) if is_systematic_found(gap) else is_mean_profile_found(twin)


def nothing(gaps: Sequence[Gap]) -> str:
    """Not that there is none: what the tests would have found."""
    seen = sorted((g for g in gaps if is_known(g.p_holm) and is_known(g.mde) and not g.distance), key=lambda g: g.mde)
    n, ends = tests(gaps), dict.fromkeys((seen[0], seen[-1])) if seen else {}
    sizes = " to ".join(dict.fromkeys(f"{two(g.mde)} ({name(g)})" for g in ends))
    power = f" One test alone would find a gap of |d| = {sizes} four times in five; after Holm it takes more." if sizes else ""
    start = "its one test is not beyond its null" if n == 1 else f"of {count(n)} tests none is beyond its null after Holm"
    return f"{start}.{power}{untestable(gaps)}"


def untestable(gaps: Sequence[Gap]) -> str:
    """Why some gaps have fewer tests than others, or none."""
    why = Counter(_why(g) for g in gaps if g.testable)
    if not why:
        return ""
    half = sum(bool(g.testable) and is_known(g.p_holm) for g in gaps)
    rest = why.total() - half
    said = [f"Whether {plural(half, 'gap')} {'differ' if half > 1 else 'differs'} from pair to pair is not testable"] * bool(half)
    said += [f"{plural(rest, 'gap')} {'are' if rest > 1 else 'is'} not testable at all"] * bool(rest)
    reasons = why.most_common()
    because = reasons[0][0] if len(reasons) == 1 else listing([f"{reason} ({count(n)})" for reason, n in reasons], 3)
    return f" {'; '.join(said)}: {because}."


def _why(gap: Gap) -> str:
    return gap.testable.removeprefix("not testable: ").rstrip(".")


def tests_sentence(made: Sequence[Tested]) -> str:
    """Tests of an audit that has no gaps, before and after Holm over all tests of the run."""
    known = [t for t in made if is_known(t.p)]
    if not known:
        return ""
    under = [
        f"{t.name}{f' by {t.axis}' if t.axis else ''} (p {'< 0.001' if t.p < 0.001 else f'= {t.p:.3f}'})" for t in known if t.p <= SURE
    ]
    if not under:
        return f"Of {plural(len(known), 'test')} none has a p of {SURE:g} or less."
    return f"{len(under)} of {plural(len(known), 'test')} {'has' if len(under) == 1 else 'have'} a p of {SURE:g} or less before Holm: {listing(under, 3)}; {sum(t.p_holm <= SURE for t in known) or 'none'} after Holm over all tests of the run."


def tally(found: TextFindings, run: Run) -> str:
    """How many gaps are beyond their null: "“sft” 2 of 16, 1 new"."""
    masked = is_hidden(found)
    n, new = len(testable(run, masked)), len(new_gaps(found, run))
    said = f"{count(len(shown_gaps(run, masked)))} of {count(n)}{f', {count(new)} new' if new else ''}" if n else "not testable"
    return f"“{run.name}” {said}"


# --- usable, speaking to its audience ---


def usable_sentence(run: Run) -> str:
    """The share of usable texts, and what most of the others fail."""
    if not has_value(run.usable):
        return ""
    worst = sorted(run.refused.items(), key=lambda r: -r[1])
    failed = f"; they fail most often: {listing([f'{k} ({count(n)})' for k, n in worst if n], 3)}" if any(n for _, n in worst) else ""
    ends = f" ({interval(run.usable, points)})" if is_known(run.usable.low) else ""
    n = run.usable.n_pairs or run.n_texts
    audited = f" {plural(run.n_texts, 'text')} of them were audited." if run.n_texts < n else ""
    return f"{percent(run.usable.value)}{ends} of the {plural(n, 'text')} of “{run.name}” are usable{failed}.{audited}"


def usable_shares(found: TextFindings) -> str:
    """The same of several runs, in short."""
    return f"Usable: {listing([f'“{r.name}” {percent(r.usable.value)}' for r in found.runs if has_value(r.usable)], 6)}."


def speaking(run: Run) -> str:
    """Every measure of fidelity, as written and with names hidden."""
    known = [x for x in fidelities(run) if has_value(x.value)]
    hidden = {(x.audit, x.measure): x for x in known if x.masked}
    parts = []
    for x in (x for x in known if not x.masked):
        show, twin = of_level(x.scale), hidden.get((x.audit, x.measure))
        beside = f", {show(twin.value.value)} with words that name groups hidden" if twin else ""
        own = exact(show, x.value)
        ends = f" ({interval(x.value, bare(own))})" if is_known(x.value.low) else ""
        parts.append(f"{x.measure} {own(x.value.value)}{ends}{beside}")
    return f"“{run.name}”: {'; '.join(parts[:4])}." if parts else ""


def fidelities(run: Run) -> list[Level]:
    return [x for x in run.levels if x.fidelity or x.audit == "fidelity"]


def fidelity_in_short(found: TextFindings, run: str) -> str:
    """The main measure of fidelity in a run against the first one."""
    m = next((m for m in found.moved if m.run == run and m.kind == "level" and not m.masked and has_value(m.difference)), None)
    if m is None:
        return ""
    scale = scales(found).get((m.audit, m.measure), 1.0)
    word = {"improved": "rises", "regressed": "falls", "undecided": "is not shown to change"}[m.change]
    name = "Fidelity" if m.measure == "fidelity" else f"Fidelity ({m.measure})"
    return f"{name} {word} in “{run}” against “{base(found).name}”: {with_interval(m.difference, scale)}."


def fidelity_change(moved: Sequence[Moved], run: str, of: Scales) -> str:
    """How fidelity moved in a run; where nothing is shown, how large a fall stays possible."""
    own = [m for m in moved if m.run == run and m.kind == "level" and not m.masked and has_value(m.difference)]
    parts = []
    for m in own[:3]:
        scale = of.get((m.audit, m.measure), 1.0)
        change = with_interval(m.difference, scale)
        if m.change == "undecided":
            fall = (
                f": neither a rise nor a fall is shown, and a fall of up to {exact(of_gap(scale, False), m.difference)(-m.difference.low)}{points_of(scale)} is not excluded"
                if m.difference.low < 0
                else ""
            )
            parts.append(f"{m.measure} {change}{fall}")
        else:
            parts.append(f"{m.measure} {'rises' if m.change == 'improved' else 'falls'} beyond noise, {change}")
    return "; ".join(parts)


# --- before and after ---


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


def moved_sentence(found: TextFindings, run: str) -> str:
    """Which gaps moved beyond noise, in a run against the first one."""
    masked = is_moved_hidden(found)
    every = shifts(found, run, masked)
    if not every:
        return ""
    start, n = f"“{run}” against “{base(found).name}”, {version(masked)}", Counter(s.change for s in every)
    words = {"improved": "improved", "regressed": "regressed", "mixed": MIXED}
    parts = [f"{word}: {listing([s.name for s in every if s.change == change], 3)}" for change, word in words.items() if n[change]]
    if not parts:
        return f"{start}: for none of {plural(len(every), 'gap')} is a change shown."
    left = f"; of {plural(n['undecided'], 'other gap')} no change is shown" if n["undecided"] else ""
    return f"{start}: {'; '.join(parts)}{left}."


def moves(found: TextFindings) -> str:
    """How many gaps moved beyond noise in each run."""
    said = [f"“{run}” {counted(found, run)}" for run in dict.fromkeys(m.run for m in found.moved)]
    more = f" and {len(said) - 5} more runs" if len(said) > 5 else ""
    return f"Gaps against “{base(found).name}”, {version(is_moved_hidden(found))}: {'; '.join(said[:5])}{more}."


def counted(found: TextFindings, run: str) -> str:
    """ "2 improved, 0 regressed, 12 undecided, 1 new": what the strip counts, over all audits."""
    n = Counter(s.change for s in shifts(found, run, is_moved_hidden(found)))
    new = sum(len(new_gaps(found, r)) for r in found.runs if r.name == run)
    said = [f"{n[c]} {c}" for c in CHANGES if n[c] or c in ("improved", "regressed")]
    return ", ".join([*said, *([f"{new} new"] if new else [])])


def strip(changes: Sequence[str], new: int = 0) -> str:
    """One audit of one run in the strip: "✓ 2 improved, 6 undecided, 1 new"; mixed and undecided ones have signs of their own, and what
    improved is mixed where another gap is new.
    """
    n = Counter(changes)
    sign = "◇" if n["mixed"] or (n["improved"] and (n["regressed"] or new)) else "✓" if n["improved"] else "✕" if n["regressed"] else "?"
    said = [f"{n[c]} {c}" for c in CHANGES if n[c]] + [f"{new} new"] * bool(new)
    return f"{sign} {', '.join(said)}" if said else ""


# --- gate, selection, choice, training ---


def is_learned(fall: Fall) -> bool:
    """Whether a fall on fresh draws exceeds that of shuffled choices beyond noise."""
    return has_value(fall.learned) and fall.learned.low > 0


def falls_sentence(falls: Sequence[Fall]) -> str:
    """How many falls hold for other texts of the same choices, and which do not."""
    if not any(has_value(f.fresh) for f in falls):
        return "Not known: there are no fresh draws of what selection chose."
    failed = [f"{f.measure} by {f.axis}{' (it grew)' if f.fresh.value < 0 else ''}" for f in falls if not is_learned(f)]
    if not failed:
        return f"Yes: {'the fall' if len(falls) == 1 else f'each of {len(falls)} falls'} on fresh draws is beyond that of choices shuffled over prompts."
    start = "No fall" if len(failed) == len(falls) else f"{len(falls) - len(failed)} of {plural(len(falls), 'fall')}"
    return f"{start} on fresh draws {'is' if len(falls) - len(failed) < 2 else 'are'} shown beyond choices shuffled over prompts; not so: {listing(failed, 3)}."


def fall_sentence(fall: Fall) -> str:
    """The three falls, and whether anything beyond shuffled choices was learned."""
    on = [f"{_fell(e.value)} {where}" for e, where in ((fall.same, "on the very texts that were chosen"), (fall.fresh, "on fresh draws"), (fall.shuffled, "with choices shuffled over prompts")) if has_value(e)]  # fmt: skip
    start = (
        f"Mean |gap| of {fall.measure} by {fall.axis}: {', '.join(on)}"
        if on
        else f"No fall of {fall.measure} by {fall.axis} could be computed: no pair of originals is known to differ"
    )
    if not has_value(fall.fresh):
        return f"{start}. Fresh draws are too few, or do not differ either, so nothing is known of new texts."
    if fall.fresh.n_pairs < fall.same.n_pairs:
        start += (
            f" (fresh and shuffled on {count(fall.fresh.n_pairs)} of {plural(fall.same.n_pairs, 'pair')}, whose choices have other draws)"
        )
    if not has_value(fall.learned) or not is_known(fall.learned.low):
        return f"{start}. Whether anything was learned is not known."
    points_ = f"{points(fall.learned.value, True)} points ({interval(fall.learned, points)})"
    if is_learned(fall):
        return f"{start}. Learned, beyond shuffled choices: {points_}."
    return f"{start}. That anything was learned is not shown: {points_} beyond shuffled choices."


def _fell(share: float) -> str:
    return f"{percents(abs(share))} {'less' if share >= 0 else 'more'}"


def selection_sentence(s: Selection) -> str:
    """What the gate left, and for how many blocks that was nothing."""
    refused = sorted(((k, n) for k, n in s.refused.items() if n), key=lambda r: -r[1])
    because = f" Most often refused by: {listing([f'{k} ({count(n)})' for k, n in refused], 3)}." if refused else ""
    kept = (
        f"{percent(s.kept)} of {plural(s.n_blocks, 'block')} keep their originals" if is_known(s.kept) else f"{plural(s.n_blocks, 'block')}"
    )
    return f"{kept}; {plural(s.n_candidates, 'candidate')} were looked at.{because}"


def choice_sentence(c: Choice) -> str:
    """Which run bounded regression chooses at the setting that decides; where none, at which looser setting one would be, if at any."""
    at = f"rho = {c.rho:g} and eps = {c.eps:g}"
    rule = f"no audit more than {percents(c.rho)} worse than “{c.base}”, fidelity at most {c.eps:g} lower, some usable texts, and no fewer beyond noise (without intervals: by a tenth)"
    if c.best:
        scored = next((s for s in c.runs if s.run == c.best), None)
        admitted = next((a.runs for a in c.admitted if (a.rho, a.eps) == (c.rho, c.eps)), ())
        among = f", of {plural(len(admitted), 'admitted run')}" if len(admitted) > 1 else ", the only admitted run"
        where = ", on the very texts that were chosen by these" if scored and scored.selected else ""
        of = plural(len(scored.regression), "audit") if scored else ""
        audits = f" By the estimates its mean |gap| is lower in {scored.improved} of {of}{where}." if scored else ""
        if scored and not scored.improved:
            more = (
                f"; its fidelity is {three(scored.fidelity)} higher" if scored.fidelity > 0 and three(scored.fidelity) != three(0) else ""
            )
            audits = f" By the estimates its mean |gap| is lower in none of {of}{where}: “{c.base}” is as good, or better{more}."
        return f"“{c.best}”{among if admitted else ''} at {at} ({rule}).{audits}"
    looser = sorted((a for a in c.admitted if a.best), key=lambda a: (a.rho, a.eps))
    would = f" The tightest setting that admits one is rho = {looser[0].rho:g}, eps = {looser[0].eps:g} (“{looser[0].best}”); it was not asked for." if looser else " Nor at any other setting of the table." if c.admitted else ""  # fmt: skip
    grown = [f"{audit} of “{s.run}” to {three(d)}" for s in c.runs for audit, d in s.from_nothing.items()]
    from_nothing = f" Where “{c.base}” has a disparity of 0, any is too much: it grew in {listing(grown, 3)}." if grown else ""
    return f"No run: no model is selected. At {at} no run stays within it ({rule}).{from_nothing}{would}"


def settings_sentence(c: Choice) -> str:
    """How often each run is the best one over the table's settings."""
    n = Counter(a.best for a in c.admitted)
    none = n.pop("", 0)
    said = [f"“{run}” at {times}" for run, times in n.most_common()]
    parts = [*([listing(said, 4)] if said else []), *([f"no model at {none}"] if none else [])]
    return f"Of {plural(len(c.admitted), 'setting')} of rho and eps: {'; '.join(parts)}." if c.admitted else ""


def trace_sentence(t: Trained) -> str:
    known = [(step, loss) for step, loss in t.trace if is_known(loss)]
    if not known:
        return f"“{t.stage}” has no trace of its loss."
    (first, start), (last, end) = known[0], known[-1]
    if len(known) == 1:
        return f"“{t.stage}”: loss {three(start)} at step {count(first)}."
    return f"“{t.stage}”: loss {three(start)} at step {count(first)}, {three(end)} at step {count(last)}."


# --- the first screen ---


def headline(found: TextFindings) -> str:
    """The verdict, where there are requirements, and the choice, where there is one."""
    scored = next((s for s in found.choice.runs if s.run == found.choice.best), None) if found.choice else None
    nothing_gained = ", though its mean |gap| is lower in no audit" if scored and not scored.improved else ""
    chosen = (f"“{found.choice.best}” is chosen{nothing_gained}" if found.choice.best else "no model selected") if found.choice else ""
    verdict = found.verdict if found.requirements else ""
    return capital("; ".join(p for p in (verdict, chosen) if p)) or "No requirement was set"


def exit_code(found: TextFindings) -> int:
    """3 where no model is selected, whatever else holds; else the verdict's; 0 where a model is and nothing else was asked."""
    if found.choice and not found.choice.best:
        return 3
    if found.choice and not found.requirements:
        return 0
    return {"PASS": 0, "FAIL": 1, "INSUFFICIENT": 3}[found.verdict if found.requirements else "INSUFFICIENT"]


def tolerance_sentence(found: TextFindings) -> str:
    """The outcome over all requirements, and the reason of the one that decides it."""
    asked = found.requirements
    of = [r for r in asked if r.verdict == found.verdict]
    if not of:
        return ""
    if found.verdict == "PASS":
        return f"No. {'The requirement is' if len(asked) == 1 else f'Each of {len(asked)} requirements is'} met, with the whole interval inside the tolerance."
    undecided = sum(r.verdict == "INSUFFICIENT" for r in asked)
    first = f"“{of[0].name}”: {of[0].reason}" if of[0].reason else f"“{of[0].name}”."
    if found.verdict == "FAIL":
        rest = f", {undecided} cannot be decided" if undecided else ""
        return f"Yes. {len(of)} of {plural(len(asked), 'requirement')} {'is' if len(of) == 1 else 'are'} not met{rest}. {first}"
    return f"Not decided. {len(of)} of {plural(len(asked), 'requirement')} cannot be decided with these texts. {first}"


def tolerance_question(found: TextFindings) -> str:
    limits = {r.tolerance for r in found.requirements}
    return f"By more than |d| = {two(limits.pop())}?" if len(limits) == 1 else "By more than the tolerances?"

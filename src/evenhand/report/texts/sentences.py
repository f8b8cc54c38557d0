"""What a report of texts says. Sentences are computed from the published findings, so that they cannot say more than these do: a gap is
told beyond its null, after Holm, and where none is, how large a gap would have been found; a profile has no direction; an emotion has no
name unless two instruments agree on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from evenhand.report.numbers import (
    bare,
    capital,
    count,
    evidence,
    exact,
    flipped,
    has_value,
    interval,
    is_known,
    listing,
    p_value,
    percent,
    plural,
    points,
)
from evenhand.report.texts.sizes import Scales, of_gap, of_level, points_of, scales, three, two, with_interval, with_unit
from evenhand.report.texts.told import (
    base,
    beyond,
    is_hidden,
    is_kept,
    is_moved_hidden,
    is_signed_found,
    is_systematic_found,
    name,
    new_gaps,
    shifts,
    shown_gaps,
    sides,
    testable,
    tests,
    twin_of,
    unshown_gaps,
    version,
)
from evenhand.texts.audit import SURE, Tested
from evenhand.texts.findings import FEWEST_BLOCKS, Gap, Level, Moved, Run, TextFindings

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
    return f"{p_value(p)} after Holm"


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
    twin = twin_of(gap, gaps)
    if gap.masked or twin is None or not tests([twin]):
        return ""
    kept = is_kept(gap, gaps)
    return " It is there with words that name groups hidden as well." if kept else " With words that name groups hidden it is not shown."


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
    under = [f"{t.name}{f' by {t.axis}' if t.axis else ''} ({p_value(t.p)})" for t in known if t.p <= SURE]
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

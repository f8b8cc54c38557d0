"""What a report says of the stages of an alignment: gate and selection, the falls, the choice, training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evenhand.report.numbers import count, has_value, interval, is_known, listing, percent, plural, points
from evenhand.report.texts.sizes import percents, three
from evenhand.texts.findings import Choice, Fall, Selection, Trained


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

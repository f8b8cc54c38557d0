"""What an audit's page says. Sentences are computed from the published findings, so that they cannot say more than these do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.audits import findings as f
from evenhand.audits.dealt import OverDeals
from evenhand.core import SMALLEST_CELL, Estimate
from evenhand.report.numbers import (
    NONE,
    capital,
    decimals,
    evidence,
    flipped,
    group_name,
    has_value,
    interval,
    is_clear,
    is_known,
    level,
    number,
    p_value,
    people,
    percent,
    plural,
    points,
    shown,
    signed_points,
)
from evenhand.report.page import Answer
from evenhand.report.verdicts import is_share, required_gap

ENOUGH_USERS = 30  # of a bin that a title may name as an extreme
LOGITS = decimals(2, signed=True)
VERDICTS = {"PASS": "is met", "FAIL": "is violated", "INSUFFICIENT": "is not decided"}


def lowered(sentence: str) -> str:
    """To stand after a colon."""
    return sentence[:1].lower() + sentence[1:]


def worst_first(model: f.ModelFindings) -> list[f.GroupFinding]:
    """Groups that have a number, by it."""
    return sorted((g for g in model.groups if has_value(g.accuracy)), key=lambda g: g.accuracy.value)


def usable(model: f.ModelFindings) -> list[f.GroupFinding]:
    """Groups that bear a verdict and have a number, the worst served first."""
    return [g for g in worst_first(model) if not g.excluded]


# --- the first screen ---


def answers(found: f.FairnessReport, requirements: Sequence[f.Requirement]) -> tuple[Answer, ...]:
    """The two questions a report is opened for, in order: is somebody served worse, and by more than the tolerance?"""
    deals, required = found.deals, required_gap(tuple(requirements))
    gap = deals.models[0].gap if deals else found.model.gap
    served = "Not known" if gap is None or not has_value(gap) else "Yes" if is_clear(gap) else "Not clearly"
    said = deals_sentence(deals, found.model.model) if deals else gap_sentence(found.model)
    out = [Answer(f"{served}. {said}", "Is somebody served worse?")]
    if required:
        decided = {"PASS": "No", "FAIL": "Yes", "INSUFFICIENT": "Not decided"}[required.verdict]
        out.append(Answer(f"{decided}. {required.reason}", f"By more than {points(required.tolerance)} points?"))
    if is_coin_like(found):
        overall = found.model.overall
        worse = "worse than by a coin" if overall.high < 0.5 else "not clearly better than by a coin"
        out.append(Answer(f"All users together are served {worse}: {percent(overall.value)} {evidence(overall)}."))
    return tuple(out)


def is_coin_like(found: f.FairnessReport) -> bool:
    """Whether all users together may be served no better than by a coin; broken scores are said to be so elsewhere."""
    return not found.flaw and has_value(found.model.overall) and found.model.overall.low <= 0.5


def summary(found: f.FairnessReport, requirements: Sequence[f.Requirement]) -> str:
    """What the verdict says, and what was audited."""
    model, overall = found.model, found.model.overall
    parts = [outcome(requirements), f"The model “{model.model}” was audited on {people(overall)} ({model.split})."]
    if has_value(overall) and not is_coin_like(found):
        parts.append(f"It orders {percent(overall.value)} of the pairs as their users did {evidence(overall)}.")
    return " ".join(p for p in parts if p)


def outcome(requirements: Sequence[f.Requirement]) -> str:
    """What the verdict says, in one line; "" where the answers say it, the requirement on the gap being the only one."""
    failed, undecided = (sum(r.verdict == v for r in requirements) for v in ("FAIL", "INSUFFICIENT"))

    def of(n: int) -> str:
        return f"{n} of {len(requirements)} requirements" if len(requirements) > 1 else "The requirement"

    if not requirements:
        return "No requirement was set, so this report describes and does not judge."
    if len(requirements) == 1 and required_gap(tuple(requirements)):
        return ""
    if failed:
        rest = f", and {undecided} cannot be decided with these data." if undecided else "."
        return f"{of(failed)} {'is' if failed == 1 else 'are'} not met{rest}"
    if undecided:
        return f"{of(undecided)} cannot be decided with these data; what would decide stands with each."
    return "Every requirement is met, with its whole interval inside the tolerance."


def gap_sentence(model: f.ModelFindings) -> str:
    """Who is served worse, by how much, and whether that is more than noise. Of three groups and more the interval is that of the span
    between the best and the worst, whichever they truly are; the names are those of the estimates.
    """
    gap = model.gap
    if gap is not None and gap.suppressed:
        return f"The gap is not shown: one of its groups has fewer than {SMALLEST_CELL} users."
    if gap is None or not has_value(gap):
        return "There is no gap to show: fewer than two groups have enough users."
    groups = usable(model) if len(usable(model)) > 1 else worst_first(model)
    if len(groups) < 2:
        return f"The gap is {points(gap.value)} points {evidence(gap)}."
    worst, best = group_name(groups[0].group), group_name(groups[-1].group)
    seen = gap if gap.value >= 0 else flipped(gap)
    if not seen.value:
        return f"All groups read the same {evidence(seen)}."
    clear, size = is_clear(seen), f"{points(seen.value)} points"
    who = f"{worst} ({people(groups[0].accuracy)})"
    if len(groups) > 2:
        span = f"accuracy spans {size} {evidence(seen)}, from {who} to {best}"
    else:
        span = f"{who} is served {size} worse {evidence(seen)}" if clear else f"{who} reads {size} lower than {best} {evidence(seen)}"
    small = [group_name(g.group) for g in (groups[0], groups[-1]) if g.excluded]
    more = f"; {' and '.join(small)} {'is' if len(small) == 1 else 'are'} too small for a verdict" if small else ""
    return capital(span) + ("" if clear else ", within what noise alone can do") + more + "."


def deals_sentence(deals: OverDeals, saved: str) -> str:
    """What all deals say of the audited model, in one sentence; saved: the first deal's model, where the others may have chosen another."""
    first = deals.models[0]
    by_deal = [e.value for e in first.by_deal if has_value(e)]
    what = first.gap or first.accuracy[-1]
    name = f"gap ({what.group})" if first.gap else "accuracy of all users"
    if not has_value(what) or not by_deal:
        return f"Over {len(deals.seeds)} deals the groups are too small to show."
    signed = bool(first.gap)
    low, high = (points(f(by_deal), signed) for f in (min, max))
    single = f"single {level(what)} interval {points(what.low, signed)} to {points(what.high, signed)}"
    whose = f" of {first.model}," if first.model != saved else ""
    value = f"{points(what.value, signed)} points" if signed else percent(what.value)
    return f"Over {len(by_deal)} deals{whose} the {name} is {value} ({single}; {people(what)}); single deals say {low} to {high}."


# --- who is served how well ---


def forest_sentence(model: f.ModelFindings, required: f.Requirement | None) -> str:
    """Panel 3. required: the requirement on the gap, whose verdict decides what may be said of the tolerance."""
    groups, excluded = usable(model), sum(bool(g.excluded) for g in model.groups)
    left_out = f" {excluded} of {len(model.groups)} groups cannot be judged." if excluded else ""
    if not groups:
        return f"No group can be judged.{left_out}"
    worst, best = groups[0], groups[-1]
    if len(groups) == 1:
        return f"Accuracy of {group_name(worst.group)} is {shown(worst.accuracy)}, {people(worst.accuracy)}.{left_out}"
    ends = [f"{shown(g.accuracy)} for {group_name(g.group)} ({people(g.accuracy)})" for g in (worst, best)]
    span = f"Accuracy runs from {ends[0]} to {ends[1]}"
    if required is None:
        return f"{span}.{left_out}"
    outside = sum(g.accuracy.value < best.accuracy.value - required.tolerance for g in groups)
    lie = f"{outside} groups lie" if outside > 1 else f"{'one' if outside else 'no'} group lies"
    where = f"{lie} more than the tolerated {points(required.tolerance)} points below the best-served"
    where = f"by the estimates alone, {where}: not decided" if required.verdict == "INSUFFICIENT" else where
    return f"{span}; {where}.{left_out}"


def ungrouped_sentence(model: f.ModelFindings) -> str:
    """How many users no group's number speaks of, "" for none. Where a group is hidden its users are among them, lest they be counted."""
    counted, everybody = sum(g.n_users for g in model.groups), model.overall.n_users
    is_hidden = any(g.accuracy.suppressed for g in model.groups)
    if not model.groups or model.overall.suppressed or (counted >= everybody and not is_hidden):
        return ""
    where = "in no group, or in one too small to be shown" if is_hidden else "in no group"
    if counted >= everybody:
        return f"Fewer than {SMALLEST_CELL} users are {where}: no group’s number speaks of them, and those of all users leave them out."
    return f"{everybody - counted:,} of {everybody:,} users are {where}: no group’s number speaks of them."


# --- support ---


def trend(curve: f.SupportCurve) -> int:
    """1: the lower the support, the worse the service; -1: the better; 0: no trend. Slope and rank correlation must agree, each interval
    without zero: a few users at the ends move the one, ties the other.
    """
    slope, rank = curve.slope, curve.correlation
    if not (has_value(slope) and has_value(rank) and is_clear(slope) and is_clear(rank)):
        return 0
    return (slope.value > 0) - (slope.value < 0) if slope.value * rank.value > 0 else 0


def is_constant(curve: f.SupportCurve) -> bool:
    """Whether all users have the same support, so that there is nothing to hold accuracy against."""
    at = [x for x, _ in curve.users] or [b.mean for b in curve.bins]
    return not at or max(at) - min(at) < 1e-9


def support_sentence(curve: f.SupportCurve) -> str:
    slope, bins = curve.slope, [b for b in curve.bins if has_value(b.accuracy)]
    if bins and is_constant(curve):
        return f"All users have the same preference support, {percent(bins[0].mean)}: accuracy cannot be held against it."
    if not has_value(slope) or len(bins) < 2:
        return "Too few users to say how accuracy goes with preference support."
    rise = f"from {percent(bins[0].accuracy.value)} at the lowest support to {percent(bins[-1].accuracy.value)} at the highest"
    proof = f"{LOGITS(slope.value)} logits per 0.1 of support {evidence(slope, LOGITS)}"
    is_rare = curve.low is not None and curve.low.finding == "rare"  # low support may be carelessness, too
    said, rank = {
        1: "The rarer a user’s taste, the worse the service" if is_rare else "Users with low support are served worse",
        -1: "Users with rarer tastes are served better" if is_rare else "Users with low support are served better",
        0: "No trend beyond noise",
    }[trend(curve)], curve.correlation  # fmt: skip
    if not trend(curve) and (is_clear(slope) or is_clear(rank)):
        said = "No trend is shown, since slope and rank correlation disagree"
        proof += f", rank correlation {shown(rank, number)}"
    return f"{said}: accuracy goes {rise}; {proof}."


def low_support_sentence(curve: f.SupportCurve) -> str:
    """Whether low support is a rare taste or carelessness: what the users who have it make of each other. "" where no pairs are known."""
    if curve.low is None:
        return ""
    difference = curve.low.difference
    if not has_value(difference):
        return "Whether low support is a rare taste or careless choice cannot be told: too few users judged the same pairs."
    proof = evidence(difference, signed_points)
    size = f"by {points(abs(difference.value))} points {proof}"
    if curve.low.finding == "rare":
        return f"Users with low support agree with each other more than with the others, {size}: they share a taste of their own."
    if curve.low.finding == "careless":
        return (
            f"Users with low support agree with the others more than with each other, {size}: that is no rare taste that they share, "
            "but the common one, followed with less care."
        )
    return (
        "Whether low support is a rare taste or careless choice cannot be told: agreement of users with low support among themselves is "
        f"{signed_points(difference.value)} points from that with the others {proof}."
    )


def trend_sentences(curve: f.SupportCurve | None) -> list[str]:
    """What outputs without panel 1 say of it: where there is a trend, how it goes, and whether it is one of rare tastes."""
    return [s for s in (support_sentence(curve), low_support_sentence(curve)) if s] if curve is not None and trend(curve) else []


# --- chance, users, confounds ---


def null_sentence(null: f.NullFinding, overall: Estimate) -> str:
    """Panel 4. The null has no interval of its own: p-value and the counts of the whole stand in."""
    observed, expected = (of_statistic(null, value, 2) for value in (null.observed, null.expected))
    finding = "Groups differ more than chance" if null.p_value < 0.05 else "Chance alone can explain the spread"
    statistic = null.statistic.replace(" - ", " − ")
    return f"{finding}: {statistic} is {observed}, equal groups would show {expected} ({p_value(null.p_value)}; {people(overall)})."


def of_statistic(null: f.NullFinding, value: float, places: int, signed: bool = False) -> str:
    """A value of the statistic; of a difference of shares in points."""
    return f"{points(value, signed)} points" if is_share(null.statistic) else number(value, places, signed)


def users_sentence(spread: f.UserSpread) -> str:
    tau = spread.tau
    if not has_value(tau):
        return "Too few pairs a user to tell users apart."
    if not spread.tau_p_value < 0.05:
        return f"Users cannot be told apart beyond noise: ±{points(tau.value)} points {evidence(tau)}."
    below = next((m.shrunken for m in spread.metrics if m.name.startswith("share below")), None)
    are = f"{percent(below)} of users are" if below is not None and below >= 0.0005 else "none is"
    coin = f"; by the shrunken estimates {are} served worse than by a coin" if is_known(below) else ""
    return f"Single users truly differ, by ±{points(tau.value)} points {evidence(tau)}{coin}."


def confound_sentence(confound: f.Confound) -> str:
    known = [(label, e) for label, e in confound.bins if has_value(e)]
    if not known:
        return f"No numbers for {confound.name}."
    large = [b for b in known if b[1].n_users >= ENOUGH_USERS]
    known = large if len(large) > 1 else [known[0], known[-1]] if len(known) > 1 else known  # the extreme of tiny bins is luck
    low, high = min(known, key=lambda b: b[1].value), max(known, key=lambda b: b[1].value)
    alone, rule = confound.alone, "The"
    if alone is not None and has_value(alone):
        rule = f"{capital(confound.name)} alone orders {percent(alone.value)} of pairs {evidence(alone)}; the"
    if len(known) == 1:
        return f"{rule} model reaches {percent(low[1].value)}, in the one bin of {confound.name} there is ({people(low[1])})."
    where = " to ".join(f"{percent(e.value)} ({label}; {people(e)})" for label, e in (low, high))
    return f"{rule} model’s accuracy runs from {where} over {confound.name}."


# --- changes and training ---


def change_sentence(change: f.Change) -> str:
    """Panel 7: what each of two groups gains, what is beyond noise first, then the one that gains most; of more the extremes would be luck: all users instead."""
    known = [r for r in change.rows if has_value(r.difference)]
    rows = [r for r in known if r.group != "all"]
    if len(rows) > 2:
        rows = [r for r in known if r.group == "all"]
    rows = sorted(rows or known, key=lambda r: r.difference.value)
    if not rows:
        return f"Too few users to compare {change.before} with {change.after}."
    parts, ends = [], sorted([rows[-1], rows[0]] if len(rows) > 1 else rows, key=lambda r: not is_clear(r.difference))
    is_noise = not is_clear(ends[0].difference)
    for row in ends:
        d, together = row.difference, row.group == "all"
        word = "all users together" if together else group_name(row.group)
        verb = ("gain" if d.value >= 0 else "lose") + "s" * (not together)
        noise = "" if is_noise or is_clear(d) else ", within noise"
        parts.append(f"{word} {verb} {points(abs(d.value))} points{noise} {evidence(d, signed_points)}")
    start = "No change beyond noise: from" if is_noise else "From"
    return f"{start} {change.before} to {change.after}{' ' if is_noise else ': '}{' and '.join(parts)}."


def training_sentence(traces: Sequence[f.TrainingTrace]) -> str:
    """Panel 9: whether fits stopped because they were done. A fit whose time nobody took is not counted as 0 seconds."""
    timed = [t.seconds for t in traces if is_known(t.seconds)]
    fits = f"{plural(len(timed), 'fit')} took {number(sum(timed), 1)} s in all"
    if len(timed) < len(traces):
        fits += f", the time of {len(traces) - len(timed)} more is not known"
    watched = [t for t in traces if len(t.valid_loss) > 1]  # a method without epochs has one loss, and nothing to go on with
    cut = sorted({t.method for t in watched if t.best_epoch >= len(t.valid_loss)})  # epochs count from 1
    stuck = sorted({t.method for t in watched if t.best_epoch == 0})
    more = [f"still improving in the last epoch: {', '.join(cut[:5])}"] if cut else []
    more += [f"no epoch improved on the start: {', '.join(stuck[:5])}"] if stuck else []
    more += [said.rstrip(".") for said in stopped_sentences(traces)]
    if not more and watched:
        each = "each" if len(watched) == len(traces) else f"each of the {len(watched)} that go by epochs"
        more = [f"{each} went on beyond the epoch that was kept"]
    return "; ".join([fits, *more]) + "."


def stopped_sentences(traces: Sequence[f.TrainingTrace]) -> list[str]:
    """Which trainings met a number that is none, and where; five at the most."""
    return [f"{trace.method}, seed {trace.seed}: {lowered(trace.stopped)}" for trace in traces if trace.stopped][:5]


def epoch_sentence(trace: f.TrainingTrace) -> tuple[str, str]:
    """Which epoch was kept, and by what rule where that is not the lowest validation loss."""
    name, epochs, kept = f"{trace.method}, seed {trace.seed}", len(trace.train_loss), kept_loss(trace)
    lowest = min(filter(is_known, trace.valid_loss), default=None)
    sentence = f"{name}: epoch {trace.best_epoch} of {epochs} was kept, with a validation loss of {number(kept, 3)}"
    sentence += "." if lowest is None else " (the lowest)." if kept == lowest else f"; the lowest is {number(lowest, 3)}."
    rule = "" if lowest is not None and kept == lowest else "The method’s own rule decides which epoch is kept."
    if trace.limited:
        rule = "Kept: of the epochs within the constraint the one with the lowest validation loss; without any, the one nearest to it."
    if trace.by_group:
        rule = "Kept: by the validation losses of the groups, as far as their sizes tell epochs apart; the curve is the mean over users."
    if trace.tuned_from:
        stretches = (
            f"Epochs up to {trace.tuned_from} trained the head on the language model’s features as they were, later ones both together."
        )
        if trace.best_epoch <= trace.tuned_from:
            stretches += " None of the later ones was kept, so the language model stayed as it was before them."
        rule = f"{rule} {stretches}".strip()
    return (f"{name}: no epoch of {epochs} improved on the start, which was kept." if trace.best_epoch == 0 else sentence), rule


def kept_loss(trace: f.TrainingTrace) -> float | None:
    return trace.valid_loss[trace.best_epoch - 1] if 0 < trace.best_epoch <= len(trace.valid_loss) else None


def settings(values: Mapping[str, Any]) -> str:
    """ "alpha 0.1, distil soft"."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) and is_known(v) else f"{k} {v if v == v else NONE}" for k, v in values.items())


# --- constraints ---


def constraint_sentence(constraint: f.ConstraintFindings) -> str:
    """Whether a constraint is met, and what became of its violation."""
    found, name = constraint.deciding, capital(constraint.name)
    before, after, change = found.size.before, found.size.after, found.size.change
    if not has_value(after):
        few = f"one of its events has fewer than {SMALLEST_CELL} users" if after.suppressed else "fewer than two events have users"
        return f"{name} is not shown: {few}."
    moved = f"is {points(after.value)} points"
    if before is not None and change is not None and has_value(before) and has_value(change):
        way = "" if not is_clear(change) else "fell" if change.value < 0 else "rose"
        moved = f"{way or 'went'} from {points(before.value)} to {points(after.value)} points{'' if way else ', within noise'}"
    proof = f"(simultaneous {level(after)} interval {interval(after)}; {people(after)})"
    is_met = VERDICTS[constraint.verdict]
    return f"{name} {is_met}: its violation by {found.decision} decisions {moved} {proof}, at most {points(constraint.gamma)} allowed."

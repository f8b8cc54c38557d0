"""What results say, in words: every title is computed from the numbers below it, so that it cannot say more than these do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenhand.audits.results import Comparison, ConstraintFront, Front, Result
from evenhand.core import Estimate
from evenhand.report.numbers import decimals, evidence, group_name, has_value, interval, is_clear, people, percent, points, signed_points

BETTER = {  # which way a user-level metric is better
    "standard deviation": "lower", "coefficient of variation": "lower", "Gini": "lower", "Jain": "higher", "max - min": "lower",
    "worst user": "higher", "worst decile": "higher", "share below 50 %": "lower", "gap": "nearer to 0", "correlation with support": "nearer to 0",
}  # fmt: skip
signed, tenths = decimals(3, signed=True), decimals(1)
IN_POINTS = ("gap", "standard deviation", "max - min", "worst user", "worst decile", "share below 50 %")  # shares, or differences of them
NOTIONS = {"dp": "demographic parity", "eo": "equalized odds", "cf": "counterfactual fairness"}
FORMULAS = {
    "accuracy": "mean over users (each once in every seed) of the share of a user’s pairs with a positive margin",
    "interval": "95 %, t: users, the prompts or responses that they share, and deals (seeds) were drawn; differences are "
    "paired; log-loss and user-level metrics: by user over all seeds",
    "interval of a pairwise comparison": "95 % for all pairwise comparisons and groups at once (max-t)",
    "in these deals, by run": "the same interval with the deals as they are (users and what they share drawn), and "
    "with the deal as the only unit; of one deal nobody knows what another would give",
    "dominates clearly": "in every group the whole interval of the difference lies above 0",
    "dominates": "no group’s difference is under 0, and one interval lies above 0",
    "trades": "one group’s interval lies above 0 and another’s below",
    "undecided": "none of these: no order of the two is shown, though a single group may differ",
    "chosen": "on validation pairs: no group under the reference, and then the largest mean over groups",
    "front": "entries that no other one equals or exceeds in every group, by the estimates alone; who dominates whom goes by intervals",
    "area won": "the area between the front, all its entries together, and the reference, in points² (with more groups a volume); "
    "on test pairs that of the entries picked on validation pairs",
    "knee": "the point of the front farthest above the line between its ends",
}  # fmt: skip
CONSTRAINT_FORMULAS = {
    "event rate": "q(e) = mean over users of the user’s mean over pairs of event e of σ(M) (soft) or 1[M > 0] (hard), M = r(y1) − r(y2)",
    "violation": "the largest |q(e) − q(e′)| over compared events; counterfactual fairness: mean over matched sets of max − min; mean over seeds",
    "pooled violation": "the same of rates averaged over seeds, each user’s first",
    "interval of a violation": "95 %: bootstrap by user over all seeds, reverse percentiles; pooled: simultaneous over all compared events (max-t)",
    "accuracy against violation": "an entry is dominated if another is at least as accurate (all users) with at most its violation",
}  # fmt: skip


def formulas(found: Comparison) -> Mapping[str, str]:
    return FORMULAS | (CONSTRAINT_FORMULAS if found.constraint_fronts else {})


def labels(found: Comparison) -> dict[str, str]:
    """Names for a figure: without head and features, which stand in brackets, where that still tells them apart."""
    bare = {e.name: e.name.partition(" (")[0] for e in found.running}
    return {n: b if list(bare.values()).count(b) == 1 else n for n, b in bare.items()}


def group_label(found: Comparison, i: int) -> str:
    """Of a place in an entry's tuples: its group, all users last."""
    return found.groups[i] if i < len(found.groups) else "all users"


def shown_groups(found: Comparison) -> list[int]:
    """Places of the groups that have numbers."""
    return [i for i in range(len(found.groups)) if any(has_value(e.held_out[i]) for e in found.running)]


def roles(front: Front | ConstraintFront, name: str) -> tuple[bool, bool, bool, bool, bool]:
    """Whether an entry is on the front of validation pairs, of test pairs, the reference, the choice, the knee."""
    return name in front.best, name in front.best_held_out, name == front.reference, name == front.chosen, name == front.knee


def headline(found: Comparison) -> str:
    best = found.chosen
    return f"{'Chosen' if found.front else 'Highest'} on validation: {best.name}" if best else "Nothing could be chosen"


def choice(found: Comparison) -> str:
    """The first answer: how well the choice serves whom, beside the reference."""
    best = found.chosen
    if best is None:
        return "Every entry failed, or none has enough users." if found.entries else "There is no entry."
    cells = _levels(found, best)
    if not cells:
        return f"{_role(found)} has too few users for a number."
    start = f"On test pairs {best.name} reaches {cells} ({people(best.held_out[-1])})"
    base = found.entry(found.reference)
    return f"{start}; {base.name} {_levels(found, base)}." if base and base.held_out and base.name != best.name else f"{start}."


def _levels(found: Comparison, entry: Result) -> str:
    """ "72.7 % for the majority and 66.4 % for the minority", of two or three groups, or of all users."""
    groups = shown_groups(found)
    cells = [entry.held_out[i] for i in (groups if 2 <= len(groups) <= 3 else [-1])]
    return " and ".join(f"{percent(e.value)} for {_who(e)}" for e in cells if has_value(e))


def _who(e: Estimate) -> str:
    return "all users" if e.group == "all" else group_name(e.group)


def meaning(found: Comparison) -> str:
    """The second answer: what the choice changes on test pairs against the reference."""
    best, base = found.chosen, found.reference
    if best is None:
        return ""
    if found.front and best.name == base:
        return f"No other entry serves every group at least as well, and one better, on validation pairs: the reference, {base}, stays."
    if not base or best.name == base:
        return "No other entry is held against it."
    pair = found.versus(best.name, base)
    changes = [d for d in (pair.differences if pair else ()) if has_value(d)]
    if not changes:
        return f"How it compares with {base} is not shown."
    rest = f" {len(changes) - 4} more groups are in the tables." if len(changes) > 4 else ""
    return f"Against {base}, on the same pairs: {'; '.join(map(change, changes[:4]))}.{rest}"


def change(d: Estimate) -> str:
    return f"{_who(d)} {signed_points(d.value)} points{'' if is_clear(d) else ', within noise'} {evidence(d, signed_points)}"


def summary(found: Comparison) -> str:
    """What stood against what, on whom, and what failed."""
    everybody, n, seeds = found.everybody, len(found.running), len(found.seeds)
    entries = f"{n} of {len(found.entries)} entries" if n < len(found.entries) else f"{n} entries"
    on = f" on {people(everybody)} of the test split" if everybody else ""
    parts = [
        f"{entries} stand{'s' * (n == 1)} here, judged{on} in {seeds} seed{'s' * (seeds != 1)}{' (a pair counts in each)' * (seeds > 1)}."
    ]
    failed = [e.name for e in found.entries if e.failed]
    if failed:
        parts.append(f"Failed: {', '.join(failed[:5])}{' and others' * (len(failed) > 5)}; the reason stands in the table.")
    parts.append("Settings were chosen on validation pairs; what is reported was measured on test pairs.")
    return " ".join(parts + ["One seed alone does not show how far training itself varies."] * (seeds == 1))


def front_sentence(found: Comparison) -> str:
    """The frontier. The area of two groups, the volume of three."""
    front, everybody = found.front, found.everybody
    if front is None or everybody is None:
        return "There is no front: it takes a reference that ran and two groups that hold users." if found.running else ""
    if front.suppressed:
        return "The front is not shown: a group has fewer than 10 users."
    n, dimensions, one = len(front.best), len(shown_groups(found)), len(front.best) == 1
    start = f"By the estimates on validation pairs {n} of {len(found.running)} entries {'is' if one else 'are'} on the front"
    if dimensions > 3:  # a volume in many dimensions tells nobody anything; report.json has it
        return f"{start} of all {dimensions} groups ({people(everybody)})."
    won = [tenths(v) for v in (front.hypervolume_selection, front.hypervolume_held_out)]
    if won == ["0.0", "0.0"]:
        return f"{start}; no {'area' if dimensions == 2 else 'volume'} is won over {front.reference} ({people(everybody)})."
    unit, alone, best, base = "points²" if dimensions == 2 else "points³", "", found.entry(front.chosen), found.entry(front.reference)
    if dimensions == 2 and not one and best and base and best is not base:
        areas = (tenths(_rectangle(a, b)) for a, b in ((best.selection, base.selection), (best.held_out, base.held_out)))
        alone = f"; the choice, {best.name}, alone wins {' and '.join(areas)}"
    they = "it wins" if one else "together they win"
    return f"{start}; {they} {won[0]} {unit} over {front.reference} there and {won[1]} on test pairs{alone} ({people(everybody)})."


def _rectangle(best: Sequence[Estimate], base: Sequence[Estimate]) -> float:
    """The area in points² that one entry alone wins over another, of two groups."""
    x, y = (max(100 * (a.value - b.value), 0.0) for a, b in zip(best[:2], base[:2]))
    return x * y


def users_sentence(found: Comparison) -> str:
    """Why users of groups add up to more than all users, "" where they do not."""
    groups = [found.running[0].held_out[i].n_users for i in shown_groups(found)]
    if found.everybody is None or sum(groups) <= found.everybody.n_users:
        return ""
    sizes = f"{' + '.join(f'{n:,}' for n in groups[:4])}{' + …' * (len(groups) > 4)}"
    why = "each seed deals the data anew, and some users are in one group by one deal and in another by the next."
    return f"The groups’ users, {sizes}, add up to more than {found.everybody.n_users:,}: {why}"


def constraint_sentence(found: Comparison, front: ConstraintFront) -> str:
    """What the entry within the accepted violation has on test pairs, or that there is none."""
    name = NOTIONS[front.notion].capitalize()
    if front.suppressed:
        return f"{name} is not shown: one of its events has fewer than 10 users."
    start, within = f"{name} by {front.decision} decisions", f"within {points(front.gamma)} points on validation pairs"
    best = found.entry(front.chosen or front.nearest)
    violated = best.violation(front) if best else None
    if best is None or violated is None or not has_value(violated.held_out):
        return f"{start} is not shown: too few users."
    held_out, change = violated.held_out, violated.difference
    on_test = f"{points(held_out.value)} points on test pairs"
    if not front.chosen:
        noise = f", where noise alone would show {points(front.noise_selection)}" if front.noise_selection == front.noise_selection else ""
        there = f"{points(violated.selection.value)} points there{noise}, and {points(held_out.value)} on test pairs {evidence(held_out)}"
        return f"{start}: no entry is {within}; the nearest, {best.name}, has {there}."
    if best.name == front.reference or change is None:
        return f"{start}: the reference, {best.name}, is itself the most accurate entry {within}; it has {on_test} {evidence(held_out)}."
    moved = f"{signed_points(change.value)} against {front.reference}{'' if is_clear(change) else ', within noise'} {evidence(change, signed_points)}"
    price = (
        f", at {signed_points(best.cost.value)} points of accuracy ({interval(best.cost, signed_points)})"
        if best.cost and has_value(best.cost)
        else ""
    )
    return f"{start}: the most accurate entry {within}, {best.name}, has {on_test}, {moved}{price}."


def _role(found: Comparison) -> str:
    """The choice by its name, as a sentence begins."""
    return f"{'The choice' if found.front else 'The highest on validation'}, {found.chosen.name}," if found.chosen else ""


def pairwise_sentence(found: Comparison) -> str:
    """The choice against all others."""
    best, everybody = found.chosen, found.everybody
    if best is None or everybody is None or not found.pairwise:
        return ""
    beaten = [n for n, winners in found.dominated_by.items() if best.name in winners]
    clearly = sum(p.verdict == "dominates clearly" for n in beaten if (p := found.versus(best.name, n)))
    wins = f"{_role(found)} dominates {len(beaten)} of {len(found.running) - 1} other entries"
    wins += " in this one deal" if len(found.seeds) == 1 else ""
    wins += "" if not clearly else ", all of them clearly" if 1 < clearly == len(beaten) else f", {clearly} of them clearly"
    by = found.dominated_by[best.name]
    losses = f"{', '.join(by[:3])}{' and others' * (len(by) > 3)} dominate{'s' * (len(by) == 1)} it" if by else "none dominates it"
    n = len(found.pairwise)
    return f"{wins}; {losses} (by intervals that hold at once over {n:,} pairwise comparison{'s' * (n != 1)}; {people(everybody)})."


def gain_sentence(found: Comparison) -> str:
    """Every entry against the reference."""
    base = found.reference or found.running[0].name
    pairs = [p for e in found.running if e.name != base and (p := found.versus(e.name, base))]
    changes = [[d for d in p.differences if has_value(d)] for p in pairs]
    better = sum(any(d.low > 0 for d in ds) and not any(d.high < 0 for d in ds) for ds in changes)
    worse = sum(any(d.high < 0 for d in ds) for ds in changes)
    counted, n = people(found.everybody) if found.everybody else "", len(changes)
    if not found.groups:
        return f"{better} of {n} serve{'s' * (better == 1)} all users better than {base} beyond noise, {worse} worse ({counted})."
    improve, take = ("improves", "takes") if better == 1 else ("improve", "take")
    loses = f"{worse} lose{'s' * (worse == 1)} some group accuracy beyond noise" if worse else "none loses any group accuracy beyond noise"
    return f"Over {base}, {better} of {n} entries {improve} some group beyond noise and {take} nothing beyond noise from another; {loses} ({counted})."


def unfairness_sentence(found: Comparison, best: Result, metrics: Sequence[str]) -> str:
    """What an entry does to the worst served and to the dependence on support. best: the choice or, where the reference was chosen, another."""
    parts = []
    for m in (m for name in metrics if (m := best.metric(name))):
        if (d := m.difference) and has_value(d):
            show, unit = (signed_points, " points") if m.name in IN_POINTS else (signed, "")
            parts.append(f"{m.name} {show(d.value)}{unit}{'' if is_clear(d) else ', within noise,'} ({interval(d, show)}; {people(d)})")
    if not parts:
        return f"How single users fare under {best.name}, beside the other entries ({people(best.held_out[-1])})."
    role = "the choice," if best is found.chosen else "the highest on validation pairs beside the reference, which was chosen,"
    return f"For single users {role} {best.name}, means against {found.reference}: {' and '.join(parts)}."


def cell_sentence(found: Comparison, best: Result) -> str:
    """Are users who were not seen in training served as well?"""
    cells = [(name, of[-1]) for name, of in best.cells.items() if has_value(of[-1])]
    parts = [f"{percent(e.value)} ({interval(e)}) for {name} ({people(e)})" for name, e in cells]
    who = _role(found) if best is found.chosen else f"Entry {best.name}"
    return f"{who} reaches {' and '.join(parts)}." if parts else "Too few users to tell seen from unseen ones."


def sweep_sentence(found: Comparison, hyperparameter: str, line: Sequence[tuple[str, Result]]) -> str:
    """line: (value, entry) in the order of the hyperparameter's values."""
    (first, start), (last, end) = line[0], line[-1]
    pair = found.versus(end.name, start.name)
    known = [d for d in (pair.differences if pair else ()) if has_value(d)][:3]
    turned = f"Turning {hyperparameter} from {first} to {last} changes"
    return f"{turned} accuracy on test pairs: {'; '.join(map(change, known))}." if known else f"{turned} what is not shown: too few users."


def words(settings: Mapping[str, str]) -> str:
    """ "alpha 0.1, distil soft"."""
    return ", ".join(f"{k} {v}" for k, v in settings.items())

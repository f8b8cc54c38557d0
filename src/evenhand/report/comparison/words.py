"""What results say, in words: every title is computed from the numbers below it, so that it cannot say more than these do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenhand.report.comparison.reading import chosen, entry, group_label, metric_of, reference, running, versus, whole
from evenhand.report.words import capital, count, evidence, group_name, is_clear, number, people, percent, points, share

Json = dict[str, Any]
BETTER = {  # which way a user-level metric is better
    "standard deviation": "lower",
    "coefficient of variation": "lower",
    "Gini": "lower",
    "Jain": "higher",
    "max - min": "lower",
    "worst user": "higher",
    "worst decile": "higher",
    "share below 50 %": "lower",
    "gap": "nearer to 0",
    "correlation with support": "nearer to 0",
}
NOTIONS = {"dp": "demographic parity", "eo": "equalized odds", "cf": "counterfactual fairness"}
FORMULAS = {
    "accuracy": "mean over users (each once in every seed) of the share of a user’s pairs with a positive margin",
    "interval": "95 %, t: users, the prompts or responses that they share, and deals (seeds) were drawn; differences are paired; log-loss and user-level metrics: by user over all seeds",
    "interval of a pairwise comparison": "95 % for all pairwise comparisons and groups at once (max-t)",
    "in these deals, by run": "the same interval with the deals as they are (users and what they share drawn), and with the deal as the only unit; of one deal nobody knows what another would give",
    "dominates clearly": "in every group the whole interval of the difference lies above 0",
    "dominates": "no group’s difference is under 0, and one interval lies above 0",
    "trades": "one group’s interval lies above 0 and another’s below",
    "undecided": "none of these: no order of the two is shown, though a single group may differ",
    "chosen": "on validation pairs: no group under the reference, and then the largest mean over groups",
    "front": "entries that no other one equals or exceeds in every group, by the estimates alone; who dominates whom goes by intervals",
    "area won": "the area between the front, all its entries together, and the reference, in points² (with more groups a volume); on test pairs that of the entries picked on validation pairs",
    "knee": "the point of the front farthest above the line between its ends",
}
CONSTRAINT_FORMULAS = {
    "event rate": "q(e) = mean over users of the user’s mean over pairs of event e of σ(M) (soft) or 1[M > 0] (hard), M = r(y1) − r(y2)",
    "violation": "the largest |q(e) − q(e′)| over compared events; counterfactual fairness: mean over matched sets of max − min; mean over seeds",
    "pooled violation": "the same of rates averaged over seeds, each user’s first",
    "interval of a violation": "95 %: bootstrap by user over all seeds, reverse percentiles; pooled: simultaneous over all compared events (max-t)",
    "accuracy against violation": "an entry is dominated if another is at least as accurate (all users) with at most its violation",
}


def headline(document: Json) -> str:
    """The big line on the page."""
    best = chosen(document)
    if best is None:
        return "Nothing could be chosen"
    return f"{'Chosen' if document['front'] else 'Highest'} on validation: {best['name']}"


def meaning(document: Json) -> str:
    """What the choice does on test pairs against the reference."""
    front, best = document["front"], chosen(document)
    if best is None:
        return "Every entry failed, or none has enough users." if document["entries"] else "There is no entry."
    base = reference(document)
    if front and best["name"] == base:
        return f"No other entry serves every group at least as well, and one better, on validation pairs: the reference, {base}, stays."
    if not base or best["name"] == base:
        return "No other entry is held against it."
    found = versus(document, best["name"], base)
    told = [d for d in (found[0] if found else []) if d["value"] is not None]
    if not told:
        return f"How it compares with {base} is not shown."
    return f"On test pairs, against {base}: {'; '.join(_change(d) for d in told[:4])}." + _rest(len(told) - 4)


def _change(difference: Json) -> str:
    d = difference
    who = "all users" if d["group"] == "all" else group_name(d["group"])
    noise = "" if is_clear(d) else ", within noise"
    return f"{who} {points(d['value'], True)} points{noise} {evidence(d, lambda v: points(v, True))}"


def _rest(n: int) -> str:
    return f" {n} more groups are in the tables." if n > 0 else ""


def summary(document: Json) -> str:
    """What stood against what, on whom, and what failed."""
    everybody, ran, seeds = whole(document), running(document), len(document["seeds"])
    entries = f"{len(ran)} of {len(document['entries'])} entries" if len(ran) < len(document["entries"]) else f"{len(ran)} entries"
    on = f" on {people(everybody)} of the test split" if everybody else ""
    parts = [
        f"{entries} stand{'s' * (len(ran) == 1)} here, judged{on} in {seeds} seed{'s' * (seeds != 1)}{' (a pair counts in each)' * (seeds > 1)}."
    ]
    failed = [e["name"] for e in document["entries"] if e["failed"]]
    if failed:
        parts.append(f"Failed: {', '.join(failed[:5])}{' and others' * (len(failed) > 5)}; the reason stands in the table.")
    parts.append("Settings were chosen on validation pairs; what is reported was measured on test pairs.")
    if seeds == 1:
        parts.append("One seed alone does not show how far training itself varies.")
    return " ".join(parts)


def results_sentence(document: Json) -> str:
    """Panel a."""
    best, front = chosen(document), document["front"]
    if best is None:
        return "No entry has numbers to show."
    cells = _told(document, best)
    if not cells:
        return f"{best['name']} has too few users for a number."
    said = " and ".join(f"{share_of(e)} {where}" for where, e in cells)
    start = f"{best['name']}, {'chosen' if front else 'highest'} on validation pairs, reaches on test pairs {said} ({people(best['held_out'][-1])})"
    base = entry(document, reference(document))
    if base is None or base["name"] == best["name"]:
        return f"{start}."
    before = " and ".join(f"{share_of(e)} {where}" for where, e in _told(document, base))
    return f"{start}; {base['name']} {before}."


def _told(document: Json, of: Json) -> list[tuple[str, Json]]:
    """ "for the minority" and its accuracy on test pairs: two or three groups, or all users."""
    groups = len(document["groups"])
    cells = list(range(groups)) if 2 <= groups <= 3 else [groups]
    named = [(f"for {group_name(group_label(document, i)) if i < groups else 'all users'}", of["held_out"][i]) for i in cells]
    return [(where, e) for where, e in named if e["value"] is not None]


def share_of(estimate: Json) -> str:
    return percent(estimate["value"])


def front_sentence(document: Json) -> str:
    """Panel b, panel 8 of the report's plan."""
    front, everybody = document["front"], whole(document)
    if front is None or everybody is None:
        return "There is no front: it takes a reference that ran and two groups that hold users."
    if front["suppressed"]:
        return "The front is not shown: a group has fewer than 10 users."
    n, best = len(running(document)), len(front["best"])
    verb = "is" if best == 1 else "are"
    dimensions = sum(1 for x in running(document)[0]["held_out"][:-1] if x["value"] is not None)
    found = f"By the estimates on validation pairs {best} of {n} entries {verb} on the front: no other one equals or exceeds {'it' if best == 1 else 'them'}"
    if dimensions > 3:  # a volume in many dimensions tells nobody anything; report.json has it
        return f"{found} in all {dimensions} groups ({people(everybody)})."
    unit, what = ("points²", "area") if dimensions == 2 else ("points³", "volume")
    won = f"{number(front['hypervolume_selection'], 1)} {unit} on validation and {number(front['hypervolume_held_out'], 1)} on test pairs"
    chose = ""
    if dimensions == 2 and front["chosen"] != front["reference"]:
        alone = [_rectangle(document, split) for split in ("selection", "held_out")]
        chose = f"; the choice, {front['chosen']}, alone wins {number(alone[0], 1)} and {number(alone[1], 1)}"
    what = f"the {what} that {'it wins' if best == 1 else 'they win together'} over {front['reference']}"
    return f"{found} in every group; {what} is {won}{chose if best > 1 else ''} ({people(everybody)})."


def _rectangle(document: Json, split: str) -> float:
    """The area in points² that the choice alone wins over the reference, of two groups."""
    front = document["front"]
    best, base = (entry(document, front[key]) or {split: []} for key in ("chosen", "reference"))
    gains = [100 * (a["value"] - b["value"]) for a, b in zip(best[split][:-1], base[split][:-1]) if None not in (a["value"], b["value"])]
    return max(gains[0], 0.0) * max(gains[1], 0.0) if len(gains) == 2 else 0.0


def users_sentence(document: Json) -> str:
    """Why users of groups add up to more than all users, "" where they do not."""
    everybody = whole(document)
    counted = [e["n_users"] for e in running(document)[0]["held_out"][:-1]] if everybody else []
    if not everybody or None in (*counted, everybody["n_users"]) or sum(counted) <= everybody["n_users"]:
        return ""
    return (
        f"The groups’ users, {' + '.join(count(n) for n in counted[:4])}{' + …' * (len(counted) > 4)}, add up to more than {count(everybody['n_users'])}: each seed"
        " deals the data anew, and some users are in one group by one deal and in another by the next."
    )


def violation_of(entry: Json, front: Json) -> Json | None:
    """An entry's violation under the notion and decision of a front."""
    same = (v for v in entry["violations"] if (v["notion"], v["decision"]) == (front["notion"], front["decision"]))
    return next(same, None)


def constraint_front_sentence(document: Json, front: Json) -> str:
    """Panel 8 of a constraint: what the entry within what is accepted has on test pairs, or that there is none."""
    name = capital(NOTIONS[front["notion"]])
    if front["suppressed"]:
        return f"{name} is not shown: one of its events has fewer than 10 users."
    start, within = f"{name} by {front['decision']} decisions", f"within {points(front['gamma'])} points on validation pairs"
    best = entry(document, front["chosen"] or front["nearest"])
    found = violation_of(best, front) if best else None
    if best is None or found is None or found["held_out"]["value"] is None:
        return f"{start} is not shown: too few users."
    held_out, change = found["held_out"], found["difference"]
    if not front["chosen"]:
        noise = "" if front["noise_selection"] is None else f", where noise alone would show {points(front['noise_selection'])}"
        return (
            f"{start}: no entry is {within}; the nearest, {best['name']}, has {points(found['selection']['value'])} points there{noise}, and "
            f"{points(held_out['value'])} on test pairs {evidence(held_out)}."
        )
    on_test = f"{points(held_out['value'])} points on test pairs"
    if best["name"] == front["reference"] or change is None:
        return f"{start}: the reference, {best['name']}, is itself the most accurate entry {within}; it has {on_test} {evidence(held_out)}."
    sure = "" if is_clear(change) else ", within noise"
    moved = f"{points(change['value'], True)} against {front['reference']}{sure} {evidence(change, lambda v: points(v, True))}"
    return f"{start}: the most accurate entry {within}, {best['name']}, has {on_test}, {moved}{_price(best)}."


def _price(of: Json) -> str:
    """What it costs all users."""
    cost = of["cost"]
    if cost is None or cost["value"] is None:
        return ""
    ends = "" if cost["low"] is None else f" ({points(cost['low'], True)} to {points(cost['high'], True)})"
    return f", at {points(cost['value'], True)} points of accuracy{ends}"


def pairwise_sentence(document: Json) -> str:
    """Panel c: the choice against all others."""
    best, everybody = chosen(document), whole(document)
    if best is None or everybody is None or not document["pairwise"]:
        return "There are no two entries to compare."
    others = len(running(document)) - 1
    clearly = sum(_verdict(document, best["name"], n) == "dominates clearly" for n in best["dominates"])
    wins = f"dominates {len(best['dominates'])} of {others} other entries" + (" in this one deal" if len(document["seeds"]) == 1 else "")
    if clearly:
        wins += ", all of them clearly" if 1 < clearly == len(best["dominates"]) else f", {clearly} of them clearly"
    beaten = best["dominated_by"]
    losses = (
        f"{', '.join(beaten[:3])}{' and others' * (len(beaten) > 3)} dominate{'s' * (len(beaten) == 1)} it"
        if beaten
        else "none dominates it"
    )
    pairs = len(document["pairwise"])
    return f"{best['name']} {wins}; {losses} (by intervals that hold at once over {count(pairs)} pairwise comparison{'s' * (pairs != 1)}; {people(everybody)})."


def _verdict(document: Json, first: str, second: str) -> str:
    found = versus(document, first, second)
    return found[1] if found else ""


def gain_sentence(document: Json, base: str, others: Sequence[Json]) -> str:
    """Panel c: every entry against the reference."""
    found = [[d for d in pair[0] if d["value"] is not None] for e in others if (pair := versus(document, e["name"], base))]
    better = sum(any(d["low"] > 0 for d in ds) and not any(d["high"] < 0 for d in ds) for ds in found)
    worse = sum(any(d["high"] < 0 for d in ds) for ds in found)
    counted = whole(document)
    verb = "improves" if better == 1 else "improve"
    loses = f"{worse} lose{'s' * (worse == 1)} some group accuracy beyond noise" if worse else "none loses any group accuracy beyond noise"
    where = (
        "some group beyond noise and take nothing beyond noise from another"
        if better != 1
        else "some group beyond noise and takes nothing beyond noise from another"
    )
    if not document["groups"]:
        return f"{better} of {len(found)} serve{'s' * (better == 1)} all users better than {base} beyond noise, {worse} worse ({people(counted) if counted else ''})."
    return f"Over {base}, {better} of {len(found)} entries {verb} {where}; {loses} ({people(counted) if counted else ''})."


def unfairness_sentence(best: Json, base: str, drawn: Sequence[str]) -> str:
    """Panel d: what the choice does to the worst served and to the dependence on support."""
    parts = []
    for name in drawn:
        metric = metric_of(best, name)
        if metric is None or metric["difference"] is None or metric["difference"]["value"] is None:
            continue
        d = metric["difference"]
        noise = "" if is_clear(d) else ", within noise"
        if in_points(name):
            parts.append(f"{name} {points(d['value'], True)} points{noise} {evidence(d, lambda v: points(v, True))}")
        else:
            parts.append(f"{name} {number(d['value'], 3, True)}{noise} {evidence(d, lambda v: number(v, 3, True))}")
    if not parts:
        return f"How single users fare under {best['name']}, beside the other entries ({people(best['held_out'][-1])})."
    return f"What {best['name']} changes for single users against {base}: {' and '.join(parts)}."


def in_points(metric: str) -> bool:
    """Whether a user-level metric is a share of pairs, or a difference of such shares."""
    return metric in ("gap", "standard deviation", "max - min", "worst user", "worst decile", "share below 50 %")


def cell_sentence(best: Json) -> str:
    """Panel e: are users who were not seen in training served as well?"""
    parts = [f"{share(of[-1])} for {name} ({people(of[-1])})" for name, of in best["cells"].items() if of[-1]["value"] is not None]
    if not parts:
        return "Too few users to tell seen from unseen ones."
    return f"{best['name']} reaches {' and '.join(parts)}."


def sweep_sentence(document: Json, hyperparameter: str, found: Sequence[tuple[str, Json]]) -> str:
    """Panel f: found, (value, entry) in the order of the hyperparameter's values."""
    (first, start), (last, end) = found[0], found[-1]
    turned = f"Turning {hyperparameter} from {first} to {last}"
    differences, _ = versus(document, end["name"], start["name"]) or ([], "")
    known = [d for d in differences if d["value"] is not None][:3]
    if not known:
        return f"{turned} changes what is not shown: too few users."
    return f"{turned} changes accuracy on test pairs: {'; '.join(_change(d) for d in known)}."

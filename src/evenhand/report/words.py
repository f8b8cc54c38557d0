"""Numbers and findings in words. Headlines are computed from the numbers, so that they cannot say more than these do."""

from __future__ import annotations

from typing import Any

from evenhand.audits.requirements import GAP

Json = dict[str, Any]
NB = "\u00a0"  # a no-break space, so that a number and its unit stay on one line
NONE = "–"  # no number there
PLAIN = (
    "log-loss",
    "log loss",
    "log_loss",
    "margin",
    "slope",
    "correlation",
    "alpha",
    "ratio",
    "tau",
)  # metrics that are no shares, printed as they are


def number(value: float | None, decimals: int = 2, signed: bool = False) -> str:
    """1234.5 → "1,234.50"; a true minus sign; never "−0.00"."""
    if value is None:
        return NONE
    text = f"{abs(value):,.{decimals}f}"
    is_zero = not any(c in "123456789" for c in text)
    sign = "" if is_zero else "−" if value < 0 else "+" if signed else ""
    return sign + text


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def percent(value: float | None, decimals: int = 1) -> str:
    return NONE if value is None else number(100 * value, decimals) + f"{NB}%"


def points(value: float | None, signed: bool = False) -> str:
    """A difference of two shares, in percentage points, without the word."""
    return NONE if value is None else number(100 * value, 1, signed)


def is_share(metric: str) -> bool:
    """Whether a metric is a share (or a difference of shares), hence printed in per cent (or points)."""
    return not any(word in metric.lower() for word in PLAIN)


def level(estimate: Json) -> str:
    return f"{100 * estimate['level']:g}{NB}%"


def people(estimate: Json) -> str:
    """ "48 users, 1,344 pairs": the counts that no number goes without."""
    if estimate.get("suppressed"):
        return "fewer than 10 users"
    users, pairs = estimate["n_users"] or 0, estimate["n_pairs"] or 0
    return f"{users:,} user{'s' * (users != 1)}, {pairs:,} pair{'s' * (pairs != 1)}"


def _interval(estimate: Json, show: Any, space: str = " ") -> str:
    if estimate["low"] is None and estimate["high"] is None:
        return "no interval".replace(" ", space)
    return f"{show(estimate['low'])}{space}to{space}{show(estimate['high'])}"


def share(estimate: Json) -> str:
    """ "71.2 % (69.8 to 72.6)"."""
    if estimate["value"] is None:
        return NONE
    return f"{percent(estimate['value'])} ({_interval(estimate, points, NB)})"


def plain(estimate: Json, decimals: int = 3) -> str:
    """ "0.612 (0.590 to 0.634)"."""
    if estimate["value"] is None:
        return NONE
    return f"{number(estimate['value'], decimals)} ({_interval(estimate, lambda v: number(v, decimals), NB)})"


def difference(estimate: Json) -> str:
    """ "+3.4 (1.8 to 5.0)", in points."""
    if estimate["value"] is None:
        return NONE
    return f"{points(estimate['value'], signed=True)} ({_interval(estimate, lambda v: points(v, signed=True), NB)})"


def plain_difference(estimate: Json, decimals: int = 3) -> str:
    """ "+0.012 (+0.003 to +0.021)"."""
    if estimate["value"] is None:
        return NONE
    interval = _interval(estimate, lambda v: number(v, decimals, signed=True), NB)
    return f"{number(estimate['value'], decimals, signed=True)} ({interval})"


def evidence(estimate: Json, show: Any = points) -> str:
    """ "(95 % interval 3.1 to 9.3; 48 users, 1,344 pairs)"."""
    return f"({level(estimate)} interval {_interval(estimate, show)}; {people(estimate)})"


def is_clear(estimate: Json) -> bool:
    """Whether the interval leaves zero out."""
    low, high = estimate["low"], estimate["high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def group_name(name: str) -> str:
    return f"the {name}" if name in ("minority", "majority") else f"“{name}”"


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def flipped(estimate: Json) -> Json:
    """The same difference seen from the other side."""
    low, high = estimate["low"], estimate["high"]
    return estimate | {"value": -estimate["value"], "low": None if high is None else -high, "high": None if low is None else -low}


def usable(model: Json) -> list[Json]:
    """Groups that bear a verdict and have a number, the worst served first."""
    return [g for g in worst_first(model) if not g["excluded"]]


def worst_first(model: Json) -> list[Json]:
    """Groups that have a number, by it."""
    return sorted((g for g in model["groups"] if g["accuracy"]["value"] is not None), key=lambda g: g["accuracy"]["value"])


def ungrouped_sentence(model: Json) -> str:
    """How many users no group's number speaks of, "" for none. Where a group is hidden its users are among them, lest they be counted."""
    shown = sum(g["n_users"] or 0 for g in model["groups"])
    everybody = model["overall"]["n_users"]
    if not model["groups"] or everybody is None or shown >= everybody:
        return ""
    where = "in no group, or in one too small to be shown" if any(g["suppressed"] for g in model["groups"]) else "in no group"
    rest = everybody - shown
    return f"{'Fewer than 10' if rest < 10 else f'{rest:,}'} of {everybody:,} users are {where}: no group’s number speaks of them."


def left_out_sentence(lost: Json) -> str:
    """How many rows, or pairs, are not behind these numbers, why, and whose they are where that is known; "" for none."""
    out = lost["rows_in"] - lost["rows_used"]
    if not out:
        return ""
    reasons = [f"{count(n)} {reason}" for reason, n in sorted(lost["reasons"].items(), key=lambda r: -r[1])]
    groups = [f"{group} {count(sum(n.values()))}" for group, n in sorted(lost["by_group"].items(), key=lambda g: -sum(g[1].values()))]
    of = f" By group: {_some(groups)}." if groups else ""
    return f"{count(out)} of {count(lost['rows_in'])} {lost['unit']} were left out: {_some(reasons)}.{of}"


def _some(parts: list[str], most: int = 4) -> str:
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def answers(document: Json) -> list[str]:
    """The two questions a report is opened for, in order: is somebody served worse, and by more than the tolerance?"""
    deals, required = document["deals"], required_gap(document["requirements"])
    gap = (deals["models"][0] if deals else document["model"])["gap"]
    known = gap is not None and gap["value"] is not None
    served = "Yes" if known and is_clear(gap) else "Not clearly" if known else "Not known"
    out = [
        f"Is somebody served worse? {served}. {deals_sentence(deals, document['model']['model']) if deals else gap_sentence(document['model'])}"
    ]
    if required:
        said = {"PASS": "No", "FAIL": "Yes", "INSUFFICIENT": "Not decided"}[required["verdict"]]
        out.append(f"By more than {points(required['tolerance'])} points? {said}. {required['reason']}")
    overall = document["model"]["overall"]
    if not document["flaw"] and overall["low"] is not None and overall["low"] <= 0.5:
        worse = "worse than by a coin" if overall["high"] < 0.5 else "not clearly better than by a coin"
        out.append(f"All users together are served {worse}: {percent(overall['value'])} {evidence(overall)}.")
    return out


def required_gap(requirements: list[Json]) -> Json | None:
    """The requirement on the gap of all groups, if there is one: its tolerance is the band of the figures."""
    return next((r for r in requirements if r["name"] == GAP and r["tolerance"] is not None), None)


def gap_sentence(model: Json) -> str:
    """Who is served worse, by how much, and whether that is more than noise. Of three groups and more the interval is that of the span
    between the best and the worst, whichever they truly are; the names are those of the estimates.
    """
    gap = model["gap"]
    if gap is None or gap["value"] is None:
        return GAP_HIDDEN if gap and gap.get("suppressed") else "There is no gap to show: fewer than two groups have enough users."
    groups = usable(model) if len(usable(model)) > 1 else worst_first(model)
    if len(groups) < 2:
        return f"The gap is {points(gap['value'])} points {evidence(gap)}."
    worst, best = group_name(groups[0]["group"]), group_name(groups[-1]["group"])
    seen = gap if gap["value"] >= 0 else flipped(gap)
    if not seen["value"]:
        return f"All groups read the same {evidence(seen)}."
    clear, size = is_clear(seen), f"{points(seen['value'])} points"
    who = f"{worst} ({people(groups[0]['accuracy'])})"
    if len(groups) > 2:
        span = f"accuracy spans {size} {evidence(seen)}, from {who} to {best}"
    else:
        span = f"{who} is served {size} worse {evidence(seen)}" if clear else f"{who} reads {size} lower than {best} {evidence(seen)}"
    small = [group_name(g["group"]) for g in (groups[0], groups[-1]) if g["excluded"]]
    told = f"; {' and '.join(small)} {'is' if len(small) == 1 else 'are'} too small for a verdict" if small else ""
    return capital(span) + ("" if clear else ", within what noise alone can do") + told + "."


def deals_sentence(found: Json, saved: str) -> str:
    """What all deals say of the audited model, in one sentence; saved: the first deal's model, where the others may have chosen another."""
    first = found["models"][0]
    by_deal = [e["value"] for e in first["by_deal"] if e["value"] is not None]
    what = first["gap"] or first["accuracy"][-1]
    name = f"gap ({what['group']})" if first["gap"] else "accuracy of all users"
    if what["value"] is None or not by_deal:
        return f"Over {len(found['seeds'])} deals the groups are too small to show."
    signed = bool(first["gap"])
    low, high = (points(f(by_deal), signed) for f in (min, max))
    interval = f"95 % {points(what['low'], signed)} to {points(what['high'], signed)}"
    whose = f" of {first['model']}," if first["model"] != saved else ""
    value = f"{points(what['value'], signed)} points" if signed else percent(what["value"])
    return f"Over {len(by_deal)} deals{whose} the {name} is {value} ({interval}; {people(what)}); single deals say {low} to {high}."


GAP_HIDDEN = "The gap is not shown: one of its groups has fewer than 10 users."


def trend(support: Json) -> int:
    """1: the lower the support, the worse the service; -1: the better; 0: no trend. Slope and rank correlation must agree, each interval
    without zero: a few users at the ends move the one, ties the other.
    """
    slope, rank = support["slope"], support["correlation"]
    if slope["value"] is None or rank["value"] is None or not (is_clear(slope) and is_clear(rank)):
        return 0
    return (slope["value"] > 0) - (slope["value"] < 0) if slope["value"] * rank["value"] > 0 else 0


def support_sentence(support: Json) -> str:
    slope, bins = support["slope"], [b for b in support["bins"] if b["accuracy"]["value"] is not None]
    if slope["value"] is None or len(bins) < 2:
        return "Too few users to say how accuracy goes with preference support."
    rare, common = (percent(b["accuracy"]["value"]) for b in (bins[0], bins[-1]))
    rise = f"from {rare} at the lowest support to {common} at the highest"
    proof = f"{number(slope['value'], 2, signed=True)} logits per 0.1 of support {evidence(slope, lambda v: number(v, 2, signed=True))}"
    is_rare = support["low"] is not None and support["low"]["finding"] == "rare"  # low support may be carelessness, too
    finding = {
        1: "The rarer a user’s taste, the worse the service" if is_rare else "Users with low support are served worse",
        -1: "Users with rarer tastes are served better" if is_rare else "Users with low support are served better",
        0: "No trend beyond noise",
    }
    said, rank = finding[trend(support)], support["correlation"]
    if not trend(support) and (is_clear(slope) or is_clear(rank)):
        said = "No trend is shown, since slope and rank correlation disagree"
        proof += f", rank correlation {plain(rank, 2)}"
    return f"{said}: accuracy goes {rise}; {proof}."


def low_support_sentence(support: Json) -> str:
    """Whether low support is a rare taste or carelessness: what the users who have it make of each other. "" where no pairs are known."""
    low = support["low"]
    if low is None:
        return ""
    difference = low["difference"]
    if difference["value"] is None:
        return "Whether low support is a rare taste or careless choice cannot be told: too few users judged the same pairs."
    proof = evidence(difference, lambda v: points(v, signed=True))
    size = f"by {points(abs(difference['value']))} points {proof}"
    if low["finding"] == "rare":
        return f"Users with low support agree with each other more than with the others, {size}: they share a taste of their own."
    if low["finding"] == "careless":
        return (
            f"Users with low support agree with the others more than with each other, {size}: that is no rare taste that they share, "
            "but the common one, followed with less care."
        )
    return (
        "Whether low support is a rare taste or careless choice cannot be told: agreement of users with low support among themselves is "
        f"{points(difference['value'], signed=True)} points from that with the others {proof}."
    )


def trend_sentences(support: Json | None) -> list[str]:
    """What outputs without panel 1 say of it: where there is a trend, how it goes, and whether it is one of rare tastes."""
    if support is None or not trend(support):
        return []
    return [s for s in (support_sentence(support), low_support_sentence(support)) if s]


def null_sentence(null: Json, overall: Json) -> str:
    """Panel 4. The null has no interval of its own: p-value and the counts of the whole stand in."""
    as_share = is_share(null["statistic"])

    def show(value: float | None) -> str:
        return f"{points(value)} points" if as_share else number(value)

    proof = f"({p_value(null['p_value'])}; {people(overall)})"
    if null["observed"] is None or null["p_value"] is None:
        return "Too few groups to compare their spread with chance."
    finding = "Groups differ more than chance" if null["p_value"] < 0.05 else "Chance alone can explain the spread"
    return f"{finding}: {null['statistic'].replace(' - ', ' − ')} is {show(null['observed'])}, equal groups would show {show(null['expected'])} {proof}."


def p_value(p: float | None) -> str:
    return f"p = {NONE}" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def users_sentence(spread: Json) -> str:
    tau = spread["tau"]
    if tau["value"] is None:
        return "Too few pairs a user to tell users apart."
    if spread["tau_p_value"] is None or spread["tau_p_value"] >= 0.05:
        return f"Users cannot be told apart beyond noise: ±{points(tau['value'])} points {evidence(tau)}."
    below = next((m["shrunken"] for m in spread["metrics"] if m["name"].startswith("share below")), None)
    some = "" if below is None else f"{percent(below)} of users are" if below >= 0.0005 else "none is"
    coin = some and f"; by the shrunken estimates {some} served worse than by a coin"
    return f"Single users truly differ, by ±{points(tau['value'])} points {evidence(tau)}{coin}."


ENOUGH_USERS = 30  # of a bin that a title may name as an extreme


def confound_sentence(confound: Json) -> str:
    known = [b for b in confound["bins"] if b[1]["value"] is not None]
    if not known:
        return f"No numbers for {confound['name']}."
    large = [b for b in known if b[1]["n_users"] >= ENOUGH_USERS]
    known = large if len(large) > 1 else [known[0], known[-1]] if len(known) > 1 else known  # the extreme of tiny bins is luck
    low, high = min(known, key=lambda b: b[1]["value"]), max(known, key=lambda b: b[1]["value"])
    alone = confound["alone"]
    rule = (
        f"{capital(confound['name'])} alone orders {percent(alone['value'])} of pairs {evidence(alone)}; the"
        if alone and alone["value"] is not None
        else "The"
    )
    if len(known) == 1:
        return f"{rule} model reaches {percent(low[1]['value'])}, in the one bin of {confound['name']} there is ({people(low[1])})."
    where = f"{percent(low[1]['value'])} ({low[0]}; {people(low[1])}) to {percent(high[1]['value'])} ({high[0]}; {people(high[1])})"
    return f"{rule} model’s accuracy runs from {where} over {confound['name']}."


def change_sentence(change: Json) -> str:
    """Panel 7: what each of two groups gains, the one that gains most first; of more the extremes would be luck: all users instead."""
    rows = [r for r in change["rows"] if r["group"] != "all" and r["difference"]["value"] is not None]
    if len(rows) > 2:
        rows = [r for r in change["rows"] if r["group"] == "all" and r["difference"]["value"] is not None]
    if not rows:
        rows = [r for r in change["rows"] if r["difference"]["value"] is not None]
    if not rows:
        return f"Too few users to compare {change['before']} with {change['after']}."
    rows = sorted(rows, key=lambda r: r["difference"]["value"])
    picked = [rows[-1], rows[0]] if len(rows) > 1 else rows
    parts = []
    for row in picked:
        d = row["difference"]
        together = row["group"] == "all"
        word = "all users together" if together else group_name(row["group"])
        verb = ("gain" if d["value"] >= 0 else "lose") + "s" * (not together)
        noise = "" if is_clear(d) else ", within noise"
        proof = evidence(d, lambda v: points(v, signed=True))
        parts.append(f"{word} {verb} {points(abs(d['value']))} points{noise} {proof}")
    return f"From {change['before']} to {change['after']}: {' and '.join(parts)}."


def training_sentence(traces: list[Json]) -> str:
    """Panel 9: whether fits stopped because they were done. A fit whose time nobody took is not counted as 0 seconds."""
    timed = [t["seconds"] for t in traces if t["seconds"] is not None]
    fits = f"{len(timed)} fit{'s' * (len(timed) != 1)} took {number(sum(timed), 1)} s in all"
    if len(timed) < len(traces):
        fits += f", the time of {len(traces) - len(timed)} more is not known"
    watched = [t for t in traces if len(t["valid_loss"]) > 1]  # a method without epochs has one loss, and nothing to go on with
    cut = sorted({t["method"] for t in watched if t["best_epoch"] >= len(t["valid_loss"])})  # epochs count from 1
    stuck = sorted({t["method"] for t in watched if t["best_epoch"] == 0})
    told = [f"still improving in the last epoch: {', '.join(cut[:5])}"] if cut else []
    told += [f"no epoch improved on the start: {', '.join(stuck[:5])}"] if stuck else []
    if not told and watched:
        which = "each" if len(watched) == len(traces) else f"each of the {len(watched)} that go by epochs"
        told = [f"{which} went on beyond the epoch that was kept"]
    return "; ".join([fits, *told]) + "."


def deciding(constraint: Json) -> Json:
    """The violation that gives a constraint its verdict, as `ConstraintFindings.deciding`; what has no bound counts as the highest."""
    order = {"FAIL": 2, "INSUFFICIENT": 1, "PASS": 0}

    def standing(found: Json) -> tuple[int, float]:
        high = found["size"]["after"]["high"]
        return order[found["verdict"]], 1.0 if high is None else high

    return max(constraint["violations"], key=standing)


HELD = {"PASS": "is met", "FAIL": "is violated", "INSUFFICIENT": "is not decided"}


def constraint_sentence(constraint: Json) -> str:
    """Whether a constraint is met, and what became of its violation."""
    found, name = deciding(constraint), capital(constraint["name"])
    before, after, change = (found["size"][k] for k in ("before", "after", "change"))
    if after["value"] is None:
        why = "one of its events has fewer than 10 users" if after.get("suppressed") else "fewer than two events have users"
        return f"{name} is not shown: {why}."
    moved = f"is {points(after['value'])} points"
    if before and change and None not in (before["value"], change["value"]):
        way = "" if not is_clear(change) else "fell" if change["value"] < 0 else "rose"
        moved = f"{way or 'went'} from {points(before['value'])} to {points(after['value'])} points{'' if way else ', within noise'}"
    proof = f"(simultaneous {level(after)} interval {_interval(after, points)}; {people(after)})"
    held = HELD[constraint["verdict"]]
    return f"{name} {held}: its violation by {found['decision']} decisions {moved} {proof}, at most {points(constraint['gamma'])} allowed."


def settings(found: Json) -> str:
    """ "alpha 0.1, distil soft"."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())


def summary(document: Json) -> str:
    """What was audited, how good it is, and what changed: the answers stand above it."""
    model, overall = document["model"], document["model"]["overall"]
    parts = [f"The model “{model['model']}” was audited on {people(overall)} ({model['split']})."]
    if overall["value"] is not None:
        parts.append(f"It orders {percent(overall['value'])} of the pairs as their users did {evidence(overall)}.")
    if document["changes"]:
        parts += [change_sentence(document["changes"][0]), document["changes"][0]["verdict"]]
    parts += [constraint_sentence(c) for c in document["constraints"]]
    return " ".join(p for p in parts if p)


def outcome(requirements: list[Json]) -> str:
    """What the verdict says, in one line; "" where the answers say it, the requirement on the gap being the only one."""
    failed, open_ = (sum(r["verdict"] == v for r in requirements) for v in ("FAIL", "INSUFFICIENT"))

    def some(n: int) -> str:
        return f"{n} of {len(requirements)} requirements" if len(requirements) > 1 else "The requirement"

    if not requirements:
        return "No requirement was set, so this report describes and does not judge."
    if len(requirements) == 1 and required_gap(requirements):
        return ""
    if failed:
        return f"{some(failed)} {'is' if failed == 1 else 'are'} not met" + (
            f", and {open_} cannot be decided with these data." if open_ else "."
        )
    if open_:
        return f"{some(open_)} cannot be decided with these data; what would decide stands with each."
    return "Every requirement is met, with its whole interval inside the tolerance."


AT_LEAST = ("accuracy", "worst_group", "gain")  # metrics of requirements that are floors; all others are ceilings
LEVELS = ("accuracy", "worst_group")  # metrics of requirements that are shares, not differences of shares


def requirement_row(requirement: Json) -> dict[str, str]:
    """One line of the verdict strip, in words: per cent for accuracies, points for their differences, else the bare number."""
    estimate = requirement["estimate"]
    metric = estimate["metric"]

    def show(value: float | None) -> str:
        return points(value) if is_share(f"{metric} {requirement['name']}") else number(value)

    def with_unit(value: float | None) -> str:
        if value is None:
            return NONE
        return (
            percent(value) if metric in LEVELS else f"{show(value)} points" if is_share(f"{metric} {requirement['name']}") else show(value)
        )

    has_interval = estimate["low"] is not None or estimate["high"] is not None
    return {
        "verdict": requirement["verdict"],
        "name": requirement["name"],
        "reason": requirement["reason"],
        "people": people(estimate),
        "value": with_unit(estimate["value"]),
        "interval": f"{show(estimate['low'])} to {show(estimate['high'])}" if has_interval else NONE,
        "required": f"at {'least' if metric in AT_LEAST else 'most'} {with_unit(requirement['tolerance'])}",
        "level": level(estimate),
    }

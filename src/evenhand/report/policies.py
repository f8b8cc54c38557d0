"""What policies make of a reward: gaps and rates over β and over n beside their bounds, and two rewards under one β.

Sentences are computed from the numbers, so that they cannot say more than these do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace

from evenhand.audits.transfer import FEWEST_PROMPTS, Measured, Policy, Transfer
from evenhand.core import Estimate
from evenhand.report import Kind, Report
from evenhand.report.figures import policies as figures
from evenhand.report.numbers import NONE, count, decimals, is_clear, is_known, number, plural, points, signed_points
from evenhand.report.page import Answer, Column, Figure, Page, Panel, Row, Table, data_panel, plain_table
from evenhand.report.publish import document, publish

MOST_COLUMNS = 8  # groups with a column in the table of rates
HIDDEN = f"No gap is shown: fewer than two groups have {FEWEST_PROMPTS} prompts"
NAMES = {"gibbs": "Gibbs policies", "best of n": "Best of n"}
NATURE = "Exact policies over the given candidates, not trained ones."
RULES = f"Intervals count prompts as drawn. Groups of fewer than {FEWEST_PROMPTS} prompts are neither compared nor shown."

Grid = tuple[Policy, ...]  # of one kind, from the reference on ever sharper ones: the last is the sharpest


def page(findings: Transfer) -> Page:
    """Of groups of fewer than FEWEST_PROMPTS prompts nothing is shown but their names."""
    found = _shown(findings)
    start = () if found.best_of and found.best_of[0].setting == 1 else (found.reference,)
    grids = [g for g in ((found.reference, *found.gibbs), (*start, *found.best_of)) if g[-1].kind in NAMES]
    known = len(found.compared) > 1
    drawn = [replace(f, section=_key(g)) for g in grids for f in _figures(found, g, g is grids[0])] if known else []
    panels = [Panel(_key(g), NAMES[g[-1].kind], tables=(_gaps(found, g), _rates(found, g))) for g in grids] if known else []
    if len(drawn) > 3:  # the last one stands in its panel
        panels[-1] = replace(panels[-1], figures=(replace(drawn[3], section="", table=panels[-1].tables[1]),), tables=panels[-1].tables[:1])
    answers = [Answer(_gap_sentence(found, grids[0][-1]), "Does the policy set groups further apart?" if known else "")]
    answers += [Answer(_versus_sentence(found), "Does a second reward agree?")] if found.versus and known else []
    return Page(
        _headline(found, grids[0][-1]), "neutral" if known else "insufficient", tuple(answers),
        (*panels, *([_versus(found)] if found.versus else []), _data(found)),
        {"format": "evenhand transfer 2", "simulated": False, **document(found)},
        title=found.title, summary=_summary(found), first=tuple(drawn[:3]), brief=(_brief(found, grids[0][-1]),) if known else (),
        said=(*(f"{NAMES[g[-1].kind]}: {_widest(g)}" for g in grids if known), _summary(found)), facts=found.facts, command=found.command, note=found.note, rules=RULES,
    )  # fmt: skip


POLICIES = Kind("policies", page, ("policies", "rates"))


def report(findings: Transfer) -> Report:
    return Report(findings, POLICIES)


def _shown(found: Transfer) -> Transfer:
    """Findings without the rates of small groups, nor anything of two rewards where all are small. Where what is left out is small as a whole,
    the counts are of compared groups alone: the difference would tell a small group's.
    """
    names = dict(zip(found.groups, publish(dict.fromkeys(found.groups)), strict=True))  # two that look alike stay two

    def policy(p: Policy) -> Policy:
        rates = tuple(replace(r, group=names[r.group]) for r in p.rates if r.group in found.compared)
        return replace(p, rates=rates, most=names.get(p.most, ""), least=names.get(p.least, ""))

    kept = [r for r in found.reference.rates if r.group in found.compared]
    left = found.n_prompts - sum(r.n_prompts for r in kept)
    if 0 < left < FEWEST_PROMPTS and kept:
        found = replace(found, n_prompts=sum(r.n_prompts for r in kept), n_candidates=sum(r.n_candidates for r in kept))
    return publish(replace(
        found, groups=tuple(names.values()), compared=tuple(names[g] for g in found.compared), reference=policy(found.reference),
        gibbs=tuple(map(policy, found.gibbs)), best_of=tuple(map(policy, found.best_of)), versus=found.versus if found.compared else (),
    ))  # fmt: skip


def _key(grid: Grid) -> str:
    return grid[-1].kind.replace(" ", "-")


def _estimate(m: Measured) -> Estimate:
    return Estimate(m.value, m.low, m.high, m.n_prompts, m.n_candidates, "rate", m.group)  # prompts in the place of users


def _rate(policy: Policy, group: str) -> Estimate:
    return next(_estimate(r) for r in policy.rates if r.group == group)


def _figures(found: Transfer, grid: Grid, is_first: bool) -> Iterator[Figure]:
    """Gaps and rates; the first grid's end is told in the answers."""
    is_gibbs, groups = grid[-1].kind == "gibbs", _drawn(found, grid[-1])
    axis = figures.Axis(_key(grid), tuple(p.setting if is_gibbs or p.kind != "reference" else 1 for p in grid))  # n = 1, as β = ∞
    gaps, bound = [_estimate(p.gap) for p in grid], [p.bound for p in grid]
    second = [_estimate(v.gap) for v in found.versus] if is_gibbs else []
    beyond = next((f" From {_setting(p)} on the bound lies beyond the axis." for p in grid if p.bound > figures.highest(gaps)), "")
    note = f"Shaded: where no gap can lie, by the measured κ.{beyond}"
    yield Figure(_widest(grid) if is_first else _gap_sentence(found, grid[-1]), lambda w: figures.gap(axis, gaps, bound, second, w), note)
    rates = [(name, [_rate(p, name) for p in grid]) for name in groups]
    more = f" {len(groups) - figures.MOST_LINES} more groups are in rates.csv." if len(groups) > figures.MOST_LINES else ""
    yield Figure(_rate_sentence(found, grid[-1]), lambda w: figures.rates(axis, rates, w), f"95 % intervals over prompts.{more}")


def _gaps(found: Transfer, grid: Grid) -> Table:
    """One row a policy."""
    limits = grid[-1].kind == "best of n"
    columns = (
        Column("policy"), Column("gap, points", points), Column("most"), Column("least"), Column("shift, points", signed_points),
        Column("κ, nats", decimals(3)), Column("bound, points", _bound), Column("largest KL, nats", decimals(3), on_page=limits),
        Column("log n − (n−1)/n", decimals(3), on_page=limits),
    )  # fmt: skip
    rows = tuple(
        (_setting(p), _estimate(p.gap), p.most or NONE, p.least or NONE, None if p.kl < 1e-9 else _estimate(p.shift), p.kappa, p.bound,
         p.largest_kl, p.kl_limit) for p in grid
    )  # fmt: skip
    return Table(f"Gaps with 95 % intervals ({_counted(found.reference.gap)})", columns, rows, elsewhere="policies")


def _rates(found: Transfer, grid: Grid) -> Table:
    names = _drawn(found, grid[-1])[:MOST_COLUMNS]
    columns = (Column("policy"), *(Column(f"{n} ({_rate(found.reference, n).n_users:,} prompts)", points) for n in names))
    rows: list[Row] = [(_setting(p), *(_rate(p, n) for n in names)) for p in grid]
    return Table(f"Rate of “{found.event}” in %, with 95 % intervals", columns, tuple(rows), elsewhere="rates")


def _brief(found: Transfer, end: Policy) -> Table:
    """The event's rate in the groups farthest apart at the sharp end, the gap and its bound."""
    names = [n for n in (end.most, end.least) if n]
    columns = (Column("in % (95 %)"), *(Column(n, points) for n in names), Column("gap", points), Column("bound", points))
    policies = (found.reference, *found.gibbs, *found.best_of)
    rows: list[Row] = [(_setting(p).removeprefix("the "), *(_rate(p, n) for n in names), _estimate(p.gap), p.bound) for p in policies]
    return Table(f"Rate of “{found.event}”", columns, tuple(rows), "policies", most=22)


def _versus(found: Transfer) -> Panel:
    """Measured beside allowed, for two rewards under one β."""
    three, four = decimals(3), decimals(4)
    columns = (
        Column("β", lambda beta: NONE if beta is None else f"{beta:g}"), Column("|log π/π′|", three), Column("at most", three), Column("TV", four), Column("at most", four),
        Column("J lost", four), Column("at most", four), Column("gap under r′, points", points), Column("gap under r at most", points),
    )  # fmt: skip
    rows = tuple(
        (v.beta, v.log_ratio, v.log_ratio_bound, v.distance, v.distance_bound, v.loss, v.loss_bound, _estimate(v.gap), v.gap_bound)
        for v in found.versus
    )
    notes = (
        "Each is the largest over prompts; “at most” follows from e = max |r − r′| alone, where each prompt has the constant that makes e smallest.",
        "J lost: what the second reward’s policy is worth less by the first reward’s own objective E[r] − β KL.",
    )
    return Panel("versus", "Two rewards", tables=(Table("Measured and allowed", columns, rows),), notes=notes)


def _data(found: Transfer) -> Panel:
    """Where it all comes from, and the files that hold every number."""
    policies, parts = (found.reference, *found.gibbs, *found.best_of), ("value", "low", "high", "n_prompts", "n_candidates")
    heads = (
        "kind", "setting", "most", "least", "kappa", "bound", "kl", "largest_kl", "kl_limit", *(f"{m}_{x}" for m in ("gap", "shift") for x in parts),
    )  # fmt: skip
    rows = (
        (p.kind, p.setting, p.most, p.least, p.kappa, p.bound, p.kl, p.largest_kl, p.kl_limit, *astuple(p.gap)[:5], *astuple(p.shift)[:5])
        for p in policies
    )
    rates = ((p.kind, p.setting, *astuple(r)) for p in policies for r in p.rates)
    files = (
        plain_table("Policies", heads, rows, "policies"), plain_table("Rates", ("kind", "setting", *parts, "group"), rates, "rates"),
    )  # fmt: skip
    return data_panel(None, found.facts, found.formulas, found.limits, files if len(found.compared) > 1 else ())


def _drawn(found: Transfer, end: Policy) -> list[str]:
    """Compared groups by their rate under `end`, the highest first; of too many for a figure, the lowest is the last drawn."""
    most = figures.MOST_LINES
    names = sorted(found.compared, key=lambda g: -_rate(end, g).value)
    return [*names[: most - 1], names[-1], *names[most - 1 : -1]] if len(names) > most else names


def _setting(p: Policy) -> str:
    """ "the reference policy", "β = 0.1", "best of 4"."""
    if p.kind == "reference":
        return "the reference policy"
    return f"β = {p.setting:g}" if p.kind == "gibbs" else f"best of {count(p.setting)}"


def _counted(m: Measured) -> str:
    return f"{plural(m.n_prompts, 'prompt')}, {plural(m.n_candidates, 'candidate')}"


def _bound(value: float | None) -> str:
    return points(value) + (" (says nothing)" if value is not None and value >= 1 else "")


def _headline(found: Transfer, p: Policy) -> str:
    """Whether the gap under the sharpest policy is another than under the reference."""
    start = found.reference
    if not is_known(p.gap.value):
        return HIDDEN
    if not is_clear(_estimate(p.shift)):
        return f"At {_setting(p)} no group moves against another beyond noise"
    if len(found.compared) == 2 and p.most == start.least and is_clear(_estimate(start.gap)):
        return f"At {_setting(p)} the gap turns around, now for “{p.most}”"
    return f"At {_setting(p)} the gap {'grows' if p.gap.value > start.gap.value else 'shrinks'} from {points(start.gap.value)} to {points(p.gap.value)} points"


def _gap_sentence(found: Transfer, p: Policy) -> str:
    """Who is ahead under a policy, and what the policy has to do with it."""
    gap, shift = p.gap, p.shift
    if not is_known(gap.value):
        return f"{HIDDEN}."
    evidence = f"(95 % interval {points(gap.low)} to {points(gap.high)}; {_counted(gap)})"
    if not p.most or gap.value < 0.0005:
        return f"At {_setting(p)} “{found.event}” is equally frequent in all groups {evidence}."
    ahead = f"At {_setting(p)} “{found.event}” is {points(gap.value)} points more frequent for “{p.most}” than for “{p.least}” {evidence}"
    ahead += "" if is_clear(_estimate(gap)) else ", within noise"
    moved = "a shift beyond noise" if is_clear(_estimate(shift)) else "a shift within noise"
    return f"{ahead}; under the reference policy it was {signed_points(gap.value - shift.value)}, {moved}."


def _widest(grid: Grid) -> str:
    """The setting with the largest gap, and how the bound compares there."""
    p = max(grid, key=lambda p: p.gap.value)
    where = f"at the sharp end, {_setting(p)}" if p is grid[-1] else f"at {_setting(p)}, {points(p.gap.value)} points"
    return f"The gap is largest {where}; the bound {'says nothing there' if p.bound >= 1 else f'there is {points(p.bound)} points'}."


def _rate_sentence(found: Transfer, end: Policy) -> str:
    """How the group most often and the one least often concerned at the sharp end got there."""
    if not end.most:
        return f"At {_setting(end)} “{found.event}” has one rate in all groups ({_counted(end.gap)})."
    ends = [(name, _rate(found.reference, name).value, _rate(end, name).value) for name in (end.most, end.least)]
    goes = " and ".join(f"from {points(before)} to {points(after)} % for “{name}”" for name, before, after in ends)
    return f"From the reference to {_setting(end)}, “{found.event}” goes {goes} ({_counted(end.gap)})."


def _versus_sentence(found: Transfer) -> str:
    """The two rewards at the β where their policies lie farthest apart, and how far they might."""
    v = max(found.versus, key=lambda v: v.distance)
    return (
        f"The two rewards differ by at most {number(found.epsilon, 3)} within a prompt, up to a constant; their policies are farthest apart at "
        f"β = {v.beta:g}, by {number(v.distance, 3)} in total variation, and could be by {number(v.distance_bound, 3)}."
    )


def _summary(found: Transfer) -> str:
    """What was looked at, in one paragraph."""
    hidden, n = len(found.groups) - len(found.compared), found.single
    said = [f"{plural(found.n_prompts, 'prompt')}, {plural(found.n_candidates, 'candidate')}."]
    if hidden:
        said.append(f"{plural(hidden, 'group')} of fewer than {FEWEST_PROMPTS} prompts {'are' if hidden != 1 else 'is'} not compared.")
    if n:
        said.append(
            f"{plural(n, 'prompt')} {'have' if n != 1 else 'has'} one candidate, where no policy can change anything: this keeps gaps near the reference’s."
        )
    return " ".join([*said, NATURE])

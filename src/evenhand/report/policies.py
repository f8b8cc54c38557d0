"""What policies make of a reward: gaps and rates over β and over n beside their bounds, and two rewards under one β.

Sentences are computed from the numbers, so that they cannot say more than these do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from evenhand.audits.transfer import FEWEST_PROMPTS, Measured, Policy, Transfer
from evenhand.core import Estimate
from evenhand.report import Kind, Report
from evenhand.report.figures import policies as figures
from evenhand.report.numbers import NONE, Show, count, decimals, is_clear, is_known, number, plural, points, signed_points
from evenhand.report.page import Answer, Cell, Column, Figure, Page, Panel, Table, facts
from evenhand.report.publish import document, publish

MOST_COLUMNS = 8  # groups with a column in the table of rates
HIDDEN = f"No gap is shown: fewer than two groups have {FEWEST_PROMPTS} prompts"
NATURE = "Exact policies over the given candidates, not trained ones."
RULES = f"Intervals count prompts as drawn. Groups of fewer than {FEWEST_PROMPTS} prompts are neither compared nor shown."


@dataclass(frozen=True)
class Grid:
    """The policies of one kind behind the reference policy, ever sharper ones."""

    key: str
    name: str
    policies: tuple[Policy, ...]  # the reference first; n = 1 is the reference

    @property
    def end(self) -> Policy:
        """The policy farthest along. It is fixed before anything is measured."""
        return self.policies[-1]

    @property
    def axis(self) -> figures.Axis:
        return figures.Axis(self.key, tuple(p.setting if self.key == "gibbs" or math.isfinite(p.setting) else 1 for p in self.policies))


def page(findings: Transfer) -> Page:
    """Of groups of fewer than FEWEST_PROMPTS prompts nothing is shown but their names."""
    found = _shown(findings)
    start = () if found.best_of and found.best_of[0].setting == 1 else (found.reference,)
    grids = [Grid("gibbs", "Gibbs policies", (found.reference, *found.gibbs)), Grid("best-of", "Best of n", (*start, *found.best_of))]
    grids = [g for g, policies in zip(grids, (found.gibbs, found.best_of)) if policies]
    known = len(found.compared) > 1
    drawn = [replace(f, section=g.key) for g in grids for f in _figures(found, g, g is grids[0])] if known else []
    panels = [Panel(g.key, g.name, tables=(_gaps(found, g), _rates(found, g))) for g in grids] if known else []
    if len(drawn) > 3:  # the last one stands in its panel
        panels[-1] = replace(panels[-1], figures=(replace(drawn[3], section="", table=panels[-1].tables[1]),), tables=panels[-1].tables[:1])
    answers = [Answer(_gap_sentence(found, grids[0].end), "Does the policy set groups further apart?" if known else "")]
    answers += [Answer(_versus_sentence(found), "Does a second reward agree?")] if found.versus and known else []
    return Page(
        _headline(found, grids[0].end), "neutral" if known else "insufficient", tuple(answers),
        (*panels, *([_versus(found)] if found.versus else []), *_data(found)),
        {"format": "evenhand transfer 2", "simulated": False, **document(found)},
        title=found.title, summary=_summary(found), first=tuple(drawn[:3]), brief=(_brief(found, grids[0].end),) if known else (),
        said=(*(f"{g.name}: {_widest(g)}" for g in grids if known), _summary(found)), facts=found.facts, command=found.command, rules=RULES,
    )  # fmt: skip


POLICIES = Kind("policies", page, ("policies", "rates"))


def report(findings: Transfer) -> Report:
    return Report(findings, POLICIES)


def _shown(found: Transfer) -> Transfer:
    """Findings without the rates of small groups. Where what is left out is small as a whole, the counts are of compared groups alone: the
    difference would tell a small group's.
    """
    names = dict(zip(found.groups, publish(dict.fromkeys(found.groups)), strict=True))  # two that look alike stay two

    def policy(p: Policy) -> Policy:
        rates = tuple(replace(r, group=names[r.group]) for r in p.rates if r.group in found.compared)
        return replace(p, rates=rates, most=names.get(p.most, ""), least=names.get(p.least, ""))

    kept = [r for r in found.reference.rates if r.group in found.compared]
    left = found.n_prompts - sum(r.n_prompts for r in kept)
    if 0 < left < FEWEST_PROMPTS and kept:
        found = replace(found, n_prompts=sum(r.n_prompts for r in kept), n_candidates=sum(r.n_candidates for r in kept))
    if not found.compared:  # these too would speak of few prompts
        nan, nothing = math.nan, Measured(math.nan, math.nan, math.nan, 0, 0)
        hidden = (replace(v, gap=nothing, gap_bound=nan, log_ratio=nan, distance=nan, loss=nan) for v in found.versus)
        found = replace(found, versus=tuple(hidden))
    return publish(replace(
        found, groups=tuple(names.values()), compared=tuple(names[g] for g in found.compared), reference=policy(found.reference),
        gibbs=tuple(map(policy, found.gibbs)), best_of=tuple(map(policy, found.best_of)),
    ))  # fmt: skip


def _estimate(m: Measured) -> Estimate:
    return Estimate(m.value, m.low, m.high, m.n_prompts, m.n_candidates, "rate", m.group)  # prompts in the place of users


def _rate(policy: Policy, group: str) -> Estimate:
    return next(_estimate(r) for r in policy.rates if r.group == group)


def _figures(found: Transfer, grid: Grid, is_first: bool) -> Iterator[Figure]:
    """Gaps and rates; the first grid's end is told in the answers."""
    axis, groups = grid.axis, _drawn(found, grid.end)
    gaps, bound = [_estimate(p.gap) for p in grid.policies], [p.bound for p in grid.policies]
    second = [_estimate(v.gap) for v in found.versus] if grid.key == "gibbs" else []
    beyond = next((f" From {_setting(p)} on the bound lies beyond the axis." for p in grid.policies if p.bound > figures.highest(gaps)), "")
    note = f"Shaded: where no gap can lie, by the measured κ.{beyond}"
    yield Figure(_widest(grid) if is_first else _gap_sentence(found, grid.end), lambda w: figures.gap(axis, gaps, bound, second, w), note)
    rates = [(name, [_rate(p, name) for p in grid.policies]) for name in groups]
    more = f" {len(groups) - figures.MOST_LINES} more groups are in rates.csv." if len(groups) > figures.MOST_LINES else ""
    yield Figure(_rate_sentence(found, grid.end), lambda w: figures.rates(axis, rates, w), f"95 % intervals over prompts.{more}")


def _gaps(found: Transfer, grid: Grid) -> Table:
    """One row a policy."""
    limits = grid.key == "best-of"
    columns = [
        Column("policy"), Column("gap, points", points), Column("most"), Column("least"), Column("shift, points", signed_points),
        Column("κ, nats", decimals(3)), Column("bound, points", _bound),
        *([Column("largest KL, nats", decimals(3)), Column("log n − (n−1)/n", decimals(3))] if limits else []),
    ]  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for p in grid.policies:
        row = (_setting(p), _estimate(p.gap), p.most or NONE, p.least or NONE, _estimate(p.shift), p.kappa, p.bound)
        rows.append((*row, *((p.largest_kl, p.kl_limit) if limits else ())))
    return Table(f"Gaps with 95 % intervals ({_counted(found.reference.gap)})", tuple(columns), tuple(rows))


def _rates(found: Transfer, grid: Grid) -> Table:
    names = _drawn(found, grid.end)[:MOST_COLUMNS]
    columns = [Column("policy"), *(Column(f"{n} ({_rate(found.reference, n).n_users:,} prompts)", points) for n in names)]
    rows: tuple[tuple[Cell, ...], ...] = tuple((_setting(p), *(_rate(p, n) for n in names)) for p in grid.policies)
    return Table(f"Rate of “{found.event}” in %, with 95 % intervals", tuple(columns), rows)


def _brief(found: Transfer, end: Policy) -> Table:
    """The event's rate in the groups farthest apart at the sharp end, the gap and its bound."""
    names = [n for n in (end.most, end.least) if n]
    columns = (Column("in % (95 %)"), *(Column(n, points) for n in names), Column("gap", points), Column("bound", points))
    policies = (found.reference, *found.gibbs, *found.best_of)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (_setting(p).removeprefix("the "), *(_rate(p, n) for n in names), _estimate(p.gap), p.bound) for p in policies
    )
    return Table(f"Rate of “{found.event}”", columns, rows, "policies", most=22)


def _versus(found: Transfer) -> Panel:
    """Measured beside allowed, for two rewards under one β."""
    shows: tuple[Show, ...] = (decimals(3),) * 2 + (decimals(4),) * 4
    heads = ("|log π/π′|", "at most", "TV", "at most", "J lost", "at most")
    columns = (
        Column("β", "{:g}".format),
        *map(Column, heads, shows),
        Column("gap under r′, points", points),
        Column("gap under r at most", points),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (v.beta, v.log_ratio, v.log_ratio_bound, v.distance, v.distance_bound, v.loss, v.loss_bound, _estimate(v.gap), v.gap_bound)
        for v in found.versus
    )
    notes = (
        "Each is the largest over prompts; “at most” follows from e = max |r − r′| alone, where each prompt has the constant that makes e smallest.",
        "J lost: what the second reward’s policy is worth less by the first reward’s own objective E[r] − β KL.",
    )
    return Panel("versus", "Two rewards", tables=(Table("Measured and allowed", columns, rows),), notes=notes)


def _data(found: Transfer) -> Iterator[Panel]:
    """Where it all comes from, and the files that hold every number."""
    policies, plain = (found.reference, *found.gibbs, *found.best_of), ("value", "low", "high", "n_prompts", "n_candidates")
    names = ("most", "least", "kappa", "bound", "kl", "largest_kl", "kl_limit")
    heads = ("kind", "setting", *names, *(f"{m}_{part}" for m in ("gap", "shift") for part in plain))
    rows = tuple((p.kind, p.setting, *_fields(p, names), *_fields(p.gap, plain), *_fields(p.shift, plain)) for p in policies)
    rates = tuple((p.kind, p.setting, *_fields(r, ("group", *plain))) for p in policies for r in p.rates)
    files = (
        Table("Policies", tuple(map(Column, heads)), rows, "policies"),
        Table("Rates", tuple(map(Column, ("kind", "setting", "group", *plain))), rates, "rates"),
    )
    tables = (facts("How it was made", found.facts), facts("Formulas", found.formulas, ("quantity", "formula")))
    yield Panel("data", "Data, method", tables=tables, csv_only=files if len(found.compared) > 1 else ())
    yield Panel("limits", "What this report does not show", notes=found.limits)


def _fields(record: Policy | Measured, names: tuple[str, ...]) -> tuple[Cell, ...]:
    return tuple(vars(record)[name] for name in names)


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
    p = max(grid.policies, key=lambda p: p.gap.value)
    where = f"at the sharp end, {_setting(p)}" if p is grid.end else f"at {_setting(p)}, {points(p.gap.value)} points"
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
    parts = [f"{plural(found.n_prompts, 'prompt')}, {plural(found.n_candidates, 'candidate')}."]
    parts += (
        [f"{plural(hidden, 'group')} of fewer than {FEWEST_PROMPTS} prompts {'are' if hidden != 1 else 'is'} not compared."]
        if hidden
        else []
    )
    if n:
        have = "prompts have" if n != 1 else "prompt has"
        parts.append(f"{n:,} {have} one candidate: no policy can change anything there, which keeps all gaps near the reference’s.")
    return " ".join([*parts, NATURE])

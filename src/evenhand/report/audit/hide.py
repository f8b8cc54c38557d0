"""What goes with a number of fewer than ten users: whatever it could be computed from. The numbers themselves go in `publish`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from evenhand.audits import findings as f
from evenhand.audits.dealt import DealtModel
from evenhand.core import SMALLEST_CELL, Estimate
from evenhand.report.publish import SMALL_GROUP, hidden, is_small, may_be_named, without_size

T = TypeVar("T")
NAN = math.nan


def hide(found: f.FairnessReport) -> tuple[f.FairnessReport, tuple[f.Requirement, ...]]:
    """The findings, and the lines of the verdict strip (requirements, then constraints), without what tells of a small group."""
    small = {g.group for g in found.model.groups if is_small(g.n_users)}
    shown = {g.group for g in found.model.groups} - small
    total, groups = found.model.overall, [g.accuracy for g in found.model.groups]
    few = _few(total, groups)
    constraints = [_constraint(c, few) for c in found.constraints]
    lines = tuple(_requirement(r, small, _comparable(found.model), few) for r in (*found.requirements, *(r for _, r in constraints)))
    by_group = {k: v for k, v in found.exclusions.by_group.items() if may_be_named(k, v, small, shown)}
    clean = replace(
        found, requirements=lines[: len(found.requirements)], model=_model(found.model), others=tuple(map(_model, found.others)),
        cells=_cells(found.cells), groups_rule=without_size(found.groups_rule), changes=tuple(_change(c, _comparable(found.model)) for c in found.changes),
        constraints=tuple(c for c, _ in constraints), exclusions=replace(found.exclusions, by_group=by_group),
        deals=found.deals and replace(found.deals, models=tuple(map(_dealt, found.deals.models))),
    )  # fmt: skip
    return _recounted((clean, lines), total, of_shown(total, groups)) if few else (clean, lines)


def _comparable(model: f.ModelFindings) -> int:
    """How many groups may be shown: with two of them no gap speaks of a smaller group (see `examine.compared`)."""
    return sum(g.n_users >= SMALLEST_CELL for g in model.groups)


# --- what would give fewer than ten users away: a total minus the groups that are shown ---


def _few(total: Estimate, groups: Sequence[Estimate]) -> bool:
    """Whether one to nine users are in no group that is shown, and some group is."""
    users = sum(g.n_users for g in groups if not is_small(g.n_users))
    return 0 < total.n_users - users < SMALLEST_CELL and users > 0


def of_shown(total: Estimate, groups: Sequence[Estimate]) -> Estimate:
    """A mean over all users without the few whom no shown group holds: it is then the shown groups' own mean, and tells nothing that these
    do not. The interval moves with it and keeps its width. Without such users: unchanged.
    """
    if not _few(total, groups):
        return total
    shown = [g for g in groups if not is_small(g.n_users)]
    users = sum(g.n_users for g in shown)
    value = sum(g.n_users * g.value for g in shown if g.n_users) / users
    low, high = (end + value - total.value for end in (total.low, total.high))
    low, high = (max(low, 0.0), min(high, 1.0)) if 0 <= total.low <= total.high <= 1 else (low, high)
    return replace(total, value=value, low=low, high=high, n_users=users, n_pairs=sum(g.n_pairs for g in shown))


def _recounted(value: T, total: Estimate, shown: Estimate) -> T:
    """The same records, with the counts of `shown` wherever those of `total` stood."""

    def recount(found: Any) -> Any:
        if isinstance(found, Estimate):
            pairs = shown.n_pairs if found.n_pairs == total.n_pairs else found.n_pairs
            return replace(found, n_users=shown.n_users, n_pairs=pairs) if found.n_users == total.n_users else found
        if is_dataclass(found) and not isinstance(found, type):
            return replace(found, **{a.name: recount(getattr(found, a.name)) for a in fields(found) if a.init})
        if isinstance(found, tuple):
            return tuple(map(recount, found))
        return {k: recount(v) for k, v in found.items()} if isinstance(found, Mapping) else found

    out: T = recount(value)
    return out


# --- record by record ---


def _model(model: f.ModelFindings) -> f.ModelFindings:
    """Also the cells that are no estimates: counts, and all that describes single users."""
    small = {g.group for g in model.groups if is_small(g.n_users)}
    with_gap = any(g.group in small and (not g.excluded or _comparable(model) < 2) for g in model.groups)
    total, groups = model.overall, [g.accuracy for g in model.groups]
    metrics = (replace(m, overall=of_shown(m.overall, m.groups), gap=hidden(m.gap) if m.gap and with_gap else m.gap) for m in model.metrics)
    model = replace(
        model, overall=of_shown(total, groups), groups=tuple(_group(g) if g.group in small else g for g in model.groups),
        counts=tuple(f.GroupCounts(c.group, 0) if c.group in small else c for c in model.counts), metrics=tuple(metrics),
        gap=hidden(model.gap) if model.gap and with_gap else model.gap,  # a small group could be read off as the other plus the gap
    )  # fmt: skip
    if is_small(total.n_users):
        return replace(model, null=(), spread=None, support=model.support and replace(model.support, users=(), line=()))
    return _recounted(model, total, model.overall)


def _cells(cells: Sequence[f.ModelFindings]) -> tuple[f.ModelFindings, ...]:
    """Cells share the users and pairs of the test part. A group's number that is hidden in one of them is its total minus the others, so that
    then no group is shown in any, and where a cell itself has fewer than ten users there is none.
    """
    if any(is_small(cell.overall.n_users) for cell in cells):
        return ()
    if not any(is_small(g.n_users) for cell in cells for g in cell.groups):
        return tuple(map(_model, cells))
    whole = ((cell, tuple(replace(m, groups=(), gap=None) for m in cell.metrics)) for cell in cells)
    return tuple(replace(cell, groups=(), counts=(), gap=None, null=(), metrics=metrics) for cell, metrics in whole)


def _group(group: f.GroupFinding) -> f.GroupFinding:
    estimates: dict[str, Any] = {k: hidden(v) for k, v in vars(group).items() if isinstance(v, Estimate)}
    return replace(group, n_users=0, n_pairs=0, mde=NAN, p_value=NAN, notable=False, excluded=SMALL_GROUP, **estimates)


def _requirement(requirement: f.Requirement, small: set[str], comparable: int, few: bool) -> f.Requirement:
    """A requirement on a small group, or on a gap to one. Its estimate names its groups: "a", "a, b" or "a minus b"."""
    estimate = requirement.estimate
    named = set(re.split(", | minus ", estimate.group)) | {estimate.group}
    of_small = named & small or is_small(estimate.n_users) or estimate.suppressed or (small and not estimate.group and comparable < 2)
    if few and estimate.group == "all":
        reason = f"Its interval, and those of the groups, would tell of fewer than {SMALLEST_CELL} users."
    elif of_small:
        reason = f"It concerns a group of fewer than {SMALLEST_CELL} users."
    else:
        return replace(requirement, reason=without_size(requirement.reason))
    return replace(requirement, estimate=hidden(estimate), reason=reason)


def _change(change: f.Change, comparable: int) -> f.Change:
    rows = [r for r in change.rows if r.group != "all"]

    def whole(row: f.ChangeRow) -> f.ChangeRow:
        parts: dict[str, Any] = {k: of_shown(v, [vars(r)[k] for r in rows]) for k, v in vars(row).items() if isinstance(v, Estimate)}
        return replace(row, **parts)

    change = replace(change, rows=(*(whole(r) for r in change.rows if r.group == "all"), *rows))
    if comparable >= 2 or not any(is_small(r.difference.n_users) for r in rows):
        return change
    gaps: dict[str, Any] = {k: hidden(v) for k, v in vars(change).items() if isinstance(v, Estimate)}
    return replace(change, **gaps, verdict="", levelled_down=NAN)


def _dealt(model: DealtModel) -> DealtModel:
    def last(found: tuple[Estimate, ...]) -> tuple[Estimate, ...]:
        return (*found[:-1], of_shown(found[-1], found[:-1])) if found else ()

    return replace(model, accuracy=last(model.accuracy), gain=last(model.gain))


def _constraint(constraint: f.ConstraintFindings, few: bool) -> tuple[f.ConstraintFindings, f.Requirement]:
    """A violation is the distance of two events: where one of them is small, no violation is shown, nor anything computed from it."""
    requirement = constraint.requirement
    violations = tuple(replace(v, reason=without_size(v.reason)) for v in constraint.violations)
    if any(is_small(r.rate.after.n_users) for v in violations for r in v.rates):
        violations = tuple(map(_violation, violations))
        requirement = replace(requirement, estimate=replace(hidden(requirement.estimate), group=""))
        sentence = f"It concerns an event of fewer than {SMALLEST_CELL} users."
        constraint = replace(constraint, fitted=None, training="", sentence=sentence)
    if few:  # what all pairs cost is a total over users
        constraint = replace(constraint, costs=tuple(c for c in constraint.costs if c.group != "all pairs"))
    if any(is_small(c.accuracy.after.n_users) for c in constraint.costs):
        constraint = replace(constraint, levelled_down=NAN, levelling="")
    return replace(constraint, violations=violations), requirement


def _violation(violation: f.ViolationFinding) -> f.ViolationFinding:
    """Nor which two events are furthest apart."""
    gone: dict[str, Any] = {k: replace(hidden(e), group="") for k, e in vars(violation.size).items() if isinstance(e, Estimate)}
    return replace(violation, size=replace(violation.size, **gone), expected_before=NAN, expected_after=NAN)

"""Constraints on pairs that training did not see: violation before and after against its tolerance, what it cost each group, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evenhand.audits.bootstrap import RESAMPLED_USERS, basic_interval, resampled_means
from evenhand.audits.broken import broken, in_short
from evenhand.audits.changes import levelling_down, same_pairs
from evenhand.audits.examine import MIN_USERS, calibration_error
from evenhand.audits.findings import ConstraintFindings, FittedConstraints, GroupCost, Paired, ViolationFinding
from evenhand.audits.intervals import contrast, estimate, in_points
from evenhand.audits.metrics import ECE_BINS, METRICS, calibration_gaps
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.rates import DECISIONS, rates
from evenhand.audits.sample import arrange, means
from evenhand.audits.violations import violations
from evenhand.core import NOTIONS, Estimate, EvenhandError, Events, Groups, Notion, Verdict


def examine_constraints(
    before: Outcomes | None,
    after: Outcomes,
    events: Events,
    notion: Notion,
    gamma: float,
    *,
    seed: int,
    resamples: int = 1000,
    fitted: FittedConstraints | None = None,
) -> ConstraintFindings:
    """Is D at most gamma, in (0, 1]? On pairs that training did not see, with soft and with hard decisions.

    before: the unconstrained model on the same pairs, or None. events: one entry a pair of `after`. Pairs without a strict preference are
    left out. PASS only if the simultaneous upper bound of D is at or under gamma, FAIL only if the lower one is above it, and
    INSUFFICIENT where a compared event has fewer than 30 users; the worse of soft and hard counts. Broken scores pass nothing.
    Raises EvenhandError on another notion, on gamma outside (0, 1], on events or models that judge other pairs, and where no pair is in a
    group (cf: where none is matched).
    """
    _check(before, after, events, notion, gamma, resamples)
    models = [m.strict() for m in (before, after) if m is not None]
    events = events if after.tie is None else events.take(~after.tie)
    by_decision = {name: [rates(m.margin, m.user, events, notion, rule) for m in models] for name, rule in DECISIONS.items()}
    if not len(next(iter(by_decision.values()))[0].user):
        raise EvenhandError(
            "Constraints: no pair is in a group. Expected: pairs of two groups or more. To do: name a column that fills some."
        )
    rng = np.random.default_rng([seed, 80210])
    flaw = broken(after)
    sizes = tuple(
        replace(v, verdict="INSUFFICIENT", reason=f"These scores bear no PASS: {in_short(flaw)}.") if flaw and v.verdict != "FAIL" else v
        for v in violations(by_decision, gamma, seed, resamples, rng)
    )
    costs = _costs(models, events, notion, resamples, rng)
    levelled, levelling = _levelling(costs[: len(events)] if before else ())
    order: dict[Verdict, int] = {"FAIL": 2, "INSUFFICIENT": 1, "PASS": 0}
    verdict = max((v.verdict for v in sizes), key=order.__getitem__)
    return ConstraintFindings(
        notion=notion, name=NOTIONS[notion], gamma=gamma, before=before.model if before else "", after=after.model, split=after.split,
        rule=events.rule, violations=sizes, costs=tuple(c for c in costs if c.accuracy.after.n_users), levelled_down=levelled,
        levelling=levelling, fitted=fitted, training=_training(fitted), verdict=verdict,
        sentence=_sentence(NOTIONS[notion], sizes, gamma, verdict),
    )  # fmt: skip


def _check(before: Outcomes | None, after: Outcomes, events: Events, notion: str, gamma: float, resamples: int) -> None:
    if notion not in NOTIONS:
        raise EvenhandError(f"Constraints: notion '{notion}' is not known. Expected: {', '.join(NOTIONS)}. To do: name one of them.")
    if not 0 < gamma <= 1:
        raise EvenhandError(f"Constraints: gamma is {gamma:g}. Expected: above 0 and at most 1, such as 0.05. To do: give such a share.")
    if resamples < 1:
        raise EvenhandError(f"{resamples} resamples. Expected: at least 1; 1,000 for intervals to print. To do: ask for more.")
    if len(events.of_pair) != len(after):
        raise EvenhandError(
            f"Constraints: {len(events.of_pair)} events for {len(after)} pairs of '{after.model}'. Expected: one a pair, in the same order."
            " To do: take the events at the rows that were scored."
        )
    if before is not None:
        same_pairs(before, after)


# --- costs ---


def _costs(models: list[Outcomes], events: Events, notion: Notion, resamples: int, rng: np.random.Generator) -> list[GroupCost]:
    """One row a group, also an empty one; then all compared pairs, where these are not all, and all pairs."""
    inside = events.of_pair >= 0 if notion != "cf" or events.twin is None else events.twin >= 0
    parts = [(name, events.of_pair == g) for g, name in enumerate(events.names)]
    parts += [] if inside.all() else [("all compared pairs", inside)]
    parts.append(("all pairs", np.ones(len(inside), bool)))
    return [_cost(name, [m.take(rows) for m in models], resamples, rng) for name, rows in parts]


def _cost(name: str, models: list[Outcomes], resamples: int, rng: np.random.Generator) -> GroupCost:
    """Accuracy, log-loss and ECE of the pairs given, each user's pairs averaged first; two-way intervals where prompts repeat."""
    if not len(models[0]):
        nothing = Paired(None, Estimate(np.nan, np.nan, np.nan, 0, 0, "accuracy", name), None)
        return GroupCost(name, nothing, nothing, nothing)
    nobody = Groups((), np.full(int(models[0].user.max()) + 1, -1, np.int16), "")  # one cell: all users of these pairs
    sample = arrange(models[0], nobody)
    paired = []
    for key in ("accuracy", "log_loss"):
        metric = METRICS[key]
        bounded = bool(np.isfinite(metric.high))
        joint = means(sample, [metric.of_pair(m.margin) for m in models])
        rows = np.array([[1.0]] if len(models) == 1 else [[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
        c = contrast(joint, rows, bounded)
        levels = [estimate(c, i, key, name, metric.low, metric.high) for i in range(len(models))]
        change = estimate(c, 2, f"change of {key}", name, -metric.high, metric.high) if len(models) > 1 else None
        paired.append(Paired(levels[0] if change else None, levels[-1], change))
    by_user = []
    for m in models:
        bins, gap = calibration_gaps(m.margin)
        by_user.append(np.stack([sample.user_means(np.where(bins == b, gap, 0.0)) for b in range(ECE_BINS)], axis=1))
    return GroupCost(name, paired[0], paired[1], _calibration(by_user, int(sample.pairs.sum()), name, max(resamples, 200), rng))


def _calibration(by_user: list[np.ndarray], pairs: int, name: str, resamples: int, rng: np.random.Generator) -> Paired:
    """ECE of each model; its change from a bootstrap in which both have the same users."""
    levels = [calibration_error(values, pairs, name, resamples, rng) for values in by_user]
    if len(levels) == 1:
        return Paired(None, levels[0], None)
    users, value = len(by_user[0]), levels[1].value - levels[0].value
    low, high = -1.0, 1.0
    if users > 1:
        enough = int(np.clip(RESAMPLED_USERS // users, 200, resamples))
        draws = np.abs(resampled_means(np.concatenate(by_user, axis=1), enough, rng).reshape(-1, 2, ECE_BINS)).sum(axis=2)
        low, high = (float(end) for end in basic_interval(np.array(value), draws[:, 1] - draws[:, 0], -1.0))
    return Paired(levels[0], levels[1], replace(levels[1], value=value, low=low, high=min(high, 1.0), metric="change of calibration error"))


# --- sentences ---


def _levelling(groups: Sequence[GroupCost]) -> tuple[float, str]:
    """Of the closed gap of accuracies between groups, the share that the most accurate one lost; and the same in words."""
    large = [g for g in groups if g.accuracy.after.n_users >= MIN_USERS]
    known = [(g.group, g.accuracy.before, g.accuracy.after, g.accuracy.change) for g in (large if len(large) > 1 else groups)]
    paired = [(name, b.value, a.value, c) for name, b, a, c in known if b is not None and c is not None]
    if len(paired) < 2:
        return np.nan, "Fewer than two groups were judged under both models, so there is no gap in accuracy to level." if groups else ""
    first, last = np.array([row[1] for row in paired]), np.array([row[2] for row in paired])
    share = levelling_down(first, last)
    best = paired[int(first.argmax())][0]
    worse = [name for name, _, _, c in paired if c.high < 0]
    losers = f"clearly less accurate: {', '.join(worse)}" if worse else "no group is clearly less accurate"
    span = f"from {in_points(float(np.ptp(first)))} to {in_points(float(np.ptp(last)))} points"
    if np.isnan(share):
        return share, f"The gap in accuracy between groups did not close ({span}); {losers}."
    part = f"{100 * share:.0f} %" if best in worse or share == 0 else "no clear part"
    leads = paired[int(last.argmax())][0]
    turned = "" if leads == best else f" and turned round, {leads} leading now"
    return (
        share,
        f"The gap in accuracy between groups closed {span}{turned}; {part} of it came from lowering the best-served, {best}; {losers}.",
    )


def _training(fitted: FittedConstraints | None) -> str:
    if fitted is None:
        return ""
    epochs, at = max(len(fitted.train_violation), len(fitted.valid_violation)), fitted.best_epoch - 1
    allowed = in_points(fitted.gamma)
    if not 0 <= at < epochs:
        return f"Training kept none of its {epochs} epochs, so nothing is known of the violation of the model it kept; {allowed} points were allowed."
    by_pairs = (("training", fitted.train_violation), ("validation", fitted.valid_violation))
    known = [f"{in_points(v[at])} points on {name} pairs" for name, v in by_pairs if at < len(v) and np.isfinite(v[at])]
    kept = f"{fitted.best_epoch} of {epochs}, has a violation of {' and '.join(known) or 'unknown size'}"
    if fitted.feasible:
        return f"Training ended within {allowed} points on training pairs, which decide: the epoch kept, {kept}."
    return (
        f"Training was infeasible: no epoch came within {allowed} points on training pairs; the one kept, {kept}."
        " Where multipliers were still rising, a larger step or bound may get there."
    )


def _sentence(name: str, violations: Sequence[ViolationFinding], gamma: float, verdict: Verdict) -> str:
    parts = []
    for v in violations:
        before, after = v.size.before, v.size.after
        if np.isnan(after.value):
            parts.append(f"{v.decision} decisions: fewer than two events with users")
            continue
        step = f"{in_points(before.value)} → {in_points(after.value)}" if before is not None else in_points(after.value)
        parts.append(f"{v.decision} decisions {step} points (simultaneous 95 % interval {in_points(after.low)} to {in_points(after.high)})")
    return f"Violation of {name}: {', '.join(parts)}; at most {in_points(gamma)} allowed: {verdict}."

"""Violations of a constraint with bounds: event rates, their differences, and the largest of these.

Rates are those of `rates`. D is a maximum that the data pick, so its bounds come from intervals of all compared differences that hold at
once (max-t: Hothorn, Bretz & Westfall 2008): D is at least the largest lower bound of |difference| and at most the largest upper one. A
user with pairs of several events counts in all of them. With n_e users of event e and x_ue the mean of user u in it,

    psi_ue = (x_ue - q_e) / n_e      Cov = Psi' Psi · n / (n - 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.bootstrap import RESAMPLED_USERS, holding, resampled_sums
from evenhand.audits.examine import MIN_USERS
from evenhand.audits.findings import EventRate, Paired, ViolationFinding
from evenhand.audits.intervals import Contrast, contrast, estimate, range_bounds, simultaneous_alpha
from evenhand.audits.joint import root
from evenhand.audits.rates import Rates
from evenhand.audits.requirements import Expression
from evenhand.audits.sample import Means
from evenhand.audits.shortfall import Parts, Question, needed
from evenhand.audits.verdicts import Bounded, decide
from evenhand.core import Estimate

NOISE_DRAWS = 4000


def clustered(columns: Sequence[Rates]) -> Means:
    """Rates of C models or decisions over the same users and E events, with the covariance of their errors clustered by user.

    Entry c · E + e is event e under column c; all cells are events, none is "all users".
    """
    x = np.concatenate([r.by_user for r in columns], axis=1)
    users = columns[0].users
    n = np.tile(np.maximum(users, 1), len(columns))
    value = np.concatenate([r.value for r in columns])
    psi = np.nan_to_num((x - value) / n) * np.sqrt(n / np.maximum(n - 1, 1))
    return Means(value.reshape(len(columns), -1), psi.T @ psi, None, users, columns[0].pairs, np.zeros(len(users), np.int64))


def rate_contrast(joint: Means, rates: Rates, rows: np.ndarray) -> Contrast:
    """Linear combinations rows [m, C · E] of rates. Events that share users have fewer degrees of freedom than Welch-Satterthwaite says:
    at most (distinct users - 1). users: distinct ones.
    """
    c = contrast(joint, rows)
    seen = ~np.isnan(rates.by_user)
    touched = (rows != 0).reshape(len(rows), -1, len(rates.events)).any(axis=1)
    people = np.array([seen[:, t].any(axis=1).sum() for t in touched])
    return replace(c, df=np.minimum(c.df, np.maximum(people - 1, 1)), users=people)


def compared_rows(rates: Rates, column: int, columns: int) -> np.ndarray:
    """Coefficients [m, columns · E] of the differences that D is the largest of, under one column; CF's one gap itself. Comparisons with
    an event that nobody has are left out.
    """
    size = len(rates.events)
    kept = [(a, b) for a, b in rates.compared if rates.users[a] and rates.users[b]]
    if not rates.compared:
        return np.eye(columns * size)[[column * size]]
    rows = np.zeros((len(kept), columns * size))
    for i, (a, b) in enumerate(kept):
        rows[i, column * size + a], rows[i, column * size + b] = 1.0, -1.0
    return rows


def expected_by_noise(c: Contrast | None, seed: int) -> float:
    """Mean of the largest |difference| if all true differences were 0: normal errors with the contrast's own covariance."""
    known = np.flatnonzero(np.isfinite(c.se)) if c is not None else np.zeros(0, np.int64)
    if c is None or not len(known):
        return float("nan")
    rng = np.random.default_rng([seed, 80310])
    covariance = c.correlation[np.ix_(known, known)] * np.outer(c.se[known], c.se[known])
    draws = rng.standard_normal((NOISE_DRAWS, len(covariance))) @ root(covariance)
    return float(np.minimum(np.abs(draws).max(axis=1), 1.0).mean())


def violations(
    by_decision: dict[str, list[Rates]], gamma: float, seed: int, resamples: int, rng: np.random.Generator
) -> tuple[ViolationFinding, ...]:
    """One finding a kind of decision. by_decision: kind → rates of the model before, if there is one, and of the model after.

    The bounds of one model hold at once over both decisions. In columns: soft before, soft after, hard before, hard after.
    """
    flat = [r for models in by_decision.values() for r in models]
    first, models = flat[0], len(flat) // len(by_decision)
    joint = clustered(flat)
    drawn = _resampled_violations(flat, resamples, rng) if models > 1 else None
    rows = [compared_rows(first, c, len(flat)) for c in range(len(flat))]
    contrasts = [rate_contrast(joint, first, r) if len(r) else None for r in rows]
    alphas = [1.0] * models
    if len(rows[0]):
        both = [rate_contrast(joint, first, np.concatenate(rows[m::models])) for m in range(models)]
        alphas = [simultaneous_alpha(c.correlation, seed) for c in both]
    out = []
    for d, decision in enumerate(by_decision):
        columns = range(d * models, (d + 1) * models)
        sizes = [_size(contrasts[c], alpha, first, decision) for c, alpha in zip(columns, alphas, strict=True)]
        noise = [expected_by_noise(contrasts[c], seed) if first.compared else float("nan") for c in columns]
        size = Paired(None, sizes[0], None)
        if drawn is not None:
            size = Paired(sizes[0], sizes[1], _change(sizes[0], sizes[1], drawn[:, columns[1]] - drawn[:, columns[0]], decision))
        more = _needed(contrasts[columns[-1]], alphas[-1], gamma, sizes[-1])
        verdict, reason = decide(Expression("gap", (), "<=", gamma), Bounded(sizes[-1], 0.0, _thin(first), more))
        events = tuple(_rate(joint, first, e, columns, decision) for e in range(len(first.events)))
        expected_before = noise[0] if models > 1 else float("nan")
        out.append(ViolationFinding(decision, size, expected_before, noise[-1], events, verdict, reason))
    return tuple(out)


def _needed(c: Contrast | None, alpha: float, gamma: float, size: Estimate) -> str:
    """How many more users would decide. Rates are clustered by user alone, so users are what is short."""
    if c is None:
        return ""
    furthest = int((np.abs(c.value) if size.value > gamma else np.abs(c.value) + stdtrit(c.df, 1 - alpha / 2) * c.se).argmax())
    parts = Parts(float(c.se[furthest] ** 2), 0.0)
    return needed(Question(size.value, gamma, parts, alpha, float(c.df[furthest]), two_sided=True), size.n_users, 0, "prompt")


def _thin(rates: Rates) -> str:
    few = [f"{name}: {users} users, {MIN_USERS} needed" for name, users in zip(rates.events, rates.users, strict=True) if users < MIN_USERS]
    return "; ".join(few)


def _change(before: Estimate, after: Estimate, draws: np.ndarray, decision: str) -> Estimate:
    """D after minus D before, with the percentile interval of the bootstrap by user, which pairs the two models."""
    value = after.value - before.value
    low, high = holding(value, draws) if len(draws) and not np.isnan(value) else (np.nan, np.nan)
    return replace(after, value=value, low=low, high=high, metric=f"change of the {decision} violation", group="")


def _size(c: Contrast | None, alpha: float, rates: Rates, decision: str) -> Estimate:
    """D with bounds that hold although the data picked the two events; its group names them."""
    users, pairs = len(rates.user), int(rates.pairs.sum())
    metric = f"{decision} violation"
    if c is None:
        return Estimate(np.nan, np.nan, np.nan, users, pairs, metric)
    value, low, high = range_bounds(c, alpha)
    furthest = int(np.abs(c.value).argmax())
    kept = [(a, b) for a, b in rates.compared if rates.users[a] and rates.users[b]]
    names = " against ".join(rates.events[e] for e in kept[furthest]) if kept else rates.events[0]
    return Estimate(value, low, high, users, pairs, metric, names)


def _rate(joint: Means, rates: Rates, event: int, columns: Sequence[int], decision: str) -> EventRate:
    name, size = rates.events[event], len(rates.events)
    if not rates.users[event]:
        nothing = Estimate(np.nan, np.nan, np.nan, 0, 0, f"{decision} rate", name)
        return EventRate(name, Paired(nothing if len(columns) > 1 else None, nothing, nothing if len(columns) > 1 else None))
    rows = np.zeros((3, joint.value.size))
    first, last = columns[0] * size + event, columns[-1] * size + event
    rows[0, first], rows[1, last], rows[2, first], rows[2, last] = 1.0, 1.0, -1.0, 1.0
    c = rate_contrast(joint, rates, rows[:2] if len(columns) == 1 else rows)
    after = estimate(c, 1, f"{decision} rate", name, 0.0, 1.0)
    if len(columns) == 1:
        return EventRate(name, Paired(None, after, None))
    change = estimate(c, 2, f"change of the {decision} rate", name, -1.0, 1.0)
    return EventRate(name, Paired(estimate(c, 0, f"{decision} rate", name, 0.0, 1.0), after, change))


def _resampled_violations(flat: list[Rates], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """D under each column in each bootstrap resample of users, float64[resamples, C]; an event that a resample lost is not compared."""
    size, first = len(flat[0].events), flat[0]
    seen = ~np.isnan(first.by_user)
    values = np.concatenate([np.nan_to_num(r.by_user) for r in flat] + [seen.astype(np.float64)], axis=1)
    enough = int(np.clip(RESAMPLED_USERS // max(len(values), 1), 200, max(resamples, 200)))
    sums = resampled_sums(values, enough, rng)[:, :-1].reshape(enough, len(flat) + 1, size)
    count = sums[:, -1:]  # weights are whole numbers, but sums of float32 deviations are not quite
    mean = np.divide(sums[:, :-1], count, out=np.full((enough, len(flat), size), np.nan), where=count > 0.5)
    gaps = np.abs(mean[:, :, [a for a, _ in first.compared]] - mean[:, :, [b for _, b in first.compared]]) if first.compared else mean
    largest = np.where(np.isnan(gaps), -1.0, gaps).max(axis=2)
    return largest[(largest >= 0).all(axis=1)]

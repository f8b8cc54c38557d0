"""Panel 1: accuracy of single users against the support of their preferences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, stdtrit

from evenhand.audits.bootstrap import CHUNK, RESAMPLED_USERS, holding, user_weights
from evenhand.audits.findings import SupportBin, SupportCurve
from evenhand.audits.intervals import contrast, estimate
from evenhand.audits.sample import Sample, means
from evenhand.audits.twoway import covariance
from evenhand.core import Estimate

BINS = 10
USERS_PER_BIN = 10  # fewer bins rather than smaller ones
POINTS = 2000
MANY = 50_000  # users; above, the bootstrap of ranks brings nothing over its normal limit


def support_curve(
    support: np.ndarray,
    accuracy: np.ndarray,
    shrunken: np.ndarray,
    pairs: np.ndarray,
    rule: str,
    *,
    sample: Sample | None = None,
    right: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> SupportCurve | None:
    """support, accuracy, shrunken float64[users] in [0, 1], pairs int[users]. Users without a support (nan) are left out; None under 3
    users.

    sample: the pairs behind the accuracies, and right float64[n] of each; prompts or responses that users share then widen every
    interval. None: users share nothing.
    """
    known = np.isfinite(support)
    if known.sum() < 3:
        return None
    x, y, z, n = support[known], accuracy[known], shrunken[known], pairs[known]
    if sample is None or right is None:
        sample, right = of_means(y, n), y
    else:
        sample, right = sample.of_users(known, right)
    rng = np.random.default_rng([seed, 50410])
    chosen = rng.permutation(len(x))[:POINTS]
    points = tuple(sorted(zip(x[chosen].tolist(), z[chosen].tolist(), strict=True)))
    return SupportCurve(
        rule,
        _bins(x, sample, right),
        _isotonic(x, y, n),
        slope(x, y, n, sample, right),
        correlation(x, y, n, resamples, rng, sample, right),
        points,
    )


def of_means(accuracy: np.ndarray, pairs: np.ndarray) -> Sample:
    """Users of whom nothing but their accuracy is known."""
    users = len(accuracy)
    return Sample(np.arange(users), np.full(users, -1), 0, pairs, np.arange(users), np.ones(users), None)


def _bins(x: np.ndarray, sample: Sample, right: np.ndarray) -> tuple[SupportBin, ...]:
    """Bins of equally many users, each with its t interval."""
    count = int(np.clip(len(x) // USERS_PER_BIN, 1, BINS))
    edges = np.unique(np.quantile(x, np.linspace(0, 1, count + 1)))
    of = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(len(edges) - 2, 0))
    size = int(of.max()) + 1
    levels = contrast(means(replace(sample, cell=of, cells=size), [right]), np.eye(size + 1)[np.unique(of)])
    bins = []
    for row, b in enumerate(np.unique(of)):
        accuracy = estimate(levels, row, "accuracy", f"support bin {b + 1}", 0.0, 1.0)
        bins.append(SupportBin(float(edges[b]), float(edges[min(b + 1, len(edges) - 1)]), float(x[of == b].mean()), accuracy))
    return tuple(bins)


def _shared_part(sample: Sample, influence: np.ndarray) -> tuple[float, float]:
    """Variance of a statistic clustered by user, and what shared units add to it (0 if nothing). influence float64[n], its sum the error."""
    by_user, both = covariance(influence[:, None], sample.user, sample.shared)
    return float(by_user[0, 0]), max(0.0, float(both[0, 0] - by_user[0, 0]))


def _isotonic(x: np.ndarray, y: np.ndarray, pairs: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Monotone least-squares steps (rising or falling, whichever fits better), each user weighing as many pairs as he or she has.

    At no more than 200 supports, ends of flat pieces only. The users of the lowest and of the highest bin are one support each: an
    isotonic fit is free to run after the last few users at its ends.
    """
    from scipy.optimize import isotonic_regression

    tail = 1 / np.clip(len(x) // USERS_PER_BIN, 1, BINS)
    lower, upper = np.quantile(x, [tail, 1 - tail])
    inner = np.unique(x[(x >= lower) & (x < upper)])
    if len(inner) > 200:
        inner = np.unique(np.quantile(inner, np.linspace(0, 1, 199), method="lower"))
    levels = np.unique([x.min(), *inner, upper])
    of = np.searchsorted(levels, x, side="right") - 1
    weight, sum_x, sum_y = (np.bincount(of, pairs * v, minlength=len(levels)) for v in (np.ones(len(x)), x, y))
    there = weight > 0
    weight, at, mean = weight[there], sum_x[there] / weight[there], sum_y[there] / weight[there]
    fits = [isotonic_regression(mean, weights=weight, increasing=up).x for up in (True, False)]
    line = min(fits, key=lambda f: float(weight @ (f - mean) ** 2))
    turns = np.ones(len(line), bool)
    turns[1:-1] = (line[1:-1] != line[:-2]) | (line[1:-1] != line[2:])
    return tuple(zip(at[turns].tolist(), line[turns].tolist(), strict=True))


def slope(x: np.ndarray, y: np.ndarray, pairs: np.ndarray, sample: Sample | None = None, right: np.ndarray | None = None) -> Estimate:
    """Change of logit accuracy per 0.1 of support, every user counting once.

    Fractional logit of per-user accuracy on support (Papke & Wooldridge 1996); sandwich standard error over users with each residual
    divided by 1 - leverage (HC3: Long & Ervin 2000); t with users - 2 degrees. What users share adds its two-way part (at most units - 1
    degrees). nan with an open interval where it cannot be told (support constant, accuracy 0 or 1 throughout).
    """
    nothing = Estimate(np.nan, -np.inf, np.inf, len(x), int(pairs.sum()), metric="slope of logit accuracy per 0.1 of support")
    if np.ptp(x) == 0 or not 0 < y.mean() < 1:
        return nothing
    centre = x.mean()
    design = np.stack([np.ones(len(x)), (x - centre) * 10], axis=1)
    beta = np.array([np.log(y.mean() / (1 - y.mean())), 0.0])
    for _ in range(50):
        p = expit(design @ beta)
        information = (design * (p * (1 - p))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            return nothing
        step = np.linalg.solve(information, design.T @ (y - p))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        return nothing
    bread = np.linalg.inv(information)
    leverage = np.einsum("ni,ij,nj->n", design, bread, design, optimize=True) * p * (1 - p)
    weight = (design @ bread)[:, 1] / np.maximum(1 - leverage, 1e-6)  # what a user's residual adds to the slope
    variance, degrees = float(weight**2 @ (y - p) ** 2), len(x) - 2
    if sample is not None and right is not None and sample.shared is not None:
        added = _shared_part(sample, sample.share * (right - p[sample.user]) * weight[sample.user])[1]
        variance, degrees = variance + added, min(degrees, max(sample.shared.units - 1, 1)) if added else degrees
    half = stdtrit(degrees, 0.975) * np.sqrt(variance)
    return Estimate(float(beta[1]), float(beta[1] - half), float(beta[1] + half), len(x), int(pairs.sum()), metric=nothing.metric)


def correlation(
    x: np.ndarray,
    y: np.ndarray,
    pairs: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
    sample: Sample | None = None,
    right: np.ndarray | None = None,
) -> Estimate:
    """Spearman's rank correlation of support and accuracy over users; percentile interval from the bootstrap by user, ranks taken anew
    in each resample.

    What users share widens it on both sides by the same factor as the interval of its linear part, the regression of accuracy on the
    rank of support.
    """
    metric = "Spearman correlation of accuracy and support"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(np.nan, -1.0, 1.0, len(x), int(pairs.sum()), metric=metric)
    enough = max(min(resamples, 100), min(resamples, RESAMPLED_USERS // len(x)))
    step = max(1, CHUNK // len(x))
    sort_x, sort_y = _Ranks(x), _Ranks(y)
    once = np.ones((1, len(x)))
    rank = sort_x.of(once)
    value = float(_weighted_correlation(once, rank, sort_y.of(once))[0])
    wider = 1.0 if sample is None or right is None else _widening(rank[0], y, sample, right)

    def found(low: float, high: float) -> Estimate:
        ends = max(-1.0, value - wider * (value - low)), min(1.0, value + wider * (high - value))
        return Estimate(value, ends[0], ends[1], len(x), int(pairs.sum()), metric=metric)

    if len(x) > MANY:  # Fisher's z, variance (1 + rho²/2) / (n - 3): Bonett & Wright 2000
        half = 1.96 * np.sqrt((1 + value**2 / 2) / (len(x) - 3))
        ends = np.tanh(np.arctanh(value) + np.array([-half, half]))
        return found(float(ends[0]), float(ends[1]))
    draws = []
    for at in range(0, enough, step):
        w = user_weights(min(step, enough - at), len(x), rng).astype(np.float64)
        draws.append(_weighted_correlation(w, sort_x.of(w), sort_y.of(w)))
    kept = np.concatenate(draws)
    kept = kept[np.isfinite(kept)]
    return found(*(holding(value, kept) if len(kept) else (-1.0, 1.0)))


def _widening(rank: np.ndarray, y: np.ndarray, sample: Sample, right: np.ndarray) -> float:
    """Two-way over user-clustered half width of the slope of accuracy y on rank [users]; 1 where shared units add nothing."""
    if sample.shared is None:
        return 1.0
    centred = rank - rank.mean()
    line = y.mean() + centred * (centred @ y) / (centred @ centred)
    alone, added = _shared_part(sample, sample.share * (right - line[sample.user]) * centred[sample.user])
    if not added:
        return 1.0
    degrees = max(min(len(y), sample.shared.units) - 1, 1)
    return float(np.sqrt((alone + added) / alone) * stdtrit(degrees, 0.975) / 1.96) if alone > 1e-24 else np.inf


class _Ranks:
    """Mid-ranks of fixed values under changing whole-number weights: ties share a rank, found once."""

    def __init__(self, values: np.ndarray):
        self.order = np.argsort(values, kind="stable")
        levels, self.starts = np.unique(values[self.order], return_index=True)
        self.level = np.searchsorted(levels, values)

    def of(self, weights: np.ndarray) -> np.ndarray:
        """weights [b, n] → mid-ranks [b, n]."""
        per_level = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        middle = np.cumsum(per_level, axis=1) - per_level / 2
        return middle[:, self.level]


def _weighted_correlation(w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample of no user, or of equal ones, gives nan
        total = w.sum(axis=1, keepdims=True)
        a = a - (w * a).sum(axis=1, keepdims=True) / total
        b = b - (w * b).sum(axis=1, keepdims=True) / total
        return (w * a * b).sum(axis=1) / np.sqrt((w * a * a).sum(axis=1) * (w * b * b).sum(axis=1))

"""Panel 1: accuracy of single users against the support of their preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, stdtrit

from evenhand.audits.batch import Batch, Columns
from evenhand.audits.bootstrap import CHUNK, RESAMPLED_USERS, holding, user_weights
from evenhand.audits.findings import SupportBin, SupportCurve
from evenhand.audits.intervals import contrast, estimate
from evenhand.audits.passes import Study, side_by_side
from evenhand.audits.sample import Means, Sample, means_of
from evenhand.audits.spread import Spread, spread
from evenhand.core import Estimate

BINS = 10
USERS_PER_BIN = 10  # fewer bins rather than smaller ones
POINTS = 2000
MANY = 50_000  # users; above, the bootstrap of ranks brings nothing over its normal limit


def curve_of(
    sample: Sample,
    right: Columns,
    support: np.ndarray,
    accuracy: np.ndarray,
    shrunken: np.ndarray,
    rule: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Study[SupportCurve | None]:
    """support, accuracy, shrunken float64[U] in [0, 1] of the sample's users; right: the one column of a batch, of each pair. Users without a
    support (nan) are left out; None under 3 users. Prompts or responses that users share widen every interval.
    """
    known = np.isfinite(support)
    if known.sum() < 3:
        return None
    x, y, z, n = support[known], accuracy[known], shrunken[known], sample.pairs[known]
    rng = np.random.default_rng([seed, 50410])
    chosen = rng.permutation(len(x))[:POINTS]
    points = tuple(sorted(zip(x[chosen].tolist(), z[chosen].tolist(), strict=True)))
    edges, of = _edges(x)
    kept = sample.of_users(known, of, int(of.max()) + 1)
    fit, rank = fit_logit(x, y), fit_rank(x, y)
    split = None if known.all() else lambda batch: 2 * [kept.only(batch)]
    levels, (by_slope, by_rank) = yield from side_by_side(
        means_of(kept, right, y[None]), _shared_parts(kept, right, (fit, rank)), split=split
    )
    return SupportCurve(
        rule,
        _bins(x, edges, of, levels),
        _isotonic(x, y, n),
        slope(x, y, n, fit, by_slope),
        correlation(x, y, n, resamples, rng, by_rank),
        points,
    )


@dataclass(frozen=True)
class Line:
    """A fit of accuracy on support. fitted float64[users]; weight float64[users]: what a user's residual adds to the slope."""

    slope: float
    fitted: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class SharedPart:
    """Of a slope's variance the part clustered by user, and what units that users share add to it."""

    by_user: float = 0.0
    added: float = 0.0
    units: int = 0


def _shared_parts(sample: Sample, right: Columns, fits: Sequence[Line | None]) -> Study[list[SharedPart]]:
    shared = sample.shared
    if shared is None:
        return [SharedPart() for _ in fits]

    def ask(batch: Batch) -> Spread:
        users, (y,) = sample.at(batch), right(batch)
        off = [
            np.zeros(len(y)) if f is None else batch.share * (y - f.fitted[users][batch.user]) * f.weight[users][batch.user] for f in fits
        ]
        return spread(shared.clusters(batch.judged), batch.user, np.full(len(batch.number), -1), 0, [*off, batch.share])

    found: Spread = yield ask
    by_user, both = (np.diag(v) for v in found.covariance())
    units = int(found.across[0].of_cell(-1).many)
    return [SharedPart(float(alone), max(0.0, float(v - alone)), units) for alone, v in zip(by_user[:-1], both[:-1], strict=True)]


def _edges(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of bins of equally many users, and each user's bin."""
    count = int(np.clip(len(x) // USERS_PER_BIN, 1, BINS))
    edges = np.unique(np.quantile(x, np.linspace(0, 1, count + 1)))
    return edges, np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(len(edges) - 2, 0))


def _bins(x: np.ndarray, edges: np.ndarray, of: np.ndarray, levels: Means) -> tuple[SupportBin, ...]:
    """Each bin that holds users with its t interval."""
    found = contrast(levels, np.eye(len(levels.users))[np.unique(of)])
    bins = []
    for row, b in enumerate(np.unique(of)):
        accuracy = estimate(found, row, "accuracy", f"support bin {b + 1}", 0.0, 1.0)
        bins.append(SupportBin(float(edges[b]), float(edges[min(b + 1, len(edges) - 1)]), float(x[of == b].mean()), accuracy))
    return tuple(bins)


def _isotonic(x: np.ndarray, y: np.ndarray, pairs: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Monotone least-squares steps (rising or falling, whichever fits better), each user weighing as many pairs as he or she has.

    At no more than 200 supports, ends of flat pieces only. The users of the lowest and of the highest bin are one support each: an
    isotonic fit is free to run after the last few users at its ends.
    """
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
    fits = [monotone(mean, weight, rising) for rising in (True, False)]
    line = min(fits, key=lambda f: float(weight @ (f - mean) ** 2))
    turns = np.ones(len(line), bool)
    turns[1:-1] = (line[1:-1] != line[:-2]) | (line[1:-1] != line[2:])
    return tuple(zip(at[turns].tolist(), line[turns].tolist(), strict=True))


def monotone(y: np.ndarray, weight: np.ndarray, rising: bool) -> np.ndarray:
    """The nearest monotone values float64[n] by weighted squares: neighbours in the wrong order are pooled (Barlow et al. 1972)."""
    sign = 1.0 if rising else -1.0
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, heavy in zip((sign * y).tolist(), weight.tolist(), strict=True):
        pool = (value, heavy, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, mass, size = pools.pop()
            pool = ((mean * mass + pool[0] * pool[1]) / (mass + pool[1]), mass + pool[1], size + pool[2])
        pools.append(pool)
    return sign * np.repeat([mean for mean, _, _ in pools], [size for _, _, size in pools])


def fit_logit(x: np.ndarray, y: np.ndarray) -> Line | None:
    """Fractional logit of per-user accuracy on support per 0.1 (Papke & Wooldridge 1996), weights with each residual divided by
    1 - leverage (HC3: Long & Ervin 2000). None where it cannot be told (support constant, accuracy 0 or 1 throughout).
    """
    if np.ptp(x) == 0 or not 0 < y.mean() < 1:
        return None
    design = np.stack([np.ones(len(x)), (x - x.mean()) * 10], axis=1)
    beta = np.array([np.log(y.mean() / (1 - y.mean())), 0.0])
    for _ in range(50):
        p = expit(design @ beta)
        information = (design * (p * (1 - p))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (y - p))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    bread = np.linalg.inv(information)
    leverage = np.einsum("ni,ij,nj->n", design, bread, design, optimize=True) * p * (1 - p)
    return Line(float(beta[1]), p, (design @ bread)[:, 1] / np.maximum(1 - leverage, 1e-6))


def fit_rank(x: np.ndarray, y: np.ndarray) -> Line | None:
    """Regression of accuracy on the rank of support, the linear part of a rank correlation. None where either is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    centred = _Ranks(x).of(np.ones((1, len(x))))[0]
    centred -= centred.mean()
    rise = float(centred @ y / (centred @ centred))
    return Line(rise, y.mean() + centred * rise, centred)


def slope(x: np.ndarray, y: np.ndarray, pairs: np.ndarray, fit: Line | None = None, shared: SharedPart | None = None) -> Estimate:
    """Change of logit accuracy per 0.1 of support, every user counting once; see `fit_logit`.

    Sandwich standard error over users; t with users - 2 degrees. What users share adds its two-way part (at most units - 1 degrees). nan with an
    open interval where it cannot be told.
    """
    fit, shared = fit or fit_logit(x, y), shared or SharedPart()
    metric = "slope of logit accuracy per 0.1 of support"
    if fit is None:
        return Estimate(np.nan, -np.inf, np.inf, len(x), int(pairs.sum()), metric=metric)
    variance, degrees = float(fit.weight**2 @ (y - fit.fitted) ** 2) + shared.added, len(x) - 2
    if shared.added:
        degrees = min(degrees, max(shared.units - 1, 1))
    half = stdtrit(degrees, 0.975) * np.sqrt(variance)
    return Estimate(fit.slope, float(fit.slope - half), float(fit.slope + half), len(x), int(pairs.sum()), metric=metric)


def correlation(
    x: np.ndarray, y: np.ndarray, pairs: np.ndarray, resamples: int, rng: np.random.Generator, shared: SharedPart | None = None
) -> Estimate:
    """Spearman's rank correlation of support and accuracy over users; percentile interval from the bootstrap by user, ranks taken anew
    in each resample.

    What users share widens it on both sides by the same factor as the interval of its linear part, see `fit_rank`.
    """
    metric = "Spearman correlation of accuracy and support"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(np.nan, -1.0, 1.0, len(x), int(pairs.sum()), metric=metric)
    enough = max(min(resamples, 100), min(resamples, RESAMPLED_USERS // len(x)))
    step = max(1, CHUNK // len(x))
    sort_x, sort_y = _Ranks(x), _Ranks(y)
    once = np.ones((1, len(x)))
    value = float(_weighted_correlation(once, sort_x.of(once), sort_y.of(once))[0])
    wider = _widening(shared or SharedPart(), len(x))

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


def _widening(shared: SharedPart, users: int) -> float:
    """Two-way over user-clustered half width; 1 where shared units add nothing."""
    if not shared.added:
        return 1.0
    degrees = max(min(users, shared.units) - 1, 1)
    alone = shared.by_user
    return float(np.sqrt((alone + shared.added) / alone) * stdtrit(degrees, 0.975) / 1.96) if alone > 1e-24 else np.inf


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

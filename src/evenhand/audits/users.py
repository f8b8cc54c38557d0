"""Panel 5: accuracies of single users by beta-binomial empirical Bayes.

With few pairs a user, raw accuracies spread by chance alone. Model: k_u right of n_u pairs, k_u ~ Binomial(n_u, p_u), p_u ~ Beta with
mean mu and standard deviation tau, the true spread; shrunken accuracy = posterior mean (k_u + mu M) / (n_u + M), M = mu (1 - mu) / tau²
- 1. Fitted by maximum likelihood from a method-of-moments start (Casella 1985; Kleinman 1973).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc, chdtri, gammaln, xlog1py, xlogy

from evenhand.audits.batch import Batch
from evenhand.audits.findings import UserMetric, UserSpread
from evenhand.audits.metrics import USER_METRICS
from evenhand.audits.optimum import minimum, root
from evenhand.audits.passes import Study, per_user
from evenhand.audits.sample import Sample
from evenhand.core import Estimate

GRID = np.linspace(0.0, 1.0, 101)
SMALLEST = 1e-4  # tau at or below this is 0: one hundredth of a point


@dataclass(frozen=True)
class BetaBinomial:
    """A fit: mu in [0, 1], tau >= 0 with its 95 % profile-likelihood interval, p-value of tau = 0."""

    mu: float
    tau: float
    low: float
    high: float
    p_value: float

    def shrunken(self, right: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Posterior means float64[users]; all equal to mu where tau = 0."""
        if self.tau <= SMALLEST:
            return np.full(len(pairs), self.mu)
        weight = self.mu * (1 - self.mu) / self.tau**2 - 1
        return (right + self.mu * weight) / (pairs + weight)


@dataclass(frozen=True)
class _Counts:
    """Distinct (right, pairs) with how many users have them: the likelihood costs the same for a thousand users and a million."""

    right: np.ndarray
    pairs: np.ndarray
    users: np.ndarray

    def loglik(self, mu: float, tau: float) -> float:
        """Beta-binomial log-likelihood without the binomial coefficients, which hold no parameter."""
        wrong = self.pairs - self.right
        if tau <= SMALLEST:
            return float(self.users @ (xlogy(self.right, mu) + xlog1py(wrong, -mu)))
        weight = mu * (1 - mu) / tau**2 - 1
        a, b = mu * weight, (1 - mu) * weight
        ratio = gammaln(self.right + a) - gammaln(a) + gammaln(wrong + b) - gammaln(b) - gammaln(self.pairs + weight) + gammaln(weight)
        return float(self.users @ ratio)

    def best_mu(self, tau: float) -> tuple[float, float]:
        """Profile: the mu that fits best under tau, and its log-likelihood. A Beta with this tau needs mu (1 - mu) > tau²."""
        edge = 0.5 - np.sqrt(max(0.25 - tau**2, 0.0)) + 1e-7
        if tau <= SMALLEST:
            mu = float(self.users @ self.right / (self.users @ self.pairs))
            return mu, self.loglik(mu, 0.0)
        mu, least = minimum(lambda mu: -self.loglik(mu, tau), float(edge), float(1 - edge), 1e-6)
        return mu, -least


def fit_beta_binomial(right: np.ndarray, pairs: np.ndarray) -> BetaBinomial:
    """right float64[users] (ties count half), pairs int[users] >= 1.

    Interval: all tau whose profile log-likelihood lies within chi²_1(.95)/2 of the best. Test of tau = 0: twice the log-likelihood ratio
    against the mixture ½ chi²_0 + ½ chi²_1, since 0 is at the edge (Self & Liang 1987).
    """
    key = np.round(right * 2).astype(np.int64) * (int(pairs.max()) + 1) + pairs
    _, first, users = np.unique(key, return_index=True, return_counts=True)
    counts = _Counts(right[first].astype(np.float64), pairs[first].astype(np.float64), users.astype(np.float64))
    largest = 0.499
    tau, least = minimum(lambda tau: -counts.best_mu(tau)[1], SMALLEST, largest, 1e-5)
    top = -least
    flat = counts.best_mu(0.0)[1]
    if top <= flat + 1e-9:
        tau, top = 0.0, flat
    cut = top - chdtri(1, 0.05) / 2

    def above(x: float) -> float:
        return counts.best_mu(x)[1] - cut

    low = 0.0 if flat >= cut else root(above, SMALLEST, tau, 1e-5)
    high = largest if above(largest) >= 0 else root(above, max(tau, SMALLEST), largest, 1e-5)
    ratio = 2 * (top - flat)
    p_value = 1.0 if ratio <= 0 else 0.5 * float(chdtrc(1, ratio))
    return BetaBinomial(counts.best_mu(tau)[0], tau, float(low), float(high), p_value)


def independent_of(sample: Sample, right: Callable[[Batch], np.ndarray]) -> Study[np.ndarray]:
    """As how many independent pairs those of each user count, int[U], 1 to their number. right: float64[n], of each pair of a batch.

    Pairs of one user on one prompt or with a response in common - one vote is in many pairs - go right or wrong together. With rho how
    much more alike they are than other pairs of the user (difference of mean products of deviations over their variance) and c_u how many
    such partners a pair of u has on average, the variance of u's mean is 1 + rho c_u times that of independent pairs (Kish 1965, design
    effect). Sums of right answers, whole numbers and halves, are exact: deviations from their mean are expanded.
    """
    units = sample.within
    if units is None:
        return sample.pairs

    def ask(batch: Batch) -> tuple[Any, ...]:
        y, ones = right(batch), np.ones(len(batch.user))
        alike, partners = np.zeros(3), np.zeros(len(batch.number))
        for clusters in units.clusters(batch.judged).within:
            answers, counts = clusters.sums(y), clusters.sums(ones)
            alike += clusters.sign * _products(answers, counts)
            partners += clusters.sign * np.bincount(clusters.owners(batch.user), counts**2, minlength=len(partners))
        of_user = np.bincount(batch.user, y, minlength=len(batch.number))
        return _products(y, ones), alike, _products(of_user, batch.pairs.astype(np.float64)), per_user(partners)

    pairs, alike, of_users, partners = yield ask
    n = pairs[2]
    mean = pairs[1] / n
    about = np.array([1.0, -2 * mean, mean**2])  # Σ (y - mean n)² of sums y over n pairs
    squares = float(about @ pairs)
    if squares <= 1e-12 * n:
        return sample.pairs
    together = float(about @ alike) - squares
    partners = partners.all - sample.pairs
    couples = float(partners.sum())
    others = float((sample.pairs.astype(np.float64) ** 2).sum()) - n - couples
    apart = float(about @ of_users) - squares - together
    rho = (together / couples - (apart / others if others > 0 else 0.0)) * n / squares if couples > 0 else 0.0
    effect = 1 + min(max(rho, 0.0), 1.0) * partners / sample.pairs
    return np.maximum(np.floor(sample.pairs / effect), 1).astype(np.int64)


def _products(answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.array([answers @ answers, answers @ counts, counts @ counts])


def as_independent(right: np.ndarray, pairs: np.ndarray, independent: np.ndarray) -> np.ndarray:
    """Right answers float64[users] of so many independent pairs, to the nearest half."""
    return np.where(independent < pairs, np.round(2 * right / pairs * independent) / 2, right)


def spread_of_users(right: np.ndarray, pairs: np.ndarray, seed: int, independent: np.ndarray | None = None) -> UserSpread | None:
    """Panel 5 from each user's right answers float64[users] and pairs int[users]; None for a single user, who has no spread.

    independent: see `independent_of`; by so many pairs are users then told apart, default all.
    """
    if len(pairs) < 2:
        return None
    total, raw = int(pairs.sum()), right / pairs
    if independent is not None:
        right, pairs = as_independent(right, pairs, independent), independent
    fit = fit_beta_binomial(right, pairs)
    shrunken = fit.shrunken(right, pairs)
    rng = np.random.default_rng([seed, 30210])
    pooled = float(right.sum() / pairs.sum())
    draws = int(np.clip(2_000_000 // len(pairs), 20, 200))
    equal = np.array([[f(p) for f in USER_METRICS.values()] for p in (rng.binomial(pairs, pooled) / pairs for _ in range(draws))]).mean(
        axis=0
    )
    metrics = tuple(
        UserMetric(name, value := f(raw), float(expected), value - float(expected), f(shrunken))
        for (name, f), expected in zip(USER_METRICS.items(), equal, strict=True)
    )
    tau = Estimate(fit.tau, fit.low, fit.high, len(pairs), total, metric="tau, between-user standard deviation of accuracy")
    return UserSpread(tuple(GRID.tolist()), density(raw), density(shrunken), tau, fit.p_value, metrics)


def density(p: np.ndarray) -> tuple[float, ...]:
    """Gaussian kernel density of accuracies on GRID, reflected at 0 and 1, integrating to 1; bandwidth by Silverman's rule, at least
    .015.
    """
    width = max(0.9 * float(p.std()) * len(p) ** -0.2, 0.015)
    step = GRID[1] - GRID[0]
    histogram = np.bincount(np.round(p / step).astype(np.int64), minlength=len(GRID)).astype(np.float64)
    distance = GRID[:, None] - GRID[None, :]
    kernel = sum(np.exp(-0.5 * (d / width) ** 2) for d in (distance, GRID[:, None] + GRID[None, :], 2 - GRID[:, None] - GRID[None, :]))
    smooth = kernel @ histogram
    return tuple((smooth / np.trapezoid(smooth, GRID)).tolist())

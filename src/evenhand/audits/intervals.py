"""Intervals of means over users and of their differences; simultaneous over several (max-t); Benjamini-Hochberg for lists to explore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from evenhand.audits.joint import root
from evenhand.audits.sample import Means
from evenhand.core import Estimate

LEVEL = 0.95
BOOTSTRAP_ABOVE, BOOTSTRAP_UP_TO = 50, 20_000  # users of a cell whose interval comes from the bootstrap; outside, from Student's t
MOST_CONTRASTS = 300  # differences of two groups that are bounded one by one (25 groups); joint laws that are simulated
MDE_FACTOR = 2.8  # z(.975) + z(.80): the true difference that a 5 % test finds four times in five, in standard errors


@dataclass(frozen=True)
class Contrast:
    """m linear combinations of Means. value, se, df float64[m]; correlation float64[m, m] of their errors; users, pairs int64[m] behind
    each.

    se is inf where the data say nothing (a single user): the interval is then the whole range.
    """

    value: np.ndarray
    se: np.ndarray
    df: np.ndarray
    correlation: np.ndarray
    users: np.ndarray
    pairs: np.ndarray

    def bounds(self, alpha: float = 1 - LEVEL, low: float = -np.inf, high: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """value ± t(1 - alpha/2, df) · se, cut to [low, high]."""
        half = stdtrit(self.df, 1 - alpha / 2) * self.se
        return np.maximum(low, self.value - half), np.minimum(high, self.value + half)

    def rows(self, part: slice) -> Contrast:
        """Some of the combinations."""
        correlation = self.correlation[part, part]
        return Contrast(self.value[part], self.se[part], self.df[part], correlation, self.users[part], self.pairs[part])

    def p_values(self) -> np.ndarray:
        """Two-sided p of value = 0; 1 where the data say nothing."""
        return 2 * stdtr(self.df, -np.abs(self.value) / self.se)


def contrast(means: Means, coefficients: np.ndarray, bounded: bool = True) -> Contrast:
    """Linear combinations coefficients [m, K] of the means; all cells they touch must hold users.

    Degrees of freedom: Welch-Satterthwaite over cells of (users - 1). With shared prompts or responses the variance is the
    larger of the user-clustered and the two-way one, the latter with at most (units - 1) degrees; the
    correlation is that of the user-clustered errors, which shared units mostly raise: estimated from few units, it made joint bounds too narrow.
    bounded: the values lie in an interval of length 1;
    see `_unseen` for what then stands in for a cell whose users are all equal.
    """
    touched = (coefficients != 0).reshape(len(coefficients), -1, len(means.users)).any(axis=1)  # [m, cells]
    used = np.flatnonzero(coefficients.any(axis=0))  # of hundreds of groups a contrast touches a few
    few = coefficients[:, used]
    covariance = few @ means.by_user[np.ix_(used, used)] @ few.T
    parts = _parts(means, coefficients)
    equal = touched & (parts < 1e-24)
    unseen = np.where(equal, _unseen(means.users, bounded), 0.0) if equal.any() else np.zeros(equal.shape)
    variance = np.maximum(np.diag(covariance), 0.0) + unseen.sum(axis=1)
    df = _satterthwaite(parts + unseen, touched, means.users)
    if means.by_both is not None:
        both = few @ means.by_both[np.ix_(used, used)] @ few.T
        wider = np.diag(both) > variance
        fewest = np.where(touched, means.units, np.iinfo(np.int64).max).min(axis=1) - 1
        df = np.where(wider, np.minimum(df, np.maximum(fewest, 1)), df)
        variance = np.where(wider, np.diag(both), variance)
    value = coefficients @ np.nan_to_num(means.value).ravel()
    return Contrast(value, np.sqrt(variance), df, _correlation(covariance), touched @ means.users, touched @ means.pairs)


def _parts(means: Means, coefficients: np.ndarray) -> np.ndarray:
    """What each cell adds to the user-clustered variance, float64[m, cells]."""
    columns, cells = means.value.shape
    c = coefficients.reshape(len(coefficients), columns, cells)
    own = means.by_user.reshape(columns, cells, columns, cells)
    inside = np.arange(cells)
    return sum((c[:, a] * c[:, b] * own[a, inside, b, inside] for a in range(columns) for b in range(columns)), np.zeros((len(c), cells)))


def _unseen(users: np.ndarray, bounded: bool) -> np.ndarray:
    """Variance [cells] to assume where all n users of a cell agree to the last digit: a sample variance of 0 is no certainty.

    For a value in an interval of length 1 it makes the 95 % half-width the Clopper-Pearson limit for 0 deviating users of n, 1 - .025^(1/n)
    (near the rule of three, 3/n). inf, nothing known, for one user and for unbounded values.
    """
    if not bounded:
        return np.full(len(users), np.inf)
    limit = np.array([nobody_deviates(int(n)) for n in users])
    return np.where(users > 1, (limit / stdtrit(np.maximum(users - 1, 1), 0.975)) ** 2, np.inf)


def nobody_deviates(users: int) -> float:
    """The Clopper-Pearson 95 % limit of a share of which none was found among n."""
    return float(1 - 0.025 ** (1 / max(users, 1)))


def _satterthwaite(parts: np.ndarray, touched: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Degrees of freedom [m] of a sum of independent variances (Satterthwaite 1946); those of the smallest cell where a variance is
    infinite.
    """
    degrees = np.maximum(users - 1, 1)
    finite = np.where(np.isfinite(parts), parts, 0.0)
    lower = (finite**2 / degrees).sum(axis=1)
    smallest = np.where(touched, degrees, np.iinfo(np.int64).max).min(axis=1)
    df = np.divide(finite.sum(axis=1) ** 2, lower, out=smallest.astype(np.float64), where=lower > 0)
    return np.maximum(np.where(np.isfinite(parts).all(axis=1), df, smallest), 1.0)


def _correlation(covariance: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    safe = np.where(sd > 0, sd, 1.0)
    correlation = covariance / np.outer(safe, safe)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)


def simultaneous_alpha(correlation: np.ndarray, seed: int, level: float = LEVEL, draws: int = 20_000) -> float:
    """The alpha each of m intervals must use so that all hold together with probability `level` (single-step max-t: Hothorn, Bretz &
    Westfall 2008).

    The errors' joint law is normal with `correlation` [m, m]; the smallest of the m two-sided p-values falls below the returned alpha in
    1 - level of the draws. Each interval then takes its own t quantile, so few degrees of freedom in one group do not widen the others.
    Never below Bonferroni's (1 - level) / m, never above 1 - level. Above MOST_CONTRASTS Sidak's 1 - level^(1/m), which needs no draws:
    exact where errors are independent, as those of groups of users are, and wide enough under any joint normal law (Sidak 1967).
    """
    m = len(correlation)
    if m <= 1:
        return 1 - level
    if m > MOST_CONTRASTS:
        return 1 - level ** (1 / m)
    joint = root(correlation)
    joint /= np.maximum(np.linalg.norm(joint, axis=1, keepdims=True), 1e-12)
    rng = np.random.default_rng([seed, 20110])
    step = max(1, (1 << 22) // m)
    largest = [np.abs(rng.standard_normal((min(step, draws - at), m)) @ joint.T).max(axis=1) for at in range(0, draws, step)]
    alpha = 2 * float(ndtr(-np.quantile(np.concatenate(largest), level)))
    return float(np.clip(alpha, (1 - level) / m, 1 - level))


def pairwise(cells: Sequence[int], size: int) -> np.ndarray:
    """Coefficients [m, size] of all differences of two cells, first minus second."""
    pairs = [(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :]]
    out = np.zeros((len(pairs), size))
    out[np.arange(len(pairs)), [a for a, _ in pairs]] = 1.0
    out[np.arange(len(pairs)), [b for _, b in pairs]] = -1.0
    return out


def is_pairwise(cells: Sequence[int]) -> bool:
    """Whether the range of these cells is bounded by all their differences; of more cells, by their means: there are far fewer of them."""
    return len(cells) * (len(cells) - 1) // 2 <= MOST_CONTRASTS


def range_rows(cells: Sequence[int], size: int) -> np.ndarray:
    """Coefficients [m, size] whose simultaneous intervals bound best minus worst; m is at most MOST_CONTRASTS or the number of cells."""
    return pairwise(cells, size) if is_pairwise(cells) else np.eye(size)[list(cells)]


def range_bounds(c: Contrast, alpha: float, of_means: bool = False, widest: float = 1.0) -> tuple[float, float, float]:
    """Best minus worst, in [0, widest], with bounds that hold although best and worst were picked by the data.

    c: all differences. With their intervals holding at once, the true range is at least the largest lower bound of |difference| and at
    most the largest upper one. of_means, c: the means themselves. The range is then at least the highest lower bound minus the lowest
    upper one, and at most the highest upper bound minus the lowest lower one: wider, but the cost grows with the groups, not the pairs.
    """
    half = stdtrit(c.df, 1 - alpha / 2) * c.se
    if of_means:
        low, high = c.value - half, c.value + half
        value, least, most = np.ptp(c.value), low.max() - high.min(), high.max() - low.min()
    else:
        size = np.abs(c.value)
        value, least, most = size.max(), (size - half).max(), (size + half).max()
    return float(value), float(np.clip(least, 0.0, widest)), float(np.clip(most, 0.0, widest))


def estimate(c: Contrast, row: int, metric: str, group: str, low: float, high: float) -> Estimate:
    """Row `row` of a contrast as it leaves the package, with its own (not simultaneous) 95 % t interval."""
    lows, highs = c.bounds(low=low, high=high)
    return Estimate(float(c.value[row]), float(lows[row]), float(highs[row]), int(c.users[row]), int(c.pairs[row]), metric, group)


def in_points(share: float, signed: bool = False) -> str:
    """A share or difference of shares for a sentence, in points: "5.0", "−2.7"; a true minus sign, never "−0.0"."""
    text = f"{100 * abs(share):.1f}"
    return text if not float(text) else f"{'−' if share < 0 else '+' if signed else ''}{text}"


def mean_of_users(values: np.ndarray, pairs: np.ndarray, metric: str, group: str = "") -> Estimate:
    """Mean of one value in [0, 1] a user [users], with Student's t interval on users - 1 degrees of freedom, cut to [0, 1]; nan for no
    user.
    """
    n = len(values)
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, metric, group)
    spread = float(values.var(ddof=1)) / n if n > 1 else 0.0
    se = np.sqrt(spread if spread > 1e-24 else _unseen(np.array([n]), bounded=True)[0])
    value, half = float(values.mean()), float(stdtrit(max(n - 1, 1), (1 + LEVEL) / 2) * se)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n, int(pairs.sum()), metric, group)


def discoveries(p_values: np.ndarray, rate: float = 0.10) -> np.ndarray:
    """Which of m hypotheses to follow up, bool[m], so that at most `rate` of them are expected to be false (Benjamini & Hochberg 1995).
    nan is never one.
    """
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested])]
    passed = np.flatnonzero(p_values[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1))
    out = np.zeros(len(p_values), bool)
    if len(passed):
        out[order[: passed[-1] + 1]] = True
    return out

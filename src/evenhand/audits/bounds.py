"""Confidence bounds for a mean of values in [0, 1] that hold for every number of values, not only for many.

    hoeffding            mean +- sqrt(log(2/alpha) / (2 n))                                            Hoeffding 1963, Theorem 2
    empirical_bernstein  mean +- [ sqrt(2 V log(4/alpha) / n) + 7 log(4/alpha) / (3 (n - 1)) ]          Maurer & Pontil 2009, Theorem 4
    betting              { m : no bet against m ever multiplied its stake by 2/alpha }                  Waudby-Smith & Ramdas 2024, Theorem 3

The values are means of users, one a user. Each bound takes them with alpha and returns (low, high): over draws of users from one
population P(population mean outside) <= alpha. hoeffding asks for independence alone; the others for draws from one distribution.
V is the sample variance (n - 1). Bounds of two-sided statements from one-sided theorems spend alpha / 2 on each side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

Bound = Callable[[np.ndarray, float], tuple[float, float]]  # (values float64[n] in [0, 1], alpha) → (low, high)
GRID = 1_000_000  # betting bounds are multiples of 1 / GRID, rounded outwards
LARGEST_BET = 0.75  # c: a bet risks at most this share of the capital, whatever the next value; of the paper's 1/2 and 3/4 the tighter here
ROUNDING = 1e-9  # far above the error of a sum of 1e5 logarithms: a bet must win by more than that
LARGEST_TRIED = 16_384  # users for whom the betting radius is computed; beyond it shrinks as 1 / sqrt(n)
MOST_USERS = 10**9


def hoeffding(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """The reference: needs nothing but independence and the range."""
    values = _checked(values, alpha)
    return _around(float(values.mean()), hoeffding_radius(len(values), alpha))


def empirical_bernstein(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """Shrinks with the variance of the values, at the price of a term in 1 / n; (0, 1) for a single value."""
    values = _checked(values, alpha)
    spread = float(values.var(ddof=1)) if len(values) > 1 else 0.25
    return _around(float(values.mean()), bernstein_radius(len(values), spread, alpha))


def betting(values: np.ndarray, alpha: float, seed: int = 0) -> tuple[float, float]:
    """The hedged capital bound. The values are bet on in an order drawn with `seed`, so that the order of the data has no say.

    Capital against "the mean is m" is prod_t (1 + lambda_t (x_t - m)), where the bet lambda_t = min(sqrt(2 log(2/alpha) / (n V_{t-1})), c/m)
    knows the earlier values alone (a predictable plug-in for fixed n; V_t starts at 1/4). It falls in m, hence the values of m that are
    rejected at some t are those below one point, found by bisection over multiples of 1 / GRID: the largest one that is rejected, so that
    rounding widens. The upper bound is the lower one of 1 - x. Costs O(n) for each of 20 steps.
    """
    values = _checked(values, alpha)
    drawn = np.random.default_rng([seed, len(values)]).permutation(values)
    return _rejected_up_to(drawn, alpha), (GRID - round(GRID * _rejected_up_to(1 - drawn, alpha))) / GRID


def _rejected_up_to(values: np.ndarray, alpha: float) -> float:
    """The lower betting bound of `values` in their order, each side at alpha / 2."""
    n, needed = len(values), math.log(2 / alpha) + ROUNDING
    count = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(values)) / (count + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (count + 1)
    bet = np.sqrt(2 * needed / (n * np.concatenate([[0.25], variance[:-1]])))

    def rejected(place: int) -> bool:
        m = place / GRID
        stake = np.minimum(bet, LARGEST_BET / m)
        return bool(np.cumsum(np.log1p(stake * (values - m))).max() >= needed)

    low, high = 0, GRID  # `low` is rejected or 0; `high` is not: against m = 1 nobody wins
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low / GRID


def hoeffding_radius(n: float, alpha: float) -> float:
    return math.sqrt(math.log(2 / alpha) / (2 * n))


def bernstein_radius(n: float, variance: float, alpha: float) -> float:
    """1 for a single value."""
    if n <= 1:
        return 1.0
    logarithm = math.log(4 / alpha)
    return math.sqrt(2 * variance * logarithm / n) + 7 * logarithm / (3 * (n - 1))


BOUNDS: dict[str, Bound] = {"betting": betting, "empirical_bernstein": empirical_bernstein, "hoeffding": hoeffding}


def bound_named(name: str, seed: int) -> Bound:
    """The bound as certificates use it; only betting has an order to draw."""
    return partial(betting, seed=seed) if name == "betting" else BOUNDS[name]


def users_needed(
    gamma: float, values: Sequence[np.ndarray], compared: Sequence[tuple[int, int]], delta: float, bound: str
) -> tuple[int | None, ...]:
    """How many users each event would need for a certificate at gamma, were its users to go on as these: means and spreads held.

    values: users' means float64[n_e] of each event. compared: as in `Rates`; () = one event held against gamma itself. Both events of a
    comparison are given the same number; an event's is the largest over its comparisons, None where the gap seen is gamma or more (no
    number of users helps). A plan and no promise: for betting the radius is that of these values repeated.
    """
    mean, alpha = [float(v.mean()) for v in values], delta / len(values)
    radius = [_radius_by_users(v, alpha, bound) for v in values]
    if not compared:
        return (_smallest(lambda n: radius[0](n) <= gamma - mean[0]),)
    needed: list[list[int | None]] = [[0] for _ in values]
    for a, b in compared:
        room = gamma - abs(mean[a] - mean[b])
        pair = _smallest(_fit_in(radius[a], radius[b], room))
        needed[a].append(pair)
        needed[b].append(pair)
    return tuple(None if None in each else max(n for n in each if n is not None) for each in needed)


def _radius_by_users(values: np.ndarray, alpha: float, bound: str) -> Callable[[float], float]:
    """How far the bound reaches from the mean, on its wider side, as a falling function of the number of users."""
    if bound == "hoeffding":
        return lambda n: hoeffding_radius(n, alpha)
    if bound == "empirical_bernstein":
        spread = float(values.var(ddof=1)) if len(values) > 1 else 0.25
        return lambda n: bernstein_radius(n, spread, alpha)
    sizes = np.unique(np.geomspace(8, LARGEST_TRIED, 12).astype(int))
    ordered = np.sort(values)
    sample = [ordered[np.arange(n) * len(ordered) // n] for n in sizes.tolist()]  # the values' own distribution, at another size
    reach = [(s.mean(), *betting(s, alpha)) for s in sample]
    side = np.minimum.accumulate([max(mean - low, high - mean) for mean, low, high in reach])

    def radius(n: float) -> float:
        if n > sizes[-1]:
            return float(side[-1] * math.sqrt(sizes[-1] / n))
        return float(np.exp(np.interp(math.log(n), np.log(sizes), np.log(side))))

    return radius


def _fit_in(first: Callable[[float], float], second: Callable[[float], float], room: float) -> Callable[[float], bool]:
    """Whether the radii of two events with n users each leave the gap within its room."""
    return lambda n: first(n) + second(n) <= room


def _smallest(enough: Callable[[float], bool]) -> int | None:
    """The smallest n for which `enough`, which stays true once it is; None beyond MOST_USERS."""
    if not enough(MOST_USERS):
        return None
    low, high = 0, MOST_USERS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _around(mean: float, radius: float) -> tuple[float, float]:
    return max(mean - radius, 0.0), min(mean + radius, 1.0)


def _checked(values: np.ndarray, alpha: float) -> np.ndarray:
    """`values` as float64[n]. Raises ValueError on none, on values outside [0, 1], and on alpha outside (0, 1)."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"a bound needs a list of values, found an array of shape {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a bound takes values from 0 to 1")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, and must lie above 0 and under 1")
    return values

"""Bootstrap by user on per-user sufficient statistics: B x U weights times U x K values, in chunks of bounded memory.

Whole users are drawn, so that the correlation of a user's pairs is kept. Weights are independent with mean 1 and variance 1 (an
exchangeable bootstrap: Praestgaard & Wellner 1993); Poisson(1) weights rounded to 1/256, so that a random byte is one draw.
"""

from __future__ import annotations

from functools import cmp_to_key

import numpy as np

COUNTS = (94, 95, 46, 16, 4, 1)  # of 256: how often a user is drawn 0, 1, … 5 times; mean and variance are exactly 1
_TABLE = bytes(np.repeat(np.arange(len(COUNTS), dtype=np.uint8), COUNTS))
CHUNK = 1 << 18  # weights held at once: 1 MB as float32, which stays in the processor's cache

RESAMPLED_USERS = 20_000_000  # users times resamples beyond which statistics of very many users take fewer resamples


def user_weights(resamples: int, users: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap weights float32[resamples, users], whole numbers 0..5."""
    drawn = rng.bytes(resamples * users).translate(_TABLE)
    return np.frombuffer(drawn, np.uint8).reshape(resamples, users).astype(np.float32)


def resampled_sums(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted sums of values [users, k] and, in the last column, of ones: float64[resamples, k + 1]."""
    users = len(values)
    columns = np.concatenate([values, np.ones((users, 1))], axis=1)
    centre = columns.mean(axis=0)  # float32 keeps 7 digits: sum deviations, not levels
    centre[-1] = 0.0
    # A product may round a column by its place; equal columns, such as one model twice, are multiplied once and stay equal.
    narrow, place = _distinct((columns - centre).astype(np.float32))
    step = max(1, CHUNK // max(users, 1))
    parts = [user_weights(min(step, resamples - at), users, rng) @ narrow for at in range(0, resamples, step)]
    sums = np.concatenate(parts)[:, place].astype(np.float64)
    return sums + sums[:, -1:] * centre


def _distinct(columns: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """What np.unique gives of the columns of float32[users, k], and each one's place in it: in order, by the first user whose values differ.

    np.unique makes a field of each user, which takes seconds for a million.
    """

    def compare(a: int, b: int) -> int:
        differ = columns[:, a] != columns[:, b]
        at = int(np.argmax(differ))
        return 0 if not differ[at] else -1 if columns[at, a] < columns[at, b] else 1

    order = sorted(range(columns.shape[1]), key=cmp_to_key(compare))
    new = [i for i, column in enumerate(order) if i == 0 or compare(order[i - 1], column)]
    place = {column: sum(at <= i for at in new) - 1 for i, column in enumerate(order)}
    return np.asfortranarray(columns[:, [order[i] for i in new]]), [place[column] for column in range(len(order))]


def resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means over users of values [users, k] in each resample: float64[resamples, k]; a resample without users is left out."""
    sums = resampled_sums(values, resamples, rng)
    sums = sums[sums[:, -1] > 0]
    return sums[:, :-1] / sums[:, -1:]


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper quantile of draws [resamples, …] along the first axis (Efron & Tibshirani 1993, ch. 13)."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def holding(value: float, draws: np.ndarray) -> tuple[float, float]:
    """Percentile interval of draws [resamples], widened where needed to hold the value itself."""
    low, high = percentile_interval(draws)
    return min(float(low), value), max(float(high), value)


def basic_interval(value: np.ndarray, draws: np.ndarray, floor: float = 0.0, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Reverse percentiles 2·value - q: for statistics such as ECE that noise pushes upward, by as much again in each resample.

    The interval is widened, where needed, to hold the value itself (Davison & Hinkley 1997, sec. 5.2).
    """
    low, high = percentile_interval(draws, level)
    return np.maximum(floor, np.minimum(value, 2 * value - high)), np.maximum(value, 2 * value - low)

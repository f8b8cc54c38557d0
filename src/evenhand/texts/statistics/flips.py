"""Is there a difference of means between groups? Signs are flipped, and of more than two groups labels permuted, inside blocks.

All pairs of a block, and all its labels, are turned at once: pairs of one block share a theme and a region, and with them a gap of their
own, which flips of single pairs would take for many (with gaps that differ by block and are 0 on average, they found something in 11 to 30
% of audits). The statistic is studentised, so that groups may vary unequally (Chung & Romano 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import gammainc, gammaincc, ndtr

WORK = 20_000_000  # numbers that one test may permute: more blocks or parts, fewer permutations
ENOUGH = 10  # permutations beyond the observed value that make a share; under it the tail's law says how many there would be
FEWEST = 100  # permutations, whatever the size


@lru_cache(maxsize=8)
def turns(blocks: int, groups: int, number: int, seed: int) -> np.ndarray:
    """int64[number, blocks, groups]: which label each group of a block takes."""
    return np.asarray(np.random.default_rng([seed, 70911]).random((number, blocks, groups), dtype=np.float32).argsort(axis=2))


def largest(sums: np.ndarray, squares: np.ndarray, cross: np.ndarray, count: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The largest sum of squared t over contrasts. Over blocks: sums, squares, cross [..., contrasts, parts] of d, d² and d·n; count,
    counted [..., contrasts, 1] of n and n², for sums d of n differences a block.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / count
        rest = squares - 2 * mean * cross + mean**2 * counted
        squared = mean**2 * count**2 / np.where(rest > 1e-12 * squares, rest, 1e-12 * squares)
    return np.asarray(np.where(squares > 0, squared, 0.0).sum(axis=-1).max(axis=-1))


def permuted(d: np.ndarray, n: np.ndarray, permutations: int, seed: int) -> tuple[float, np.ndarray]:
    """d float64[blocks, groups, groups, parts]: sum of differences, second group less first; n float64[blocks, groups, groups]: how many.
    → the statistic, and float64[permutations] of it.
    """
    used = n.any(axis=(1, 2))
    d, n = d[used], n[used][..., None]
    i, j = np.triu_indices(d.shape[1], 1)
    observed = float(largest(*_sums(d[:, i, j], n[:, i, j], 0)))
    number = int(np.clip(WORK // max(d.size, 1), FEWEST, permutations))
    label = turns(len(d), d.shape[1], number, seed)
    block = np.arange(len(d))[None, :, None]
    null = []
    step = max(1, 2_000_000 // max(d[:, i, j].size, 1))
    for at in range(0, number, step):
        one, other = label[at : at + step][..., i], label[at : at + step][..., j]
        null.append(largest(*_sums(d[block, one, other], n[block, one, other], 1)))
    return observed, np.concatenate(null)


def _sums(d: np.ndarray, n: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    return d.sum(axis), (d**2).sum(axis), (d * n).sum(axis), n.sum(axis), (n**2).sum(axis)


def share(observed: float, null: np.ndarray, tail: Callable[[], float], least: float = 0.0) -> float:
    """p = (1 + values of the null at or beyond the observed one) / (1 + all). With fewer than ten of them the number is mostly luck, and
    no correction for many tests could be passed: then `tail`, the p of a law that the null follows, between `least` (one of all
    arrangements) and what eleven would give.
    """
    beyond = int((null >= observed - 1e-9 * max(abs(observed), 1e-300)).sum())
    if beyond >= ENOUGH:
        return (1 + beyond) / (1 + len(null))
    return float(np.clip(tail(), least, (1 + ENOUGH) / (1 + len(null))))


def pearson(z: float, skewness: float) -> float:
    """P(Z ≥ z) of Pearson's type III law with mean 0 and variance 1: the law that sums of squares under permutation follow (Mielke & Berry
    2007).
    """
    if abs(skewness) < 1e-3:
        return float(ndtr(-z))
    shape = 4 / skewness**2
    return float(gammaincc(shape, max(shape + z * shape**0.5, 0.0)) if skewness > 0 else gammainc(shape, max(shape - z * shape**0.5, 0.0)))


def tail_of(observed: float, null: np.ndarray) -> float:
    """Pearson's law with the null's own moments."""
    sd = float(null.std())
    if not sd > 0:
        return 1.0
    return pearson((observed - float(null.mean())) / sd, float((((null - null.mean()) / sd) ** 3).mean()))

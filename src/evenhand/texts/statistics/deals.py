"""What chance alone makes of the gaps between cells: the draws of matched cells are pooled and dealt anew.

Arrays are [strata, groups, draws]: a stratum is what is compared, all cells that differ in one axis alone; nan = no such draw. A mean
|gap| of one text a cell is nearly all chance, so no such number stands without what it would be if there were no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evenhand.texts.statistics.flips import FEWEST, WORK, pearson, share

CHUNK = 2_000_000  # numbers dealt at a time


@dataclass(frozen=True)
class Dealt:
    """Of every stratum and pair of groups, arrays [strata, pairs]; pairs without two draws on both sides are nan. excess: squared gap of
    the means less what single draws add, or a distance of profiles less what it is when dealt anew. absolute: |gap|, or distance. null:
    its expectation when dealt anew. p: of no difference between the groups of any stratum. Of one part, signed: the largest |mean gap|,
    and [deals] of it.
    """

    excess: np.ndarray
    absolute: np.ndarray
    null: np.ndarray
    p: float
    signed: tuple[float, np.ndarray]


def deal(x: np.ndarray, deals: int, seed: int) -> Dealt:
    """x float64[strata, groups, draws]. The excess is (m_a - m_b)² - s_a²/k_a - s_b²/k_b, which is 0 on average without a difference,
    however few the draws; it may be negative.
    """
    there = ~np.isnan(x)
    k = there.sum(axis=2)
    i, j = np.triu_indices(x.shape[1], 1)
    twice = (k[:, i] > 1) & (k[:, j] > 1)
    both = (k[:, i] > 0) & (k[:, j] > 0)
    centred = np.where(there, x - np.nanmean(x), 0.0) if there.any() else np.zeros_like(x)
    scale = np.abs(centred).max(initial=0.0) or 1.0
    gap, excess = _gaps(np.moveaxis(centred / scale, 2, 0), k, i, j)
    beyond, sums, moments = [], np.zeros(gap.shape), np.zeros((3, len(x)))
    largest, total = [], 0
    for dealt in redealt(centred / scale, there, deals, seed):
        g, e = _gaps(dealt, k, i, j)
        by_stratum = np.where(twice, e, 0.0).sum(axis=-1)
        beyond.append(by_stratum.sum(axis=-1))
        sums += np.abs(g).sum(axis=0)
        moments += _powers(by_stratum)
        largest.append(_largest(g, both))
        total += len(g)
    observed = float(np.where(twice, excess, 0.0).sum())
    p = share(observed, np.concatenate(beyond), lambda: _tail(observed, moments / total, centred=True)) if twice.any() else float("nan")
    nothing = np.where(twice, 0.0, np.nan)
    return Dealt(
        excess * scale**2 + nothing, np.abs(gap) * scale + nothing, sums / total * scale + nothing, p,
        (float(_largest(gap[None], both)[0]), np.concatenate(largest)),
    )  # fmt: skip


def squared_gaps(x: np.ndarray) -> np.ndarray:
    """The excess alone: x [..., groups, draws] → [..., pairs], nan without two draws on both sides."""
    there = ~np.isnan(x)
    k = there.sum(axis=-1)
    i, j = np.triu_indices(x.shape[-2], 1)
    known = np.where(there, x - np.nanmean(x), 0.0) if there.any() else np.zeros_like(x)
    return np.where((k[..., i] > 1) & (k[..., j] > 1), _gaps(np.moveaxis(known, -1, 0), k, i, j)[1], np.nan)


def deal_profiles(x: np.ndarray, distance: str, deals: int, seed: int) -> Dealt:
    """x float64[strata, groups, draws, parts]: distances between the cells' mean profiles."""
    there = ~np.isnan(x).any(axis=3)
    k = there.sum(axis=2)
    i, j = np.triu_indices(x.shape[1], 1)
    twice = (k[:, i] > 1) & (k[:, j] > 1)
    known = np.where(there[..., None], x, 0.0)
    apart = DISTANCES[distance]
    sizes = np.maximum(k, 1)[..., None]
    found = apart(known.sum(axis=2) / sizes, i, j)
    sums, totals, moments, total = np.zeros(found.shape), [], np.zeros((3, len(x))), 0
    for dealt in redealt(known, there, deals, seed):
        d = np.where(twice, apart(dealt.sum(axis=0) / sizes, i, j), 0.0)
        sums += d.sum(axis=0)
        by_stratum = d.sum(axis=-1)
        totals.append(by_stratum.sum(axis=-1))
        moments += _powers(by_stratum)
        total += len(d)
    observed = float(np.where(twice, found, 0.0).sum())
    p = share(observed, np.concatenate(totals), lambda: _tail(observed, moments / total, centred=False)) if twice.any() else float("nan")
    null = np.where(twice, sums / total, np.nan)
    return Dealt(found - null, np.where(twice, found, np.nan), null, p, (float("nan"), np.zeros(0)))


def redealt(x: np.ndarray, there: np.ndarray, deals: int, seed: int) -> Iterator[np.ndarray]:
    """x [strata, groups, draws, …] with 0 for what is not there → [draws, some deals, strata, groups, …] at a time: sums over the first
    axis are fast.
    """
    number = int(np.clip(WORK // max(x.size, 1), FEWEST, deals))
    order = orders(there.tobytes(), there.shape, number, seed)
    draws = x.reshape(-1, *x.shape[3:])
    step = max(1, CHUNK // max(x.size, 1))
    for at in range(0, number, step):
        part = order[:, at : at + step]
        yield draws[part].reshape(*part.shape[:2], *x.shape[:2], *x.shape[3:])


@lru_cache(maxsize=6)
def orders(there: bytes, shape: tuple[int, int, int], number: int, seed: int) -> np.ndarray:
    """int32[draws, number, strata · groups]: from which of all draws each takes its value, inside a stratum and among the draws that are
    there. Kept: measures of the same texts share it.
    """
    valid = np.frombuffer(there, bool).reshape(shape[0], -1)
    rng = np.random.default_rng([seed, 70912])
    start = (np.arange(shape[0]) * valid.shape[1])[:, None]
    rank = np.maximum(valid.cumsum(axis=1) - 1, 0)
    own = np.arange(valid.shape[1])
    out = np.empty((shape[2], number, shape[0] * shape[1]), np.int32)
    for at in range(number):
        key = np.where(valid, rng.random(valid.shape, dtype=np.float32), np.float32(2))
        chosen = np.take_along_axis(key.argsort(axis=1), rank, axis=1)
        out[:, at] = (np.where(valid, chosen, own) + start).reshape(-1, shape[2]).T
    return out


def _gaps(x: np.ndarray, k: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [draws, …, strata, groups] → gaps of means, second less first, and squared gaps without the draws' noise, […, strata, pairs]."""
    mean = x.sum(axis=0) / np.maximum(k, 1)
    noise = ((x**2).sum(axis=0) - k * mean**2) / np.maximum(k - 1, 1) / np.maximum(k, 1)
    gap = mean[..., j] - mean[..., i]
    return gap, gap**2 - noise[..., i] - noise[..., j]


def _powers(by_stratum: np.ndarray) -> np.ndarray:
    squared = by_stratum**2
    return np.stack([by_stratum.sum(axis=0), squared.sum(axis=0), (squared * by_stratum).sum(axis=0)])


def _largest(gap: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Of [deals, strata, pairs]: the largest |mean over strata|."""
    return np.asarray(np.abs(np.where(both, gap, 0.0).sum(axis=1) / np.maximum(both.sum(axis=0), 1)).max(axis=-1))


def _tail(observed: float, moments: np.ndarray, *, centred: bool) -> float:
    """Strata are dealt independently: means, variances and third moments of their sum are sums over strata. moments [3, strata]: means of
    the first three powers. centred: the mean is known to be 0.
    """
    first, second, third = moments
    variance = float((second - first**2).sum())
    if not variance > 0:
        return 1.0
    skew = float((third - 3 * first * second + 2 * first**3).sum()) / variance**1.5
    return pearson((observed - (0.0 if centred else float(first.sum()))) / variance**0.5, skew)


def _absolute(mean: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Sum of |differences| of the parts."""
    return np.asarray(np.abs(mean[..., i, :] - mean[..., j, :]).sum(axis=-1))


def _jensen_shannon(mean: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence, base 2, of profiles scaled to a sum of 1 (all 0: the even one): 0 = alike, 1 = nothing in common."""
    total = mean.sum(axis=-1, keepdims=True)
    p = np.where(total > 0, mean / np.where(total > 0, total, 1.0), 1 / mean.shape[-1])
    own = _entropy(p)
    return np.maximum(_entropy((p[..., i, :] + p[..., j, :]) / 2) - (own[..., i] + own[..., j]) / 2, 0.0)


def _entropy(p: np.ndarray) -> np.ndarray:
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-300))).sum(axis=-1))


DISTANCES = {"L1": _absolute, "Jensen-Shannon": _jensen_shannon}

"""Means over blocks, and what is shared between blocks.

A block is one combination of the axes that are not matched (a theme in a region); its texts were written for one message, so they are one draw.
The values of such an axis are shared by many blocks: where the theme moves a gap, 55 blocks of 11 themes are nearer to 11 draws than to 55. So
the variance of every mean is the larger of the one clustered by block and the one clustered by the values of the axes (Cameron, Gelbach & Miller
2011, without its negative corner), the latter with one degree of freedom less than there are values. An axis of fewer than `FEWEST_BLOCKS` values
is no sample of anything: what is found holds for those values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import studentized_range

from evenhand.audits.intervals import LEVEL
from evenhand.core import Estimate
from evenhand.texts.audit import Measure
from evenhand.texts.findings import FEWEST_BLOCKS
from evenhand.texts.grid import Grid
from evenhand.texts.table import TextTable


@dataclass(frozen=True)
class Means:
    """m means over blocks, each array [m]. se: standard error. df: its degrees of freedom. blocks: that have a value. n: values behind it.
    shared: whether the axes' values, and not blocks, are what it rests on.
    """

    value: np.ndarray
    se: np.ndarray
    df: np.ndarray
    blocks: np.ndarray
    n: np.ndarray
    shared: np.ndarray

    def estimate(self, at: int, metric: str, group: str = "", half: float = float("nan")) -> Estimate:
        """Mean `at` with value ± half; half nan: its own 95 % t interval. No interval under FEWEST_BLOCKS blocks."""
        value, blocks = float(self.value[at]), int(self.blocks[at])
        wide = float(stdtrit(self.df[at], (1 + LEVEL) / 2) * self.se[at]) if np.isnan(half) else half
        wide = wide if blocks >= FEWEST_BLOCKS else float("nan")
        return Estimate(value, value - wide, value + wide, blocks, int(self.n[at]), metric, group)


def strata(measure: Measure, table: TextTable, at: int) -> np.ndarray:
    """Values for gaps on matched axis number `at`, float64[blocks, strata, groups, draws(, parts)]: cells of one stratum differ in that axis alone.
    What stands in for undefined values does so; nan = no such text.
    """
    values = np.where(np.isnan(measure.values), measure.undefined, measure.values)
    whole = np.moveaxis(table.arranged(values), 1 + at, len(table.grid.shape))
    return whole.reshape(table.grid.blocks, -1, *whole.shape[len(table.grid.shape) :])


def cell_means(x: np.ndarray) -> np.ndarray:
    """[blocks, strata, groups, draws(, parts)] → means over draws; nan where there are none."""
    there = ~np.isnan(x)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, x, 0.0).sum(axis=3) / there.sum(axis=3))


def differences(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean [blocks, strata, groups, parts] → [blocks, groups, groups, parts], sums over strata of the second group's less the first's, and
    int64[blocks, groups, groups], over how many strata both are there.
    """
    gap = mean[:, :, None, :] - mean[:, :, :, None]
    there = ~np.isnan(gap).any(axis=4)
    return np.where(there[..., None], gap, 0.0).sum(axis=1), there.sum(axis=1)


def units(grid: Grid) -> tuple[np.ndarray, ...]:
    """The value of each block on every axis that many blocks share and that has values enough: int64[blocks] each."""
    axes = [a for a in grid.axes if not a.matched]
    if len(axes) < 2:
        return ()
    numbers = np.unravel_index(np.arange(grid.blocks), [len(a) for a in axes])
    return tuple(n for n, a in zip(numbers, axes) if FEWEST_BLOCKS <= len(a) < grid.blocks)


def means(sums: np.ndarray, counts: np.ndarray, shared: Sequence[np.ndarray] = ()) -> Means:
    """Sums and counts [blocks, m] of values → their means, every value with the same weight; errors are those of a ratio (linearised).
    shared: `units`.
    """
    blocks, n = (counts > 0).sum(axis=0), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = sums.sum(axis=0) / n
        rest = np.where(counts > 0, sums - counts * value, 0.0)
        variance = _variance(rest, blocks) / n**2
        df = blocks - 1.0
        wider = np.zeros(len(value), bool)
        if shared:
            both, fewest = -(len(shared) - 1) * variance, blocks
            for unit in shared:
                there = gathered(counts > 0, unit) > 0
                both = both + _variance(gathered(rest, unit), there.sum(axis=0)) / n**2
                fewest = np.minimum(fewest, there.sum(axis=0))
            wider = (both > variance) & (fewest >= FEWEST_BLOCKS)
            variance, df = np.where(wider, both, variance), np.where(wider, fewest - 1.0, df)
    return Means(value, np.sqrt(variance), np.maximum(df, 1.0), blocks, n, wider)


def gathered(values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Values [blocks, …] summed over the blocks of each unit, float64[units, …]."""
    out = np.zeros((int(unit.max()) + 1, *values.shape[1:]))
    np.add.at(out, unit, values)
    return out


def _variance(rest: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    return np.asarray((rest**2).sum(axis=0) * clusters / (clusters - 1))


@lru_cache(maxsize=256)
def quantile(alpha: float, groups: int, df: float) -> float:
    """The t that the largest of all differences between `groups` means exceeds with probability alpha, in either direction: Student's for two
    groups, else Tukey's studentised range over √2.
    """
    return float(stdtrit(df, 1 - alpha / 2)) if groups == 2 else float(studentized_range.ppf(1 - alpha, groups, df)) / 2**0.5


def exceeded(t: float, groups: int, df: float) -> float:
    """The probability that belongs to `quantile`."""
    if not np.isfinite(t):
        return 0.0 if t > 0 else float("nan")
    return float(2 * stdtr(df, -t)) if groups == 2 else float(np.clip(studentized_range.sf(t * 2**0.5, groups, df), 0.0, 1.0))

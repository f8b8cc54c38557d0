"""By how much selection made mean |gaps| smaller, three times over: on the texts that were chosen, on other draws of the same choices, and
on such draws with the choices dealt over prompts at random.

A choice is the *source* that the chosen text of a cell came from. On the very texts a fall is mostly selection on noise: the least of
several noisy gaps is small. Other draws of the same sources are free of that, but a source that is better everywhere helps whatever is
chosen where. What fresh draws have beyond dealt choices is what was learned of single prompts. Symbols: D a mean |gap|, o originals, y
chosen; fall = 1 - D(y) / D(o).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.intervals import LEVEL
from evenhand.core import Estimate
from evenhand.texts.audit import Measure
from evenhand.texts.findings import FEWEST_BLOCKS, Fall
from evenhand.texts.selecting.candidates import Candidates
from evenhand.texts.selecting.gate import TINY, disparity

DEALS = 200
FEWEST = 0.25  # share of pairs whose choices have other draws, under which nothing is said of fresh ones: checks leave some half of them
CHUNK = 4_000_000  # differences at a time


def falls(
    measure: Measure, of: Candidates, chosen: np.ndarray, allowed: np.ndarray | None = None, *, deals: int = DEALS, seed: int = 0
) -> tuple[Fall, ...]:
    """One Fall a matched axis. chosen int64[cells]: candidates. allowed bool[cells, candidates]: those that passed the checks of single
    texts, of which alone fresh draws are taken; default: all.

    same: the chosen texts against the originals, cell by cell. fresh: the mean over other draws of the chosen sources, against that over
    other draws of the originals. Draws are others where their number is neither the chosen text's nor the original's: what resembles a text
    that was chosen is not fresh, and revisions of one draft bear its number. shuffled: its mean over `deals` permutations of the sources
    over cells. Pairs whose choice has no other draw are left out of the last three, as their counts of pairs say; nan where under a quarter
    are left. Intervals: linearised ratios of sums over blocks, Student t with blocks - 1 degrees; none under 10 blocks.
    """
    values = of.of(measure.values)
    given = ~np.isnan(measure.undefined)
    if given:
        values = np.where(of.there[..., None] if values.ndim == 3 else of.there, np.nan_to_num(values, nan=measure.undefined), np.nan)
    fresh, originals = _draws(of, chosen, of.there if allowed is None else allowed & of.there)
    cells = np.flatnonzero(of.row[:, 0] >= 0)
    random = np.random.default_rng(seed)
    source = np.full(len(of.row), -1, np.int64)
    source[cells] = of.source[cells, chosen[cells]]
    dealt = np.tile(source, (deals, 1))
    for deal in dealt:
        deal[cells] = random.permutation(source[cells])
    out = []
    for axis in of.table.grid.matched:
        pairs = of.table.grid.pairs(axis)
        g = _gaps(values, pairs, chosen, fresh, originals, source, dealt)
        out.append(_fall(measure.name, axis.name, pairs[:, 0] // of.table.grid.size, g))
    return tuple(out)


def fresh_means(values: np.ndarray, of: Candidates, chosen: np.ndarray, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of values float64[cells, candidates(, parts)], means float64[cells(, parts)] over fresh draws of the originals, and of the chosen
    sources; nan where there are none.
    """
    fresh, originals = _draws(of, chosen, of.there if allowed is None else allowed & of.there)
    cells = np.arange(len(chosen))
    return _weighted(values, originals), _weighted(values, fresh[cells, of.source[cells, chosen]])


def _weighted(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    known = np.isfinite(values if values.ndim == 2 else values.sum(axis=2)) & (share > 0)
    count = known.sum(axis=1).reshape(-1, *(1 for _ in values.shape[2:]))
    total = np.where(known.reshape(*known.shape, *(1 for _ in values.shape[2:])), values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


@dataclass(frozen=True)
class _Gaps:
    """Of P pairs, float64[P], nan where a side has no such text. base: of the originals; chosen; again: of other draws of the originals;
    fresh: of other draws of the choices; shuffled: of dealt choices, its mean over the deals that have both sides.
    """

    base: np.ndarray
    chosen: np.ndarray
    again: np.ndarray
    fresh: np.ndarray
    shuffled: np.ndarray


def _draws(of: Candidates, chosen: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weights float64[cells, sources, candidates] of fresh draws of each source, the same of originals [cells, candidates]). Rows sum to
    1, or to 0 where there is none.
    """
    other = allowed & (of.draft != of.draft[:, :1]) & (of.draft != of.draft[np.arange(len(chosen)), chosen][:, None])
    fresh = (of.source[:, None, :] == np.arange(len(of.sources))[:, None]) & other[:, None, :]
    return _shares(fresh), _shares((of.source == of.source[:, :1]) & other)


def _shares(there: np.ndarray) -> np.ndarray:
    return np.asarray(there / np.maximum(there.sum(axis=-1, keepdims=True), 1))


def _gaps(
    values: np.ndarray,
    pairs: np.ndarray,
    chosen: np.ndarray,
    fresh: np.ndarray,
    originals: np.ndarray,
    source: np.ndarray,
    dealt: np.ndarray,
) -> _Gaps:
    found = [np.full(len(pairs), np.nan) for _ in range(5)]
    step = max(1, CHUNK // (values.shape[1] ** 2 * (values.shape[2] if values.ndim == 3 else 1)))
    for start in range(0, len(pairs), step):
        part = slice(start, start + step)
        a, b = pairs[part].T
        rows = np.arange(len(a))
        gap = disparity(values[a][:, :, None], values[b][:, None], values.ndim == 3)
        known, gap = np.isfinite(gap), np.nan_to_num(gap)

        def mean(one: np.ndarray, other: np.ndarray, gap: np.ndarray = gap, known: np.ndarray = known) -> np.ndarray:
            """Mean gap float64[pairs, …] of draws by their shares; nan where no two are defined."""
            weight = np.einsum("p...i,p...j,pij->p...", one, other, known)
            return np.where(weight > 0, np.einsum("p...i,p...j,pij->p...", one, other, gap) / np.where(weight > 0, weight, 1), np.nan)

        found[0][part] = np.where(known[:, 0, 0], gap[:, 0, 0], np.nan)
        at = rows, chosen[a], chosen[b]
        found[1][part] = np.where(known[at], gap[at], np.nan)
        found[2][part] = mean(originals[a], originals[b])
        found[3][part] = mean(fresh[a, source[a]], fresh[b, source[b]])
        sources = fresh.shape[1]
        table = np.stack([mean(np.repeat(fresh[a, s][:, None], sources, 1), fresh[b]) for s in range(sources)], axis=1)
        by_deal = table[rows, dealt[:, a], dealt[:, b]]
        some = np.isfinite(by_deal)
        found[4][part] = np.where(some.any(axis=0), np.nansum(by_deal, axis=0) / np.maximum(some.sum(axis=0), 1), np.nan)
    return _Gaps(*found)


def _fall(name: str, axis: str, block: np.ndarray, g: _Gaps) -> Fall:
    both = np.isfinite(g.base) & np.isfinite(g.chosen)
    same = _share(g.base - g.chosen, g.base, both, block, name)
    three = both & np.isfinite(g.again) & np.isfinite(g.fresh) & np.isfinite(g.shuffled)
    if three.sum() < FEWEST * both.sum():
        three[:] = False
    return Fall(
        name, axis, same,
        _share(g.again - g.fresh, g.again, three, block, name),
        _share(g.again - g.shuffled, g.again, three, block, name),
        _share(g.shuffled - g.fresh, g.again, three, block, name),
    )  # fmt: skip


def _share(less: np.ndarray, base: np.ndarray, used: np.ndarray, block: np.ndarray, name: str) -> Estimate:
    """Sum of `less` over sum of `base`, over the pairs that are used, clustered by block."""
    if not used.any() or base[used].sum() <= 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, name)
    of, at = np.unique(block[used], return_inverse=True)
    top, bottom = np.bincount(at, less[used]), np.bincount(at, base[used])
    top[np.abs(top) < TINY * bottom.mean()] = 0.0  # where all choices are of one source, fresh and dealt ones are the same
    value, n = float(top.sum() / bottom.sum()), len(of)
    if n < FEWEST_BLOCKS:
        return Estimate(value, np.nan, np.nan, n, int(used.sum()), name)
    left = (top - value * bottom) / bottom.mean()
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * left.std(ddof=1) / np.sqrt(n))
    return Estimate(value, value - half, value + half, n, int(used.sum()), name)

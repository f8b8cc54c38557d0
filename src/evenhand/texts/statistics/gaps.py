"""How far apart are the texts of two groups? Values of single texts in, one finding a measure and matched axis out.

Three numbers that do not replace each other. The signed gap is a difference of means: does one group get more of it? Pairs may differ and
cancel out, so the systematic gap is the size of a pair's own gap, once the noise of single texts is taken off. The mean |gap| is what
people compute, and with few texts a cell it is nearly all noise: it stands beside what it would be without any difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import exp, lgamma

import numpy as np

from evenhand.audits.intervals import LEVEL, MDE_FACTOR, nobody_deviates
from evenhand.core import Estimate, EvenhandError, clip
from evenhand.texts.audit import Measure
from evenhand.texts.findings import FEWEST_BLOCKS, Gap, Level
from evenhand.texts.grid import Axis
from evenhand.texts.statistics.blocks import (
    Means,
    cell_means,
    differences,
    exceeded,
    gathered,
    means,
    quantile,
    settled,
    skewed,
    strata,
    units,
)
from evenhand.texts.statistics.deals import DISTANCES, Dealt, deal, deal_profiles
from evenhand.texts.statistics.flips import permuted, share, tail_of
from evenhand.texts.table import TextTable

NAN = float("nan")
LARGEST = 1e100  # of a value: squares of larger ones overflow
ONE_TEXT = "not testable: one text a cell"
NO_PAIR = "not testable: no two matched cells have a value"
CONSTANT = "not testable: every text has the same value"


def gaps(audit: str, measure: Measure, table: TextTable, *, seed: int = 0, permutations: int = 2000) -> tuple[Gap, ...]:
    """One gap for every matched axis of the grid; of a profile two, by L1 distance and by Jensen-Shannon divergence (base 2).

    Intervals are over blocks, and over the values of an axis that blocks share, whichever are wider (`blocks.means`); of more than two
    groups they hold for all contrasts of the axis at once (Šidák). p: `flips`. systematic and its p: `deals`. Under `FEWEST_BLOCKS` blocks
    there are no intervals over blocks: `p` deals the draws of these prompts anew, and speaks of these prompts alone. Raises EvenhandError
    for values that are no numbers of these texts.
    """
    _check(audit, measure, table)
    of = _profile_gaps if measure.is_profile else _gap
    found = (of(audit, measure, table, at, axis, seed, permutations) for at, axis in enumerate(table.grid.matched))
    return tuple(g for some in found for g in some)


def _check(audit: str, measure: Measure, table: TextTable) -> None:
    values = measure.values
    told = f"Audit '{clip(audit)}', measure '{clip(measure.name)}': "
    if values.ndim not in (1, 2) or len(values) != len(table):
        raise EvenhandError(
            f"{told}its values have shape {values.shape} for {len(table)} texts. Expected: a number, or a row of a profile, "
            "for each. To do: mend the audit."
        )
    if not np.issubdtype(values.dtype, np.number) or (np.abs(np.nan_to_num(values, nan=0.0)) > LARGEST).any():
        raise EvenhandError(
            f"{told}a value is infinite, over {LARGEST:g}, or no number. Expected: numbers; nan where undefined. To do: mend the audit."
        )
    if measure.is_profile and (np.nan_to_num(values) < 0).any():
        raise EvenhandError(f"{told}a profile has a value under 0. Expected: shares or probabilities. To do: mend the audit.")


def _gap(audit: str, measure: Measure, table: TextTable, at: int, axis: Axis, seed: int, permutations: int) -> tuple[Gap, ...]:
    x = strata(measure, table, at)
    shared, mean = units(table.grid), cell_means(x)
    i, j = np.triu_indices(len(axis), 1)
    d, n = differences(mean[..., None])
    contrasts = means(d[:, i, j, 0], n[:, i, j], shared, jointly=True)
    n_pairs = int(contrasts.n.sum())
    if not n_pairs:
        return (_nothing(audit, measure, table, axis),)
    widest = int(np.nanargmax(np.abs(contrasts.value)))
    spread = _spread(x)
    half = quantile(1 - LEVEL, len(axis), float(contrasts.df[widest])) * float(contrasts.se[widest])
    contrast = axis.labels[i[widest]], axis.labels[j[widest]]
    signed = replace(contrasts.estimate(widest, measure.name, _less(contrast), half), n_pairs=n_pairs)
    dealt = deal(settled(x).reshape(-1, *x.shape[2:]), permutations, seed)
    few = int(contrasts.blocks.max()) < FEWEST_BLOCKS
    testable = "" if np.isfinite(dealt.p) else ONE_TEXT
    if few:
        p = NAN if testable else _p_here(dealt.signed[0] ** 2, dealt.signed[1] ** 2)
    else:
        p = _p(d, n, contrasts, permutations, seed)
    if not spread > 0:
        testable, p, dealt = CONSTANT, NAN, replace(dealt, p=NAN)
    return (
        Gap(
            audit, measure.name, axis.name, table.masked, _groups(measure, table, at, axis, shared), contrast, signed,
            _scaled(signed, spread), p,
            _rooted(_excess(dealt, x, shared, measure.name)), dealt.p, _mean(dealt.absolute if not testable else _absolute(mean, i, j)),
            _mean(dealt.null), _mde(contrasts, spread, few), n_pairs, table.draws,
            testable=testable, df=float(np.nanmin(contrasts.df[contrasts.blocks > 0])),
        ),
    )  # fmt: skip


def _profile_gaps(audit: str, measure: Measure, table: TextTable, at: int, axis: Axis, seed: int, permutations: int) -> tuple[Gap, ...]:
    x = strata(measure, table, at)
    x = np.where(np.isnan(x).any(axis=4, keepdims=True), NAN, x)
    shared, mean = units(table.grid), cell_means(x)
    i, j = np.triu_indices(len(axis), 1)
    d, n = differences(mean)
    n_pairs = int(n[:, i, j].sum())
    if not n_pairs:
        return tuple(replace(_nothing(audit, measure, table, axis), distance=distance) for distance in DISTANCES)
    blocks = int(n.any(axis=(1, 2)).sum())
    same = _spread(x) <= 0
    p = NAN if same or blocks < FEWEST_BLOCKS else _profile_p(d, n, shared, permutations, seed)
    none = Estimate(NAN, NAN, NAN, blocks, n_pairs, measure.name)
    out = []
    for distance in DISTANCES:
        dealt = deal_profiles(x.reshape(-1, *x.shape[2:]), distance, permutations, seed)
        testable = CONSTANT if same else "" if np.isfinite(dealt.p) else ONE_TEXT
        by_pair = DISTANCES[distance](mean, i, j)
        farthest = int(np.nanargmax(_by_contrast(by_pair)))
        out.append(
            Gap(
                audit, measure.name, axis.name, table.masked, (), (axis.labels[i[farthest]], axis.labels[j[farthest]]), none, none, p,
                _excess(dealt, x, shared, measure.name), NAN if testable else dealt.p, _mean(by_pair if testable else dealt.absolute),
                _mean(dealt.null), NAN,
                n_pairs, table.draws, distance=distance, testable=testable,
            )
        )  # fmt: skip
    return tuple(out)


def _mde(contrasts: Means, spread: float, few: bool) -> float:
    """In standard deviations of texts; nan where gaps do not vary at all: no noise to be told from is no power."""
    if few or not spread > 0:
        return NAN
    largest = float(np.nanmax(contrasts.se))
    return MDE_FACTOR * largest / spread if largest > 0 else NAN


def _p(d: np.ndarray, n: np.ndarray, contrasts: Means, permutations: int, seed: int) -> float:
    """By permutation inside blocks; where blocks share more than chance allows, Student's p over the values that they share if that is
    larger. These are too few to be permuted: of 11 themes no p under .001 could come, which no correction for a hundred tests would pass.
    """
    squared, null = permuted(d, n, permutations, seed)
    clusters, groups = int(n.any(axis=(1, 2)).sum()), d.shape[1]
    t = (squared * (clusters - 1) / clusters) ** 0.5
    p = share(squared, null, lambda: exceeded(t, groups, clusters - 1.0), _fewest(d))
    if not contrasts.shared.any():
        return p
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.nan_to_num(np.abs(contrasts.value) / contrasts.se, posinf=np.inf)
    return max(p, min(exceeded(float(size[contrasts.df == df].max()), groups, float(df)) for df in np.unique(contrasts.df)))


def _p_here(squared: float, null: np.ndarray) -> float:
    """Of these very prompts, by draws dealt anew."""
    return share(squared, null, lambda: tail_of(squared, null))


def _profile_p(d: np.ndarray, n: np.ndarray, shared: Sequence[np.ndarray], permutations: int, seed: int) -> float:
    i, j = np.triu_indices(d.shape[1], 1)
    flat = d[:, i, j]
    counts = np.broadcast_to(n[:, i, j][..., None], flat.shape)
    wide = means(flat.reshape(len(d), -1), counts.reshape(len(d), -1), shared, jointly=True).shared.any()
    found: list[float] = []
    for one, count in [(d, n), *((gathered(d, unit), gathered(n, unit)) for unit in shared if wide)]:
        observed, null = permuted(one, count, permutations, seed)
        found.append(share(observed, null, partial(tail_of, observed, null), 0.0 if found else _fewest(one)))
    return max(found)


def _fewest(d: np.ndarray) -> float:
    """The share that one of all arrangements has: clusters whose groups are all equal have but one. Turning all alike changes nothing."""
    return exp(-lgamma(d.shape[1] + 1) * max(int(d.any(axis=(1, 2, 3)).sum()) - 1, 0))


def _excess(dealt: Dealt, x: np.ndarray, shared: Sequence[np.ndarray], name: str) -> Estimate:
    by_block = dealt.excess.reshape(len(x), -1)
    there = ~np.isnan(by_block)
    if not there.any():
        return Estimate(NAN, NAN, NAN, 0, 0, name)
    sums, counts = np.where(there, by_block, 0.0).sum(axis=1)[:, None], there.sum(axis=1)[:, None]
    found = means(sums, counts, shared)
    plain = found.estimate(0, name)
    if int(found.blocks[0]) < FEWEST_BLOCKS:
        return plain
    low, high = skewed(found, sums, counts, shared)
    return replace(plain, low=low, high=high)


def _groups(measure: Measure, table: TextTable, at: int, axis: Axis, shared: Sequence[np.ndarray]) -> tuple[tuple[str, Estimate], ...]:
    """Means of cells where the measure is defined; n_pairs counts texts."""
    x = strata(replace(measure, undefined=NAN), table, at)
    mean, texts = cell_means(x), (~np.isnan(x)).sum(axis=(0, 1, 3))
    there = ~np.isnan(mean)
    found = means(np.where(there, mean, 0.0).sum(axis=1), there.sum(axis=1), shared)
    return tuple((v, replace(found.estimate(g, measure.name, v), n_pairs=int(texts[g]))) for g, v in enumerate(axis.labels))


def level(audit: str, measure: Measure, table: TextTable) -> Level:
    """The mean over all texts where the measure is defined; nan of a profile."""
    if measure.is_profile:
        value = Estimate(NAN, NAN, NAN, table.grid.blocks, len(table), measure.name)
    else:
        value = _mean_of_texts(measure.values, table, measure.name)
        if ((measure.values >= 0) & (measure.values <= 1) | np.isnan(measure.values)).all():  # a share
            value = replace(value, low=max(0.0, value.low), high=min(1.0, value.high)) if value.low == value.low else value
    return Level(audit, measure.name, table.masked, value, measure.scale, measure.fidelity, measure.objective)


def usable(flags: np.ndarray, table: TextTable) -> Estimate:
    """Share of texts that pass, bool[n], with its interval over blocks, cut to [0, 1]."""
    found = _mean_of_texts(np.asarray(flags, float), table, "usable")
    if found.value in (0.0, 1.0):  # no spread is no certainty
        far = nobody_deviates(found.n_users) if found.n_users >= FEWEST_BLOCKS else NAN
        return replace(found, low=max(0.0, found.value - far), high=min(1.0, found.value + far))
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high)) if found.low == found.low else found


def _mean_of_texts(values: np.ndarray, table: TextTable, name: str) -> Estimate:
    there = ~np.isnan(values)
    if not there.any():
        return Estimate(NAN, NAN, NAN, 0, 0, name)
    block, blocks = table.cell // table.grid.size, table.grid.blocks
    sums = np.bincount(block, np.where(there, values, 0.0), blocks)
    return means(sums[:, None], np.bincount(block, there, blocks)[:, None], units(table.grid)).estimate(0, name)


def root(value: float) -> float:
    """The signed root."""
    return float(np.sign(value) * np.sqrt(abs(value)))


def _rooted(found: Estimate) -> Estimate:
    return replace(found, value=root(found.value), low=root(found.low), high=root(found.high))


def _scaled(found: Estimate, by: float) -> Estimate:
    return (
        replace(found, value=found.value / by, low=found.low / by, high=found.high / by)
        if by > 0
        else replace(found, value=NAN, low=NAN, high=NAN)
    )


def _spread(x: np.ndarray) -> float:
    """Standard deviation of the texts' own values, 0 where they differ by rounding alone; of a profile, of the part that varies most."""
    flat = x.reshape(-1, x.shape[4]) if x.ndim == 5 else x.reshape(-1, 1)
    flat = flat[~np.isnan(flat).any(axis=1)]
    sd = float(flat.std(axis=0, ddof=1).max()) if len(flat) > 1 else 0.0
    return sd if sd > 1e-12 * float(np.abs(flat).max(initial=0.0)) else 0.0


def _absolute(mean: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(mean[..., j] - mean[..., i]))


def _by_contrast(by_pair: np.ndarray) -> np.ndarray:
    there = ~np.isnan(by_pair)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, by_pair, 0.0).sum(axis=(0, 1)) / there.sum(axis=(0, 1)))


def _mean(by_pair: np.ndarray) -> float:
    there = ~np.isnan(by_pair)
    return float(by_pair[there].mean()) if there.any() else NAN


def _less(contrast: tuple[str, str]) -> str:
    return f"{contrast[1]} minus {contrast[0]}"


def _nothing(audit: str, measure: Measure, table: TextTable, axis: Axis) -> Gap:
    none = Estimate(NAN, NAN, NAN, 0, 0, measure.name)
    return Gap(
        audit, measure.name, axis.name, table.masked, (), (axis.labels[0], axis.labels[1]), none, none, NAN, none, NAN, NAN,
        NAN, NAN, 0, table.draws,
        testable=NO_PAIR,
    )  # fmt: skip

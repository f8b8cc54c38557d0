"""Did a stage of training, or another generator, change the gaps? Cells that two runs share, paired by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evenhand.audits.intervals import LEVEL, simultaneous_alpha
from evenhand.core import Estimate
from evenhand.texts.audit import Measure
from evenhand.texts.findings import FEWEST_BLOCKS, Change, Moved
from evenhand.texts.statistics.blocks import Means, cell_means, means, quantile, strata, units
from evenhand.texts.statistics.deals import DISTANCES, deal_profiles, squared_gaps
from evenhand.texts.statistics.gaps import root
from evenhand.texts.table import TextTable

Audited = tuple[str, Measure, TextTable]  # the audit's name, and a measure of the texts of one run
NAN = float("nan")


@dataclass(frozen=True)
class _Pair:
    """One number of both runs. sums [blocks, 3]: before, after and the difference; counts int64[blocks]."""

    audit: str
    measure: Measure
    axis: str
    masked: bool
    kind: Literal["signed", "systematic", "level"]
    label: str
    sums: np.ndarray
    counts: np.ndarray
    shared: tuple[np.ndarray, ...]
    distance: str = ""


def moved(run: str, before: Sequence[Audited], after: Sequence[Audited], *, seed: int = 0, deals: int = 500) -> tuple[Moved, ...]:
    """Changes of |signed gap| and systematic gap of every measure and axis, and of the level of a fidelity, from one run to another.

    Only cells and pairs that both have count. An interval is simultaneous over all that is compared (max-t), and a change is called one
    only where it leaves 0 out. The contrast of more than two groups is the one farthest apart in both runs together: the farthest of one
    run would be smaller in the other by luck alone. Of a profile the two distances beyond what dealing anew gives are compared.
    """
    known = {(audit, measure.name, table.masked): (measure, table) for audit, measure, table in after}
    pairs: list[_Pair] = []
    for audit, measure, table in before:
        found = known.get((audit, measure.name, table.masked))
        if found is None or measure.is_profile != found[0].is_profile:
            continue
        for at, axis in enumerate(table.grid.matched if measure.compared else ()):
            if measure.is_profile:
                pairs += _profiles(audit, measure, table, *found, at, axis.name, deals, seed)
            else:
                pairs += _gaps(audit, measure, table, *found, at, axis.name)
        if measure.fidelity and not measure.is_profile:
            pairs.append(_level(audit, measure, table, *found))
    made = [means(p.sums, np.repeat(p.counts[:, None], 3, axis=1), p.shared) for p in pairs]
    alpha = _alpha(pairs, made, seed)
    return tuple(_moved(run, p, m, alpha) for p, m in zip(pairs, made))


def _gaps(audit: str, measure: Measure, table: TextTable, later: Measure, other: TextTable, at: int, axis: str) -> list[_Pair]:
    x, y = strata(measure, table, at), strata(later, other, at)
    shared, labels = units(table.grid), table.grid.matched[at].labels
    i, j = np.triu_indices(len(labels), 1)
    gap = [m[..., j] - m[..., i] for m in (cell_means(x), cell_means(y))]
    both = ~np.isnan(gap[0] + gap[1])
    count = both.sum(axis=1)
    sums = [np.where(both, g, 0.0).sum(axis=1) for g in gap]
    found = []
    if count.any():
        with np.errstate(invalid="ignore"):
            whole = [s.sum(axis=0) / count.sum(axis=0) for s in sums]
        c = int(np.nanargmax(np.abs(whole[0] + whole[1])))
        sized = [s[:, c] * (-1.0 if w[c] < 0 else 1.0) for s, w in zip(sums, whole)]
        found.append(_pair(audit, measure, axis, table, "signed", f"{labels[j[c]]} minus {labels[i[c]]}", sized, count[:, c], shared))
    return found + _excess(audit, measure, axis, table, [squared_gaps(v) for v in (x, y)])


def _profiles(
    audit: str, measure: Measure, table: TextTable, later: Measure, other: TextTable, at: int, axis: str, deals: int, seed: int
) -> list[_Pair]:
    made: list[_Pair] = []
    for distance in DISTANCES:
        excess = []
        for x in (strata(measure, table, at), strata(later, other, at)):
            apart = deal_profiles(x.reshape(-1, *x.shape[2:]), distance, deals, seed).excess
            excess.append(apart.reshape(*x.shape[:2], -1))
        made += [replace(p, distance=distance) for p in _excess(audit, measure, axis, table, excess)]
    return made


def _excess(audit: str, measure: Measure, axis: str, table: TextTable, excess: list[np.ndarray]) -> list[_Pair]:
    """excess: of both runs, [blocks, strata, pairs], nan where a pair has none."""
    both = ~np.isnan(excess[0] + excess[1])
    if not both.any():
        return []
    totals = [np.where(both, e, 0.0).sum(axis=(1, 2)) for e in excess]
    return [_pair(audit, measure, axis, table, "systematic", "", totals, both.sum(axis=(1, 2)), units(table.grid))]


def _level(audit: str, measure: Measure, table: TextTable, later: Measure, other: TextTable) -> _Pair:
    blocks, size = table.grid.blocks, table.grid.size
    cells = []
    for m, t in ((measure, table), (later, other)):
        there = ~np.isnan(m.values)
        total = np.bincount(t.cell, np.where(there, m.values, 0.0), len(t.grid))
        with np.errstate(invalid="ignore"):
            cells.append((total / np.bincount(t.cell, there, len(t.grid))).reshape(blocks, size))
    both = ~np.isnan(cells[0] + cells[1])
    sums = [np.where(both, c, 0.0).sum(axis=1) for c in cells]
    return _pair(audit, measure, "", table, "level", "", sums, both.sum(axis=1), units(table.grid))


def _pair(
    audit: str, measure: Measure, axis: str, table: TextTable, kind: Literal["signed", "systematic", "level"], label: str,
    sums: list[np.ndarray], counts: np.ndarray, shared: tuple[np.ndarray, ...],
) -> _Pair:  # fmt: skip
    return _Pair(audit, measure, axis, table.masked, kind, label, np.stack([*sums, sums[1] - sums[0]], axis=1), counts, shared)


def _alpha(pairs: Sequence[_Pair], made: Sequence[Means], seed: int) -> float:
    """The alpha of each interval: by the correlation of the differences' errors over blocks."""
    varied = [(p, m) for p, m in zip(pairs, made) if m.se[2] > 0 and m.blocks[2] >= FEWEST_BLOCKS]
    if not varied:
        return 1 - LEVEL
    rest = np.stack([np.where(p.counts > 0, p.sums[:, 2] - p.counts * m.value[2], 0.0) for p, m in varied])
    size = np.linalg.norm(rest, axis=1, keepdims=True)
    return simultaneous_alpha((rest / size) @ (rest / size).T, seed)


def _moved(run: str, pair: _Pair, made: Means, alpha: float) -> Moved:
    name, sure = pair.measure.name, int(made.blocks[2]) >= FEWEST_BLOCKS
    half = quantile(alpha, 2, float(made.df[2])) * float(made.se[2]) if sure else NAN
    before, after = (made.estimate(c, name, pair.label) for c in (0, 1))
    difference = made.estimate(2, name, pair.label, half)
    if pair.kind == "systematic" and not pair.distance:
        before, after = _rooted(before), _rooted(after)
        start = float(made.value[0])  # the change of the root, with the run before held where it is
        low, value, high = (root(start + d) - root(start) for d in (difference.low, difference.value, difference.high))
        difference = replace(difference, value=value, low=low, high=high)
    return Moved(
        run,
        pair.audit,
        name,
        pair.axis,
        pair.masked,
        before,
        after,
        difference,
        _change(difference, rises=pair.kind == "level"),
        pair.kind,
        pair.distance,
    )


def _change(difference: Estimate, rises: bool) -> Change:
    if difference.low > 0:
        return "improved" if rises else "regressed"
    if difference.high < 0:
        return "regressed" if rises else "improved"
    return "undecided"


def _rooted(found: Estimate) -> Estimate:
    return replace(found, value=root(found.value), low=root(found.low), high=root(found.high))

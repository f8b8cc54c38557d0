"""Selection of PGTA (Islam 2026, arXiv 2606.10126): for each unit of matched cells the assignment of candidates that passes the gate, is
not dominated, and lies nearest to the ideal point.

Objectives of an assignment, less is better in each: d_k, its mean disparity by every objective k of the gate; r_k, the running signed mean,
which is the size of the signed gap by k over all units so far with this one; minus its fidelity; minus each reward. Our readings: all cells
of a block are chosen at once, since choosing pairs of one axis helps that axis and not the other; r_k is there because making |gaps|
smaller reduces a signed gap by accident only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from evenhand.texts.selecting.gate import EPS_FIDELITY, FIDELITY, NONE_LOWER, TINY, Compared, block_means, disparity
from evenhand.texts.selecting.matching import Sides
from evenhand.texts.selecting.pareto import nearest_to_ideal

MOST = 100_000  # assignments of a unit that are all looked at
STARTS = 24  # of coordinate descent, where there are more
SWEEPS = 8
CHUNK = 20_000  # assignments at a time
NO_CANDIDATE = "no candidate is left"

Gate = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, Compared], np.ndarray]
Chooser = Callable[[np.ndarray], tuple[int, int]]


@dataclass(frozen=True)
class Objective:
    """values float64[units, places, candidates], or [..., parts] of a profile; nan = undefined. eps: what a unit's disparity may grow by."""

    name: str
    values: np.ndarray
    eps: float


@dataclass(frozen=True)
class Chosen:
    """candidate int64[units, places]: 0 = the original. kept bool[units]: nothing was feasible. failed[unit]: the constraints that stand
    against the assignment nearest to feasible, () where one is. alone bool[units, places, candidates, constraints]: what refuses a
    candidate that is put alone into the originals. front int64[units]: assignments that none dominates. exact bool[units]: all were looked
    at.
    """

    candidate: np.ndarray
    kept: np.ndarray
    failed: tuple[tuple[str, ...], ...]
    alone: np.ndarray
    constraints: tuple[str, ...]
    front: np.ndarray
    exact: np.ndarray


def base_disparity(values: np.ndarray, sides: Sequence[Sides]) -> float:
    """Mean disparity of the originals over all units: what eps_k is a share of. values as in Objective."""
    parts = values.ndim == 4
    means = []
    for side in sides:
        a, b = (values[:, side.pairs[:, i], 0] for i in (0, 1))
        gaps = disparity(a, b, parts)
        if np.isfinite(gaps).any():
            means.append(float(np.nanmean(gaps)))
    return float(np.mean(means)) if means else 0.0


def select_blocks(
    objectives: Sequence[Objective],
    fidelity: np.ndarray,
    allowed: np.ndarray,
    sides: Sequence[Sides],
    *,
    eps_fidelity: float = EPS_FIDELITY,
    rewards: Sequence[np.ndarray] = (),
    gate: Gate = block_means,
    choose: Chooser = nearest_to_ideal,
    most: int = MOST,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Chosen:
    """One candidate a cell, all cells of a unit at once; the originals where no assignment passes the gate.

    fidelity, and each of rewards (more is better), float64[units, places, candidates]. allowed bool[units, places, candidates]: candidates
    that are there and passed what is asked of single texts. Candidate 0, the original, may always be taken. A candidate without a value
    where the original has one is not taken. gate: block_means, or every_pair. choose: nearest_to_ideal, or weighted_sum. Every assignment
    of a unit is looked at up to `most`, else those that coordinate descent comes by from several starts, drawn by `seed`.
    """
    units, places, _ = allowed.shape
    names = (FIDELITY, *(f"disparity of {o.name}" for o in objectives), NONE_LOWER)
    taken = allowed & _defined(objectives, [fidelity, *rewards])
    taken[:, :, 0] = True
    running = [np.zeros((_value_pairs(sides), *o.values.shape[3:])) for o in objectives]
    random = np.random.default_rng(seed)
    out = Chosen(
        np.zeros((units, places), np.int64), np.zeros(units, bool), (), np.zeros((*allowed.shape, len(names)), bool), names,
        np.zeros(units, np.int64), np.zeros(units, bool),
    )  # fmt: skip
    failed: list[tuple[str, ...]] = []
    for u in range(units):
        unit = _unit([o.values[u] for o in objectives], fidelity[u], [r[u] for r in rewards], sides)
        eps = np.array([o.eps for o in objectives])

        def judge(found: _Found, unit: _Unit = unit, eps: np.ndarray = eps) -> np.ndarray:
            return gate(found.gaps, unit.gaps_o, found.fidelity, unit.fidelity_o, eps, eps_fidelity, unit.compared)

        options = [np.flatnonzero(row) for row in taken[u]]
        every = prod(len(o) for o in options)
        out.exact[u] = every <= most
        pool = (
            np.array(list(itertools.product(*options)), np.int64) if every <= most else _descend(unit, options, running, u, judge, random)
        )
        failing, values = _judged(unit, pool, running, u, judge)
        feasible = np.flatnonzero((failing <= 0).all(axis=1))
        if len(feasible):
            best, out.front[u] = choose(values[feasible])
            out.candidate[u] = pool[feasible[best]]
            failed.append(())
        else:
            out.kept[u] = True
            failed.append(_nearest(failing, pool, names))
        out.alone[u] = _alone(unit, allowed[u], judge)
        for k, signed in enumerate(unit.evaluate(out.candidate[u][None]).signed):
            running[k] += signed[0]
        if progress is not None:
            progress(u + 1, units)
    return Chosen(out.candidate, out.kept, tuple(failed), out.alone, names, out.front, out.exact)


@dataclass(frozen=True)
class _Found:
    """Of A assignments. gaps float64[A, P, K]; fidelity [A, places]; signed[k] float64[A, value pairs(, parts)]; rewards [A, R]."""

    gaps: np.ndarray
    fidelity: np.ndarray
    signed: list[np.ndarray]
    rewards: np.ndarray


@dataclass(frozen=True)
class _Unit:
    """One unit, its candidates' values looked up in tables. gap float64[K, P, candidates, candidates]. difference[k] float64[value pairs,
    places]: means over a pair of values of the one's cells less the other's. of_pair float64[value pairs]: weights, axes alike.
    """

    gap: np.ndarray
    compared: Compared
    values: list[np.ndarray]
    difference: list[np.ndarray]
    of_pair: np.ndarray
    fidelity: np.ndarray
    rewards: list[np.ndarray]

    @property
    def gaps_o(self) -> np.ndarray:
        return self.gap[:, :, 0, 0].T

    @property
    def fidelity_o(self) -> np.ndarray:
        return np.asarray(self.fidelity[:, 0])

    def evaluate(self, a: np.ndarray) -> _Found:
        i, j = self.compared.pairs.T
        gaps = self.gap[:, np.arange(len(i)), a[:, i], a[:, j]]
        places = np.arange(a.shape[1])
        signed = [np.einsum("vn,an...->av...", m, v[places, a]) for m, v in zip(self.difference, self.values)]
        rewards = [r[places, a].mean(axis=1) for r in self.rewards]
        return _Found(np.moveaxis(gaps, 0, 2), self.fidelity[places, a], signed, np.stack(rewards, 1) if rewards else np.empty((len(a), 0)))

    def objectives(self, found: _Found, running: Sequence[np.ndarray], before: int) -> np.ndarray:
        """float64[A, M], less is better in each."""
        d = np.einsum("apk,pk->ak", found.gaps, self.compared.weight)
        r = [self._size(total + signed) / (before + 1) for total, signed in zip(running, found.signed)]
        p = (found.fidelity @ self.compared.sides.T).sum(axis=1) / max(len(self.compared.sides), 1)  # a unit without texts has no side
        return np.column_stack([d, *r, -p, -found.rewards])

    def _size(self, signed: np.ndarray) -> np.ndarray:
        size = np.abs(signed)
        return np.asarray((size.sum(axis=2) if signed.ndim == 3 else size) @ self.of_pair)


Judge = Callable[[_Found], np.ndarray]


def _unit(values: list[np.ndarray], fidelity: np.ndarray, rewards: list[np.ndarray], sides: Sequence[Sides]) -> _Unit:
    pairs = np.concatenate([s.pairs for s in sides])
    axis = np.repeat(np.arange(len(sides)), [len(s.pairs) for s in sides])
    count = np.array([len(s.cells) * (len(s.cells) - 1) // 2 for s in sides])
    value_pair = np.repeat(np.arange(count.sum()), np.repeat([s.cells.shape[1] for s in sides], count))
    gap = np.stack([disparity(v[pairs[:, 0], :, None], v[pairs[:, 1], None], v.ndim == 3) for v in values])
    valid = np.isfinite(gap[:, :, 0, 0])
    weight = np.zeros((len(pairs), len(values)))
    difference = []
    for k in range(len(values)):
        compared = [np.flatnonzero(valid[k] & (axis == i)) for i in range(len(sides))]
        compared = [rows for rows in compared if len(rows)]
        for rows in compared:
            weight[rows, k] = 1 / len(rows) / len(compared)
        matrix = np.zeros((count.sum(), len(fidelity)))
        for v in range(count.sum()):
            rows = np.flatnonzero(valid[k] & (value_pair == v))
            np.add.at(matrix[v], pairs[rows, 0], -1 / max(len(rows), 1))
            np.add.at(matrix[v], pairs[rows, 1], 1 / max(len(rows), 1))
        difference.append(matrix)
    known = np.isfinite(fidelity[:, 0])
    inside = [np.isin(np.arange(len(known)), cells) & known for s in sides for cells in s.cells]
    sides_of = np.array([row / row.sum() for row in inside if row.any()]).reshape(-1, len(known))
    return _Unit(
        np.nan_to_num(gap), Compared(pairs, weight, sides_of), [np.nan_to_num(v) for v in values], difference,
        np.repeat(1 / count, count) / len(sides), np.nan_to_num(fidelity), [np.nan_to_num(r) for r in rewards],
    )  # fmt: skip


def _defined(objectives: Sequence[Objective], more: Sequence[np.ndarray]) -> np.ndarray:
    """bool[units, places, candidates]: has a value wherever the original has one."""
    known = [np.isfinite(v) if v.ndim == 3 else np.isfinite(v).all(axis=3) for v in (*(o.values for o in objectives), *more)]
    return np.logical_and.reduce([k | ~k[:, :, :1] for k in known])


def _value_pairs(sides: Sequence[Sides]) -> int:
    return sum(len(s.cells) * (len(s.cells) - 1) // 2 for s in sides)


def _judged(unit: _Unit, pool: np.ndarray, running: Sequence[np.ndarray], before: int, judge: Judge) -> tuple[np.ndarray, np.ndarray]:
    """(failing float64[A, constraints], objectives float64[A, M])."""
    failing, values = [], []
    for start in range(0, len(pool), CHUNK):
        found = unit.evaluate(pool[start : start + CHUNK])
        failing.append(judge(found))
        values.append(unit.objectives(found, running, before))
    return np.concatenate(failing), np.concatenate(values)


def _descend(
    unit: _Unit, options: Sequence[np.ndarray], running: Sequence[np.ndarray], before: int, judge: Judge, random: np.random.Generator
) -> np.ndarray:
    """int64[A, places]: all assignments that coordinate descent looked at, in lexicographic order. Every start weighs the objectives in its
    own way (the first one alike), constraints before all: descents end in different parts of the front.
    """
    a = np.stack([random.choice(o, STARTS) for o in options], axis=1)
    a[0] = 0
    for s in range(1, min(STARTS // 2, max(len(o) for o in options))):
        a[s] = [o[s] if s < len(o) else 0 for o in options]
    weights = random.dirichlet(np.ones(len(unit.gap) * 2 + 1 + len(unit.rewards)), STARTS)
    weights[0] = 1 / weights.shape[1]
    near = np.concatenate(
        [np.zeros((1, len(options)), np.int64), *(_changed(np.zeros((1, len(options)), np.int64), n, o) for n, o in enumerate(options))]
    )
    values = _judged(unit, near, running, before, judge)[1]
    span = np.ptp(values, axis=0)
    low, span = values.min(axis=0), np.where(span > TINY, span, 1.0)
    seen = [near]
    for _ in range(SWEEPS):
        last = a.copy()
        for place, choice in enumerate(options):
            tried = _changed(a, place, choice)
            failing, values = _judged(unit, tried, running, before, judge)
            score = failing.sum(axis=1) * 1e3 + (((values - low) / span) * np.tile(weights, (len(choice), 1))).sum(axis=1)
            a = tried.reshape(len(choice), STARTS, -1)[score.reshape(len(choice), STARTS).argmin(axis=0), np.arange(STARTS)]
            seen.append(tried)
        if (a == last).all():
            break
    return np.asarray(np.unique(np.concatenate(seen), axis=0))


def _changed(a: np.ndarray, place: int, choice: np.ndarray) -> np.ndarray:
    """int64[len(choice) · A, places]: every assignment with every choice in this place."""
    out = np.tile(a, (len(choice), 1))
    out[:, place] = np.repeat(choice, len(a))
    return out


def _nearest(failing: np.ndarray, pool: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """What stands against the assignment, other than all originals, that fails least."""
    changed = np.flatnonzero(pool.any(axis=1))
    if not len(changed):
        return (NO_CANDIDATE,)
    least = changed[failing[changed].sum(axis=1).argmin()]
    return tuple(name for name, share in zip(names, failing[least]) if share > 0)


def _alone(unit: _Unit, allowed: np.ndarray, judge: Judge) -> np.ndarray:
    """bool[places, candidates, constraints]."""
    out = np.zeros((*allowed.shape, len(unit.gap) + 2), bool)
    place, candidate = np.nonzero(allowed)
    a = np.zeros((len(place), len(allowed)), np.int64)
    a[np.arange(len(place)), place] = candidate
    if len(place):
        out[place, candidate] = judge(unit.evaluate(a)) > 0
    out[:, 0] = False
    return out

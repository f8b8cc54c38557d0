"""Two instruments for the same emotions: how far they agree, and which emotions both find more in the texts of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.texts.audit import SURE, Tabled, Tested
from evenhand.texts.grid import Axis
from evenhand.texts.reading.contrasts import against, cell_shares, contrasts, largest_z, share_beyond, sides, strata
from evenhand.texts.table import TextTable

NAN = float("nan")
PAIRS = 20_000  # of texts, drawn by a fixed lot, over which distances are compared
SAID = 5  # emotions of a sentence at most; the table has the others


@dataclass(frozen=True)
class Instruments:
    """Two instruments on the same texts: probabilities float64[n, emotions] of the emotions that both have."""

    table: TextTable
    instruments: tuple[str, str]
    emotions: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray

    def agreement(self) -> str:
        r = _correlations(self.first, self.second)
        apart = _distances(profile(self.first), profile(self.second))
        if np.isnan(r).all() or np.isnan(apart):
            return "Whether the two instruments agree cannot be told from these texts."
        return (
            f"{self.instruments[0].capitalize()} and {self.instruments[1]} correlate {np.nanmedian(r):.2f} over texts (median of {len(r)} emotions), and "
            f"{apart:.2f} in how far two texts are apart."
        )

    def correlations(self) -> Tabled:
        means = [(float(a), float(b)) for a, b in zip(self.first.mean(axis=0), self.second.mean(axis=0))]
        r = _correlations(self.first, self.second)
        rows = tuple((e, *m, None if np.isnan(c) else float(c)) for e, m, c in zip(self.emotions, means, r))
        heads = ("emotion", *(f"mean P, {i}" for i in self.instruments), "correlation over texts")
        return Tabled("Do the two instruments agree?", heads, rows)

    def named(self, axis: Axis) -> tuple[Tested, Tabled, str]:
        """Of one axis: whether any emotion is found by both instruments, which, and a sentence."""
        test = f"an emotion that {self.instruments[0]} and {self.instruments[1]} both find"
        heads = (
            "emotion",
            "more or less in",
            "than in",
            *(f"z, {i}" for i in self.instruments),
            *(f"p, {i}" for i in self.instruments),
            "named",
        )
        cells = strata(self.table, axis)
        if not len(cells):
            return Tested(test, axis.name, NAN, NAN, "not testable: no whole set of matched cells"), Tabled("", heads, ()), ""
        shares = cell_shares(self.table)
        over = sides(axis)
        zs, ps = [], []
        for values in (self.first, self.second):
            z, largest = largest_z(contrasts(shares @ values, cells), over)
            zs.append(z)
            ps.append(share_beyond(z, largest))
        both = np.where(np.sign(zs[0]) == np.sign(zs[1]), np.maximum(*ps), 1.0)  # [emotions, sides]
        e, s = np.unravel_index(np.argmin(both), both.shape)
        note = f"p: the larger of both instruments', each for the largest |z| of {len(self.emotions)} emotions when labels are dealt anew in {len(cells)} strata"
        tested = Tested(test, axis.name, float(np.min(np.abs([z[e, s] for z in zs]))), float(both[e, s]), note)
        rows = tuple(
            (self.emotions[e], axis.labels[side], against(axis, side), *(float(z[e, s]) for z in zs), *(float(p[e, s]) for p in ps), _yes(both[e, s]))
            for s, side in enumerate(over) for e in np.lexsort((-np.min(np.abs([z[:, s] for z in zs]), axis=0), both[:, s]))[:10].tolist()
        )  # fmt: skip
        table = Tabled(f"Emotions by {axis.name}: the ten that both instruments find most", heads, rows, axis.name)
        return tested, table, _sentence(axis, self.emotions, zs[0], both, over)


def _yes(p: float) -> str:
    return "yes" if p <= SURE else "no"


def _sentence(axis: Axis, emotions: Sequence[str], z: np.ndarray, p: np.ndarray, over: Sequence[int]) -> str:
    beyond = [(p[e, s], -abs(z[e, s]), e, s) for s in range(len(over)) for e in np.flatnonzero(p[:, s] <= SURE).tolist()]
    if not beyond:
        return f"By {axis.name}, no emotion is found by both instruments."
    said = [
        f"{'more' if z[e, s] > 0 else 'less'} {emotions[e]} for {axis.labels[over[s]]} than for {against(axis, over[s])}"
        for _, _, e, s in sorted(beyond)[:SAID]
    ]
    rest = f" (and {len(beyond) - SAID} more)" if len(beyond) > SAID else ""
    return f"By {axis.name}, both instruments find {'; '.join(said)}{rest}, at {SURE:g} over all emotions, other audits' tests not allowed for."


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of every column, over rows: float64[columns], nan where nothing varies."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray(np.where(scale > 1e-12, (a * b).sum(axis=0) / np.where(scale > 1e-12, scale, 1.0), NAN))


def _distances(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the L1 distances of pairs of texts: all pairs of few texts, else `PAIRS` drawn by a fixed lot."""
    n = len(a)
    if n < 3:
        return NAN
    if n * (n - 1) // 2 <= PAIRS:
        i, j = np.triu_indices(n, 1)
    else:
        i, j = np.random.default_rng(0).integers(0, n, (2, PAIRS))
        i, j = i[i != j], j[i != j]
    apart = [np.abs(x[i] - x[j]).sum(axis=1)[:, None] for x in (a, b)]
    return float(_correlations(*apart)[0])


def profile(probabilities: np.ndarray) -> np.ndarray:
    """Each row over its sum."""
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

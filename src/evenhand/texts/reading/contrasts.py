"""Many numbers a cell at once - words, emotions - between one value of a matched axis and the rest: standardised differences, and what the
largest of them would be if no text depended on the value (max-|z|; Westfall & Young 1993).

A stratum is a set of cells that differ in the axis alone, one a value. Under that null its cells could change places: labels are dealt anew
inside every stratum, all draws of a cell together. Strata with a cell without text are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.texts.grid import Axis
from evenhand.texts.table import TextTable

DEALS = 2000  # the arrangement as it is, and 1,999 at random: the smallest p is .0005
AT_ONCE = 4_000_000  # numbers of a chunk of deals, which bounds memory
CLOSE = 1 - 1e-9  # what is equal but for the order of adding up counts as reached


def strata(table: TextTable, axis: Axis) -> np.ndarray:
    """int64[strata, values]: cells that differ in this axis alone, every one of them with a text."""
    shape = [len(a) for a in table.grid.axes]
    at = next(i for i, a in enumerate(table.grid.axes) if a is axis)
    cells = np.moveaxis(np.arange(len(table.grid)).reshape(shape), at, -1).reshape(-1, len(axis))
    there = np.zeros(len(table.grid), bool)
    there[table.cell] = True
    return np.asarray(cells[there[cells].all(axis=1)])


def stratum_of(table: TextTable, axis: Axis) -> np.ndarray:
    """int64[n]: the first cell of each text's stratum, whole or not."""
    shape = [len(a) for a in table.grid.axes]
    at = next(i for i, a in enumerate(table.grid.axes) if a is axis)
    first = table.grid.cells[table.cell].copy()
    first[:, at] = 0
    return np.asarray(np.ravel_multi_index(tuple(first.T), shape))


def stratum_means(table: TextTable, axis: Axis, values: np.ndarray) -> np.ndarray:
    """values float64[n, m] of the texts → the mean over the cells of each text's stratum that have texts, every cell weighing the same."""
    weight = 1 / np.bincount(table.cell, minlength=len(table.grid))[table.cell]
    stratum = np.unique(stratum_of(table, axis), return_inverse=True)[1]
    total = np.zeros((stratum.max(initial=-1) + 1, values.shape[1]))
    np.add.at(total, stratum, values * weight[:, None])
    return np.asarray((total / np.bincount(stratum, weight)[:, None])[stratum])


def sides(axis: Axis) -> tuple[int, ...]:
    """The values that are set against the rest: of two the second, which says all; else each."""
    return (1,) if len(axis) == 2 else tuple(range(len(axis)))


def against(axis: Axis, side: int) -> str:
    """What the rest is called."""
    return axis.labels[1 - side] if len(axis) == 2 else "the rest"


def cell_shares(table: TextTable) -> Any:
    """Sparse [cells, texts]: times values of texts = means over a cell's texts; a row of zeros for a cell without any."""
    from scipy.sparse import csr_matrix

    weight = 1 / np.bincount(table.cell, minlength=len(table.grid))[table.cell]
    return csr_matrix((weight, (table.cell, np.arange(len(table)))), shape=(len(table.grid), len(table)))


@dataclass(frozen=True)
class Contrasts:
    """x [strata · values, m], sparse or dense: the numbers of every cell, stratum by stratum. mean, sd float64[m]: of a value's sum over
    strata when labels are dealt anew, exactly.
    """

    x: Any
    n_strata: int
    n_values: int
    mean: np.ndarray
    sd: np.ndarray

    def sums(self, label: np.ndarray, side: int) -> np.ndarray:
        """label int[deals, strata, values], which cell of the stratum stands for each value → sums over strata float64[m, deals] of one
        value.
        """
        deals = len(label)
        chosen = np.zeros((self.n_strata * self.n_values, deals))
        rows = np.arange(self.n_strata) * self.n_values + label[:, :, side]
        chosen[rows.ravel(), np.repeat(np.arange(deals), self.n_strata)] = 1.0
        return np.asarray(self.x.T @ chosen)

    def z(self, sums: np.ndarray) -> np.ndarray:
        """Standardised: 0 where nothing varies."""
        return np.asarray((sums - self.mean[:, None]) / np.where(self.sd > 0, self.sd, np.inf)[:, None])

    def dealt(self, seed: int = 0, deals: int = DEALS) -> Iterator[np.ndarray]:
        """int8[some, strata, values], chunk by chunk; the very first arrangement is the one that is."""
        size = max(1, AT_ONCE // max(self.n_strata * self.n_values, self.x.shape[1], 1))
        as_it_is = np.broadcast_to(np.arange(self.n_values, dtype=np.int8), (1, self.n_strata, self.n_values))
        for start in range(0, deals, size):
            rng = np.random.default_rng([seed, 41, start])
            label = rng.permuted(np.broadcast_to(as_it_is, (min(size, deals - start), *as_it_is.shape[1:])), axis=2)
            if start == 0:
                label[0] = as_it_is[0]
            yield label


def contrasts(values: Any, cells: np.ndarray) -> Contrasts:
    """values [cells of the grid, m], sparse or dense, none of them nan; cells: `strata`."""
    from scipy.sparse import csr_matrix

    n, v = cells.shape
    x = csr_matrix(values)[cells.ravel()]
    together = csr_matrix((np.ones(n * v), np.arange(n * v), np.arange(0, n * v + 1, v)), shape=(n, n * v))
    mean = (together @ x) / v
    squared = mean.multiply(mean).sum(axis=0)
    variance = np.asarray(x.multiply(x).sum(axis=0) / v - squared).ravel()
    rounding = 1e-12 * np.asarray(squared).ravel()
    sd = np.sqrt(np.where(variance > rounding, variance, 0.0))
    return Contrasts(x, n, v, np.asarray(mean.sum(axis=0)).ravel(), sd)


def share_beyond(found: np.ndarray, dealt: np.ndarray) -> np.ndarray:
    """p of each of `found`: the share of `dealt`, the arrangement as it is among them, that reaches it."""
    ordered = np.sort(dealt)
    return np.asarray((len(dealt) - np.searchsorted(ordered, np.abs(found) * CLOSE)) / len(dealt))


def largest_z(c: Contrasts, over: tuple[int, ...], seed: int = 0, deals: int = DEALS) -> tuple[np.ndarray, np.ndarray]:
    """(z float64[m, sides] as it is, the largest |z| of every deal float64[deals], the first as it is)."""
    found, largest = None, []
    for label in c.dealt(seed, deals):
        z = np.stack([c.z(c.sums(label, side)) for side in over], axis=1)  # [m, sides, deals]
        found = z[:, :, 0].copy() if found is None else found
        largest.append(np.abs(z).max(axis=(0, 1), initial=0.0))
    assert found is not None
    return found, np.concatenate(largest)

"""What pairs add to the errors of statistics, summed over whatever pairs share, batch by batch.

z_ik is what pair i adds to value k, and each user is in a cell or in none. With S_ck the sum of z over the pairs of cluster c: clusters inside one
user make moments Σ_c S_c S_c' of their cell, clusters that reach over users (and batches) are kept as sums by cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse

from evenhand.audits.clusters import Clusters, Shared, factor

DENSE = 30_000_000  # entries of a units x cells table that is summed densely (240 MB), twice as fast as sparsely

AT_ONCE = 1 << 14  # clusters whose values are multiplied at once: they stay in the processor's cache

Sums: TypeAlias = np.ndarray | sparse.csr_array


@dataclass(frozen=True)
class Moments:
    """products float64[cells + 1, K, K]: Σ S S' over clusters that lie within one cell each; many int64[cells + 1]: how many there are. The
    first cell is that of users in none. sign: of the part in a variance.
    """

    products: np.ndarray
    many: np.ndarray
    sign: float = 1.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.many + other.many, self.sign)


@dataclass(frozen=True)
class Table:
    """sums: K tables [units, cells + 1] of z, the first column that of users in no cell; lone: units of a single pair. The last value is above 0
    in every pair, so that where its sum is 0 there is none.
    """

    sums: tuple[Sums, ...]
    lone: Moments
    sign: float

    def __add__(self, other: Table) -> Table:
        return Table(tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)), self.lone + other.lone, self.sign)

    def of_cell(self, cell: int) -> Moments:
        """Σ S S' over the units of one cell, -1 for users in none, and how many of them have pairs there."""
        columns = np.stack([column(s, cell + 1) for s in self.sums])
        many = np.count_nonzero(columns[-1]) + self.lone.many[cell + 1]
        return Moments(columns @ columns.T + self.lone.products[cell + 1], many, self.sign)


@dataclass(frozen=True)
class Spread:
    """users: every user a cluster; within and across: those of `Shared`."""

    users: Moments
    within: tuple[Moments, ...]
    across: tuple[Table, ...]

    def __add__(self, other: Spread) -> Spread:
        within = tuple(a + b for a, b in zip(self.within, other.within, strict=True))
        return Spread(self.users + other.users, within, tuple(a + b for a, b in zip(self.across, other.across, strict=True)))

    def covariance(self) -> tuple[np.ndarray, np.ndarray]:
        """(V_user, V), each float64[K, K], where users are in no cell. Each part carries G / (G - 1) for its G clusters."""
        by_user = _scaled(self.users.products[0], self.users.many[0])
        parts = [(1, table.of_cell(-1)) for table in self.across]
        both = by_user + sum(m.sign * _scaled(m.products, m.many) for _, m in parts)
        return by_user, both - sum(m.sign * _scaled(m.products[0], m.many[0]) for m in self.within)


def _scaled(products: np.ndarray, many: np.ndarray) -> np.ndarray:
    return np.asarray(products * factor(many) ** 2)


def spread(shared: Shared | None, user: np.ndarray, cell: np.ndarray, cells: int, values: Sequence[np.ndarray]) -> Spread:
    """Of one batch. user int64[n]; cell int64[users of the batch], -1 = none; values: K arrays float64[n]; shared: its clusters, None: users
    alone.
    """
    sums = [np.bincount(user, v, minlength=len(cell)) for v in values]
    there = np.flatnonzero(sums[-1])
    users = moments([s[there] for s in sums], cell[there], cells)
    if shared is None:
        return Spread(users, (), ())
    place = cell[user]
    within = tuple(moments([c.sums(v) for v in values], cell[c.owners(user)], cells, c.sign) for c in shared.within)
    return Spread(users, within, tuple(_over(c, place, cells, values) for c in shared.across))


def moments(sums: Sequence[np.ndarray], cell: np.ndarray, cells: int, sign: float = 1.0) -> Moments:
    """sums: K arrays float64[clusters]; cell int64[clusters], -1 = none."""
    k, small = len(sums), np.uint16 if cells < 1 << 16 else np.int64  # which sorts in linear time
    products, many = np.zeros((cells + 1, k, k)), np.bincount(cell + 1, minlength=cells + 1)
    for start in range(0, len(cell), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        place = cell[rows] + 1
        some = np.stack([s[rows] for s in sums])
        if cells:
            some = some[:, np.argsort(place.astype(small), kind="stable")]
        counts = np.bincount(place, minlength=cells + 1)
        for g, end in zip(np.flatnonzero(counts), np.cumsum(counts)[counts > 0], strict=True):
            own = some[:, end - counts[g] : end]
            products[g] += own @ own.T
    return Moments(products, many, sign)


def _over(clusters: Clusters, cell: np.ndarray, cells: int, values: Sequence[np.ndarray]) -> Table:
    """Clusters that reach over users. A prompt lies in many cells: what they share is covariance."""
    assert clusters.of is not None
    of, many = clusters.of, clusters.many - clusters.lone
    lone = np.flatnonzero(of >= many) if clusters.lone else np.zeros(0, np.int64)
    alone = moments([v[lone] for v in values], cell[lone], cells)
    if clusters.lone:
        rest = np.flatnonzero(of < many)
        of, cell, values = of[rest], cell[rest], [v[rest] for v in values]
    return Table(tuple(table(of, cell + 1, v, (many, cells + 1)) for v in values), alone, clusters.sign)


def table(row: np.ndarray, cell: np.ndarray, values: np.ndarray | None, shape: tuple[int, int]) -> Sums:
    """Sums of values by (row, cell), of each of the rows [n] or [n, 2] of a value; None: counts."""
    if row.ndim == 2:
        return table(row[:, 0], cell, values, shape) + table(row[:, 1], cell, values, shape)
    if shape[0] * shape[1] > DENSE:
        return sparse.csr_array((np.ones(len(row), np.int64) if values is None else values, (row, cell)), shape=shape)
    place = row if shape[1] == 1 else row * shape[1] + cell
    return np.bincount(place, values, minlength=shape[0] * shape[1]).reshape(shape)


def at(sums: Sums, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Entries [n] of a table."""
    found = sums[row, column]  # of a sparse table an array, or a sparse one: that depends on the version of scipy
    return np.asarray(found.toarray() if sparse.issparse(found) else found).ravel()


def column(sums: Sums, number: int) -> np.ndarray:
    """One column [rows] of a table."""
    return sums[:, number] if isinstance(sums, np.ndarray) else np.asarray(sums[:, [number]].toarray()).ravel()

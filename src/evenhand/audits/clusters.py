"""Pairs that go together: which of them share a prompt, a response, or both with the same user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Clusters:
    """of int64[n] or int64[n, 2]: the cluster, or both clusters, of each pair, 0..many-1. None: every pair is its own. sign: of its
    part in the sum. lone: so many of the last clusters are single pairs, which no other batch can add to. first int64[many]: a pair of each
    cluster, where that is known.
    """

    of: np.ndarray | None
    many: int
    sign: float
    lone: int = 0
    first: np.ndarray | None = None

    def sums(self, values: np.ndarray) -> np.ndarray:
        """float64[many] from values [n]."""
        if self.of is None:
            return values
        if self.of.ndim == 1:
            return np.bincount(self.of, values, minlength=self.many)
        return np.bincount(self.of[:, 0], values, minlength=self.many) + np.bincount(self.of[:, 1], values, minlength=self.many)

    def owners(self, user: np.ndarray) -> np.ndarray:
        """The user int64[many] of each cluster, where it is inside one. user int64[n]."""
        if self.of is None:
            return user
        if self.first is not None:
            return user[self.first]
        owner = np.zeros(self.many, np.int64)
        owner[self.of] = user if self.of.ndim == 1 else user[:, None]
        return owner

    def take(self, rows: np.ndarray) -> Clusters:
        """Those of some pairs, numbered anew: clusters of which no pair is left would only cost time."""
        if self.of is None:
            return Clusters(None, len(rows) if rows.dtype != bool else int(rows.sum()), self.sign)
        picked = self.of[rows]
        counts = np.bincount(picked.ravel(), minlength=self.many)
        return Clusters((np.cumsum(counts > 0) - 1)[picked], int((counts > 0).sum()), self.sign)


@dataclass(frozen=True)
class Shared:
    """name: "prompts" or "responses". across: the clusters whose parts make V_unit, the units first; within: those of V_(user and unit),
    each inside one user.
    """

    name: str
    across: tuple[Clusters, ...]
    within: tuple[Clusters, ...]

    @property
    def units(self) -> int:
        return self.across[0].many

    def take(self, rows: np.ndarray) -> Shared:
        return Shared(self.name, tuple(c.take(rows) for c in self.across), tuple(c.take(rows) for c in self.within))


def numbered(key: np.ndarray) -> tuple[np.ndarray, int]:
    """int64[n] in 0..many-1 in the order of the keys, and many."""
    if len(key) == 0:
        return np.zeros(0, np.int64), 0
    low, high = int(key.min()), int(key.max())
    if high - low < 4 * len(key) + 1000:
        counts = np.bincount(key - low)
        return (np.cumsum(counts > 0) - 1)[key - low], int((counts > 0).sum())
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    out = np.empty(len(key), np.int64)
    out[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    return out, int(out[order[-1]]) + 1


@dataclass(frozen=True)
class Distinct:
    """Equal keys together. of int64[n]: number of each row's key, None where all differ: then rows are the numbers; first int64[many]: the
    first row of each key.
    """

    of: np.ndarray | None
    first: np.ndarray

    @property
    def many(self) -> int:
        return len(self.first)


def distinct(key: np.ndarray) -> Distinct:
    """key int64[n]. Keys in rising order, as rows sorted by user and prompt have, cost no sort."""
    if len(key) == 0:
        return Distinct(None, np.zeros(0, np.int64))
    if (key[1:] >= key[:-1]).all():
        order, ordered = None, key
    else:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = np.flatnonzero(new)
    if len(first) == len(key):
        return Distinct(None, np.arange(len(key)))
    number = np.cumsum(new) - 1
    if order is None:
        return Distinct(number, first)
    of = np.empty(len(key), np.int64)
    of[order] = number
    return Distinct(of, order[first])


def factor(clusters: np.ndarray) -> np.ndarray:
    """sqrt(G / (G - 1)) for G clusters, the small-sample factor of a standard error; 1 for a single cluster."""
    many = np.maximum(clusters, 2)
    return np.where(clusters > 1, np.sqrt(many / (many - 1)), 1.0)

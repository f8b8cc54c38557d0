"""Pairs arranged by user, and means over users with the covariance of their errors.

The unit is the user: every user counts once, whatever his or her number of pairs. With y_i the metric of pair i, n_u the pairs of user u
(by weight) and U users,  theta = 1/U Σ_u 1/n_u Σ_{i of u} y_i,  and pair i moves it by  psi_i = (y_i - theta) / (U n_u).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from evenhand.audits.outcomes import Outcomes
from evenhand.audits.twoway import Clusters, Shared, factor, share_units, within_users
from evenhand.core import EvenhandError, Groups

DENSE = 30_000_000  # entries of a units x groups table that is summed densely (240 MB), twice as fast as sparsely


@dataclass(frozen=True)
class Sample:
    """n pairs of U users in G groups. Cell G, the last, is all users together, also those in no group.

    number int64[U]: the users' own numbers. cell int64[U]: group, -1 = none. pairs int64[U]. user int64[n] in 0..U-1. share float64[n]:
    a pair's weight within its user, sums to 1 a user. shared: the prompts or responses that several users judged, None if there are none. within: which pairs of one
    user go together, through a prompt or a response.
    """

    number: np.ndarray
    cell: np.ndarray
    cells: int
    pairs: np.ndarray
    user: np.ndarray
    share: np.ndarray
    shared: Shared | None
    within: tuple[Clusters, ...] = ()

    def user_means(self, value: np.ndarray) -> np.ndarray:
        """float64[U] from value [n]. Shares add up to 1 but for rounding; divided by their sum, a mean of values up to 1 is at most 1."""
        users = len(self.number)
        return np.bincount(self.user, self.share * value, minlength=users) / np.bincount(self.user, self.share, minlength=users)

    def right(self, accuracy: np.ndarray) -> np.ndarray:
        """Right answers of each user, float64[U], from `user_means` of `correct`: whole numbers and halves (ties), since that is what they
        are counts of. Exact without weights; with them the nearest half to what the weighted mean makes of the user's pairs.
        """
        return np.round(2 * accuracy * self.pairs) / 2

    def of_users(self, keep: np.ndarray, value: np.ndarray) -> tuple[Sample, np.ndarray]:
        """The pairs of some users, bool[U], and value [n] of these pairs."""
        if keep.all():
            return self, value
        rows = keep[self.user]
        user = (np.cumsum(keep) - 1)[self.user[rows]]
        shared = None if self.shared is None else self.shared.take(rows)
        within = () if shared is None else shared.within
        return Sample(self.number[keep], self.cell[keep], self.cells, self.pairs[keep], user, self.share[rows], shared, within), value[rows]

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and pairs of each cell, int64[G + 1]."""
        seen = self.cell >= 0
        users = np.bincount(self.cell[seen], minlength=self.cells)
        pairs = np.bincount(self.cell[seen], self.pairs[seen], minlength=self.cells).astype(np.int64)
        return np.append(users, len(self.number)), np.append(pairs, self.pairs.sum())


def arrange(outcomes: Outcomes, groups: Groups) -> Sample:
    """The users who have pairs, numbered densely. Errors: no pair; a user without an entry in `groups`."""
    if len(outcomes) == 0:
        raise EvenhandError(
            f"'{outcomes.model}', '{outcomes.split}': no pair to audit. Expected: at least one pair with a strict preference."
        )
    if int(outcomes.user.max()) >= len(groups.of_user):
        raise EvenhandError(
            f"User number {int(outcomes.user.max())} has no group entry. Expected: one entry of Groups.of_user for each of the users"
            f" (found {len(groups.of_user)}; -1 = in no group)."
        )
    counts = np.bincount(outcomes.user)
    number = np.flatnonzero(counts)
    dense = np.cumsum(counts > 0) - 1
    user = dense[outcomes.user]
    weight = np.ones(len(user)) if outcomes.weight is None else outcomes.weight.astype(np.float64)
    share = weight / np.bincount(user, weight)[user]
    responses = None if outcomes.chosen is None or outcomes.rejected is None else (outcomes.chosen, outcomes.rejected)
    cell = groups.of_user[number].astype(np.int64)
    shared = share_units(user, outcomes.prompt, responses)
    within = within_users(user, outcomes.prompt, responses, shared)
    return Sample(number, cell, len(groups), counts[number], user, share, shared, within)


@dataclass(frozen=True)
class Means:
    """Means of C columns (metrics or models) in each of G + 1 cells, with the covariance of their errors, K = C · (G + 1).

    value float64[C, G + 1], nan for an empty cell. by_user float64[K, K] clusters by user; by_both by user and shared unit (see
    `twoway`), None where users share nothing. Entry c · (G + 1) + g is column c in cell g. users, pairs, units int64[G + 1]; units
    counts what users share, and unit is one of them in a word.
    """

    value: np.ndarray
    by_user: np.ndarray
    by_both: np.ndarray | None
    users: np.ndarray
    pairs: np.ndarray
    units: np.ndarray
    unit: str = "prompt"


def means(sample: Sample, columns: Sequence[np.ndarray]) -> Means:
    """Means over users of value arrays [n] and their clustered covariance.

    by_user = Σ_u psi_u psi_u' · U/(U-1);  by_both = by_user + the same by shared unit - the same by (user and unit).
    """
    cells = sample.cells + 1
    users, pairs = sample.counts()
    seen = sample.cell >= 0
    average = np.stack([sample.user_means(v) for v in columns])  # [C, U]
    value = np.full((len(columns), cells), np.nan)
    filled = users[:-1] > 0
    for c, a in enumerate(average):
        sums = np.bincount(sample.cell[seen], a[seen], minlength=sample.cells)
        value[c, :-1][filled] = sums[filled] / users[:-1][filled]
        value[c, -1] = a.mean()
    by_user = _gram(average, value, users, sample.cell, 1.0 / _at(users, sample.cell), 1.0 / users[-1], users)
    if sample.shared is None:
        return Means(value, by_user, None, users, pairs, np.zeros(cells, np.int64))
    by_both = by_user.copy()
    for clusters in sample.shared.within:
        by_both -= clusters.sign * _gram_within(sample, clusters, columns, value, users)
    units = []
    for clusters in sample.shared.across:
        part, counts = _gram_across(sample, clusters, columns, value, users)
        by_both += clusters.sign * part
        units.append(counts)
    return Means(value, by_user, by_both, users, pairs, units[0], sample.shared.name.removesuffix("s"))


def _at(counts: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The count of each member's own cell (1 for members of none, so that dividing is safe)."""
    return np.where(cell >= 0, counts[cell], 1)


def _gram(
    y: np.ndarray,
    value: np.ndarray,
    users: np.ndarray,
    cell: np.ndarray,
    share: np.ndarray,
    share_all: np.ndarray | float,
    clusters: np.ndarray,
) -> np.ndarray:
    """Σ psi psi' over clusters that lie within one cell each (users, visits). y [C, m] values, share [m] what a member weighs in its
    cell's mean.
    """
    columns, groups = len(y), len(users) - 1
    centre = np.append(
        np.nan_to_num(value[:, :-1]), np.zeros((columns, 1)), axis=1
    )  # the last entry serves cell -1, whose share is dropped
    place = cell + 1
    own, joint = (y - centre[:, cell]) * share, (y - value[:, -1:]) * share_all  # psi in the member's own cell, and in the cell of all
    small = np.tile(factor(clusters), columns)
    out = np.zeros((columns, groups + 1, columns, groups + 1))
    inside = np.arange(groups)
    for c in range(columns):
        for d in range(columns):
            out[c, :-1, d, -1] = np.bincount(place, own[c] * joint[d], minlength=groups + 1)[1:]
            out[d, -1, c, :-1] = out[c, :-1, d, -1]
            if c <= d:
                out[c, inside, d, inside] = np.bincount(place, own[c] * own[d], minlength=groups + 1)[1:]
                out[d, inside, c, inside] = out[c, inside, d, inside]
                out[c, -1, d, -1] = out[d, -1, c, -1] = joint[c] @ joint[d]
    k = columns * (groups + 1)
    return out.reshape(k, k) * np.outer(small, small)


def _gram_within(sample: Sample, clusters: Clusters, columns: Sequence[np.ndarray], value: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The part of clusters inside one user, such as his or her pairs on one prompt, K x K."""
    if clusters.of is None:
        y, share, owner = np.stack(list(columns)), sample.share, sample.user
    else:
        share = clusters.sums(sample.share)
        y = np.stack([clusters.sums(sample.share * v) / share for v in columns])
        owner = np.zeros(len(share), np.int64)
        owner[clusters.of] = sample.user if clusters.of.ndim == 1 else sample.user[:, None]
    cell = sample.cell[owner]
    many = np.append(np.bincount(cell[cell >= 0], minlength=sample.cells), len(owner))
    return _gram(y, value, users, cell, share / _at(users, cell), share / users[-1], many)


def _gram_across(
    sample: Sample, clusters: Clusters, columns: Sequence[np.ndarray], value: np.ndarray, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of clusters that reach over users, K x K, and the clusters of each cell. A prompt lies in many cells: what they share is
    covariance.
    """
    assert clusters.of is not None
    cell = sample.cell[sample.user]
    shape = (clusters.many, sample.cells + 1)
    blocks: list[sparse.csr_array] = []
    many = np.zeros(sample.cells + 1, np.int64)
    centres = np.append(np.nan_to_num(value[:, :-1]), np.zeros((len(value), 1)), axis=1)
    for v, centre, all_centre in zip(columns, centres, value[:, -1], strict=True):
        own = sample.share * (v - centre[cell]) / _at(users, cell)
        inside = _sums(clusters.of, cell + 1, own, shape)[:, 1:]
        joint = clusters.sums(sample.share * (v - all_centre) / users[-1])
        if not blocks:
            there = _sums(clusters.of, cell + 1, np.ones(len(cell)), shape)[:, 1:].nonzero()[1]
            many = np.append(np.bincount(there, minlength=sample.cells), shape[0])
        small = factor(many)
        blocks.append(sparse.hstack([sparse.csr_array(inside * small[:-1]), sparse.csr_array(joint[:, None] * small[-1])], format="csr"))
    stacked = sparse.hstack(blocks, format="csr")
    return (stacked.T @ stacked).toarray(), many


def _sums(row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Sums of values by (row, column), of each of the rows [n] or [n, 2] of a value."""
    if row.ndim == 2:
        return _sums(row[:, 0], column, values, shape) + _sums(row[:, 1], column, values, shape)
    if shape[0] * shape[1] > DENSE:
        return sparse.csr_array((values, (row, column)), shape=shape)
    return sparse.csr_array(np.bincount(row * shape[1] + column, values, minlength=shape[0] * shape[1]).reshape(shape))

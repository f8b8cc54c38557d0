"""Pairs arranged by user, and means over users with the covariance of their errors.

The unit is the user: every user counts once, whatever his or her number of pairs. With y_i the metric of pair i, n_u the pairs of user u
(by weight) and U users,  theta = 1/U Σ_u 1/n_u Σ_{i of u} y_i,  and pair i moves it by  psi_i = (y_i - theta) / (U n_u).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from evenhand.audits.batch import Batch, Batches, Columns, refuse_ungrouped
from evenhand.audits.clusters import factor
from evenhand.audits.outcomes import OutcomeBatches, Outcomes, one_batch
from evenhand.audits.passes import Study, over, per_user, side_by_side
from evenhand.audits.spread import Spread, Table, moments, spread
from evenhand.audits.units import Units, find_units
from evenhand.core import EvenhandError, Groups


@dataclass(frozen=True)
class Sample:
    """U users in G groups. Cell G, the last, is all users together, also those in no group.

    number int64[U]: the users' own numbers, rising. cell int64[U]: group, -1 = none. pairs int64[U]. shared: the prompts or responses that several
    users judged, None if there are none. within: the prompts or responses by which pairs of one user go together, None where all stand
    alone. batches: their pairs, batch by batch.
    """

    number: np.ndarray
    cell: np.ndarray
    cells: int
    pairs: np.ndarray
    shared: Units | None = None
    within: Units | None = None
    batches: Iterable[Batch] = field(default=(), repr=False)

    def at(self, batch: Batch) -> slice:
        """Where the users of a batch stand; all of them must be here."""
        start = int(np.searchsorted(self.number, batch.number[0])) if len(batch.number) else 0
        return slice(start, start + len(batch.number))

    def user_means(self, value: np.ndarray) -> np.ndarray:
        """float64[U] from value [n] of pairs that are one batch."""
        (batch,) = self.batches
        return batch.user_means(value)

    def right(self, accuracy: np.ndarray) -> np.ndarray:
        """Right answers of each user, float64[U], from `user_means` of `correct`: whole numbers and halves (ties), since that is what they
        are counts of. Exact without weights; with them the nearest half to what the weighted mean makes of the user's pairs.
        """
        return np.round(2 * accuracy * self.pairs) / 2

    def of_users(self, keep: np.ndarray, cell: np.ndarray, cells: int) -> Sample:
        """Some users, bool[U], in other cells int64[kept]."""
        return replace(self, number=self.number[keep], cell=cell, cells=cells, pairs=self.pairs[keep], batches=())

    def only(self, batch: Batch) -> Batch:
        """Of a batch the pairs of these users."""
        place = np.minimum(np.searchsorted(self.number, batch.number), len(self.number) - 1)
        return batch.take((self.number[place] == batch.number)[batch.user])

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and pairs of each cell, int64[G + 1]."""
        seen = self.cell >= 0
        users = np.bincount(self.cell[seen], minlength=self.cells)
        pairs = np.bincount(self.cell[seen], self.pairs[seen], minlength=self.cells).astype(np.int64)
        return np.append(users, len(self.number)), np.append(pairs, self.pairs.sum())


def arrange(outcomes: Outcomes, groups: Groups) -> Sample:
    """The users who have pairs, of pairs in memory that are taken as one batch. Errors: no pair; a user without an entry in `groups`."""
    one = one_batch(outcomes)
    refuse_ungrouped(one, groups)
    batches = list(Batches(one))
    sample = over(batches, surveyed(groups))
    if not len(sample.number):
        raise nobody(outcomes)
    return replace(sample, batches=batches)


def nobody(outcomes: Outcomes | OutcomeBatches) -> EvenhandError:
    """The error where no user has a pair with a strict preference."""
    return EvenhandError(f"'{outcomes.model}', '{outcomes.split}': no pair to audit. Expected: at least one pair with a strict preference.")


def surveyed(groups: Groups | None = None) -> Study[Sample]:
    """Who judged, in which of the groups, and what they share. None: in no group."""
    (number, pairs), (shared, within) = yield from side_by_side(_who(), find_units(lambda batch: batch.judged))
    cell = np.full(len(number), -1) if groups is None else groups.of_user[number].astype(np.int64)
    return Sample(number, cell, 0 if groups is None else len(groups), pairs, shared, within)


def _who() -> Study[tuple[np.ndarray, np.ndarray]]:
    number, pairs = yield lambda batch: (per_user(batch.number), per_user(batch.pairs))
    return number.all, pairs.all


def averages(columns: Columns) -> Study[np.ndarray]:
    """Each user's mean of each column, float64[C, U]."""
    found = yield lambda batch: per_user(np.stack([batch.user_means(v) for v in columns(batch)]))
    return np.asarray(found.all)


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

    def column(self, number: int) -> Means:
        """One column alone."""
        cells = len(self.users)
        own = slice(number * cells, (number + 1) * cells)
        both = None if self.by_both is None else self.by_both[own, own]
        return replace(self, value=self.value[[number]], by_user=self.by_user[own, own], by_both=both)


def means(sample: Sample, columns: Sequence[np.ndarray]) -> Means:
    """Means over users of value arrays [n], of pairs that are one batch, and their clustered covariance."""
    return over(sample.batches, means_of(sample, lambda batch: columns, np.stack([sample.user_means(v) for v in columns])))


def means_of(sample: Sample, columns: Columns, average: np.ndarray) -> Study[Means]:
    """Means over users of columns and their clustered covariance. average: from `averages`.

    by_user = Σ_u psi_u psi_u' · U/(U-1);  by_both = by_user + the same by shared unit - the same by (user and unit).
    """
    users, pairs = sample.counts()
    value = _values(sample, average, users)
    centre = _centres(value)
    own = moments([*(average - centre[:, sample.cell + 1]), np.ones(len(sample.cell))], sample.cell, sample.cells)
    by_user = _covariance(own.products, value, users, users)
    shared = sample.shared
    if shared is None:
        return Means(value, by_user, None, users, pairs, np.zeros(len(users), np.int64))

    def ask(batch: Batch) -> Spread:
        cell = sample.cell[sample.at(batch)]
        place = cell[batch.user] + 1
        off = [batch.share * (v - c[place]) for v, c in zip(columns(batch), centre, strict=True)]
        return spread(shared.clusters(batch.judged), batch.user, cell, sample.cells, [*off, batch.share])

    found: Spread = yield ask
    by_both = by_user.copy()
    for clusters in found.within:
        many = np.append(clusters.many[1:], clusters.many.sum())
        by_both -= clusters.sign * _covariance(clusters.products, value, users, many)
    units = []
    for table in found.across:
        batch, counts = _across(table, value, users)
        by_both += table.sign * batch
        units.append(counts)
    return Means(value, by_user, by_both, users, pairs, units[0], shared.unit)


def _values(sample: Sample, average: np.ndarray, users: np.ndarray) -> np.ndarray:
    value = np.full((len(average), len(users)), np.nan)
    seen, filled = sample.cell >= 0, users[:-1] > 0
    for c, a in enumerate(average):
        sums = np.bincount(sample.cell[seen], a[seen], minlength=sample.cells)
        value[c, :-1][filled] = sums[filled] / users[:-1][filled]
        value[c, -1] = a.mean()
    return value


def _centres(value: np.ndarray) -> np.ndarray:
    """What pairs of users in no cell, and of those in each, are held against, float64[C, G + 1]: the mean of all, and that of their cell."""
    return np.concatenate([value[:, -1:], np.nan_to_num(value[:, :-1])], axis=1)


def _covariance(products: np.ndarray, value: np.ndarray, users: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Σ psi psi' of clusters that lie within one cell each, K x K, from the moments [cells + 1, C + 1, C + 1] of their sums of share (y - centre)
    and of shares: about the mean of all, the sum of a cluster is the one about its cell's mean plus that mean's distance times its share.

    many int64[G + 1]: clusters of each cell.
    """
    columns, cells = value.shape
    size, groups = np.maximum(users, 1)[:-1, None, None], np.arange(cells - 1)
    apart = (_centres(value) - value[:, -1:]).T  # [G + 1, C]
    own, level, shares = products[:, :-1, :-1], products[:, :-1, -1], products[:, -1:, -1:]
    joint = own + level[:, :, None] * apart[:, None, :]  # rows about the mean of the cell, columns about that of all
    both = joint + apart[:, :, None] * (level[:, None, :] + apart[:, None, :] * shares)
    out = np.zeros((columns, cells, columns, cells))
    out[:, groups, :, groups] = own[1:] / size**2
    out[:, groups, :, -1] = joint[1:] / (size * users[-1])
    out[:, -1, :, groups] = joint[1:].transpose(0, 2, 1) / (size * users[-1])
    out[:, -1, :, -1] = both.sum(axis=0) / users[-1] ** 2
    small = np.tile(factor(many), columns)
    return out.reshape(columns * cells, columns * cells) * np.outer(small, small)


def _across(table: Table, value: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of clusters that reach over users, K x K, and the clusters of each cell."""
    *sums, shares = (sparse.csr_array(s) for s in table.sums)
    there = np.bincount(shares.nonzero()[1], minlength=len(users))
    alone = table.lone.many
    many = np.append(there[1:] + alone[1:], np.count_nonzero(np.diff(shares.indptr)) + alone.sum())
    small = factor(many)
    apart = _centres(value) - value[:, -1:]
    blocks = []
    for own, distance in zip(sums, apart, strict=True):
        joint = (own.sum(axis=1) + shares @ distance) * small[-1] / users[-1]
        blocks.append(
            sparse.hstack([own[:, 1:] * (small[:-1] / np.maximum(users[:-1], 1)), sparse.csr_array(joint[:, None])], format="csr")
        )
    stacked = sparse.hstack(blocks, format="csr")
    return (stacked.T @ stacked).toarray() + _covariance(table.lone.products, value, users, many), many

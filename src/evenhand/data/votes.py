"""From judgements to votes: one a user and pair, or one a user and item.

A user has one vote on a pair, the unordered {a, b} under one prompt, however often he or she judged it: the sign of the sum of
weight x direction. Ties, judgements that cancel out and pairs of a text with itself are no votes. Weights therefore decide
between a user's own repeated judgements and nothing else: support is a share of users, not of weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import DataError, PreferenceData
from evenhand.data.ballots import Ballots, find_ballots


@dataclass(frozen=True)
class Votes:
    """At most one vote a user and ballot (a pair, or an item), by user and ballot."""

    user: np.ndarray  # int[m]
    ballot: np.ndarray  # int64[m], in 0..ballots-1
    up: np.ndarray  # bool[m]: for the pair's text of the higher number; likes the item
    ballots: int


def number_rows(*columns: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers 0..m-1 for the distinct rows of non-negative integer columns, in lexicographic order: (int64[n], m)."""
    key = columns[0].astype(np.int64)
    size = int(key.max(initial=-1)) + 1
    for column in columns[1:]:
        width = int(column.max(initial=-1)) + 1
        if size * width >= 2**62:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        if size * width >= 2**62:
            raise DataError(f"{size} x {width} distinct combinations", expected="fewer than 2**62", remedy="audit the data in parts")
        key *= width
        key += column
        size *= width
    distinct, key = np.unique(key, return_inverse=True)
    return key, len(distinct)


def number_pairs(data: PreferenceData) -> tuple[np.ndarray, int]:
    """The number of each row's pair - prompt and unordered {chosen, rejected} - and how many there are: (int64[n], m).

    Rows need their texts (`has_texts`): without them nobody knows whether two users judged the same pair.
    """
    return number_rows(data.prompt + 1, np.minimum(data.chosen, data.rejected), np.maximum(data.chosen, data.rejected))


def has_texts(data: PreferenceData) -> np.ndarray:
    """bool[n]: both responses are known; a table of scores may have none."""
    return (data.chosen >= 0) & (data.rejected >= 0)


def is_strict(data: PreferenceData) -> np.ndarray:
    """bool[n]: prefers one of two responses that are not known to be the same."""
    strict = (data.chosen != data.rejected) | (data.chosen < 0)
    return strict if data.tie is None else strict & ~data.tie


def pair_votes(data: PreferenceData, ballots: Ballots | None = None) -> Votes:
    """One vote a user and pair. ballots: those of data of which these pairs are a part (default: their own)."""
    strict = is_strict(data) & has_texts(data)
    data = replace(data, numbers={})
    data = data if strict.all() else data.take(strict)
    ballots = find_ballots([data], len(data.texts)) if ballots is None else ballots
    ballot, up = ballots.of(data), data.chosen > data.rejected
    order, first = runs(data.user, ballot, len(ballots))
    net = _run_sums(np.where(up, np.int32(1), np.int32(-1))[order], first)
    kept = net != 0
    if data.weight is not None:
        weight = data.weight.astype(np.float64)[order]
        net = _run_sums(np.where(up[order], weight, -weight), first)
        kept = np.abs(net) > 1e-6 * _run_sums(weight, first)  # 0.1 + 0.2 - 0.3 cancels too
    rows = order[first[kept]]
    return Votes(data.user[rows], ballot[rows], net[kept] > 0, len(ballots))


@dataclass(frozen=True)
class ItemVotes:
    votes: Votes
    repeated: np.ndarray  # bool[m]: the item stands in two or more of the user's pairs
    mixed: int  # of a user's items so many were chosen in some pairs and rejected in others

    @property
    def sides(self) -> np.ndarray:
        """What `single_item` asks for, int64[5]: votes up and down, those of them on repeated items, and mixed items. Sums over batches."""
        up, repeated = self.votes.up, self.repeated
        return np.array([up.sum(), (~up).sum(), (up & repeated).sum(), (~up & repeated).sum(), self.mixed])


def single_item(sides: np.ndarray) -> bool:
    """Pairs look made of votes on single items: a user's items are on one side throughout, and items of both sides come back."""
    up, down, up_again, down_again, mixed = sides.tolist()
    return bool(up and down and up_again / up >= 0.1 and down_again / down >= 0.1 and mixed <= 0.01 * (up_again + down_again))


def item_votes(pairs: Votes, ballots: Ballots) -> ItemVotes:
    """One vote a user and item (response under a prompt): up when chosen in more of the user's pairs than rejected in; even is no vote."""
    low, high, items = ballots.items
    item = np.stack([low[pairs.ballot], high[pairs.ballot]], axis=1).ravel()
    side = np.where(np.stack([~pairs.up, pairs.up], axis=1).ravel(), np.int32(1), np.int32(-1))
    user = np.repeat(pairs.user, 2)
    order, first = runs(user, item, items)
    net = _run_sums(side[order], first)
    size = np.diff(first, append=len(user))
    kept = net != 0
    rows = order[first[kept]]
    return ItemVotes(Votes(user[rows], item[rows], net[kept] > 0, items), size[kept] > 1, int((np.abs(net) < size).sum()))


def runs(user: np.ndarray, number: np.ndarray, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """An order by user and number, and where the runs of rows that have both in common start in it."""
    key = (user - user.min(initial=0)).astype(np.int64) * numbers + number
    nearly = 8 * np.count_nonzero(key[1:] < key[:-1]) < len(key)  # in the order of `canonical`: the stable sort has little to do
    order = np.argsort(key, kind="stable" if nearly else None)
    return order, np.flatnonzero(np.diff(key[order], prepend=-1))


def _run_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, first) if len(values) else values

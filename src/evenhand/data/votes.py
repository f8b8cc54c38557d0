"""From judgements to votes: one a user and pair, or one a user and item.

A user has one vote on a pair, the unordered {a, b} under one prompt, however often he or she judged it: the sign of the sum of
weight x direction. Ties, judgements that cancel out and pairs of a text with itself are no votes. Weights therefore decide
between a user's own repeated judgements and nothing else: support is a share of users, not of weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenhand.core import DataError, PreferenceData


@dataclass(frozen=True)
class Votes:
    """At most one vote a user and ballot (a pair, or an item)."""

    user: np.ndarray  # int[m]
    ballot: np.ndarray  # int64[m], in 0..ballots-1
    up: np.ndarray  # bool[m]: for the pair's text of the higher number; likes the item
    row: np.ndarray  # int64[m]: a row of the data where this user judged this pair (empty for items)
    users: int
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


def pair_votes(data: PreferenceData) -> Votes:
    """One vote a user and pair."""
    row = np.flatnonzero(is_strict(data) & has_texts(data))
    if len(row) < len(data):
        data = data.take(row)
    ballot, ballots = number_pairs(data)
    order, first = _runs(ballot, data.user)
    signed = np.where(data.chosen > data.rejected, 1.0, -1.0)
    weight = np.ones(len(data)) if data.weight is None else data.weight.astype(np.float64)
    net = _run_sums((signed * weight)[order], first)
    kept = np.abs(net) > 1e-6 * _run_sums(weight[order], first)  # 0.1 + 0.2 - 0.3 cancels too
    chosen = order[first[kept]]
    return Votes(data.user[chosen], ballot[chosen], net[kept] > 0, row[chosen], len(data.users), ballots)


@dataclass(frozen=True)
class ItemVotes:
    votes: Votes
    repeated: np.ndarray  # bool[m]: the item stands in two or more of the user's pairs
    mixed: np.ndarray  # int64[users]: items chosen in some of the user's pairs and rejected in others

    def single_item(self) -> bool:
        """Pairs look made of votes on single items: a user's items are on one side throughout, and items of both sides come back."""
        up, repeated = self.votes.up, self.repeated
        both_sides = up.any() and not up.all() and repeated[up].mean() >= 0.1 and repeated[~up].mean() >= 0.1
        return bool(both_sides) and self.mixed.sum() <= 0.01 * repeated.sum()


def item_votes(data: PreferenceData, pairs: Votes) -> ItemVotes:
    """One vote a user and item (response under a prompt): up when chosen in more of the user's pairs than rejected in; even is no vote."""
    prompt, chosen, rejected = data.prompt[pairs.row] + 1, data.chosen[pairs.row], data.rejected[pairs.row]
    low, high = np.minimum(chosen, rejected), np.maximum(chosen, rejected)
    ballot, ballots = number_rows(np.concatenate([prompt, prompt]), np.concatenate([low, high]))
    user = np.concatenate([pairs.user, pairs.user])
    order, first = _runs(ballot, user)
    net = _run_sums(np.where(np.concatenate([~pairs.up, pairs.up]), np.int32(1), np.int32(-1))[order], first)
    size = np.diff(first, append=len(user))
    kept = net != 0
    rows = order[first[kept]]
    votes = Votes(user[rows], ballot[rows], net[kept] > 0, rows[:0], pairs.users, ballots)
    mixed = np.bincount(user[order[first[np.abs(net) < size]]], minlength=pairs.users)
    return ItemVotes(votes, size[kept] > 1, mixed)


def _runs(ballot: np.ndarray, user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that brings the rows of a (ballot, user) together, and where each of these runs starts in it."""
    key = ballot * (int(user.max(initial=0)) + 1) + user
    order = np.argsort(key)
    return order, np.flatnonzero(np.diff(key[order], prepend=-1))


def _run_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, first) if len(values) else values

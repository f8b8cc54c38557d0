"""Made-up worlds with a known truth, small enough to train on in well under a second."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from evenhand.core import Events, History, Pairs


def history_of(items: Tensor, user: Tensor, chosen: Tensor, rejected: Tensor, n_users: int) -> History:
    """The pairs as their users' history."""
    order = torch.argsort(user, stable=True)
    offsets = torch.zeros(n_users + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(user, minlength=n_users), 0)
    return History(items, offsets, chosen[order], rejected[order], torch.full((n_users,), -1))


def two_tastes(
    seed: int = 0, *, n_users: int = 120, pairs: int = 16, held_out: int = 8, dim: int = 8, minority: float = 0.25
) -> tuple[Pairs, Pairs, Pairs]:
    """train, valid, test: the majority likes the first coordinate high, the minority likes it low; both like the second one high.

    Labels are noisy in train and valid (logistic), noiseless in test. The history is that of the training pairs.
    """
    g = torch.Generator().manual_seed(seed)
    group = (torch.arange(n_users) >= round(n_users * (1 - minority))).long()
    taste = torch.zeros(n_users, dim)
    taste[:, 0] = torch.where(group == 0, 3.0, -3.0)
    taste[:, 1] = 1.5
    items = torch.randn(600, dim, generator=g)

    def draw(each: int, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
        user = torch.arange(n_users).repeat_interleave(each)
        a, b = torch.randint(len(items), (2, len(user)), generator=g)
        b = torch.where(a == b, (b + 1) % len(items), b)
        margin = ((items[a] - items[b]) * taste[user]).sum(-1)
        first = torch.rand(len(user), generator=g) < torch.sigmoid(margin) if noisy else margin > 0
        return user, torch.where(first, a, b), torch.where(first, b, a)

    train = draw(pairs, True)
    history = history_of(items, *train, n_users)
    drawn = (train, draw(held_out, True), draw(held_out, False))
    train_pairs, valid, test = (Pairs(history, u, c, r, torch.ones(len(u)), group[u]) for u, c, r in drawn)
    return train_pairs, valid, test


def unreadable(pairs: Pairs) -> Pairs:
    """The same pairs, each by a user of its own whom nothing is known about: tastes are there, but no history shows them."""
    n, none = len(pairs), torch.zeros(0, dtype=torch.long)
    return replace(pairs, history=history_of(pairs.items, none, none, none, n), user=torch.arange(n))


def with_events(pairs: Pairs, coordinate: int = 2) -> Pairs:
    """The same pairs in two events by the sign of one coordinate of y1, which is the item of the lower number, whoever was chosen.

    Coordinate 2 is one that nobody cares for: constraints on these events cost next to nothing.
    """
    y1 = torch.minimum(pairs.chosen, pairs.rejected)
    event = (pairs.items[y1, coordinate] > 0).long()
    return replace(pairs, events=Events((), event, pairs.chosen == y1, ""))


def one_hot(*rows: tuple[int, int, int, int], sets: bool = False) -> Pairs:
    """Pairs e_f against 0, so that M = theta_f under one linear reward; a user a pair. rows: (event, feature f, y1 chosen, y2 chosen).

    sets: pairs of the same place in their rows are one matched set, of one user and one block; rows must then be equally long.
    """
    event, feature, first = (torch.cat(column) for column in zip(*(_row(*row) for row in rows)))
    n, dim = len(event), int(feature.max()) + 1
    twin = torch.arange(n) % (n // len(rows)) if sets else torch.full((n,), -1)
    user = twin if sets else torch.arange(n)
    items, none = torch.cat([torch.eye(dim), torch.zeros(1, dim)]), torch.zeros(0, dtype=torch.long)
    sides = torch.where(first, feature, dim), torch.where(first, dim, feature)
    history = history_of(items, none, none, none, int(user.max()) + 1)
    return Pairs(history, user, *sides, torch.ones(n), torch.zeros(n).long(), twin if sets else None, Events((), event, first, "", twin))


def _row(event: int, feature: int, ones: int, zeros: int) -> tuple[Tensor, Tensor, Tensor]:
    n = ones + zeros
    return torch.full((n,), event), torch.full((n,), feature), torch.arange(n) < ones

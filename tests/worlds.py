"""Made-up worlds with a known truth, small enough to train on in well under a second."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from evenhand.core import Events, Pairs
from evenhand.testing import history_of, two_tastes, with_events

__all__ = ["history_of", "one_hot", "two_tastes", "unreadable", "with_events"]


def unreadable(pairs: Pairs) -> Pairs:
    """The same pairs, each by a user of its own whom nothing is known about: tastes are there, but no history shows them."""
    n, none = len(pairs), torch.zeros(0, dtype=torch.long)
    return replace(pairs, history=history_of(pairs.items, none, none, none, n), user=torch.arange(n))


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

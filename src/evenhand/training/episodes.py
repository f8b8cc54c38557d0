"""Users in batches, their pairs drawn afresh in every epoch into context, which plays the history, and targets. The two are disjoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from evenhand.core import History, Pairs
from evenhand.training.schedule import Schedule


def episodes(train: Pairs, schedule: Schedule, generator: torch.Generator) -> Iterator[tuple[History, Pairs, Tensor]]:
    """One epoch: for each batch of users the context as a History (features dropped out), the target pairs and their rows in `train`.

    Where two responses of a pair are dealt, half of the pairs rest: then an epoch deals and passes twice, so that it has as many targets
    as one without shared responses; with one pass a model was stopped too early.
    """
    for _ in range(train.units[0].shape[1]):
        yield from one_pass(train, schedule, generator)


def one_pass(train: Pairs, schedule: Schedule, generator: torch.Generator) -> Iterator[tuple[History, Pairs, Tensor]]:
    """Every user once, in batches, under one deal."""
    context, target = draw_sides(train, schedule.context, generator)
    order = torch.argsort(train.user, stable=True)
    count = torch.bincount(train.user, minlength=len(train.history))
    start = torch.cumsum(count, 0) - count
    present = count.nonzero()[:, 0]
    present = present[torch.randperm(len(present), generator=generator)]
    sizes = count[present]
    shift = torch.repeat_interleave(start[present] - (torch.cumsum(sizes, 0) - sizes), sizes)
    shuffled = order[shift + torch.arange(len(order))]  # rows of train, user after user in this epoch's order
    batches = present.split(schedule.batch_users)
    for users, rows in zip(batches, shuffled.split([int(count[users].sum()) for users in batches])):
        number = torch.repeat_interleave(torch.arange(len(users)), count[users])  # the batch's own user numbers
        inside, judged = context[rows], target[rows]
        targets = rows[judged]
        history = context_history(train, users, rows[inside], number[inside], schedule.dropout, generator)
        yield history, replace(train.take(targets), history=history, user=number[judged]), targets


def draw_sides(train: Pairs, share: tuple[float, float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which pairs play the history and which are targets under one deal, bool[n] each; every user has a target.

    A share of each user's units, drawn between the two bounds, goes to the context, the others to the targets. Without blocks a unit is a
    pair. Where a unit is a response, a pair needs both of its own on one side; a pair in between rests, since a head that is
    asked about a response that it has just read learns to recognise responses instead of tastes.
    """
    unit, owner = train.units
    n_users = len(train.history)
    count = torch.bincount(owner, minlength=n_users)
    wanted = count * (share[0] + (share[1] - share[0]) * torch.rand(n_users, generator=generator))
    shuffled = torch.randperm(len(owner), generator=generator)
    order = shuffled[torch.argsort(owner[shuffled], stable=True)]
    rank = torch.empty_like(owner)  # of each unit among its user's: the first ones wanted are context
    rank[order] = torch.arange(len(owner)) - (torch.cumsum(count, 0) - count)[owner[order]]
    lowest = rank[unit].amin(1)
    most = torch.zeros(n_users, dtype=torch.long).scatter_reduce(0, train.user, lowest, "amax")  # with more, no pair would be a target
    inside = (rank < torch.minimum(wanted.round().long(), most)[owner])[unit]
    return inside.all(1), ~inside.any(1)


def context_history(train: Pairs, users: Tensor, rows: Tensor, number: Tensor, dropout: float, generator: torch.Generator) -> History:
    """The history of the batch's users from the context rows. Chosen and rejected of a pair lose the same features."""
    keep = dropout_mask(len(rows), train.items.shape[1], dropout, generator)
    items = torch.cat([train.items[train.chosen[rows]] * keep, train.items[train.rejected[rows]] * keep])
    offsets = torch.zeros(len(users) + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(number, minlength=len(users)), 0)
    pair = torch.arange(len(rows))
    return History(items, offsets, pair, pair + len(rows), train.history.row[users])


def dropout_mask(n: int, dim: int, share: float, generator: torch.Generator) -> Tensor:
    """Inverted dropout, float[n, dim] in {0, 1/(1-share)}; one mask a pair keeps the margin a difference of like with like."""
    if share == 0:
        return torch.ones(1, 1)
    return (torch.rand(n, dim, generator=generator) >= share) / (1 - share)

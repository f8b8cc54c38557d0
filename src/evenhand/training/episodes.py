"""Users in batches, their pairs drawn afresh in every epoch into context, which plays the history, and targets. The two are disjoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from evenhand.core import EvenhandError, History, Pairs
from evenhand.training.schedule import Schedule


def episodes(
    train: Pairs, schedule: Schedule, generator: torch.Generator, strata: Tensor | None = None
) -> Iterator[tuple[History, Pairs, Tensor]]:
    """One epoch: for each batch of users the context as a History (features dropped out), the target pairs and their rows in `train`.

    strata int64[n], -1 = none: every stratum has a target in every batch; batches grow where a rare one asks for it.
    Where two responses of a pair are dealt, half of the pairs rest: then an epoch deals and passes twice, so that it has as many targets
    as one without shared responses; with one pass a model was stopped too early.
    """
    for _ in range(train.units[0].shape[1]):
        yield from one_pass(train, schedule, generator, strata)


def one_pass(
    train: Pairs, schedule: Schedule, generator: torch.Generator, strata: Tensor | None = None
) -> Iterator[tuple[History, Pairs, Tensor]]:
    """Every user once, in batches, under one deal."""
    context, target = draw_sides(train, schedule.context, generator)
    if strata is not None:
        context, target = _with_all(strata, train, schedule, generator, context, target)
    order = torch.argsort(train.user, stable=True)
    count = torch.bincount(train.user, minlength=len(train.history))
    start = torch.cumsum(count, 0) - count
    present = count.nonzero()[:, 0]
    present = present[torch.randperm(len(present), generator=generator)]
    batches = present.split(schedule.batch_users)
    if strata is not None:
        batches = stratified(present, incidence(train.user[target], strata[target], len(count)), len(batches))
        present = torch.cat(batches)
    sizes = count[present]
    shift = torch.repeat_interleave(start[present] - (torch.cumsum(sizes, 0) - sizes), sizes)
    shuffled = order[shift + torch.arange(len(order))]  # rows of train, user after user in this epoch's order
    for users, rows in zip(batches, shuffled.split([int(count[users].sum()) for users in batches])):
        number = torch.repeat_interleave(torch.arange(len(users)), count[users])  # the batch's own user numbers
        inside, is_target = context[rows], target[rows]
        targets = rows[is_target]
        history = context_history(train, users, rows[inside], number[inside], schedule.dropout, generator)
        yield history, replace(train.take(targets), history=history, user=number[is_target]), targets


REDEALS = 20  # until every stratum has a target; with the fewest rows that are accepted, one in a million deals needs a second


def _with_all(
    strata: Tensor, train: Pairs, schedule: Schedule, generator: torch.Generator, context: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """A deal in which every stratum has a target; drawn again where one has none."""
    wanted = strata[strata >= 0].unique()
    for deal in range(REDEALS):
        if deal:
            context, target = draw_sides(train, schedule.context, generator)
        missing = wanted[~torch.isin(wanted, strata[target])]
        if len(missing) == 0:
            return context, target
    rows = int((strata == missing[0]).sum())
    raise EvenhandError(
        f"Constrained event {int(missing[0])} has {rows} training pairs, and none is free to be a target. Expected: pairs of several users, "
        "or of users with other pairs. To do: leave the event out, or bring more pairs of it."
    )


def incidence(user: Tensor, stratum: Tensor, n_users: int) -> Tensor:
    """bool[users, strata]: the user has a pair of the stratum; pairs of no stratum (-1) are not looked at."""
    inside = stratum >= 0
    out = torch.zeros(n_users, int(stratum.max()) + 1, dtype=torch.bool)
    out[user[inside], stratum[inside]] = True
    return out


def stratified(users: Tensor, has: Tensor, batches: int) -> tuple[Tensor, ...]:
    """`users` (in drawn order) in at most `batches` batches of about one size, each with a user of every stratum that anybody has.

    has bool[users, strata]. The rarest stratum is dealt first, to the batches that lack it. Where its users do not suffice, one batch
    fewer is tried; one batch always does.
    """
    order, held = users.tolist(), has[users].numpy()
    rarest = [s for s in held.sum(axis=0).argsort(kind="stable").tolist() if held[:, s].any()]
    batches = min(batches, *(int(held[:, s].sum()) for s in rarest)) if rarest else batches
    while True:
        dealt = _deal(held, rarest, batches)
        if dealt is not None:
            return tuple(torch.tensor([order[i] for i in batch]) for batch in dealt)
        batches -= 1


def _deal(held: np.ndarray, rarest: list[int], batches: int) -> list[list[int]] | None:
    """Places of users by batch, None where a stratum runs out."""
    out: list[list[int]] = [[] for _ in range(batches)]
    covered, free = np.zeros((batches, held.shape[1]), bool), np.ones(len(held), bool)
    for stratum in rarest:
        lacking = np.flatnonzero(~covered[:, stratum])
        users = np.flatnonzero(free & held[:, stratum])[: len(lacking)]
        if len(users) < len(lacking):
            return None
        for batch, user in zip(sorted(lacking.tolist(), key=lambda b: len(out[b])), users.tolist()):
            out[batch].append(user)
            covered[batch] |= held[user]
        free[users] = False
    left = np.flatnonzero(free).tolist()
    room = -(-len(held) // batches)
    for members in out:
        take = max(0, room - len(members))
        members += left[:take]
        left = left[take:]
    return [batch for batch in out if batch]


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
    n, n_users = len(rows), len(users)
    keep = dropout_mask(n, train.items.shape[1], dropout, generator)
    items = torch.cat([train.items[train.chosen[rows]] * keep, train.items[train.rejected[rows]] * keep])
    offsets = torch.zeros(n_users + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(number, minlength=n_users), 0)
    pair = torch.arange(n)
    return History(items, offsets, pair, pair + n, train.history.row[users])


def dropout_mask(n: int, dim: int, share: float, generator: torch.Generator) -> Tensor:
    """Inverted dropout, float[n, dim] in {0, 1/(1-share)}; one mask a pair keeps the margin a difference of like with like."""
    if share == 0:
        return torch.ones(1, 1)
    return (torch.rand(n, dim, generator=generator) >= share) / (1 - share)

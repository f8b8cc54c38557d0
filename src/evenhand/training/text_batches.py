"""Batches for features that train along: some texts at a time, with all the pairs that all users judged on them.

A text is encoded once a step, however many users judged it. Users' other pairs play the history, read from the features that their texts
had last; what is judged and what is read share no text that one could be recognised by in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from evenhand.core import History, Pairs
from evenhand.training.episodes import incidence, stratified


def text_batches(
    train: Pairs, texts: int, share: tuple[float, float], generator: torch.Generator, strata: Tensor | None = None
) -> Iterator[tuple[History, Pairs, Tensor]]:
    """One pass: batches of about `texts` distinct texts: (history, the target pairs, their rows in `train`).

    Texts of one block (see `Pairs`) stay together. The history of a batch's user is a share, drawn between the two bounds, of his or her
    pairs in other batches. strata as in `episodes`. Everything random is drawn before a batch is handed on.
    """
    unit = units(train)
    count = int(unit.max()) + 1
    sizes = texts_of(train, unit, count)
    order = torch.randperm(count, generator=generator)
    dealt = pack(order, sizes, texts)
    if strata is not None:
        has = incidence(unit.flatten(), strata.repeat_interleave(unit.shape[1]), count)
        dealt = stratified(order, has, len(dealt))
    # Pairs are gone through once a pass, not once a batch: of many, a step sees few.
    batch_of = torch.empty(count, dtype=torch.long)
    for number, batch in enumerate(dealt):
        batch_of[batch] = number
    inside = batch_of[unit]  # of each pair's ends
    whole = (inside == inside[:, :1]).all(1).nonzero()[:, 0]
    whole = whole[torch.argsort(inside[whole, 0], stable=True)]
    by_user = torch.argsort(train.user, stable=True)
    of_user = torch.bincount(train.user, minlength=len(train.history))
    start = torch.cumsum(of_user, 0) - of_user
    for number, targets in enumerate(whole.split(torch.bincount(inside[whole, 0], minlength=len(dealt)).tolist())):
        if len(targets) == 0:
            continue
        users, user = train.user[targets].unique(return_inverse=True)
        own = by_user[within(start, of_user, users)]
        free = own[(inside[own] != number).all(1) & (train.weight[own] > 0)]
        history = drawn_history(train, users, free, share, generator)
        yield history, replace(train.take(targets), history=history, user=user), targets


def units(train: Pairs) -> Tensor:
    """What is dealt to one batch whole, int64[n, 1 or 2] numbered from 0: a pair's blocks, else the first of its texts."""
    ends = torch.minimum(train.chosen, train.rejected) if train.block is None else train.block
    number: Tensor = ends.view(len(train), -1).unique(return_inverse=True)[1]
    return number


def texts_of(train: Pairs, unit: Tensor, count: int) -> Tensor:
    """Distinct texts of each unit, int64[count]; a unit that is a response is one."""
    if unit.shape[1] > 1:
        return torch.ones(count, dtype=torch.long)
    sides = torch.cat([train.chosen, train.rejected])
    shown = (unit[:, 0].repeat(2) * (int(sides.max()) + 1) + sides).unique()
    return torch.bincount(shown // (int(sides.max()) + 1), minlength=count)


def pack(order: Tensor, sizes: Tensor, texts: int) -> tuple[Tensor, ...]:
    """The units in their order, in the fewest batches of near-equal numbers of texts, `texts` or a little more each."""
    ends = torch.cumsum(sizes[order], 0)
    batches = max(1, -(-int(ends[-1]) // texts))
    place = ((ends - sizes[order]) * batches) // ends[-1]
    return tuple(order[place == batch] for batch in range(batches) if bool((place == batch).any()))


def within(start: Tensor, count: Tensor, users: Tensor) -> Tensor:
    """The places start, start + 1, … of these users, one user after the other."""
    n = count[users]
    return torch.repeat_interleave(start[users] - (torch.cumsum(n, 0) - n), n) + torch.arange(int(n.sum()))


def drawn_history(train: Pairs, users: Tensor, free: Tensor, share: tuple[float, float], generator: torch.Generator) -> History:
    """Histories of these users (ascending) from the rows `free`, user after user: a share of each one's, drawn between the two bounds."""
    own = torch.searchsorted(users, train.user[free])
    wanted = share[0] + (share[1] - share[0]) * torch.rand(len(users), generator=generator)
    drawn = torch.rand(len(free), generator=generator) < wanted[own]
    rows, own = free[drawn], own[drawn]
    offsets = torch.zeros(len(users) + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(own, minlength=len(users)), 0)
    return History(train.items, offsets, train.chosen[rows], train.rejected[rows], train.history.row[users])

"""Margins without gradient, in slices of bounded memory; the Bradley-Terry loss; means over users."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from evenhand.core import History, Pairs, Projecting, Scorer
from evenhand.training.tuned import own_features

SLICE = 65_536  # pairs read or scored at once without gradient: some 100 MB at 256 features


def bt(margin: Tensor) -> Tensor:
    """Bradley-Terry loss -log sigma(m), one value a pair (Bradley & Terry 1952)."""
    return softplus(-margin)


def margins(scorer: Scorer, pairs: Pairs, at_once: int = SLICE) -> Tensor:
    """m = r(chosen) - r(rejected) of every pair under its user's history, float[n], no gradient."""
    both = rewards(scorer, pairs, at_once)
    return both[:, 0] - both[:, 1]


def rewards(scorer: Scorer, pairs: Pairs, at_once: int = SLICE) -> Tensor:
    """Rewards of chosen and rejected under the user's history, float[n, 2], no gradient; `at_once` pairs, so that memory stays bounded."""
    scorer, pairs = own_features(scorer, pairs)
    with torch.no_grad():
        if isinstance(scorer, Projecting) and len(pairs.items) <= len(pairs):
            items, scorer = scorer.project(pairs.items), scorer.on_projected()
            pairs = replace(pairs, history=replace(pairs.history, items=items))
        states = [scorer.users(past) for past in _histories(pairs.history, at_once)]
        state = torch.cat(states) if states else pairs.items.new_zeros(0, 0)
        sides = (pairs.chosen, pairs.rejected)
        if 0 < len(pairs) <= at_once:
            state = state[pairs.user]
            return torch.stack([scorer.score(state, pairs.items[side]) for side in sides], dim=1)
        parts = [
            torch.stack([scorer.score(state[pairs.user[rows]], pairs.items[side[rows]]) for side in sides], dim=1)
            for rows in torch.arange(len(pairs)).split(at_once)
        ]
        return torch.cat(parts) if parts else pairs.items.new_zeros(0, 2)


def _histories(history: History, at_once: int) -> Iterator[History]:
    """The history in slices; as it is where one slice holds all of it, as in the looks at validation after every epoch of a training."""
    if 0 < len(history) <= at_once and int(history.offsets[0]) == 0 and int(history.offsets[-1]) == len(history.chosen) <= at_once:
        yield history
    else:
        yield from (history.take(users) for users in user_slices(history, at_once))


def only_present(pairs: Pairs) -> Pairs:
    """The same pairs with the histories of their own users alone: a group's teacher need not read everybody in every epoch."""
    users, number = pairs.user.unique(return_inverse=True)
    return replace(pairs, history=pairs.history.take(users), user=number)


def user_slices(history: History, at_once: int = SLICE) -> Iterator[Tensor]:
    """Consecutive user numbers whose histories hold at most `at_once` pairs together (a longer history goes alone)."""
    start = 0
    while start < len(history):
        full = torch.searchsorted(history.offsets, history.offsets[start] + at_once, right=True)
        stop = min(max(int(full) - 1, start + 1), start + at_once, len(history))
        yield torch.arange(start, stop)
        start = stop


def cross_margins(scorer: Scorer, train: Pairs, seed: int) -> Tensor:
    """Margins of training pairs, float[n], each under pairs of the same user that share no block with it; none → an empty history.

    Every user's blocks (without blocks: pairs) are dealt into 4 parts; a part is scored with the rest as history. Where a pair has two
    blocks, its responses, they are dealt into 5 parts and a pair is scored under the pairs that touch neither of its parts: in the
    mean 0.36 of a user's pairs, 0.64 where both lie in one part.
    """
    past = train.history  # not read, so its texts need no features: of a group's pairs, everybody else's
    train = replace(
        train, history=replace(past, offsets=torch.zeros_like(past.offsets), chosen=past.chosen[:0], rejected=past.rejected[:0])
    )
    scorer, train = own_features(scorer, train)
    generator = torch.Generator().manual_seed(seed)
    n_users = len(train.history)
    unit, owner = train.units
    parts = 4 if unit.shape[1] == 1 else 5
    count = torch.bincount(owner, minlength=n_users)
    shuffled = torch.randperm(len(owner), generator=generator)
    dealt = shuffled[torch.argsort(owner[shuffled], stable=True)]  # units, user after user
    place = torch.argsort(dealt)[unit]  # of each pair's units among them
    part = ((torch.arange(len(owner)) - (torch.cumsum(count, 0) - count)[owner[dealt]]) % parts)[place]
    order = torch.argsort(place[:, 0], stable=True)  # pairs, user after user
    low, high = part[order].amin(1), part[order].amax(1)
    out = torch.empty(len(train))
    for a, b in itertools.combinations_with_replacement(range(parts), 2):
        scored = order[(low == a) & (high == b)]
        if len(scored) == 0:
            continue
        rows = order[~torch.isin(part[order], torch.tensor([a, b])).any(1)]
        offsets = torch.zeros(n_users + 1, dtype=torch.long)
        offsets[1:] = torch.cumsum(torch.bincount(train.user[rows], minlength=n_users), 0)
        history = History(train.items, offsets, train.chosen[rows], train.rejected[rows], train.history.row)
        out[scored] = margins(scorer, replace(train.take(scored), history=history))
    return out


def user_means(values: Tensor, pairs: Pairs) -> Tensor:
    """Each user's weighted mean, values float[…, n] → float[…, users with weight], in the order of their numbers."""
    n = len(pairs.history)
    weight = values.new_zeros(n).index_add(0, pairs.user, pairs.weight)
    sums = values.new_zeros(*values.shape[:-1], n).index_add(-1, pairs.user, values * pairs.weight)
    present = weight > 0
    return sums[..., present] / weight[present]


def mean_over_users(values: Tensor, pairs: Pairs) -> Tensor:
    """Mean over users of each user's weighted mean, values float[…, n] → float[…]: a user with many pairs counts once."""
    return user_means(values, pairs).mean(-1)


def loss_by_group(margin: Tensor, pairs: Pairs) -> dict[int, float]:
    """Bradley-Terry loss, averaged over users, of each group's pairs under margins float[n]; -1 = users in none.

    Of margins float[n, k] the first column is looked at, the user's own.
    """
    loss = bt(margin if margin.ndim == 1 else margin[:, 0])
    masks = {int(g): pairs.group == g for g in pairs.group.unique()}
    return {g: float(mean_over_users(loss[mask], pairs.take(mask))) for g, mask in masks.items()}


def best_unit(margin: Tensor, pairs: Pairs) -> float:
    """The factor in [0.1, 10] under which margins have the lowest Bradley-Terry loss, averaged over users."""
    grid = torch.logspace(-1, 1, 81)
    return float(grid[torch.stack([mean_over_users(bt(unit * margin), pairs) for unit in grid]).argmin()])

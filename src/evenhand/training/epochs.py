"""Which epoch a method that treats groups apart keeps: by the groups' validation losses, as far as these can tell epochs apart.

    d     mean over users of (loss of an epoch - loss of the epoch kept so far)
    c     what the groups' rule adds: the mean over groups of the same change, less d (or, for the worst group, its own change less d)
    rise  d + c max(0, 1 - var(c) / c^2)            below 0: the epoch is kept

The changes are paired by user. A group of ten users says little of an epoch, and a plain mean over groups listens to it as much as to a
group of a thousand: the lowest such mean lies wherever noise put it, at worst at the untrained model. So c counts only beyond its own noise
(the positive-part estimate of James & Stein 1961), var(c) = sum over groups of w_g^2 s_g^2 / n_g with n_g users, s_g the spread of their changes and
w_g the group's share in the rule less its share of users. Many users: the groups' rule. Few: the mean over users.
When to stop is no question of groups: see `train_model`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evenhand.core import Pairs
from evenhand.training.scoring import bt, user_means

UNKNOWN = 1e9  # variance of a mean over a single user: nothing is known of it


def mean_rise(margin: Tensor, kept: Tensor, valid: Pairs) -> Tensor:
    """By the mean over groups: margins float[r, n] of validation pairs under an epoch and under the one kept → rise float[r]."""
    return grouped_mean(user_means(bt(margin) - bt(kept), valid), group_of_users(valid))


def worst_rise(margin: Tensor, kept: Tensor, valid: Pairs) -> Tensor:
    """By the worst-off group: how much higher the largest of the groups' losses is, each group's change shrunk → rise float[r]."""
    group = group_of_users(valid)
    moved, members = group_changes(user_means(bt(margin) - bt(kept), valid), group)
    before = _by_group(user_means(bt(kept), valid), group)[0]
    inside = members >= 0
    return (before + moved)[..., inside].amax(-1) - before[..., inside].amax(-1)


def group_changes(change: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Each group's d + c max(0, 1 - var(c) / c^2), c its own mean change less d: float[…, g], and the groups' numbers int64[g].

    changes float[…, users], groups int64[users], -1 = none. A group that cannot be told from everybody has everybody's change.
    """
    means, variances, members = _by_group(change, group)
    weight = torch.eye(len(members)) - _shares(group, members)[None]
    return change.mean(-1, keepdim=True) + shrunk(means @ weight.T, variances @ weight.square().T), members


def shrunk(value: Tensor, variance: Tensor) -> Tensor:
    """value max(0, 1 - variance / value^2): nothing of what is within its noise, nearly all of what is far beyond."""
    return torch.where(value.square() > variance, value - variance / torch.where(value == 0, 1.0, value), 0.0)


def grouped_mean(change: Tensor, group: Tensor) -> Tensor:
    """d + c max(0, 1 - var(c) / c^2) for the mean over groups: changes float[…, users], groups int64[users], -1 = none → float[…]."""
    means, variances, members = _by_group(change, group)
    inside = (members >= 0).to(change.dtype)
    weight = inside / inside.sum().clamp_min(1) - _shares(group, members)
    return change.mean(-1) + (shrunk(means @ weight, variances @ weight.square()) if bool(inside.any()) else 0.0)


def group_of_users(pairs: Pairs) -> Tensor:
    """The group of every user with weight, int64[users with weight], in the order of `user_means`."""
    group = torch.full((len(pairs.history),), -1).index_copy(0, pairs.user, pairs.group)
    return group[torch.zeros(len(pairs.history)).index_add(0, pairs.user, pairs.weight) > 0]


def _by_group(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means over users float[r, g], the variances of these means float[r, g], and the groups' numbers int64[g] (-1: users in none)."""
    members = group.unique()
    parts = [values[..., group == g] for g in members]
    variances = [p.var(-1) / p.shape[-1] if p.shape[-1] > 1 else p.new_full(p.shape[:-1], UNKNOWN) for p in parts]
    return torch.stack([p.mean(-1) for p in parts], -1), torch.stack(variances, -1), members


def _shares(group: Tensor, members: Tensor) -> Tensor:
    """Each group's share of the users, float[g]."""
    return (group[:, None] == members).float().mean(0)

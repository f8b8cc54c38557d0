"""Losses and weights by group: what methods that treat groups apart share. Users in no group (-1) count as one more group in training."""

from __future__ import annotations

import torch
from torch import Tensor

from evenhand.core import EvenhandError, Pairs
from evenhand.training.loop import weighted_mean


def require_groups(method: str, train: Pairs, valid: Pairs) -> None:
    """Raises EvenhandError, before any training, unless there is a group and each has training and validation pairs."""
    trained, measured = set(train.groups()), set(valid.groups())
    if not trained:
        raise EvenhandError(
            f"{method}: no user is in a group. Expected: users in two or more groups. "
            "To do: name groups (--group-by COLUMN), let them come from support (--minority 0.2), or choose bradley_terry, which needs none."
        )
    if trained != measured:
        raise EvenhandError(
            f"{method}: groups {sorted(trained ^ measured)} have only training or only validation pairs. Expected: both for every group. "
            "To do: use fewer groups, a larger minority (--minority 0.3) or a larger validation share."
        )


def group_losses(losses: Tensor, batch: Pairs, names: Tensor) -> tuple[Tensor, Tensor]:
    """Each group's mean loss by its pairs' weights → (losses float[p], their positions in `names` int64[p]), for the p groups in the batch.

    names int64[k]: all groups of the training pairs. A group without a pair in the batch has no loss there and is left out.
    """
    present = torch.isin(names, batch.group).nonzero()[:, 0]
    members = [(batch.group == g).nonzero()[:, 0] for g in names[present]]
    return torch.stack([weighted_mean(losses[rows], batch.take(rows)) for rows in members]), present


def group_weights(train: Pairs, power: float) -> Tensor:
    """Each pair's weight, float[n], mean 1: (share of users in the user's group)^-power; 1 in no group."""
    group_of_user = torch.full((len(train.history),), -1).index_copy(0, train.user, train.group)
    values, index = group_of_user[group_of_user >= 0].unique(return_inverse=True)
    weight = torch.ones(len(train))
    inside = train.group >= 0
    share = torch.bincount(index) / max(len(index), 1)
    weight[inside] = share[torch.searchsorted(values, train.group[inside])] ** -power
    weight[inside] /= weight[inside].mean() if bool(inside.any()) else 1.0
    return weight

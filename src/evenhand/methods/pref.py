"""PReF's training rule: base rewards start at the principal directions of the users' tastes (Shenfeld et al. 2025, arXiv 2503.06358).

    D [users, d] = ridge regression of 1 on each user's differences,        D = U S W',        V_0 = the first `rank` rows of W'

Then Bradley-Terry, through the head's fit of each user's coefficients. The start matters since the factorisation is not convex.
It goes with the paper's user model, `--head pref`; any other head has no base rewards to start and is trained as Bradley-Terry.

Differs from the paper: there the matrix of users x pairs, labels +-1, is decomposed and the base rewards are regressed on its factors.
That needs many users on the same pairs; D carries the same tastes in feature space and needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from evenhand.core import EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.pref import PrefScorer
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class PrefMethod(Method):
    """base: head and schedule. ridge > 0: how far a user's direction is pulled to 0 before the decomposition, per pair and coordinate."""

    base: BradleyTerry = field(default_factory=BradleyTerry)
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise EvenhandError(f"pref: ridge is {self.ridge}. Expected: a number above 0. To do: leave it at 1.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation loss, averaged over users."""
        scorer = self.base.untrained(train, seed)
        if isinstance(scorer, PrefScorer):
            start_at(scorer, tastes(train, self.ridge))
        return train_model(scorer, train, pair_bt, valid, seed, self.base.schedule)

    def variants(self) -> Iterator[PrefMethod]:
        """Itself with the base's regularisations: what `tune` tries."""
        yield from (replace(self, base=base) for base in self.base.variants())


def tastes(train: Pairs, ridge: float) -> Tensor:
    """Each user's direction in feature space, float[users, d]: (Z'Z + ridge s I)^-1 Z'1 over training pairs, s = mean squared norm of Z's rows.

    Solved in the space of the user's pairs, which are fewer than the coordinates. 0 for a user without a pair.
    """
    difference = train.items[train.chosen] - train.items[train.rejected]
    scale = difference.square().sum(1).mean().clamp_min(1e-12)
    out = difference.new_zeros(len(train.history), difference.shape[1])
    order = torch.argsort(train.user, stable=True)
    counts = torch.bincount(train.user, minlength=len(train.history))
    for user, rows in enumerate(order.split(counts.tolist())):
        z = difference[rows]
        out[user] = z.T @ torch.linalg.solve(z @ z.T + ridge * scale * torch.eye(len(rows)), torch.ones(len(rows)))
    return out


def start_at(scorer: PrefScorer, directions: Tensor) -> None:
    """Set V to the leading right singular vectors of directions [users, d], and lambda_0 to their mean coefficients, rest as built.

    V keeps the length of its columns, so that margins start in the range the head was built for. Where there are fewer directions than
    columns the others stay as they are.
    """
    _, size, right = torch.linalg.svd(directions, full_matrices=False)
    rank = min(scorer.V.shape[1], int((size > 1e-6 * size.max()).sum()))
    with torch.no_grad():
        length = scorer.V.norm(dim=0)[:rank]
        scorer.V[:, :rank] = right[:rank].T * length
        scorer.mean[:rank] = (directions.mean(0) @ right[:rank].T) / length

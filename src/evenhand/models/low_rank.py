"""The history-conditioned low-rank head: a user's weights are the ridge solution on his or her own pairs.

    r(u, x, y) = b . phi + (V phi) . w_u,        w_u = c (Z'Z + (lambda n + kappa) I)^-1 Z'1,        Z = (phi+ - phi-) V over H_u

Ridge regression as a differentiable layer after Bertinetto et al. 2019 (arXiv 1805.08136), here with one regression per user on
differences of features with all targets 1. A new user needs no training: history in, w_u out. An empty history gives w_u = 0, which
is the reward for everybody. The order of the history's pairs does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evenhand.core import EvenhandError, Head, History


@dataclass(frozen=True)
class LowRank(Head):
    """rank: directions in which users may differ. 12 served four domains of taste well; more overfit with 10^4 pairs."""

    rank: int = 12

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise EvenhandError(
                f"rank is {self.rank}. Expected: 1 or more. To do: correct it, or use --head linear for one reward for all."
            )

    def build(self, dim: int, seed: int) -> LowRankScorer:
        """An untrained scorer for features of `dim` coordinates; users differ in min(rank, dim) directions."""
        return LowRankScorer(dim, min(self.rank, dim), torch.Generator().manual_seed(seed))


class LowRankScorer(nn.Module):
    """Parameters: b float[d], V float[d, rank], and softplus-positive lambda, kappa and c."""

    def __init__(self, dim: int, rank: int, generator: torch.Generator):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(dim))
        self.V = nn.Parameter(torch.randn(dim, rank, generator=generator) / dim**0.5)
        self.raw_lambda = nn.Parameter(torch.tensor(0.5))
        self.raw_kappa = nn.Parameter(torch.tensor(0.0))
        self.raw_c = nn.Parameter(torch.tensor(1.0))

    def users(self, history: History) -> Tensor:
        """w_u, float[users, rank]."""
        differences, owner = history.padded(history.differences())  # before V: of many replicas at once, for all of them
        return self.solution(differences @ self.V, owner, history)

    def solution(self, z: Tensor, owner: Tensor, history: History) -> Tensor:
        """w_u from the differences' low-rank coordinates float[rows, longest, rank], laid out by `History.padded`."""
        rank, n = z.shape[2], len(history)
        gram = z.new_zeros(n, rank, rank).index_add(0, owner, z.mT @ z)
        total = z.new_zeros(n, rank).index_add(0, owner, z.sum(1))
        count = (history.offsets[1:] - history.offsets[:-1]).to(z.dtype)
        ridge = softplus(self.raw_lambda) * count + softplus(self.raw_kappa)
        eye = torch.eye(rank, dtype=z.dtype)
        return softplus(self.raw_c) * torch.linalg.solve(gram + ridge[:, None, None] * eye, total)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, rank]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)

    def project(self, items: Tensor) -> Tensor:
        """The reward for everybody and V phi, float[n, 1 + rank]."""
        return items @ torch.cat([self.b[:, None], self.V], 1)

    def on_projected(self) -> Coordinates:
        return Coordinates(self)


class Coordinates:
    """The same on items that are their reward for everybody and their low-rank coordinates."""

    def __init__(self, scorer: LowRankScorer):
        self.scorer = scorer

    def users(self, history: History) -> Tensor:
        z, owner = history.padded(history.differences()[:, 1:])
        return self.scorer.solution(z, owner, history)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return items[:, 0] + (items[:, 1:] * state).sum(-1)

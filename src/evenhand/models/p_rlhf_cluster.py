"""P-RLHF with clusters of users: a training user is a mixture of a few embeddings (Li et al. 2024, arXiv 2402.05133).

    r(u, x, y) = b . phi + (V phi) . e_u,        e_u = softmax(w_u) C,        w_u = w_0 + 10 o_u,        o_u = 0 for an unknown user

Goes by `History.row` as p_rlhf.py does and says there; row = -1 gets the generic mixture softmax(w_0).

Differs from the paper: as p_rlhf.py does; besides, the weights pass through a softmax, so that a cluster can only be liked, and
start from w_0, so that a user with few pairs stays near the generic mixture. The factor 10 makes up for that a user's row takes one step
an epoch where shared weights take one a batch: without it weights hardly leave the generic mixture before training stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evenhand.core import Head, History
from evenhand.models.p_rlhf import seat_of

PACE = 10.0  # of 1, 3, 10 and 30 the best on held-out prompts of simulated users


@dataclass(frozen=True)
class PRlhfCluster(Head):
    """clusters: embeddings that are mixed; the paper uses 10. rank: their coordinates. seats: as in p_rlhf.py."""

    reads_new_users: ClassVar[bool] = False
    clusters: int = 10
    rank: int = 12
    seats: int = 4096

    def build(self, dim: int, seed: int) -> PRlhfClusterScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return PRlhfClusterScorer(dim, self, torch.Generator().manual_seed(seed))


class PRlhfClusterScorer(nn.Module):
    """Parameters: b float[d]; V float[d, rank]; C float[clusters, rank]; w_0 float[clusters]; o float[seats, clusters]."""

    def __init__(self, dim: int, head: PRlhfCluster, generator: torch.Generator):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(dim))
        self.V = nn.Parameter(torch.randn(dim, head.rank, generator=generator) / dim**0.5)
        self.C = nn.Parameter(torch.randn(head.clusters, head.rank, generator=generator))
        self.w0 = nn.Parameter(torch.zeros(head.clusters))
        self.o = nn.Parameter(torch.zeros(head.seats, head.clusters))

    def users(self, history: History) -> Tensor:
        """e_u, float[users, rank]."""
        row, known = seat_of(history, len(self.o))
        weight = torch.softmax(self.w0 + PACE * self.o[row] * known[:, None], 1)
        return (weight[:, :, None] * self.C).sum(1)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under e_u [n, rank]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)

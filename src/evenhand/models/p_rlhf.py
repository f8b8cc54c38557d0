"""P-RLHF with individual users: every training user has an embedding of his or her own (Li et al. 2024, arXiv 2402.05133).

    r(u, x, y) = b . phi + (V phi) . e_u,        e_u = e_0 + o_u,        o_u = 0 for an unknown user

The only head beside p_rlhf_cluster.py that goes by who a user is instead of what he or she chose: it looks up `History.row`, the
user's number in training, and does not read the history. row = -1, a user never seen in training, gets e_0: the reward for everybody. A
model that is served apart from its training users therefore gives everybody that reward; personalising it means training again.
Train it with methods/p_rlhf.py, which teaches e_0 along with the users.

Differs from the paper: there e_u is a soft prompt in front of a language model; here it enters a linear reward on frozen features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, Head, History


@dataclass(frozen=True)
class PRlhf(Head):
    """rank: coordinates of an embedding. seats: training users that have room; a number beyond is an error that says so."""

    reads_new_users: ClassVar[bool] = False
    rank: int = 12
    seats: int = 4096

    def build(self, dim: int, seed: int) -> PRlhfScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return PRlhfScorer(dim, self, torch.Generator().manual_seed(seed))


class PRlhfScorer(nn.Module):
    """Parameters: b float[d]; V float[d, rank]; e_0 float[rank]; o float[seats, rank]."""

    def __init__(self, dim: int, head: PRlhf, generator: torch.Generator):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(dim))
        self.V = nn.Parameter(torch.randn(dim, head.rank, generator=generator) / dim**0.5)
        self.e0 = nn.Parameter(torch.zeros(head.rank))
        self.o = nn.Parameter(torch.zeros(head.seats, head.rank))

    def users(self, history: History) -> Tensor:
        """e_u, float[users, rank]."""
        row, known = seat_of(history, len(self.o))
        return self.e0 + self.o[row] * known[:, None]

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under e_u [n, rank]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)


def seat_of(history: History, seats: int) -> tuple[Tensor, Tensor]:
    """Each user's row in a table of `seats`, int64[users] (0 where unknown), and whether the user is known, bool[users]."""
    if len(history) and int(history.row.max()) >= seats:
        raise EvenhandError(
            f"p_rlhf has {seats} seats for training users and found user number {int(history.row.max())}. "
            "Expected: a seat for each. To do: set the hyperparameter seats to the number of users, such as --set seats=20000."
        )
    return history.row.clamp_min(0), history.row >= 0

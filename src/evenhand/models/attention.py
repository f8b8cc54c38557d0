"""The attention encoder as a second history-conditioned head: learned queries read the user's own pairs.

    r(u, x, y) = b . phi + (V phi) . w_u,      w_u = O [s_1; ...; s_Q],      s_q = sum_i a_qi z_i,      z_i = tanh((phi+_i - phi-_i) V)
    a_qi = exp(l_qi) / (exp(k) + sum_j exp(l_qj)),                       l_qi = q_q . tanh|(phi+_i - phi-_i) K|

Pooling by learned queries after Lee et al. 2019 (Set Transformer, arXiv 1810.00825, section 3.2), used for context pairs by VPL
(Poddar et al. 2408.10075). Differs from both: a learned "nobody" entry of value 0 stands beside the pairs (the exp(k) above), so
that a short history moves w_u less than a long one and an empty one gives w_u = 0, the reward for everybody. The softmax is taken
user by user with sums over rows: ragged histories need no padding, and the order of the pairs does not matter. How much a pair is
read depends on |difference| alone, so a user who chose the other response every time gets -w_u.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, Head, History


@dataclass(frozen=True)
class Attention(Head):
    """rank: directions in which users may differ. queries: what is asked of a history; 4 lets it tell a few kinds of pairs apart."""

    rank: int = 12
    queries: int = 4

    def __post_init__(self) -> None:
        if self.rank < 1 or self.queries < 1:
            raise EvenhandError(f"rank is {self.rank}, queries is {self.queries}. Expected: 1 or more. To do: correct it.")

    def build(self, dim: int, seed: int) -> AttentionScorer:
        """An untrained scorer for features of `dim` coordinates; users differ in min(rank, dim) directions."""
        return AttentionScorer(dim, min(self.rank, dim), self.queries, torch.Generator().manual_seed(seed))


class AttentionScorer(nn.Module):
    """Parameters: b float[d]; V and K float[d, rank]; q float[rank, queries]; O float[queries * rank, rank]; k, a scalar."""

    def __init__(self, dim: int, rank: int, queries: int, generator: torch.Generator):
        super().__init__()

        def random(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) / rows**0.5)

        self.b = nn.Parameter(torch.zeros(dim))
        self.V = random(dim, rank)
        self.K = random(dim, rank)
        self.q = random(rank, queries)
        # Every query starts as a plain mean of what V sees: an untrained head already leans towards the user's own side.
        self.O = nn.Parameter(torch.eye(rank).repeat(queries, 1) / queries)
        self.k = nn.Parameter(torch.tensor(0.0))

    def users(self, history: History) -> Tensor:
        """w_u, float[users, rank]."""
        difference, owner, n = history.differences(), history.owner(), len(history)
        logits = torch.tanh((difference @ self.K).abs()) @ self.q  # (m, queries)
        # A user's largest logit is subtracted before exp, as in any softmax; the shift cancels, so no gradient passes through it.
        rows = owner[:, None].expand_as(logits)
        top = self.k.detach().expand(n, logits.shape[1]).scatter_reduce(0, rows, logits.detach(), "amax")
        weight = torch.exp(logits - top[owner])
        total = torch.exp(self.k - top).index_add(0, owner, weight)
        share = weight / total[owner]
        values = share[:, :, None] * torch.tanh(difference @ self.V)[:, None, :]  # (m, queries, rank)
        pooled = values.new_zeros(n, *values.shape[1:]).index_add(0, owner, values)
        return pooled.flatten(1) @ self.O

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, rank]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)

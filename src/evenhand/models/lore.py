"""LoRe: a few rewards shared by everybody, and for each user a mixture of them (Bose et al. 2025, arXiv 2504.14439).

    r(u, x, y) = phi . V softmax(s_u),        V float[d, K]
    w_u = softmax(s_u) = argmin over the simplex  sum_i -log sigma(w . z_i) + tau KL(w || uniform),      z_i = V'(phi+_i - phi-_i) over H_u

A new user fits the K weights on his or her own pairs and nothing else, as in the paper's few-shot stage; K = 1 is one reward for all.

Differs from the paper: there, the weights of seen users are parameters of their own, trained together with V, and only unseen users'
are fitted afterwards. Here every user's weights are fitted from the history, seen or not, by a fixed number of exponentiated-gradient
steps, and V learns through them: what is trained is what is done at inference. tau, learned, pulls a short history towards the even
mixture, which is also the reward of a user without a history; the paper has no such pull.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evenhand.core import Head, History


@dataclass(frozen=True)
class Lore(Head):
    """rank: K, the rewards that are mixed; the paper tries 1 to 25. steps: of the fit of a user's weights; 20 come close to its end."""

    rank: int = 8
    steps: int = 20

    def variants(self) -> Iterator[Lore]:
        """Other numbers of rewards: what `tune` tries before regularisation."""
        yield from (replace(self, rank=rank) for rank in (16, 4) if rank != self.rank)

    def build(self, dim: int, seed: int) -> LoreScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return LoreScorer(dim, self.rank, self.steps, torch.Generator().manual_seed(seed))


class LoreScorer(nn.Module):
    """Parameters: V float[d, K] and softplus-positive tau."""

    def __init__(self, dim: int, rank: int, steps: int, generator: torch.Generator):
        super().__init__()
        self.steps = steps
        self.V = nn.Parameter(torch.randn(dim, rank, generator=generator) / dim**0.5)
        self.raw_tau = nn.Parameter(torch.tensor(0.5))

    def users(self, history: History) -> Tensor:
        """w_u, float[users, K], each row on the simplex."""
        return mixture_of(history.differences() @ self.V, history, softplus(self.raw_tau), self.steps)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, K]."""
        return ((items @ self.V) * state).sum(-1)


def mixture_of(z: Tensor, history: History, tau: Tensor, steps: int) -> Tensor:
    """Each user's weights on the simplex, float[users, K], by mirror descent on a convex loss; z float[m, K]: a pair's margin under each part.

    The step is 1 / (tau + the loss's largest curvature in the 1-norm), so that the loss never rises (Bauschke et al. 2017, relative
    smoothness). An empty history gives even weights.
    """
    owner, n, rank = history.owner(), len(history), z.shape[1]
    half_range = (z.detach().amax(1) - z.detach().amin(1)) / 2  # what all parts share moves no weight
    step = 1 / (tau.detach() + z.new_zeros(n).index_add(0, owner, half_range**2 / 4))
    log_ratio = z.new_zeros(n, rank)  # log(w K), up to a constant of the user
    for _ in range(steps):
        weight = torch.softmax(log_ratio, 1)
        wrong = torch.sigmoid(-(z * weight[owner]).sum(1))
        gain = z.new_zeros(n, rank).index_add(0, owner, wrong[:, None] * z)
        log_ratio = log_ratio + step[:, None] * (gain - tau * log_ratio)
    return torch.softmax(log_ratio, 1)

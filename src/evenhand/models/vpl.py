"""VPL's user encoder: a latent read from the user's pairs by a pair encoder and attention (Poddar et al. 2024, arXiv 2408.10075).

    r(u, x, y) = b . phi + (V phi) . z,      z = mu_u = M sum_i a_i h_i,      h_i = tanh(B tanh(A (phi+_i - phi-_i)))
    a_i = exp(l_i) / (exp(k) + sum_j exp(l_j)),      l_i = q . |h_i|

At test z is the posterior's mean mu, which is what this head computes. The posterior's width and the Kullback-Leibler term belong to
training: methods/vpl.py. Without a history mu = 0, the mean of the prior, and the reward is linear: b . phi.

Differs from the paper: its pair encoder reads both responses side by side and its reward is a perceptron on (phi, z); here the
encoder reads their difference without biases, so that the mirrored history has the mirrored latent, and the reward is linear in z, so
that z = 0 is one reward for all. exp(k) is a learned entry of value 0 beside the pairs: a short history moves z less than a long one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evenhand.core import History


@dataclass(frozen=True)
class Vpl:
    """latent: coordinates of z. hidden: width of the pair encoder."""

    reads_new_users: ClassVar[bool] = True
    latent: int = 12
    hidden: int = 32

    def build(self, dim: int, seed: int) -> VplScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return VplScorer(dim, self, torch.Generator().manual_seed(seed))


class VplScorer(nn.Module):
    """Parameters: b float[d]; V float[d, latent]; A float[d, hidden]; B float[hidden, latent]; q float[latent]; M float[latent, latent]; k."""

    def __init__(self, dim: int, head: Vpl, generator: torch.Generator):
        super().__init__()

        def random(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, generator=generator) / rows**0.5

        self.b = nn.Parameter(torch.zeros(dim))
        self.A = nn.Parameter(random(dim, head.hidden))
        self.B = nn.Parameter(random(head.hidden, head.latent))
        # The reward starts out reading what the encoder reads: an untrained head already leans towards the user's own side.
        self.V = nn.Parameter((self.A @ self.B).detach().clone())
        self.q = nn.Parameter(torch.zeros(head.latent))
        self.M = nn.Parameter(torch.eye(head.latent))
        self.k = nn.Parameter(torch.tensor(0.0))

    def users(self, history: History) -> Tensor:
        """mu_u, float[users, latent]."""
        h = torch.tanh(torch.tanh(history.differences() @ self.A) @ self.B)  # (m, latent)
        owner, n = history.owner(), len(history)
        weight = torch.exp(h.abs() @ self.q)
        total = self.k.exp().expand(n).index_add(0, owner, weight)
        return h.new_zeros(n, h.shape[1]).index_add(0, owner, (weight / total[owner])[:, None] * h) @ self.M

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under z [n, latent]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)

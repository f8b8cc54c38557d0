"""VPL's user encoder: a latent read from the user's pairs by a pair encoder and attention (Poddar et al. 2024, arXiv 2408.10075).

    r(u, x, y) = b . phi + (V phi) . z,      z = mu_u = M sum_i a_i h_i,      h_i = tanh(B tanh(A (phi+_i - phi-_i)))
    a_i = exp(l_i) / (exp(k) + sum_j exp(l_j)),      l_i = q . |h_i|

At test z is the posterior's mean mu, which is what this head computes. The posterior's width and the Kullback-Leibler term belong to
training: methods/vpl.py. Without a history mu = 0, the mean of the prior, and the reward is linear: b . phi.

Differs from the paper: its pair encoder reads both responses side by side and its reward is a perceptron on (phi, z); here the
encoder reads their difference without biases, so that the mirrored history has the mirrored latent, and the reward is linear in z, so
that z = 0 is one reward for all. exp(k) is a learned entry of value 0 beside the pairs: a short history moves z less than a long one.

perceptron > 0 is the paper's own form, its width that of all layers (go with --set dropout=0 --set weight_decay=0 for the unregularised one):

    r(u, x, y) = w . f(f([phi; z])),      z = mu_u = M sum_i a_i e_i,      e_i = f(f([phi+_i; phi-_i])),      a = softmax(q . e_i / sqrt(h))

with f an affine layer and a rectifier. Left of the paper's is one head of attention with a learned query, where its own has several over all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, Head, History


@dataclass(frozen=True)
class Vpl(Head):
    """latent: coordinates of z. hidden: width of the pair encoder. perceptron: width of the paper's own form, 0 = the linear redesign."""

    latent: int = 12
    hidden: int = 32
    perceptron: int = 0

    def __post_init__(self) -> None:
        if min(self.latent, self.hidden) < 1 or self.perceptron < 0:
            widths = f"latent={self.latent}, hidden={self.hidden}, perceptron={self.perceptron}"
            raise EvenhandError(f"vpl: {widths}. Expected: 1 or more, and 0 or more for perceptron. To do: leave them out.")

    def build(self, dim: int, seed: int) -> VplScorer | PerceptronVplScorer:
        """An untrained scorer for features of `dim` coordinates."""
        kind = PerceptronVplScorer if self.perceptron else VplScorer
        return kind(dim, self, torch.Generator().manual_seed(seed))


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


class PerceptronVplScorer(nn.Module):
    """Parameters: weights and biases of the encoder's two layers (A, B) and the reward's two (C, D); q, w float[h]; M float[h, latent]."""

    def __init__(self, dim: int, head: Vpl, generator: torch.Generator):
        super().__init__()
        h = head.perceptron

        def layer(rows: int, columns: int) -> tuple[nn.Parameter, nn.Parameter]:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) * (2 / rows) ** 0.5), nn.Parameter(torch.zeros(columns))

        (self.A, self.a), (self.B, self.b) = layer(2 * dim, h), layer(h, h)
        (self.C, self.c), (self.D, self.d) = layer(dim + head.latent, h), layer(h, h)
        self.q = nn.Parameter(torch.zeros(h))
        self.M = nn.Parameter(torch.randn(h, head.latent, generator=generator) / h**0.5)
        self.w = nn.Parameter(torch.randn(h, generator=generator) / h**0.5)

    def users(self, history: History) -> Tensor:
        """mu_u, float[users, latent]; 0 without a history."""
        both = torch.cat([history.items[history.chosen], history.items[history.rejected]], dim=1)
        e = torch.relu(torch.relu(both @ self.A + self.a) @ self.B + self.b)
        owner, n = history.owner(), len(history)
        logit = e @ self.q / e.shape[1] ** 0.5
        top = logit.detach().new_full((n,), -torch.inf).scatter_reduce(0, owner, logit.detach(), "amax")
        weight = torch.exp(logit - top[owner])  # the largest of a user's is 1; the shift cancels
        share = weight / weight.new_zeros(n).index_add(0, owner, weight)[owner]
        return e.new_zeros(n, e.shape[1]).index_add(0, owner, share[:, None] * e) @ self.M

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under z [n, latent]."""
        inside = torch.relu(torch.cat([items, state], dim=1) @ self.C + self.c)
        return torch.relu(inside @ self.D + self.d) @ self.w

"""PReF: reward factorisation; a user's coefficients are a logistic regression on his or her own pairs (Shenfeld et al. 2025, arXiv 2503.06358).

    r(u, x, y) = lambda_u . V phi,        lambda_u = argmin  sum_i -log sigma(lambda . z_i) + rho/2 ||lambda - lambda_0||^2,      z_i = V (phi+_i - phi-_i)

The paper's fit for a new user: maximum a posteriori under a Gaussian prior, all base rewards fixed. It is convex; the steps below never
raise the loss. Without a history lambda_u = lambda_0. The start of V from a singular value decomposition is in methods/pref.py.

Differs from the paper: coefficients of seen users are parameters there; here they are fitted from the history for everybody, and V
learns through the fit. The prior's mean and strength are learned with V; the paper's prior is centred at 0. Base rewards are linear in the
features. Which pairs to ask a new user about (the paper's active queries) is not a question here: histories are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evenhand.core import Head, History


@dataclass(frozen=True)
class Pref(Head):
    """rank: base rewards. steps: of the regression; the first is ridge regression already, 8 come close to its end."""

    rank: int = 12
    steps: int = 8

    def build(self, dim: int, seed: int) -> PrefScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return PrefScorer(dim, self.rank, self.steps, torch.Generator().manual_seed(seed))


class PrefScorer(nn.Module):
    """Parameters: V float[d, rank], lambda_0 float[rank], softplus-positive rho."""

    def __init__(self, dim: int, rank: int, steps: int, generator: torch.Generator):
        super().__init__()
        self.steps = steps
        self.V = nn.Parameter(torch.randn(dim, rank, generator=generator) / dim**0.5)
        self.mean = nn.Parameter(torch.zeros(rank))
        self.raw_rho = nn.Parameter(torch.tensor(0.5))

    def users(self, history: History) -> Tensor:
        """lambda_u, float[users, rank]. The curvature is bounded by that at margin 0 (Böhning & Lindsay 1988): one matrix for all steps."""
        z = history.differences() @ self.V  # (m, rank)
        owner, n, rank = history.owner(), len(history), self.V.shape[1]
        rho = softplus(self.raw_rho)
        gram = z.new_zeros(n, rank * rank).index_add(0, owner, (z[:, :, None] * z[:, None, :]).flatten(1)).unflatten(1, (rank, rank))
        factor = torch.linalg.lu_factor(gram / 4 + rho * torch.eye(rank, dtype=z.dtype))
        coefficients = self.mean.expand(n, rank)
        for _ in range(self.steps):
            wrong = torch.sigmoid(-(z * coefficients[owner]).sum(1))
            downhill = z.new_zeros(n, rank).index_add(0, owner, wrong[:, None] * z) - rho * (coefficients - self.mean)
            coefficients = coefficients + torch.linalg.lu_solve(*factor, downhill[:, :, None])[:, :, 0]
        return coefficients

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under lambda_u [n, rank]."""
        return ((items @ self.V) * state).sum(-1)

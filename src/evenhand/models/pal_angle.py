"""PAL by angle: a user is a mixture of a few directions; what points the same way is liked more (Chen et al. 2024, arXiv 2406.08469).

    r(u, x, y) = c <F phi / ||F phi||, a_u>,        a_u = sum_k w_uk p_k / ||p_k||,        w_u on the simplex

A new user fits w_u on his or her own pairs, everything else fixed. One prototype is no personalisation.

Differs from the paper: as pal.py does (weights from the history, linear F, learned tau); besides, the mixture a_u is not scaled back to
length 1, so that the fit of w_u stays convex: a user between two tastes has smaller margins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from evenhand.core import Head, History
from evenhand.models.lore import mixture_of
from evenhand.models.pal import hidden_layer


@dataclass(frozen=True)
class PalAngle(Head):
    """prototypes: directions that are mixed. rank: coordinates of the space they lie in. steps: of the fit of a user's weights.

    hidden: width of the paper's perceptron in place of F, 0 = linear.
    """

    prototypes: int = 8
    rank: int = 12
    steps: int = 20
    hidden: int = 0

    def build(self, dim: int, seed: int) -> PalAngleScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return PalAngleScorer(dim, self, torch.Generator().manual_seed(seed))


class PalAngleScorer(nn.Module):
    """Parameters: F float[d, rank], prototypes P float[K, rank], softplus-positive c and tau."""

    def __init__(self, dim: int, head: PalAngle, generator: torch.Generator):
        super().__init__()
        self.steps = head.steps
        self.hidden = hidden_layer(dim, head.hidden, generator)
        self.F = nn.Parameter(torch.randn(head.hidden or dim, head.rank, generator=generator) / (head.hidden or dim) ** 0.5)
        self.P = nn.Parameter(torch.randn(head.prototypes, head.rank, generator=generator) / head.rank**0.5)
        self.raw_c = nn.Parameter(torch.tensor(2.0))  # cosines are small: margins of a few units need a factor
        self.raw_tau = nn.Parameter(torch.tensor(0.5))

    def parts(self, items: Tensor) -> Tensor:
        """float[n, K]: c cos(F phi, p_k)."""
        return softplus(self.raw_c) * normalize(self.hidden(items) @ self.F, dim=1) @ normalize(self.P, dim=1).T

    def users(self, history: History) -> Tensor:
        """w_u, float[users, K], each row on the simplex."""
        z = self.parts(history.items[history.chosen]) - self.parts(history.items[history.rejected])
        return mixture_of(*history.padded(z), len(history), softplus(self.raw_tau), self.steps)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, K]."""
        return (self.parts(items) * state).sum(-1)

"""PAL by distance: a user is a mixture of a few ideal points; what lies nearer is liked more (Chen et al. 2024, arXiv 2406.08469).

    r(u, x, y) = -||F phi - a_u||^2,        a_u = sum_k w_uk p_k,        w_u on the simplex

A new user fits w_u on his or her own pairs, everything else fixed, as in the paper's few-shot stage. One prototype is no personalisation.

Differs from the paper: w_u of seen users are parameters there; here they are fitted from the history for everybody (see lore.py for
the steps). F is linear where the paper has a two-layer perceptron on top of a language model: hidden > 0 is the latter, F gelu(G phi). tau, learned, pulls a short history towards
the even mixture. Unlike the other heads this one is no function of differences: an ideal point is a place in feature space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evenhand.core import Head, History
from evenhand.models.lore import mixture_of


@dataclass(frozen=True)
class Pal(Head):
    """prototypes: ideal points that are mixed. rank: coordinates of the space they lie in. steps: of the fit of a user's weights.

    hidden: width of the paper's perceptron in place of F, 0 = linear.
    """

    prototypes: int = 8
    rank: int = 12
    steps: int = 20
    hidden: int = 0

    def build(self, dim: int, seed: int) -> PalScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return PalScorer(dim, self, torch.Generator().manual_seed(seed))


class PalScorer(nn.Module):
    """Parameters: F float[d, rank], prototypes P float[K, rank], softplus-positive tau."""

    def __init__(self, dim: int, head: Pal, generator: torch.Generator):
        super().__init__()
        self.steps = head.steps
        # Prototypes start far out and responses near 0: there distances differ by direction, and ||F phi||^2, the same for all, is small.
        self.hidden = hidden_layer(dim, head.hidden, generator)
        self.F = nn.Parameter(torch.randn(head.hidden or dim, head.rank, generator=generator) / (4 * (head.hidden or dim) ** 0.5))
        self.P = nn.Parameter(torch.randn(head.prototypes, head.rank, generator=generator) * 2 / head.rank**0.5)
        self.raw_tau = nn.Parameter(torch.tensor(0.5))

    def parts(self, items: Tensor) -> Tensor:
        """float[n, K]: 2 F phi . p_k - ||F phi||^2. Mixed, this is r + ||a_u||^2, and what is added cancels in every margin."""
        place = self.hidden(items) @ self.F
        return 2 * place @ self.P.T - place.square().sum(1, keepdim=True)

    def users(self, history: History) -> Tensor:
        """w_u, float[users, K], each row on the simplex."""
        z = self.parts(history.items[history.chosen]) - self.parts(history.items[history.rejected])
        return mixture_of(*history.padded(z), len(history), softplus(self.raw_tau), self.steps)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, K]."""
        return (self.parts(items) * state).sum(-1) - (state @ self.P).square().sum(-1)


def hidden_layer(dim: int, width: int, generator: torch.Generator) -> nn.Module:
    """gelu(G phi) with `width` coordinates; phi itself at width 0."""
    if width == 0:
        return nn.Identity()
    layer = nn.utils.skip_init(nn.Linear, dim, width)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(width, dim, generator=generator) * (2 / dim) ** 0.5)
        layer.bias.zero_()
    return nn.Sequential(layer, nn.GELU())

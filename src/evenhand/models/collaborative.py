"""Collaborative filtering with side information: a user's taste is a Gaussian around the common one, and the history moves it.

    r(u, x, y) = unit (b + t_u) . phi,        t_u ~ N(0, V V' + tau I)
    vote of u on item i:    y_ui = a_u + (b + t_u) . phi_i + noise,        noise ~ N(0, s (1 + 1/n_ui) / 2),        a_u free
    t_u = (V V' + tau I) Z' alpha,        alpha = (Z (V V' + tau I) Z' + N)^-1 (y - Z b)        posterior mean, N the noise

V holds the few directions in which users differ together, tau what is a user's own. A history's pairs are read as votes: y_ui in [-1, 1] is
how much more often user u chose item i than rejected it, n_ui how often he or she judged it. A statement that stands in ten of a
voter's pairs is thus about one vote, not ten. Z [votes, d] are the features of a user's items, and y - Z b what the common taste leaves
over, both less their means, so that a_u is out and what all items of a user share changes nothing. A thin history moves little and an
empty one nothing: then r = unit b . phi, the reward for everybody. methods/collaborative.py finds b, V, s and unit without gradients.

Sources: the posterior of a linear-Gaussian latent, Tipping & Bishop 1999 (J. R. Stat. Soc. B 61, section 3.1); votes as products of
Gaussian factors, Salakhutdinov & Mnih 2007 (Probabilistic matrix factorization); factors that are regressed on features, Agarwal & Chen
2009 (Regression-based latent factor models). Conjugate gradients: Hestenes & Stiefel 1952.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evenhand.core import EvenhandError, Head, History


@dataclass(frozen=True)
class Collaborative(Head):
    """rank: shared directions in which users differ; on Polis 2 to 4 were level on validation, 6 and more lost. steps: of conjugate
    gradients to alpha; exact for as many votes, 16 come close for any history, since all but `rank` eigenvalues lie near the noise."""

    rank: int = 4
    steps: int = 16

    def __post_init__(self) -> None:
        if self.rank < 1 or self.steps < 1:
            raise EvenhandError(
                f"collaborative: rank={self.rank}, steps={self.steps}. Expected: both 1 or more. To do: leave them out, "
                "or use --head linear for one reward for all."
            )

    def build(self, dim: int, seed: int) -> CollaborativeScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return CollaborativeScorer(dim, self.rank, self.steps, torch.Generator().manual_seed(seed))


class CollaborativeScorer(nn.Module):
    """Parameters: b float[d]; V float[d, rank]; softplus-positive tau, s and unit."""

    def __init__(self, dim: int, rank: int, steps: int, generator: torch.Generator):
        super().__init__()
        self.steps = steps
        self.b = nn.Parameter(torch.zeros(dim))
        self.V = nn.Parameter(torch.randn(dim, rank, generator=generator) / (2 * dim**0.5))
        self.raw_tau = nn.Parameter(torch.tensor(-3.0))
        self.raw_s = nn.Parameter(torch.tensor(1.0))
        self.raw_unit = nn.Parameter(torch.tensor(1.0))

    def users(self, history: History) -> Tensor:
        """t_u, float[users, d]."""
        owner, item, y, count = votes(history.owner(), history.chosen, history.rejected, len(history.items))
        dtype, n = history.items.dtype, len(history)
        root = (softplus(self.raw_s) * (1 + 1 / count.to(dtype)) / 2).rsqrt()  # with rows times this, the noise is I
        share = root.square() / root.new_zeros(n).index_add(0, owner, root.square())[owner]  # of a user's precision

        def sums(values: Tensor) -> Tensor:
            return values.new_zeros(n, *values.shape[1:]).index_add(0, owner, values)

        z = history.items[item]
        z = z - sums(share[:, None] * z)[owner]
        left = y.to(dtype) - z @ self.b
        left = root * (left - sums(share * left)[owner])
        z = root[:, None] * z

        def taste(alpha: Tensor) -> Tensor:
            moved = sums(z * alpha[:, None])
            return (moved @ self.V) @ self.V.mT + softplus(self.raw_tau) * moved

        def covariance(alpha: Tensor) -> Tensor:
            return alpha + (z * taste(alpha)[owner]).sum(1)

        return taste(conjugate_gradients(covariance, left, lambda v: sums(v)[owner], self.steps))

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under t_u [n, d]."""
        return softplus(self.raw_unit) * (items @ self.b + (items * state).sum(1))


def votes(
    user: Tensor, chosen: Tensor, rejected: Tensor, n_items: int, weight: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs as votes, one a user and item: user, item int64[m]; vote float64[m] in [-1, 1]; times judged float64[m].

    A vote is the mean of +1 (chosen) and -1 (rejected), by weight float[pairs] where one is given; times judged is then the sum of weights.
    """
    keys, place = torch.cat([user * n_items + chosen, user * n_items + rejected]).unique(return_inverse=True)
    times = torch.ones(len(user), dtype=torch.float64) if weight is None else weight.double()
    count = times.new_zeros(len(keys)).index_add(0, place, torch.cat([times, times]))
    net = times.new_zeros(len(keys)).index_add(0, place, torch.cat([times, -times]))
    return keys // n_items, keys % n_items, net / count, count


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], right: Tensor, dot: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """The solution of matrix(x) = right for many users at once, float[m]: a block of rows a user, symmetric, eigenvalues at least 1.

    dot(values [m]) → each user's sum, at each of the user's rows. A user whose solution is found stays there.
    """
    x, residual, direction = torch.zeros_like(right), right, right
    size = dot(residual.square())
    for _ in range(steps):
        image = matrix(direction)
        step = size / dot(direction * image).clamp_min(1e-30)
        x = x + step * direction
        residual = residual - step * image
        before, size = size, dot(residual.square())
        direction = residual + size / before.clamp_min(1e-30) * direction
    return x

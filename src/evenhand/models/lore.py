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
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
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
        differences, owner = history.padded(history.differences())  # before V: of many replicas at once, for all of them
        return mixture_of(differences @ self.V, owner, len(history), softplus(self.raw_tau), self.steps)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, K]."""
        return ((items @ self.V) * state).sum(-1)

    def project(self, items: Tensor) -> Tensor:
        """The rewards that are mixed, float[n, K]."""
        return items @ self.V

    def on_projected(self) -> Mixed:
        return Mixed(self)


class Mixed:
    """LoRe on items that are their K rewards."""

    def __init__(self, scorer: LoreScorer):
        self.scorer = scorer

    def users(self, history: History) -> Tensor:
        z, owner = history.padded(history.differences())
        return mixture_of(z, owner, len(history), softplus(self.scorer.raw_tau), self.scorer.steps)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return (items * state).sum(-1)


def mixture_of(z: Tensor, owner: Tensor, n: int, tau: Tensor, steps: int) -> Tensor:
    """Weights on the simplex of n users, float[n, K], by mirror descent on a convex loss.

    z float[rows, longest, K], owner int64[rows]: a pair's margin under each part, laid out by `History.padded`. tau: a scalar.
    The step is 1 / (tau + the loss's largest curvature in the 1-norm), so that the loss never rises (Bauschke et al. 2017, relative
    smoothness). An empty history gives even weights.
    """
    alone = len(owner) == n and bool((owner == torch.arange(n)).all())
    weight: Tensor = _Mixture.apply(z, None if alone else owner, tau.reshape(1, 1), n, steps, torch.is_grad_enabled())[0]
    return weight


class _Mixture(torch.autograd.Function):
    """The descent with its gradient written out: a few operations a step in place of a dozen, and one product for z in the end.

    With q = sigma(-Z w), w = softmax(l), l' = l + s (Z'q - tau l), the step s a constant, the gradient g of l' goes back as

        e = s g        a = -q (1 - q) Z e        g <- g - tau e + softmax'(w) Z'a        dZ += q e' + a w'        dtau -= e . l

    Users are the last coordinate inside, [K, users]: sums over a handful of parts are slow where the parts lie side by side. Replicas are more
    rows and users. tau float[1, n or 1]; owner None: a user is a row. All outputs but the first are what backward reads.
    """

    @staticmethod
    def forward(
        z: Tensor, owner: Tensor | None, tau: Tensor, n: int, steps: int, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        rank, length, rows = z.shape[2], z.shape[1], z.shape[0]
        half_range = (z.amax(2) - z.amin(2)) / 2  # what all parts share moves no weight
        step = 1 / (tau + _of_users((half_range**2 / 4).sum(1)[None], owner, n))
        z = z.permute(1, 2, 0).contiguous()  # [longest, K, rows]
        kept = steps if keep else 0
        logs, weights, wrongs = z.new_empty(kept, rank, n), z.new_empty(kept, rank, n), z.new_empty(kept, length, rows)
        log_ratio = z.new_zeros(rank, n)  # log(w K), up to a constant of the user
        for k in range(steps):
            weight = torch.softmax(log_ratio, 0)
            wrong = (z * _of_rows(weight, owner)).sum(1).neg_().sigmoid_()
            if keep:
                logs[k], weights[k], wrongs[k] = log_ratio, weight, wrong
            gain = _of_users((z * wrong[:, None]).sum(0), owner, n)
            log_ratio = log_ratio + step * (gain - tau * log_ratio)
        return torch.softmax(log_ratio, 0).T.contiguous(), step, logs, weights, wrongs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        z, owner, tau, ctx.n, *_ = inputs
        ctx.save_for_backward(z, owner, tau, *output)
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, down: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        z, owner, tau, end, step, logs, weights, wrongs = ctx.saved_tensors
        z = z.permute(1, 2, 0).contiguous()
        slopes, errors = torch.empty_like(wrongs), weights.new_empty(*weights.shape[:2], z.shape[2])
        down, pull = _through_softmax(down.T, end.T), torch.zeros_like(step)
        for k in reversed(range(len(weights))):
            moved, wrong = step * down, wrongs[k]
            errors[k] = _of_rows(moved, owner)
            slopes[k] = (z * errors[k]).sum(1) * wrong * (wrong - 1)
            down = down - tau * moved + _through_softmax(_of_users((z * slopes[k][:, None]).sum(0), owner, ctx.n), weights[k])
            pull -= (moved * logs[k]).sum(0)
        of_rows = weights if owner is None else weights[:, :, owner]
        sides = torch.cat([wrongs, slopes]).permute(2, 1, 0), torch.cat([errors, of_rows]).permute(2, 0, 1)
        return torch.bmm(*sides), None, pull.sum_to_size(tau.shape), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        (z, owner, tau, n, steps, keep), replicas = inputs, info.batch_size
        z, tau = (v[None] if dim is None else v.movedim(dim, 0) for v, dim in zip((z, tau), (in_dims[0], in_dims[2])))
        z, tau = z.expand(replicas, *z.shape[1:]).flatten(0, 1), tau.expand(replicas, 1, n).reshape(1, -1)
        if owner is not None:
            owner = (owner + n * torch.arange(replicas)[:, None]).flatten()
        weight, *read = _Mixture.apply(z, owner, tau, n * replicas, steps, keep)
        read = [v.unflatten(v.ndim - 1, (replicas, -1)) for v in read]
        return (weight.unflatten(0, (replicas, n)), *read), (0, *(v.ndim - 2 for v in read))


def _of_rows(values: Tensor, owner: Tensor | None) -> Tensor:
    """Of every row its user's, float[k, rows]."""
    return values if owner is None else values[:, owner]


def _of_users(values: Tensor, owner: Tensor | None, n: int) -> Tensor:
    """Sums over the rows of every user, float[k, n]."""
    return values if owner is None else values.new_zeros(len(values), n).index_add(1, owner, values)


def _through_softmax(down: Tensor, weight: Tensor) -> Tensor:
    """The gradient of logits from that of their softmax, both [k, n]."""
    down = down * weight
    return down - weight * down.sum(0)

"""Multiple-gradient descent: one step that harms no group (Désidéri 2012, C. R. Math. 350; for networks Sener & Koltun 2018, arXiv 1810.04650).

    d = sum_g lambda_g grad L_g          lambda = argmin over the simplex of || sum_g lambda_g grad L_g ||^2

d is the shortest vector in the convex hull of the groups' gradients. A small step against it lowers every group's loss at the rate
||d||^2 or faster (grad L_g · d >= ||d||^2 for all g); d = 0 is Pareto-stationary. For two groups lambda_1 = clip((g2 - g1)·g2 / ||g1 - g2||^2, 0, 1).

Differs from the paper: gradients are first scaled to length 1 (`normalise`; the theorem holds for any positive scaling, with ||d|| of the
scaled gradients). They are of all parameters, where Sener & Koltun bound them through a shared representation; lambda is solved exactly
instead of by Frank-Wolfe. Groups of users take the place of tasks. d then goes through AdamW like every method's gradient, so the
descent property is that of d, not of the preconditioned step; and batches make it hold on average, not at each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from evenhand.core import Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.epochs import mean_rise
from evenhand.training.groups import group_losses, require_groups
from evenhand.training.loop import Combine, pair_bt, train_model
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class MGDA(Method):
    """normalise: gradients of length 1 before lambda is sought. Without it the hull's shortest point leans towards the group with the
    *smaller* gradient, which is the one already served well: in a made-up world that lost 9 points of the minority's accuracy."""

    needs_groups: ClassVar[bool] = True
    base: BradleyTerry = field(default_factory=BradleyTerry)
    normalise: bool = True

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch kept by the mean over groups of the validation losses (`training/epochs.py`)."""
        require_groups("mgda", train, valid)
        return train_model(
            self.base.untrained(train, seed), train, pair_bt, valid, seed, self.base.schedule,
            rise=mean_rise, combine=common_descent(train.group.unique(), self.normalise),
        )  # fmt: skip

    def variants(self) -> Iterator[MGDA]:
        """Itself, then with gradients as they are, each at other step lengths: what `tune` tries."""
        yield self
        lr = self.base.schedule.lr
        for normalise, factor in ((False, 1.0), (True, 0.3), (False, 0.3), (True, 3.0), (False, 3.0), (True, 0.1), (False, 0.1)):
            yield MGDA(replace(self.base, schedule=replace(self.base.schedule, lr=lr * factor)), normalise)


def common_descent(names: Tensor, normalise: bool) -> Combine:
    """A scalar whose gradient is d (up to length when normalised): the groups' losses weighted by lambda. names int64[k]: the groups."""

    def combine(losses: Tensor, batch: Pairs, parameters: Sequence[Tensor]) -> Tensor:
        group_loss, _ = group_losses(losses, batch, names)
        gradients = torch.stack([flat_gradient(value, parameters) for value in group_loss])
        length = gradients.norm(dim=1).clamp_min(1e-12) if normalise else torch.ones(len(gradients))
        weight = min_norm(gradients / length[:, None]) / length
        return (weight / weight.sum() * group_loss).sum()

    return combine


def flat_gradient(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The gradient of one loss as a single vector, float[p]."""
    parts = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def min_norm(gradients: Tensor) -> Tensor:
    """lambda float[k] >= 0, sum 1: the weights of the shortest vector in the convex hull of the rows of `gradients` [k, p]. Exact.

    Minimise ||G'v||^2 + (sum v - 1)^2 over v >= 0 and divide by the sum: for any sum the best direction of v is lambda, so that
    non-negative least squares (Lawson & Hanson 1974, ch. 23) solves the problem on the simplex. G'G is used by its k x k root.
    """
    g = gradients.double().numpy()
    values, vectors = np.linalg.eigh(g @ g.T)
    scale = max(values[-1], np.finfo(float).tiny)  # a common factor of the gradients changes no lambda
    root = np.sqrt(np.clip(values / scale, 0, None))[:, None] * vectors.T
    weights, _ = nnls(np.vstack([root, np.ones(len(g))]), np.append(np.zeros(len(g)), 1.0))
    return torch.from_numpy(weights / weights.sum()).to(gradients.dtype)

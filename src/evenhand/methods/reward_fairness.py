"""Rewards as a resource to be shared evenly over pairs (Ouyang et al. 2025, ACL, arXiv 2505.23349): both of its forms.

    f = (sum a_i)^2 / (n sum a_i^2),  a_i = sigma(m_i)          Jain's index over the batch's n pairs, in [1/n, 1], 1 = all alike
    L = L_BT f^gamma - alpha f                                  alpha > 0, gamma 0: regularisation; alpha 0, gamma > 0: coefficient

f is the family f_tau of Lan et al. 2010 (arXiv 0906.0557) at tau = -1, divided by n. No group is looked at, in training or later.

Differs from the paper: its loss has either term; here alpha and gamma may be set together, and both at 0 is Bradley-Terry itself. Only
tau = -1, the value of the authors' released settings (as are alpha 0.1 and gamma 0.5). Pairs enter f with their weights.
As published, a *positive* gamma makes uneven margins cheaper: L_BT is positive, so the product falls with f. We keep the formula and
allow gamma < 0, which divides by f and rewards evenness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from evenhand.core import EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.loop import pair_bt, train_model, weighted_mean
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class RewardFairness(Method):
    """alpha >= 0: strength of the regularisation, 0.1 as published; large values flatten all margins. gamma: exponent of the coefficient."""

    base: BradleyTerry = field(default_factory=BradleyTerry)
    alpha: float = 0.1
    gamma: float = 0.0

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise EvenhandError(f"reward_fairness: alpha is {self.alpha}. Expected: a number of at least 0. To do: pass alpha=0.1.")
        if not math.isfinite(self.gamma):
            raise EvenhandError(f"reward_fairness: gamma is {self.gamma}. Expected: a number. To do: pass gamma=0.5 or leave it out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation Bradley-Terry loss, averaged over users."""
        return train_model(self.base.untrained(train, seed), train, pair_bt, valid, seed, self.base.schedule, combine=self.combine)

    def combine(self, losses: Tensor, batch: Pairs, parameters: Sequence[Tensor]) -> Tensor:
        """L of one batch. losses float[n] are -log sigma(m), so their exponential is the resource a."""
        evenness = jain((-losses).exp(), batch.weight)
        return weighted_mean(losses, batch) * evenness**self.gamma - self.alpha * evenness

    def variants(self) -> Iterator[RewardFairness]:
        """Itself, then other strengths of both forms: what `tune` tries."""
        yield self
        for alpha, gamma in ((0.0, 0.5), (0.5, 0.0), (0.0, -0.5), (1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (0.03, 0.0)):
            yield replace(self, alpha=alpha, gamma=gamma)


def jain(a: Tensor, weight: Tensor) -> Tensor:
    """Jain's index of a float[n] >= 0 with weights (Jain, Chiu & Hawe 1984, DEC-TR-301), scalar in (0, 1]: a weight of 2 is the value twice."""
    return (a * weight).sum() ** 2 / (weight.sum() * (a**2 * weight).sum())

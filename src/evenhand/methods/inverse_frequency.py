"""Inverse-frequency weights: Bradley-Terry with each user weighted by how rare his or her group is.

    L = mean of w_g(u) L_BT(m),        w_g ∝ (share of users in g)^-power, mean 1 over pairs

Importance weighting (Shimodaira 2000, J. Stat. Plan. Inference 90) towards a population in which groups are equally frequent, a
pre-processing method of the fairness literature. power 1 is inverse frequency, 0 is Bradley-Terry itself, and what lies between gives up
less of the majority. Not Kamiran & Calders's reweighing (reweighing.py), which weighs cells of (event, label).

Differs from the paper: the weight is a group's instead of a density's ratio at each pair. The epoch is picked by the mean over groups, the
same target as the weights, as far as small groups can tell epochs apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from evenhand.core import EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.epochs import mean_rise
from evenhand.training.groups import group_weights, require_groups
from evenhand.training.scoring import bt
from evenhand.training.stack import Stages, Training, run_stages
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class InverseFrequency(Method):
    """power in [0, 1]: exponent of the inverse frequency. 1 can make a handful of users the loudest; then try 0.5."""

    needs_groups: ClassVar[bool] = True
    base: BradleyTerry = field(default_factory=BradleyTerry)
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise EvenhandError(
                f"inverse_frequency: power is {self.power}. Expected: a number from 0 to 1. To do: pass power=0.5 or leave it out."
            )

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch kept by the mean over groups of the validation losses (`training/epochs.py`); at power 0 by the mean over users."""
        return run_stages([self], train, valid, seed)[0]

    def stages(self, train: Pairs, valid: Pairs, seed: int) -> Stages:
        """Settings that differ in power and weight decay alone are one stack."""
        require_groups("inverse_frequency", train, valid)
        return (
            yield Training(
                self.base.untrained(train, seed), weighted_bt, self.base.schedule, alike=(InverseFrequency, self.base.without_decay()),
                hyperparameters=(group_weights(train, self.power),), rise=mean_rise if self.power > 0 else None,
            )
        )  # fmt: skip

    def variants(self) -> Iterator[InverseFrequency]:
        """Itself, then other powers: what `tune` tries."""
        yield self
        for power in (0.5, 0.75, 0.25, 0.9, 0.6, 0.4, 0.1):
            yield replace(self, power=power)


def weighted_bt(m: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """w_g(u) L_BT of each pair. weight float[n]: of all training pairs."""
    return weight[rows] * bt(m)

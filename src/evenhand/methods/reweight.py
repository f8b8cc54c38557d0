"""Re-weighting: Bradley-Terry with each user weighted by how rare his or her group is.

    L = mean of w_g(u) L_BT(m),        w_g ∝ (share of users in g)^-power, mean 1 over pairs

Importance weighting (Shimodaira 2000, J. Stat. Plan. Inference 90) towards a population in which groups are equally frequent, a
pre-processing method of the fairness literature (Kamiran & Calders 2012, Knowl. Inf. Syst. 33). power 1 is inverse frequency, 0 is
Bradley-Terry itself, and what lies between gives up less of the majority.

Differs from the paper: Kamiran & Calders weigh cells of (group, label); pairs have no label to balance, since swapping the two responses
swaps it. The epoch is picked by the mean over groups, the same target as the weights, as far as small groups can tell epochs apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from evenhand.core import EvenhandError, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import group_weights
from evenhand.training.epochs import mean_rise
from evenhand.training.groups import require_groups
from evenhand.training.loop import Fitted, minimise_all
from evenhand.training.scoring import bt
from evenhand.training.stack import alike


@dataclass(frozen=True)
class Reweight:
    """power in [0, 1]: exponent of the inverse frequency. 1 can make a handful of users the loudest; then try 0.5."""

    needs_groups: ClassVar[bool] = True
    unreduced: ClassVar[bool] = False
    base: BradleyTerry = field(default_factory=BradleyTerry)
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise EvenhandError(f"reweight: power is {self.power}. Expected: a number from 0 to 1. To do: pass power=0.5 or leave it out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch kept by the mean over groups of the validation losses (`training/epochs.py`); at power 0 by the mean over users."""
        return self.fit_all([self], train, valid, seed)[0]

    @staticmethod
    def fit_all(methods: Sequence[Reweight], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
        """Each as its own `fit` gives it; those that differ in power and weight decay alone are trained as one stack."""
        require_groups("reweight", train, valid)
        fitted: dict[int, Fitted] = {}
        for places in alike(methods, lambda m: (m.base.without_decay(), m.power > 0)):
            fitted.update(zip(places, Reweight._stack([methods[p] for p in places], train, valid, seed), strict=True))
        return [fitted[p] for p in range(len(methods))]

    @staticmethod
    def _stack(some: Sequence[Reweight], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
        weight = torch.stack([group_weights(train, m.power) for m in some])
        return minimise_all(
            [m.base.head.build(train.items.shape[1], seed) for m in some],
            train,
            lambda m, rows, which: weight[which][:, rows] * bt(m),
            valid,
            seed,
            some[0].base.schedule,
            weight_decay=torch.tensor([m.base.schedule.weight_decay for m in some], dtype=torch.float64),
            rise=(lambda m, kept, which: mean_rise(m, kept, valid)) if some[0].power > 0 else None,
        )

    def variants(self) -> Iterator[Reweight]:
        """Itself, then other powers: what `tune` tries."""
        yield self
        for power in (0.5, 0.75, 0.25, 0.9, 0.6, 0.4, 0.1):
            yield replace(self, power=power)

"""Penalty: Bradley-Terry plus a fixed weight times the violation of a constraint, the in-processing baseline to Faro.

    L = L_BT + weight · D~        D~: the largest difference of event rates under sigma(M), on the batch

The idea is a regulariser's (Kamishima et al. 2012, ECML PKDD, prejudice remover; Zafar et al. 2017, AISTATS, covariance of decisions
and groups); the violation is that of `training.constraints`. The weight is not a promise: which violation it buys is seen afterwards.

Differs from these papers: the violation is the one that Faro constrains, and the epoch is picked by the same sum on validation pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from evenhand.core import Constraint, EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.constraints import Meter, Notion, cf, check, dp, eo, groups_of, soft
from evenhand.training.loop import train_model, weighted_mean
from evenhand.training.scoring import bt, mean_over_users, only_present
from evenhand.training.traces import Fitted

__all__ = ["Penalty", "cf", "dp", "eo"]  # the notions are named by their functions, here as in faro


@dataclass(frozen=True)
class Penalty(Method):
    """notion: dp, eo or cf. weight >= 0: of the violation beside the loss; 0 is Bradley-Terry on batches that hold every event."""

    base: BradleyTerry = field(default_factory=BradleyTerry)
    notion: Notion = dp
    weight: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise EvenhandError(f"penalty: weight is {self.weight}. Expected: 0 or more. To do: pass weight=0.3 or leave it out.")

    @property
    def constraint(self) -> Constraint:
        return Constraint(self.notion.__name__)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest sum of validation loss and weighted validation violation."""
        layout = self.notion(groups_of(train, valid))
        check("penalty", train, layout)
        assert train.events is not None
        on_valid = Meter(only_present(valid), layout)

        def combine(margin: Tensor, batch: Pairs, parameters: Sequence[Tensor]) -> Tensor:
            return weighted_mean(bt(margin), batch) + self.weight * layout.violation(Meter(batch, layout)(margin, soft))

        return train_model(
            self.base.untrained(train, seed), train, lambda m, rows: m, valid, seed, self.base.schedule,
            valid_loss=lambda m: mean_over_users(bt(m), valid) + self.weight * layout.violation(on_valid(m, soft), on_valid.present),
            combine=combine, strata=layout.cell(train.events),
        )  # fmt: skip

    def variants(self) -> Iterator[Penalty]:
        """Itself, then other weights: what `tune` tries."""
        yield self
        for weight in (0.1, 1.0, 0.03, 3.0, 0.6, 0.2, 2.0):
            yield replace(self, weight=weight)

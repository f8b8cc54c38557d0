"""Reweighing: Bradley-Terry on pairs weighted so that event and label are independent, the pre-processing baseline to Faro.

    w(e, y) = P(e) P(y) / P(e, y)        e: the event of a pair, y: its label, 1 where y1 was chosen

Kamiran & Calders (2012, Knowl. Inf. Syst. 33, section 4.2), with pairs for their objects. In the weighted pairs every event has the same
share of label 1; what the model makes of them is not constrained. Pairs in no event keep their weight.

Differs from the paper: shares are of pairs' weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from evenhand.core import Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.constraints import check, eo, groups_of
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class Reweighing(Method):
    """base: trained on the weighted pairs, and stopped by validation pairs as they are."""

    base: BradleyTerry = field(default_factory=BradleyTerry)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """Bradley-Terry on weighted pairs."""
        check("reweighing", train, eo(groups_of(train)))
        return self.base.fit(replace(train, weight=train.weight * independent(train)), valid, seed)

    def variants(self) -> Iterator[Reweighing]:
        """Itself, then its base's other settings: what `tune` tries."""
        yield from (replace(self, base=base) for base in self.base.variants())


def independent(train: Pairs) -> Tensor:
    """w(e, y) of each pair, float[n]; 1 for pairs in no event."""
    assert train.events is not None
    inside = train.events.of_pair >= 0
    event, label = train.events.of_pair[inside], train.events.first[inside].long()
    cells = torch.zeros(groups_of(train), 2).index_put_((event, label), train.weight[inside], accumulate=True)
    expected = cells.sum(1, keepdim=True) * cells.sum(0) / cells.sum()
    weight = torch.ones(len(train))
    weight[inside] = (expected / cells)[event, label]
    return weight

"""Bradley-Terry: L = -log sigma(m), averaged over pairs (Bradley & Terry 1952, Biometrika 39).

With the `Linear` head it is one reward for all; with a history-conditioned head it is personalised Bradley-Terry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from evenhand.core import Head, Method, Pairs, TrainableScorer
from evenhand.models.lore import Lore
from evenhand.training.loop import pair_bt
from evenhand.training.schedule import Schedule
from evenhand.training.stack import Stages, Training, run_stages
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class BradleyTerry(Method):
    """head: how a user enters the reward; LoRe's served both groups of the DSP study better than the ridge solve (docs/results.md)."""

    head: Head = field(default_factory=Lore)
    schedule: Schedule = field(default_factory=Schedule)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation loss, averaged over users."""
        return run_stages([self], train, valid, seed)[0]

    def stages(self, train: Pairs, valid: Pairs, seed: int) -> Stages:
        """One training."""
        return (yield self.training(train, seed))

    def training(self, train: Pairs, seed: int) -> Training:
        """Settings that differ in weight decay alone are one stack."""
        return Training(self.untrained(train, seed), pair_bt, self.schedule, alike=self.without_decay())

    def untrained(self, train: Pairs, seed: int) -> TrainableScorer:
        """The scorer that training starts from."""
        return self.head.build(train.items.shape[1], seed)

    def without_decay(self) -> BradleyTerry:
        """What must agree for two fits to run as one stack."""
        return replace(self, schedule=replace(self.schedule, weight_decay=0.0))

    def variants(self) -> Iterator[BradleyTerry]:
        """Itself, then its head's other sizes, then other regularisations, the likeliest first: what `tune` tries."""
        yield self
        if isinstance(self.head, Sized):
            yield from (replace(self, head=head) for head in self.head.variants())
        for decay, dropout in ((3.0, 0.5), (0.3, 0.3), (1.0, 0.6), (0.1, 0.1), (3.0, 0.3), (10.0, 0.5), (0.3, 0.1)):
            yield replace(self, schedule=replace(self.schedule, weight_decay=decay, dropout=dropout))


@runtime_checkable
class Sized(Protocol):
    """A head that names sizes worth trying first; where there are none, regularisation is."""

    def variants(self) -> Iterator[Head]: ...

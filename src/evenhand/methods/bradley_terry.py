"""Bradley-Terry: L = -log sigma(m), averaged over pairs (Bradley & Terry 1952, Biometrika 39).

With the `Linear` head it is one reward for all; with a history-conditioned head it is personalised Bradley-Terry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch

from evenhand.core import Head, Pairs
from evenhand.models.lore import Lore
from evenhand.training.loop import Fitted, minimise, minimise_all
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt
from evenhand.training.stack import alike


@dataclass(frozen=True)
class BradleyTerry:
    """head: how a user enters the reward; LoRe's served both groups of the DSP study better than the ridge solve (docs/results.md)."""

    needs_groups: ClassVar[bool] = False
    unreduced: ClassVar[bool] = False
    head: Head = field(default_factory=Lore)
    schedule: Schedule = field(default_factory=Schedule)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation loss, averaged over users."""
        return minimise(self.head.build(train.items.shape[1], seed), train, lambda m, rows: bt(m), valid, seed, self.schedule)

    @staticmethod
    def fit_all(methods: Sequence[BradleyTerry], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
        """Each as its own `fit` gives it; those that differ in weight decay alone are trained as one stack."""
        fitted: dict[int, Fitted] = {}
        for places in alike(methods, lambda m: m.without_decay()):
            some = [methods[p] for p in places]
            scorers = [m.head.build(train.items.shape[1], seed) for m in some]
            decay = torch.tensor([m.schedule.weight_decay for m in some], dtype=torch.float64)
            found = minimise_all(scorers, train, lambda m, rows, which: bt(m), valid, seed, some[0].schedule, weight_decay=decay)
            fitted.update(zip(places, found, strict=True))
        return [fitted[p] for p in range(len(methods))]

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

"""Which epoch of a training is kept: each replica's best one so far, and what all epochs were like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from evenhand.core import Pairs
from evenhand.training.replicas import ModelStack, SingleModel
from evenhand.training.state_bytes import State
from evenhand.training.traces import Trace

Rise = Callable[[Tensor, Tensor, Pairs], Tensor]  # (margins [r, n] of valid in an epoch, in the one kept, valid) → [r], below 0 = better


class BestEpochs:
    """Each replica's best epoch so far: its margins [r, n] of validation pairs and its parameters; traces of all its epochs.

    loss: of the epoch kept, with a `rise` the lowest so far. latest: the last epoch that was kept or had that loss, 0 = untrained.
    """

    def __init__(
        self, model: SingleModel | ModelStack, margin: Tensor, loss: Tensor, rises: Sequence[Rise | None], valid: Pairs, excess: float
    ):
        self.margin, self.loss, self.rises, self.valid = margin, loss, rises, valid
        self.values = {name: v.clone() for name, v in model.values().items()}
        self.excess, self.latest = torch.full_like(loss, excess), torch.zeros(len(rises), dtype=torch.long)
        self.traces = [Trace(by_group=rise is not None) for rise in rises]

    def state(self) -> State:
        kept = {"margin": self.margin, "loss": self.loss, "excess": self.excess, "latest": self.latest, "values": self.values}
        return kept | {"traces": {str(n): asdict(trace) for n, trace in enumerate(self.traces)}}

    def load(self, state: State) -> None:
        self.margin, self.loss, self.excess, self.latest = (state[name] for name in ("margin", "loss", "excess", "latest"))
        for name, value in self.values.items():
            value.copy_(state["values"][name])
        self.traces = [Trace(**state["traces"][str(n)]) for n in range(len(self.traces))]

    def update(
        self, epoch: int, model: SingleModel | ModelStack, margin: Tensor, loss: Tensor, excess: Tensor, moves_features: bool
    ) -> None:
        """Keep the epoch of those replicas in training for which it is better than the one kept: less excess, or as much and preferred.

        What did not move is not copied: an adapter of all weights is as large as its model.
        """
        active, lower = model.active, loss < self.loss[model.active]
        rises = [self.rises[number] for number in active.tolist()]
        rules = {rule for rule in rises if rule is not None}
        preferred = lower.clone() if rules else lower
        for rise in rules:
            places = torch.tensor([rule is rise for rule in rises])
            preferred[places] = rise(margin[places], self.margin[active[places]], self.valid) < 0
        kept = self.excess[active]
        better = (excess < kept) | ((excess == kept) & preferred)
        low = torch.where(torch.tensor([rise is not None for rise in rises]), lower, better) if rules else better
        if not bool((low | better).any()):
            return
        self.loss[active[low]] = loss[low]
        self.excess[active[better]], self.margin[active[better]] = excess[better], margin[better]
        self.latest[active[low | better]] = epoch
        moved = model.parameters if moves_features else model.head_parameters()
        for name, v in model.values().items():
            if name in moved:
                self.values[name][active[better]] = v[better]
        if moves_features and better.any():
            model.keep()
        for number in active[better].tolist():
            self.traces[number].best_epoch = epoch

"""Max-min over groups: every step serves the group that is worst off (the egalitarian aim of MaxMin-RLHF, Chakraborty et al. 2024, arXiv 2402.08925).

    min_theta max_g L_g(theta)          one step down on L_g* with g* = argmax_g of the groups' losses

A subgradient of the worst group's Bradley-Terry loss, which is the limit eta → infinity of GroupDRO.

Differs from the paper: there the max-min is over a policy's utilities under one reward model a group, with groups found by
expectation-maximisation. Here it is over the losses of a single reward model with groups given (found ones serve as well), since what is
compared is reward models. Which group is worst may be told from a running mean of batch losses (`memory`), since in one batch of
users a small group's loss is mostly noise; memory 0, the default, is the plain maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from evenhand.core import EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.epochs import worst_rise
from evenhand.training.groups import group_losses, require_groups
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.state_bytes import State
from evenhand.training.traces import Fitted


@dataclass(frozen=True)
class MaxMin(Method):
    """memory in [0, 1): share of the running mean that a new batch leaves. 0.9 looks back some ten batches: steadier, but late to react."""

    needs_groups: ClassVar[bool] = True
    base: BradleyTerry = field(default_factory=BradleyTerry)
    memory: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.memory < 1:
            raise EvenhandError(f"maxmin: memory is {self.memory}. Expected: from 0 to below 1. To do: pass memory=0.5 or leave it out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch in which the worst group's validation loss is lowest, as far as it can be told (`training/epochs.py`)."""
        require_groups("maxmin", train, valid)
        worst = Worst(train.group.unique(), self.memory)
        return train_model(
            self.base.untrained(train, seed), train, pair_bt, valid, seed, self.base.schedule,
            rise=worst_rise, combine=worst, memory=worst,
        )  # fmt: skip

    def variants(self) -> Iterator[MaxMin]:
        """Itself, then other memories: what `tune` tries."""
        yield self
        for memory in (0.9, 0.5, 0.97, 0.8, 0.99, 0.3, 0.95):
            yield replace(self, memory=memory)


class Worst:
    """The batch loss of the group that is worst off so far, among those in the batch. names int64[k]: the groups."""

    def __init__(self, names: Tensor, memory: float):
        self.names, self.memory = names, memory
        self.running = torch.full((len(names),), float("nan"))

    def __call__(self, losses: Tensor, batch: Pairs, parameters: Sequence[Tensor]) -> Tensor:
        group_loss, present = group_losses(losses, batch, self.names)
        now, before = group_loss.detach(), self.running[present]
        self.running[present] = torch.where(before.isnan(), now, self.memory * before + (1 - self.memory) * now)
        return group_loss[self.running[present].argmax()]

    def state(self) -> State:
        return {"running": self.running}

    def load(self, state: State) -> None:
        self.running = state["running"]

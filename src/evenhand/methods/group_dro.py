"""Group distributionally robust optimisation (Sagawa et al. 2020, arXiv 1911.08731, Algorithm 1; on preferences Ramesh et al. 2024, arXiv 2405.20304).

    min_theta max_{q in simplex} sum_g q_g L_g          q_g ← q_g exp(eta L_g) / Z, then one step down on sum_g q_g L_g

L_g is the Bradley-Terry loss of the batch's pairs of group g. A group that is served badly gains weight, batch after batch, until another
is worse. q starts uniform, so eta 0 weighs groups equally, and eta → infinity puts all weight on the group with the largest loss.

Differs from the paper: q is kept as logarithms, so that a large eta cannot overflow. A group without a pair in a batch of users is
counted with its latest loss in q's update (the paper draws every group; a missing rare group must not lose weight for it) and adds
nothing to the gradient. No group adjustment C / sqrt(n_g); weight decay and early stopping on the worst group's validation loss regularise.
Ramesh et al. train a policy by DPO; here the loss is the reward model's.
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
class GroupDRO(Method):
    """eta >= 0: step of the groups' weights; 0.01 is the paper's. With few batches it hardly moves them: then 0.1 or 1; too large, q jumps."""

    needs_groups: ClassVar[bool] = True
    base: BradleyTerry = field(default_factory=BradleyTerry)
    eta: float = 0.01

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise EvenhandError(f"group_dro: eta is {self.eta}. Expected: a number of at least 0. To do: pass eta=0.01 or leave it out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch in which the worst group's validation loss is lowest, as far as it can be told (`training/epochs.py`)."""
        require_groups("group_dro", train, valid)
        robust = Robust(train.group.unique(), self.eta)
        return train_model(
            self.base.untrained(train, seed), train, pair_bt, valid, seed, self.base.schedule,
            rise=worst_rise, combine=robust, memory=robust,
        )  # fmt: skip

    def variants(self) -> Iterator[GroupDRO]:
        """Itself, then other steps: what `tune` tries."""
        yield self
        for eta in (0.1, 1.0, 0.001, 0.03, 0.3, 3.0, 0.0):
            yield replace(self, eta=eta)


class Robust:
    """sum_g q_g L_g of one batch after another; q and the groups' latest losses live as long as the fit. names int64[k]: the groups."""

    def __init__(self, names: Tensor, eta: float):
        self.names, self.eta = names, eta
        self.log_q, self.latest = torch.zeros(len(names)), torch.zeros(len(names))

    def __call__(self, losses: Tensor, batch: Pairs, parameters: Sequence[Tensor]) -> Tensor:
        group_loss, present = group_losses(losses, batch, self.names)
        self.latest[present] = group_loss.detach()
        self.log_q = torch.log_softmax(self.log_q + self.eta * self.latest, 0)
        return (self.log_q.exp()[present] * group_loss).sum()

    def state(self) -> State:
        return {"log_q": self.log_q, "latest": self.latest}

    def load(self, state: State) -> None:
        self.log_q, self.latest = state["log_q"], state["latest"]

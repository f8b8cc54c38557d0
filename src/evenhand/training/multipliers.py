"""Lagrange multipliers that play against the model: raised where a constraint is violated, lowered where it is slack.

Both kinds keep their state for r replicas: `weights` gives what multiplies the loss and the constraints, `ascend` moves by the violations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evenhand.training.state_bytes import State


class Additive:
    """lambda_j ← clip(lambda_j + step g_j, 0, bound): projected gradient ascent on the Lagrangian. step, bound float[r, 1]."""

    def __init__(self, replicas: int, constraints: int, step: Tensor, bound: Tensor):
        self.value = torch.zeros(replicas, constraints)
        self.step, self.bound = step, bound

    def weights(self, active: Tensor) -> Tensor:
        """lambda float[r, j]: what multiplies the constraints; the loss has 1."""
        return self.value[active]

    def ascend(self, active: Tensor, g: Tensor) -> None:
        """One step by the violations g float[r, j] of the replicas `active`."""
        self.value[active] = (self.value[active] + self.step[active] * g).clamp_min(0).minimum(self.bound[active])

    def state(self) -> State:
        return {"value": self.value}

    def load(self, state: State) -> None:
        self.value = state["value"]


class SwapRegret:
    """The stationary distribution of a column-stochastic matrix, multiplied entry by entry (Cotter et al. 2019, JMLR 20, Algorithm 2).

    State 0 is the loss, the others are the constraints; the player's swap regret goes to 0, which additive steps do not promise when
    the model follows another function (the soft violation) than the multipliers (the hard one). `bound` is the largest ratio of
    constraints' weight to the loss's: the loss keeps at least 1 / (1 + bound).
    """

    def __init__(self, replicas: int, constraints: int, step: Tensor, bound: Tensor):
        states = constraints + 1
        self.log = torch.full((replicas, states, states), -torch.log(torch.tensor(float(states))).item())
        self.log[:, 0] += 5.0  # nearly all weight on the loss at the start
        self.log = torch.log_softmax(self.log, 1)
        self.step, self.bound = step, bound

    def stationary(self, active: Tensor) -> Tensor:
        """The distribution that the matrix leaves as it is, float[r, states]: every entry is above 0, so there is one."""
        matrix = self.log[active].exp().double()
        states = matrix.shape[1]
        system = matrix - torch.eye(states, dtype=torch.double)
        system[:, -1] = 1.0  # the equations sum to 0, so one of them makes room for: the shares sum to 1
        share = torch.linalg.solve(system, torch.eye(states, dtype=torch.double)[-1].expand(len(active), states))
        share = share.clamp_min(0)
        floor = 1 / (1 + self.bound[active]).double()
        rest = share[:, 1:] * (1 - floor) / (1 - share[:, :1]).clamp_min(1e-12)
        clipped = torch.cat([floor, rest], 1)
        return torch.where(share[:, :1] < floor, clipped, share).float()

    def weights(self, active: Tensor) -> Tensor:
        """The constraints' shares by the loss's: Cotter et al. weigh the loss too, which Adam's steps would not notice."""
        share = self.stationary(active)
        return share[:, 1:] / share[:, :1]

    def ascend(self, active: Tensor, g: Tensor) -> None:
        share = self.stationary(active)
        gain = torch.cat([torch.zeros(len(active), 1), g], 1)
        self.log[active] = torch.log_softmax(self.log[active] + self.step[active][:, :, None] * gain[:, :, None] * share[:, None, :], 1)

    def state(self) -> State:
        return {"log": self.log}

    def load(self, state: State) -> None:
        self.log = state["log"]

    @property
    def value(self) -> Tensor:
        """Ratios to the loss's weight, float[replicas, j]."""
        return self.weights(torch.arange(len(self.log)))

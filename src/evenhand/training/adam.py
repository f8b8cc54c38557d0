"""Adam (Kingma & Ba 2015, arXiv 1412.6980) on a few small tensors: the numbers of torch.optim.Adam to the bit.

Making one of torch's loads its compiler, 800 modules and a second in every process that trains; each of its steps costs twice as much as this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8  # decay of the two moments; what keeps the quotient finite


class Adam:
    """parameters: what is moved. A tensor without a gradient stays where it is, and its step does not count."""

    def __init__(self, parameters: Sequence[Tensor], lr: float):
        self.parameters, self.lr = list(parameters), lr
        self.first, self.second = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        self.steps = [0] * len(self.parameters)

    def forget(self) -> None:
        """No gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """One step down along the gradients that the parameters hold."""
        with torch.no_grad():
            for number, (p, first, second) in enumerate(zip(self.parameters, self.first, self.second)):
                if p.grad is None:
                    continue
                self.steps[number] += 1
                size = self.lr / (1 - FIRST ** self.steps[number])
                first.lerp_(p.grad, 1 - FIRST)
                second.mul_(SECOND).addcmul_(p.grad, p.grad, value=1 - SECOND)
                p.addcdiv_(first, (second.sqrt() / (1 - SECOND ** self.steps[number]) ** 0.5).add_(EPSILON), value=-size)

    def go_on_with(self, parameters: Sequence[Tensor], places: Tensor) -> None:
        """Move these in place of the present ones, of whose first coordinate they hold these places; the moments go along."""
        self.parameters = list(parameters)
        self.first, self.second = ([moment[places] for moment in moments] for moments in (self.first, self.second))

"""One scorer, or many of one shape as one batched model: their parameters stacked, a replica the first coordinate (torch.func.vmap).

Replicas share the data of a step and nothing else. The gradient of the sum of their losses is each one's own gradient, and what Adam
does to it, it does coordinate by coordinate, so each replica is trained as it would be alone, up to rounding.

Both classes offer the loop the same: `which` int64[r], the numbers of the replicas still in training; `parameters`, what the optimiser
moves; `values`, the same with a replica axis; `judged`, margins; `shrink`, weight decay; `thin_out`; `scorer`, a trained one.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from evenhand.core import Pairs
from evenhand.training.scoring import SLICE, margins

Thing = TypeVar("Thing")


class One:
    """A single scorer, called as it is, in a copy."""

    def __init__(self, scorer: Any):
        self.module = copy.deepcopy(scorer)
        self.which = torch.zeros(1, dtype=torch.long)
        self.parameters = dict(self.module.named_parameters())

    def values(self) -> dict[str, Tensor]:
        """Parameters with a replica axis, [1, …]."""
        return {name: p.detach()[None] for name, p in self.parameters.items()}

    def judged(self, pairs: Pairs) -> Tensor:
        """Margins without gradient, float[1, n]."""
        return margins(self.module, pairs)[None]

    def shrink(self, factor: Tensor) -> None:
        """Multiply arrays, not scalars, by factor float64[1]."""
        with torch.no_grad():
            for p in self.parameters.values():
                if p.ndim > 0:
                    p.mul_(float(factor[0]))

    def thin_out(self, places: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """There is nothing to thin out: the loop ends when its only scorer stops."""

    def scorer(self, values: dict[str, Tensor]) -> Any:
        """The module with these parameters."""
        self.module.load_state_dict(values, strict=False)
        return self.module


class Stack:
    """Scorers of one class and one shape, in a copy."""

    def __init__(self, scorers: Sequence[Any]):
        bound = [_Bound(s) for s in scorers]
        stacked, self.buffers = stack_module_state(bound)
        self.parameters = {name: p.detach().requires_grad_() for name, p in stacked.items()}
        self.bound = copy.deepcopy(bound[0])
        self.which = torch.arange(len(bound))

    def call(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        """function(scorer, *args) of every replica, stacked."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            out: Tensor = functional_call(self.bound, (parameters, buffers), (function, *args))
            return out

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # attention: replicas run in turn
            called: Tensor = vmap(one)(self.parameters, self.buffers)
        return called

    def values(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.parameters.items()}

    def judged(self, pairs: Pairs) -> Tensor:
        with torch.no_grad():
            return self.call(margins, pairs, max(1024, SLICE // len(self.which)))

    def shrink(self, factor: Tensor) -> None:
        """factor float64[replicas], of those in training and those that have stopped."""
        own = factor[self.which]
        with torch.no_grad():
            for p in self.parameters.values():
                if p.ndim > 1:
                    p.mul_(own.to(p.dtype).view(-1, *(1,) * (p.ndim - 1)))

    def thin_out(self, places: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Go on with the replicas at these places of `which`; the optimiser's memory of them goes along."""
        group = optimiser.param_groups[0]["params"]
        for number, (name, old) in enumerate(self.parameters.items()):
            new = old.detach()[places].requires_grad_()
            memory = optimiser.state.pop(old)
            optimiser.state[new] = {k: v[places] if v.shape == old.shape else v for k, v in memory.items()}
            group[number] = self.parameters[name] = new
        self.buffers = {name: b[places] for name, b in self.buffers.items()}
        self.which = self.which[places]

    def scorer(self, values: dict[str, Tensor]) -> Any:
        out = copy.deepcopy(self.bound)
        out.load_state_dict(values, strict=False)
        return out.scorer


def alike(things: Sequence[Thing], key: Callable[[Thing], Any]) -> list[list[int]]:
    """Places of the things that share a key, in order of first appearance: what can be trained as one stack."""
    keys: list[Any] = []
    places: list[list[int]] = []
    for place, thing in enumerate(things):
        found = key(thing)
        if found not in keys:
            keys.append(found)
            places.append([])
        places[keys.index(found)].append(place)
    return places


class _Bound(nn.Module):
    """functional_call reaches a module's forward alone; through this one it reaches every method of a scorer."""

    def __init__(self, scorer: Any):
        super().__init__()
        self.scorer = scorer

    def forward(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        return function(self.scorer, *args)

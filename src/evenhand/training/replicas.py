"""One scorer, or many of one shape as one batched model: their parameters stacked, a replica the first coordinate (torch.func.vmap).

Replicas share the data of a step and nothing else. The gradient of the sum of their losses is each one's own gradient, and what Adam
does to it, it does coordinate by coordinate, so each replica is trained as it would be alone, up to rounding.

Both classes offer the loop the same: `active` int64[r], the numbers of the replicas still in training; `parameters`, what training
moves, and `head_parameters`, those of heads; `values`, the same with a replica axis; `restore`, `margins`; `decay` of heads' weights;
`keep`, `drop_finished`; `scorer`, a trained one.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from evenhand.core import Pairs, TrainableScorer
from evenhand.training.adam import Adam
from evenhand.training.scoring import SLICE, margins
from evenhand.training.state_bytes import State
from evenhand.training.tuned import Tuned

Hyperparameters = tuple[Tensor, ...]


class SingleModel:
    """A single scorer, called as it is, in a copy."""

    def __init__(self, scorer: TrainableScorer):
        self.module = copy.deepcopy(scorer)
        self.active = torch.zeros(1, dtype=torch.long)
        self.parameters = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self.kept = self.module.bank.copy() if isinstance(self.module, Tuned) else None

    def head_parameters(self) -> dict[str, Tensor]:
        """Those of the head alone, where an adapter trains beside it."""
        return {n: p for n, p in self.parameters.items() if n.startswith("head.")} if isinstance(self.module, Tuned) else self.parameters

    def values(self) -> dict[str, Tensor]:
        """Parameters with a replica axis, [1, …]."""
        return {name: p.detach()[None] for name, p in self.parameters.items()}

    def margins(self, pairs: Pairs) -> Tensor:
        """Without gradient, float[1, n]."""
        return margins(self.module, pairs)[None]

    def decay(self, factor: Tensor) -> None:
        """Multiply arrays, not scalars, by factor float64[1]."""
        with torch.no_grad():
            for p in self.head_parameters().values():
                if p.ndim > 0:
                    p.mul_(float(factor[0]))

    def keep(self) -> None:
        """Remember the features of the present weights, where these train: the parameters themselves are the loop's to keep."""
        if isinstance(self.module, Tuned) and self.kept is not None:
            self.kept.load(self.module.bank.state())

    def restore(self, values: dict[str, Tensor]) -> None:
        """Take these parameters, [1, …], those of the last `keep`, as the present ones."""
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(values[name][0])
        if isinstance(self.module, Tuned) and self.kept is not None:
            self.module.bank = self.kept.copy()

    def state(self) -> State:
        """Of a model on texts: present parameters, and the features that texts had last."""
        assert isinstance(self.module, Tuned)
        return {"values": {name: p.detach() for name, p in self.parameters.items()}, "bank": self.module.bank.state()}

    def load(self, state: State) -> None:
        assert isinstance(self.module, Tuned)
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(state["values"][name])
        self.module.bank.load(state["bank"])

    def drop_finished(self, places: Tensor, optimiser: Adam) -> None:
        """Nothing is dropped: the loop ends when its only scorer stops."""

    def scorer(self, values: dict[str, Tensor]) -> TrainableScorer:
        """The module with these parameters, those of the last `keep`."""
        self.restore({name: v[None] for name, v in values.items()})
        return self.module


class ModelStack:
    """Scorers of one class and one shape, in a copy, with the hyperparameters of each one's loss: tensors [replicas, …]."""

    def __init__(self, scorers: Sequence[TrainableScorer], hyperparameters: Hyperparameters = ()):
        modules: list[nn.Module] = [_Callable(s) for s in scorers]
        stacked, self.buffers = stack_module_state(modules)
        self.parameters = {name: p.detach().requires_grad_() for name, p in stacked.items()}
        self.hyperparameters = hyperparameters
        self.module = _Callable(copy.deepcopy(scorers[0]))
        self.active = torch.arange(len(scorers))

    def call(self, function: Callable[[TrainableScorer, Hyperparameters], Tensor]) -> Tensor:
        """function(scorer, hyperparameters) of every replica, stacked."""

        def replica(parameters: dict[str, Tensor], buffers: dict[str, Tensor], hyperparameters: Hyperparameters) -> Tensor:
            out: Tensor = functional_call(self.module, (parameters, buffers), (function, hyperparameters))
            return out

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # attention: replicas run in turn
            called: Tensor = vmap(replica)(self.parameters, self.buffers, self.hyperparameters)
        return called

    def head_parameters(self) -> dict[str, Tensor]:
        return self.parameters

    def values(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.parameters.items()}

    def keep(self) -> None:
        """Nothing to remember: features are frozen."""

    def restore(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(values[name][self.active])

    def margins(self, pairs: Pairs) -> Tensor:
        with torch.no_grad():
            return self.call(lambda scorer, _: margins(scorer, pairs, max(1024, SLICE // len(self.active))))

    def decay(self, factor: Tensor) -> None:
        """factor float64[replicas], of those in training and those that have stopped."""
        factor = factor[self.active]
        with torch.no_grad():
            for p in self.parameters.values():
                if p.ndim > 1:
                    p.mul_(factor.to(p.dtype).view(-1, *(1,) * (p.ndim - 1)))

    def drop_finished(self, places: Tensor, optimiser: Adam) -> None:
        """Go on with the replicas at these places of `active`; the optimiser's memory of them goes along."""
        self.parameters = {name: p.detach()[places].requires_grad_() for name, p in self.parameters.items()}
        optimiser.go_on_with(list(self.parameters.values()), places)
        self.buffers = {name: b[places] for name, b in self.buffers.items()}
        self.hyperparameters = tuple(h[places] for h in self.hyperparameters)
        self.active = self.active[places]

    def scorer(self, values: dict[str, Tensor]) -> TrainableScorer:
        out = copy.deepcopy(self.module)
        out.load_state_dict(values, strict=False)
        return out.scorer


class _Callable(nn.Module):
    """functional_call reaches a module's forward alone; through this one it reaches every method of a scorer."""

    def __init__(self, scorer: TrainableScorer):
        super().__init__()
        self.scorer = scorer

    def forward(self, function: Callable[[TrainableScorer, Hyperparameters], Tensor], hyperparameters: Hyperparameters) -> Tensor:
        return function(self.scorer, hyperparameters)

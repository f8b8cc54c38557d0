"""Where a training stands, and its checkpoints: what they hold, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evenhand.core import Pairs
from evenhand.training.best import BestEpochs
from evenhand.training.checkpoint import Memory, Record, begun
from evenhand.training.phases import Phase, TextPhase
from evenhand.training.replicas import ModelStack, SingleModel
from evenhand.training.state_bytes import State, digest


@dataclass
class Place:
    """Where a training stands. epoch: those behind it, of all phases; before: of these, those of earlier phases. Of the present round: losses,
    pairs and seconds so far.
    """

    phase: int = 0
    epoch: int = 0
    before: int = 0
    round: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(0))  # float[replicas in training]
    scored: int = 0
    seconds: float = 0.0

    def enter(self, phase: int) -> None:
        self.phase, self.before, self.round = phase, self.epoch, 0

    def begin(self, round: int, replicas: int) -> None:
        """A round, unless it was begun before a kill."""
        self.round = round
        if self.scored == 0:
            self.total = torch.zeros(replicas)

    def state(self) -> State:
        return dict(vars(self))

    def load(self, state: State) -> None:
        vars(self).update(state)


def record_of(
    model: SingleModel | ModelStack, phase: Phase, train: Pairs, valid: Pairs, best: BestEpochs, at: Place, memory: Memory | None
) -> Record | None:
    """The checkpoints of a training on texts, everything brought to where they say it was; None where there are none."""
    if not isinstance(model, SingleModel) or not isinstance(phase, TextPhase):
        return None
    assert model.kept is not None
    lasting: dict[str, Memory] = {"best": best, "features": model.kept}
    if memory is not None:
        lasting["memory"] = memory

    def start() -> Mapping[str, str]:
        items = (train.items,) if train.items is valid.items else (train.items, valid.items)
        values = model.values()
        return {
            "pairs": digest([*_arrays(train), *_arrays(valid)]),
            "features": digest(items),
            "seed": str(phase.generator.initial_seed()),
            "weights": f"{len(values)} of {digest([*values.values()])}",
            "schedule": f"{phase.schedule}, {phase.tuning}, {phase.steps} steps",
        }

    return begun(lasting, {"model": model, "phase": phase, "at": at}, start)


def _arrays(pairs: Pairs) -> list[Tensor | None]:
    """Everything of pairs but features."""
    history, events = pairs.history, pairs.events
    own = [pairs.user, pairs.chosen, pairs.rejected, pairs.weight, pairs.group, pairs.block]
    past = [history.offsets, history.chosen, history.rejected, history.row]
    return [*own, *past, *([None] if events is None else [events.of_pair, events.first, events.twin])]

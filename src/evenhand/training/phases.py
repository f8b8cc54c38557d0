"""What a training goes through: a head on features as they are, and, where these follow from weights that train, head and weights together.

The head comes first since a head that knows nothing would push the weights anywhere (Kumar et al. 2022, arXiv 2202.10054). A phase says which
batches there are and how a step is taken; the loop that runs it is `descend`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from evenhand.core import History, Pairs
from evenhand.training.adam import Adam
from evenhand.training.episodes import dropout_mask, episodes
from evenhand.training.replicas import ModelStack, SingleModel
from evenhand.training.schedule import Schedule
from evenhand.training.state_bytes import State
from evenhand.training.text_batches import text_batches
from evenhand.training.tuned import Tuned


@dataclass(frozen=True)
class Batch:
    """Pairs that a step looks at, with their history. rows int64[n]: their places in the training pairs. chosen, rejected float[n, d].

    moved: what the loss's gradient may be asked for: parameters, and features that train.
    """

    history: History
    pairs: Pairs
    rows: Tensor
    chosen: Tensor
    rejected: Tensor
    moved: Sequence[Tensor]


@dataclass(frozen=True)
class Step:
    """What is told of a step, counted from 1: loss of its batch, learning rate of the adapter, texts encoded a second, both passes."""

    number: int
    loss: float
    lr: float
    texts_per_second: float


class NotFinite(Exception):
    """A number that is none in a phase that a training can do without. step, batch of its pass: both from 1; what: loss, gradient or features."""

    def __init__(self, step: int, batch: int, what: str):
        super().__init__(step, batch, what)
        self.step, self.batch, self.what = step, batch, what


class Phase(Protocol):
    """A stretch of training in rounds of batches. The model is looked at after every round."""

    rounds: int  # at the most
    patience: int  # rounds without a better one before it ends
    moves_features: bool  # or heads alone

    @property
    def extent(self) -> tuple[int, int, bool]:
        """What is told to whoever watches: (steps or epochs done, the most there may be, whether they are steps)."""

    def round(self, number: int) -> Iterator[Batch]:
        """The batches of one round, counted from 0."""

    def step(self, value: Tensor) -> Step | None:
        """One step down on the batch's loss."""

    def drop_finished(self, unfinished: Tensor) -> None:
        """Go on with the replicas at these places of `active`."""


class HeadPhase:
    """The head, or many at once, on features as they are. A round is an epoch."""

    moves_features = False

    def __init__(
        self,
        model: SingleModel | ModelStack,
        train: Pairs,
        schedule: Schedule,
        weight_decay: Tensor,  # float64[replicas]
        generator: torch.Generator,
        strata: Tensor | None,
    ):
        self.model, self.train, self.schedule, self.generator, self.strata = model, train, schedule, generator, strata
        self.rounds, self.patience = schedule.max_epochs, schedule.patience
        self.factor = 1 - schedule.lr * weight_decay
        self.optimiser = Adam(list(model.head_parameters().values()), schedule.lr)

    @property
    def extent(self) -> tuple[int, int, bool]:
        return 0, self.rounds, False

    def round(self, number: int) -> Iterator[Batch]:
        items = self.train.items
        for history, pairs, rows in episodes(self.train, self.schedule, self.generator, self.strata):
            keep = dropout_mask(len(rows), items.shape[1], self.schedule.dropout, self.generator)
            yield Batch(history, pairs, rows, items[pairs.chosen] * keep, items[pairs.rejected] * keep, self.optimiser.parameters)

    def step(self, value: Tensor) -> Step | None:
        self.optimiser.forget()
        value.backward()
        self.model.decay(self.factor)  # decoupled decay: Adam with it is AdamW (Loshchilov & Hutter 2019)
        self.optimiser.step()
        return None

    def drop_finished(self, unfinished: Tensor) -> None:
        self.model.drop_finished(unfinished, self.optimiser)


class TextPhase:
    """Head and adapter together. A round is `eval_every` steps; a model that comes in tuned takes half the steps."""

    moves_features = True

    def __init__(
        self,
        model: SingleModel,
        train: Pairs,
        schedule: Schedule,
        generator: torch.Generator,
        strata: Tensor | None,
        warm: bool,
    ):
        assert isinstance(model.module, Tuned)
        assert train.texts is not None
        self.tuned, self.texts, self.train, self.schedule = model.module, train.texts, train, schedule
        self.generator, self.strata = generator, strata
        tuning = self.tuning = self.texts.tuning
        self.steps, self.done = max(1, tuning.steps // (2 if warm else 1)), 0
        self.rounds, self.patience = -(-self.steps // tuning.eval_every), tuning.patience
        self.head, self.weights = (
            [p for _, p in self.tuned.head.named_parameters()],
            [p for p in self.tuned.adapter.parameters() if p.requires_grad],
        )
        self.optimiser = torch.optim.AdamW(
            [
                {"params": self.head, "lr": tuning.head_lr, "weight_decay": 0.0},
                {"params": self.weights, "lr": tuning.lr, "weight_decay": tuning.weight_decay},
            ]
        )
        self.full = [tuning.head_lr, tuning.lr]
        self.passed, self.taken = generator.get_state(), 0  # the generator at the start of the pass, batches of the pass that were drawn
        self.batches = self._batches()
        self.shown, self.features, self.began = torch.zeros(0, dtype=torch.long), torch.zeros(0, 0), 0.0

    @property
    def extent(self) -> tuple[int, int, bool]:
        return self.done, self.steps, True

    def round(self, number: int) -> Iterator[Batch]:
        stop = min(self.steps, (number + 1) * self.tuning.eval_every)
        while self.done < stop:
            self.began = time.perf_counter()
            yield self._encoded(*next(self.batches))

    def _batches(self) -> Iterator[tuple[History, Pairs, Tensor, Tensor, Tensor]]:
        """Without end: pass after pass, each batch with the features that its pairs keep."""
        dim = self.train.items.shape[1]
        while True:
            self.passed, self.taken = self.generator.get_state(), 0
            for history, pairs, rows in text_batches(
                self.train, self.tuning.batch_texts, self.schedule.context, self.generator, self.strata
            ):
                seen = dropout_mask(len(history.chosen), dim, self.schedule.dropout, self.generator)
                self.taken += 1
                yield history, pairs, rows, seen, dropout_mask(len(rows), dim, self.schedule.dropout, self.generator)

    def _encoded(self, history: History, pairs: Pairs, rows: Tensor, seen: Tensor, keep: Tensor) -> Batch:
        """The batch on features that remember where their gradient goes."""
        own = self.tuning.own_history
        texts = torch.cat([pairs.chosen, pairs.rejected, *([history.chosen, history.rejected] if own else [])])
        self.shown, place = texts.unique(return_inverse=True)
        features = self.texts.encode(self.tuned.adapter, self.shown, keep=True)
        self._require_finite(features, "features")
        bank = self.tuned.bank
        bank.put(self.shown, features, fresh=False)  # the weights are about to move
        self.features = features.requires_grad_()
        chosen, rejected, *past = place.split([len(rows), len(rows), *([len(history.chosen)] * 2 if own else [])])
        sides = [self.features[side] for side in past] if own else [bank.features[history.chosen], bank.features[history.rejected]]
        pair = torch.arange(len(history.chosen))
        read = replace(history, items=torch.cat([side * seen for side in sides]), chosen=pair, rejected=pair + len(pair))
        moved = [*self.head, self.features]
        return Batch(read, replace(pairs, history=read), rows, self.features[chosen] * keep, self.features[rejected] * keep, moved)

    def step(self, value: Tensor) -> Step:
        self._require_finite(value, "loss")
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        assert self.features.grad is not None
        self.texts.backward(self.tuned.adapter, self.shown, self.features.grad)
        self._require_finite(torch.nn.utils.clip_grad_norm_([*self.head, *self.weights], self.tuning.clip), "gradient")
        for group, lr in zip(self.optimiser.param_groups, self.full):
            group["lr"] = lr * self._share()
        with torch.no_grad():
            for p in self.head:
                if p.ndim > 0:
                    p.mul_(1 - self.optimiser.param_groups[0]["lr"] * self.schedule.weight_decay)
        self.optimiser.step()
        self.tuned.bank.fresh[:] = False
        self.done += 1
        return Step(
            self.done, float(value.detach()), self.optimiser.param_groups[1]["lr"], len(self.shown) / (time.perf_counter() - self.began)
        )

    def drop_finished(self, unfinished: Tensor) -> None:
        """There is one alone."""

    def _require_finite(self, values: Tensor, what: str) -> None:
        if not bool(values.detach().isfinite().all()):
            raise NotFinite(self.done + 1, self.taken, what)

    def state(self) -> State:
        """Between two steps: the optimiser's memory, steps done, and where the pass over the batches is."""
        moments = {str(n): dict(memory) for n, memory in self.optimiser.state_dict()["state"].items()}
        return {"optimiser": moments, "done": self.done, "passed": self.passed, "taken": self.taken}

    def load(self, state: State) -> None:
        """Batches of the pass that were taken are drawn again, and not encoded."""
        moments = {int(n): memory for n, memory in state["optimiser"].items()}
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        self.done = state["done"]
        self.generator.set_state(state["passed"])
        self.batches = self._batches()
        for _ in range(state["taken"]):
            next(self.batches)

    def _share(self) -> float:
        """Of the full learning rate: up in a line, down along half a cosine."""
        up = math.ceil(self.tuning.warm_up * self.steps)
        if self.done < up:
            return (self.done + 1) / (up + 1)
        return (1 + math.cos(math.pi * (self.done - up) / max(1, self.steps - up))) / 2

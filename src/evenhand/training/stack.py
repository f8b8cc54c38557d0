"""Many settings of methods trained at once: a method is written for one, as its paper has it, and stacked here.

`stages` of a method yields what has to be trained, another method or a `Training`, and is sent what came of it; what it returns is the
fit. `fit_all` runs the stages of many settings side by side: a method that several ask for is fitted once, and trainings that are alike
are one batched model, parameters and hyperparameters stacked (torch.func.vmap over both).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from evenhand.core import Method, Pairs, TrainableScorer
from evenhand.training.best import Rise
from evenhand.training.checkpoint import Memory
from evenhand.training.loop import Excess, PairLoss, batch_margins, descend, train_model, weighted_mean
from evenhand.training.phases import Batch, HeadPhase
from evenhand.training.replicas import Hyperparameters, ModelStack
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, mean_over_users
from evenhand.training.traces import Fitted

Combine = Callable[[Tensor, Pairs, Tensor], Tensor]  # (losses [r, n] of a batch's pairs, these pairs, numbers of the replicas) → [r]


def train_stack(
    trainings: Sequence[Training],
    train: Pairs,
    valid: Pairs,
    seed: int,
    *,
    combine: Combine = lambda losses, batch, active: weighted_mean(losses, batch),
    strata: Tensor | None = None,
    excess: Excess | None = None,
    memory: Memory | None = None,
) -> list[Fitted]:
    """Trainings that are alike, on the same batches: each becomes what `train_model` with the same seed makes of it, up to rounding.

    Every replica stops by itself and returns its own best epoch. combine, strata, excess, memory: as in `train_model`, over the replicas that are
    still in training. Scorers and losses must work under torch.func.vmap: no step may depend on a value.
    """
    first = trainings[0]
    if len(trainings) == 1:  # without vmap's cost; the replica axis is put on and taken off
        alone = torch.zeros(1, dtype=torch.long)
        return [
            train_model(
                first.scorer, train, lambda m, rows: first.loss(m, rows, *first.hyperparameters), valid, seed, first.schedule, rise=first.rise,
                combine=lambda losses, batch, moved: combine(losses[None], batch, alone)[0], strata=strata, excess=excess, memory=memory,
            )
        ]  # fmt: skip
    model = ModelStack([t.scorer for t in trainings], tuple(torch.stack(h) for h in zip(*(t.hyperparameters for t in trainings))))
    decay = torch.tensor([t.schedule.weight_decay for t in trainings], dtype=torch.float64)

    def objective(batch: Batch) -> Tensor:
        def losses(scorer: TrainableScorer, hyperparameters: Hyperparameters) -> Tensor:
            margin = batch_margins(scorer, scorer.users(batch.history), batch.pairs.user, batch.chosen, batch.rejected)
            return first.loss(margin, batch.rows, *hyperparameters)

        return combine(model.call(losses), batch.pairs, model.active)

    phase = HeadPhase(model, train, first.schedule, decay, torch.Generator().manual_seed(seed), strata)
    rises = [t.rise for t in trainings]
    return descend(model, [phase], train, objective, valid, lambda m: mean_over_users(bt(m), valid), rises, excess)


@dataclass(frozen=True)
class Training:
    """One scorer to be trained. loss(margins [n], rows [n], *hyperparameters) gives one loss a pair of the training pairs.

    alike: what must be equal for trainings to be stacked. Beside it they may differ in where they start, their hyperparameters, of one shape,
    their rise and their weight decay. run: what trains a stack.
    """

    scorer: TrainableScorer
    loss: PairLoss
    schedule: Schedule
    alike: object
    hyperparameters: Hyperparameters = ()
    rise: Rise | None = None
    run: Callable[[Sequence[Training], Pairs, Pairs, int], list[Fitted]] = train_stack


@runtime_checkable
class Staged(Protocol):
    """A method that says what it trains instead of training it, so that many of its settings can be trained at once."""

    def stages(self, train: Pairs, valid: Pairs, seed: int) -> Stages: ...


Stages = Generator[Staged | Training, Fitted, Fitted]


class Fittable(Method, Protocol):
    """A method whose fits come with their trace."""

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted: ...


def fit_all(methods: Sequence[Fittable], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
    """Every method as its own `fit` gives it, in order; those with stages side by side."""
    together = iter(run_stages([m for m in methods if isinstance(m, Staged)], train, valid, seed))
    return [next(together) if isinstance(m, Staged) else m.fit(train, valid, seed) for m in methods]


def run_stages(methods: Sequence[Staged], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
    """The fit of every method, in order; equal ones are fitted once."""
    first = [methods.index(m) for m in methods]
    running = {place: methods[place].stages(train, valid, seed) for place in first}
    fitted: dict[int, Fitted] = {}
    wanted = {place: next(stages) for place, stages in running.items()}
    while wanted:
        before = {p: w for p, w in wanted.items() if not isinstance(w, Training)}
        trainings = {p: w for p, w in wanted.items() if isinstance(w, Training)}
        results = dict(zip(before, run_stages(list(before.values()), train, valid, seed), strict=True))
        results |= zip(trainings, train_all(list(trainings.values()), train, valid, seed), strict=True)
        wanted = {}
        for place, result in results.items():
            try:
                wanted[place] = running[place].send(result)
            except StopIteration as end:
                fitted[place] = end.value
    return [fitted[place] for place in first]


def train_all(trainings: Sequence[Training], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
    """Every training, in order; those that are alike as one stack."""
    keys: list[object] = [t.alike if train.texts is None else p for p, t in enumerate(trainings)]  # a backbone trains for one at a time
    fitted: dict[int, Fitted] = {}
    for first in dict.fromkeys(map(keys.index, keys)):
        stack = {p: t for p, t in enumerate(trainings) if keys[p] == keys[first]}
        fitted |= zip(stack, trainings[first].run(list(stack.values()), train, valid, seed), strict=True)
    return [fitted[place] for place in range(len(trainings))]

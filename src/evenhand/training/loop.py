"""The one training loop: users in batches, their pairs drawn afresh into context and targets, early stopping on validation.

A user's context plays the history and the rest of his or her pairs are scored under it, so that a model is trained for what it will
do at inference: read some pairs of a user, then judge others. The two are disjoint in every epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from evenhand.core import EvenhandError, History, Pairs
from evenhand.training.choosing import Guard
from evenhand.training.episodes import dropout_mask, episodes
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, mean_over_users, only_present
from evenhand.training.stack import One, Stack
from evenhand.training.watched import epochs

PairLoss = Callable[[Tensor, Tensor], Tensor]  # (margins [n], rows of train [n]) → one loss a pair [n]
PairLosses = Callable[[Tensor, Tensor, Tensor], Tensor]  # (margins [r, n], rows [n], numbers of the replicas [r]) → losses [r, n]
ValidLosses = Callable[[Tensor, Tensor], Tensor]  # (margins [r, n] of valid, numbers of the replicas) → [r]
Rise = Callable[[Tensor, Tensor, Tensor], Tensor]  # (margins [r, n] of valid in an epoch, in the one kept, numbers of the replicas) → [r]
Combine = Callable[[Tensor, Pairs, Sequence[Tensor]], Tensor]  # (losses [n] of a batch's pairs, these pairs, parameters) → scalar
CombineAll = Callable[[Tensor, Pairs, Tensor], Tensor]  # (losses [r, n] of a batch's pairs, these pairs, numbers of the replicas) → [r]
Excess = Callable[[Callable[[Pairs], Tensor], Tensor], Tensor]  # (what scores pairs → margins [r, n], numbers of the replicas) → [r], >= 0
Read = Callable[[Any, History], tuple[Tensor, Tensor]]  # (scorer, history) → states [users, s], and a scalar added to the loss


def weighted_mean(losses: Tensor, batch: Pairs, parameters: Sequence[Tensor] = ()) -> Tensor:
    """Mean of the pairs' losses float[…, n] by their weights, float[…]: how a batch is combined unless a method says otherwise."""
    return (losses * batch.weight).sum(-1) / batch.weight.sum()


@dataclass
class Trace:
    """What happened: losses by epoch, the epoch kept, seconds (of several trained together, its share), pairs a second."""

    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    excess: list[float] = field(default_factory=list)  # beyond the constraints, where there are any
    best_epoch: int = 0
    by_group: bool = False  # the epoch was kept by `rise`, not by valid_loss alone
    seconds: float = 0.0
    pairs_per_second: float = 0.0


ROUNDING = 1e-6  # of rates in single precision: hard ones can lie at gamma itself


@dataclass(frozen=True)
class Constrained:
    """How a constrained fit went, one entry an epoch: violations D on training and validation pairs, multipliers by constraint.

    matrix float[constraints, cells]: A of g = A q - slack. dual: "soft" or "hard", the decision of these violations. player: "additive"
    or "swap-regret".
    """

    notion: str  # "dp", "eo", "cf"
    gamma: float
    matrix: Tensor
    dual: str
    player: str
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    multipliers: list[list[float]] = field(default_factory=list)

    def add(self, train: float, valid: float, multipliers: Tensor) -> None:
        self.train.append(train)
        self.valid.append(valid)
        self.multipliers.append(multipliers.tolist())

    def feasible(self, epoch: int) -> bool:
        """Whether the model of this epoch (1 = first) is within gamma on training pairs."""
        return 0 < epoch <= len(self.train) and self.train[epoch - 1] <= self.gamma + ROUNDING


@dataclass(frozen=True)
class Fitted:
    """A trained scorer with its trace."""

    scorer: Any
    trace: Trace
    parts: Mapping[str, Fitted] = field(default_factory=dict)  # other models trained on the way, such as teachers
    constrained: Constrained | None = None  # of a fit under constraints
    guard: Guard | None = None  # of a method that falls back on another model where a group would lose


def minimise(
    scorer: Any,
    train: Pairs,
    loss: PairLoss,
    valid: Pairs,
    seed: int,
    schedule: Schedule,
    *,
    valid_loss: Callable[[Tensor], Tensor] | None = None,
    rise: Rise | None = None,
    combine: Combine = weighted_mean,
    read: Read | None = None,
    strata: Tensor | None = None,
    excess: Excess | None = None,
) -> Fitted:
    """Train `scorer` (a torch module that is a Scorer) in a copy and return the epoch with the lowest validation loss.

    loss(margins, rows) gives one loss a pair of `train`. combine(losses, batch, parameters) makes of them the scalar whose gradient is
    taken, for methods that treat a batch as a whole (groups, evenness); it may look at gradients of `parameters` to find its weights.
    valid_loss(margins of valid) → scalar, default the Bradley-Terry loss averaged over users. rise: where an
    epoch is kept by something else, such as groups (`training/epochs.py`): it is kept where its rise over the one kept so far is below 0, and
    training stops when neither anything was kept nor valid_loss reached a new low for `patience` epochs: a small group's loss may first get
    worse, while the model learns what everybody shares. read: how users are read while training,
    where that differs from inference (a sampled latent and its penalty); default scorer.users and no penalty. strata int64[n]: what
    every batch must hold (see `episodes`). excess: how far an epoch's model is outside its constraints; an epoch with less of it is
    better whatever its loss, and the untrained model is no candidate. Deterministic for a seed on one thread.
    """
    judge = valid_loss or (lambda m: mean_over_users(bt(m), valid))
    model = One(scorer)
    parameters = list(model.parameters.values())

    def objective(history: History, batch: Pairs, rows: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
        states, penalty = read(model.module, history) if read else (model.module.users(history), 0.0)
        margin = _margins(model.module, states, batch.user, chosen, rejected)
        return (combine(loss(margin, rows), batch, parameters) + penalty)[None]

    decay = torch.tensor([schedule.weight_decay], dtype=torch.float64)
    return _descend(model, train, objective, valid, lambda m: judge(m[0])[None], seed, schedule, decay, rise, strata, excess)[0]


def minimise_all(
    scorers: Sequence[Any],
    train: Pairs,
    losses: PairLosses,
    valid: Pairs,
    seed: int,
    schedule: Schedule,
    *,
    weight_decay: Tensor | None = None,
    valid_losses: ValidLosses | None = None,
    rise: Rise | None = None,
    combine: CombineAll = lambda losses, batch, which: weighted_mean(losses, batch),
    strata: Tensor | None = None,
    excess: Excess | None = None,
) -> list[Fitted]:
    """Train scorers of one shape together, on the same batches: each becomes what `minimise` with the same seed makes of it, up to rounding.

    losses(margins [r, n], rows [n], which [r]) gives losses [r, n] of the replicas numbered `which` (places in `scorers`): those that
    stopped are left out. valid_losses(margins [r, n], which) → [r]. weight_decay float[replicas], default the schedule's. Every replica
    stops by itself and returns its own best epoch. rise, combine, strata, excess: as in `minimise`, over replicas. Scorers must work under torch.func.vmap: no step may depend on a value.
    """
    judge = valid_losses or (lambda m, which: mean_over_users(bt(m), valid))
    if len(scorers) == 1:  # without vmap's cost; the batch axis is put on and taken off
        alone = torch.zeros(1, dtype=torch.long)
        own = schedule.weight_decay if weight_decay is None else float(weight_decay[0])
        return [
            minimise(
                scorers[0], train, lambda m, rows: losses(m[None], rows, alone)[0], valid, seed, replace(schedule, weight_decay=own),
                valid_loss=lambda m: judge(m[None], alone)[0], rise=rise,
                combine=lambda losses, batch, parameters: combine(losses[None], batch, alone)[0], strata=strata, excess=excess,
            )
        ]  # fmt: skip
    model = Stack(scorers)
    decay = torch.full((len(scorers),), schedule.weight_decay, dtype=torch.float64) if weight_decay is None else weight_decay.double()

    def objective(history: History, batch: Pairs, rows: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
        margin = model.call(lambda s, h: _margins(s, s.users(h), batch.user, chosen, rejected), history)
        return combine(losses(margin, rows, model.which), batch, model.which)

    return _descend(model, train, objective, valid, lambda m: judge(m, model.which), seed, schedule, decay, rise, strata, excess)


def _margins(scorer: Any, states: Tensor, user: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
    """Margins of a batch's pairs [n], with gradient; chosen, rejected float[n, d]."""
    state = states[user]
    out: Tensor = scorer.score(state, chosen) - scorer.score(state, rejected)
    return out


def _descend(
    model: One | Stack,
    train: Pairs,
    objective: Callable[[History, Pairs, Tensor, Tensor, Tensor], Tensor],  # a batch, its rows and features → losses [r]
    valid: Pairs,
    judge: Callable[[Tensor], Tensor],  # margins [r, n] of valid → validation losses [r]
    seed: int,
    schedule: Schedule,
    weight_decay: Tensor,  # float64[replicas]
    rise: Rise | None,
    strata: Tensor | None,
    excess: Excess | None,
) -> list[Fitted]:
    """The loop itself, for all replicas of `model` at once."""
    for name, pairs in (("training", train), ("validation", valid)):
        if len(pairs) == 0:
            raise EvenhandError(f"There are no {name} pairs. Expected: at least one. To do: bring more data, or change the split.")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(list(model.parameters.values()), lr=schedule.lr)
    judged = only_present(valid)
    traces = [Trace(by_group=rise is not None) for _ in weight_decay]
    kept, best = model.judged(judged), {name: v.clone() for name, v in model.values().items()}  # margins and parameters
    best_loss = judge(kept)  # of the epoch kept, without `rise`; with it the lowest so far
    lowest = [0] * len(traces)  # the epoch of that loss
    least = torch.full_like(best_loss, 0.0 if excess is None else float("inf"))  # excess of the best epoch
    for epoch in epochs(schedule.max_epochs):
        start, total, scored = time.perf_counter(), torch.zeros(len(model.which)), 0
        for history, batch, rows in episodes(train, schedule, generator, strata):
            keep = dropout_mask(len(rows), train.items.shape[1], schedule.dropout, generator)
            value = objective(history, batch, rows, train.items[batch.chosen] * keep, train.items[batch.rejected] * keep)
            optimiser.zero_grad(set_to_none=True)
            value.sum().backward()
            model.shrink(1 - schedule.lr * weight_decay)  # decoupled decay: Adam with it is AdamW (Loshchilov & Hutter 2019)
            optimiser.step()
            total += value.detach() * len(rows)
            scored += len(rows)
        margin = model.judged(judged)
        found = judge(margin)
        beyond = torch.zeros_like(found) if excess is None else excess(model.judged, model.which)
        lower = found < best_loss[model.which]
        preferred = lower if rise is None else rise(margin, kept[model.which], model.which) < 0
        better = (beyond < least[model.which]) | ((beyond == least[model.which]) & preferred)
        low = better if rise is None else lower
        best_loss[model.which[low]] = found[low]
        least[model.which[better]], kept[model.which[better]] = beyond[better], margin[better]
        for name, v in model.values().items():
            best[name][model.which[better]] = v[better]
        share, goes_on = (time.perf_counter() - start) / len(model.which), []
        for place, number in enumerate(model.which.tolist()):
            trace = traces[number]
            trace.train_loss.append(float(total[place]) / max(scored, 1))
            trace.valid_loss.append(float(found[place]))
            if excess is not None:
                trace.excess.append(float(beyond[place]))
            trace.seconds += share
            trace.best_epoch = epoch if bool(better[place]) else trace.best_epoch
            lowest[number] = epoch if bool(low[place]) else lowest[number]
            if epoch - max(trace.best_epoch, lowest[number]) < schedule.patience:
                goes_on.append(place)
        if not goes_on:
            break
        if len(goes_on) < len(model.which):
            model.thin_out(torch.tensor(goes_on), optimiser)
    for trace in traces:
        trace.pairs_per_second = len(train) * len(trace.train_loss) / trace.seconds
    return [Fitted(model.scorer({name: v[number] for name, v in best.items()}), trace) for number, trace in enumerate(traces)]

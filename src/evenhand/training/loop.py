"""The one training loop: batches of pairs, users' other pairs as their context, early stopping on validation (phases.py has the batches).

A user's context plays the history and the rest of his or her pairs are scored under it, so that a model is trained for what it will
do at inference: read some pairs of a user, then judge others. The two are disjoint in every epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evenhand.core import EvenhandError, Pairs, Scorer, TrainableScorer
from evenhand.training.best import BestEpochs, Rise
from evenhand.training.checkpoint import Memory, Record
from evenhand.training.phases import Batch, HeadPhase, NotFinite, Phase, TextPhase
from evenhand.training.place import Place, record_of
from evenhand.training.replicas import ModelStack, SingleModel
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, loss_by_group, mean_over_users, only_present
from evenhand.training.traces import Fitted
from evenhand.training.tuned import Bank, Tuned
from evenhand.training.watched import Watched

PairLoss = Callable[..., Tensor]  # (margins [n], rows of train [n], *hyperparameters of the loss) → one loss a pair [n]
Combine = Callable[[Tensor, Pairs, Sequence[Tensor]], Tensor]  # (losses [n] of a batch's pairs, these pairs, what moves) → scalar
Excess = Callable[[Callable[[Pairs], Tensor], Tensor], Tensor]  # (what scores pairs → margins [r, n], numbers of the replicas) → [r], >= 0
Read = Callable[..., tuple[Tensor, Tensor]]  # (scorer, history) → states [users, s], and a scalar added to the loss
Objective = Callable[[Batch], Tensor]  # → losses [r]


class Diverged(EvenhandError):
    """Training that has no loss."""


def require_pairs(train: Pairs, valid: Pairs) -> None:
    """Raises EvenhandError unless there are pairs of both kinds."""
    for name, pairs in (("training", train), ("validation", valid)):
        if len(pairs) == 0:
            raise EvenhandError(f"There are no {name} pairs. Expected: at least one. To do: bring more data, or change the split.")


def pair_bt(margin: Tensor, rows: Tensor) -> Tensor:
    """The Bradley-Terry loss of each pair."""
    return bt(margin)


def weighted_mean(losses: Tensor, batch: Pairs, parameters: Sequence[Tensor] = ()) -> Tensor:
    """Mean of the pairs' losses float[…, n] by their weights, float[…]: how a batch is combined unless a method says otherwise."""
    return (losses * batch.weight).sum(-1) / batch.weight.sum()


def train_model(
    scorer: TrainableScorer,
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
    memory: Memory | None = None,
) -> Fitted:
    """Train `scorer` in a copy and return the epoch with the lowest validation loss.

    loss(margins, rows) gives one loss a pair of `train`. combine(losses, batch, moved) makes of them the scalar whose gradient is
    taken, for methods that treat a batch as a whole (groups, evenness); it may look at gradients of `moved`, parameters and features
    that train, to find its weights. On texts the scorer is trained on their features as they are, then together with the weights behind
    them, unless no epoch of the latter is better; what comes back is a `Tuned`.
    valid_loss(margins of valid) → scalar, default the Bradley-Terry loss averaged over users. rise: where an
    epoch is kept by something else, such as groups (`training/epochs.py`): it is kept where its rise over the one kept so far is below 0, and
    training stops when neither anything was kept nor valid_loss reached a new low for `patience` epochs: a small group's loss may first get
    worse, while the model learns what everybody shares. read: how users are read while training,
    where that differs from inference (a sampled latent and its penalty); default scorer.users and no penalty. strata int64[n]: what
    every batch must hold (see `episodes`). excess: how far an epoch's model is outside its constraints; an epoch with less of it is
    better whatever its loss, and the untrained model is no candidate. memory: what combine, read or excess remember from batch to batch, for a
    training that is gone on with after a kill (`training/checkpoint.py`). Deterministic for a seed on one thread.
    """
    measure = valid_loss or (lambda m: mean_over_users(bt(m), valid))
    warm = isinstance(scorer, Tuned)
    if train.texts is not None and not warm:
        scorer = Tuned(scorer, train.texts.adapter(seed), Bank(train.texts, train.items))
    model = SingleModel(scorer)
    head = model.module.head if isinstance(model.module, Tuned) else model.module

    def objective(batch: Batch) -> Tensor:
        states, penalty = read(head, batch.history) if read else (head.users(batch.history), 0.0)
        margin = batch_margins(head, states, batch.pairs.user, batch.chosen, batch.rejected)
        return (combine(loss(margin, batch.rows), batch.pairs, batch.moved) + penalty)[None]

    generator = torch.Generator().manual_seed(seed)
    decay = torch.tensor([schedule.weight_decay], dtype=torch.float64)
    as_it_is = model.module.on(train) if isinstance(model.module, Tuned) and train.texts is not None else train
    phases: list[Phase] = [HeadPhase(model, as_it_is, schedule, decay, generator, strata)]
    if train.texts is not None:
        phases.append(TextPhase(model, train, schedule, generator, strata, warm))
    return descend(model, phases, train, objective, valid, lambda m: measure(m[0])[None], [rise], excess, memory)[0]


def batch_margins(scorer: Scorer, states: Tensor, user: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
    """Margins of a batch's pairs [n], with gradient; chosen, rejected float[n, d]."""
    state = states[user]
    return scorer.score(state, chosen) - scorer.score(state, rejected)


def descend(
    model: SingleModel | ModelStack,
    phases: Sequence[Phase],
    train: Pairs,
    objective: Objective,
    valid: Pairs,
    measure: Callable[[Tensor], Tensor],  # margins [r, n] of valid → validation losses [r]
    rises: Sequence[Rise | None],  # of the replicas
    excess: Excess | None,
    memory: Memory | None = None,
) -> list[Fitted]:
    """The loop itself, for all replicas of `model` at once, phase after phase; each goes on from the best epoch so far.

    A training on texts that was checkpointed goes on in its last phase, or is read where it was finished.
    """
    require_pairs(train, valid)
    held_out = only_present(valid)
    margin = model.margins(held_out)
    best = BestEpochs(model, margin, measure(margin), rises, valid, 0.0 if excess is None else float("inf"))
    at = Place()
    record = record_of(model, phases[-1], train, valid, best, at, memory)
    for number in range(at.phase, 0 if record is not None and record.finished else len(phases)):
        if number > at.phase:
            at.enter(number)
            model.restore(best.values)
            for trace in best.traces:
                trace.tuned_from = at.epoch
        watched = Watched(*phases[number].extent)
        try:
            _run(model, phases[number], objective, valid, held_out, measure, excess, best, at, record, watched)
        except NotFinite as found:
            trace = best.traces[0]
            trace.stopped_step, trace.stopped_batch, trace.stopped_by = found.step, found.batch, found.what
        watched.at_end()
    if record is not None and not record.finished:
        record.finish()
    for trace in best.traces:
        trace.pairs_per_second = len(train) * len(trace.train_loss) / trace.seconds
    return [Fitted(model.scorer({name: v[n] for name, v in best.values.items()}), trace) for n, trace in enumerate(best.traces)]


def _run(
    model: SingleModel | ModelStack,
    phase: Phase,
    objective: Objective,
    valid: Pairs,
    held_out: Pairs,
    measure: Callable[[Tensor], Tensor],
    excess: Excess | None,
    best: BestEpochs,
    at: Place,
    record: Record | None,
    watched: Watched,
) -> None:
    """One phase from its round `at.round` on, until its rounds or its patience end."""
    watched.valid = loss_by_group(best.margin[0], valid) if watched.steps else {}
    for number in range(at.round, phase.rounds):
        watched.at_round(number)
        active = model.active
        at.begin(number, len(active))
        start = time.perf_counter() - at.seconds
        for batch in phase.round(number):
            value = objective(batch)
            step = phase.step(value.sum())
            at.total += value.detach() * len(batch.rows)
            at.scored += len(batch.rows)
            if step is not None:
                best.traces[0].add(step)
                watched.at_step(step.number, step.loss, step.texts_per_second)
                at.seconds = time.perf_counter() - start
                if record is not None:
                    record.step()
        at.epoch += 1
        if at.epoch == 1 and at.total.isnan().any():
            raise Diverged(
                "the training loss is not a number after epoch 1. Expected: a finite loss. To do: look for a division by 0 or a logarithm of 0 in "
                "the loss, or lower lr."
            )
        margin = model.margins(held_out)
        valid_loss = measure(margin)
        beyond = torch.zeros_like(valid_loss) if excess is None else excess(model.margins, active)
        best.update(at.epoch, model, margin, valid_loss, beyond, phase.moves_features)
        watched.valid = loss_by_group(margin[0], valid) if watched.steps else {}
        share = (time.perf_counter() - start) / len(active)
        for place, replica in enumerate(active.tolist()):
            trace = best.traces[replica]
            trace.train_loss.append(float(at.total[place]) / max(at.scored, 1))
            trace.valid_loss.append(float(valid_loss[place]))
            if excess is not None:
                trace.excess.append(float(beyond[place]))
            trace.seconds += share
        at.seconds, at.scored = 0.0, 0
        unfinished = (at.epoch - best.latest[active].clamp_min(at.before) < phase.patience).nonzero()[:, 0]
        if len(unfinished) == 0:
            break
        if len(unfinished) < len(active):
            phase.drop_finished(unfinished)

"""The one training loop: batches of pairs, users' other pairs as their context, early stopping on validation (phases.py has the batches).

A user's context plays the history and the rest of his or her pairs are scored under it, so that a model is trained for what it will
do at inference: read some pairs of a user, then judge others. The two are disjoint in every epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from evenhand.core import EvenhandError, Pairs, Scorer, TrainableScorer
from evenhand.training.checkpoint import Memory, Record, begun
from evenhand.training.phases import Batch, HeadPhase, NotFinite, Phase, TextPhase
from evenhand.training.replicas import ModelStack, SingleModel
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, mean_over_users, only_present
from evenhand.training.state_bytes import State, digest
from evenhand.training.traces import Fitted, Trace
from evenhand.training.tuned import Bank, Tuned
from evenhand.training.watched import Watched

PairLoss = Callable[..., Tensor]  # (margins [n], rows of train [n], *hyperparameters of the loss) → one loss a pair [n]
Rise = Callable[[Tensor, Tensor, Pairs], Tensor]  # (margins [r, n] of valid in an epoch, in the one kept, valid) → [r], below 0 = better
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
    best = _BestEpochs(model, margin, measure(margin), rises, valid, 0.0 if excess is None else float("inf"))
    at = _Place()
    record = _record(model, phases[-1], train, valid, best, at, memory)
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
    best: _BestEpochs,
    at: _Place,
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
            model.drop_finished(unfinished, phase.optimiser)


@dataclass
class _Place:
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


def _record(
    model: SingleModel | ModelStack, phase: Phase, train: Pairs, valid: Pairs, best: _BestEpochs, at: _Place, memory: Memory | None
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


def loss_by_group(margin: Tensor, pairs: Pairs) -> dict[int, float]:
    """Bradley-Terry loss, averaged over users, of each group's pairs under margins float[n]; -1 = users in none.

    Of margins float[n, k] the first column is looked at, the user's own.
    """
    loss = bt(margin if margin.ndim == 1 else margin[:, 0])
    masks = {int(g): pairs.group == g for g in pairs.group.unique()}
    return {g: float(mean_over_users(loss[mask], pairs.take(mask))) for g, mask in masks.items()}


class _BestEpochs:
    """Each replica's best epoch so far: its margins [r, n] of validation pairs and its parameters; traces of all its epochs.

    loss: of the epoch kept, with a `rise` the lowest so far. latest: the last epoch that was kept or had that loss, 0 = untrained.
    """

    def __init__(
        self, model: SingleModel | ModelStack, margin: Tensor, loss: Tensor, rises: Sequence[Rise | None], valid: Pairs, excess: float
    ):
        self.margin, self.loss, self.rises, self.valid = margin, loss, rises, valid
        self.values = {name: v.clone() for name, v in model.values().items()}
        self.excess, self.latest = torch.full_like(loss, excess), torch.zeros(len(rises), dtype=torch.long)
        self.traces = [Trace(by_group=rise is not None) for rise in rises]

    def state(self) -> State:
        kept = {"margin": self.margin, "loss": self.loss, "excess": self.excess, "latest": self.latest, "values": self.values}
        return kept | {"traces": {str(n): asdict(trace) for n, trace in enumerate(self.traces)}}

    def load(self, state: State) -> None:
        self.margin, self.loss, self.excess, self.latest = (state[name] for name in ("margin", "loss", "excess", "latest"))
        for name, value in self.values.items():
            value.copy_(state["values"][name])
        self.traces = [Trace(**state["traces"][str(n)]) for n in range(len(self.traces))]

    def update(
        self, epoch: int, model: SingleModel | ModelStack, margin: Tensor, loss: Tensor, excess: Tensor, moves_features: bool
    ) -> None:
        """Keep the epoch of those replicas in training for which it is better than the one kept: less excess, or as much and preferred.

        What did not move is not copied: an adapter of all weights is as large as its model.
        """
        active, lower = model.active, loss < self.loss[model.active]
        rises = [self.rises[number] for number in active.tolist()]
        preferred = lower.clone()
        for rise in {rule for rule in rises if rule is not None}:
            places = torch.tensor([rule is rise for rule in rises])
            preferred[places] = rise(margin[places], self.margin[active[places]], self.valid) < 0
        better = (excess < self.excess[active]) | ((excess == self.excess[active]) & preferred)
        low = torch.where(torch.tensor([rise is not None for rise in rises]), lower, better)
        self.loss[active[low]] = loss[low]
        self.excess[active[better]], self.margin[active[better]] = excess[better], margin[better]
        self.latest[active[low | better]] = epoch
        moved = model.parameters if moves_features else model.head_parameters()
        for name, v in model.values().items():
            if name in moved:
                self.values[name][active[better]] = v[better]
        if moves_features and better.any():
            model.keep()
        for number in active[better].tolist():
            self.traces[number].best_epoch = epoch

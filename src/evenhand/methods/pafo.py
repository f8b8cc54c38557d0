"""PAFO, Pareto fairness optimisation (Zhao et al. 2026, arXiv 2606.07988): group teachers distilled by margins into one student.

    Stage 1   theta_g = argmin L_BT on the pairs of group g                     one specialised teacher a group
    Stage 2   L = alpha L_BT(m) + (1 - alpha) L_distill(m, m*)                  (Eq. 8; smaller alpha = stronger distillation)
              m*(p, u) = margin of pair p under the teacher of u's own group, no gradient

The student reads the history alone: a group label is needed neither at inference nor by its signature.

Differs from the paper: its text is public as an abstract, captions and reviews only, so the following is our reading. Teachers start
from the pooled model (`warm_start`): a minority teacher from scratch is too weak on little data. m* is computed with the user's other
pairs as history, never the pair itself. `soft` replaces mse as default, and `balance` > 0 weighs a user in the distillation
term by the frequency of his or her group to the power -balance; `distil=mse, balance=0, guarded=false` is the plain reading. `guarded`: the
paper keeps its student whatever validation says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from evenhand.core import EvenhandError, Method, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.choosing import guard
from evenhand.training.epochs import mean_rise
from evenhand.training.groups import group_weights
from evenhand.training.loop import PairLoss, pair_bt, train_model
from evenhand.training.scoring import bt, cross_margins
from evenhand.training.stack import Stages, Training, run_stages
from evenhand.training.traces import Fitted

Distil = Callable[[Tensor, Tensor], Tensor]  # (m [n], m* [n]) → one loss a pair [n], >= 0


def mse(m: Tensor, target: Tensor) -> Tensor:
    """(m - m*)^2."""
    return (m - target) ** 2


def soft(m: Tensor, target: Tensor) -> Tensor:
    """BCE(sigma(m*), sigma(m)): cross-entropy with the teacher's probability (Hinton et al. 2015, section 2)."""
    return binary_cross_entropy_with_logits(m, torch.sigmoid(target), reduction="none")


def hinge(m: Tensor, target: Tensor) -> Tensor:
    """max(0, m* - m)^2: a student more certain than its teacher is not held back."""
    return (target - m).clamp_min(0) ** 2


def gate(m: Tensor, target: Tensor) -> Tensor:
    """(m - m*)^2 where the teacher orders the pair correctly (m* > 0), else 0."""
    return torch.where(target > 0, (m - target) ** 2, 0.0)


DISTIL: dict[str, Distil] = {"soft": soft, "mse": mse, "hinge": hinge, "gate": gate}


@dataclass(frozen=True)
class Pafo(Method):
    """base trains the pooled model and gives student and teachers their head and schedule.

    alpha in [0, 1]: share of the Bradley-Terry loss; 1 is Bradley-Terry itself. balance in [0, 1]: 0 keeps the majority's gain, 1 gives
    each group the same weight in the distillation term and costs the majority a little. temperature T > 0: L_distill(m/T, m*/T) T^2, which
    leaves mse, hinge and gate as they are. teacher_lr, teacher_patience: of warm teachers, which need small steps and few epochs (those that do not
    start from the pooled model have the schedule's). Defaults: what validation chose in runs/dsp.sh; the patience: docs/decisions.md.
    """

    base: BradleyTerry = field(default_factory=BradleyTerry)
    alpha: float = 0.0
    distil: Distil = soft
    balance: float = 0.5
    temperature: float = 1.0
    warm_start: bool = True
    teacher_lr: float = 1e-3
    teacher_patience: int = 10
    guarded: bool = True

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("balance", self.balance)):
            if not 0 <= value <= 1:
                raise EvenhandError(f"pafo: {name} is {value}. Expected: a number from 0 to 1. To do: --set {name}=0.5, or leave it out.")
        for name, value in (("temperature", self.temperature), ("teacher_lr", self.teacher_lr)):
            if not 0 < value < float("inf"):
                raise EvenhandError(f"pafo: {name} is {value}. Expected: a number above 0. To do: leave {name} out.")
        if self.teacher_patience < 1:
            raise EvenhandError(
                f"pafo: teacher_patience is {self.teacher_patience}. Expected: 1 or more. To do: leave teacher_patience out."
            )

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The student, or the pooled model where the guard says so; `parts` holds both and one teacher a group."""
        return run_stages([self], train, valid, seed)[0]

    def stages(self, train: Pairs, valid: Pairs, seed: int) -> Stages:
        """Teachers, then their student."""
        taught = yield self.teachers
        assert taught.target is not None
        student = yield self.student(taught.target, train, valid, seed)
        return replace(self.kept({**taught.parts, "student": student}, valid), target=taught.target)

    @property
    def teachers(self) -> Teachers:
        """Stage 1."""
        return Teachers(self.base, self.warm_start, self.teacher_lr, self.teacher_patience)

    def student(self, target: Tensor, train: Pairs, valid: Pairs, seed: int) -> Training:
        """Stage 2: one model for everybody towards the target margins float[n] of the training pairs."""
        # A balanced student is also picked by both groups alike, as far as they can tell: the plain mean would pick the majority's epoch.
        balanced = self.balance > 0 and self.alpha < 1 and bool((valid.group >= 0).any())
        return Training(
            self.base.untrained(train, seed),
            distillation(self.distil),
            self.base.schedule,
            alike=(Pafo, self.base.without_decay(), self.distil),
            hyperparameters=(torch.tensor(self.alpha), torch.tensor(self.temperature), group_weights(train, self.balance), target),
            rise=mean_rise if balanced else None,
        )

    def kept(self, parts: Mapping[str, Fitted], valid: Pairs) -> Fitted:
        """The student of `parts`, or its pooled model: a Pareto improvement is the promise, so a group shown to be worse off breaks it."""
        student, pooled = parts["student"], parts["pooled"]
        if not self.guarded:
            return replace(student, parts=parts)
        verdict = guard(student.scorer, pooled.scorer, valid)
        return replace(student if verdict.kept else pooled, parts=parts, guard=verdict)

    def variants(self) -> Iterator[Pafo]:
        """Itself, then other strengths: what `tune` tries."""
        yield self
        for alpha, balance in ((0.1, 0.0), (0.1, 0.75), (0.1, 0.25), (0.25, 0.5), (0.1, 1.0), (0.1, 0.5), (0.5, 0.5)):
            yield replace(self, alpha=alpha, balance=balance)


def distillation(distil: Distil) -> PairLoss:
    """Eq. 8 of each pair. weight, target float[n]: of all training pairs."""

    def loss(m: Tensor, rows: Tensor, alpha: Tensor, T: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        return alpha * bt(m) + (1 - alpha) * weight[rows] * distil(m / T, target[rows] / T) * T**2

    return loss


@dataclass(frozen=True)
class Teachers:
    """Stage 1: one specialised model a group, shared by all settings of stage 2. The fit is the pooled model with the teachers as parts."""

    base: BradleyTerry
    warm_start: bool
    lr: float
    patience: int

    def stages(self, train: Pairs, valid: Pairs, seed: int) -> Stages:
        pooled = yield self.base
        parts = {"pooled": pooled} | {f"teacher {g}": t for g, t in self.of(pooled, train, valid, seed).items()}
        return replace(pooled, parts=parts, target=target_margins(parts, train, seed))

    def of(self, pooled: Fitted, train: Pairs, valid: Pairs, seed: int) -> dict[int, Fitted]:
        """Each group's teacher, stopped early on that group's validation pairs; without any, the pooled model."""
        start = pooled.scorer if self.warm_start else self.base.untrained(train, seed)
        schedule = self.base.schedule
        if self.warm_start:
            schedule = replace(schedule, lr=self.lr, patience=min(schedule.patience, self.patience))
        measured = set(valid.groups())
        return {
            g: train_model(start, train.of(g), pair_bt, valid.of(g), seed, schedule) if g in measured else pooled for g in train.groups()
        }


def target_margins(parts: Mapping[str, Fitted], train: Pairs, seed: int) -> Tensor:
    """m* float[n]: each training pair's margin under the teacher of its user's group; under the pooled model where a user is in none."""
    target = torch.empty(len(train))
    for group in train.group.unique().tolist():
        rows = train.group == group
        teacher = parts["pooled" if group < 0 else f"teacher {group}"]
        target[rows] = cross_margins(teacher.scorer, train.take(rows), seed)
    return target

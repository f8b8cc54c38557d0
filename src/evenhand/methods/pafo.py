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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from evenhand.core import EvenhandError, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.choosing import guard
from evenhand.training.epochs import mean_rise
from evenhand.training.loop import Fitted, PairLosses, Rise, minimise, minimise_all
from evenhand.training.scoring import bt, cross_margins, mean_over_users
from evenhand.training.stack import alike

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
class Pafo:
    """base trains the pooled model and gives student and teachers their head and schedule.

    alpha in [0, 1]: share of the Bradley-Terry loss; 1 is Bradley-Terry itself. balance in [0, 1]: 0 keeps the majority's gain, 1 gives
    each group the same weight in the distillation term and costs the majority a little. temperature T > 0: L_distill(m/T, m*/T) T^2, which
    leaves mse, hinge and gate as they are. teacher_lr: a warm teacher needs small steps. Defaults: what validation chose in runs/dsp.sh.
    """

    needs_groups: ClassVar[bool] = False
    unreduced: ClassVar[bool] = False
    base: BradleyTerry = field(default_factory=BradleyTerry)
    alpha: float = 0.0
    distil: Distil = soft
    balance: float = 0.5
    temperature: float = 1.0
    warm_start: bool = True
    teacher_lr: float = 1e-3
    guarded: bool = True

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("balance", self.balance)):
            if not 0 <= value <= 1:
                raise EvenhandError(f"pafo: {name} is {value}. Expected: a number from 0 to 1. To do: --set {name}=0.5, or leave it out.")
        for name, value in (("temperature", self.temperature), ("teacher_lr", self.teacher_lr)):
            if not 0 < value < float("inf"):
                raise EvenhandError(f"pafo: {name} is {value}. Expected: a number above 0. To do: leave {name} out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The student, or the pooled model where the guard says so; `parts` holds both and one teacher a group."""
        return self.fit_all([self], train, valid, seed)[0]

    @staticmethod
    def fit_all(methods: Sequence[Pafo], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
        """Each as its own `fit` gives it. Settings with the same base and teachers share these, and their students are one stack."""
        bases = [methods[places[0]].base for places in alike(methods, lambda m: m.base)]
        pooled = dict(zip(bases, BradleyTerry.fit_all(bases, train, valid, seed), strict=True))
        parts: dict[int, dict[str, Fitted]] = {}
        targets: dict[int, Tensor] = {}
        for places in alike(methods, lambda m: (m.base, m.warm_start, m.teacher_lr)):
            first = methods[places[0]]
            taught = first.teachers(pooled[first.base], train, valid, seed)
            found = {"pooled": pooled[first.base]} | {f"teacher {g}": t for g, t in taught.items()}
            target = target_margins(found, train, seed)
            parts.update(dict.fromkeys(places, found))
            targets.update(dict.fromkeys(places, target))
        students: dict[int, Fitted] = {}
        for places in alike(methods, lambda m: (m.base.without_decay(), m.distil)):
            some = Pafo.students([methods[p] for p in places], [targets[p] for p in places], train, valid, seed)
            students.update(zip(places, some, strict=True))
        return [m.kept(parts[p] | {"student": students[p]}, valid) for p, m in enumerate(methods)]

    def kept(self, parts: Mapping[str, Fitted], valid: Pairs) -> Fitted:
        """The student of `parts`, or its pooled model: a Pareto improvement is the promise, so a group shown to be worse off breaks it."""
        student, pooled = parts["student"], parts["pooled"]
        if not self.guarded:
            return replace(student, parts=parts)
        found = guard(student.scorer, pooled.scorer, valid)
        return replace(student if found.kept else pooled, parts=parts, guard=found)

    def teachers(self, pooled: Fitted, train: Pairs, valid: Pairs, seed: int) -> dict[int, Fitted]:
        """Stage 1: one specialised model a group, stopped early on that group's validation pairs; without any, the pooled model."""
        start = pooled.scorer if self.warm_start else self.base.head.build(train.items.shape[1], seed)
        schedule = replace(self.base.schedule, lr=self.teacher_lr if self.warm_start else self.base.schedule.lr)
        judged = set(valid.groups())

        def teacher(group: int) -> Fitted:
            if group not in judged:
                return pooled
            return minimise(start, train.of(group), lambda m, rows: bt(m), valid.of(group), seed, schedule)

        return {group: teacher(group) for group in train.groups()}

    def student(self, target: Tensor, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """Stage 2: one model for everybody towards the target margins float[n] of the training pairs."""
        return self.students([self], [target], train, valid, seed)[0]

    @staticmethod
    def students(methods: Sequence[Pafo], targets: Sequence[Tensor], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
        """Stage 2 of settings that share head, distil and all of the schedule but the weight decay, as one stack."""
        losses, rise = Pafo.objective(methods, targets, train, valid)
        scorers = [m.base.head.build(train.items.shape[1], seed) for m in methods]
        decay = torch.tensor([m.base.schedule.weight_decay for m in methods], dtype=torch.float64)
        schedule = methods[0].base.schedule
        return minimise_all(scorers, train, losses, valid, seed, schedule, weight_decay=decay, rise=rise)

    @staticmethod
    def objective(methods: Sequence[Pafo], targets: Sequence[Tensor], train: Pairs, valid: Pairs) -> tuple[PairLosses, Rise | None]:
        """Stage 2's loss of each training pair, and what picks the epoch if not the mean over users alone, of settings with one distil."""
        first = methods[0]
        alpha, T = (torch.tensor([[value] for value in values]) for values in zip(*((m.alpha, m.temperature) for m in methods)))
        weights = {balance: group_weights(train, balance) for balance in {m.balance for m in methods}}
        weight, target = torch.stack([weights[m.balance] for m in methods]), torch.stack(list(targets))
        # A balanced student is also picked by both groups alike, as far as they can tell: the plain mean would pick the majority's epoch.
        grouped = bool((valid.group >= 0).any())
        by_group = torch.tensor([m.balance > 0 and m.alpha < 1 and grouped for m in methods])

        def losses(m: Tensor, rows: Tensor, which: Tensor) -> Tensor:
            a, t = alpha[which], T[which]
            return a * bt(m) + (1 - a) * weight[which][:, rows] * first.distil(m / t, target[which][:, rows] / t) * t**2

        def rise(m: Tensor, kept: Tensor, which: Tensor) -> Tensor:
            plain = mean_over_users(bt(m), valid) - mean_over_users(bt(kept), valid)
            return torch.where(by_group[which], mean_rise(m, kept, valid), plain)

        return losses, rise if bool(by_group.any()) else None

    def variants(self) -> Iterator[Pafo]:
        """Itself, then other strengths: what `tune` tries."""
        yield self
        for alpha, balance in ((0.1, 0.0), (0.1, 0.75), (0.1, 0.25), (0.25, 0.5), (0.1, 1.0), (0.1, 0.5), (0.5, 0.5)):
            yield replace(self, alpha=alpha, balance=balance)


def target_margins(parts: Mapping[str, Fitted], train: Pairs, seed: int) -> Tensor:
    """m* float[n]: each training pair's margin under the teacher of its user's group; under the pooled model where a user is in none."""
    target = cross_margins(parts["pooled"].scorer, train, seed)
    for group in train.groups():
        rows = train.group == group
        target[rows] = cross_margins(parts[f"teacher {group}"].scorer, train.take(rows), seed)
    return target


def group_weights(train: Pairs, balance: float) -> Tensor:
    """Each pair's weight in the distillation term, float[n], mean 1: (share of users in the user's group)^-balance; 1 in no group."""
    group_of_user = torch.full((len(train.history),), -1).index_copy(0, train.user, train.group)
    values, index = group_of_user[group_of_user >= 0].unique(return_inverse=True)
    weight = torch.ones(len(train))
    inside = train.group >= 0
    share = torch.bincount(index) / max(len(index), 1)
    weight[inside] = share[torch.searchsorted(values, train.group[inside])] ** -balance
    weight[inside] /= weight[inside].mean() if bool(inside.any()) else 1.0
    return weight

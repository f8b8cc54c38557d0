"""What each part of PAFO is for: the same recipe on one DSP world with a part taken away, or only a part of it left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from dsp import per_user
from torch import Tensor, nn

from evenhand.core import History, Pairs
from evenhand.methods.pafo import Pafo, mse
from evenhand.training.epochs import mean_rise
from evenhand.training.groups import group_weights
from evenhand.training.loop import train_model
from evenhand.training.scoring import bt, cross_margins, margins, rewards
from evenhand.training.stack import train_all
from evenhand.training.traces import Fitted

FOLDS = 4  # as cross_margins


def ablations(full: Pafo, fitted: Fitted, sets: dict[str, Pairs], seed: int, cells: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Per-user accuracies [USERS] by variant and cell. fitted: what full.fit gave; its pooled model and teachers are shared by all variants."""
    train, valid = sets["train"], sets["valid"]
    pooled, teachers = fitted.parts["pooled"].scorer, {g: fitted.parts[f"teacher {g}"].scorer for g in train.groups()}
    scored: dict[str, dict[str, Tensor]] = {}

    def keep(name: str, scorer: Any) -> None:
        scored[name] = {c: margins(scorer, sets[c]) for c in cells}

    keep("PAFO", fitted.scorer)
    keep("no distillation (alpha 1): the pooled model", pooled)
    second = full.base.fit(train, valid, seed + 1000).scorer
    scored["average of two pooled models"] = {c: margins(pooled, sets[c]) + margins(second, sets[c]) for c in cells}
    for group, title in ((0, "majority's teacher for everybody"), (1, "minority's teacher for everybody")):
        keep(title, teachers[group])
    routed = {g: {c: margins(t, sets[c]) for c in cells} for g, t in teachers.items()}
    scored["teachers, oracle routing"] = {c: torch.where(sets[c].group == 1, routed[1][c], routed[0][c]) for c in cells}

    itself = cross_margins(pooled, train, seed)
    average = torch.stack([cross_margins(t, train, seed) for t in teachers.values()]).mean(0)
    even = replace(full, balance=0.0)
    targets = {
        "self-distillation, balance 0": (even, itself),
        "self-distillation": (full, itself),
        "unconditional teacher": (full, average),
    }
    students = train_all([m.student(t, train, valid, seed) for m, t in targets.values()], train, valid, seed)
    for name, student in zip(targets, students, strict=True):
        keep(name, student.scorer)

    target = torch.empty(len(train), 2)
    for group, teacher in teachers.items():
        rows = train.group == group
        target[rows] = cross_rewards(teacher, train, seed)[rows]
    squares = replace(full, distil=mse)
    keep("margins by mse", train_all([squares.student(target[:, 0] - target[:, 1], train, valid, seed)], train, valid, seed)[0].scorer)
    keep("scores by mse", score_level(squares, target, train, valid, seed).scorer)
    return {name: {c: per_user(m) for c, m in by_cell.items()} for name, by_cell in scored.items()}


def cross_rewards(scorer: Any, train: Pairs, seed: int) -> Tensor:
    """Rewards of chosen and rejected of every training pair, float[n, 2], each under three quarters of the user's pairs, never the pair itself.

    Every user has the same number of pairs here, and they come user after user.
    """
    users = len(train.history)
    part = torch.rand(users, len(train) // users, generator=torch.Generator().manual_seed(seed)).argsort(1).flatten() % FOLDS
    out = torch.empty(len(train), 2)
    for k in range(FOLDS):
        known, asked = part != k, part == k
        offsets = torch.arange(users + 1) * (int(known.sum()) // users)
        history = History(train.items, offsets, train.chosen[known], train.rejected[known], train.history.row)
        out[asked] = rewards(scorer, replace(train.take(asked.nonzero()[:, 0]), history=history))
    return out


class Remembering(nn.Module):
    """A scorer that keeps the last two rewards it gave: of a batch's chosen and of its rejected responses."""

    def __init__(self, scorer: Any):
        super().__init__()
        self.scorer = scorer
        self.last: tuple[Tensor, ...] = ()

    def users(self, history: History) -> Tensor:
        states: Tensor = self.scorer.users(history)
        return states

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        out: Tensor = self.scorer.score(state, items)
        self.last = (*self.last[-1:], out)
        return out


def score_level(method: Pafo, target: Tensor, train: Pairs, valid: Pairs, seed: int) -> Fitted:
    """PAFO's stage 2 with rewards in place of margins: alpha L_BT(m) + (1 - alpha) w ((r+ - r+*)² + (r- - r-*)²) / 2; target float[n, 2].

    Rewards as they are, with no constant of the user taken off: these heads are linear in the features and have no such constant.
    (a² + b²) / 2 = (a - b)² / 4 + (a + b)² / 4: the margins' error and, as much again, an error that no choice between responses shows.
    """
    weight, taught = group_weights(train, method.balance), Remembering(method.base.head.build(train.items.shape[1], seed))

    def read(module: Remembering, history: History) -> tuple[Tensor, Tensor]:
        nonlocal taught
        taught = module  # the copy that is being trained
        return module.users(history), torch.zeros(())

    def loss(m: Tensor, rows: Tensor) -> Tensor:
        off = (torch.stack(taught.last, dim=1) - target[rows]).square().mean(1)
        return method.alpha * bt(m) + (1 - method.alpha) * weight[rows] * off

    fitted = train_model(taught, train, loss, valid, seed, method.base.schedule, rise=mean_rise if method.balance > 0 else None, read=read)
    assert isinstance(fitted.scorer, Remembering)
    return replace(fitted, scorer=fitted.scorer.scorer)

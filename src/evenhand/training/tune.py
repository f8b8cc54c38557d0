"""Search on validation within a stated budget of fits: Pareto improvements first, then the groups' mean gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from evenhand.core import Pairs
from evenhand.training.loop import ROUNDING, Fitted
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import alike


class Tunable(Protocol):
    """A method that can name its own alternatives, the default first."""

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted: ...

    def variants(self) -> Iterator[Tunable]: ...


@runtime_checkable
class Together(Protocol):
    """A method several settings of which can be trained at once, sharing what they have in common."""

    @staticmethod
    def fit_all(methods: Sequence[Any], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]: ...


@dataclass(frozen=True)
class Trial:
    """One setting tried. losses: validation Bradley-Terry loss by group, averaged over users."""

    method: Any
    fitted: Fitted
    losses: dict[int, float]


def tune(method: Tunable, train: Pairs, valid: Pairs, seed: int, settings: int) -> tuple[Trial, list[Trial]]:
    """Try at most `settings` of the method's variants, the default first → (the chosen one, all of them in order).

    Only `valid` is looked at.
    """
    variants = list(islice(method.variants(), max(settings, 1)))
    trials = [Trial(m, f, losses_by_group(f, valid)) for m, f in zip(variants, fit_all(variants, train, valid, seed), strict=True)]
    return choose(trials), trials


def fit_all(methods: Sequence[Any], train: Pairs, valid: Pairs, seed: int) -> list[Fitted]:
    """Every method fitted, in order; those of one class together where the class knows how."""
    fitted: dict[int, Fitted] = {}
    for places in alike(methods, type):
        some = [methods[p] for p in places]
        found = some[0].fit_all(some, train, valid, seed) if isinstance(some[0], Together) else [m.fit(train, valid, seed) for m in some]
        fitted.update(zip(places, found, strict=True))
    return [fitted[p] for p in range(len(methods))]


def choose(trials: list[Trial]) -> Trial:
    """Of the trials no group of which is worse than under the first (the default), the one with the largest mean gain over groups.

    Where fits are constrained, only those nearest to their constraints stand for choice: within them, if any is.
    """
    least = min(map(_beyond, trials))
    trials = [t for t in trials if _beyond(t) <= least + ROUNDING]
    default = trials[0].losses

    def mean_loss(trial: Trial) -> float:
        return sum(trial.losses.values()) / len(trial.losses)

    return min((t for t in trials if all(t.losses[g] <= default[g] for g in default)), key=mean_loss)


def _beyond(trial: Trial) -> float:
    """How far the epoch kept is beyond gamma on training pairs; 0 without constraints."""
    game, best = trial.fitted.constrained, trial.fitted.trace.best_epoch
    return 0.0 if game is None or not 0 < best <= len(game.train) else max(0.0, game.train[best - 1] - game.gamma)


def losses_by_group(fitted: Fitted, valid: Pairs) -> dict[int, float]:
    """Mean validation loss of each group; of all users, under -1, where nobody is in a group."""
    loss = bt(margins(fitted.scorer, valid))
    by_group = {g: float(mean_over_users(loss[valid.group == g], valid.of(g))) for g in valid.groups()}
    return by_group or {-1: float(mean_over_users(loss, valid))}

"""Search on validation within a stated budget of fits: Pareto improvements first, then the groups' mean gain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from evenhand.core import Pairs
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import Fittable, fit_all
from evenhand.training.traces import ROUNDING, Fitted


@dataclass(frozen=True)
class TunedFit:
    """The fit of one setting. losses: validation Bradley-Terry loss by group, averaged over users."""

    method: Fittable
    fitted: Fitted
    losses: dict[int, float]


def tune(method: Fittable, train: Pairs, valid: Pairs, seed: int, settings: int) -> tuple[TunedFit, list[TunedFit]]:
    """Try at most `settings` of the method's variants, the default first → (the chosen one, all of them in order).

    Only `valid` is looked at.
    """
    variants = list(islice(method.variants(), max(settings, 1)))
    fits = [TunedFit(m, f, losses_by_group(f, valid)) for m, f in zip(variants, fit_all(variants, train, valid, seed), strict=True)]
    return choose(fits), fits


def choose(fits: list[TunedFit]) -> TunedFit:
    """Of the fits no group of which is worse than under the first (the default), the one with the largest mean gain over groups.

    Where fits are constrained, only those nearest to their constraints stand for choice: within them, if any is.
    """
    least = min(map(_beyond, fits))
    fits = [f for f in fits if _beyond(f) <= least + ROUNDING]
    default = fits[0].losses

    def mean_loss(fit: TunedFit) -> float:
        return sum(fit.losses.values()) / len(fit.losses)

    return min((f for f in fits if all(f.losses[g] <= default[g] for g in default)), key=mean_loss)


def _beyond(fit: TunedFit) -> float:
    """How far the epoch kept is beyond gamma on training pairs; 0 without constraints."""
    game, best = fit.fitted.constrained, fit.fitted.trace.best_epoch
    return 0.0 if game is None or not 0 < best <= len(game.train) else max(0.0, game.train[best - 1] - game.gamma)


def losses_by_group(fitted: Fitted, valid: Pairs) -> dict[int, float]:
    """Mean validation loss of each group; of all users, under -1, where nobody is in a group."""
    loss = bt(margins(fitted.scorer, valid))
    by_group = {g: float(mean_over_users(loss[valid.group == g], valid.of(g))) for g in valid.groups()}
    return by_group or {-1: float(mean_over_users(loss, valid))}

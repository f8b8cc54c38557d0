"""Which of several trained models is kept, by what validation pairs can show: changes of loss paired by user, everybody and each group heard.

    loss of u     mean over the user's pairs of -log sigma(c m), c the one factor of all margins of a model with the lowest loss
    change of g   mean over the users of g of (loss of u under one model - under the other),  with its standard error s / sqrt(n)

The factor c changes no choice of a model: without it, one that learned from soft targets loses to one that is merely surer of itself (DSP, 400
users: loss +.012 where one point more of all test pairs was right).

A *guard* gives a model up where everybody's change is above 0, or a group's as far as it can be told from everybody's (`epochs.py`): of a few
users little can be told, and by their raw mean every second harmless model would be given up. Of six rules tried in runs/no_harm.py (raw means,
bounds of .5 to 2 standard errors, this one) the raw means and this one protected both groups, and this one serves many groups too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from evenhand.core import Pairs, Scorer
from evenhand.training.epochs import group_changes, group_of_users, grouped_mean
from evenhand.training.scoring import best_unit, bt, margins, user_means

ROUNDING = 1e-6  # of losses in single precision


@dataclass(frozen=True)
class Change:
    """group: its number, -1 = all users. mean: of the losses, above 0 = worse. error: its standard error, infinite for a single user.

    shrunk: the mean as far as it can be told from that of all users.
    """

    group: int
    mean: float
    error: float
    shrunk: float

    def is_worse(self, errors: float) -> bool:
        """Whether it is beyond that many standard errors."""
        return self.mean > max(errors * self.error, ROUNDING)

    @property
    def is_shown(self) -> bool:
        """Whether a guard gives the model up for it."""
        return self.shrunk > ROUNDING


@dataclass(frozen=True)
class Guard:
    """What became of a model that may only be kept where no group is shown to be worse than under another one."""

    kept: bool
    changes: tuple[Change, ...]  # against the other: all users, then each group


def user_losses(scorer: Scorer, valid: Pairs) -> Tensor:
    """Each user's mean Bradley-Terry loss on validation pairs, float[users with weight], margins in their best unit."""
    margin = margins(scorer, valid)
    return user_means(bt(best_unit(margin, valid) * margin), valid)


def changes(new: Tensor, old: Tensor, group: Tensor) -> tuple[Change, ...]:
    """From losses float[users] under two models and the users' groups int64[users], -1 = none: of all users, then of each group."""
    change = new - old
    shrunk, members = group_changes(change, group)
    parts = [(-1, change, change.mean()), *((int(g), change[group == g], t) for g, t in zip(members, shrunk) if g >= 0)]
    return tuple(Change(g, float(d.mean()), float(d.std()) / len(d) ** 0.5 if len(d) > 1 else float("inf"), float(t)) for g, d, t in parts)


def guard(new: Scorer, old: Scorer, valid: Pairs) -> Guard:
    """Whether scorer `new` may take the place of `old`: nobody, and no group, is shown to be worse."""
    against_old = changes(user_losses(new, valid), user_losses(old, valid), group_of_users(valid))
    return Guard(not any(c.is_shown for c in against_old), against_old)


def lowest(losses: Sequence[Tensor], group: Tensor) -> int:
    """The model with the lowest mean over users of losses float[users], with what groups add to it as far as they can tell (`epochs.py`)."""
    return min(range(len(losses)), key=lambda k: grouped_mean(losses[k] - losses[0], group))


def simplest(losses: Sequence[Tensor], group: Tensor) -> int:
    """Of models in order of complexity, by their users' losses float[users]: the simplest within one standard error of the `lowest`.

    The one-standard-error rule
    of Breiman et al. 1984 (Classification and regression trees, section 3.4.3), here on paired changes, for everybody and each group.
    """
    best = lowest(losses, group)
    return next(k for k in range(best + 1) if not any(c.is_worse(1) for c in changes(losses[k], losses[best], group)))

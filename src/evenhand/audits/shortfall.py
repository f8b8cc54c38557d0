"""What is short where the data decide nothing, and about how much more of it would decide.

With V the variance of an estimate, V = V_user + V_prompt (the two-way one, and what of it remains for any number of users), and factors
k, l of more users and prompts of the same kind, the variance becomes v = V_user / k + V_prompt / l. Under a flat prior the later estimate
is drawn from N(estimate now, V - v) (the estimate so far is part of it), so the chance that its interval then leaves the limit out is
known for every k and l, wherever the truth lies. The answer is the smallest factor at which that chance is 80 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from evenhand.audits.intervals import MDE_FACTOR
from evenhand.audits.sample import Means

POWER = 0.8
FACTORS = np.geomspace(1.02, 1000.0, 700)


@dataclass(frozen=True)
class Parts:
    """Variance of an estimate: the part that falls with users, and the part that falls with prompts alone. unseen: what is assumed where all
    users of a group agree (`intervals._unseen`); a bound of the form 3/n, so it falls with the square of their number.
    """

    by_user: float
    by_prompt: float
    unseen: float = 0.0

    def at(self, users: np.ndarray | float, prompts: np.ndarray | float) -> np.ndarray:
        """With so many times the users and prompts."""
        return np.asarray(self.by_user / users + self.by_prompt / prompts + self.unseen / np.square(users))

    def moves(self, users: np.ndarray | float, prompts: np.ndarray | float) -> np.ndarray:
        """Variance of the later estimate about the one so far. What nobody deviates from is taken to stay so."""
        return np.asarray(self.by_user * (1 - 1 / users) + self.by_prompt * (1 - 1 / prompts))


def parts_of(means: Means, row: np.ndarray, variance: float) -> Parts:
    """Of a combination of means with coefficients `row` [K] and the variance that its interval is made of."""
    if not math.isfinite(variance):
        return Parts(variance, 0.0)
    alone = max(float(row @ means.by_user @ row), 0.0)
    both = alone if means.by_both is None else max(float(row @ means.by_both @ row), alone)
    unseen = max(variance - both, 0.0)
    prompts = min(both - alone, variance)
    return Parts(max(variance - unseen - prompts, 0.0), prompts, unseen)


@dataclass(frozen=True)
class Question:
    """An estimate on either side of a limit. alpha, df: of its two-sided interval. cells: of a gap, the parts of each group's mean, which
    must be known to the limit within 2.8 standard errors for a PASS. two_sided: the size of the estimate counts, whatever its sign.
    """

    value: float
    limit: float
    parts: Parts
    alpha: float
    df: float
    two_sided: bool = False
    cells: tuple[Parts, ...] = ()

    def chance(self, users: np.ndarray | float, prompts: np.ndarray | float) -> np.ndarray:
        """That so many times the users and prompts decide, in [0, 1]."""
        variance = self.parts.at(users, prompts)
        half = stdtrit(self.df * np.maximum(users, prompts), 1 - self.alpha / 2) * np.sqrt(variance)
        moves = np.sqrt(np.maximum(self.parts.moves(users, prompts), 1e-18))

        def under(bound: np.ndarray) -> np.ndarray:
            return np.asarray(ndtr((bound - self.value) / moves))

        failed, passed = 1 - under(self.limit + half), under(self.limit - half)  # of a floor the other way round
        if self.two_sided:
            room = np.maximum(self.limit - half, 0.0)
            failed, passed = failed + under(-self.limit - half), np.maximum(under(room) - under(-room), 0.0)
        sharp = np.all([MDE_FACTOR * np.sqrt(c.at(users, prompts)) <= self.limit for c in self.cells], axis=0)
        return np.asarray(failed + np.where(sharp, passed, 0.0))


def needed(question: Question, users: int, shared: int, name: str, unit: str = "user") -> str:
    """ "about 210 more users like these would tell": of the unit that is short, which is the one with the larger part of the variance, if
    enough of it would do; else the other one; else both. "" where nothing is known. shared: how many prompts, or what else `name` says,
    users have in common. unit: what was drawn, if not users.
    """
    parts = question.parts
    if not all(map(math.isfinite, (question.value, parts.by_user, *(c.by_user for c in question.cells)))):
        return ""
    one = np.ones(len(FACTORS))
    plans = [((FACTORS, one), "users"), ((one, FACTORS), "shared")]
    plans = plans[::-1] if parts.by_prompt > parts.by_user else plans
    for (k, m), short in (*plans[: 2 if parts.by_prompt else 1], ((FACTORS, FACTORS), "")):
        enough = question.chance(k, m) >= POWER
        if enough.any():
            factor = float(FACTORS[enough.argmax()])
            counted = {"users": _about(users, factor, unit), "shared": _about(shared, factor, name)}
            units = [counted[short]] if short else counted.values()
            return f"about {' and '.join(units)} like these would tell, four times in five"
    return ""


def _about(now: int, factor: float, unit: str) -> str:
    """ "1,100 more users", rounded up to two digits."""
    more = max(1, math.ceil((factor - 1) * now))
    step = 10 ** max(len(str(more)) - 2, 0)
    more = math.ceil(more / step) * step
    return f"{more:,} more {unit}{'s' * (more != 1)}"

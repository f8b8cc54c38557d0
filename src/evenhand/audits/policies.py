"""Exact policies over given candidate responses: Gibbs and best-of-n, their distances, and what bounds these. Nothing is sampled.

    Gibbs       pi_b(y|x) = pi_ref(y|x) exp(r(x, y) / b) / Z(x)        the optimum of  J_r(pi) = E[r] - b KL(pi || pi_ref)
    best of n   n draws from pi_ref, the highest reward wins, ties split evenly:  P(max = v) = F(v)^n - F(v-)^n,
                shared among the candidates of reward v in proportion to pi_ref

With e = half the range of r - r' within a prompt (rewards are defined up to a constant per prompt, so this is the smallest max |r - r'|):

    |log pi_r / pi_r'| <= 2 e / b     TV <= tanh(e / 2b)     J_r(pi_r) - J_r(pi_r') = b KL(pi_r' || pi_r) <= e^2 / 2b

The second: a logit moves by at most 2 e / b, and sigma(t + a) - sigma(t - a) is largest at t = 0. The third: Hoeffding's lemma on the
log-ratio, whose range is at most 2 e / b. (Choi et al. 2026, arXiv 2602.07799, on transfer; Beirami et al. 2024, arXiv 2401.01879, on
best of n.) Logarithms throughout, so that small b and large n neither overflow nor lose digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenhand.core import EvenhandError

LOWEST = -1e200  # a log-probability beyond it is cut: e^-1e200 is 0 in any case, and differences stay finite


@dataclass(frozen=True)
class Candidates:
    """n candidate responses to P prompts; those of one prompt stand together.

    prompt int64[n]: 0, 1, … P - 1, never falling. group int64[n]: the group of the prompt, or of the user who asks; -1 = none.
    reward float64[n]. event float64[n] in [0, 1]: what is counted, such as toxic, or a rate. other float64[n]: a reference model r'.
    reference float64[n]: log pi_ref, known up to a constant per prompt; None = uniform over the prompt's candidates, as for draws from it.
    Raises EvenhandError naming the first row (counted from 0) that is no such thing.
    """

    prompt: np.ndarray
    group: np.ndarray
    reward: np.ndarray
    event: np.ndarray
    other: np.ndarray | None = None
    reference: np.ndarray | None = None

    def __post_init__(self) -> None:
        step = np.diff(self.prompt, prepend=-1)
        _refuse(~np.isin(step, (0, 1)) | (self.prompt < 0), "prompt", "0, 1, 2, …, never falling", "sort the rows and number the prompts")
        if not len(self.prompt):
            raise EvenhandError("Found no candidates. Expected: at least one row. To do: check the table.")
        columns = {"group": self.group, "reward": self.reward, "event": self.event, "other": self.other, "reference": self.reference}
        for name, column in columns.items():
            if column is None:
                continue
            if column.shape != self.prompt.shape:
                raise EvenhandError(f"'{name}' has shape {column.shape}. Expected: {self.prompt.shape}. To do: one value a candidate.")
            _refuse(~np.isfinite(column), name, "a finite number", "mend the row or drop it")
        _refuse((self.event < 0) | (self.event > 1), "event", "a number from 0 to 1", "rescale the column")
        strange = np.diff(self.group, prepend=self.group[:1]) != 0
        _refuse(strange & (step == 0), "group", "one group for all candidates of a prompt", "mend the row, or split the prompt")

    def __len__(self) -> int:
        return len(self.prompt)

    @cached_property
    def starts(self) -> np.ndarray:
        """Row of each prompt's first candidate, int64[P]."""
        return np.flatnonzero(np.diff(self.prompt, prepend=-1))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Candidates of each prompt, int64[P]."""
        return np.bincount(self.prompt)

    @cached_property
    def log_reference(self) -> np.ndarray:
        """log pi_ref, float64[n], summing to one over each prompt's candidates."""
        return normalised(self, np.zeros(len(self)) if self.reference is None else self.reference)


def _refuse(bad: np.ndarray, name: str, expected: str, remedy: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise EvenhandError(f"'{name}', row {rows[0]} (counted from 0; {len(rows)} such). Expected: {expected}. To do: {remedy}.")


def normalised(c: Candidates, logits: np.ndarray) -> np.ndarray:
    """Log-probabilities float64[n] from logits [n], known up to a constant per prompt."""
    logits = np.maximum(logits - np.maximum.reduceat(logits, c.starts)[c.prompt], LOWEST)
    return logits - np.log(np.add.reduceat(np.exp(logits), c.starts))[c.prompt]


def gibbs(c: Candidates, reward: np.ndarray, beta: float) -> np.ndarray:
    """log pi_beta, float64[n]; beta = inf is pi_ref. Raises EvenhandError unless beta > 0."""
    if not beta > 0:
        raise EvenhandError(f"beta is {beta}. Expected: a temperature above 0, or inf. To do: name larger ones.")
    centred = reward - np.maximum.reduceat(reward, c.starts)[c.prompt]
    with np.errstate(over="ignore"):
        tilt = np.maximum(centred / beta, LOWEST)
    return normalised(c, c.log_reference + tilt)


def best_of(c: Candidates, reward: np.ndarray, n: int) -> np.ndarray:
    """log pi of the best of n draws, float64[n]; n = 1 is pi_ref. Raises EvenhandError unless n >= 1."""
    if n < 1:
        raise EvenhandError(f"n is {n}. Expected: at least one draw. To do: name larger ones.")
    order = np.lexsort((reward, c.prompt))
    prompt, value, log_ref = c.prompt[order], reward[order], c.log_reference[order]
    new = np.diff(prompt, prepend=-1) != 0
    level = np.flatnonzero(new | (np.diff(value, prepend=np.nan) != 0))  # first row of each distinct reward of a prompt
    mass = np.add.reduceat(np.exp(log_ref), level)
    first = np.flatnonzero(new[level])  # each prompt's lowest level
    steps = mass.copy()
    steps[first[1:]] -= np.add.reduceat(mass, first)[:-1]  # the running sum starts anew with each prompt
    below = np.maximum(np.cumsum(steps) - mass, 0.0)  # F(v-)
    below[first] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        log_step = n * np.log1p(-mass / (below + mass))  # n log F(v-)/F(v)
        gain = n * np.log(below + mass) + np.log(-np.expm1(log_step)) - np.log(mass)  # log of the level's probability over its mass
    gain = np.where(mass > 0, gain, 0.0)  # what underflows stays where it is
    repeat = np.diff(np.append(level, len(order)))
    out = np.empty(len(order))
    out[order] = log_ref + np.repeat(np.maximum(gain, LOWEST), repeat)
    return normalised(c, out)


def expected(c: Candidates, log_p: np.ndarray, value: np.ndarray) -> np.ndarray:
    """E of value [n] under a policy, one number a prompt, float64[P]."""
    return np.add.reduceat(np.exp(log_p) * value, c.starts)


def divergence(c: Candidates, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """KL(p || q) in nats of each prompt, float64[P], at least 0."""
    return np.maximum(expected(c, log_p, log_p - log_q), 0.0)


def distance(c: Candidates, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Total variation in [0, 1] of each prompt, float64[P]."""
    return 0.5 * np.add.reduceat(np.abs(np.exp(log_p) - np.exp(log_q)), c.starts)


def half_range(c: Candidates, difference: np.ndarray) -> np.ndarray:
    """e of each prompt, float64[P]: half the range of r - r', the smallest max |r - r' - constant|."""
    return 0.5 * (np.maximum.reduceat(difference, c.starts) - np.minimum.reduceat(difference, c.starts))


def best_of_limit(n: int) -> float:
    """log n - (n - 1) / n, in nats: KL(best of n || pi_ref) is never more (Beirami et al. 2024, arXiv 2401.01879)."""
    return float(np.log(n) - (n - 1) / n)


def rate_limit(kappa: float) -> float:
    """sqrt(kappa / 2): how far the mean rate of any event in [0, 1] may lie from the reference's, where the mean KL is kappa (Pinsker)."""
    return float(np.sqrt(kappa / 2))

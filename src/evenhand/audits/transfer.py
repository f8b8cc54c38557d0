"""Does a reward's fairness survive the policy made from it? Event rates by group under exact Gibbs policies and best-of-n, beside bounds.

    rate(g)   mean over the prompts of group g of E_pi[event]          gap   largest difference of two groups' rates
    kappa     max over groups of the mean over prompts of KL(pi || pi_ref)
    gap under pi <= gap under pi_ref + 2 sqrt(kappa / 2)               Pinsker for each prompt, Jensen over prompts

(Choi et al. 2026, arXiv 2602.07799.) A bound holds exactly for the prompts at hand. Intervals are about other prompts: the prompt is the
unit, a rate is a mean over independent prompts, hence Student's t, as for users elsewhere; those of the gap hold over all pairs of groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf, nan

import numpy as np

from evenhand.audits import policies
from evenhand.audits.intervals import LEVEL, Contrast, contrast, is_pairwise, mean_of_users, range_bounds, range_rows, simultaneous_alpha
from evenhand.audits.policies import Candidates
from evenhand.audits.sample import Means
from evenhand.core import EvenhandError

FEWEST_PROMPTS = 10  # of a group that is compared; smaller ones are counted and never shown


@dataclass(frozen=True)
class Measured:
    """One number with its 95 % interval and the counts behind it; nan where there is none."""

    value: float
    low: float
    high: float
    n_prompts: int
    n_candidates: int
    group: str = ""


@dataclass(frozen=True)
class Policy:
    """One policy. rates: one a group, small groups too. kappa, kl in nats: largest group mean, mean over compared prompts.

    gap: between the groups `most` and `least`. shift: their signed difference, most minus least, less the same under the reference.
    bound: what the gap cannot exceed, at most 1. largest_kl: of one prompt; kl_limit: what it cannot exceed (best of n; inf else).
    """

    kind: str  # "reference", "gibbs" or "best of n"
    setting: float  # beta or n; the reference is beta = inf
    rates: tuple[Measured, ...]
    gap: Measured
    most: str
    least: str
    shift: Measured
    kappa: float
    bound: float
    kl: float
    largest_kl: float
    kl_limit: float = inf


@dataclass(frozen=True)
class Pairwise:
    """Two rewards at one beta: measured, largest over prompts, beside what e = `Transfer.epsilon` allows. loss: J_r(pi_r) - J_r(pi_r').

    gap: under the other reward's policy. gap_bound: what the gap under this reward's cannot exceed then, at most 1.
    """

    beta: float
    gap: Measured
    gap_bound: float
    log_ratio: float
    log_ratio_bound: float
    distance: float
    distance_bound: float
    loss: float
    loss_bound: float


@dataclass(frozen=True)
class Transfer:
    """All that was found. compared: names of the groups with at least FEWEST_PROMPTS prompts; rates follow `groups`."""

    title: str
    event: str
    groups: tuple[str, ...]
    compared: tuple[str, ...]
    reference: Policy
    gibbs: tuple[Policy, ...]  # beta falling: from the reference to ever sharper policies
    best_of: tuple[Policy, ...]  # n rising
    versus: tuple[Pairwise, ...]  # as gibbs; () without a second reward
    epsilon: float  # half the largest range of r - r' within a prompt; nan without a second reward
    n_prompts: int
    n_candidates: int
    single: int  # prompts with one candidate: every policy is the reference there
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    command: str = ""
    formulas: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # the user's own


@dataclass(frozen=True)
class _Cells:
    """Prompts of the compared groups: rows int64[m] among all prompts, their cell int64[m] in 0..G-1, candidates int64[m]."""

    rows: np.ndarray
    cell: np.ndarray
    candidates: np.ndarray
    names: tuple[str, ...]

    def means(self, value: np.ndarray) -> Means:
        """Means of value [P] over the prompts of each cell; groups share no prompt, so that errors are independent."""
        size, of_rows = len(self.names), value[self.rows]
        count = np.bincount(self.cell, minlength=size)
        mean = np.bincount(self.cell, of_rows, minlength=size) / count
        spread = np.bincount(self.cell, (of_rows - mean[self.cell]) ** 2, minlength=size) / (count * np.maximum(count - 1, 1))
        pairs = np.bincount(self.cell, self.candidates, minlength=size).astype(np.int64)
        return Means(mean[None], np.diag(spread), None, count, pairs, count)


def measure(
    c: Candidates, groups: Sequence[str], betas: Sequence[float], ns: Sequence[int], *, title: str = "", event: str = "event",
    facts: Mapping[str, str] | None = None, limits: Sequence[str] = (), command: str = "", seed: int = 0,
) -> Transfer:  # fmt: skip
    """Every policy of both grids. groups: names, by the numbers of `Candidates.group`; prompts in no group (-1) are left out of all rates.

    seed: of the joint law of the intervals, needed for three and more groups. Raises EvenhandError for fewer than two groups with prompts,
    for beta <= 0 or nan, for n < 1.
    """
    of_prompt = c.group[c.starts]
    filled = np.bincount(of_prompt[of_prompt >= 0], minlength=len(groups))
    if (filled > 0).sum() < 2:
        named = ", ".join(f"'{name}'" for name, n in zip(groups, filled, strict=True) if n) or "none"
        raise EvenhandError(
            f"Found {int((filled > 0).sum())} group with prompts ({named}). Expected: at least two. To do: name another --group-by column."
        )
    measured_cells = np.flatnonzero(filled >= FEWEST_PROMPTS)
    number = np.full(len(groups) + 1, -1)
    number[measured_cells] = np.arange(len(measured_cells))
    cell = number[of_prompt]  # the last entry answers for -1
    rows = np.flatnonzero(cell >= 0)
    cells = _Cells(rows, cell[rows], c.sizes[rows], tuple(groups[int(g)] for g in measured_cells))
    start = _policy(c, groups, cells, "reference", inf, c.log_reference, nan, seed)
    limit = start.gap.value

    def gibbs(reward: np.ndarray, beta: float) -> Policy:
        return _policy(c, groups, cells, "gibbs", beta, policies.gibbs(c, reward, beta), limit, seed)

    def best(n: int) -> Policy:
        return _policy(c, groups, cells, "best of n", n, policies.best_of(c, c.reward, n), limit, seed, policies.best_of_limit(n))

    gibbs_policies = tuple(gibbs(c.reward, beta) for beta in sorted(set(betas), reverse=True))
    epsilon = nan
    versus: tuple[Pairwise, ...] = ()
    if c.other is not None:
        other = c.other
        epsilon = float(policies.half_range(c, c.reward - other).max())
        versus = tuple(_versus(c, other, epsilon, p.setting, gibbs(other, p.setting)) for p in gibbs_policies)
    return Transfer(
        title, event, tuple(groups), cells.names, start, gibbs_policies, tuple(best(n) for n in sorted(set(ns))), versus, epsilon,
        len(c.starts), len(c), int((c.sizes == 1).sum()), dict(facts or {}), tuple(limits), command,
    )  # fmt: skip


def _policy(
    c: Candidates, groups: Sequence[str], cells: _Cells, kind: str, setting: float, log_p: np.ndarray, gap_before: float, seed: int,
    kl_limit: float = inf,
) -> Policy:  # fmt: skip
    """gap_before: of the reference, nan when this is the reference."""
    rate, before = (policies.expected(c, p, c.event) for p in (log_p, c.log_reference))
    kl = policies.divergence(c, log_p, c.log_reference)
    of_prompt = c.group[c.starts]
    rates = tuple(_rate(rate[of_prompt == g], c.sizes[of_prompt == g], name) for g, name in enumerate(groups))
    nothing = Measured(nan, nan, nan, 0, 0)
    if len(cells.names) < 2:
        return Policy(kind, setting, rates, nothing, "", "", nothing, nan, nan, nan, nan, kl_limit)
    means = cells.means(rate)
    level = means.value[0]
    most, least = int(np.argmax(level)), int(np.argmin(level))
    gap = _gap(means, seed)
    kappa = float(cells.means(kl).value.max())
    gap_before = gap.value if np.isnan(gap_before) else gap_before
    of_rows = kl[cells.rows]
    return Policy(
        kind, setting, rates, gap, cells.names[most], cells.names[least], _shift(cells.means((rate - before) / 2), most, least, seed),
        kappa, min(1.0, gap_before + 2 * policies.rate_limit(kappa)), float(of_rows.mean()), float(of_rows.max()), kl_limit,
    )  # fmt: skip


def _rate(value: np.ndarray, candidates: np.ndarray, name: str) -> Measured:
    e = mean_of_users(np.clip(value, 0.0, 1.0), candidates, "rate", name)  # prompts in the place of users
    return Measured(e.value, e.low, e.high, e.n_users, e.n_pairs, name)


def _gap(means: Means, seed: int) -> Measured:
    """Largest minus smallest mean, with bounds that hold although the data picked the groups."""
    cells = range(len(means.users))
    contrasts = contrast(means, range_rows(cells, len(cells)))
    value, low, high = range_bounds(contrasts, simultaneous_alpha(contrasts.correlation, seed), not is_pairwise(cells))
    return Measured(value, low, high, int(means.users.sum()), int(means.pairs.sum()))


def _shift(halves: Means, most: int, least: int, seed: int) -> Measured:
    """Paired by prompt. halves: means of half the change of each prompt's rate, so that they lie in an interval of length 1.

    The interval is as wide as all pairs of groups would need at once: the data picked these two.
    """
    if most == least:
        return Measured(0.0, 0.0, 0.0, int(halves.users.sum()), int(halves.pairs.sum()))
    size = len(halves.users)
    row = np.zeros((1, size))
    row[0, most], row[0, least] = 1.0, -1.0
    contrasts = contrast(halves, row)
    low, high = contrasts.bounds(_alpha(halves, size, seed), -1.0, 1.0)
    return Measured(2 * float(contrasts.value[0]), 2 * float(low[0]), 2 * float(high[0]), int(contrasts.users[0]), int(contrasts.pairs[0]))


def _alpha(means: Means, size: int, seed: int) -> float:
    """What each of all differences must use so that all hold together."""
    if not is_pairwise(range(size)):
        return 1 - LEVEL ** (1 / len(list(combinations(range(size), 2))))
    all_pairs: Contrast = contrast(means, range_rows(range(size), size))
    return simultaneous_alpha(all_pairs.correlation, seed)


def _versus(c: Candidates, other: np.ndarray, epsilon: float, beta: float, policy: Policy) -> Pairwise:
    """policy: the other reward's, at the same beta."""
    mine, theirs = policies.gibbs(c, c.reward, beta), policies.gibbs(c, other, beta)
    reach = epsilon / beta
    loss = 0.0 if beta == inf else beta * float(policies.divergence(c, theirs, mine).max())
    return Pairwise(
        beta, policy.gap, min(1.0, policy.gap.value + 2 * float(np.tanh(reach / 2))) if policy.most else nan,
        float(np.abs(mine - theirs).max()), 2 * reach, float(policies.distance(c, mine, theirs).max()), float(np.tanh(reach / 2)),
        loss, 0.0 if beta == inf else epsilon * reach / 2,
    )  # fmt: skip

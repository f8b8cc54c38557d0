"""Several models in several seeds, judged on the same pairs: levels, paired differences, dominance, the front, user-level unfairness.

Users were drawn, and so were the prompts or responses that they share, and the deal: each seed deals prompts and users, and trains,
anew. A user stands in several seeds, and by support perhaps in the majority of one and the minority of another, so a group's accuracy is
the ratio sum_us x_us 1[u in g in seed s] / sum_us 1[u in g in seed s]. Its error is linearised (Taylor series; Särndal, Swensson & Wretman
1992, sec. 5.5), jointly for all entries and groups, so that any difference of them is paired, and has two parts:

    V = max(V_user, V_user and unit) + V_deal,  V_deal = S/(S-1) sum_s (sum of the errors of seed s)^2

with the first over all pairs of all seeds (see `twoway`), and the second what the S seeds differ by. t with Satterthwaite's degrees of freedom of
the two, min(users, units) - 1 and S - 1. Of one seed nobody knows what another would have given: V_deal is then left out, and what is said
holds for this deal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.bootstrap import RESAMPLED_USERS, holding
from evenhand.audits.clusters import numbered
from evenhand.audits.findings import MetricFinding
from evenhand.audits.intervals import LEVEL, simultaneous_alpha
from evenhand.audits.metrics import USER_METRICS, Metric
from evenhand.audits.results import Front, Pairwise, Unfairness
from evenhand.audits.twoway import covariance, share_units
from evenhand.core import SMALLEST_CELL, Estimate

DRAWS_AT_ONCE = 300  # contrasts whose joint law is simulated; more are bounded by Sidak (see intervals.MOST_CONTRASTS)


@dataclass(frozen=True)
class Judged:
    """The pairs behind one seed's accuracies. user, prompt, first, second int[n]: a prompt of -1 is none, and first and second are the two
    responses, -1 where they are unknown. share float[n]: of the user's accuracy, 1 a user in all; right float[entries, n] in [0, 1].
    """

    user: np.ndarray
    prompt: np.ndarray
    first: np.ndarray
    second: np.ndarray
    share: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Board:
    """accuracy float[entries, seeds, users], nan where a user has no pair in a seed, at the same places for all entries; group
    int[seeds, users], -1 = none; support float[seeds, users], nan = unknown; pairs int[seeds, users]. judged: of each seed the pairs, for
    what users share; empty where that is unknown, and users then count as sharing nothing.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    accuracy: np.ndarray
    group: np.ndarray
    support: np.ndarray
    pairs: np.ndarray
    judged: tuple[Judged, ...] = ()

    @property
    def present(self) -> np.ndarray:
        """bool[seeds, users]."""
        return ~np.isnan(self.accuracy[0])


@dataclass(frozen=True)
class Levels:
    """value float[entries, cells]: mean accuracy by group, all users last. Covariances of their errors float[k, k], k = entries x cells:
    by_user clustered by user, by_both also by what users share, by_deal what deals differ by (0 with one). member bool[cells, users]: who has
    a pair there in some deal; units (shared ones, 0 = none), pairs int[cells]; deals: how many.
    """

    value: np.ndarray
    by_user: np.ndarray
    by_both: np.ndarray
    by_deal: np.ndarray
    member: np.ndarray
    units: np.ndarray
    pairs: np.ndarray
    deals: int
    low: float = 0.0  # the range of the metric whose means these are
    high: float = 1.0

    @property
    def users(self) -> np.ndarray:
        """int[cells]."""
        users: np.ndarray = self.member.sum(axis=1)
        return users

    def users_in(self, cells: Sequence[int]) -> int:
        """Users of any of the cells, each once: who is in one group by one deal and in another by the next is one user."""
        return int(self.member[list(cells)].any(axis=0).sum())

    def row(self, coefficients: np.ndarray, cell: int) -> np.ndarray:
        """float[k] from coefficients [entries] of one cell's means."""
        out = np.zeros(self.value.shape)
        out[:, cell] = coefficients
        return out.ravel()

    def estimate(self, coefficients: np.ndarray, cell: int, metric: str, group: str, alpha: float = 1 - LEVEL) -> Estimate:
        """sum over entries of coefficients [entries] times the cell's means, with a t interval: users, units and deals were drawn."""
        return self._interval(coefficients, cell, metric, group, *self.error(self.row(coefficients, cell), [cell]), alpha)

    def in_these_deals(self, coefficients: np.ndarray, cell: int, metric: str, group: str, alpha: float = 1 - LEVEL) -> Estimate:
        """The same with users and units drawn, and the deals as they are."""
        return self._interval(coefficients, cell, metric, group, *self._within(self.row(coefficients, cell), [cell]), alpha)

    def by_run(self, coefficients: np.ndarray, cell: int, metric: str, group: str, alpha: float = 1 - LEVEL) -> Estimate:
        """The same with the deal as the only unit: t on deals - 1 degrees; everything is possible with one."""
        row = self.row(coefficients, cell)
        variance = max(float(row @ self.by_deal @ row), 0.0) if self.deals > 1 else np.inf
        return self._interval(coefficients, cell, metric, group, variance, float(max(self.deals - 1, 1)), alpha)

    def error(self, row: np.ndarray, cells: Sequence[int]) -> tuple[float, float]:
        """Variance and degrees of freedom of row [k] times the means; cells: those it touches."""
        within, df = self._within(row, cells)
        between = max(float(row @ self.by_deal @ row), 0.0)
        if between < 1e-24:
            return within, df
        return within + between, (within + between) ** 2 / (within**2 / df + between**2 / (self.deals - 1))

    def _within(self, row: np.ndarray, cells: Sequence[int]) -> tuple[float, float]:
        """Of users and units. Users who all agree leave the rule of three, 3/n, as the interval's half width."""
        users, units = self.users_in(cells) - len(cells) + 1, int(self.units[cells].min())
        alone, both = float(row @ self.by_user @ row), float(row @ self.by_both @ row)
        if max(alone, both) < 1e-24:
            return (1.5 / max(users, 1)) ** 2, float(max(users - 1, 1))
        return (both, float(max(min(users, units) - 1, 1))) if both > alone else (alone, float(max(users - 1, 1)))

    def _interval(self, coefficients: np.ndarray, cell: int, metric: str, group: str, variance: float, df: float, alpha: float) -> Estimate:
        n = int(self.users[cell])
        if n == 0:
            return Estimate(np.nan, np.nan, np.nan, 0, 0, metric, group)
        value = float(coefficients @ self.value[:, cell])
        half = float(stdtrit(df, 1 - alpha / 2) * np.sqrt(variance)) if n > 1 else np.inf
        low, high = (self.low, self.high) if coefficients.min() >= 0 else (self.low - self.high, self.high - self.low)
        return Estimate(value, max(low, value - half), min(high, value + half), n, int(self.pairs[cell]), metric, group)


def levels(board: Board) -> Levels:
    """Means of every entry and group, and the covariances of their errors."""
    cells = [board.group == g for g in range(len(board.groups))] + [np.ones_like(board.group, bool)]
    inside = np.stack([cell & board.present for cell in cells])  # [cells, seeds, users]
    counts = inside.sum(axis=1)  # [cells, users]
    total = np.maximum(counts.sum(axis=1), 1)
    known = np.nan_to_num(board.accuracy)
    value = np.einsum("esu,csu->ec", known, inside.astype(np.float64)) / total
    pairs, deals = np.einsum("csu,su->c", inside, board.pairs), inside.shape[1]
    judged = board.judged or tuple(_alone(known[:, s]) for s in range(deals))
    seed = np.repeat(np.arange(deals), [len(j.user) for j in judged])
    user, prompt, first, second = (np.concatenate([getattr(j, name) for j in judged]) for name in ("user", "prompt", "first", "second"))
    member = inside[:, seed, user]  # [cells, n]
    share, right = np.concatenate([j.share for j in judged]), np.concatenate([j.right for j in judged], axis=1)
    influence = (member / total[:, None] * share)[None] * (right[:, None] - value[:, :, None])  # [entries, cells, n]
    kept = np.flatnonzero(member[-1])
    influence = influence.reshape(value.size, -1).T[kept]
    user, seed, prompt, first, second = (a[kept] for a in (user, seed, prompt, first, second))
    if not len(kept):
        nothing = np.zeros((value.size, value.size))
        return Levels(value, nothing, nothing, nothing, counts > 0, np.zeros(len(cells), int), pairs, deals)
    shared = share_units(numbered(user)[0], None if (prompt < 0).all() else prompt, (first, second) if (first >= 0).all() else None)
    by_user, by_both = covariance(influence, numbered(user)[0], shared)
    own = np.sqrt(np.tile(_few(counts > 0), len(value)))  # users' part carries G / (G - 1) of all users: a small group has fewer
    more = by_user * (np.outer(own, own) - 1)
    by_user, by_both = by_user + more, by_both + more
    units = np.zeros(len(cells), int)
    if shared is not None:
        units[:] = [len(np.unique((prompt if shared.name == "prompts" else np.stack([first, second]).T)[m])) for m in member[:, kept]]
    by_deal = np.zeros_like(by_user)
    if deals > 1:
        sums = np.zeros((deals, value.size))
        np.add.at(sums, seed, influence)
        by_deal = sums.T @ sums * deals / (deals - 1)
    return Levels(value, by_user, by_both, by_deal, counts > 0, units, pairs, deals)


def _few(inside: np.ndarray) -> np.ndarray:
    """What G / (G - 1) of a cell's own users is of that of all users, float64[cells]; inside bool[cells, users], the last cell is everybody."""
    users = np.maximum(inside.sum(axis=1), 2)
    factor: np.ndarray = users / (users - 1)
    return factor / factor[-1]


def _alone(accuracy: np.ndarray) -> Judged:
    """Each user's accuracy [entries, users] as if it were one pair that nobody else has judged."""
    users = accuracy.shape[1]
    none = np.full(users, -1)
    return Judged(np.arange(users), none, none, none, np.ones(users), accuracy)


def over_seeds(board: Board) -> np.ndarray:
    """Standard deviation over seeds of each mean, float[entries, cells]; nan with one seed."""
    by_seed = []
    for s in range(board.accuracy.shape[1]):
        inside = np.stack([*(board.group[s] == g for g in range(len(board.groups))), np.ones_like(board.group[s], bool)]) & board.present[s]
        by_seed.append(np.nan_to_num(board.accuracy[:, s]) @ inside.T / np.maximum(inside.sum(axis=1), 1))
    stacked = np.stack(by_seed)
    return stacked.std(axis=0, ddof=1) if len(stacked) > 1 else np.full(stacked.shape[1:], np.nan)


def pairwise(board: Board, found: Levels, seed: int) -> tuple[Pairwise, ...]:
    """Every two entries: first minus second in every group, simultaneous over all of these (max-t), and who dominates whom."""
    cells = [g for g in range(len(board.groups)) if found.users[g]] or [len(board.groups)]
    names = (*board.groups, "all")
    couples = list(combinations(range(len(board.names)), 2))

    def difference(a: int, b: int) -> np.ndarray:
        row = np.zeros(len(board.names))
        row[a], row[b] = 1.0, -1.0
        return row

    contrasts = np.array([found.row(difference(a, b), c) for a, b in couples for c in cells]).reshape(-1, found.value.size)
    joint = found.by_both + found.by_deal
    alpha = simultaneous_alpha(
        _correlation(contrasts @ joint @ contrasts.T) if len(contrasts) <= DRAWS_AT_ONCE else np.eye(len(contrasts)), seed
    )
    out = []
    for a, b in couples:
        told = [(difference(a, b), c, "difference of accuracy", names[c]) for c in cells]
        differences = tuple(found.estimate(*about, alpha) for about in told)
        out.append(
            Pairwise(
                board.names[a],
                board.names[b],
                differences,
                dominance(differences),
                tuple(found.in_these_deals(*about, alpha) for about in told),
                tuple(found.by_run(*about, alpha) for about in told),
            )
        )
    return tuple(out)


def dominance(differences: Sequence[Estimate]) -> str:
    """What the differences by group, first minus second, say of the first.

    "dominates clearly": every interval above 0. "dominates": no difference below 0 and one interval above 0. "trades": one interval above 0
    and one below. The mirror images are "is dominated …"; all else is "undecided".
    """
    above, below = [d.low > 0 for d in differences], [d.high < 0 for d in differences]
    if any(above) and any(below):
        return "trades"
    for word, clear, ahead in (
        ("dominates", above, [d.value >= 0 for d in differences]),
        ("is dominated", below, [d.value <= 0 for d in differences]),
    ):
        if all(clear):
            return f"{word} clearly"
        if any(clear) and all(ahead):
            return word
    return "undecided"


def front(names: Sequence[str], selection: np.ndarray, held_out: np.ndarray, reference: str) -> Front:
    """Non-dominated entries, knee, choice and hypervolumes. selection, held_out float[entries, groups]: accuracies on validation and test."""
    import moocore

    zero = list(names).index(reference)
    best = moocore.is_nondominated(selection, maximise=True, keep_weakly=False)

    def volume(points: np.ndarray, origin: np.ndarray) -> float:
        gains = 100 * (points - origin)
        return float(moocore.hypervolume(gains, ref=np.zeros(gains.shape[1]), maximise=True))

    admissible = np.flatnonzero((selection >= selection[zero]).all(axis=1))
    chosen = int(admissible[np.argmax(selection[admissible].mean(axis=1))])
    return Front(
        reference,
        tuple(n for n, b in zip(names, best) if b),
        knee([n for n, b in zip(names, best) if b], selection[best]),
        names[chosen],
        volume(selection[best], selection[zero]),
        volume(held_out[best], held_out[zero]),
        tuple(n for n, b in zip(names, moocore.is_nondominated(held_out, maximise=True, keep_weakly=False)) if b),
    )


def knee(names: Sequence[str], points: np.ndarray) -> str:
    """The point of a front [m, k] farthest above the plane through its ends, axes scaled to the front's range (Das 1999); "" for m < 3.

    With two groups the ends are the best point of either group and the plane is the line between them.
    """
    spread = np.ptp(points, axis=0) if len(points) else np.zeros(1)
    if len(points) < 3 or (spread <= 0).any():
        return ""
    scaled = (points - points.min(axis=0)) / spread
    above = scaled.sum(axis=1) - 1  # distance to the plane sum = 1, up to a factor
    inner = ~(scaled >= 1 - 1e-12).any(axis=1)  # an end of the front is no knee
    if not inner.any() or above[inner].max() <= 0:
        return ""
    return names[int(np.flatnonzero(inner)[np.argmax(above[inner])])]


def unfairness(board: Board, found: Levels, reference: int, *, resamples: int, seed: int) -> dict[str, tuple[Unfairness, ...]]:
    """User-level metrics of every entry with percentile intervals from one bootstrap by user, which all entries share."""
    seen = board.present.any(axis=0)
    mean = np.nanmean(board.accuracy[:, :, seen], axis=1)  # [entries, users]
    known = ~np.isnan(board.support)
    support = np.where(known, board.support, 0.0).sum(axis=0)[seen] / np.maximum(known.sum(axis=0)[seen], 1)
    has_support = known.any(axis=0)[seen]
    users, rng = mean.shape[1], np.random.default_rng([seed, 70911])
    if users < 2:
        return dict.fromkeys(board.names, ())
    drawn = [np.arange(users), *(rng.integers(users, size=users) for _ in range(min(resamples, max(100, RESAMPLED_USERS // users))))]

    def of_users(entry: int, rows: np.ndarray) -> list[float]:
        p = mean[entry][rows]
        told = rows[has_support[rows]]
        return [*(metric(p) for metric in USER_METRICS.values()), correlation(mean[entry][told], support[told])]

    draws = np.array([[of_users(e, rows) for e in range(len(board.names))] for rows in drawn])  # [1 + resamples, entries, metrics]
    pairs = int(board.pairs[:, seen].sum())
    out = {}
    for e, name in enumerate(board.names):
        rows = [_gap(board, found, e, reference)] if len(board.groups) == 2 and found.users[:2].all() else []
        for k, metric in enumerate((*USER_METRICS, "correlation with support")):
            value = _bootstrapped(draws[:, e, k], users, pairs, metric)
            difference = None if e == reference else _bootstrapped(draws[:, e, k] - draws[:, reference, k], users, pairs, metric)
            if not np.isnan(value.value):
                rows.append(Unfairness(metric, value, difference))
        out[name] = tuple(rows)
    return out


def metric_findings(boards: Mapping[str, Board], metrics: Mapping[str, Metric]) -> dict[str, tuple[MetricFinding, ...]]:
    """Every metric of every entry, by entry. boards: of each metric, with its means in the place of accuracies. gap: of two groups alone."""
    out: dict[str, list[MetricFinding]] = {}
    for metric, board in boards.items():
        about = metrics[metric]
        found = replace(levels(board), low=about.low, high=about.high)
        for e, name in enumerate(board.names):
            own = np.eye(len(board.names))[e]
            *groups, overall = (found.estimate(own, c, metric, group) for c, group in enumerate((*board.groups, "all")))
            gap = (
                replace(_gap(board, found, e, e).value, metric=f"{metric} gap")
                if len(groups) == 2 and (found.users[:2] >= SMALLEST_CELL).all()
                else None
            )
            out.setdefault(name, []).append(MetricFinding(metric, about.formula, overall, tuple(groups), gap))
    return {name: tuple(rows) for name, rows in out.items()}


def correlation(accuracy: np.ndarray, support: np.ndarray) -> float:
    """Spearman's rank correlation, float in [-1, 1]; nan if either is constant."""
    if len(accuracy) < 3 or np.ptp(accuracy) == 0 or np.ptp(support) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(accuracy), _ranks(support))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the mean of theirs for equal values. scipy.stats has them too, and takes .3 s to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _gap(board: Board, found: Levels, entry: int, reference: int) -> Unfairness:
    """First group minus second, all that both share clustered together, and its paired difference from the reference's."""

    def estimate(weights: Mapping[int, float]) -> Estimate:
        row = np.zeros(found.value.shape)
        for e, w in weights.items():
            row[e, :2] = w, -w
        value = float(row.ravel() @ found.value.ravel())
        variance, df = found.error(row.ravel(), [0, 1])
        half = float(stdtrit(df, (1 + LEVEL) / 2) * np.sqrt(variance))
        return Estimate(
            value, value - half, value + half, found.users_in([0, 1]), int(found.pairs[:2].sum()), "gap",
            f"{board.groups[0]} minus {board.groups[1]}",
        )  # fmt: skip

    return Unfairness("gap", estimate({entry: 1.0}), None if entry == reference else estimate({entry: 1.0, reference: -1.0}))


def _bootstrapped(draws: np.ndarray, users: int, pairs: int, metric: str) -> Estimate:
    """The first draw is the value itself."""
    kept = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or not len(kept):
        return Estimate(np.nan, np.nan, np.nan, users, pairs, metric)
    return Estimate(float(draws[0]), *holding(float(draws[0]), kept), users, pairs, metric)


def _correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation from a covariance [m, m] that need not be positive."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    out = covariance / np.outer(scale, scale)
    np.fill_diagonal(out, 1.0)
    return np.clip(out, -1.0, 1.0)

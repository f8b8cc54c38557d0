"""Several models in several seeds, judged on the same pairs: levels, paired differences, dominance, the front, user-level unfairness.

The unit is the user. A user stands in several seeds, and by support perhaps in the majority of one and the minority of another, so a
group's accuracy is the ratio sum_us x_us 1[u in g in seed s] / sum_us 1[u in g in seed s]. Its variance is linearised and
clustered by user (Taylor series; Särndal, Swensson & Wretman 1992, sec. 5.5), jointly for all entries and groups, so that any
difference of them is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtrit
from scipy.stats import rankdata

from evenhand.audits.bootstrap import RESAMPLED_USERS, holding
from evenhand.audits.intervals import LEVEL, simultaneous_alpha
from evenhand.audits.metrics import USER_METRICS
from evenhand.audits.standings import Front, Unfairness, Versus
from evenhand.core import Estimate

DRAWS_AT_ONCE = 300  # contrasts whose joint law is simulated; more are bounded by Sidak (see intervals.MOST_CONTRASTS)


@dataclass(frozen=True)
class Board:
    """accuracy float[entries, seeds, users], nan where a user has no pair in a seed, at the same places for all entries; group
    int[seeds, users], -1 = none; support float[seeds, users], nan = unknown; pairs int[seeds, users]."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    accuracy: np.ndarray
    group: np.ndarray
    support: np.ndarray
    pairs: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """bool[seeds, users]."""
        return ~np.isnan(self.accuracy[0])


@dataclass(frozen=True)
class Levels:
    """value float[entries, cells]: mean accuracy by group, all users last; errors float[entries, cells, users]: what each user adds to a
    mean's error; users, pairs int[cells]."""

    value: np.ndarray
    errors: np.ndarray
    users: np.ndarray
    pairs: np.ndarray

    def estimate(self, coefficients: np.ndarray, cell: int, metric: str, group: str, alpha: float = 1 - LEVEL) -> Estimate:
        """sum over entries of coefficients [entries] times the cell's means, with a t interval on users - 1 degrees of freedom."""
        n = int(self.users[cell])
        if n == 0:
            return Estimate(np.nan, np.nan, np.nan, 0, 0, metric, group)
        value = float(coefficients @ self.value[:, cell])
        half = float(stdtrit(max(n - 1, 1), 1 - alpha / 2) * self.se(coefficients, cell)) if n > 1 else np.inf
        low, high = (0.0, 1.0) if coefficients.min() >= 0 else (-1.0, 1.0)
        return Estimate(value, max(low, value - half), min(high, value + half), n, int(self.pairs[cell]), metric, group)

    def se(self, coefficients: np.ndarray, cell: int) -> float:
        """Standard error of that combination. Users who all agree leave the rule of three, 3/n, as the interval's half width."""
        n = int(self.users[cell])
        error = coefficients @ self.errors[:, cell]
        found = float(np.sqrt((error @ error) * n / max(n - 1, 1)))
        return found if found > 1e-12 else 1.5 / n


def levels(board: Board) -> Levels:
    """Means and their users' errors, of every entry and group."""
    cells = [board.group == g for g in range(len(board.groups))] + [np.ones_like(board.group, bool)]
    inside = np.stack([cell & board.present for cell in cells])  # [cells, seeds, users]
    counts = inside.sum(axis=1)  # [cells, users]
    total = np.maximum(counts.sum(axis=1), 1)
    known = np.nan_to_num(board.accuracy)
    sums = np.einsum("esu,csu->ecu", known, inside.astype(np.float64))
    value = sums.sum(axis=2) / total
    errors = (sums - value[:, :, None] * counts) / total[:, None]
    return Levels(value, errors, (counts > 0).sum(axis=1), np.einsum("csu,su->c", inside, board.pairs))


def over_seeds(board: Board) -> np.ndarray:
    """Standard deviation over seeds of each mean, float[entries, cells]; nan with one seed."""
    by_seed = []
    for s in range(board.accuracy.shape[1]):
        one = Board(
            board.names, board.groups, board.accuracy[:, s : s + 1], *(a[s : s + 1] for a in (board.group, board.support, board.pairs))
        )
        by_seed.append(levels(one).value)
    stacked = np.stack(by_seed)
    return stacked.std(axis=0, ddof=1) if len(stacked) > 1 else np.full(stacked.shape[1:], np.nan)


def duels(board: Board, found: Levels, seed: int) -> tuple[Versus, ...]:
    """Every two entries: first minus second in every group, simultaneous over all of these (max-t), and who dominates whom."""
    cells = [g for g in range(len(board.groups)) if found.users[g]] or [len(board.groups)]
    names = (*board.groups, "all")
    couples = list(combinations(range(len(board.names)), 2))
    errors = np.stack([found.errors[a, c] - found.errors[b, c] for a, b in couples for c in cells]) if couples else np.zeros((0, 1))
    alpha = simultaneous_alpha(_correlation(errors) if len(errors) <= DRAWS_AT_ONCE else np.eye(len(errors)), seed)
    out = []
    for a, b in couples:
        row = np.zeros(len(board.names))
        row[a], row[b] = 1.0, -1.0
        differences = tuple(found.estimate(row, c, "difference of accuracy", names[c], alpha) for c in cells)
        out.append(Versus(board.names[a], board.names[b], differences, dominance(differences)))
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


def correlation(accuracy: np.ndarray, support: np.ndarray) -> float:
    """Spearman's rank correlation, float in [-1, 1]; nan if either is constant."""
    if len(accuracy) < 3 or np.ptp(accuracy) == 0 or np.ptp(support) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(accuracy), rankdata(support))[0, 1])


def _gap(board: Board, found: Levels, entry: int, reference: int) -> Unfairness:
    """First group minus second, users of both clustered together, and its paired difference from the reference's."""
    n = int((found.errors[entry, :2] != 0).any(axis=0).sum())

    def estimate(weights: Mapping[int, float]) -> Estimate:
        value = sum(w * float(found.value[e, 0] - found.value[e, 1]) for e, w in weights.items())
        error = sum((w * (found.errors[e, 0] - found.errors[e, 1]) for e, w in weights.items()), np.zeros(found.errors.shape[2]))
        half = float(stdtrit(max(n - 2, 1), (1 + LEVEL) / 2) * np.sqrt(error @ error * n / max(n - 2, 1)))
        return Estimate(
            value, value - half, value + half, int(found.users[:2].sum()), int(found.pairs[:2].sum()), "gap",
            f"{board.groups[0]} minus {board.groups[1]}",
        )  # fmt: skip

    return Unfairness("gap", estimate({entry: 1.0}), None if entry == reference else estimate({entry: 1.0, reference: -1.0}))


def _bootstrapped(draws: np.ndarray, users: int, pairs: int, metric: str) -> Estimate:
    """The first draw is the value itself."""
    kept = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or not len(kept):
        return Estimate(np.nan, np.nan, np.nan, users, pairs, metric)
    return Estimate(float(draws[0]), *holding(float(draws[0]), kept), users, pairs, metric)


def _correlation(errors: np.ndarray) -> np.ndarray:
    """Correlation of combinations from their users' errors [m, users]."""
    if not len(errors):
        return np.eye(0)
    covariance = errors @ errors.T
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    out = covariance / np.outer(scale, scale)
    np.fill_diagonal(out, 1.0)
    return np.clip(out, -1.0, 1.0)

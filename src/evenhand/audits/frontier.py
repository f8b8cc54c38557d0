"""Accuracy against violation: what entries give for a constraint, over several seeds, and which of them are worth choosing.

A user has a mean in every event and seed, x_use. In seed s, q_s(e) = mean over users of x_use and D_s is the notion's D of q_s (see `rates`).

    D         mean over seeds of D_s                        what one training is expected to violate; every seed's noise pushes it up
    pooled D  D of the mean over users of mean_s x_use      noise that differs between seeds cancels, a bias that they share remains

Users are drawn anew in the bootstrap, each with all of his or her seeds, and the same users for all entries: differences are paired.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.audits.bootstrap import RESAMPLED_USERS, basic_interval, holding, resampled_sums
from evenhand.audits.ranking import knee
from evenhand.audits.rates import Rates
from evenhand.audits.results import ConstraintFront, EventCount, Violated
from evenhand.audits.violations import violations
from evenhand.core import Estimate, Notion

WORST = np.array([0.5, 1.0])  # accuracy of a coin, largest violation: where hypervolumes are measured from


@dataclass(frozen=True)
class RateBoard:
    """Rates of the same events by the same users under several entries, on one split.

    of: decision → float[entries, seeds, users, events], nan where a user has no pair of the event in a seed, at the same places for all
    entries and decisions. pairs int64[seeds, events]. events, compared: as in `Rates`.
    """

    notion: Notion
    events: tuple[str, ...]
    compared: tuple[tuple[int, int], ...]
    of: Mapping[str, np.ndarray]
    pairs: np.ndarray

    @property
    def users(self) -> np.ndarray:
        """Users of each event in any seed, int64[events]."""
        seen: np.ndarray = ~np.isnan(next(iter(self.of.values()))[0])
        return seen.any(axis=0).sum(axis=0)

    def seeds(self) -> list[int]:
        """Seeds in which two compared events have users (CF: in which pairs are matched)."""
        seen = (~np.isnan(next(iter(self.of.values()))[0])).any(axis=1)  # [seeds, events]
        return [s for s, has in enumerate(seen) if any(has[a] and has[b] for a, b in self.compared) or (not self.compared and has[0])]


def size(q: np.ndarray, compared: Sequence[tuple[int, int]]) -> np.ndarray:
    """D of rates q float[…, events]: the largest difference of compared events, nan where none has users; CF's mean gap."""
    if not compared:
        return q[..., 0]
    gaps = np.abs(q[..., [a for a, _ in compared]] - q[..., [b for _, b in compared]])
    largest = np.where(np.isnan(gaps), -1.0, gaps).max(axis=-1)
    return np.where(largest < 0, np.nan, largest)


def expected(x: np.ndarray, compared: Sequence[tuple[int, int]]) -> float:
    """Mean over seeds of each seed's D, of users' rates x [seeds, users, events]."""
    return float(_mean(size(_mean(x, 1), compared), 0))


def averaged(x: np.ndarray) -> np.ndarray:
    """Each user's rates averaged over the seeds in which there are any: float[1, users, events]."""
    return _mean(x, 0)[None]


def _mean(x: np.ndarray, axis: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nan where nobody is
        return np.asarray(np.nanmean(x, axis=axis))


def resampled(x: np.ndarray, compared: Sequence[tuple[int, int]], resamples: int, seed: int) -> np.ndarray:
    """`expected` in each bootstrap resample of users, float64[resamples]. The same seed and number of users draw the same users."""
    seeds, users, events = x.shape
    enough = int(np.clip(RESAMPLED_USERS // max(users, 1), 200, max(resamples, 200)))
    seen = ~np.isnan(x)
    columns = np.concatenate([np.moveaxis(a, 1, 0).reshape(users, -1) for a in (np.nan_to_num(x), seen.astype(np.float64))], axis=1)
    sums = resampled_sums(columns, enough, np.random.default_rng([seed, 80810]))[:, :-1].reshape(enough, 2, seeds, events)
    total, count = sums[:, 0], sums[:, 1]  # counts are whole numbers, but sums of float32 deviations are not quite
    q = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0.5)
    return _mean(size(q, compared), 1)


def violated(selection: RateBoard, held_out: RateBoard, reference: int, *, resamples: int, seed: int) -> list[tuple[Violated, ...]]:
    """For each entry one record a decision, in the order of `held_out.of`. reference: the entry that differences are taken from."""
    sides = [_Side(selection, resamples, seed), _Side(held_out, resamples, seed)]
    out = []
    for entry in range(len(next(iter(held_out.of.values())))):
        pooled = [side.pooled(entry) for side in sides]
        out.append(
            tuple(
                Violated(
                    held_out.notion, d, sides[0].estimate(entry, d, pooled[0][d]), sides[1].estimate(entry, d, pooled[1][d]), pooled[0][d],
                    pooled[1][d], *((None, None) if entry == reference else (sides[1].change(entry, reference, d, p) for p in (False, True))),
                )
                for d in held_out.of
            )
        )  # fmt: skip
    return out


class _Side:
    """One split: estimates of its entries. The reference's draws are made once."""

    def __init__(self, board: RateBoard, resamples: int, seed: int):
        known = (~np.isnan(next(iter(board.of.values()))[0])).any(axis=(0, 2))
        self.board = replace(board, of={d: x[:, :, known] for d, x in board.of.items()})
        self.users, self.pairs = int(known.sum()), int(board.pairs.sum())
        self.resamples, self.seed = resamples, seed
        self.kept: dict[tuple[int, str, bool], np.ndarray] = {}

    def rates(self, entry: int, decision: str, is_pooled: bool) -> np.ndarray:
        x: np.ndarray = self.board.of[decision][entry]
        return averaged(x) if is_pooled else x

    def draws(self, entry: int, decision: str, is_pooled: bool = False) -> np.ndarray:
        key = entry, decision, is_pooled
        if key not in self.kept:
            self.kept[key] = resampled(self.rates(*key), self.board.compared, self.resamples, self.seed)
        return self.kept[key]

    def pooled(self, entry: int) -> dict[str, Estimate]:
        """Pooled D of each decision, with bounds that hold although the data picked the two events."""
        if not self.board.seeds():
            nothing = Estimate(np.nan, np.nan, np.nan, self.users, self.pairs, "pooled violation")
            return dict.fromkeys(self.board.of, nothing)
        pooled = {d: [_rates(self.board, self.rates(entry, d, True)[0])] for d in self.board.of}
        rng = np.random.default_rng([self.seed, 80811])
        return {
            v.decision: replace(v.size.after, metric=f"pooled {v.size.after.metric}") for v in violations(pooled, 1.0, self.seed, 1, rng)
        }

    def estimate(self, entry: int, decision: str, pooled: Estimate) -> Estimate:
        """D with its interval. Where no draw of users moves it, as when all agree, the interval is the pooled one's, widened to hold it."""
        value = expected(self.rates(entry, decision, False), self.board.compared)
        e = Estimate(value, np.nan, np.nan, self.users, self.pairs, f"{decision} violation", pooled.group)
        if np.isnan(value):
            return e
        draws = self.draws(entry, decision)
        draws = draws[~np.isnan(draws)]
        if self.users < 2 or len(draws) < 2 or np.ptp(draws) < 1e-6:
            return replace(e, low=min(pooled.low, value), high=max(pooled.high, value))
        low, high = basic_interval(np.array(value), draws)
        return replace(e, low=float(low), high=min(float(high), 1.0))

    def change(self, entry: int, reference: int, decision: str, is_pooled: bool) -> Estimate:
        """D minus the reference's."""
        x, base = (self.rates(n, decision, is_pooled) for n in (entry, reference))
        value = expected(x, self.board.compared) - expected(base, self.board.compared)
        draws = self.draws(entry, decision, is_pooled) - self.draws(reference, decision, is_pooled)
        if (entry, decision, is_pooled) in self.kept:
            del self.kept[entry, decision, is_pooled]
        draws = draws[~np.isnan(draws)]
        low, high = holding(value, draws) if len(draws) and not np.isnan(value) else (np.nan, np.nan)
        name = f"change of the {'pooled ' * is_pooled}{decision} violation"
        return Estimate(value, low, high, self.users, self.pairs, name)


def _rates(board: RateBoard, x: np.ndarray) -> Rates:
    return Rates(board.events, board.compared, x, board.pairs.sum(axis=0), np.arange(len(x)))


def noise(board: RateBoard, entry: int, decision: str, seed: int) -> float:
    """Mean over seeds of the D that an entry would show if all its true rates were equal; nan for CF, whose rate is itself a gap."""
    if not board.compared:
        return float("nan")
    largest = []
    for s in board.seeds():
        x = board.of[decision][entry, s]
        one = _rates(replace(board, pairs=board.pairs[s : s + 1]), x[~np.isnan(x).all(axis=1)])
        largest.append(violations({decision: [one]}, 1.0, seed, 1, np.random.default_rng(seed))[0].expected_after)
    return float(np.mean(largest)) if largest else float("nan")


def counted(selection: RateBoard, held_out: RateBoard) -> tuple[EventCount, ...]:
    """Users and pairs behind every event."""
    columns = (b for board in (selection, held_out) for b in (board.users, board.pairs.sum(axis=0)))
    return tuple(EventCount(held_out.notion, name, *map(int, n)) for name, *n in zip(held_out.events, *columns, strict=True))


def constraint_front(
    records: Sequence[Violated],
    names: Sequence[str],
    accuracy: tuple[np.ndarray, np.ndarray],
    reference: str,
    gamma: float,
    lines: Sequence[Sequence[str]] = (),
    noise: tuple[float, float] = (float("nan"), float("nan")),
) -> ConstraintFront | None:
    """The front of accuracy and violation. records: one an entry, all of one notion and decision. accuracy: of all users, on validation
    and on test pairs, float[entries] each. None where a violation is not known.
    """
    import moocore

    sizes = np.array([[v.selection.value, v.held_out.value] for v in records]).T
    if np.isnan(sizes).any():
        return None
    selection, held_out = (np.stack([a, -d], axis=1) for a, d in zip(accuracy, sizes))
    best, best_held_out = (moocore.is_nondominated(points, maximise=True, keep_weakly=False) for points in (selection, held_out))
    inside: list[int] = np.flatnonzero(sizes[0] <= gamma).tolist()
    chosen = max(inside, key=lambda i: (accuracy[0][i], -sizes[0][i]), default=None)

    def volume(points: np.ndarray) -> float:
        gains = 100 * (points - WORST * [1, -1])
        return float(moocore.hypervolume(gains, ref=np.zeros(2), maximise=True))

    return ConstraintFront(
        records[0].notion, records[0].decision, gamma, reference, tuple(tuple(line) for line in lines),
        tuple(n for n, b in zip(names, best) if b), tuple(n for n, b in zip(names, best_held_out) if b),
        knee([n for n, b in zip(names, best) if b], selection[best]),
        "" if chosen is None else names[chosen], names[int(np.argmin(sizes[0]))],
        volume(selection[best]), volume(held_out[best]), *noise,
    )  # fmt: skip

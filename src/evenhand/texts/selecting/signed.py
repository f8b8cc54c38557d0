"""Signed gaps of originals and of what was chosen, on the very texts and on fresh draws of the same choices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.texts.audit import Measure
from evenhand.texts.selecting.candidates import Candidates
from evenhand.texts.selecting.falls import fresh_means

NOTHING = 1e-12  # what sums of floats leave of a gap of 0


@dataclass(frozen=True)
class Signed:
    """Gaps by one axis of the two values that lie farthest apart in the originals, the second less the first; of a profile the L1 distance
    of the two means. fresh_originals, fresh_chosen: on draws that the choice did not see, over the same pairs; nan = there are none.
    """

    measure: str
    axis: str
    originals: float
    chosen: float
    fresh_originals: float
    fresh_chosen: float
    is_profile: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether fresh draws say anything of a direction."""
        return not self.is_profile and math.isfinite(self.fresh_originals) and math.isfinite(self.fresh_chosen)

    @property
    def sentence(self) -> str:
        before, after, *fresh = written((self.originals, self.chosen, self.fresh_originals, self.fresh_chosen))
        if {before, after, *fresh} == {"0"}:
            return f"Signed gap of {self.measure} by {self.axis}: none, neither before nor after, on the very texts and on fresh draws."
        return (
            f"Signed gap of {self.measure} by {self.axis}: {before} before and {after} after on the very texts; "
            f"{fresh[0]} and {fresh[1]} on fresh draws of the same choices."
        )


def signed_gaps(measure: Measure, of: Candidates, chosen: np.ndarray, allowed: np.ndarray | None = None) -> Iterator[Signed]:
    """One a matched axis. chosen int64[cells]; allowed as in `falls`."""
    grid = of.table.grid
    values = of.of(standing_in(measure))
    fresh = fresh_means(values, of, chosen, allowed)
    for axis in grid.matched:
        a, b = grid.pairs(axis).T
        value = grid.cells[:, next(i for i, x in enumerate(grid.axes) if x is axis)]
        contrasts = [np.flatnonzero((value[a] == v) & (value[b] == w)) for v in range(len(axis)) for w in range(v + 1, len(axis))]
        first = [_gap(values[:, 0], a[c], b[c]) for c in contrasts]
        widest = contrasts[int(np.argmax(np.nan_to_num(np.abs(first), nan=-1.0)))]
        one, other = a[widest], b[widest]
        both = _known(fresh[0], one, other) & _known(fresh[1], one, other)
        yield Signed(
            measure.name, axis.name, _gap(values[:, 0], one, other), _gap(values[np.arange(len(chosen)), chosen], one, other),
            _gap(fresh[0], one[both], other[both]), _gap(fresh[1], one[both], other[both]), measure.is_profile,
        )  # fmt: skip


def written(gaps: Sequence[float]) -> list[str]:
    """Each with its sign and as many decimals, from 3 on, as it takes to tell those apart that differ, and each from 0; 0 itself has no sign."""
    exact = [0.0 if abs(gap) < NOTHING else gap for gap in gaps]
    for digits in range(3, 13):
        shown = [f"{gap:+.{digits}f}".replace("-", "−") if gap else "0" for gap in exact]
        if len(set(shown)) == len(set(exact)) and not any(gap and float(f"{gap:.{digits}f}") == 0 for gap in exact):
            break
    return shown


def standing_in(measure: Measure) -> np.ndarray:
    """The values, undefined ones as they stand inside gaps."""
    return measure.values if math.isnan(measure.undefined) else np.nan_to_num(measure.values, nan=measure.undefined)


def _known(values: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    gaps = values[b] - values[a]
    return np.asarray(np.isfinite(gaps if gaps.ndim == 1 else gaps.sum(axis=1)))


def _gap(values: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    known = _known(values, a, b)
    if not known.any():
        return math.nan
    mean = (values[b] - values[a])[known].mean(axis=0)
    return float(np.abs(mean).sum() if values.ndim == 2 else mean)

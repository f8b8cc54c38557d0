"""One of many assignments that all may be taken: objectives float64[A, M], less is better in each."""

from __future__ import annotations

import numpy as np

DIGITS = 12  # distances that agree so far are equal: sums in another order may differ behind


def nearest_to_ideal(objectives: np.ndarray) -> tuple[int, int]:
    """(index, size of the front): of the assignments that no other one dominates, the one nearest to the ideal point, which has the front's
    least value of every objective, in units of the front's ranges; ties go to the lowest index (Islam 2026, arXiv 2606.10126; the
    distance's norm is our reading: Euclidean).
    """
    import moocore

    front = np.flatnonzero(moocore.is_nondominated(objectives, maximise=False, keep_weakly=True))
    distance = np.sqrt((_scaled(objectives[front]) ** 2).mean(axis=1)).round(DIGITS)
    return int(front[distance.argmin()]), len(front)


def weighted_sum(objectives: np.ndarray) -> tuple[int, int]:
    """The same by the least sum of objectives, each in units of its range over all assignments: the ablation. (index, 1)."""
    return int(_scaled(objectives).mean(axis=1).round(DIGITS).argmin()), 1


def _scaled(objectives: np.ndarray) -> np.ndarray:
    low = objectives.min(axis=0)
    span = objectives.max(axis=0) - low
    return np.asarray((objectives - low) / np.where(span > 10.0**-DIGITS, span, 1.0))

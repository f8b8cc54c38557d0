"""Metrics: plain functions of arrays. Those of pairs are averaged within a user and then over users; those of users take one accuracy a
user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evenhand.core import TIE, EvenhandError
from evenhand.parts import calling

ECE_BINS = 5  # of the confidence in [.5, 1]: the upper half of 10 equal-width bins of sigma(margin)


def correct(margin: np.ndarray) -> np.ndarray:
    """1 where the chosen response scores higher, 0 where lower, 1/2 for ties |margin| < 1e-6. float64[n]."""
    return np.where(np.abs(margin) < TIE, 0.5, margin > 0)


def log_loss(margin: np.ndarray) -> np.ndarray:
    """-log sigma(margin) of each pair, >= 0 (Bradley & Terry 1952). float64[n]."""
    return np.logaddexp(0.0, -np.asarray(margin, np.float64))


def mean_margin(margin: np.ndarray) -> np.ndarray:
    """The margin itself, in units of reward. float64[n]."""
    return np.asarray(margin, np.float64)


@dataclass(frozen=True)
class Metric:
    """A metric of pairs: its function of margins float64[n] → float64[n], the range its mean can take, and its formula for the report."""

    of_pair: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float
    formula: str

    @property
    def bounded(self) -> bool:
        """Whether values lie in an interval of length 1: what users who all agree leave unknown has a limit then (see `intervals.contrast`)."""
        return bool(self.high - self.low <= 1.0)

    def values(self, name: str, margin: np.ndarray) -> np.ndarray:
        """One finite value a pair, float64[n]; EvenhandError where the function gives anything else, or leaves its range."""
        with calling("a function of margins float[n] that gives n numbers", self.of_pair):
            out = np.asarray(self.of_pair(margin), np.float64)
        if out.shape != margin.shape or not np.isfinite(out).all() or (out.size and not self.low <= out.min() <= out.max() <= self.high):
            found = f"shape {out.shape}" if out.shape != margin.shape else f"values from {out.min():g} to {out.max():g}"
            raise EvenhandError(
                f"Metric {name} gives {found}. Expected: one finite value from {self.low:g} to {self.high:g} for each of {len(margin)} margins. "
                "To do: correct its function, or its range."
            )
        return out


METRICS = {
    "accuracy": Metric(
        correct, 0.0, 1.0, "mean over users of each user's share of pairs with r(chosen) > r(rejected); |margin| < 1e-6 counts half"
    ),
    "margin": Metric(mean_margin, -np.inf, np.inf, "mean over users of each user's mean of r(chosen) - r(rejected)"),
    "log_loss": Metric(log_loss, 0.0, np.inf, "mean over users of each user's mean of -log sigma(margin)"),
}


def calibration_gaps(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bin int8[n] of each pair's confidence max(p, 1-p), p = sigma(margin), and its correctness minus confidence float64[n].

    Every pair is written chosen first, so its label is always 1 and sigma(margin) alone cannot be calibrated. Counting a pair in both
    orientations, (p, 1) and (1-p, 0), gives the usual 10 bins; their two halves mirror each other, so the upper 5 suffice.
    """
    confidence = 1.0 / (1.0 + np.exp(-np.abs(margin)))
    bins = np.minimum((2 * ECE_BINS * (confidence - 0.5)).astype(np.int8), ECE_BINS - 1)
    return bins, correct(margin) - confidence


# --- of users: p float64[users], accuracies in [0, 1] ---


def gini(p: np.ndarray) -> float:
    """Gini coefficient: mean absolute difference of two users over twice the mean; 0 = all equal, below 1."""
    total = p.sum()
    if total == 0:
        return 0.0
    ranks = np.arange(1, len(p) + 1)
    return float((2 * ranks - len(p) - 1) @ np.sort(p) / (len(p) * total))


def jain(p: np.ndarray) -> float:
    """Jain's index (Σp)² / (n Σp²) in [1/n, 1]; 1 = all equal (Jain, Chiu & Hawe 1984)."""
    squares = float(p @ p)
    return 1.0 if squares == 0 else float(p.sum()) ** 2 / (len(p) * squares)


def worst_decile(p: np.ndarray) -> float:
    """Mean accuracy of the tenth of users (at least one) with the lowest accuracy."""
    k = max(1, round(len(p) / 10))
    return float(np.partition(p, k - 1)[:k].mean())


def deviation(p: np.ndarray) -> float:
    """Standard deviation over users (n - 1); 0 for one user."""
    return float(p.std(ddof=1)) if len(p) > 1 else 0.0


def variation(p: np.ndarray) -> float:
    """Coefficient of variation: standard deviation over mean."""
    mean = float(p.mean())
    return deviation(p) / mean if mean else 0.0


USER_METRICS: dict[str, Callable[[np.ndarray], float]] = {
    "standard deviation": deviation,
    "coefficient of variation": variation,
    "Gini": gini,
    "Jain": jain,
    "max - min": lambda p: float(p.max() - p.min()),
    "worst user": lambda p: float(p.min()),
    "worst decile": worst_decile,
    "share below 50 %": lambda p: float((p < 0.5).mean()),
}

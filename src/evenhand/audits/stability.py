"""Before an audit of any model: its scores must not depend on what else is scored beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evenhand.core import TIE, EvenhandError

TOLERANCE = 1e-5  # fp32, relative to max(1, |score|)
ROWS = 256
BATCHES = (1, 7, 64)


@dataclass(frozen=True)
class Stability:
    """How far scores moved over all arrangements. flipped: pairs whose decision changed; ties: those of the checked pairs with |margin|
    < 1e-6.
    """

    rows: int
    largest_difference: float  # of a score, divided by max(1, |score|)
    flipped: int
    ties: int
    arrangement: str  # where the largest difference arose, "" for none

    @property
    def stable(self) -> bool:
        """Within tolerance, and no decision changed but for numerical ties."""
        return self.largest_difference <= TOLERANCE and self.flipped == 0

    @property
    def sentence(self) -> str:
        if self.stable:
            return (
                f"Scores of {self.rows} pairs moved by at most {self.largest_difference:.1e} with batch size, padding and row order;"
                f" no decision changed but for {self.ties} numerical ties."
            )
        return (
            f"Scores are not a function of their pair: over {self.rows} pairs they moved by up to {self.largest_difference:.1e}"
            f" ({self.arrangement}; allowed {TOLERANCE:.0e}) and {self.flipped} decisions changed."
        )


def check_stability(score: Callable[[np.ndarray], np.ndarray], length: np.ndarray, *, rows: int = ROWS, seed: int = 0) -> Stability:
    """Scores a sample of pairs alone, in several batch sizes, shuffled, and with neighbours of very different length (padding).

    score(rows int64[m]) → float[m, 2]: rewards of chosen and rejected of these pairs, computed together as one batch. length float[n]:
    of each pair's longer text, in any unit; decides who is padded beside whom. Reference: each pair alone. Errors: wrong shape, scores
    that are not finite.
    """
    rng = np.random.default_rng([seed, 70610])
    picked = rng.choice(len(length), min(rows, len(length)), replace=False)
    reference = _batched(score, picked, 1)
    worst, where, flips = 0.0, "", np.zeros(len(picked), bool)
    decision = np.sign(np.where(np.abs(_margin(reference)) < TIE, 0, _margin(reference)))
    for name, order, size in _arrangements(picked, length, rng):
        scores = np.empty_like(reference)
        scores[order] = _batched(score, picked[order], size)
        moved = float((np.abs(scores - reference) / np.maximum(1, np.abs(reference))).max())
        if moved > worst:
            worst, where = moved, name
        margin = _margin(scores)
        flips |= (np.abs(margin) >= TIE) & (decision != 0) & (np.sign(margin) != decision)
    return Stability(len(picked), worst, int(flips.sum()), int((decision == 0).sum()), where)


def _arrangements(picked: np.ndarray, length: np.ndarray, rng: np.random.Generator) -> list[tuple[str, np.ndarray, int]]:
    n = len(picked)
    given, shuffled, by_length = np.arange(n), rng.permutation(n), np.argsort(length[picked], kind="stable")
    mixed = np.empty(n, np.int64)  # shortest, longest, second shortest, second longest, …: the most padding there can be
    mixed[0::2], mixed[1::2] = by_length[: (n + 1) // 2], by_length[::-1][: n // 2]
    plans = [(f"batches of {b}", given, b) for b in BATCHES[1:]] + [("one batch", given, n)]
    return [
        ("repeated alone", given, 1),
        *plans,
        ("shuffled", shuffled, BATCHES[-1]),
        ("sorted by length", by_length, 16),
        ("short beside long", mixed, 2),
    ]


def _batched(score: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, size: int) -> np.ndarray:
    parts = [np.asarray(score(rows[at : at + size]), np.float64) for at in range(0, len(rows), size)]
    for at, part in zip(range(0, len(rows), size), parts, strict=True):
        if part.shape != (len(rows[at : at + size]), 2) or not np.isfinite(part).all():
            raise EvenhandError(
                f"Scoring {len(rows[at : at + size])} pairs gave an array of shape {part.shape},"
                f" {int((~np.isfinite(part)).sum())} of it not finite."
                " Expected: finite rewards [pairs, 2], chosen and rejected. To do: check the model on these rows."
            )
    return np.concatenate(parts)


def _margin(scores: np.ndarray) -> np.ndarray:
    return scores[:, 0] - scores[:, 1]

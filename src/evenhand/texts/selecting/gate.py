"""The feasibility gate of PGTA (Islam 2026, arXiv 2606.10126), on arrays: which revisions y may take the place of the originals o.

Symbols: f_k(y) value of objective k of text y, a number or a profile; d_k = |f_k(y_a) - f_k(y_b)| disparity of a matched pair (L1 of profiles);
p(y) fidelity; eps_k, eps_p what a disparity may grow by and a fidelity fall by. A pair passes when

    p(y_a) >= p(o_a) - eps_p and p(y_b) >= p(o_b) - eps_p        fidelity on both sides
    d_k(y) <= d_k(o) + eps_k for every k                         no disparity grows
    d_k(y) < d_k(o) for some k                                   one is lower

Which texts keep their meaning and their format is asked of single texts, before this. Our reading: the same three on means over a block, with p
the mean of each value's cells and d_k the mean over the pairs of each axis, axes alike. A pair's gap of one draw is mostly noise: with eps 0 on
three audits and 3 candidates each pair kept its original in 71 % of pairs, "every pair" of a block of 8 in 91 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = 0.1  # eps_k, in shares of the originals' mean disparity
EPS_FIDELITY = 0.01  # eps_p, in units of the fidelity
TINY = 1e-9  # what sums in another order may differ by
FIDELITY, NONE_LOWER = "fidelity", "no disparity lower"


@dataclass(frozen=True)
class Compared:
    """What of a unit of n cells is compared. pairs int64[P, 2]: cells. weight float64[P, K]: of a pair in the mean of objective k, 0 where
    an original has no value. sides float64[S, n]: each row averages the cells of one value of one axis.
    """

    pairs: np.ndarray
    weight: np.ndarray
    sides: np.ndarray


def disparity(a: np.ndarray, b: np.ndarray, parts: bool = False) -> np.ndarray:
    """|f(y_a) - f(y_b)| of numbers float64[…]; of profiles float64[…, parts] the sum over their parts, 0 to 2 where each sums to 1."""
    gap = np.abs(a - b)
    return np.asarray(gap.sum(axis=-1) if parts else gap)


def gate(d: np.ndarray, d_o: np.ndarray, p: np.ndarray, p_o: np.ndarray, eps: np.ndarray, eps_p: float) -> np.ndarray:
    """Which constraint fails, bool[…, K + 2]: fidelity, the disparity of each objective, none of them lower.

    d float64[…, K], d_o float64[…, K] of the originals, p float64[…, sides], p_o, eps float64[K]. nan on an original's side binds nothing.
    """
    falls = (p < p_o - eps_p - TINY).any(axis=-1)
    grows = d > d_o + eps + TINY
    level = np.logical_not((d < d_o - TINY).any(axis=-1))
    return np.concatenate([np.expand_dims(falls, -1), grows, np.expand_dims(level, -1)], axis=-1)


def block_means(
    gaps: np.ndarray, gaps_o: np.ndarray, p: np.ndarray, p_o: np.ndarray, eps: np.ndarray, eps_p: float, of: Compared
) -> np.ndarray:
    """The gate on means over a block (the default): 1 where a constraint fails, else 0, float64[A, K + 2].

    gaps float64[A, P, K]: disparities of A assignments of candidates to the block's cells; gaps_o [P, K]. p float64[A, n], p_o [n]: fidelity
    of each cell. A block of two cells is a matched pair: the plain reading.
    """
    return gate(_means(gaps, of.weight), _means(gaps_o, of.weight), p @ of.sides.T, p_o @ of.sides.T, eps, eps_p).astype(float)


def every_pair(
    gaps: np.ndarray, gaps_o: np.ndarray, p: np.ndarray, p_o: np.ndarray, eps: np.ndarray, eps_p: float, of: Compared
) -> np.ndarray:
    """The gate on each pair of a block, all of which must pass: the share of pairs that fail a constraint, float64[A, K + 2]."""
    compared = (of.weight > 0).any(axis=1)
    if not compared.any():
        return np.ones((len(gaps), gaps.shape[-1] + 2))
    pairs = of.pairs[compared]
    return np.asarray(gate(gaps[:, compared], gaps_o[compared], p[:, pairs], p_o[pairs], eps, eps_p).mean(axis=1))


def _means(gaps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[…, P, K] → […, K]."""
    return np.asarray(np.einsum("...pk,pk->...k", gaps, weight))

"""The gate of PGTA: the paper's three inequalities, worked out by hand on pairs, on means of a block and on every pair of it."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.texts.selecting.gate import Compared, block_means, disparity, every_pair, gate

EPS = np.array([0.1, 0.0])


def test_disparity_of_numbers_and_of_profiles() -> None:
    assert disparity(np.array(0.25), np.array(1.0)) == 0.75
    assert disparity(np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.5, 0.3]), parts=True) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("d", "p", "failed"),
    [
        ([0.4, 0.2], [0.8, 0.8], [False, False, False, False]),  # the first disparity is lower, fidelity as it was
        ([0.6, 0.1], [0.8, 0.8], [False, False, False, False]),  # grown by eps exactly, the other lower
        ([0.6, 0.2], [0.8, 0.8], [False, False, False, True]),  # within eps, yet none is lower
        ([0.61, 0.1], [0.8, 0.8], [False, True, False, False]),
        ([0.4, 0.21], [0.8, 0.8], [False, False, True, False]),
        ([0.4, 0.2], [0.79, 0.8], [False, False, False, False]),  # fallen by eps_p exactly
        ([0.4, 0.2], [0.9, 0.78], [True, False, False, False]),  # one side is enough
        ([0.5, 0.2], [0.7, 0.7], [True, False, False, True]),
    ],
)
def test_the_inequalities_of_a_pair(d: list[float], p: list[float], failed: list[bool]) -> None:
    found = gate(np.array(d), np.array([0.5, 0.2]), np.array(p), np.array([0.8, 0.8]), EPS, 0.01)
    assert found.tolist() == failed


def block(gaps: list[list[float]], p: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(gaps)[:, :, None], np.array(p)


# two axes of two values: cells 00 01 10 11; pairs of the first axis (0,2), (1,3), of the second (0,1), (2,3)
SQUARE = Compared(
    np.array([[0, 2], [1, 3], [0, 1], [2, 3]]),
    np.full((4, 1), 0.25),
    np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]) / 2,
)


def test_a_block_passes_on_means_where_not_every_pair_does() -> None:
    gaps, p = block([[0.9, 0.1, 0.4, 0.4], [0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6]], [[0.8] * 4, [0.8] * 4, [0.7, 0.9, 0.9, 0.7]])
    gaps_o, p_o = np.full((4, 1), 0.5), np.full(4, 0.8)
    eps = np.array([0.05])
    means = block_means(gaps, gaps_o, p, p_o, eps, 0.01, SQUARE)
    assert means.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 1]]  # the third one's fidelity is as high on every side's mean
    single = every_pair(gaps, gaps_o, p, p_o, eps, 0.01, SQUARE)
    assert single.tolist() == [[0, 0.25, 0.25], [0, 0, 0], [1, 1, 1]]


def test_pairs_whose_original_has_no_value_bind_nothing() -> None:
    weight = np.array([[0.0], [0.5], [0.25], [0.25]])
    compared = Compared(SQUARE.pairs, weight, SQUARE.sides)
    gaps, p = block([[9.0, 0.4, 0.4, 0.4]], [[0.8] * 4])
    gaps_o, p_o = np.array([[0.0], [0.5], [0.5], [0.5]]), np.full(4, 0.8)
    assert not block_means(gaps, gaps_o, p, p_o, np.array([0.0]), 0.01, compared).any()
    assert not every_pair(gaps, gaps_o, p, p_o, np.array([0.0]), 0.01, compared).any()
    nothing = Compared(SQUARE.pairs, np.zeros((4, 1)), SQUARE.sides)
    assert every_pair(gaps, gaps_o, p, p_o, np.array([0.0]), 0.01, nothing).all()  # no pair is compared: nothing can be lower

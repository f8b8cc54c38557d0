"""Changes of one thing in core, audits or data that no other test noticed (nightly/survivors.md has those that none can)."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.audits.intervals import discoveries, mean_of_users
from evenhand.audits.nulls import EXACT_UP_TO, against_null, permuted_means


def test_two_groups_have_a_null() -> None:
    found = against_null(np.r_[np.full(40, 0.2), np.full(40, 0.9)], np.repeat([0, 1], 40), permutations=99)
    assert [f.statistic for f in found] == ["max - min", "ratio min / max", "standard deviation"]
    assert found[0].observed == pytest.approx(0.7)
    assert found[1].observed == pytest.approx(0.2 / 0.9)
    assert {f.p_value for f in found} == {0.01}, "of 99 deals none comes near"


def test_few_users_are_dealt_and_not_drawn_from_a_normal_law() -> None:
    """Group sums of users who are right or wrong are whole numbers, and add up to all."""
    accuracy = np.r_[np.ones(25), np.zeros(65)]
    sizes = np.array([30, 60])
    sums = permuted_means(accuracy, sizes, 50, np.random.default_rng(0)) * sizes
    assert np.allclose(sums, sums.round())
    assert np.allclose(sums.sum(axis=1), 25)
    assert len(np.unique(sums[:, 0].round())) > 3


def test_many_users_are_drawn_unless_a_group_is_small() -> None:
    accuracy = np.r_[np.ones(12_000), np.zeros(EXACT_UP_TO - 11_999)]
    for small, whole in ((30, False), (29, True)):
        sizes = np.array([small, len(accuracy) - small])
        first = permuted_means(accuracy, sizes, 3, np.random.default_rng(0))[:, 0] * small
        assert np.allclose(first, first.round(), atol=1e-9) == whole


def test_nobody_has_a_mean_of_nothing() -> None:
    found = mean_of_users(np.zeros(0), np.zeros(0, np.int64), "accuracy", "none")
    assert np.isnan([found.value, found.low, found.high]).all()
    assert (found.n_users, found.n_pairs, found.metric, found.group) == (0, 0, "accuracy", "none")


def test_what_to_follow_up_is_a_mask() -> None:
    found = discoveries(np.array([0.001, np.nan, 0.9]))
    assert found.dtype == bool
    assert found.tolist() == [True, False, False]

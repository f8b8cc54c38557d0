"""Groups: deterministic cuts, unknown users left out, combinations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.core import DataError, PreferenceData
from evenhand.data.groups import by_attribute, by_quantile, by_threshold, intersection
from evenhand.data.support import Support


def support(values) -> Support:
    values = np.asarray(values, dtype=np.float64)
    return Support(values, np.ones(len(values), dtype=np.int64), "Support is made up.")


def people(**attributes) -> PreferenceData:
    none = np.zeros(0, dtype=np.int32)
    return PreferenceData([f"u{i}" for i in range(len(next(iter(attributes.values()))))], [], none, none, none, none, attributes=attributes)


def test_quantile_takes_the_least_supported():
    values = np.random.default_rng(0).permutation(np.linspace(0.1, 0.9, 50))
    groups = by_quantile(support(values), 0.2)
    assert groups.names == ("majority", "minority")
    np.testing.assert_array_equal(np.flatnonzero(groups.of_user == 1), np.sort(np.argsort(values)[:10]))
    assert "the 10 of 50 users" in groups.rule
    assert "Support is made up." in groups.rule


def test_equal_users_stay_together_and_the_cut_is_the_nearest():
    groups = by_quantile(support([0.1] * 3 + [0.5] * 3 + [0.9] * 4), 0.2)
    np.testing.assert_array_equal(groups.of_user, [1] * 3 + [0] * 7)
    groups = by_quantile(support([0.1] * 3 + [0.5] * 3 + [0.9] * 4), 0.45)  # 3 and 6 are as near to 4.5: the smaller
    assert (groups.of_user == 1).sum() == 3
    groups = by_quantile(support([0.1] * 3 + [0.5] * 2 + [0.9] * 5), 0.45)
    assert (groups.of_user == 1).sum() == 5


@pytest.mark.parametrize("q", [0.2, 0.9])
def test_a_minority_of_more_than_one_half_is_refused(q):
    groups = by_quantile(support([0.3] * 41 + [0.6] * 19), q)
    np.testing.assert_array_equal(groups.of_user, np.zeros(60))
    assert (
        "Nobody is in the minority: the 41 of 60 users with the lowest support are equal (0.300; of the others it is up to 0.600)"
        in groups.rule
    )
    assert (by_quantile(support([0.3] * 30 + [0.6] * 30), q).of_user == 1).sum() == 30  # one half is not more than one half
    # The cut at 4 of 6 is the nearer one to 60 %, but 2 of 6 is the nearest that leaves a minority
    assert (by_quantile(support([0.1, 0.1, 0.2, 0.2, 0.3, 0.3]), 0.6).of_user == 1).sum() == 2


def test_only_the_pool_decides_the_cut_and_everybody_is_assigned():
    rng = np.random.default_rng(0)
    values, seen = rng.permutation(np.linspace(0.1, 0.9, 60)), np.arange(60) % 3 > 0
    groups = by_quantile(support(values), 0.25, pool=seen)
    np.testing.assert_array_equal(groups.of_user[seen], by_quantile(support(values[seen]), 0.25).of_user)
    assert groups.of_user[seen].sum() == 10
    cut = np.sort(values[seen])[10]
    np.testing.assert_array_equal(groups.of_user, values < cut)
    assert 0 < groups.of_user[~seen].sum() < 20
    assert "the 10 of 40 users seen in training" in groups.rule
    for others in (0.01, 0.99, np.nan):
        moved = by_quantile(support(np.where(seen, values, others)), 0.25, pool=seen)
        np.testing.assert_array_equal(moved.of_user[seen], groups.of_user[seen])
        assert (by_quantile(support(np.where(seen, values, others)), 0.25).of_user[seen] != groups.of_user[seen]).any() or others != others
    np.testing.assert_array_equal(
        by_quantile(support(values), 0.25, pool=np.ones(60, bool)).of_user, by_quantile(support(values), 0.25).of_user
    )
    nobody = by_quantile(support(values), pool=np.zeros(60, bool))
    assert "no users seen in training have a known support" in nobody.rule


def test_unknown_support_is_in_no_group():
    groups = by_quantile(support([0.1, np.nan, 0.8, 0.9, np.nan, 0.7]), 0.25)
    np.testing.assert_array_equal(groups.of_user, [1, -1, 0, 0, -1, 0])
    assert "2 users of unknown support" in groups.rule
    np.testing.assert_array_equal(by_threshold(support([0.1, np.nan, 0.5]), 0.5).of_user, [1, -1, 0])


@pytest.mark.parametrize(
    ("values", "why"), [([0.4] * 5, "all 5 users have the same support, 0.400"), ([np.nan] * 5, "no users have a known support")]
)
def test_no_minority_where_nobody_differs(values, why):
    groups = by_quantile(support(values))
    assert not (groups.of_user == 1).any()
    assert why in groups.rule


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, np.nan]), min_size=1, max_size=40), st.floats(0.01, 0.99), st.randoms())
def test_quantile_ignores_the_order_of_users_and_splits_no_equals(values, q, random):
    order = list(range(len(values)))
    random.shuffle(order)
    values = np.array(values)
    groups, shuffled = by_quantile(support(values), q).of_user, by_quantile(support(values[order]), q).of_user
    np.testing.assert_array_equal(groups[order], shuffled)
    low, high = values[groups == 1], values[groups == 0]
    assert len(low) <= len(high)
    assert len(low) == 0 or low.max() < high.min()
    np.testing.assert_array_equal(groups == -1, np.isnan(values))


@pytest.mark.parametrize("q", [0, 1, -0.2, np.nan])
def test_bad_quantiles_are_named(q):
    with pytest.raises(DataError, match="quantile"):
        by_quantile(support([0.1, 0.2]), q)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, 40, np.nan])
def test_bad_thresholds_are_named(threshold):
    with pytest.raises(DataError, match=r"0\.4 means 40 %"):
        by_threshold(support([0.1, 0.2]), threshold)


def test_attribute_groups_and_their_intersection():
    data = people(region=["n", "s", "", "n", "s"], age=["old", "old", "old", "", "young"])
    region, age = by_attribute(data, "region"), by_attribute(data, "age")
    assert region.names == ("n", "s")
    np.testing.assert_array_equal(region.of_user, [0, 1, -1, 0, 1])
    assert "1 users without one" in region.rule
    both = intersection(region, age)
    assert both.names == ("n & old", "s & old", "s & young")
    np.testing.assert_array_equal(both.of_user, [0, 1, -1, -1, 2])
    np.testing.assert_array_equal(intersection(region).of_user, region.of_user)
    with pytest.raises(DataError, match="no user attribute 'gender'"):
        by_attribute(data, "gender")
    with pytest.raises(DataError, match="different numbers of users"):
        intersection(region, by_threshold(support([0.1]), 0.5))


def test_too_many_groups_are_refused():
    with pytest.raises(DataError, match="at most 32767 groups"):
        by_attribute(people(id=[str(i) for i in range(32_768)]), "id")

"""Means over users, their clustered intervals and the bootstrap, against brute force, scipy and simulations with known truth."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evenhand.audits.bootstrap import COUNTS, basic_interval, percentile_interval, resampled_means, user_weights
from evenhand.audits.intervals import (
    MOST_CONTRASTS,
    Contrast,
    contrast,
    discoveries,
    in_points,
    is_pairwise,
    mean_of_users,
    pairwise,
    range_bounds,
    range_rows,
    simultaneous_alpha,
)
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import arrange, means
from evenhand.core import EvenhandError, Groups

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


def world(seed=0, users=40, rows=600, prompts=25, groups=2):
    """Random pairs; some users in no group, some prompts repeated by one user, unequal numbers of pairs and weights."""
    rng = np.random.default_rng(seed)
    user = np.concatenate([np.arange(users), rng.integers(0, users, rows - users)]).astype(np.int32)
    of_user = rng.integers(-1, groups, users).astype(np.int16)
    prompt = rng.integers(0, prompts, rows).astype(np.int32)
    weight = rng.uniform(0.5, 2.0, rows)
    margin = rng.normal(0.5, 1, rows) + 0.5 * rng.normal(size=users)[user] + 0.5 * rng.normal(size=prompts)[prompt]
    o = Outcomes("m", "test", user, margin, prompt=prompt, weight=weight)
    return o, Groups(tuple(f"g{k}" for k in range(groups)), of_user, "random")


def test_two_way_covariance_equals_brute_force():
    o, groups = world()
    columns = [correct(o.margin), np.tanh(o.margin)]
    found = means(arrange(o, groups), columns)
    members = [np.flatnonzero(groups.of_user == g) for g in range(2)] + [np.arange(40)]
    psi, value = {}, {}
    for c, y in enumerate(columns):
        for g, users in enumerate(members):
            inside = np.isin(o.user, users)
            share = np.array([o.weight[i] / o.weight[o.user == o.user[i]].sum() for i in range(len(o))])
            value[c, g] = (share * y)[inside].sum() / len(users)
            psi[c, g] = np.where(inside, share * (y - value[c, g]) / len(users), 0.0)
    keys = [(c, g) for c in range(2) for g in range(3)]
    assert np.allclose(found.value.ravel(), [value[k] for k in keys])

    def gram(clusters):
        sums = {k: {} for k in keys}
        for k in keys:
            for i, name in enumerate(clusters):
                sums[k][name] = sums[k].get(name, 0.0) + psi[k][i]
        counts = {k: len({name for i, name in enumerate(clusters) if psi[k][i] != 0}) for k in keys}
        factor = {k: np.sqrt(counts[k] / (counts[k] - 1)) for k in keys}
        return np.array([[factor[a] * factor[b] * sum(sums[a][n] * sums[b][n] for n in sums[a]) for b in keys] for a in keys])

    by_user = gram(o.user.tolist())
    both = by_user + gram(o.prompt.tolist()) - gram(list(zip(o.user.tolist(), o.prompt.tolist(), strict=True)))
    assert np.allclose(found.by_user, by_user, atol=1e-12)
    assert np.allclose(found.by_both, both, atol=1e-12)


def test_single_mean_and_difference_are_student_and_welch():
    o, groups = world(users=30)
    o = Outcomes("m", "test", o.user, o.margin)
    found = means(arrange(o, groups), [correct(o.margin)])
    of_user = np.array([correct(o.margin[o.user == u]).mean() for u in range(30)])
    a, b = of_user[groups.of_user == 0], of_user[groups.of_user == 1]
    c = contrast(found, np.array([[1.0, 0, 0], [1.0, -1, 0], [0, 0, 1.0]]))
    low, high = c.bounds()
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.95, len(a) - 1, a.mean(), stats.sem(a)))
    welch = stats.ttest_ind(a, b, equal_var=False)
    ci = welch.confidence_interval(0.95)
    assert (low[1], high[1]) == pytest.approx((ci.low, ci.high))
    assert c.p_values()[1] == pytest.approx(welch.pvalue)
    assert (low[2], high[2]) == pytest.approx(stats.t.interval(0.95, 29, of_user.mean(), stats.sem(of_user)))


def test_paired_difference_of_two_models_is_a_paired_t():
    o, groups = world(users=20)
    o = Outcomes("m", "test", o.user, o.margin)
    after = correct(o.margin + np.random.default_rng(1).normal(size=len(o)))
    found = means(arrange(o, groups), [correct(o.margin), after])
    row = np.zeros((1, 6))
    row[0, [2, 5]] = -1.0, 1.0
    d = np.array([(after - correct(o.margin))[o.user == u].mean() for u in range(20)])
    low, high = contrast(found, row).bounds()
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.95, 19, d.mean(), stats.sem(d)))


def test_errors_of_contrasts_correlate_by_the_groups_that_they_share():
    o, groups = world(users=60, groups=3)
    o = Outcomes("m", "test", o.user, o.margin)
    found = means(arrange(o, groups), [correct(o.margin)])
    of_user = np.array([correct(o.margin[o.user == u]).mean() for u in range(60)])
    v = [stats.sem(of_user[groups.of_user == g]) ** 2 for g in range(3)]
    c = contrast(found, np.array([[1.0, -1, 0, 0], [1, 0, -1, 0], [0, 1, -1, 0], [2, 0, 0, 0]]))
    sd = np.sqrt([v[0] + v[1], v[0] + v[2], v[1] + v[2], 4 * v[0]])
    shared = np.array([[0, v[0], -v[1], 2 * v[0]], [v[0], 0, v[2], 2 * v[0]], [-v[1], v[2], 0, 0], [2 * v[0], 2 * v[0], 0, 0]])
    assert np.allclose(c.correlation, shared / np.outer(sd, sd) + np.eye(4))


@pytest.mark.parametrize("users", [2, 10, 100])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
def test_equal_users_do_not_pretend_certainty(users, value):
    user = np.repeat(np.arange(users), 5).astype(np.int32)
    groups = Groups(("all",), np.zeros(users, np.int16), "")
    margin = np.full(len(user), value)
    c = contrast(means(arrange(Outcomes("m", "t", user, margin), groups), [correct(margin)]), np.array([[1.0, 0.0]]))
    low, high = c.bounds(low=0.0, high=1.0)
    limit = 1 - 0.025 ** (1 / users)
    exact = stats.binomtest(users, users).proportion_ci(0.95, "exact").low
    assert limit == pytest.approx(1 - exact)
    assert low[0] == pytest.approx(max(0, c.value[0] - limit))
    assert high[0] == pytest.approx(min(1, c.value[0] + limit))
    e = mean_of_users(np.full(users, c.value[0]), np.full(users, 5), "accuracy")
    assert (e.low, e.high) == pytest.approx((low[0], high[0]))


def test_a_mean_of_users_is_students():
    values = np.array([0.9, 0.35, 0.6, 0.8, 0.55])
    e = mean_of_users(values, np.array([3, 1, 4, 1, 5]), "accuracy")
    assert (e.low, e.high) == pytest.approx(stats.t.interval(0.95, 4, 0.64, stats.sem(values)))
    assert (e.value, e.n_users, e.n_pairs) == (pytest.approx(0.64), 5, 14)


def test_one_user_leaves_everything_open():
    e = mean_of_users(np.array([0.7]), np.array([50]), "accuracy")
    assert (e.value, e.low, e.high, e.n_users, e.n_pairs) == (0.7, 0.0, 1.0, 1, 50)
    groups = Groups(("one", "others"), np.array([0, 1, 1, 1], np.int16), "")
    o = Outcomes("m", "t", np.array([0, 0, 1, 2, 3, 3], np.int32), np.array([1.0, -1, 1, 1, -1, 1]))
    c = contrast(means(arrange(o, groups), [correct(o.margin)]), np.array([[1.0, -1.0, 0.0]]))
    assert np.isinf(c.se[0])
    assert c.p_values()[0] == 1.0


def test_a_group_without_spread_still_widens_a_difference():
    user = np.repeat(np.arange(40), 10).astype(np.int32)
    margin = np.where((user < 20) | (np.arange(400) % 10 < 5 + user % 4), 1.0, -1.0)
    groups = Groups(("perfect", "mixed"), np.repeat([0, 1], 20).astype(np.int16), "")
    c = contrast(
        means(arrange(Outcomes("m", "t", user, margin), groups), [correct(margin)]), np.array([[1.0, -1, 0], [1, 0, 0], [0, 1, 0]])
    )
    assert c.se[0] == pytest.approx(np.hypot(c.se[1], c.se[2]))
    assert c.se[1] > 0


def test_simultaneous_alpha():
    assert simultaneous_alpha(np.eye(1), 0) == pytest.approx(0.05)
    assert simultaneous_alpha(np.eye(10), 0) == pytest.approx(1 - 0.95 ** (1 / 10), rel=0.1)  # independent: Sidak
    assert simultaneous_alpha(np.ones((10, 10)), 0) == pytest.approx(0.05, rel=0.06)  # one and the same
    assert simultaneous_alpha(np.eye(5), 3) == simultaneous_alpha(np.eye(5), 3)
    tukey = pairwise(range(4), 4)  # all differences of four equal groups with known variance: the studentised range
    correlation = tukey @ tukey.T / 2
    critical = stats.norm.isf(simultaneous_alpha(correlation, 0, draws=100_000) / 2)
    assert critical * np.sqrt(2) == pytest.approx(stats.studentized_range.ppf(0.95, 4, np.inf), rel=0.01)


def test_range_of_equal_groups_and_maxt_hold_at_once():
    from coverage import simultaneous_coverage

    every, ranges = simultaneous_coverage((30, 60, 120), 0.1, 300, seed=5)
    assert 0.92 <= every <= 0.98
    assert ranges >= 0.92


def test_range_bounds_hold_the_observed_range():
    o, groups = world(groups=5, users=100, rows=2000)
    found = means(arrange(o, groups), [correct(o.margin)])
    c = contrast(found, pairwise(range(5), 6))
    value, low, high = range_bounds(c, 0.01)
    assert value == pytest.approx(np.ptp(found.value[0, :5]))
    assert low < value < high


def test_many_groups_are_bounded_by_their_means_and_cover():
    """Above 25 groups: the bounds hold the true range, equal groups or not, in at least 95 % of repeats, and a clear range is proven."""
    rng = np.random.default_rng(9)
    cells = list(range(60))
    assert not is_pairwise(cells)
    assert is_pairwise(cells[:25])
    assert len(range_rows(cells, 61)) == 60
    assert all(len(range_rows(range(n), 601)) <= max(MOST_CONTRASTS, n) for n in (2, 20, 25, 26, 600))
    for truth in (np.full(60, 0.65), np.linspace(0.5, 0.8, 60)):
        held = proven = 0
        for seed in range(60):
            accuracy = np.repeat(truth, 30)
            user = np.repeat(np.arange(1800), 20).astype(np.int32)
            margin = np.where(rng.random(len(user)) < accuracy[user], 1.0, -1.0)
            groups = Groups(tuple(map(str, cells)), np.repeat(cells, 30).astype(np.int16), "")
            found = means(arrange(Outcomes("m", "t", user, margin), groups), [correct(margin)])
            c = contrast(found, range_rows(cells, 61))
            value, low, high = range_bounds(c, simultaneous_alpha(c.correlation, seed), of_means=True)
            assert value == pytest.approx(np.ptp(found.value[0, :60]))
            held += low <= np.ptp(truth) <= high
            proven += low > 0.1
        assert held >= 0.95 * 60
        assert proven == (60 if np.ptp(truth) else 0)


def test_sidak_stands_in_for_the_joint_law_of_very_many():
    m = MOST_CONTRASTS + 1
    many = simultaneous_alpha(np.eye(m), 0)
    assert many == pytest.approx(1 - 0.95 ** (1 / m))
    assert many == pytest.approx(simultaneous_alpha(np.eye(MOST_CONTRASTS), 0, draws=60_000), rel=0.15)  # no jump where the rule changes
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(m), np.full((m, m), 0.3) + 0.7 * np.eye(m), 4000)
    assert (np.abs(draws).max(axis=1) <= stats.norm.isf(many / 2)).mean() >= 0.95


def test_bounds_of_means_are_open_where_a_group_is_unknown():
    c = Contrast(np.array([0.9, 0.4]), np.array([0.01, np.inf]), np.ones(2) * 30, np.eye(2), np.ones(2, int), np.ones(2, int))
    assert range_bounds(c, 0.05, of_means=True) == (0.5, 0.0, 1.0)


def test_points_have_a_true_minus_sign_and_no_negative_zero():
    assert [in_points(x) for x in (0.05, -0.0271, -0.0001)] == ["5.0", "−2.7", "0.0"]
    assert [in_points(x, signed=True) for x in (0.05, -0.027, 0.0001)] == ["+5.0", "−2.7", "0.0"]


def test_discoveries_are_benjamini_hochbergs():
    rng = np.random.default_rng(0)
    for m in (1, 5, 40):
        p = rng.uniform(size=m) ** 3
        assert np.array_equal(discoveries(p), stats.false_discovery_control(p) <= 0.10)
    p = np.array([0.001, np.nan, 0.5])
    assert discoveries(p).tolist() == [True, False, False]
    assert not discoveries(np.array([np.nan])).any()


def test_bootstrap_weights_have_mean_and_variance_one():
    values = np.repeat(np.arange(len(COUNTS)), COUNTS)
    assert (len(values), values.mean(), values.var()) == (256, 1.0, 1.0)
    w = user_weights(200, 5000, np.random.default_rng(0))
    assert (w.mean(), w.var()) == pytest.approx((1, 1), abs=0.01)
    assert abs(np.corrcoef(w[:, 0], w[:, 1])[0, 1]) < 0.25


def test_bootstrap_equals_a_brute_force_bootstrap_of_users():
    rng = np.random.default_rng(0)
    values = np.stack([rng.exponential(size=200), 1e6 + rng.normal(size=200)], axis=1)
    draws = resampled_means(values, 4000, rng)
    brute = np.array([values[rng.integers(0, 200, 200)].mean(axis=0) for _ in range(4000)])
    for found, expected in zip(percentile_interval(draws), percentile_interval(brute), strict=True):
        assert np.allclose(found, expected, atol=0.12 * values.std(axis=0) / np.sqrt(200) * 2)
    assert draws.std(axis=0) == pytest.approx(brute.std(axis=0), rel=0.06)


def test_basic_interval_takes_off_the_noise_that_resampling_adds():
    low, high = basic_interval(np.array(0.05), np.linspace(0.06, 0.10, 1001))
    assert (float(low), float(high)) == pytest.approx((0.001, 0.05), abs=1e-3)


@pytest.mark.parametrize(("users", "rho"), [(10, 0.1), (10, 0.2), (60, 0.1), (200, 0.0)])
def test_coverage(users, rho):
    """Share of 95 % intervals that hold the truth: 93.5 to 96.5, within what 400 repeats can tell (3 standard errors)."""
    from coverage import interval_coverage

    clustered, row_wise = interval_coverage(users, 20, rho, 400, seed=users, resamples=300)
    slack = 3 * np.sqrt(0.95 * 0.05 / 400)
    assert 0.935 - slack <= clustered <= 0.965 + slack
    if rho:
        assert row_wise < 0.88


def test_two_way_intervals_cover_where_clustering_by_user_alone_does_not():
    from coverage import two_way_coverage

    both, alone = two_way_coverage(100, 40, 150, seed=1)
    assert both >= 0.88
    assert alone < both - 0.05


def test_errors_name_rows():
    user = np.zeros(4, np.int32)
    with pytest.raises(EvenhandError, match=r"1 of 4 margins are not a number \(rows 2"):
        Outcomes("m", "t", user, np.array([1, 2, np.nan, 0]))
    with pytest.raises(EvenhandError, match=r"2 of 4 margins are infinite or beyond 1e50 \(rows 0, 3"):
        Outcomes("m", "t", user, np.array([np.inf, 2, 1, -np.inf]))
    with pytest.raises(EvenhandError, match=r"'margin' has shape \(3,\)"):
        Outcomes("m", "t", user, np.zeros(3))
    with pytest.raises(EvenhandError, match="weights are not above 0"):
        Outcomes("m", "t", user, np.zeros(4), weight=np.array([1, 1, 0, 1.0]))
    with pytest.raises(EvenhandError, match="no pair"):
        arrange(Outcomes("m", "t", user[:0], np.zeros(0)), Groups((), np.zeros(1, np.int16), ""))
    with pytest.raises(EvenhandError, match="User number 3"):
        arrange(Outcomes("m", "t", user + 3, np.zeros(4)), Groups((), np.zeros(1, np.int16), ""))

"""Accuracies of single users, spread against its null, support curve, agreement: known truths and brute force."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from evenhand.audits.metrics import USER_METRICS, calibration_gaps, correct, gini, jain, log_loss, worst_decile
from evenhand.audits.nulls import against_null, permuted_means
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.passes import over
from evenhand.audits.sample import Sample, arrange, means
from evenhand.audits.support_curve import correlation, curve_of, slope
from evenhand.audits.users import BetaBinomial, density, fit_beta_binomial, independent_of, spread_of_users
from evenhand.core import Groups

accuracies = arrays(float, st.integers(1, 30), elements=st.floats(0.01, 1))


def right(batch):
    return correct(batch.strict.margin)


def support_curve(support, accuracy, shrunken, pairs, rule, **options):
    """Of users who share nothing."""
    sample = Sample(np.arange(len(pairs)), np.full(len(pairs), -1), 0, pairs)
    return over((), curve_of(sample, lambda batch: [], support, accuracy, shrunken, rule, **options))


def independent_pairs(outcomes, groups):
    sample = arrange(outcomes, groups)
    return over(sample.batches, independent_of(sample, right))


@given(accuracies)
@settings(max_examples=60, deadline=None)
def test_inequality_metrics_against_their_definitions(p):
    n = len(p)
    assert gini(p) == pytest.approx(np.abs(p[:, None] - p[None, :]).sum() / (2 * n * n * p.mean()), abs=1e-9)
    assert jain(p) == pytest.approx(1 / (1 + p.var() / p.mean() ** 2))
    assert worst_decile(p) == pytest.approx(np.sort(p)[: max(1, round(n / 10))].mean())
    order = np.random.default_rng(0).permutation(n)
    for f in USER_METRICS.values():
        assert f(p[order]) == pytest.approx(f(p))


def test_metrics_of_pairs():
    margin = np.array([2.0, -1.0, 0.0, 5e-7, -2e-6])
    assert correct(margin).tolist() == [1, 0, 0.5, 0.5, 0]
    assert np.allclose(correct(-margin), 1 - correct(margin))
    assert log_loss(np.array([0.0, 800.0, -800.0])) == pytest.approx([np.log(2), 0, 800])
    bins, gap = calibration_gaps(np.array([0.0, 0.5, -0.5, 50.0]))
    assert bins.tolist() == [0, 1, 1, 4]
    assert gap == pytest.approx([0, 1 - 0.62246, -0.62246, 0], abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_right_answers_are_counts(weighted):
    """Means of ones, zeros and halves that rounding pushes off: counts still are whole, or half, and never above the pairs."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), np.arange(200) % 40 + 1)
    margin = np.where(user % 3 == 0, 1.0, np.where(user % 3 == 1, -1.0, rng.choice([1.0, 0.0, -1.0], len(user))))
    weight = rng.uniform(0.1, 9, len(user)) if weighted else None
    sample = arrange(Outcomes("m", "s", user.astype(np.int32), margin, weight=weight), Groups(("all",), np.zeros(200, np.int64), ""))
    accuracy = sample.user_means(correct(margin))
    right = sample.right(accuracy)
    assert accuracy.max() == 1
    assert accuracy[::3].min() == 1
    assert (right[::3] == sample.pairs[::3]).all()
    assert not right[1::3].any()
    if not weighted:
        assert (right == np.bincount(user, correct(margin))).all()
    else:
        share = np.bincount(user, weight * correct(margin)) / np.bincount(user, weight)
        assert np.abs(right - share * sample.pairs).max() <= 0.25 + 1e-9
    assert np.isfinite([fit_beta_binomial(right, sample.pairs).high, spread_of_users(right, sample.pairs, 0).tau_p_value]).all()


def test_equal_users_raw_worst_decile_is_noise_and_shrinkage_mends_it():
    """854 equal users, 10 pairs each, 65 %: raw worst decile 37.5 %, empirical Bayes 64.4 % (means over repeats)."""
    rng = np.random.default_rng(0)
    raw, shrunken, p_values = [], [], []
    pairs = np.full(854, 10)
    for _ in range(40):
        right = rng.binomial(10, 0.65, 854).astype(float)
        fit = fit_beta_binomial(right, pairs)
        raw.append(worst_decile(right / pairs))
        shrunken.append(worst_decile(fit.shrunken(right, pairs)))
        p_values.append(fit.p_value)
    assert np.mean(raw) == pytest.approx(0.375, abs=0.01)
    assert np.mean(shrunken) == pytest.approx(0.64, abs=0.01)
    assert np.mean(np.array(p_values) < 0.05) < 0.16


def test_spread_is_recovered_and_its_interval_covers():
    rng = np.random.default_rng(1)
    tau = 0.1
    weight = 0.65 * 0.35 / tau**2 - 1
    hits, found = 0, []
    for _ in range(60):
        pairs = rng.integers(5, 40, 300)
        truth = rng.beta(0.65 * weight, 0.35 * weight, 300)
        right = rng.binomial(pairs, truth).astype(float)
        fit = fit_beta_binomial(right, pairs)
        found.append(fit.tau)
        hits += fit.low <= tau <= fit.high
        assert fit.p_value < 0.05
        shrunken = fit.shrunken(right, pairs)
        assert np.mean((shrunken - truth) ** 2) < np.mean((right / pairs - truth) ** 2)
    assert np.mean(found) == pytest.approx(tau, abs=0.01)
    assert hits >= 51  # 57 expected


def test_fit_is_the_maximum_of_scipys_beta_binomial_likelihood():
    rng = np.random.default_rng(2)
    pairs = rng.integers(1, 30, 80)
    right = rng.binomial(pairs, rng.beta(6, 3, 80)).astype(float)
    fit = fit_beta_binomial(right, pairs)

    def loglik(mu, tau):
        w = mu * (1 - mu) / tau**2 - 1
        return stats.betabinom.logpmf(right, pairs, mu * w, (1 - mu) * w).sum()

    best = loglik(fit.mu, fit.tau)
    equal = stats.binom.logpmf(right, pairs, right.sum() / pairs.sum()).sum()
    assert fit.p_value == pytest.approx(0.5 * stats.chi2.sf(2 * (best - equal), 1), rel=1e-3)
    for step in (-0.01, 0.01):
        assert loglik(fit.mu + step, fit.tau) < best
        assert loglik(fit.mu, fit.tau + step) < best


def test_shrunken_accuracies_are_posterior_means():
    """Beta(13.8, 9.2) has mean .6 and standard deviation .1: its 23 pairs are added to a user's own."""
    assert stats.beta(13.8, 9.2).std() == pytest.approx(0.1)
    fit = BetaBinomial(0.6, 0.1, 0.0, 1.0, 0.5)
    assert fit.shrunken(np.array([7.0, 0.5]), np.array([10, 1])) == pytest.approx([20.8 / 33, 14.3 / 24])


@pytest.mark.parametrize("p", [0.0, 1.0, 0.5])
def test_spread_of_users_who_are_all_alike(p):
    right = np.full(20, 10 * p)
    found = spread_of_users(right, np.full(20, 10), 0)
    assert found.tau.value == 0.0
    assert found.tau_p_value == 1.0
    assert np.isfinite([m.raw for m in found.metrics]).all()
    assert np.trapezoid(found.shrunken_density, found.grid) == pytest.approx(1)
    assert spread_of_users(right[:1], np.array([10]), 0) is None


def test_spread_stands_beside_what_equal_users_would_show():
    """800 users of 20 pairs each, all served alike: by chance alone they spread as a binomial of 20 does."""
    rng = np.random.default_rng(4)
    right, pairs = rng.binomial(20, 0.7, 800).astype(float), np.full(800, 20)
    found = {m.name: m for m in spread_of_users(right, pairs, 0).metrics}
    for name, metric in USER_METRICS.items():
        one = found[name]
        assert (one.raw, one.excess) == (metric(right / 20), pytest.approx(one.raw - one.expected_if_equal))
    chance = stats.binom(20, right.mean() / 20)
    assert found["standard deviation"].expected_if_equal == pytest.approx(chance.std() / 20, rel=0.01)
    assert found["share below 50 %"].expected_if_equal == pytest.approx(chance.cdf(9), rel=0.05)
    assert found["worst decile"].shrunken == pytest.approx(0.7, abs=0.02)


def test_density_is_a_density_and_knows_where_users_are():
    p = np.random.default_rng(0).beta(20, 10, 500)
    d = np.array(density(p))
    assert np.trapezoid(d, np.linspace(0, 1, 101)) == pytest.approx(1)
    assert abs(np.linspace(0, 1, 101)[d.argmax()] - 2 / 3) < 0.05


def test_eight_equal_groups_of_100_pairs_expect_a_gap_of_13_6_points():
    """The null expects what equal groups show; the observed range of equal groups is no excess."""
    rng = np.random.default_rng(0)
    excess, observed, expected = [], [], []
    for seed in range(30):
        right = (rng.random(800) < 0.65).astype(float)
        null = against_null(right, np.repeat(np.arange(8), 100), permutations=200, seed=seed)[0]
        observed.append(null.observed)
        expected.append(null.expected)
        excess.append(null.excess)
        assert null.null_low <= null.expected <= null.null_high
    assert np.mean(expected) == pytest.approx(0.136, abs=0.004)
    assert np.mean(observed) == pytest.approx(0.136, abs=0.02)
    assert abs(np.mean(excess)) < 0.02


def test_permutation_p_values_are_uniform_under_the_null_and_small_beyond():
    rng = np.random.default_rng(3)
    group = np.repeat([0, 1, 2], [20, 30, 50])
    p = [against_null(rng.beta(6, 3, 100), group, permutations=99, seed=s)[0].p_value for s in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    shifted = rng.beta(6, 3, 100) - 0.3 * (group == 1)
    found = {n.statistic: n for n in against_null(shifted, group, permutations=499)}
    assert all(n.p_value == 1 / 500 for n in found.values())
    assert found["ratio min / max"].excess < 0 < found["max - min"].excess
    assert against_null(shifted, np.zeros(100, int)) == ()


def test_normal_limit_of_permutations_matches_dealing_them_out():
    rng = np.random.default_rng(4)
    accuracy = rng.beta(6, 3, 21_000)
    sizes = np.array([40, 960, 20_000])
    limit = permuted_means(accuracy, sizes, 4000, rng)
    dealt = np.array([np.add.reduceat(rng.permutation(accuracy), [0, 40, 1000]) / sizes for _ in range(1500)])
    assert limit.mean(axis=0) == pytest.approx(dealt.mean(axis=0), abs=0.003)
    assert limit.std(axis=0) == pytest.approx(dealt.std(axis=0), rel=0.08)
    assert limit @ sizes == pytest.approx(np.full(4000, accuracy.sum()))


def test_spearman_is_scipys_and_its_interval_a_brute_force_bootstraps():
    rng = np.random.default_rng(5)
    x = rng.random(120).round(2)
    y = (0.4 * x + rng.normal(0, 0.2, 120)).round(1)
    e = correlation(x, y, np.full(120, 10), 2000, rng)
    assert e.value == pytest.approx(stats.spearmanr(x, y).statistic)
    rows = rng.integers(0, 120, (2000, 120))
    rx, ry = stats.rankdata(x[rows], axis=1), stats.rankdata(y[rows], axis=1)
    rx, ry = rx - rx.mean(axis=1, keepdims=True), ry - ry.mean(axis=1, keepdims=True)
    brute = np.quantile((rx * ry).sum(1) / np.sqrt((rx**2).sum(1) * (ry**2).sum(1)), [0.025, 0.975])
    assert (e.low, e.high) == pytest.approx(tuple(brute), abs=0.035)


def test_slope_is_found_with_an_interval_that_covers():
    rng = np.random.default_rng(6)
    hits = []
    for _ in range(200):
        x = rng.uniform(0.1, 0.9, 40)
        p = 1 / (1 + np.exp(-(0.2 + 2.0 * (x - 0.5))))  # 0.2 a tenth of support
        y = rng.binomial(20, p) / 20
        e = slope(x, y, np.full(40, 20))
        hits.append(e.low <= 0.2 <= e.high)
    assert 0.90 <= np.mean(hits) <= 0.99
    flat = slope(np.full(10, 0.5), rng.random(10), np.full(10, 5))
    assert np.isnan(flat.value)
    assert np.isnan(slope(rng.random(10), np.ones(10), np.full(10, 5)).value)


def test_slope_is_a_fractional_logit_with_hc3_errors():
    """The likelihood's own maximum, and each user's pull on it with his or her residual divided by 1 - leverage, by definition."""
    rng = np.random.default_rng(8)
    x = rng.uniform(0.2, 0.9, 25)
    y = rng.binomial(12, 1 / (1 + np.exp(-3 * (x - 0.4)))) / 12
    design = np.stack([np.ones(25), 10 * x], axis=1)
    top = optimize.minimize(
        lambda b: np.logaddexp(0, design @ b).sum() - y @ design @ b,
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 2000},
    ).x
    p = 1 / (1 + np.exp(-design @ top))
    root = design * np.sqrt(p * (1 - p))[:, None]
    hat = root @ np.linalg.inv(root.T @ root) @ root.T
    pull = np.linalg.inv(root.T @ root) @ design.T @ np.diag((y - p) / (1 - np.diag(hat)))
    half = stats.t.ppf(0.975, 23) * np.sqrt((pull @ pull.T)[1, 1])
    e = slope(x, y, np.full(25, 12))
    assert (e.value, e.low, e.high) == pytest.approx((top[1], top[1] - half, top[1] + half), rel=1e-5)
    assert (e.n_users, e.n_pairs) == (25, 300)


def test_support_curve_bins_hold_all_users_and_the_line_is_monotone():
    rng = np.random.default_rng(7)
    support = rng.random(3000)
    support[:100] = np.nan
    accuracy = np.clip(0.5 + 0.3 * support + rng.normal(0, 0.1, 3000), 0, 1)
    pairs = rng.integers(1, 30, 3000)
    curve = support_curve(support, np.where(np.isnan(accuracy), 0.5, accuracy), np.full(3000, 0.6), pairs, "rule", resamples=100)
    assert sum(b.accuracy.n_users for b in curve.bins) == 2900
    assert sum(b.accuracy.n_pairs for b in curve.bins) == pairs[100:].sum()
    assert all(a.high == b.low for a, b in zip(curve.bins, curve.bins[1:], strict=False))
    xs, ys = np.array(curve.line).T
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) >= 0).all()
    assert len(curve.users) == 2000
    assert curve.slope.low > 0
    assert curve.correlation.low > 0.5
    assert support_curve(support[:101], accuracy[:101], accuracy[:101], pairs[:101], "") is None


def test_a_user_with_one_pair_does_not_bend_the_line():
    """The line counts pairs; its ends are those of the outermost bins, whatever their last few users are like."""
    rng = np.random.default_rng(0)
    support, accuracy, pairs = np.linspace(0.2, 0.9, 200), np.full(200, 0.7), np.full(200, 30)
    accuracy[:2], pairs[:2] = 0.0, 1  # rarest tastes, one wrong answer each
    accuracy[-1] = 1.0
    curve = support_curve(support, accuracy, accuracy, pairs, "rule", resamples=20)
    xs, ys = np.array(curve.line).T
    assert ys.min() > 0.69
    assert ys.max() < 0.72
    means = [b.mean for b in curve.bins]
    assert means[0] - 0.01 <= xs.min() <= xs.max() <= means[-1] + 0.01
    noisy = np.clip(0.7 + rng.normal(0, 0.15, 200), 0, 1)
    bins = support_curve(support, noisy, noisy, pairs, "rule", resamples=20)
    level = [b.accuracy.value for b in bins.bins]
    assert min(level) - 1e-9 <= min(y for _, y in bins.line)
    assert max(y for _, y in bins.line) <= max(level) + 1e-9
    assert len(support_curve(np.full(30, 0.5), accuracy[:30], accuracy[:30], pairs[:30], "rule", resamples=20).line) == 1


def test_one_vote_in_many_pairs_is_not_many_answers():
    """Everybody is right half of the time over the statements that could have been drawn; pairs that share a vote go right together. Taken
    as independent, all of these were said to show that users differ.
    """
    rng = np.random.default_rng(0)
    apart, taken = [], []
    for seed in range(25):
        rows = []
        for u in range(80):
            mine = rng.permutation(60)[:14]
            rows += [(u, a, b) for a in mine[:7] for b in mine[7:]]
        user, a, b = np.array(rows, np.int32).T
        reward = rng.normal(size=60)
        o = Outcomes("m", "t", user, reward[a] - reward[b], chosen=a, rejected=b)
        count, pairs = independent_pairs(o, Groups((), np.full(80, -1, np.int16), "")), np.bincount(user)
        assert (count >= 1).all()
        assert (count < pairs).all()
        answers = np.bincount(user, correct(o.margin))
        apart.append(spread_of_users(answers, pairs, seed, count).tau_p_value < 0.05)
        taken.append(spread_of_users(answers, pairs, seed).tau_p_value < 0.05)
    assert np.mean(taken) == 1.0
    assert np.mean(apart) <= 0.2


def test_pairs_that_share_nothing_all_count_and_those_of_one_prompt_by_their_likeness():
    rng = np.random.default_rng(1)
    user, visit = np.repeat(np.arange(100), 12).astype(np.int32), np.repeat(np.arange(400), 3)
    alone = Outcomes("m", "t", user, np.where(rng.random(1200) < 0.7, 1.0, -1.0))
    nobody = Groups((), np.full(100, -1, np.int16), "")
    assert independent_pairs(alone, nobody) == pytest.approx(np.full(100, 12))
    same = Outcomes("m", "t", user, np.where((rng.random(400) < 0.7)[visit], 1.0, -1.0), prompt=visit.astype(np.int32))
    assert independent_pairs(same, nobody) == pytest.approx(np.full(100, 4))  # three of a prompt are one


def test_slope_and_correlation_count_what_users_share():
    """A reward drawn at random once for all: over prompts nobody is served better, whatever his or her support."""
    rng = np.random.default_rng(2)
    clear, alone = np.zeros(2), np.zeros(2)
    for seed in range(60):
        support = rng.beta(4, 2.5, 150)
        user, prompt = np.repeat(np.arange(150), 15).astype(np.int32), rng.integers(0, 40, 2250).astype(np.int32)
        is_right = (rng.random(2250) < support[user]) == (rng.random(40) < 0.5)[prompt]
        o = Outcomes("m", "t", user, np.where(is_right, 1.0, -1.0), prompt=prompt)
        for counts, some in ((clear, o), (alone, replace(o, prompt=None))):
            sample = arrange(some, Groups((), np.full(150, -1, np.int16), ""))
            served = sample.user_means(correct(some.margin))
            curve = over(
                sample.batches, curve_of(sample, lambda batch: [right(batch)], support, served, served, "", resamples=100, seed=seed)
            )
            counts += [e.low > 0 or e.high < 0 for e in (curve.slope, curve.correlation)]
    assert (clear <= 7).all()  # 3 expected
    assert (alone >= 15).all()


def test_the_null_moves_groups_together_with_the_prompts():
    """The same reward, groups cut by support: they are equal over prompts, and permuting users alone says otherwise in many audits."""
    rng = np.random.default_rng(3)
    together = alone = 0
    for seed in range(60):
        support = rng.beta(4, 2.5, 150)
        groups = Groups(("a", "b", "c"), np.digitize(support, np.quantile(support, [1 / 3, 2 / 3])).astype(np.int16), "")
        user, prompt = np.repeat(np.arange(150), 15).astype(np.int32), rng.integers(0, 40, 2250).astype(np.int32)
        right = (rng.random(2250) < support[user]) == (rng.random(40) < 0.5)[prompt]
        o = Outcomes("m", "t", user, np.where(right, 1.0, -1.0), prompt=prompt)
        sample = arrange(o, groups)
        found = means(sample, [correct(o.margin)])
        accuracy = sample.user_means(correct(o.margin))
        together += against_null(accuracy, groups.of_user, found=found, cells=[0, 1, 2], permutations=200, seed=seed)[0].p_value < 0.05
        alone += against_null(accuracy, groups.of_user, permutations=200, seed=seed)[0].p_value < 0.05
    assert together <= 7  # 3 expected
    assert alone >= 15

"""Violations on held-out pairs: oracles for rates and errors, coverage of the bounds, verdicts, costs, and bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from evenhand.audits.changes import compare
from evenhand.audits.constraints import examine_constraints
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import ConstraintFindings, FittedConstraints, to_json
from evenhand.audits.intervals import simultaneous_alpha
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.rates import DECISIONS, Rates, cells, hard, rates, soft, violation
from evenhand.audits.shortfall import Parts, Question, needed
from evenhand.audits.violations import clustered, compared_rows, expected_by_noise, rate_contrast, violations
from evenhand.core import EvenhandError, Events, Groups

RULE = "y1 is the response that names the group"


def world(seed=0, q=(0.5, 0.6, 0.7), users=80, pairs=12, present=1.0, effect=0.2, margin=1.5):
    """Oriented margins whose hard rates are q on average; every user has his or her own share of events, and one effect in all of them."""
    rng = np.random.default_rng(seed)
    has = rng.random((users, len(q))) < present
    has[~has.any(axis=1), 0] = True
    own = rng.uniform(-effect, effect, users)
    user, event = (np.repeat(a, pairs) for a in np.nonzero(has))
    up = rng.random(len(user)) < np.array(q)[event] + own[user]
    return user.astype(np.int32), event.astype(np.int16), np.where(up, margin, -margin) * rng.uniform(0.5, 1.5, len(user))


def judged(user, event, towards, seed=0, right=0.75, model="after", names=("women", "lgbt", "none")):
    """(outcomes, events) of margins M = r(y1) - r(y2); the label agrees with the model in a share `right` of pairs."""
    rng = np.random.default_rng([seed, 5])
    first = (towards > 0) == (rng.random(len(user)) < right)
    return Outcomes(model, "test", user, np.where(first, towards, -towards)), Events(names, event, first, RULE)


def simple(seed=0, **options):
    user, event, towards = world(seed, **options)
    return judged(user, event, towards, seed)


# --- errors of rates ---


def test_users_in_every_event_are_paired_exactly():
    outcomes, events = simple()
    found = rates(outcomes.margin, outcomes.user, events, "dp", soft)
    joint = clustered([found])
    assert joint.by_user == pytest.approx(np.cov(found.by_user.T) / len(found.by_user))
    c = rate_contrast(joint, found, compared_rows(found, 0, 1))
    for i, (a, b) in enumerate(found.compared):
        oracle = stats.ttest_rel(found.by_user[:, a], found.by_user[:, b])
        assert c.p_values()[i] == pytest.approx(oracle.pvalue)
        assert (c.df[i], c.users[i]) == (79, 80)


def test_two_users_leave_one_degree_of_freedom():
    found = Rates(("a", "b"), ((0, 1),), np.array([[0.6, 0.2], [0.9, 0.4]]), np.array([5, 5]), np.arange(2))
    c = rate_contrast(clustered([found]), found, compared_rows(found, 0, 1))
    low, high = c.bounds()
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.95, 1, 0.45, stats.sem([0.4, 0.5])))


def test_users_in_one_event_each_give_welchs_interval():
    user, event, towards = world(users=90)
    rows = user % 3 == event
    outcomes, events = judged(user[rows], event[rows], towards[rows])
    found = rates(outcomes.margin, outcomes.user, events, "dp", hard)
    c = rate_contrast(clustered([found]), found, compared_rows(found, 0, 1))
    values = [found.by_user[:, e][~np.isnan(found.by_user[:, e])] for e in range(3)]
    for i, (a, b) in enumerate(found.compared):
        oracle = stats.ttest_ind(values[a], values[b], equal_var=False)
        assert (c.p_values()[i], c.df[i]) == pytest.approx((oracle.pvalue, oracle.df))


def test_covariance_of_partly_shared_users_is_that_of_repeated_worlds():
    draws, stated = [], np.zeros((3, 3))
    for seed in range(300):
        outcomes, events = simple(seed, q=(0.5, 0.5, 0.5), users=60, pairs=4, present=0.6, effect=0.4)
        found = rates(outcomes.margin, outcomes.user, events, "dp", hard)
        draws.append(found.value)
        stated += clustered([found]).by_user / 300
    assert np.sqrt(np.diag(stated)) == pytest.approx(np.std(draws, axis=0), rel=0.15)
    assert stated[0, 1] > 0.2 * stated[0, 0]
    assert stated[0, 1] == pytest.approx(np.cov(np.transpose(draws))[0, 1], abs=0.25 * stated[0, 0])


@pytest.mark.parametrize(("users", "present"), [(40, 1.0), (50, 0.6)])
def test_coverage_of_differences_and_of_the_violations_upper_bound(users, present):
    q = np.array((0.45, 0.5, 0.6, 0.62))
    truth = np.array([q[a] - q[b] for a, b in combinations(range(4), 2)])
    single, upper, lower, repeats = 0, 0, 0, 400
    for seed in range(repeats):
        user, event, towards = world(seed, q, users, 5, present)
        found = rates(towards, user, Events(tuple("abcd"), event, np.ones(len(user), bool), RULE), "dp", hard)
        c = rate_contrast(clustered([found]), found, compared_rows(found, 0, 1))
        low, high = c.bounds()
        single += ((low <= truth) & (truth <= high)).mean()
        half = stats.t.ppf(1 - simultaneous_alpha(c.correlation, 0, draws=2000) / 2, c.df) * c.se
        upper += (np.abs(c.value) + half).max() >= np.abs(truth).max()
        lower += (np.abs(c.value) - half).max() <= np.abs(truth).max()
    assert single / repeats >= 0.93
    assert upper / repeats >= 0.93
    assert lower / repeats >= 0.93


def test_equal_rates_hardly_ever_fail():
    failed, worst = 0, 0.0
    for seed in range(120):
        user, event, towards = world(seed, (0.5,) * 6, 45, 3, 0.8)
        found = rates(towards, user, Events(tuple("abcdef"), event, np.ones(len(user), bool), RULE), "dp", hard)
        (only,) = violations({"hard": [found]}, 0.05, 0, 1, np.random.default_rng(0))
        failed += only.verdict == "FAIL"
        worst = max(worst, only.size.after.value)
    assert worst > 0.15  # the raw violation is a noise machine
    assert failed <= 3


def test_noise_alone_shows_what_equal_rates_show():
    seen, expected = [], []
    for seed in range(150):
        user, event, towards = world(seed, (0.5,) * 5, 60, 3, 0.7)
        found = rates(towards, user, Events(tuple("abcde"), event, np.ones(len(user), bool), RULE), "dp", hard)
        seen.append(violation(found))
        if seed < 20:
            expected.append(expected_by_noise(rate_contrast(clustered([found]), found, compared_rows(found, 0, 1)), 0))
    assert np.mean(expected) == pytest.approx(np.mean(seen), rel=0.1)


# --- findings ---


def pair_of_models(seed=0, users=120, q=(0.35, 0.6, 0.7), closer=(0.55, 0.6, 0.62)):
    """(before, after, events): a second model with rates nearer to each other, on the same pairs."""
    user, event, towards = world(seed, q, users)
    _, _, other = world(seed, closer, users)
    before, events = judged(user, event, towards, model="before")
    return before, replace(before, model="after", margin=np.where(events.first, other, -other)), events


def test_values_are_the_rates_own_and_changes_hold_them():
    before, after, events = pair_of_models()
    found = examine_constraints(before, after, events, "dp", 0.05, seed=1, resamples=200)
    for v in found.violations:
        first, last = (rates(m.margin, m.user, events, "dp", DECISIONS[v.decision]) for m in (before, after))
        assert v.size.before.value == pytest.approx(violation(first))
        assert v.size.after.value == pytest.approx(violation(last))
        assert v.size.change.value == pytest.approx(violation(last) - violation(first))
        assert [r.rate.after.value for r in v.rates] == pytest.approx(last.value.tolist())
        assert [r.rate.after.n_pairs for r in v.rates] == last.pairs.tolist()
        assert v.size.after.low <= v.size.after.value <= v.size.after.high
        assert v.size.change.low <= v.size.change.value <= v.size.change.high < 0
        assert 0 < v.expected_after < 0.1
        assert v.size.before.group in ("women against none",)
        for r in v.rates:
            oracle = stats.ttest_1samp(last.by_user[:, events.names.index(r.event)], 0.5).confidence_interval()
            assert (r.rate.after.low, r.rate.after.high) == pytest.approx((oracle.low, oracle.high))
    assert json.loads(json.dumps(to_json(found), allow_nan=False))["violations"][0]["size"]["after"]["n_users"] == 120


def test_the_change_is_a_bootstrap_over_users():
    before, after, events = pair_of_models(users=60)
    found = examine_constraints(before, after, events, "dp", 0.05, seed=0, resamples=4000)
    a, b = (rates(m.margin, m.user, events, "dp", hard).by_user for m in (before, after))
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(3000):
        rows = rng.integers(0, 60, 60)
        draws.append(np.ptp(b[rows].mean(axis=0)) - np.ptp(a[rows].mean(axis=0)))
    change = found.violations[1].size.change
    assert (change.low, change.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.012)


def test_the_same_model_twice_changes_nothing():
    outcomes, events = simple()
    found = examine_constraints(outcomes, outcomes, events, "eo", 0.05, seed=0, resamples=200)
    assert all((v.size.change.value, v.size.change.low, v.size.change.high) == (0, 0, 0) for v in found.violations)
    assert np.isnan(found.levelled_down)


def test_costs_are_those_of_the_audit_of_groups():
    """Where each user's pairs lie in one event, events are groups of users, and the audits of groups are the oracle."""
    before, after, events = pair_of_models(users=180)
    rows = before.user % 3 == events.of_pair
    before, after, events = before.take(rows), after.take(rows), events.take(rows)
    groups = Groups(events.names, (np.arange(180) % 3).astype(np.int16), "events")
    found = examine_constraints(before, after, events, "dp", 0.05, seed=0, resamples=200)
    change = compare(before, after, groups)
    assert [c.group for c in found.costs] == [*events.names, "all pairs"]
    for cost, row in zip(found.costs[:-1], change.rows[1:], strict=True):
        for own, oracle in ((cost.accuracy.before, row.before), (cost.accuracy.after, row.after), (cost.accuracy.change, row.difference)):
            assert (own.value, own.low, own.high, own.n_users, own.n_pairs) == pytest.approx(
                (oracle.value, oracle.low, oracle.high, oracle.n_users, oracle.n_pairs)
            )
    for m, which in ((before, "before"), (after, "after")):
        for cost, group in zip(found.costs, examine_model(m, groups, resamples=200).groups):
            assert getattr(cost.ece, which).value == pytest.approx(group.ece.value)
            assert getattr(cost.log_loss, which).value == pytest.approx(group.log_loss.value)
            assert cost.ece.change.low <= cost.ece.change.value <= cost.ece.change.high
            assert cost.log_loss.change.metric == "change of log_loss"
    assert found.levelled_down == pytest.approx(change.levelled_down, nan_ok=True)


def test_prompts_that_repeat_widen_costs():
    before, after, events = pair_of_models()
    lone = examine_constraints(before, after, events, "dp", 0.05, seed=0, resamples=200)
    prompt = (np.arange(len(before)) % 7).astype(np.int32)
    wide = examine_constraints(replace(before, prompt=prompt), replace(after, prompt=prompt), events, "dp", 0.05, seed=0, resamples=200)
    own = [f.costs[-1].accuracy.after for f in (lone, wide)]
    assert own[1].high - own[1].low > own[0].high - own[0].low


def test_pairs_without_preference_or_group_are_left_out_of_rates():
    before, after, events = pair_of_models()
    clean = examine_constraints(before, after, events, "eo", 0.05, seed=0, resamples=200)
    rng = np.random.default_rng(0)
    tie = np.concatenate([np.zeros(len(after), bool), np.ones(300, bool)])
    more = rng.integers(0, len(after), 300)
    rows = np.concatenate([np.arange(len(after)), more])
    noisy = [replace(m.take(rows), tie=tie) for m in (before, after)]
    assert to_json(examine_constraints(*noisy, events.take(rows), "eo", 0.05, seed=0, resamples=200)) == to_json(clean)
    outside = replace(events, of_pair=np.where(np.arange(len(after)) % 2, -1, events.of_pair))
    part = examine_constraints(before, after, outside, "dp", 0.05, seed=0, resamples=200)
    assert [c.group for c in part.costs[-2:]] == ["all compared pairs", "all pairs"]
    assert part.costs[-2].accuracy.after.n_pairs == (outside.of_pair >= 0).sum()
    assert part.violations[0].size.after.n_pairs == (outside.of_pair >= 0).sum()


def test_equalized_odds_compares_within_a_label():
    before, after, events = pair_of_models()
    found = examine_constraints(before, after, events, "eo", 0.05, seed=0, resamples=200)
    assert len(found.violations[0].rates) == 6
    for v in found.violations:
        first, second = v.size.after.group.split(" against ")
        assert first[-1] == second[-1]
    names, compared = cells("eo", ("a", "b", "c"))
    assert [f"{names[i]} against {names[j]}" for i, j in compared] == [
        f"{one}, label {label} against {other}, label {label}" for label in (0, 1) for one, other in (("a", "b"), ("a", "c"), ("b", "c"))
    ]


def test_counterfactual_gaps():
    rng = np.random.default_rng(0)
    sets, users = 400, 50
    user = np.repeat(np.arange(sets) % users, 2).astype(np.int32)
    towards = rng.normal(0, 1, 2 * sets)
    events = Events(("a", "b"), np.tile([0, 1], sets).astype(np.int16), np.ones(2 * sets, bool), RULE, np.repeat(np.arange(sets), 2))
    same = np.repeat(towards[::2], 2)
    found = examine_constraints(
        Outcomes("x", "t", user, towards), Outcomes("y", "t", user, same), events, "cf", 0.05, seed=0, resamples=200
    )
    soft_, hard_ = found.violations
    assert soft_.size.before.value == pytest.approx(np.abs(np.diff(soft(towards).reshape(-1, 2), axis=1)).mean())
    assert soft_.size.after.value == 0
    assert soft_.size.after.high > 0.05  # 50 users who all agree are no proof
    assert hard_.size.change.high < 0
    assert np.isnan(soft_.expected_after)
    assert [r.event for r in soft_.rates] == ["matched sets"]


# --- verdicts ---


def verdict(q, users, gamma, **options) -> ConstraintFindings:
    outcomes, events = simple(0, q=q, users=users, effect=0.05, **options)
    return examine_constraints(None, outcomes, events, "dp", gamma, seed=0, resamples=200)


def test_pass_fail_and_undecided():
    passed, failed, open_ = (
        verdict((0.5, 0.5, 0.5), 400, 0.2, pairs=20),
        verdict((0.2, 0.5, 0.8), 60, 0.05),
        verdict((0.5, 0.5, 0.5), 31, 0.05),
    )
    assert [f.verdict for f in (passed, failed, open_)] == ["PASS", "FAIL", "INSUFFICIENT"]
    assert all(v.size.after.high <= 0.2 for v in passed.violations)
    assert all(v.size.after.low > 0.05 for v in failed.violations)
    assert "both sides of 5.0" in open_.deciding.reason
    assert failed.requirement.verdict == "FAIL"
    assert failed.requirement.estimate.group == "women against none"
    assert failed.sentence.endswith("at most 5.0 allowed: FAIL.")
    assert passed.violations[0].size.before is None
    assert passed.levelling == ""
    for cost in passed.costs:  # of one model
        assert (cost.ece.before, cost.ece.change, cost.accuracy.change) == (None, None, None)
        assert cost.ece.after.n_pairs == cost.accuracy.after.n_pairs
        assert 0 < cost.ece.after.low < cost.ece.after.value < cost.ece.after.high < 1


def test_users_asked_for_are_those_whose_gap_in_either_direction_tells():
    """Of two events that all users are in, the interval says all that the number follows from."""
    outcomes, events = judged(*world(0, q=(0.5, 0.5), users=31, effect=0.05), names=("women", "men"))
    of_users = rates(outcomes.margin, outcomes.user, events, "dp", soft)
    (found,) = violations({"soft": [of_users]}, 0.05, 0, 200, np.random.default_rng(0))
    size = found.size.after
    half = size.high - size.value
    parts = Parts((half / stats.t.ppf(0.975, 30)) ** 2, 0.0)
    told = [needed(Question(size.value, 0.05, parts, 0.05, 30.0, two_sided=two), 31, 0, "prompt") for two in (True, False)]
    assert told[0] != told[1]
    assert found.reason.endswith(f": {told[0]}.")


def test_events_of_too_few_users_are_named():
    user, event, towards = world(users=100)
    rows = (event != 1) | (user < 29)
    found = examine_constraints(None, *judged(user[rows], event[rows], towards[rows]), "dp", 0.05, seed=0, resamples=200)
    assert found.verdict == "INSUFFICIENT"
    assert found.deciding.reason == "Too little data: lgbt: 29 users, 30 needed."
    nobody = examine_constraints(None, *judged(user, np.zeros_like(event), towards), "dp", 0.05, seed=0, resamples=200)
    assert "lgbt: 0 users" in nobody.deciding.reason
    assert np.isnan(nobody.deciding.size.after.value)
    assert nobody.verdict == "INSUFFICIENT"
    alone = examine_constraints(None, *judged(np.zeros_like(user), event, towards), "dp", 0.05, seed=0, resamples=200)
    assert (alone.deciding.size.after.low, alone.deciding.size.after.high) == (0, 1)  # one user says nothing about others


def test_levelling_down_is_told():
    user, event, towards = world(users=200, q=(0.5, 0.5, 0.5))
    before, events = judged(user, event, towards, right=0.95, model="before")
    rng = np.random.default_rng(0)
    worse = (event == 0) & (rng.random(len(user)) < 0.5)  # group 0 starts best, since the others are spoiled in both models
    spoiled = (event > 0) & (rng.random(len(user)) < 0.4)
    before = replace(before, margin=np.where(spoiled, -before.margin, before.margin))
    after = replace(before, model="after", margin=np.where(worse, -before.margin, before.margin))
    found = examine_constraints(before, after, events, "dp", 0.05, seed=0, resamples=200)
    assert found.levelled_down == 1
    assert "100 % of it came from lowering the best-served, women; clearly less accurate: women" in found.levelling


@pytest.mark.parametrize(
    ("feasible", "best", "said"),
    [
        (
            True,
            2,
            "ended within 5.0 points on training pairs, which decide: the epoch kept, 2 of 3, has a violation of 3.2 points on training pairs and 4.1 points on validation pairs.",
        ),
        (False, 1, "was infeasible: no epoch came within 5.0 points on training pairs"),
        (False, 0, "kept none of its 3 epochs"),
        (True, 3, "3 of 3, has a violation of 2.0 points on training pairs."),
    ],
)
def test_training_is_told_in_a_sentence(feasible, best, said):
    outcomes, events = simple()
    fitted = FittedConstraints(
        ("women",), (0.2, 0.041, float("nan")), (0.2, 0.032, 0.02), ((0.0,), (0.1,), (0.2,)), best, feasible, 0.05, "hard", "additive"
    )
    found = examine_constraints(None, outcomes, events, "dp", 0.05, seed=0, resamples=200, fitted=fitted)
    assert said in found.training


# --- bad input ---


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"notion": "fair"}, "notion 'fair' is not known"),
        ({"gamma": 0.0}, "gamma is 0"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"resamples": 0}, "0 resamples"),
        ({"notion": "cf"}, "no two pairs are matched"),
        ({"events": "short"}, "one a pair, in the same order"),
        ({"events": "none"}, "no pair is in a group"),
        ({"before": "other"}, "'user' columns differ"),
    ],
)
def test_bad_input_is_refused(changed, message):
    outcomes, events = simple()
    others = {
        "short": events.take(np.arange(5)),
        "none": replace(events, of_pair=np.full(len(outcomes), -1, np.int16)),
        "other": replace(outcomes, user=outcomes.user[::-1]),
    }
    call = {"before": None, "events": events, "notion": "dp", "gamma": 0.05, "resamples": 200}
    call |= {k: others.get(v, v) for k, v in changed.items()}
    with pytest.raises(EvenhandError, match=message):
        examine_constraints(call["before"], outcomes, call["events"], call["notion"], call["gamma"], seed=0, resamples=call["resamples"])


def test_an_event_that_a_resample_loses_is_not_compared():
    by_user = np.full((60, 3), np.nan)
    by_user[:, 0], by_user[:, 1], by_user[0, 2] = 0.4, 0.6, 0.9
    found = Rates(("a", "b", "c"), ((0, 1), (0, 2), (1, 2)), by_user, np.array([60, 60, 1]), np.arange(60))
    (only,) = violations({"hard": [found, found]}, 0.05, 0, 500, np.random.default_rng(0))
    assert (only.size.change.low, only.size.change.high) == (0, 0)
    assert "c: 1 users, 30 needed" in only.reason

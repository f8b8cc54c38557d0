"""Bounds hold as often as they say, certificates follow from them, and both agree with closed forms and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evenhand.audits.bounds import BOUNDS, GRID, LARGEST_BET, betting, empirical_bernstein, hoeffding, users_needed
from evenhand.audits.certificate import FEWEST, TooFewUsers, certify, claim, needed
from evenhand.audits.rates import Rates, rates, soft
from evenhand.core import EvenhandError, Events


def population(events: int, users: int, rng: np.random.Generator, spread: float = 1.0) -> Rates:
    """Users with rates of their own, in several events at once, with 1 to 8 pairs each: what `rates` makes of them."""
    member = rng.random((users, events)) < 0.7
    member[~member.any(axis=1), 0] = True
    own = rng.normal(0, spread, (users, 1)) + rng.normal(0, 0.5, (users, events)) + centres(events)
    pairs = rng.integers(1, 9, (users, events))
    total = np.zeros((users, events))
    for k in range(8):
        total += np.where(k < pairs, soft(own + rng.normal(0, 1, own.shape)), 0)
    by_user = np.where(member, total / pairs, np.nan)
    compared = tuple((a, b) for a in range(events) for b in range(a + 1, events))
    return Rates(tuple(f"event {e}" for e in range(events)), compared, by_user, np.where(member, pairs, 0).sum(axis=0), np.arange(users))


def centres(events: int) -> np.ndarray:
    return np.linspace(-1.5, -0.8, events)


def truth(events: int, spread: float = 1.0) -> np.ndarray:
    """q(e) of that population by Gauss-Hermite quadrature: all three normals add up to one."""
    x, w = np.polynomial.hermite_e.hermegauss(80)
    return np.array([(soft(c + math.sqrt(spread**2 + 0.25 + 1) * x) * w).sum() / w.sum() for c in centres(events)])


def test_hoeffding_and_bernstein_are_their_formulas() -> None:
    values = np.array([0.2, 0.4, 0.9, 0.5] * 25)
    radius = math.sqrt(math.log(2 / 0.1) / 200)
    assert hoeffding(values, 0.1) == pytest.approx((0.5 - radius, 0.5 + radius))
    variance = 25 * (0.09 + 0.01 + 0.16 + 0) / 99
    radius = math.sqrt(2 * variance * math.log(40) / 100) + 7 * math.log(40) / (3 * 99)
    assert empirical_bernstein(values, 0.1) == pytest.approx((0.5 - radius, 0.5 + radius))
    assert hoeffding(np.zeros(5), 0.05)[0] == 0.0
    assert empirical_bernstein(np.array([0.5]), 0.05) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_betting_agrees_with_capital_counted_bet_by_bet(seed: int) -> None:
    """Brute force: for every m on a coarse grid, one gambler a side, bet by bet; what neither ever rejects is the interval."""
    values = np.random.default_rng(seed).beta(2 + seed, 3, 40)
    alpha, order = 0.1, np.random.default_rng([seed, 40]).permutation(values)
    kept = [m for m in np.arange(1, 400) / 400 if not ruined(order, m, alpha) and not ruined(1 - order, 1 - m, alpha)]
    low, high = betting(values, alpha, seed)
    assert kept[0] - 1 / 400 <= low <= kept[0]
    assert kept[-1] <= high <= kept[-1] + 1 / 400
    assert low * GRID == pytest.approx(round(low * GRID), abs=1e-6)


def ruined(order: np.ndarray, m: float, alpha: float) -> bool:
    """Whether betting on a mean above m ever reached 2 / alpha."""
    capital, sums, squares = 1.0, 0.5, 0.25
    for t, x in enumerate(order):
        bet = math.sqrt(2 * math.log(2 / alpha) / (len(order) * squares / (t + 1)))
        capital *= 1 + min(bet, LARGEST_BET / m) * (x - m)
        sums += x
        squares += (x - sums / (t + 2)) ** 2
        if capital >= 2 / alpha:
            return True
    return False


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_bounds_cover_skewed_means_as_often_as_they_say(bound: str, alpha: float) -> None:
    """Mostly zeros, now and then a one: where intervals by a normal approximation fail."""
    rng = np.random.default_rng(5)
    missed = normal = 0
    for _ in range(500):
        values = (rng.random(40) < 0.04).astype(float)
        low, high = BOUNDS[bound](values, alpha)
        missed += not low <= 0.04 <= high
        half = stats.t.ppf(1 - alpha / 2, 39) * values.std(ddof=1) / math.sqrt(40)
        normal += abs(values.mean() - 0.04) > half
    assert missed <= alpha * 500 + 2.6 * math.sqrt(500 * alpha * (1 - alpha))
    assert normal > 0.15 * 500  # the test would notice an interval that is too short


def test_betting_is_the_tightest_and_falls_to_the_normal_width() -> None:
    rng = np.random.default_rng(0)
    for n in (50, 500, 5000):
        values = rng.beta(6, 6, n)
        width = {name: float(np.diff(bound(values, 0.01))[0]) for name, bound in BOUNDS.items()}
        assert width["betting"] < 0.7 * min(width["hoeffding"], width["empirical_bernstein"])
    assert width["betting"] < 1.35 * 2 * stats.norm.ppf(0.995) * values.std() / math.sqrt(5000)


def test_betting_depends_on_its_seed_alone_and_mirrors() -> None:
    values = np.random.default_rng(1).random(300)
    assert betting(values, 0.05, 3) == betting(values, 0.05, 3) != betting(values, 0.05, 4)
    low, high = betting(values, 0.05, 3)
    assert betting(1 - values, 0.05, 3) == pytest.approx((1 - high, 1 - low), abs=2.5e-6)


@pytest.mark.parametrize("values", [np.zeros(0), np.array([0.5, 1.2]), np.array([np.nan, 0.5])])
def test_bounds_refuse_what_they_do_not_hold_for(values: np.ndarray) -> None:
    for bound in BOUNDS.values():
        with pytest.raises(ValueError):
            bound(values, 0.05)


@pytest.mark.parametrize("bound", BOUNDS)
def test_certificates_cover_clustered_users(bound: str) -> None:
    """With probability 1 - delta all rates lie in their intervals and the true gap under D_upper; users are in several events."""
    rng, q, delta = np.random.default_rng(11), truth(3), 0.2
    gap, outside, above = float(np.ptp(q)), 0, 0
    for _ in range(300):
        made = certify(population(3, 60, rng), "dp", 0.5, delta, bound)
        outside += any(not e.low <= x <= e.high for e, x in zip(made.events, q))
        above += gap > made.d_upper
    assert outside <= delta * 300 + 2.6 * math.sqrt(300 * delta * (1 - delta))
    assert above <= outside


def test_rates_of_the_simulation_are_those_of_single_pairs() -> None:
    """The population above, pair by pair through `rates`: means of users, not of pairs."""
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(30), rng.integers(1, 9, 30)).astype(np.int32)
    margin, first = rng.normal(0, 1, len(user)), rng.random(len(user)) < 0.5
    events = Events(("a", "b"), (user % 2).astype(np.int16), first, "")
    made = certify(rates(margin, user, events, "dp", soft), "dp", 1.0, 0.05)
    p = soft(np.where(first, margin, -margin))
    for e in range(2):
        assert made.events[e].q == pytest.approx(np.mean([p[user == u].mean() for u in range(e, 30, 2)]), abs=5.1e-5)
        assert made.events[e].n_users == 15
        assert made.events[e].n_pairs == int((user % 2 == e).sum())
    assert made.certified  # a gap is never above 1


def test_hoeffding_certificate_is_the_formula_of_the_reference() -> None:
    found = population(4, 150, np.random.default_rng(3))
    made = certify(found, "dp", 0.05, 0.1, "hoeffding")
    radius = np.sqrt(np.log(2 * 4 / 0.1) / (2 * found.users))
    ends = [abs(found.value[a] - found.value[b]) + radius[a] + radius[b] for a, b in found.compared]
    clipped = found.value - radius < 0
    assert not clipped.any()
    assert made.d_upper == pytest.approx(max(ends), abs=2.1e-4)
    assert made.d_upper >= max(ends) - 1e-12
    assert made.radius == pytest.approx(made.d_upper - made.d_hat)
    assert made.d_hat == pytest.approx(np.ptp(found.value), abs=5.1e-5)
    assert made.seed is None


def test_counterfactual_certificate_is_the_upper_end_of_its_gap() -> None:
    values = np.random.default_rng(4).beta(1, 30, 400)
    found = Rates(("matched sets",), (), values[:, None], np.array([900]), np.arange(400))
    made = certify(found, "cf", 0.08, 0.05)
    assert made.d_upper == made.events[0].high
    assert made.certified
    assert not certify(found, "cf", made.events[0].q, 0.05).certified
    tight = certify(found, "cf", made.d_upper - 0.001, 0.05)
    assert not tight.certified
    assert 400 < needed(found, tight)[0] < 600  # type: ignore[operator]


def test_the_claim_counts_what_it_is_of() -> None:
    said = claim(certify(population(3, 60, np.random.default_rng(0)), "dp", 0.9, 0.05, "hoeffding"), "soft", False)
    assert "the largest gap of 3 comparisons is at most" in said
    assert said.endswith("on the users' means in 3 events.")
    twins = Rates(("matched sets",), (), np.full((50, 1), 0.1), np.array([90]), np.arange(50))
    said = claim(certify(twins, "cf", 0.9, 0.05, "hoeffding"), "soft", False)
    assert "the mean gap inside matched sets is at most" in said
    assert said.endswith("in 1 event.")


def test_a_hundred_users_an_event_cannot_certify_five_points_by_hoeffding() -> None:
    """Even where all users agree: the radius alone is .16 an event. Betting can, as their values do not vary."""
    found = Rates(tuple("abcd"), tuple((a, b) for a in range(4) for b in range(a)), np.full((100, 4), 0.5), np.full(4, 100), np.arange(100))
    made = certify(found, "dp", 0.05, 0.05, "hoeffding")
    assert not made.certified
    assert made.d_hat == 0.0
    assert made.radius / 2 == pytest.approx(0.16, abs=0.005)
    assert needed(found, made) == (math.ceil(2 * math.log(2 * 4 / 0.05) / 0.05**2),) * 4
    assert certify(found, "dp", 0.12, 0.05).certified


@pytest.mark.parametrize("bound", BOUNDS)
def test_users_needed_are_enough_and_not_far_too_many(bound: str) -> None:
    rng = np.random.default_rng(6)
    seen = [rng.beta(6, 6, 200), rng.beta(6, 6, 120)]
    a, b = users_needed(0.1, seen, ((0, 1),), 0.05, bound)
    assert a == b is not None
    assert users_needed(0.1, seen[:1], ((0, 0),), 0.05, "hoeffding")[0] is not None

    def gap(n: int) -> float:
        """Of the same values, n of each."""
        ends = [BOUNDS[bound](np.sort(v)[np.arange(n) * len(v) // n], 0.025) for v in seen]
        return max(ends[0][1] - ends[1][0], ends[1][1] - ends[0][0])

    assert gap(int(1.1 * a)) <= 0.1 < gap(int(0.85 * a))


def test_no_number_of_users_helps_against_a_gap_that_is_there() -> None:
    seen = [np.full(50, 0.2), np.full(50, 0.4), np.full(50, 0.22)]
    assert users_needed(0.1, seen, ((0, 1), (0, 2), (1, 2)), 0.05, "betting") == (None, None, None)
    assert users_needed(0.1, [seen[0], seen[2]], ((0, 1),), 0.05, "betting")[0] is not None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gamma": 0.0}, "gamma"), ({"gamma": 1.5}, "gamma"), ({"gamma": float("nan")}, "gamma"), ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"), ({"bound": "normal"}, "betting, empirical_bernstein, hoeffding"), ({"notion": "pd"}, "dp, eo, cf"),
    ],
)  # fmt: skip
def test_requests_that_mean_nothing_are_refused(wrong: dict[str, object], said: str) -> None:
    found = population(2, 40, np.random.default_rng(0))
    with pytest.raises(EvenhandError, match=said):
        certify(found, **{"notion": "dp", "gamma": 0.1, "delta": 0.05, **wrong})  # type: ignore[arg-type]


def test_events_without_enough_users_are_named_and_their_counts_are_not() -> None:
    found = population(3, 60, np.random.default_rng(0))
    found.by_user[:, 1] = np.nan
    found.by_user[FEWEST - 1 :, 2] = np.nan
    with pytest.raises(TooFewUsers, match=r"no user in: event 1; fewer than 10 users in: event 2\."):
        certify(found, "dp", 0.1, 0.05)
    alone = Rates(("all",), (), found.by_user[:, :1], found.pairs[:1], found.user)
    with pytest.raises(EvenhandError, match="1 group in the events"):
        certify(alone, "dp", 0.1, 0.05)

"""Faro: closed forms of constrained problems, primal and dual; anchoring; batches that hold every event; which epoch is kept; baselines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls
from scipy.special import expit
from torch import Tensor
from worlds import one_hot, two_tastes, with_events

from evenhand.audits import rates as held_out
from evenhand.core import EvenhandError, Events, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import LONGER, Faro
from evenhand.methods.pafo import Pafo
from evenhand.methods.penalty import Penalty
from evenhand.models.linear import Linear
from evenhand.models.low_rank import LowRank
from evenhand.serve.head_record import heads
from evenhand.training import offsets
from evenhand.training.constraints import Layout, Meter, cf, check, dealt, dp, eo, groups_of, hard, soft
from evenhand.training.episodes import draw_sides, episodes, incidence, stratified
from evenhand.training.loop import train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import fit_all
from evenhand.training.traces import Fitted

QUICK = Schedule(lr=1e-2, weight_decay=0.05, dropout=0.1, max_epochs=4)
BASE = BradleyTerry(LowRank(3), QUICK)
FULL = Schedule(lr=0.05, weight_decay=0.0, dropout=0.0, batch_users=10_000, max_epochs=80, patience=8, context=(0.0, 0.0))
GAME = Faro(
    BradleyTerry(Linear(), FULL), memory=0.0, game_lr=0.02, game_patience=10_000, step=0.03, bound=5.0
)  # noiseless; 400 epochs, of which it needs 150 to 300 to settle
NOTIONS = [dp, eo, cf]


def weights(fitted: Fitted) -> Tensor:
    return torch.cat([p.detach().flatten() for p in fitted.scorer.parameters()])


@pytest.fixture(scope="module")
def world() -> tuple[Pairs, Pairs, Pairs]:
    """Events that everybody's taste tells apart: unconstrained rates are some 0.3 apart."""
    train, valid, test = (with_events(p, 1) for p in two_tastes(n_users=40, pairs=8, held_out=4))
    return train, valid, test


# ---- optima that are known


def oracle(train: Pairs, layout: Layout, matrix: Tensor, slack: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(theta, lambda) of min mean loss subject to A q <= slack for M = theta_f, by SLSQP; lambda from stationarity over the active rows."""
    assert train.events is not None
    sign = np.where(train.events.first, 1.0, -1.0)
    feature = torch.minimum(train.chosen, train.rejected).numpy()
    dim = train.items.shape[1]
    cell, share = layout.cell(train.events).numpy(), np.zeros((layout.cells, dim))
    np.add.at(share, (cell, feature), 1.0)
    share /= share.sum(axis=1, keepdims=True)  # one pair a user: a cell's rate is the mean over its pairs
    a, bound = matrix.double().numpy() @ share, slack.double().numpy()

    def loss(theta: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign * theta[feature]).mean())

    def gradient(theta: np.ndarray) -> np.ndarray:
        return np.bincount(feature, -sign * expit(-sign * theta[feature]), minlength=dim) / len(sign)

    def slope(theta: np.ndarray) -> np.ndarray:
        return a * (expit(theta) * expit(-theta))

    inside = {"type": "ineq", "fun": lambda t: bound - a @ expit(t), "jac": lambda t: -slope(t)}
    found = minimize(loss, np.zeros(dim), jac=gradient, constraints=[inside], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500})
    assert found.success
    active = np.flatnonzero(bound - a @ expit(found.x) < 1e-7)
    value, rest = nnls(slope(found.x)[active].T, -gradient(found.x))
    assert rest < 1e-7
    return found.x, np.bincount(active, value, minlength=len(a))


def rate(fitted: Fitted) -> np.ndarray:
    return expit(fitted.scorer.b.detach().double().numpy())


def multipliers(fitted: Fitted) -> list[float]:
    assert fitted.constrained is not None
    return fitted.constrained.multipliers[-1]


@pytest.fixture(scope="module")
def two_equal_groups() -> tuple[Pairs, list[Fitted]]:
    train = one_hot((0, 0, 6, 14), (1, 1, 14, 6))
    return train, fit_all([replace(GAME, gamma=g) for g in (0.05, 0.1, 0.2, 0.3, 0.6)], train, train, 0)


def test_two_equal_groups_reach_the_closed_form_in_rates_and_multiplier(two_equal_groups: tuple[Pairs, list[Fitted]]) -> None:
    """Labels (1 -/+ d) / 2, both groups half of the pairs: p = (1 -/+ gamma) / 2.

    0 = dL/dtheta_1 + lambda dD/dtheta_1 = (p_1 - a_1) / 2 + lambda p_1 (1 - p_1)  gives  lambda = (d - gamma) / (1 - gamma^2).
    Where gamma is not below d the constraint costs nothing, and the multiplier is 0.
    """
    d = 0.4
    for fitted in two_equal_groups[1]:
        assert fitted.constrained is not None
        gamma = fitted.constrained.gamma
        binding = min(gamma, d)
        np.testing.assert_allclose(rate(fitted), [(1 - binding) / 2, (1 + binding) / 2], atol=1e-3)
        np.testing.assert_allclose(multipliers(fitted), [max((d - gamma) / (1 - gamma**2), 0), 0], atol=1e-3)


def test_swap_regret_multipliers_reach_the_same_optimum() -> None:
    train = one_hot((0, 0, 6, 14), (1, 1, 14, 6))
    fitted = replace(GAME, swap=True, gamma=0.1, step=0.002).fit(train, train, 0)
    np.testing.assert_allclose(rate(fitted), [0.45, 0.55], atol=1e-3)
    np.testing.assert_allclose(multipliers(fitted), [0.3 / 0.99, 0], atol=1e-3)


UNEQUAL = [(0, 0, 9, 21), (1, 1, 72, 18)]
MIDDLE = [(0, 0, 6, 14), (1, 1, 20, 20), (2, 2, 16, 4)]  # the largest group is the middle one: anchoring costs nothing
EDGE = [(0, 0, 6, 14), (1, 1, 10, 10), (2, 2, 32, 8)]
CELLS = [(0, 0, 15, 25), (0, 1, 25, 15), (1, 0, 20, 20), (1, 2, 40, 10), (1, 1, 10, 20)]  # features that both events share: EO binds
PROBLEMS = {
    "dp, unequal": (UNEQUAL, dp, True, 0.1, 0.03),
    "dp, three anchored": (MIDDLE, dp, True, 0.2, 0.03),
    "dp, three in all pairs": (EDGE, dp, False, 0.1, 0.03),
    "eo": (CELLS, eo, True, 0.05, 0.05),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_rates_and_multipliers_are_those_of_a_solver(problem: Any) -> None:
    rows, notion, anchored, gamma, step = problem
    train = one_hot(*rows)
    layout = notion(groups_of(train))
    matrix, unit = layout.anchored(1) if anchored else layout.all_pairs()
    theta, value = oracle(train, layout, matrix, gamma * unit)
    fitted = replace(GAME, notion=notion, anchored=anchored, gamma=gamma, step=step).fit(train, train, 0)
    assert fitted.constrained is not None
    assert torch.equal(fitted.constrained.matrix, matrix)
    assert value.max() > 0.02  # the constraint binds
    np.testing.assert_allclose(rate(fitted), expit(theta), atol=1e-3)
    np.testing.assert_allclose(multipliers(fitted), value, atol=1e-3)


def test_an_anchor_at_the_edge_is_stricter_and_the_epoch_kept_is_one_within_gamma() -> None:
    """The game ends at the anchored optimum, half as far apart as gamma allows; on the way are better models that satisfy what was asked."""
    train, layout = one_hot(*EDGE), dp(3)
    optima = {}
    for name, (matrix, unit) in {"anchored": layout.anchored(2), "all": layout.all_pairs()}.items():
        theta, value = oracle(train, layout, matrix, 0.1 * unit)
        optima[name] = (float(mean_over_users(bt(scores(theta, train)), train)), value)
    fitted = replace(GAME, gamma=0.1).fit(train, train, 0)
    assert fitted.constrained is not None
    np.testing.assert_allclose(multipliers(fitted), optima["anchored"][1], atol=1e-3)
    assert fitted.constrained.train[-1] == pytest.approx(0.05, abs=1e-3)
    assert fitted.constrained.feasible(fitted.trace.best_epoch)
    kept = fitted.trace.valid_loss[fitted.trace.best_epoch - 1]
    assert optima["all"][0] - 1e-6 < kept < optima["anchored"][0] - 1e-3


def scores(theta: np.ndarray, pairs: Pairs) -> Tensor:
    return (pairs.items[pairs.chosen] - pairs.items[pairs.rejected]) @ torch.from_numpy(theta).float()


def test_matched_sets_reach_their_closed_form() -> None:
    """Every set holds e_0 and e_1 against 0: its gap is |p_1 - p_0|, and the optimum is that of two equal groups. One inequality."""
    train = one_hot((0, 0, 6, 14), (1, 1, 14, 6), sets=True)
    fitted = replace(GAME, notion=cf, gamma=0.1).fit(train, train, 0)
    np.testing.assert_allclose(rate(fitted), [0.45, 0.55], atol=1e-3)
    np.testing.assert_allclose(multipliers(fitted), [0.3 / 0.99], atol=1e-3)


# ---- degenerate cases


@pytest.mark.parametrize("distilled", [False, True])
def test_gamma_one_is_the_unconstrained_model_bit_for_bit(distilled: bool, world: Any) -> None:
    train, valid, _ = world
    loose = Faro(BASE, gamma=1.0, distilled=distilled)
    plain = weights((Pafo(BASE) if distilled else BASE).fit(train, valid, 3))
    assert torch.equal(weights(loose.fit(train, valid, 3)), plain)
    tight = replace(loose, gamma=0.05)
    among = fit_all([tight, loose, replace(loose, gamma=0.2)], train, valid, 3)
    assert torch.equal(weights(among[1]), plain)
    assert not torch.equal(weights(among[0]), plain)
    assert torch.equal(weights(among[0].parts["pooled"]), plain)  # what the others started from


def test_several_gammas_in_one_training_are_what_each_is_alone(world: Any) -> None:
    train, valid, test = world
    base = replace(BASE, schedule=replace(QUICK, max_epochs=2))
    for kind in (Faro(base, step=0.3), Faro(base, notion=eo, swap=True, step=0.01), Faro(base, distilled=True, step=0.3, anchored=False)):
        methods = [replace(kind, gamma=0.02), replace(kind, gamma=0.3), replace(kind, gamma=0.1, bound=0.2, step=0.1)]
        for method, found in zip(methods, fit_all(methods, train, valid, 0), strict=True):
            alone = method.fit(train, valid, 0)
            assert found.constrained is not None
            assert alone.constrained is not None
            assert found.trace.best_epoch == alone.trace.best_epoch
            np.testing.assert_allclose(margins(found.scorer, test), margins(alone.scorer, test), atol=1e-5)
            np.testing.assert_allclose(found.constrained.train, alone.constrained.train, atol=1e-5)
            np.testing.assert_allclose(found.constrained.multipliers, alone.constrained.multipliers, atol=1e-5)


def test_the_violation_falls_with_gamma(two_equal_groups: tuple[Pairs, list[Fitted]]) -> None:
    found = [f.constrained.train[f.trace.best_epoch - 1] for f in two_equal_groups[1] if f.constrained is not None]
    assert found == sorted(found)
    assert found[0] < 0.051
    assert found[-1] > 0.39


# ---- which epoch is kept


def test_what_cannot_be_met_is_reported_and_the_least_violation_returned() -> None:
    """One feature that is +1 in event 0 and -1 in event 1: hard rates are 1 and 0 for every weight but 0."""
    half = one_hot((0, 0, 24, 6), (1, 0, 6, 24))
    turned = half.events.of_pair == 1  # type: ignore[union-attr]
    items = torch.tensor([[1.0], [0.0], [-1.0]])
    chosen, rejected = (torch.where(turned & (side == 0), 2, side) for side in (half.chosen, half.rejected))
    train = replace(half, history=replace(half.history, items=items), chosen=chosen, rejected=rejected)
    schedule = replace(FULL, max_epochs=12)
    fitted = replace(GAME, base=BradleyTerry(Linear(), schedule), dual=hard, gamma=0.3, step=0.1).fit(train, train, 0)
    log, trace = fitted.constrained, fitted.trace
    assert log is not None
    np.testing.assert_allclose(log.train, 1.0, atol=1e-6)
    assert not any(log.feasible(epoch) for epoch in range(len(log.train) + 1))
    assert trace.best_epoch == int(np.argmin(trace.valid_loss)) + 1 < len(log.train)
    assert fitted.scorer.b.abs() > 0.1


@pytest.mark.parametrize(("gamma", "bound"), [(0.15, 5.0), (0.02, 0.1)], ids=["feasible", "infeasible"])
@pytest.mark.parametrize("notion", [dp, eo])
def test_the_kept_epoch_has_the_lowest_validation_loss_within_gamma_or_else_the_least_violation(
    notion: Any, gamma: float, bound: float, world: Any
) -> None:
    train, valid, _ = world
    base = replace(BASE, schedule=replace(QUICK, max_epochs=8, dropout=0.0))
    fitted = Faro(base, notion=notion, gamma=gamma, step=0.2, bound=bound, game_lr=0.02).fit(train, valid, 0)
    log, trace, layout = fitted.constrained, fitted.trace, notion(2)
    assert log is not None
    beyond = np.maximum(np.array(log.train) - gamma, 0)
    np.testing.assert_allclose(trace.excess, beyond, atol=1e-6)
    assert trace.best_epoch == min(range(len(beyond)), key=lambda e: (trace.excess[e], trace.valid_loss[e])) + 1
    assert log.feasible(trace.best_epoch) == (gamma == 0.15)
    assert trace.best_epoch != len(beyond)
    # the model that comes back is the one that the log speaks of
    watched = dealt(train, 0)
    assert float(layout.violation(Meter(watched, layout)(margins(fitted.scorer, watched), soft))) == pytest.approx(
        log.train[trace.best_epoch - 1], abs=1e-6
    )
    assert float(mean_over_users(bt(margins(fitted.scorer, valid)), valid)) == pytest.approx(min_of(trace), rel=1e-6)


def min_of(trace: Any) -> float:
    return float(trace.valid_loss[trace.best_epoch - 1])


# ---- anchoring and violations

RATES = st.lists(st.floats(0, 1), min_size=2, max_size=10)


@settings(max_examples=200, deadline=None)
@given(RATES, RATES, st.data())
def test_anchored_constraints_keep_every_pair_within_gamma(one: list[float], two: list[float], data: Any) -> None:
    """The smallest gamma that the anchored rows allow is never below the largest difference of two compared cells."""
    k = min(len(one), len(two))
    anchor = data.draw(st.integers(0, k - 1))
    both = np.stack([one[:k], two[:k]], axis=1).reshape(-1)  # cells of EO: 2 group + label
    for layout, q in ((dp(k), np.array(one[:k])), (eo(k), both)):
        blocks = len(layout.blocks)
        brute = max(abs(q[a] - q[b]) for block in layout.blocks for a, b in combinations(block, 2))
        matrix, unit = layout.anchored(anchor)
        assert len(matrix) == 2 * (k - 1) * blocks
        smallest = float((matrix.double() @ torch.from_numpy(q) / unit).max())
        assert brute <= smallest + 1e-9
        assert smallest <= 2 * brute + 1e-9  # and it is at most twice as strict
        assert k > 2 or smallest == pytest.approx(brute, abs=1e-9)
        everyone, unit = layout.all_pairs()
        assert len(everyone) == k * (k - 1) * blocks
        assert float((everyone.double() @ torch.from_numpy(q) / unit).max()) == pytest.approx(brute, abs=1e-9)
        assert float(layout.violation(torch.from_numpy(q))) == pytest.approx(brute, abs=1e-9)
    assert {tuple(sorted(np.flatnonzero(row))) for row in dp(k).all_pairs()[0].numpy()} == set(combinations(range(k), 2))


def random_pairs(seed: int, users: int, n: int, groups: int) -> tuple[Pairs, Events]:
    """Pairs of no features: users with several pairs, some in no event; matched sets of a user, some of one pair alone."""
    g = np.random.default_rng(seed)
    user, first = g.integers(0, users, n), g.random(n) < 0.5
    event = g.integers(-1, groups, n)
    twin = np.where(g.random(n) < 0.7, user * 3 + g.integers(0, 3, n), -1)
    twin[:2], user[:2] = 10_000, user[0]  # one whole set at least
    event[:groups] = np.arange(groups)
    rows = one_hot((0, 0, 1, n - 1))
    events = Events(tuple(f"group {i}" for i in range(groups)), event.astype(np.int16), first, "", twin)
    return replace(rows, user=torch.from_numpy(user), events=events.tensors()), events


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(12, 80), st.integers(2, 5), st.sampled_from(NOTIONS))
@example(339, 1, 19, 3, dp)  # a margin of 3e-7: half a decision in both
def test_rates_and_violation_are_those_of_the_audit(seed: int, users: int, n: int, groups: int, notion: Any) -> None:
    """The same numbers by other code: by user, soft and hard, one model or several at once, cells that nobody has."""
    pairs, events = random_pairs(seed, users, n, groups)
    layout, name = notion(groups), notion.__name__
    margin = torch.randn(3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    meter = Meter(pairs, layout)
    for decision, audit in ((soft, held_out.soft), (hard, held_out.hard)):
        q, present = meter(margin, decision), meter.present.numpy()
        for row, m in zip(q, margin.numpy()):
            found = held_out.rates(m, pairs.user.numpy(), events, name, audit)
            assert np.array_equal(~np.isnan(found.value), present)
            np.testing.assert_allclose(row[meter.present], found.value[present], atol=1e-6)
            audited = held_out.violation(found)  # nan where nothing is compared
            assert float(layout.violation(row, meter.present)) == pytest.approx(np.nan_to_num(audited), abs=1e-6)


@pytest.mark.parametrize("notion", NOTIONS)
def test_rates_do_not_look_at_what_was_chosen(notion: Any) -> None:
    """Turn every choice round: r(y1) - r(y2) is the same number, and so are the rates, except EO's, whose cells are labels and swap."""
    pairs, _ = random_pairs(0, 6, 60, 3)
    assert pairs.events is not None
    turned = replace(pairs, events=replace(pairs.events, first=~pairs.events.first))
    margin, layout = torch.randn(60, generator=torch.Generator().manual_seed(0)), notion(3)
    one, two = Meter(pairs, layout)(margin, soft), Meter(turned, layout)(-margin, soft)
    torch.testing.assert_close(one, two.view(-1, 2).flip(1).flatten() if notion is eo else two)


def test_gradients_of_rates_are_right(world: Any) -> None:
    pairs, _ = random_pairs(1, 6, 40, 3)
    margin = torch.randn(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for notion in NOTIONS:
        meter = Meter(pairs, notion(3))
        meter.weight = meter.weight.double()
        assert torch.autograd.gradcheck(lambda m, meter=meter: meter(m, soft), (margin,), atol=1e-6)


# ---- batches that hold every event


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.floats(0.02, 0.9), st.integers(0, 10**6))
def test_every_batch_has_a_user_of_every_stratum(users: int, strata: int, batches: int, density: float, seed: int) -> None:
    g = np.random.default_rng(seed)
    has = torch.from_numpy(g.random((users, strata)) < density * g.random(strata))
    order = torch.from_numpy(g.permutation(users))
    found = stratified(order, has, batches)
    assert sorted(torch.cat(found).tolist()) == list(range(users))  # everybody once
    assert 1 <= len(found) <= batches
    anybody = has.any(0)
    for some in found:
        assert torch.equal(has[some].any(0), anybody)
    largest = max(len(some) for some in found)
    assert largest <= max(-(-users // len(found)), int(anybody.sum()))  # about one size, unless covering alone fills a batch
    if anybody.any():
        assert len(found) <= int(has.sum(0)[anybody].min())


def test_a_rare_event_makes_fewer_batches_and_each_of_them_has_a_target(world: Any) -> None:
    train, _, _ = world
    strata = torch.where(train.user < 3, 1, 0)  # three of 40 users, 24 pairs
    strata[train.user > 30] = -1
    schedule = Schedule(batch_users=4)
    for epoch in range(5):
        g = torch.Generator().manual_seed(epoch)
        batches = list(episodes(train, schedule, g, strata))
        assert len(batches) == 3
        for history, batch, rows in batches:
            assert {0, 1} <= set(strata[rows].tolist())
            assert torch.equal(batch.chosen, train.chosen[rows])
            assert len(history) <= 15
        seen = torch.cat([train.user[rows].unique() for _, _, rows in batches])
        assert sorted(seen.tolist()) == list(range(40))


def test_without_strata_batches_are_the_drawn_users_a_few_at_a_time(world: Any) -> None:
    """As before there were strata: the generator deals sides, then the order of users, and nothing else is drawn between the two."""
    train, _, _ = world
    schedule, g = Schedule(batch_users=4, dropout=0.0), torch.Generator().manual_seed(0)
    sides = draw_sides(train, schedule.context, g)[1]
    drawn = torch.randperm(40, generator=g).split(4)
    for users, (history, _, rows) in zip(drawn, episodes(train, schedule, torch.Generator().manual_seed(0)), strict=True):
        assert torch.equal(train.user[rows].unique_consecutive(), users)
        assert bool(sides[rows].all())
        assert len(history) == 4
    everybody = torch.zeros(len(train), dtype=torch.long)  # one stratum that every user has asks for nothing
    for users, (_, _, rows) in zip(drawn, episodes(train, schedule, torch.Generator().manual_seed(0), everybody), strict=True):
        assert len(train.user[rows].unique()) == len(users)


def test_incidence_counts_targets_of_a_stratum() -> None:
    found = incidence(torch.tensor([0, 0, 2, 3]), torch.tensor([1, -1, 0, -1]), 4)
    assert found.tolist() == [[False, True], [False, False], [True, False], [False, False]]


def test_too_few_rows_of_an_event_are_an_error_that_names_it() -> None:
    few = one_hot((0, 0, 30, 30), (1, 1, 30, 30), (2, 2, 4, 5))
    for method in (Faro(BASE), Penalty(BASE)):
        with pytest.raises(EvenhandError, match=r"event 2 of 3 has 9 training pairs of 9 users\. Expected: at least 20"):
            method.fit(few, few, 0)
    with pytest.raises(EvenhandError, match="matched sets"):
        Faro(BASE, notion=cf).fit(few, few, 0)
    with pytest.raises(EvenhandError, match="in no events"):
        Faro(BASE).fit(replace(few, events=None), few, 0)
    one_user = replace(few, user=torch.where(few.user < 60, 0, few.user), events=replace(few.events, of_pair=few.user.ge(60).long()))  # type: ignore[type-var]
    with pytest.raises(EvenhandError, match="event 0 of 2 has 60 training pairs of 1 users"):
        check("faro", one_user, dp(2))


def test_what_cannot_be_compared_is_an_error_and_never_a_constraint_that_is_met(world: Any) -> None:
    train, valid, _ = world
    for names, found in (([0, 0], "in 1 events"), ([-1, -1], "in 0 events")):
        for notion in (dp, eo):
            with pytest.raises(EvenhandError, match=found):
                Faro(BASE, notion=notion).fit(renamed(train, names), renamed(valid, names), 0)
    with pytest.raises(EvenhandError, match="event 2 of 3 has 0 training pairs"):  # it is in the validation pairs alone
        Faro(BASE).fit(train, third_event(valid), 0)
    apart = replace(one_hot((0, 0, 20, 20), (1, 1, 20, 20), sets=True), block=None)  # a pair of each set becomes history
    with pytest.raises(EvenhandError, match="no whole matched set left"):
        Faro(BASE, notion=cf).fit(apart, apart, 0)
    with pytest.raises(EvenhandError, match="40 matched sets of 1 users"):
        check("faro", replace(apart, user=torch.zeros_like(apart.user)), cf(2))


def test_cells_without_validation_pairs_are_compared_with_nothing(world: Any) -> None:
    train, valid, _ = world
    assert valid.events is not None
    alone = valid.take(valid.events.of_pair == 0)
    game = Faro(BASE).fit(train, alone, 0).constrained
    assert game is not None
    assert set(game.valid) == {0.0}
    fitted = Penalty(BASE, weight=3.0).fit(train, alone, 0)
    expected = float(mean_over_users(bt(margins(fitted.scorer, alone)), alone))
    assert min(fitted.trace.valid_loss) == pytest.approx(expected, rel=1e-5)
    assert float(dp(3).violation(torch.tensor([0.9, 0.0, 0.7]), torch.tensor([True, False, True]))) == pytest.approx(0.2)


WRONG = [
    ("gamma", 0.0),
    ("gamma", 1.5),
    ("gamma", float("nan")),
    ("step", 0.0),
    ("bound", -1.0),
    ("memory", 1.0),
    ("game_lr", 0.0),
    ("game_patience", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_hyperparameters_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(EvenhandError, match=f"faro: {name} is"):
        Faro(**{name: value})  # type: ignore[arg-type]


# ---- groups


def test_scoring_takes_no_group(world: Any) -> None:
    train, valid, test = world
    scorer = Faro(BASE, step=0.3).fit(train, valid, 0).scorer
    assert list(inspect.signature(scorer.score).parameters) == ["state", "items"]
    assert list(inspect.signature(scorer.users).parameters) == ["history"]
    assert torch.equal(margins(scorer, replace(test, events=None)), margins(scorer, test))


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("notion", [dp, eo])
def test_what_events_are_called_changes_nothing(notion: Any, anchored: bool, world: Any) -> None:
    """The anchor is the largest event, whatever its number. One batch: which users share one may depend on the order of equally rare events."""
    train, valid, test = (third_event(p) for p in world)
    base = replace(BASE, schedule=replace(QUICK, batch_users=100, max_epochs=5))
    method = Faro(base, notion=notion, anchored=anchored, step=0.5, game_lr=0.01)
    one = method.fit(train, valid, 0)
    for order in ([1, 2, 0], [2, 1, 0]):
        two = method.fit(*(renamed(p, order) for p in (train, valid)), 0)
        torch.testing.assert_close(margins(two.scorer, test), margins(one.scorer, test), atol=1e-4, rtol=1e-4)
    assert (margins(one.parts["pooled"].scorer, test) - margins(one.scorer, test)).abs().max() > 0.01


def third_event(pairs: Pairs) -> Pairs:
    """A third of event 1 is an event of its own."""
    assert pairs.events is not None
    event = torch.where((pairs.events.of_pair == 1) & (torch.arange(len(pairs)) % 3 == 0), 2, pairs.events.of_pair)
    return replace(pairs, events=replace(pairs.events, of_pair=event))


def renamed(pairs: Pairs, names: list[int]) -> Pairs:
    assert pairs.events is not None
    return replace(pairs, events=replace(pairs.events, of_pair=torch.tensor(names)[pairs.events.of_pair]))


# ---- on every head, and distilled


@pytest.mark.parametrize("head", heads().values(), ids=heads().keys())
def test_a_distilled_student_under_constraints_on_every_head(head: type, world: Any) -> None:
    train, valid, test = world
    base = BradleyTerry(head(), replace(QUICK, max_epochs=1))
    fitted = Faro(base, notion=eo, distilled=True).fit(train, valid, 0)
    assert {"pooled", "teacher 0", "teacher 1"} <= fitted.parts.keys()
    assert fitted.constrained is not None
    assert len(fitted.constrained.train) == len(fitted.constrained.valid) == len(fitted.constrained.multipliers) == LONGER
    assert torch.isfinite(margins(fitted.scorer, test)).all()


def test_constraints_hold_on_held_out_pairs_of_a_personalised_model() -> None:
    """Many pairs: what holds in training holds outside; both tastes are served nearly as before."""
    train, valid, test = (with_events(p, 1) for p in two_tastes(n_users=80, pairs=24, held_out=24))
    base = BradleyTerry(LowRank(3), Schedule(lr=3e-2, weight_decay=0.05, dropout=0.0, max_epochs=12))
    fitted = Faro(base, gamma=0.05, step=0.5, bound=3.0, game_lr=5e-3).fit(train, valid, 0)
    assert fitted.constrained is not None
    assert fitted.constrained.feasible(fitted.trace.best_epoch)
    before, after = (violation_of(f, test) for f in (fitted.parts["pooled"], fitted))
    assert before > 0.2
    assert after < 0.1


def violation_of(fitted: Fitted, pairs: Pairs, notion: Callable[[int], Layout] = dp) -> float:
    layout = notion(2)
    return float(layout.violation(Meter(pairs, layout)(margins(fitted.scorer, pairs), soft)))


# ---- penalty and offsets


def test_penalty_zero_is_bradley_terry_on_batches_that_hold_every_event(world: Any) -> None:
    train, valid, _ = world
    assert train.events is not None
    start = BASE.head.build(train.items.shape[1], 0)
    plain = train_model(start, train, lambda m, rows: bt(m), valid, 0, QUICK, strata=train.events.of_pair)
    assert torch.equal(weights(Penalty(BASE, weight=0.0).fit(train, valid, 0)), weights(plain))


@pytest.mark.parametrize("notion", [dp, eo])
def test_more_penalty_is_less_violation(notion: Any, world: Any) -> None:
    train = world[0]
    base = BradleyTerry(Linear(), Schedule(lr=0.05, weight_decay=0.0, dropout=0.0, batch_users=100, max_epochs=60, context=(0.0, 0.0)))
    found = [violation_of(Penalty(base, notion, weight).fit(train, train, 0), train, notion) for weight in (0.0, 0.1, 0.3, 1.0)]
    assert all(a > b for a, b in pairwise(found))
    assert found[-1] < found[0] / 2


def test_offsets_equalise_the_rates_they_were_fitted_to() -> None:
    pairs, _ = random_pairs(0, 30, 400, 4)
    margin = 2 * torch.randn(400, generator=torch.Generator().manual_seed(0)) + 0.5
    layout = dp(4)
    c = offsets.offsets(margin, pairs, layout)
    shifted = offsets.apply(margin, pairs, c)
    assert float(layout.violation(Meter(pairs, layout)(margin, soft))) > 0.05
    assert float(layout.violation(Meter(pairs, layout)(shifted, soft))) < 1e-3
    assert pairs.events is not None
    outside = pairs.events.of_pair < 0
    assert outside.any()
    assert torch.equal(shifted[outside], margin[outside])


def test_offsets_for_equalized_odds_make_the_sum_of_squares_smallest() -> None:
    pairs, _ = random_pairs(1, 30, 400, 3)
    margin = 2 * torch.randn(400, generator=torch.Generator().manual_seed(1)) + 0.5
    layout = eo(3)
    meter = Meter(pairs, layout)
    assert pairs.events is not None
    towards = torch.where(pairs.events.first, margin, -margin)
    wanted = [torch.sigmoid(towards[(pairs.events.of_pair >= 0) & (pairs.events.first == bool(label))]).mean() for label in (0, 1)]

    def away(c: Tensor) -> float:
        q = meter(offsets.apply(margin, pairs, c), soft).view(3, 2)
        return float(((q - torch.stack(wanted)) ** 2).sum())

    c = offsets.offsets(margin, pairs, layout)
    assert away(c) < away(torch.zeros(3))
    for group, step in ((0, 0.05), (1, -0.05), (2, 0.05), (0, -0.05), (1, 0.05), (2, -0.05)):
        assert away(c.index_add(0, torch.tensor([group]), torch.tensor([step]))) > away(c)


def test_a_group_without_pairs_has_no_offset() -> None:
    pairs, _ = random_pairs(0, 30, 200, 2)
    margin = torch.randn(200, generator=torch.Generator().manual_seed(0))
    found = offsets.offsets(margin, renamed_without(pairs), dp(3))
    assert found[1] == 0
    assert found[[0, 2]].abs().max() < 3


def renamed_without(pairs: Pairs) -> Pairs:
    """Events 0 and 1 are 0 and 2."""
    assert pairs.events is not None
    return replace(pairs, events=replace(pairs.events, of_pair=torch.where(pairs.events.of_pair == 1, 2, pairs.events.of_pair)))


def test_offsets_are_refused_where_a_pair_has_no_group_of_its_own() -> None:
    pairs, _ = random_pairs(0, 4, 40, 2)
    for refused, layout in ((pairs, cf(2)), (replace(pairs, events=None), dp(2))):
        with pytest.raises(EvenhandError, match="offsets: matched sets have no groups"):
            offsets.offsets(torch.zeros(40), refused, layout)

"""Selection against a search in plain loops: front, ideal point, running signed means, kept originals; coordinate descent against the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evenhand.texts.grid import Grid, parse
from evenhand.texts.selecting.gate import FIDELITY, NONE_LOWER, every_pair
from evenhand.texts.selecting.matching import blocks, pairs
from evenhand.texts.selecting.pareto import nearest_to_ideal, weighted_sum
from evenhand.texts.selecting.selection import NO_CANDIDATE, Objective, base_disparity, select_blocks

PLAIN = """
template = "Ask {who} in the {place} to come at {time}."
[[axis]]
name = "place"
values = ["North", "South", "West", "East"]
[[axis]]
name = "time"
matched = true
values = ["noon", "night", "dawn"]
[[axis]]
name = "who"
matched = true
values = ["men", "women"]
"""


@pytest.fixture
def grid() -> Grid:
    return parse(PLAIN, "plain.toml")


def brute(grid: Grid, numbers, profiles, fidelity, reward, eps, eps_p, single: bool = False):
    """chosen [blocks][places], kept [blocks]: all of it by loops over values of the grid's rows."""
    size = grid.size
    chosen, kept = [], []
    total: dict[tuple[str, str, str, str], np.ndarray] = {}
    for block in range(grid.blocks):
        start = block * size
        value_pairs = [(a, v, w) for a in grid.matched for v, w in itertools.combinations(range(len(a)), 2)]

        def cells(axis, value, start=start):
            label = axis.labels[value]
            return [p for p in range(size) if grid.row(start + p)[axis.name] == label]

        def gap(k, one, other, a, start=start):
            f = (numbers, profiles)[k]
            return np.abs(f[start + one, a[one]] - f[start + other, a[other]]).sum()

        def disparities(a, start=start):
            out = []
            for k in (0, 1):
                by_axis = []
                for axis in grid.matched:
                    mine = [gap(k, p - start, q - start, a, start) for p, q in grid.pairs(axis).tolist() if start <= p < start + size]
                    by_axis.append(np.mean(mine))
                out.append(np.mean(by_axis))
            return out

        def signed(k, a, axis, v, w, start=start):
            f = (numbers, profiles)[k]
            one, other = ([f[start + p, a[p]] for p in cells(axis, x, start)] for x in (v, w))
            return np.mean(other, axis=0) - np.mean(one, axis=0)

        def side_means(a, start=start):
            return [np.mean([fidelity[start + p, a[p]] for p in cells(axis, v, start)]) for axis in grid.matched for v in range(len(axis))]

        def passes(a, start=start):
            o = (0,) * size
            if not single:
                d, d_o = disparities(a), disparities(o)
                return (
                    all(p >= q - eps_p - 1e-9 for p, q in zip(side_means(a), side_means(o)))
                    and all(x <= y + e for x, y, e in zip(d, d_o, eps))
                    and any(x < y - 1e-9 for x, y in zip(d, d_o))
                )
            for axis in grid.matched:
                for p, q in grid.pairs(axis).tolist():
                    if not start <= p < start + size:
                        continue
                    p, q = p - start, q - start
                    d, d_o = [gap(k, p, q, a, start) for k in (0, 1)], [gap(k, p, q, o, start) for k in (0, 1)]
                    if any(x > y + e for x, y, e in zip(d, d_o, eps)) or not any(x < y - 1e-9 for x, y in zip(d, d_o)):
                        return False
                    if any(fidelity[start + c, a[c]] < fidelity[start + c, 0] - eps_p - 1e-9 for c in (p, q)):
                        return False
            return True

        feasible, points = [], []
        for a in itertools.product(range(numbers.shape[1]), repeat=size):
            if not passes(a):
                continue
            r = []
            for k in (0, 1):
                by_axis = []
                for axis in grid.matched:
                    sizes = [
                        np.abs(total.get((k, axis.name, v, w), 0) + signed(k, a, axis, v, w)).sum() / (block + 1)
                        for x, v, w in value_pairs
                        if x is axis
                    ]
                    by_axis.append(np.mean(sizes))
                r.append(np.mean(by_axis))
            feasible.append(a)
            points.append([*disparities(a), *r, -np.mean(side_means(a)), -np.mean([reward[start + c, a[c]] for c in range(size)])])
        kept.append(not feasible)
        best = (0,) * size
        if feasible:
            f = np.array(points)
            front = [i for i in range(len(f)) if not any((f[j] <= f[i]).all() and (f[j] < f[i]).any() for j in range(len(f)))]
            low, high = f[front].min(0), f[front].max(0)
            span = np.where(high - low > 1e-12, high - low, 1)
            best = feasible[min(front, key=lambda i: (round(float(np.sqrt((((f[i] - low) / span) ** 2).mean())), 12), i))]
        chosen.append(best)
        for axis, v, w in value_pairs:
            for k in (0, 1):
                key = (k, axis.name, v, w)
                total[key] = total.get(key, 0) + signed(k, best, axis, v, w)
    return chosen, kept


def world(grid: Grid, seed: int, candidates: int):
    random = np.random.default_rng(seed)
    n = (len(grid), candidates)
    return random.normal(size=n), random.dirichlet(np.ones(3), n), random.normal(0.5, 0.01, n), random.normal(size=n)


def chosen_by(grid: Grid, numbers, profiles, fidelity, reward, eps, eps_p, **more):
    units = more.pop("units", None) or blocks(grid)
    objectives = [Objective("n", units.of(numbers), eps[0]), Objective("p", units.of(profiles), eps[1])]
    allowed = more.pop("allowed", np.ones(numbers.shape, bool))
    return select_blocks(
        objectives, units.of(fidelity), units.of(allowed), units.sides, eps_fidelity=eps_p, rewards=[units.of(reward)], **more
    )


@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_chosen_as_by_loops(grid: Grid, seed: int) -> None:
    given = world(grid, seed, 2)
    chosen, kept = brute(grid, *given, (0.05, 0.02), 0.005)
    found = chosen_by(grid, *given, (0.05, 0.02), 0.005)
    assert found.candidate.tolist() == [list(c) for c in chosen]
    assert found.kept.tolist() == kept
    assert found.exact.all()


def test_every_pair_is_asked_as_by_loops(grid: Grid) -> None:
    seen = set()
    for seed in range(6):
        given = world(grid, seed, 2)
        chosen, kept = brute(grid, *given, (1.2, 0.9), 0.02, single=True)
        found = chosen_by(grid, *given, (1.2, 0.9), 0.02, gate=every_pair)
        assert (found.candidate.tolist(), found.kept.tolist()) == ([list(c) for c in chosen], kept)
        seen |= set(kept)
    assert seen == {True, False}


def test_coordinate_descent_comes_near_the_best_of_all(grid: Grid) -> None:
    def mean(found, numbers, units):
        chosen = np.take_along_axis(units.of(numbers), found.candidate[:, :, None], 2)
        return base_disparity(chosen, units.sides)

    units = blocks(grid)
    exact, descended, base = [], [], []
    for seed in range(4):
        given = world(grid, seed, 5)  # 5 ^ 6 = 15,625 assignments
        one, other = (chosen_by(grid, *given, (0.05, 0.02), 0.005, most=most) for most in (100_000, 1))
        assert one.exact.all()
        assert not other.exact.any()
        assert not one.kept.any()
        assert not other.kept.any()
        exact.append(mean(one, given[0], units))
        descended.append(mean(other, given[0], units))
        base.append(base_disparity(units.of(given[0]), units.sides))
    assert np.mean(exact) < 0.65 * np.mean(base)
    assert np.mean(descended) < np.mean(exact) + 0.1 * np.mean(base)


def test_pairs_are_units_of_the_first_axis_of_two_values(grid: Grid) -> None:
    units = pairs(grid)
    assert units.cells.tolist() == grid.pairs(grid.matched[1]).tolist()
    numbers = np.zeros((len(grid), 2))
    first = units.cells[:, 0]
    numbers[first, 0] = 1.0  # the originals of one side differ from all else
    found = chosen_by(
        grid, numbers, np.zeros((*numbers.shape, 2)), np.zeros(numbers.shape), np.zeros(numbers.shape), (0.0, 0.0), 0.0, units=units
    )
    assert found.candidate.tolist() == [[1, 0]] * 12  # (1, 1) is as good: the lowest index
    assert units.back(found.candidate, grid)[first].tolist() == [1] * 12


def test_nothing_feasible_keeps_the_originals_and_says_why(grid: Grid) -> None:
    numbers, profiles, fidelity, reward = world(grid, 0, 3)
    numbers = np.abs(numbers)
    numbers[:, 0] = 0.0
    profiles[:] = 1 / 3
    found = chosen_by(grid, numbers, profiles, fidelity * 0, reward, (10.0, 0.0), 0.0)
    assert found.kept.all()
    assert not found.candidate.any()
    assert set(found.failed) == {(NONE_LOWER,)}
    found = chosen_by(grid, numbers, profiles, fidelity * 0, reward, (0.0, 0.0), 0.0)
    assert set(found.failed) == {("disparity of n", NONE_LOWER)}
    allowed = np.zeros(numbers.shape, bool)
    found = chosen_by(grid, numbers, profiles, fidelity * 0, reward, (0.0, 0.0), 0.0, allowed=allowed)
    assert set(found.failed) == {(NO_CANDIDATE,)}


def test_what_refuses_a_candidate_alone(grid: Grid) -> None:
    numbers, fidelity = np.zeros((len(grid), 3)), np.full((len(grid), 3), 0.5)
    numbers[0, 0] = 1.0
    numbers[0, 2] = 2.0
    fidelity[0, 1] = 0.1
    found = chosen_by(grid, numbers, np.zeros((*numbers.shape, 2)), fidelity, numbers * 0, (0.1, 0.0), 0.01)
    names = np.array(found.constraints)
    assert names[found.alone[0, 0, 1]].tolist() == [FIDELITY]
    assert names[found.alone[0, 0, 2]].tolist() == ["disparity of n", NONE_LOWER]
    assert not found.alone[:, :, 0].any()
    assert names[found.alone[1, 0, 1]].tolist() == [NONE_LOWER]


def test_a_candidate_without_a_value_is_not_taken_where_the_original_has_one(grid: Grid) -> None:
    numbers = np.zeros((len(grid), 2))
    numbers[::2, 0] = 1.0
    same = chosen_by(grid, numbers, np.zeros((*numbers.shape, 2)), numbers * 0, numbers * 0, (0.0, 0.0), 0.0)
    assert same.candidate.any(axis=1).all()
    numbers[:, 1] = np.nan
    assert chosen_by(grid, numbers, np.zeros((*numbers.shape, 2)), numbers * 0, numbers * 0, (0.0, 0.0), 0.0).kept.all()


def test_running_signed_means_undo_what_disparities_cannot(grid: Grid) -> None:
    """Every assignment has the same |gaps|, half of them for each sign: choices must alternate, and the signed gap vanish."""
    numbers = np.zeros((len(grid), 3))
    women = np.arange(len(grid)) % 2 == 1
    numbers[women] = 1.2, 1.0, -1.0
    found = chosen_by(grid, numbers, np.zeros((*numbers.shape, 2)), numbers * 0, numbers * 0, (0.0, 0.0), 0.0)
    signed = np.take_along_axis(numbers, blocks(grid).back(found.candidate, grid)[:, None], 1)[women].mean()
    assert abs(signed) < 0.1


def test_front_ideal_point_and_ties() -> None:
    f = np.array([[0.0, 1.0], [0.4, 0.4], [1.0, 0.0], [0.4, 0.4], [0.5, 0.5], [0.0, 2.0]])
    assert nearest_to_ideal(f) == (1, 4)
    ends = np.array([[0.0, 1.0], [0.6, 0.6], [1.0, 0.0]])
    assert nearest_to_ideal(ends)[0] == 1
    assert weighted_sum(ends)[0] == 0  # a sum takes an end of a front that bends inwards

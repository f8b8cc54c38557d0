"""Do 95 % intervals hold the truth 95 % of the time, and does the gate raise false alarms? Simulated users with known accuracy.

A user's accuracy is Beta-distributed around the group's with intra-user correlation rho; his or her pairs are Bernoulli. Intervals: the
ones that `examine_model` prints for a group (Student's t to 50 users, the bootstrap by user above) beside row-wise ones. Gate:
`check_requirements`. At the end, how often a report states what is not so (sentences.py).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import sentences

from evenhand.audits.examine import measure
from evenhand.audits.intervals import contrast, pairwise, range_bounds, simultaneous_alpha
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import arrange, means
from evenhand.audits.verdicts import check_requirements
from evenhand.core import Groups

TRUTH = 0.65
USERS, PAIRS_AND_RHO = (10, 20, 50, 100, 200), ((20, 0.0), (20, 0.1), (20, 0.2), (50, 0.1))


def abilities(mean: float, rho: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """True accuracies of users: Beta with this mean, variance mean (1 - mean) rho."""
    if rho == 0:
        return np.full(size, mean)
    weight = 1 / rho - 1
    return rng.beta(mean * weight, (1 - mean) * weight, size)


def outcomes(truths: np.ndarray, pairs: np.ndarray, rng: np.random.Generator) -> Outcomes:
    """One Bernoulli pair after another of users with these accuracies."""
    user = np.repeat(np.arange(len(truths)), pairs).astype(np.int32)
    return Outcomes("simulated", "test", user, np.where(rng.random(len(user)) < truths[user], 1.0, -1.0))


def one_group(users: int) -> Groups:
    return Groups(("all",), np.zeros(users, np.int16), "simulated")


def interval_coverage(users: int, pairs: int, rho: float, repeats: int, seed: int, resamples: int = 500) -> tuple[float, float]:
    """Share of repeats whose interval holds the truth: clustered by user, and row-wise. Users have from half to one and a half times
    `pairs`.
    """
    rng = np.random.default_rng(seed)
    hits = rows = 0
    for _ in range(repeats):
        o = outcomes(abilities(TRUTH, rho, users, rng), rng.integers(pairs // 2, pairs + pairs // 2 + 1, users), rng)
        e = measure(arrange(o, one_group(users)), o.margin, resamples, rng)["accuracy"].estimate(0, "all")
        hits += e.low <= TRUTH <= e.high
        right = correct(o.margin)
        rows += abs(right.mean() - TRUTH) <= 1.96 * right.std() / np.sqrt(len(right))
    return hits / repeats, rows / repeats


def two_way_coverage(users: int, prompts: int, repeats: int, seed: int) -> tuple[float, float]:
    """Users and prompts both matter: coverage of the two-way interval, and of the one clustered by user alone."""
    rng = np.random.default_rng(seed)
    centre = float(np.mean(_logistic(rng.normal(0.7, np.hypot(0.4, 0.6), 400_000))))
    hits = alone = 0
    for _ in range(repeats):
        of_user, of_prompt = rng.normal(0.7, 0.4, users), rng.normal(0, 0.6, prompts)
        user = np.repeat(np.arange(users), 20).astype(np.int32)
        prompt = rng.integers(0, prompts, len(user)).astype(np.int32)
        margin = np.where(rng.random(len(user)) < _logistic(of_user[user] + of_prompt[prompt]), 1.0, -1.0)
        o = Outcomes("simulated", "test", user, margin, prompt=prompt)
        e = measure(arrange(o, one_group(users)), margin, 0, rng)["accuracy"].estimate(0, "all")
        hits += e.low <= centre <= e.high
        e = measure(arrange(replace(o, prompt=None), one_group(users)), margin, 0, rng)["accuracy"].estimate(0, "all")
        alone += e.low <= centre <= e.high
    return hits / repeats, alone / repeats


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gate_rates(gap: float, tolerance: float, sizes: tuple[int, ...], rho: float, pairs: int, repeats: int, seed: int) -> dict[str, float]:
    """Shares of PASS, FAIL, INSUFFICIENT over repeats; the first group is better than all others by `gap`."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes).astype(np.int16)
    groups = Groups(tuple(f"group {k}" for k in range(len(sizes))), of, "simulated")
    counts = dict.fromkeys(("PASS", "FAIL", "INSUFFICIENT"), 0)
    for repeat in range(repeats):
        truths = np.concatenate([abilities(TRUTH + (gap if k == 0 else 0.0), rho, n, rng) for k, n in enumerate(sizes)])
        o = outcomes(truths, np.full(len(of), pairs), rng)
        counts[check_requirements(o, groups, tolerance=tolerance, seed=repeat)[0].verdict] += 1
    return {k: v / repeats for k, v in counts.items()}


def simultaneous_coverage(sizes: tuple[int, ...], rho: float, repeats: int, seed: int) -> tuple[float, float]:
    """Equal groups: share of repeats in which all pairwise intervals hold 0 at once, and in which the range's bounds hold the true range
    0.
    """
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes).astype(np.int16)
    groups = Groups(tuple(map(str, range(len(sizes)))), of, "simulated")
    every = ranges = 0
    for repeat in range(repeats):
        o = outcomes(abilities(TRUTH, rho, len(of), rng), np.full(len(of), 20), rng)
        found = means(arrange(o, groups), [correct(o.margin)])
        c = contrast(found, pairwise(range(len(sizes)), found.value.size))
        alpha = simultaneous_alpha(c.correlation, repeat)
        low, high = c.bounds(alpha)
        every += bool(((low <= 0) & (high >= 0)).all())
        ranges += range_bounds(c, alpha)[1] == 0.0
    return every / repeats, ranges / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000)
    repeats = parser.parse_args().repeats
    start = time.perf_counter()
    noise = 100 * 1.96 * np.sqrt(0.95 * 0.05 / repeats)
    print(f"Coverage of 95 % intervals of a group's accuracy, {repeats} repeats a cell (± {noise:.1f} points); goal 93.5 to 96.5")
    print(f"{'users':>6} {'pairs':>6} {'rho':>5} {'by user':>9} {'row-wise':>9}")
    for users in USERS:
        for pairs, rho in PAIRS_AND_RHO:
            by_user, by_row = interval_coverage(users, pairs, rho, repeats, seed=users * 1000 + pairs)
            print(f"{users:6d} {pairs:6d} {rho:5.2f} {100 * by_user:8.1f} % {100 * by_row:7.1f} %", flush=True)
    print("\nUsers and prompts both random: two-way interval, and by user alone")
    for users, prompts in ((30, 40), (100, 40), (100, 200)):
        both, alone = two_way_coverage(users, prompts, repeats // 4, seed=users)
        print(f"{users:6d} users {prompts:4d} prompts {100 * both:8.1f} % {100 * alone:7.1f} %", flush=True)
    print("\nAll pairwise intervals of equal groups at once (max-t), and the lower bound of the range")
    for sizes in ((30,) * 4, (30, 60, 120, 240), (40,) * 8):
        every, ranges = simultaneous_coverage(sizes, 0.1, repeats // 4, seed=len(sizes))
        print(f"  {len(sizes)} groups of {min(sizes)} to {max(sizes)} users: {100 * every:.1f} %, {100 * ranges:.1f} %", flush=True)
    print("\nGate, tolerance 5 points, intra-user correlation .1, 20 pairs a user (false: FAIL up to a gap of 5, PASS above it)")
    print(f"{'true gap':>9} {'groups':>22} {'PASS':>7} {'FAIL':>7} {'INSUFF.':>8}")
    for sizes in ((200, 60), (800, 200), (1500, 500), (400, 400, 400, 400)):
        for gap in (0.0, 0.05, 0.051, 0.10):
            r = gate_rates(gap, 0.05, sizes, 0.1, 20, repeats // 4, seed=len(sizes) * 100 + round(gap * 1000))
            print(
                f"{100 * gap:8.1f} {sizes!s:>23} {100 * r['PASS']:6.1f}% {100 * r['FAIL']:6.1f}% {100 * r['INSUFFICIENT']:7.1f}%",
                flush=True,
            )
    print()
    sentences.main(repeats // 10)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

"""How often do equal models "dominate", and do the intervals of their differences hold the truth? Simulated users, prompts and deals.

Two models are right about a pair with probabilities that differ by the user (sd `by_user`), by the prompt (or the two statements of a
pair) and by the deal; all differences have mean 0, so that every verdict but "undecided" is false. A deal draws which prompts are tested
(or, with --given, all deals test the same ones), and trains anew: that is its own part of the difference. With one deal the truth is that
deal's own difference, which is all that is claimed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from evenhand.audits.ranking import Board, Judged, levels, pairwise

GROUPS = ("majority", "minority")


def simulated(
    rng: np.random.Generator, users: int, prompts: int, tested: int, deals: int, sds: tuple[float, float, float], votes: bool, given: bool
) -> tuple[Board, np.ndarray]:
    """Two models on the same pairs, and the true difference in each group [2] (0 with several deals; with one deal, that deal's own)."""
    by_user, by_unit, by_deal = sds
    group = (np.arange(users) >= 0.7 * users).astype(int)
    ability, hard = rng.normal(0, 0.1, users), rng.normal(0, 0.1, prompts)
    of_user, of_unit = rng.normal(0, by_user, users), rng.normal(0, by_unit, prompts)
    same = rng.permutation(prompts)[:tested]
    judged, accuracy, pairs, shifts = [], [], [], []
    for _ in range(deals):
        units = same if given else rng.permutation(prompts)[:tested]
        n = 12 * users
        user = np.repeat(np.arange(users), 12)
        place = rng.integers(tested, size=n)
        first, second = units[place], units[(place + (rng.integers(1, tested, size=n) if votes else 0)) % tested]
        shift = rng.normal(0, by_deal, 2)
        p = 0.65 + ability[user] + (hard[first] + hard[second]) / 2
        difference = of_user[user] + (of_unit[first] + of_unit[second]) / (np.sqrt(2) if votes else 2) + shift[group[user]]
        right = (rng.random((2, n)) < np.clip(np.stack([p + difference / 2, p - difference / 2]), 0, 1)).astype(float)
        none = np.full(n, -1)
        ends = (none, first, second) if votes else (first, none, none)
        judged.append(Judged(user, *ends, np.full(n, 1 / 12), right))
        accuracy.append(np.stack([np.bincount(user, r, users) / 12 for r in right]))
        pairs.append(np.full(users, 12))
        shifts.append(shift)
    tiled = np.tile(group, (deals, 1))
    board = Board(("a", "b"), GROUPS, np.stack(accuracy, axis=1), tiled, np.full(tiled.shape, np.nan), np.stack(pairs), tuple(judged))
    return board, shifts[0] if deals == 1 else np.zeros(2)


def rates(repeats: int, seed: int, **world: object) -> tuple[float, float, float, float]:
    """Shares of comparisons: any false verdict (against the truth), the same by user alone, coverage of single 95 % intervals, with the deals as
    they are.
    """
    rng, hits = np.random.default_rng(seed), np.zeros(4)
    row = np.array([1.0, -1.0])
    for repeat in range(repeats):
        board, truth = simulated(rng, **world)  # type: ignore[arg-type]
        found = levels(board)
        (pair,) = pairwise(board, found, repeat)
        hits[0] += any(not d.low <= t <= d.high for d, t in zip(pair.differences, truth, strict=True))
        alone = levels(Board(*(getattr(board, name) for name in ("names", "groups", "accuracy", "group", "support", "pairs"))))
        (naive,) = pairwise(board, alone, repeat)
        hits[1] += any(not d.low <= t <= d.high for d, t in zip(naive.in_these_deals, truth, strict=True))
        single = [(found.estimate(row, c, "", ""), found.in_these_deals(row, c, "", ""), truth[c]) for c in range(2)]
        hits[2] += np.mean([e.low <= t <= e.high for e, _, t in single])
        hits[3] += np.mean([e.low <= t <= e.high for _, e, t in single])
    return tuple(hits / repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    start = time.perf_counter()
    print(
        f"Two equal models, {repeats} comparisons a row; 200 users in two groups, 12 pairs each; sd of the difference by user, unit and deal"
    )
    print(f"{'world':56} {'some false verdict':>19} {'by user alone':>14} {'coverage':>9} {'deals as they are':>18}")
    for units, votes, given, prompts in (
        ("30 test prompts, the same in all deals", False, True, 30),
        ("30 of 120 prompts tested in a deal", False, False, 120),
        ("pairs of 40 of 160 statements", True, False, 160),
    ):
        for deals in (1, 2, 3, 5, 8):
            for by_deal in (0.0, 0.04) if deals > 1 else (0.04,):
                some, alone, single, fixed = rates(
                    repeats, deals, users=200, prompts=prompts, tested=40 if votes else 30, deals=deals, sds=(0.05, 0.1, by_deal),
                    votes=votes, given=given,
                )  # fmt: skip
                name = f"{units}, {deals} deals of sd {100 * by_deal:.0f}"
                print(f"{name:56} {100 * some:6.1f} % {100 * alone:13.1f} % {100 * single:8.1f} % {100 * fixed:12.1f} %", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

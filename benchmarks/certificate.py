"""Do certificates hold as often as they say, how wide is each bound, and how many users does one take? Simulated users in several events.

A user has a rate of his or her own in each event (logit-normal, correlated over events), is in each event with probability .7 and judges
1 to 8 pairs there; the true rates are known by quadrature. Coverage: all true rates in their intervals at once, and the true gap
under D_upper.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from scipy.special import expit

from evenhand.audits.bounds import BOUNDS, users_needed
from evenhand.audits.certificate import certify
from evenhand.audits.rates import Rates

DELTA = 0.05
WORLDS = {  # name → (rates' centres on the logit scale, spread of users, spread inside a user, hard decisions)
    "soft, users alike": (np.linspace(-0.3, 0.1, 4), 0.3, 0.3, False),
    "soft, users differ": (np.linspace(-0.3, 0.1, 4), 1.0, 1.0, False),
    "hard decisions": (np.linspace(-0.3, 0.1, 4), 1.0, 1.0, True),
    "hard, rare (2 to 4 %)": (np.array([-5.0, -4.6, -4.3, -4.0]), 1.0, 0.5, True),
    "14 events, soft": (np.linspace(-0.3, 0.1, 14), 0.5, 0.5, False),
}
World = tuple[np.ndarray, float, float, bool]


def truth(world: World) -> np.ndarray:
    """q(e): all normals of the logit add up to one."""
    x, w = np.polynomial.hermite_e.hermegauss(100)
    spread = math.sqrt(world[1] ** 2 + 0.25 + world[2] ** 2)
    return np.array([(expit(c + spread * x) * w).sum() / w.sum() for c in world[0]])


def draw(world: World, users: int, rng: np.random.Generator) -> Rates:
    """Means by user and event, as `audits.rates.rates` makes them of single pairs."""
    centres, spread, inside, is_hard = world
    shape = users, len(centres)
    own = centres + rng.normal(0, spread, (users, 1)) + rng.normal(0, 0.5, shape)
    pairs, total = rng.integers(1, 9, shape), np.zeros(shape)
    for k in range(8):
        p = expit(own + rng.normal(0, inside, shape))
        value = (rng.random(shape) < p).astype(float) if is_hard else p
        total += np.where(k < pairs, value, 0)
    member = rng.random(shape) < 0.7
    compared = tuple((a, b) for a in range(shape[1]) for b in range(a + 1, shape[1]))
    by_user = np.where(member, total / pairs, np.nan)
    return Rates(tuple(map(str, range(shape[1]))), compared, by_user, np.where(member, pairs, 0).sum(axis=0), np.arange(users))


def coverage(world: World, users: int, bound: str, repeats: int, seed: int) -> tuple[float, float, float]:
    """(share of repeats with every rate inside, share with the gap under D_upper, mean radius of an event)."""
    rng, q = np.random.default_rng(seed), truth(world)
    gap, every, under, width = float(np.ptp(q)), 0, 0, 0.0
    for _ in range(repeats):
        made = certify(draw(world, users, rng), "dp", 0.05, DELTA, bound)
        every += all(e.low <= x <= e.high for e, x in zip(made.events, q))
        under += gap <= made.d_upper
        width += float(np.mean([(e.high - e.low) / 2 for e in made.events]))
    return every / repeats, under / repeats, width / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--world", choices=WORLDS, help="this one alone")
    asked = parser.parse_args()
    repeats, worlds = asked.repeats, {n: w for n, w in WORLDS.items() if asked.world in (None, n)}
    start, names = time.perf_counter(), tuple(BOUNDS)
    noise = 100 * 1.96 * math.sqrt(DELTA * (1 - DELTA) / repeats)
    print(
        f"Coverage at delta = {DELTA}, {repeats} repeats a cell (± {noise:.1f} points): every rate inside / true gap under D_upper; goal 95 % or more"
    )
    print(f"{'world':<24}{'users':>6}  " + "".join(f"{n:>24}" for n in names))
    for name, world in worlds.items():
        for users in (50, 200) if len(world[0]) < 10 else (100,):
            cells = [coverage(world, users, bound, repeats, seed=users) for bound in names]
            shown = "".join(f"{100 * every:>15.1f} / {100 * under:5.1f}%" for every, under, _ in cells)
            print(f"{name:<24}{users:>6}  {shown}", flush=True)
    print("\nMean radius of an event at alpha = delta / events, users of one event, and the betting radius over the others")
    print(f"{'world':<24}{'users':>6}  " + "".join(f"{n:>21}" for n in names) + f"{'/ bernstein':>13}{'/ hoeffding':>13}")
    rng = np.random.default_rng(0)
    for name, world in worlds.items():
        alpha = DELTA / len(world[0])
        for users in (50, 100, 500, 1000, 5000):
            drawn = [draw(world, 2 * users, rng).by_user[:, 0] for _ in range(20)]
            values = [v[~np.isnan(v)][:users] for v in drawn]
            radius = {n: float(np.mean([np.diff(BOUNDS[n](v, alpha)) / 2 for v in values])) for n in names}
            ratio = [radius["betting"] / radius[n] for n in names[1:]]
            print(
                f"{name:<24}{users:>6}  " + "".join(f"{radius[n]:>21.4f}" for n in names) + "".join(f"{r:>13.2f}" for r in ratio),
                flush=True,
            )
    print("\nUsers each event needs, if the rates seen are equal, at delta = 0.05")
    print(f"{'world':<24}{'gamma':>6}  " + "".join(f"{n:>21}" for n in names))
    for name, world in worlds.items():
        one = draw(world, 4000, rng).by_user[:, 0]
        one = one[~np.isnan(one)]
        every = tuple((a, b) for a in range(len(world[0])) for b in range(a + 1, len(world[0])))
        for gamma in (0.02, 0.05, 0.1):
            found = {n: users_needed(gamma, [one] * len(world[0]), every, DELTA, n)[0] for n in names}
            print(f"{name:<24}{gamma:>6}  " + "".join(f"{found[n]:>21,}" for n in names), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

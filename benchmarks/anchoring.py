"""Constraints to one anchor against constraints on all pairs of groups: time of the multipliers' step and of a whole fit. Target: less for k >= 8.

2 (k - 1) constraints do the work of k (k - 1). The step is what the number of constraints touches: weights, violations and ascent of the
multipliers. The fit is Faro's, the unconstrained start included, in the same number of epochs. Seconds are of the processor, and both ways run in
turn, so that a busy machine slows both alike. The fit is left out where one step of all pairs takes more than 0.2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from fit_time import world

from evenhand.core import Events, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import LONGER, Faro
from evenhand.training.constraints import dp
from evenhand.training.multipliers import Additive, SwapRegret

GROUPS, REPEATS, EPOCHS, USERS, LONGEST = (2, 4, 8, 16, 32), 3, 1, 64, 0.2
GAMMA = 0.05


def main() -> None:
    torch.set_num_threads(1)
    data = tuple(p.take(p.user < USERS) for p in world(0))
    base = BradleyTerry()
    base = replace(base, schedule=replace(base.schedule, max_epochs=EPOCHS, patience=EPOCHS))  # the same work for each
    print(
        f"{len(data[0]):,} pairs x {data[0].items.shape[1]}, {EPOCHS} + {LONGER * EPOCHS} epochs; all pairs against anchored, medians of {REPEATS} ratios:"
    )
    for kind in (Additive, SwapRegret):
        for k in GROUPS:
            steps = [stepper(kind, k, anchored) for anchored in (True, False)]
            step = in_turn(*steps)
            fit = None
            if step[1] < LONGEST:
                train, valid = (in_events(p, k) for p in data)
                methods = [
                    Faro(base, gamma=GAMMA, swap=kind is SwapRegret, anchored=a, game_patience=LONGER * EPOCHS) for a in (True, False)
                ]
                fit = in_turn(*(partial(m.fit, train, valid, 0) for m in methods))
            whole = "fit left out" if fit is None else f"fit {fit[0]:.2f} s against {fit[1]:.2f} s, ratio {fit[2]:.2f}"
            print(
                f"  {kind.__name__}, {k} groups, {2 * (k - 1)} against {k * (k - 1)} constraints: "
                f"step {1e3 * step[0]:.2f} ms against {1e3 * step[1]:.2f} ms, ratio {step[2]:.2f}; {whole}",
                flush=True,
            )


def in_events(pairs: Pairs, k: int) -> Pairs:
    """Pairs in k events by the item that y1 is, some of the events liked better than others; y1 is the item of the lower number."""
    y1 = torch.minimum(pairs.chosen, pairs.rejected)
    order = pairs.items[:, 0].argsort().argsort()  # of items by a feature
    event = order[y1] * k // len(pairs.items)
    return replace(pairs, events=Events((), event, pairs.chosen == y1, ""))


def stepper(kind: type[Additive] | type[SwapRegret], k: int, anchored: bool) -> Callable[[], object]:
    """One step of the multipliers as the game makes it, with rates drawn once."""
    layout = dp(k)
    matrix, slack = layout.anchored(0) if anchored else layout.all_pairs()
    players, which = kind(1, len(matrix), torch.tensor([[0.01]]), torch.tensor([[1.0]])), torch.zeros(1, dtype=torch.long)
    rates = torch.rand(1, k, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def step() -> None:
        weight = players.weights(which)
        players.ascend(which, rates.detach() @ matrix.T - GAMMA * slack)
        (weight * (rates @ matrix.T - GAMMA * slack)).sum().backward()

    return step


def in_turn(one: Callable[[], object], two: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio of the second to the first. Short ones are run often enough to be measured."""
    again = [max(1, int(0.1 / took(call, 1))) for call in (one, two)]  # the first call also warms up
    seconds = np.array([[took(call, n) for call, n in zip((one, two), again, strict=True)] for _ in range(REPEATS)])
    return *np.median(seconds, axis=0), float(np.median(seconds[:, 1] / seconds[:, 0]))


def took(call: Callable[[], object], times: int) -> float:
    """Processor seconds a call, the mean of so many."""
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


if __name__ == "__main__":
    main()

"""32 settings of one head in one training against one of them alone, on 2 cores, in CPU seconds. Goal: 3 times its time at most, each equal to
its single fit.

    python benchmarks/replicas.py [lore | low_rank ...]

Two processes train 16 replicas each, one thread a process; what counts is the slower one's CPU time, which is the time that two free cores take.
One fit and both stacks take turns. A sample of the replicas is compared with single fits of the same seed by their validation margins.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import torch
from fit_time import world

from evenhand.core import Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo, target_margins
from evenhand.models.lore import Lore
from evenhand.models.low_rank import LowRank
from evenhand.training.scoring import margins
from evenhand.training.stack import train_all
from evenhand.training.traces import Fitted

REPEATS, EPOCHS, COMPARED = 3, 4, 6
HEADS = {"low_rank": LowRank(), "lore": Lore()}


def main() -> None:
    torch.set_num_threads(1)
    train, valid = world(0)
    for name, head in ((name, HEADS[name]) for name in sys.argv[1:] or HEADS):
        base = BradleyTerry(head)
        base = replace(base, schedule=replace(base.schedule, max_epochs=EPOCHS, patience=EPOCHS))  # the same work for each
        settings = [
            Pafo(replace(base, schedule=replace(base.schedule, weight_decay=wd)), alpha=a, balance=b)
            for a, b, wd in product((0.0, 0.1, 0.25, 0.5), (0.0, 0.25, 0.5, 1.0), (0.3, 1.0))
        ]
        pooled = base.fit(train, valid, 0)
        teachers = {f"teacher {g}": t for g, t in settings[0].teachers.of(pooled, train, valid, 0).items()}
        students = partial(fit_students, target_margins({"pooled": pooled, **teachers}, train, 0), train, valid)
        ratios, alone, sums = [], [], []
        with ProcessPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(students, [settings[:1], settings[:1]]))  # both processes are up
            for _ in range(REPEATS):
                one, _ = pool.submit(students, settings[:1]).result()
                parts = list(pool.map(students, [settings[:16], settings[16:]]))
                found = [fitted for _, part in parts for fitted in part]
                seconds = [took for took, _ in parts]
                ratios.append(max(seconds) / one)
                sums.append(sum(seconds) / one)
                alone.append(one)
            some = range(0, len(settings), len(settings) // COMPARED)
            single = [part[0] for _, part in pool.map(students, [[settings[k]] for k in some])]
        worst = max(
            float((margins(found[k].scorer, valid) - margins(b.scorer, valid)).abs().max()) for k, b in zip(some, single, strict=True)
        )
        print(
            f"PAFO students on {name}, {len(train):,} pairs x 128, {EPOCHS} epochs: one {np.median(alone):.1f} s, {len(settings)} in two processes:"
        )
        print(
            f"  ratio: min {min(ratios):.2f}, median {np.median(ratios):.2f}, max {max(ratios):.2f} (goal 3 at most; in turn it would be 16)"
        )
        print(f"  both processes together: median {np.median(sums):.2f} (in turn it would be 32)")
        print(f"  largest difference of a validation margin from its single fit: {worst:.1e} (target 1e-5)", flush=True)


def fit_students(target: torch.Tensor, train: Pairs, valid: Pairs, settings: list[Pafo]) -> tuple[float, list[Fitted]]:
    """CPU seconds, and the students."""
    trainings = [s.student(target, train, valid, 0) for s in settings]
    start = time.process_time()
    fitted = train_all(trainings, train, valid, 0)
    return time.process_time() - start, fitted


if __name__ == "__main__":
    main()

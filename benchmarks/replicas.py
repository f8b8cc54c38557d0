"""32 settings of one head in one training against one of them alone, on 2 cores. Target: at most 6 times its time, each equal to its single fit.

Two processes train 16 replicas each, one thread a process. `equal` compares every replica's validation margins with those of its own
single fit with the same seed.
"""

from __future__ import annotations

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

REPEATS, EPOCHS = 3, 8
HEADS = {"low_rank": LowRank(), "lore": Lore()}


def main() -> None:
    torch.set_num_threads(1)
    train, valid = world(0)
    for name, head in HEADS.items():
        base = BradleyTerry(head)
        base = replace(base, schedule=replace(base.schedule, max_epochs=EPOCHS, patience=EPOCHS))  # the same work for each
        settings = [
            Pafo(replace(base, schedule=replace(base.schedule, weight_decay=wd)), alpha=a, balance=b)
            for a, b, wd in product((0.0, 0.1, 0.25, 0.5), (0.0, 0.25, 0.5, 1.0), (0.3, 1.0))
        ]
        pooled = base.fit(train, valid, 0)
        teachers = {f"teacher {g}": t for g, t in settings[0].teachers.of(pooled, train, valid, 0).items()}
        students = partial(fit_students, target_margins({"pooled": pooled, **teachers}, train, 0), train, valid)
        ratios, alone = [], []
        with ProcessPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(students, [settings[:1], settings[:1]]))  # both processes are up
            for _ in range(REPEATS):
                start = time.perf_counter()
                pool.submit(students, settings[:1]).result()
                one = time.perf_counter() - start
                start = time.perf_counter()
                found = [f for part in pool.map(students, [settings[:16], settings[16:]]) for f in part]
                ratios.append((time.perf_counter() - start) / one)
                alone.append(one)
            single = [f[0] for f in pool.map(students, [[s] for s in settings])]
        worst = max(float((margins(a.scorer, valid) - margins(b.scorer, valid)).abs().max()) for a, b in zip(found, single, strict=True))
        print(f"PAFO students on {name}, {len(train):,} pairs x 128: one {np.median(alone):.1f} s, {len(settings)} together on 2 cores:")
        print(
            f"  ratio: min {min(ratios):.2f}, median {np.median(ratios):.2f}, max {max(ratios):.2f} (target 6 at most; in turn it would be 16)"
        )
        print(f"  largest difference of a validation margin from its single fit: {worst:.1e} (target 1e-5)")


def fit_students(target: torch.Tensor, train: Pairs, valid: Pairs, settings: list[Pafo]) -> list[Fitted]:
    return train_all([s.student(target, train, valid, 0) for s in settings], train, valid, 0)


if __name__ == "__main__":
    main()

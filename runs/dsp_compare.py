"""Every method within one tuning budget on the DSP worlds: who serves whom best, and who dominates whom.

Same worlds, features and histories as runs/dsp.py. In every run each entry tries BUDGET settings on validation pairs, the default first
(`training.tune`), and keeps the one that harms no group against its default and gains most on the groups' mean. Group-aware methods run
on two heads, the ridge solve and LoRe's. Controls: self-distillation of the tuned personalised model, at PAFO's default strength without
balance. Users of P-RLHF are known by number: unseen users get its generic reward. Intervals are clustered by user over all runs, and those of
differences hold at once over all pairwise comparisons of a cell (max-t). The entry chosen on validation is reported on test pairs.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from dsp import CELLS, DOMAINS, MINORITY, USERS, arguments, in_processes, per_user, sets_of

from evenhand.audits.ranking import Board, front, levels, pairwise, unfairness
from evenhand.methods.pafo import Pafo
from evenhand.training.scoring import cross_margins, margins
from evenhand.training.stack import train_all
from evenhand.training.tune import tune
from evenhand.workflows.hyperparameters import base, hyperparameters, method

BUDGET = 3
PERSONALISED = "personalised BT"
GROUP_AWARE = ("pafo", "inverse_frequency", "group_dro", "maxmin", "mgda")
ENTRIES: dict[str, tuple[str, str | None]] = {  # title → (method, head; None = the method's own)
    "one reward for all (BT)": ("bradley_terry", "linear"),
    PERSONALISED: ("bradley_terry", "low_rank"),
    "lore": ("lore", None),
    **{name: (name, "low_rank") for name in GROUP_AWARE},
    "reward_fairness": ("reward_fairness", "low_rank"),
    **{f"{name} on lore": (name, "lore") for name in GROUP_AWARE},
    **{name: (name, None) for name in ("vpl", "p_rlhf", "p_rlhf_cluster", "pal", "pal_angle", "pref", "gpo", "attention")},
}
FINISHED = Path("runs/out/dsp_compare")  # one file a run: a study that was stopped goes on from here; remove it to start anew
CONTROLS = {"self-distillation": PERSONALISED, "self-distillation on lore": "lore"}


def main() -> None:
    args = arguments(__doc__ or "")
    runs = [(m, s) for s in range(args.seeds) for m in range(4)]
    told = summary(in_processes(args, one_run, runs), args.seeds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(told) + "\n")
    show(told)


def one_run(texts: list[str], vectors: np.ndarray, run: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Per-user accuracies [USERS] of every entry in every cell, the setting chosen, and seconds."""
    file = FINISHED / f"{run[0]}-{run[1]}.json"
    if file.exists():
        return {n: {k: np.array(v) if k in CELLS else v for k, v in told.items()} for n, told in json.loads(file.read_text()).items()}
    sets: dict[str, Any] = sets_of(texts, vectors, run)
    found: dict[str, dict[str, Any]] = {}
    tuned = {}
    train, valid, seed = sets["train"], sets["valid"], run[1]

    def keep(title: str, scorer: Any, setting: str, start: float) -> None:
        cells = {cell: per_user(margins(scorer, sets[cell])) for cell in CELLS}
        found[title] = {**cells, "setting": setting, "seconds": time.process_time() - start}

    for title, (name, head) in ENTRIES.items():
        start = time.process_time()
        best, _ = tune(method(name, {}, head), train, valid, seed, BUDGET)
        tuned[title] = best
        keep(title, best.fitted.scorer, set(best.method), start)
    for title, of in CONTROLS.items():
        start = time.process_time()
        teacher = tuned[of]
        student = Pafo(base=base(teacher.method), alpha=0.0, balance=0.0)
        target = cross_margins(teacher.fitted.scorer, train, seed)
        fitted = train_all([student.student(target, train, valid, seed)], train, valid, seed)[0]
        keep(title, fitted.scorer, set(student), start)
    FINISHED.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps({n: {k: v.tolist() if k in CELLS else v for k, v in told.items()} for n, told in found.items()}))
    partial.replace(file)
    print(f"minority {DOMAINS[run[0]]}, seed {seed}: done", flush=True)
    return found


def set(chosen: Any) -> str:
    """A method's hyperparameters in one line."""
    return ", ".join(f"{name}={value}" for name, value in hyperparameters(chosen))


def summary(results: list[dict[str, dict[str, Any]]], seeds: int) -> dict[str, Any]:
    """Levels, pairwise and the front over all runs."""
    names = tuple(results[0])
    few = round(USERS * MINORITY)
    group = np.tile(np.r_[np.ones(few, int), np.zeros(USERS - few, int)], len(results))[None]
    out: dict[str, Any] = {"runs": len(results), "seeds": seeds, "users": USERS, "budget": BUDGET, "entries": list(names), "cells": {}}
    found = {}
    for cell in CELLS:
        accuracy = np.stack([np.concatenate([r[n][cell] for r in results]) for n in names])[:, None]
        board = Board(names, ("majority", "minority"), accuracy, group, np.full(group.shape, np.nan), np.full(group.shape, 30))
        found[cell] = levels(board)
        one = np.eye(len(names))
        rows = {
            n: [asdict(found[cell].estimate(one[i], c, "accuracy", g)) for c, g in enumerate((*board.groups, "all"))]
            for i, n in enumerate(names)
        }
        by_run = {n: [[100 * float(r[n][cell][s].mean()) for s in (slice(few, None), slice(0, few))] for r in results] for n in names}
        out["cells"][cell] = {"levels": rows, "by_run": by_run, "pairwise": [asdict(d) for d in pairwise(board, found[cell], 0)]}
        if cell == "test":
            uneven = unfairness(board, found[cell], names.index(PERSONALISED), resamples=300, seed=0)
            out["unfairness"] = {n: [asdict(u) for u in uneven[n]] for n in names}
    out["front"] = asdict(front(names, found["valid"].value[:, :2], found["test"].value[:, :2], PERSONALISED))
    out["seconds"] = {n: float(np.mean([r[n]["seconds"] for r in results])) for n in names}
    return out


def show(told: dict[str, Any]) -> None:
    for cell, title in CELLS.items():
        print(f"\n{title}: accuracy majority / minority")
        for name, rows in told["cells"][cell]["levels"].items():
            print(f"  {name:30s} {100 * rows[0]['value']:.1f} / {100 * rows[1]['value']:.1f}")
    print(told["front"])


if __name__ == "__main__":
    main()

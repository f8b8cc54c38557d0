"""The same on any number of processes: methods trained by 1, 2 and 4 ranks (gloo, CPU) on tiny language models of random weights, and by how much
what comes out differs from one rank's.

    python benchmarks/ranks.py
    python benchmarks/ranks.py --methods pafo,faro --steps 16 --ranks 3,8

Parameters are those of all that a method trains: pooled model, two teachers, student, heads and adapters. Margins are of validation pairs, the
teachers' targets with them; losses are the curves on training and validation pairs and the groups' changes, with violations and multipliers of
constraints. CPU seconds are of all ranks together: heads and losses are computed by each of them, the language model's passes by one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rank_worlds import BASE, METHODS, TUNING, Found, fitted, on_backbone, run, world
from tiny_models import tiny_bert, tiny_llama, tiny_qwen3

from evenhand.methods.faro import Faro, eo, hard
from evenhand.methods.inverse_frequency import InverseFrequency
from evenhand.methods.mgda import MGDA
from evenhand.methods.p_rlhf import PRlhfMethod
from evenhand.methods.pafo import Pafo, mse
from evenhand.methods.penalty import Penalty
from evenhand.methods.reward_fairness import RewardFairness
from evenhand.methods.reweighing import Reweighing
from evenhand.methods.vpl import VplMethod

MODELS = {"llama": tiny_llama, "bert": tiny_bert, "qwen3": tiny_qwen3}
LARGEST = 1e-6
MORE = {
    "bradley_terry": BASE,
    "pafo, mse, no guard": Pafo(BASE, distil=mse, balance=0.0, guarded=False),
    "faro eo, hard": Faro(BASE, eo, 0.02, dual=hard, step=0.1, bound=5.0),
    "penalty": Penalty(BASE),
    "mgda": MGDA(BASE),
    "inverse_frequency": InverseFrequency(BASE),
    "reweighing": Reweighing(BASE),
    "reward_fairness": RewardFairness(BASE),
    "vpl": VplMethod(BASE),
    "p_rlhf": PRlhfMethod(BASE),
}


def cases() -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """Name, method, model and settings of the backbone."""
    for name, method in (METHODS | MORE).items():
        yield name, method, "llama", {}
    for model in ("bert", "qwen3"):
        yield "pafo", METHODS["pafo"], model, {}
    yield "pafo, all weights", METHODS["pafo"], "llama", {"rank": 0}
    yield "pafo, last token", METHODS["pafo"], "llama", {"pooling": "last", "checkpointing": True}
    yield "pafo, sharded", METHODS["pafo"], "llama", {"sharded": True}


def trained(folder: Path, method: Any, model: str, settings: dict[str, Any], steps: int) -> Found:
    from evenhand import ranks

    settings = settings | {"tuning": replace(TUNING, steps=steps), "sharded": settings.get("sharded", False) and ranks.count() > 1}
    train, valid, _ = on_backbone(folder / model, **settings)
    return fitted(method, train, valid)


def differences(one: Found, other: Found) -> dict[str, float]:
    """The largest one of each kind."""
    kinds = {"parameters": ("head", "weights"), "margins": ("margins", "target")}
    out = dict.fromkeys([*kinds, "losses"], 0.0)
    for name, value in one.items():
        kind = next((k for k, parts in kinds.items() if name.rpartition(": ")[2] in parts), "losses")
        out[kind] = max(out[kind], float(np.abs(np.asarray(value, float) - np.asarray(other[name], float)).max()))
    return out


def main(arguments: list[str] | None = None) -> float:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--methods", default="", help="beginnings of names, separated by commas; default all")
    asked.add_argument("--ranks", default="2,4")
    asked.add_argument("--steps", type=int, default=8)
    told = asked.parse_args(arguments)
    counts = [1, *map(int, told.ranks.split(","))]
    torch.set_num_threads(1)
    import peft  # noqa: F401 - once, and not in every rank
    from transformers import BertModel, LlamaModel, Qwen3Model  # noqa: F401

    largest = 0.0
    print(f"{'method':<22}{'model':<8}{'ranks':>6}{'parameters':>12}{'margins':>12}{'losses':>12}  ranks alike{'CPU s':>8}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, made in MODELS.items():
            made(folder / name)
        for name, method, model, settings in cases():
            if told.methods and not name.startswith(tuple(told.methods.split(","))):
                continue
            for count in counts:
                job = partial(trained, method=method, model=model, settings=settings, steps=told.steps)
                seconds = run(world(count, job, folder, "case"))
                found = [dict(np.load(folder / f"case-{count}-{number}.npz")) for number in range(count)]
                if count == 1:
                    alone = found[0]
                by = differences(alone, found[0])
                alike = all(max(differences(found[0], rank).values()) == 0 for rank in found)
                largest = max(largest, *by.values())
                cells = "".join(f"{value:>12.1e}" for value in by.values())
                print(f"{name:<22}{model:<8}{count:>6}{cells}  {'to the bit' if alike else 'NO':<11}{seconds:>8.1f}", flush=True)
    print(f"largest difference: {largest:.1e} (target {LARGEST:.0e} at most)")
    return largest


if __name__ == "__main__":
    sys.exit(1 if main() > LARGEST else 0)

"""How an adapter is trained, and in which order it sees its examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from evenhand.core import EvenhandError

POOL = (
    8  # batches whose examples are sorted by length before they are dealt: little is padded, and batches still differ from epoch to epoch
)


@dataclass(frozen=True)
class Recipe:
    """rank: of LoRA on all linear layers, alpha twice as much. lr: at its highest; up in a line for `warm_up` of the steps, then down along
    half a cosine. batch: examples a step. clip: largest norm of a step's gradient. max_tokens: of prompt and answer together; what is over
    is cut (encode/chat.py says where) and counted. dtype: of the base; the adapter is float32. device: "cpu", "cuda"; None = cuda where
    there is one.

    Raises EvenhandError for a value out of range.
    """

    lr: float
    rank: int = 16
    epochs: int = 1
    batch: int = 8
    warm_up: float = 0.03
    clip: float = 1.0
    max_tokens: int = 512
    dtype: str = "bfloat16"
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        valid = {
            "lr": (0 < self.lr < 1, "above 0 and under 1"),
            "rank": (1 <= self.rank <= 1024, "from 1 to 1024"),
            "epochs": (1 <= self.epochs <= 1000, "from 1 to 1000"),
            "batch": (1 <= self.batch <= 4096, "from 1 to 4096"),
            "warm_up": (0 <= self.warm_up < 1, "0 or more and under 1"),
            "clip": (self.clip > 0, "above 0"),
            "max_tokens": (self.max_tokens >= 16, "16 or more"),
            "dtype": (self.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
            "seed": (0 <= self.seed < 2**32, "from 0 to 2**32 - 1"),
        }
        for name, (good, expected) in valid.items():
            if not good:
                raise EvenhandError(f"{name} of the training is {getattr(self, name)}. Expected: {expected}. To do: correct it.")

    def said(self) -> dict[str, str]:
        """By name, for whoever asks what an adapter was trained with; not the device, which decides no more than rounding."""
        return {f.name: str(getattr(self, f.name)) for f in fields(self) if f.name != "device"}

    def steps(self, n: int) -> int:
        return math.ceil(n * self.epochs / self.batch)

    def share(self, step: int, steps: int) -> float:
        """Of the learning rate, in step 0, 1, …, steps - 1."""
        up = math.ceil(self.warm_up * steps)
        if step < up:
            return (step + 1) / (up + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - up) / max(steps - up, 1)))

    def order(self, lengths: Sequence[int]) -> list[int]:
        """Examples in the order they are seen, all epochs: `batch` after `batch` of about the same length. What no batch is full of comes
        last.
        """
        draw = np.random.default_rng([self.seed, 17])
        size = np.asarray(lengths)
        batches: list[np.ndarray] = []
        rest: list[np.ndarray] = []
        for _ in range(self.epochs):
            dealt = draw.permutation(len(size))
            whole = len(size) - len(size) % self.batch
            pools = _cut(dealt[:whole], POOL * self.batch)
            epoch = [b for p in pools for b in _cut(p[np.argsort(size[p], kind="stable")], self.batch)]
            batches += [epoch[i] for i in draw.permutation(len(epoch))]
            rest.append(dealt[whole:])
        return [int(i) for part in (*batches, *rest) for i in part]


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]

"""Many judgements on a Ray cluster of three nodes (here on one machine), by one command: written, encoded, scored, audited and reported. Meanwhile
the driver is killed once, and the same command goes on; and a node is taken away, whose pieces others do.

    python runs/scale.py [--pairs 20000000] [--out runs/out/scale] [--kills 2]

Users of two tastes judge responses in four styles; a fifth of the users prefer the styles in reverse. A model is trained on few of them and reads each
from some choices of his or her own. Figures go to runs/results/scale.json, for docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results" / "scale.json"
USERS, PROMPTS, RARE, NOISE = 100_000, 2_000, 0.2, 0.15
FILE = 1_000_000  # pairs of a file
TRAINED, HISTORY = 400, 6  # users whose choices the model is trained on; choices of each user that are read
STYLES = (
    "In short: {do}, and be done with it.",
    "One thing you may want to try is to {do}; it has helped many people whom I know.",
    "Studies say that whoever decides to {do} does better, by about a tenth, than others do.",
    "Oh, how good that you ask! Why not {do} today, and tell us how it went?",
)
VERBS = ("mend", "paint", "plan", "water", "sell", "count", "clean", "move", "draw", "read")
THINGS = ("the roof", "a garden", "the old car", "a budget", "the kitchen", "a bicycle", "the accounts", "a letter", "the cellar", "a map")
PLACES = ("in spring", "at home", "with a friend", "before noon", "on a Sunday", "for a week", "by hand", "step by step", "as a team", "in the rain")


def texts() -> tuple[list[str], list[list[str]]]:
    """Prompts, and the four responses to each."""
    doings = [f"{v} {t} {p}" for v in VERBS for t in THINGS for p in PLACES] + [f"{v} {t} twice {p}" for v in VERBS for t in THINGS for p in PLACES]
    return [f"Should I {d}?" for d in doings[:PROMPTS]], [[style.format(do=d) for style in STYLES] for d in doings[:PROMPTS]]


def table(number: int, pairs: int, users: np.ndarray | None = None) -> pa.Table:
    """Judgements; the same for the same number. users int64[pairs]: who judges; None: anybody."""
    rng = np.random.default_rng([7, number])
    rare = np.random.default_rng(7).random(USERS) < RARE
    user = rng.integers(USERS, size=pairs) if users is None else users
    prompt, one = rng.integers(PROMPTS, size=pairs), rng.integers(len(STYLES), size=pairs)
    other = (one + rng.integers(1, len(STYLES), size=pairs)) % len(STYLES)
    takes_one = (one < other) ^ rare[user] ^ (rng.random(pairs) < NOISE)
    chosen, rejected = np.where(takes_one, one, other), np.where(takes_one, other, one)
    prompts, responses = texts()
    flat = pa.array([r for four in responses for r in four])
    columns = {
        "user": pa.array([f"user {i}" for i in range(USERS)]).take(pa.array(user)),
        "taste": pa.array(["common", "rare"]).take(pa.array(rare[user].astype(np.int64))),
        "prompt": pa.array(prompts).take(pa.array(prompt)),
        "chosen": flat.take(pa.array(prompt * len(STYLES) + chosen)),
        "rejected": flat.take(pa.array(prompt * len(STYLES) + rejected)),
    }
    return pa.table(columns)


def put(made: pa.Table, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, place.with_suffix(".part"))
    os.replace(place.with_suffix(".part"), place)


def work(folder: Path, pairs: int, address: str) -> None:
    """All steps; what is finished is not done again."""
    import evenhand
    from evenhand.encode.cache import encode_cached
    from evenhand.encode.minilm import MiniLM
    from evenhand.engines.on_ray import on_ray
    from evenhand.workflows.audit_shards import audit_files
    from evenhand.workflows.audit_shards import settings_of  # noqa: F401

    raise NotImplementedError


if __name__ == "__main__":
    pass

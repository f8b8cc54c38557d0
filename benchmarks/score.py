"""Rows a second of CPU time, and peak memory, of `evenhand score` on candidates: 1,000 distinct texts, 20,000 users with 5 earlier choices each.

python benchmarks/score.py [--rows 1000000] [--encoder none|minilm]

A tenth of the rows is scored first: what is beyond it, in time and memory, is the price of the rows alone, and what 10 million cost follows.
Bounds with --encoder none: 50,000 rows/s, and 1,000 MB at most for 10 million rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, PROMPTS, RESPONSES, EARLIER = 20_000, 200, 5, 5
MANY = 10_000_000
RATE, MOST = 50_000, 1_000


def texts() -> tuple[list[str], list[str]]:
    """Prompts, and the responses to each, prompt after prompt."""
    prompts = [f"question {p}: " + "why is it so? " * 4 for p in range(PROMPTS)]
    said = [f"answer {r} to {p}: " + "because of this and that " * (3 + r) for p in range(PROMPTS) for r in range(RESPONSES)]
    return prompts, said


def write(path: Path, rows: int) -> None:
    """Five candidates of a prompt for a user, then the next user's."""
    prompts, said = texts()
    rng = np.random.default_rng(0)
    asked = rows // RESPONSES
    user, prompt = (np.repeat(rng.integers(most, size=asked), RESPONSES) for most in (USERS, PROMPTS))
    response = prompt * RESPONSES + np.tile(np.arange(RESPONSES), asked)
    columns = {
        "user": pa.DictionaryArray.from_arrays(user.astype(np.int32), pa.array([f"user-{u}" for u in range(USERS)])),
        "prompt": pa.DictionaryArray.from_arrays(prompt.astype(np.int32), pa.array(prompts)),
        "response": pa.DictionaryArray.from_arrays(response.astype(np.int32), pa.array(said)),
    }
    pq.write_table(pa.table({name: column.dictionary_decode() for name, column in columns.items()}), path, row_group_size=100_000)


def prepare(folder: Path, encoder: str) -> None:
    """A model on these texts, and what its users chose before."""
    import torch

    from evenhand.encode.minilm import MiniLM
    from evenhand.encode.projection import FeatureMap
    from evenhand.models.low_rank import LowRank
    from evenhand.serve.reward_model import RewardModel

    prompts, said = texts()
    reads = None if encoder == "none" else MiniLM()
    feature_map = FeatureMap.fit(said, None if reads is None else reads.encode(said), dim=64)
    head = LowRank(8)
    scorer = head.build(64, 0)
    with torch.no_grad():
        for weight in scorer.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    RewardModel(reads, feature_map, head, scorer).save(folder / "model")
    rng = np.random.default_rng(2)
    with (folder / "choices.jsonl").open("w") as out:
        for user in range(USERS):
            for p in rng.choice(PROMPTS, EARLIER, replace=False):
                a, b = p * RESPONSES + rng.choice(RESPONSES, 2, replace=False)
                out.write(json.dumps({"user": f"user-{user}", "prompt": prompts[p], "chosen": said[a], "rejected": said[b]}) + "\n")


def measured(folder: Path, data: Path) -> tuple[float, float]:
    """CPU seconds and peak MB of one run of the command, in a process of its own."""
    command = [sys.executable, "-m", "evenhand", "score", "model", data.name, "--history", "choices.jsonl", "--out", f"out-{data.name}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "EVENHAND_CACHE": str(folder / "cache")}
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def elsewhere(work: Any, *given: Any) -> None:
    """In a process of its own: on Linux, a process that is started counts the memory of the one that started it as its own peak."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=given)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"exit code {process.exitcode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--encoder", choices=("none", "minilm"), default="none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        elsewhere(prepare, folder, asked.encoder)
        found = {}
        for rows in (asked.rows // 10, asked.rows):
            elsewhere(write, folder / f"{rows}.parquet", rows)
            found[rows] = measured(folder, folder / f"{rows}.parquet")
            print(f"{rows:,} rows: {found[rows][0]:.1f} s of CPU, {found[rows][1]:,.0f} MB at most", flush=True)
    (few, (seconds, megabytes)), (many, (more_seconds, more_megabytes)) = found.items()
    rate = (many - few) / (more_seconds - seconds)
    a_million = (more_megabytes - megabytes) / (many - few) * 1e6
    grown = a_million * (MANY - few) / 1e6
    print(
        f"{rate:,.0f} rows/s, {a_million:.0f} MB a million rows; by these, {MANY:,} rows: {seconds + (MANY - few) / rate:,.0f} s, {megabytes + grown:,.0f} MB"
    )
    sys.exit(asked.encoder == "none" and (rate < RATE or megabytes + grown > MOST))


if __name__ == "__main__":
    main()

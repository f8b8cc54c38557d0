"""Texts per second of the embedded encoder against SentenceTransformer.encode with defaults: same weights, texts, machine and run.

    python benchmarks/encode.py [--texts 160] [--rounds 3] [--threads 1] [--require 2.0]

The two take turns, round after round, so that whatever else the machine does slows both; the ratio is that of their CPU seconds summed
over the rounds (wall time is printed beside it). Exit code 1 when the ratio or the cosine misses what is required.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from evenhand.encode.bert import faster_dtype
from evenhand.encode.minilm import MiniLM


def sample_texts(count: int) -> list[str]:
    """`count` responses of the built-in sample, drawn at random; lengthened by joining responses until half of them are long."""
    lines = files("evenhand").joinpath("data/sample/responses.jsonl").read_text(encoding="utf-8").splitlines()
    responses = [text for line in lines for text in json.loads(line)["responses"].values()]
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(responses, size=size, replace=False)) for size in rng.choice([1, 1, 2, 4], size=count)]


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--texts", type=int, default=160)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1, help="torch threads of both")
    arguments.add_argument("--require", type=float, default=2.0, help="least ratio of CPU seconds")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)

    ours = MiniLM(chunked=False)
    theirs = SentenceTransformer(str(ours._folder), device="cpu", local_files_only=True)
    encoders = {"sentence-transformers": lambda texts: theirs.encode(texts), "evenhand": ours.encode}
    texts = sample_texts(options.texts)
    for encode in encoders.values():
        encode(texts[:8])  # loads weights and sets the libraries up

    cpu, wall = dict.fromkeys(encoders, 0.0), dict.fromkeys(encoders, 0.0)
    vectors = {}
    for _ in range(options.rounds):
        for name, encode in encoders.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            vectors[name] = encode(texts)
            cpu[name] += time.process_time() - cpu_start
            wall[name] += time.perf_counter() - wall_start

    ratio = cpu["sentence-transformers"] / cpu["evenhand"]
    cosine = (vectors["evenhand"] * vectors["sentence-transformers"]).sum(1)
    tokens = np.minimum(ours.tokens(texts), ours.max_tokens)
    done = options.rounds * len(texts)
    print(f"machine  {processor()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, {faster_dtype()}")
    print(f"texts    {len(texts)} x {options.rounds} rounds, {tokens.mean():.0f} tokens on average ({tokens.min()}-{tokens.max()})")
    for name in encoders:
        print(f"{name:22} {done / cpu[name]:6.1f} texts per CPU-second   {done / wall[name]:6.1f} per second of wall time")
    by_wall = wall["sentence-transformers"] / wall["evenhand"]
    print(f"ratio    {ratio:.2f} by CPU time, {by_wall:.2f} by wall time (required: {options.require})")
    print(f"cosine   least {cosine.min():.6f}, mean {cosine.mean():.6f} (required: 0.999)")
    return 0 if ratio >= options.require and cosine.min() >= 0.999 else 1


if __name__ == "__main__":
    raise SystemExit(main())

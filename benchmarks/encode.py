"""Texts per second of the embedded encoder against SentenceTransformer.encode with defaults: same weights, texts, machine and run.

    python benchmarks/encode.py [--texts 160] [--rounds 3] [--threads 1] [--require 2.0]

They take turns, round after round, so that whatever else the machine does slows all; the ratio is that of their CPU seconds summed
over the rounds (wall time is printed beside it). Exit code 1 when the ratio or the cosine misses what is required.

The floor is what no encoder of these weights can go below here: the matrix products of the same batches and nothing else, those of the dense
layers and the two of attention, one after the other on the same rows, in bfloat16 and in float32. Beside them stands what all else takes:
splitting into pieces, normalising, GELU, softmax, sums and copies.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import linear

from evenhand.encode.bert import faster_dtype
from evenhand.encode.minilm import MiniLM, _batches


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


def products(tokens: np.ndarray, dtype: torch.dtype) -> Callable[[], None]:
    """The products of six layers over these texts (their numbers of tokens), in the batches that the encoder makes of them."""
    g = torch.Generator().manual_seed(0)
    shapes = ((1152, 384), (384, 384), (1536, 384), (384, 1536))
    weights = [tuple(torch.randn(*s, generator=g).to(dtype) for s in (shape, shape[:1])) for shape in shapes]
    inputs = {width: torch.randn(256, width, generator=g).to(dtype) for width in (384, 1536)}
    heads = torch.randn(2, 12, 256, 32, generator=g).to(dtype)
    batches = [([int(tokens[i]) for i in batch], rows) for batch, rows in _batches(tokens.tolist())]

    def run() -> None:
        with torch.inference_mode():
            for lengths, rows in batches:
                for _ in range(6):
                    for weight, bias in weights:
                        linear(inputs[weight.shape[1]][:rows], weight, bias)
                    for n in lengths:
                        q, k = heads[0, :, :n], heads[1, :, :n]
                        (q @ k.mT) @ k

    return run


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
    texts = sample_texts(options.texts)
    tokens = np.minimum(ours.tokens(texts), ours.max_tokens)
    floors = {f"products, {str(dtype).removeprefix('torch.')}": products(tokens, dtype) for dtype in (torch.bfloat16, torch.float32)}
    encoders = {"sentence-transformers": lambda: theirs.encode(texts), "evenhand": lambda: ours.encode(texts)}
    for encode in (theirs.encode, ours.encode):
        encode(texts[:8])  # loads weights and sets the libraries up

    runs = encoders | floors
    cpu, wall = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0.0)
    vectors = {}
    for _ in range(options.rounds):
        for name, work in runs.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            vectors[name] = work()
            cpu[name] += time.process_time() - cpu_start
            wall[name] += time.perf_counter() - wall_start

    ratio = cpu["sentence-transformers"] / cpu["evenhand"]
    cosine = (vectors["evenhand"] * vectors["sentence-transformers"]).sum(1)
    done = options.rounds * len(texts)
    print(f"machine  {processor()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, {faster_dtype()}")
    print(f"texts    {len(texts)} x {options.rounds} rounds, {tokens.mean():.0f} tokens on average ({tokens.min()}-{tokens.max()})")
    for name in runs:
        print(f"{name:22} {done / cpu[name]:6.1f} texts per CPU-second   {done / wall[name]:6.1f} per second of wall time")
    least = min(floors, key=lambda name: cpu[name])
    print(f"floor    {least}; evenhand runs at {100 * cpu[least] / cpu['evenhand']:.0f} % of it (goal: 85)")
    by_wall = wall["sentence-transformers"] / wall["evenhand"]
    print(f"ratio    {ratio:.2f} by CPU time, {by_wall:.2f} by wall time (required: {options.require})")
    print(f"cosine   least {cosine.min():.6f}, mean {cosine.mean():.6f} (required: 0.999)")
    return 0 if ratio >= options.require and cosine.min() >= 0.999 else 1


if __name__ == "__main__":
    raise SystemExit(main())

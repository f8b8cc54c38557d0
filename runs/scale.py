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
PLACES = (
    "in spring",
    "at home",
    "with a friend",
    "before noon",
    "on a Sunday",
    "for a week",
    "by hand",
    "step by step",
    "as a team",
    "in the rain",
)


def texts() -> tuple[list[str], list[list[str]]]:
    """Prompts, and the four responses to each."""
    doings = [f"{v} {t} {p}" for v in VERBS for t in THINGS for p in PLACES] + [
        f"{v} {t} twice {p}" for v in VERBS for t in THINGS for p in PLACES
    ]
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
    """All steps; what is finished is not done again. A line of JSON a step goes to steps.jsonl."""
    import evenhand
    from evenhand.encode.cache import encode_cached
    from evenhand.encode.minilm import MiniLM
    from evenhand.engines.on_ray import on_ray

    began, cpu = time.monotonic(), time.process_time()

    def tell(step: str, **said: Any) -> None:
        nonlocal began, cpu
        line = {"step": step, "seconds": round(time.monotonic() - began, 1), "driver_cpu": round(time.process_time() - cpu, 1), **said}
        with (folder / "steps.jsonl").open("a") as out:
            out.write(json.dumps(line) + "\n")
        print(line, flush=True)
        began, cpu = time.monotonic(), time.process_time()

    files = [folder / "judged" / f"part-{number:03d}.parquet" for number in range(-(-pairs // FILE))]
    new = [(number, file) for number, file in enumerate(files) if not file.exists()]
    for number, file in new:
        put(table(number, min(FILE, pairs - number * FILE)), file)
    rng = np.random.default_rng(8)
    few, read = folder / "few.parquet", folder / "history.parquet"
    if not read.exists():
        put(table(10_000, 60 * TRAINED, rng.integers(TRAINED, size=60 * TRAINED)), few)
        put(table(10_001, HISTORY * USERS, np.repeat(np.arange(USERS), HISTORY)), read)
    tell("write", files=len(new), rows=pairs)
    with on_ray(address) as engine:
        cache = folder / "cache"
        distinct = [r for four in texts()[1] for r in four]
        before = len(list(cache.rglob("*.safetensors")))
        encode_cached(distinct, MiniLM(), cache, engine=engine)
        tell("encode", texts=len(distinct), shards=len(list(cache.rglob("*.safetensors"))) - before, workers=engine.at_once)
        if not (folder / "model").exists():
            encoding = evenhand.Encoding(encoder=MiniLM(), cache=cache)
            evenhand.fit(few, "pafo", encoding=encoding, engine=engine).save(folder / "fit")
            os.replace(folder / "fit" / "model", folder / "model")
        tell("fit", pairs=60 * TRAINED)
        scored = [folder / "scored" / file.name for file in files]
        scored[0].parent.mkdir(exist_ok=True)
        missing = [(file, out) for file, out in zip(files, scored, strict=True) if not out.exists()]
        model, history = evenhand.RewardModel.load(folder / "model"), evenhand.load(read)
        for file, out in missing:
            parts = out.with_name(f"{out.name}.unfinished")
            there = len(list(parts.glob("part-*.safetensors")))
            evenhand.score(model, file, history=history, engine=engine, unfinished=parts, cache=cache).save(out)
            tell("score", file=file.name, parts_found=there)
            for left in (*parts.iterdir(), parts):
                left.rmdir() if left.is_dir() else left.unlink()
        made = evenhand.audit_partial(
            folder / "scored", folder / "shards", ("reward_chosen", "reward_rejected"), group_by="taste", engine=engine
        )
        tell("audit, shards", shards=len(made.shards))
    for name, by in (("audit", "taste"), ("audit-support", None)):
        report = evenhand.audit_merge(folder / "shards", group_by=by, unfinished=folder / "merged")
        report.save(folder / name)
        tell("audit, merge and report", grouped_by=by or "support")
    (folder / "done").touch()


@contextmanager
def cluster() -> Iterator[Any]:
    """Three nodes of one core, as long as the command runs."""
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="rays-", ignore_cleanup_errors=True) as folder:
        (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)  # where such a cluster writes its address
        node = {
            "num_cpus": 1,
            "object_store_memory": 400 * 2**20,
            "include_dashboard": False,
            "include_log_monitor": False,
            "node_ip_address": "127.0.0.1",
        }
        found = Cluster(initialize_head=True, head_node_args=node | {"temp_dir": folder, "no_monitor": True})
        nodes = [found.add_node(**node) for _ in range(2)]
        try:
            yield found, nodes
        finally:
            found.shutdown()


def until(condition: Any, process: subprocess.Popen[bytes]) -> bool:
    """Whether it came true before the process ended."""
    while process.poll() is None:
        if condition():
            return True
        time.sleep(0.2)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "scale")
    parser.add_argument("--address", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.out
    folder.mkdir(parents=True, exist_ok=True)
    if asked.address:
        work(folder, asked.pairs, asked.address)
        return
    began, told = time.monotonic(), []
    with cluster() as (found, nodes):
        command = [sys.executable, __file__, "--pairs", str(asked.pairs), "--out", str(folder), "--address", found.address]

        def half_scored() -> bool:
            done = list((folder / "scored").glob("part-*.parquet"))
            return len(done) * FILE >= asked.pairs // 4 and any((folder / "scored").glob("*.unfinished/part-000003.safetensors"))

        driver = subprocess.Popen(command)
        if until(half_scored, driver):
            driver.send_signal(signal.SIGKILL)
            told.append("the driver was killed (signal 9) in the middle of a file")
        driver.wait()
        driver = subprocess.Popen(command)
        if until(
            lambda: any((folder / "shards").glob("*")) or len(list((folder / "scored").glob("part-*.parquet"))) * FILE * 2 >= asked.pairs,
            driver,
        ):
            found.remove_node(nodes[0])
            told.append("one of three nodes was taken away")
        if driver.wait() or not (folder / "done").exists():
            sys.exit(f"the driver ended with {driver.returncode}")
    reports = {name: json.loads((folder / name / "report.json").read_text()) for name in ("audit", "audit-support")}
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    groups = {g["group"]: g["accuracy"] for g in reports["audit"]["model"]["groups"]}
    result = {
        "pairs": asked.pairs, "users": USERS, "minutes": round((time.monotonic() - began) / 60, 1), "meanwhile": told, "steps": steps,
        "accuracy": {name: [a["value"], a["low"], a["high"], a["n_users"], a["n_pairs"]] for name, a in groups.items()},
        "gap": {name: [r["model"]["gap"][key] for key in ("value", "low", "high")] for name, r in reports.items()},
        "support": re.sub(r" Chosen because.*", "", reports["audit-support"]["groups_rule"]),
    }  # fmt: skip
    if asked.pairs >= 20_000_000:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

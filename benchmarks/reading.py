"""Rows a second of CPU time of reading; with --against OTHER/src the same of another version of this package, and the ratio.

python benchmarks/reading.py [--rows 1000000] [--against ../before/src]

Bounds: JSON lines 100,000 rows/s, Parquet 2,000,000 rows/s. `check` on a Parquet file of 3 million rows: 60 s, 2 GB (--check).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, PROMPTS, RESPONSES = 20_000, 2_000, 8  # texts of about 200 characters, each said by many


def table(rows: int, seed: int = 0) -> pa.Table:
    """Made-up pairs: a quarter of the users has a country, every response is of one prompt."""
    rng = np.random.default_rng(seed)
    prompt, user = rng.integers(PROMPTS, size=rows), rng.integers(USERS, size=rows)
    first = rng.integers(RESPONSES, size=rows)
    second = (first + rng.integers(1, RESPONSES, size=rows)) % RESPONSES
    asked = pa.array([f"question {p}: " + "why is it so? " * 4 for p in range(PROMPTS)])
    said = pa.array([f"answer {r} to {p}: " + "because of this and that " * (3 + r) for p in range(PROMPTS) for r in range(RESPONSES)])
    columns = {
        "user": pa.DictionaryArray.from_arrays(user.astype(np.int32), pa.array([f"user-{u}" for u in range(USERS)])),
        "prompt": pa.DictionaryArray.from_arrays(prompt.astype(np.int32), asked),
        "chosen": pa.DictionaryArray.from_arrays((prompt * RESPONSES + first).astype(np.int32), said),
        "rejected": pa.DictionaryArray.from_arrays((prompt * RESPONSES + second).astype(np.int32), said),
        "country": pa.DictionaryArray.from_arrays((user % 4).astype(np.int32), pa.array(["FR", "SG", "US", "IN"])),
    }
    return pa.table({name: column.dictionary_decode() for name, column in columns.items()})


def rates(folder: Path) -> dict[str, float]:
    """Rows a second (of CPU, so that a busy machine does not count) of each file, the best of three."""
    from evenhand.data.load import load

    found = {}
    for path in sorted(folder.iterdir()):
        seconds = []
        for _ in range(3):
            start = time.process_time()
            rows = len(load(path, attributes=["country"]))
            seconds.append(time.process_time() - start)
        found[path.name] = rows / min(seconds)
    return found


def checked(path: Path) -> tuple[float, float]:
    """CPU seconds and gigabytes of `check`, the page included."""
    from evenhand.data.load import load
    from evenhand.workflows.check import check

    start = time.process_time()
    data = load(path, attributes=["country"])
    check(data, ["country"]).save(path.parent / "page")
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000, help="of the Parquet file; the text files have a tenth")
    asked.add_argument("--against", type=Path, help="the src folder of another version")
    asked.add_argument("--check", action="store_true", help="time `check` on the Parquet file instead")
    asked.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.folder and given.check:
        print(json.dumps(checked(given.folder / "pairs.parquet")))
    elif given.folder:
        print(json.dumps(rates(given.folder)))
    else:
        report(given)


def report(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole = table(given.rows)
        pq.write_table(whole, folder / "pairs.parquet")
        if not given.check:
            some = whole.slice(0, given.rows // 10)
            (folder / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in some.to_pylist()))
            pa.csv.write_csv(some, folder / "pairs.csv")
        del whole
        now = measured(folder, given.check, None)
        if given.check:
            print(f"check on {given.rows:,} rows of Parquet: {now[0]:.1f} s of CPU, {now[1]:.2f} GB")
            return
        before = measured(folder, False, given.against) if given.against else {}
        for name, rate in now.items():
            ratio = f", {rate / before[name]:.2f} times the other version's {before[name]:,.0f}" if before else ""
            print(f"{name}: {rate:,.0f} rows/s{ratio}")


def measured(folder: Path, check: bool, src: Path | None) -> dict:
    """In a process of its own, one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1", **({"PYTHONPATH": str(src.resolve())} if src else {})}
    command = [sys.executable, __file__, "--folder", str(folder), *(["--check"] if check else [])]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    import pyarrow.csv

    main()

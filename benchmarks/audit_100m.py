"""Audit of 100 million pairs in 50 Parquet files through the command line: seconds, CPU seconds, peak memory of all processes, disk. Target: 6 minutes, 4 GB on 2 cores.

    audit_100m.py [FILES]       of 2 million pairs each, 50 unless told otherwise: `audit_100m.py 5` measures 10 million
    audit_100m.py 5 --keep DIR  makes the files there once, and takes those that are there
    audit_100m.py 0             the checks alone: small files, of which the reading is killed, and one is cut

A million users of two tastes, 1,000 prompts, 4 responses each; the scores serve the rarer taste worse by 8 points.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PAIRS, USERS, PROMPTS, RESPONSES, SLAB = 2_000_000, 1_000_000, 1_000, 4, 500_000
SECONDS, GIGABYTES = 360, 4
RARE, COMMON_RIGHT, RARE_RIGHT = 0.2, 0.72, 0.64


def write(folder: Path, files: int, pairs: int = PAIRS, users: int = USERS, prompts: int = PROMPTS) -> None:
    """part-000.parquet and so on; a file of a number is always the same."""
    rare = np.random.default_rng(0).random(users) < RARE
    names = pa.array([f"user {i}" for i in range(users)])
    asked = pa.array([f"Prompt number {i}, of some length" for i in range(prompts)])
    text = pa.array([f"Response {k} to prompt {p}, which says a little more." for p in range(prompts) for k in range(RESPONSES)])
    schema = pa.schema(
        [(n, pa.string()) for n in ("user", "prompt", "chosen", "rejected")]
        + [(n, pa.float32()) for n in ("score_chosen", "score_rejected")]
    )
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        place = folder / f"part-{number:03d}.parquet"
        if place.exists():
            continue
        rng = np.random.default_rng([1, number])
        with pq.ParquetWriter(place.with_suffix(".part"), schema) as out:
            for first in range(0, pairs, SLAB):
                size = min(SLAB, pairs - first)
                user, prompt, one = rng.integers(users, size=size), rng.integers(prompts, size=size), rng.integers(RESPONSES, size=size)
                other = (one + rng.integers(1, RESPONSES, size=size)) % RESPONSES
                likes_one = (one < other) ^ rare[user] ^ (rng.random(size) < 0.2)
                chosen, rejected = np.where(likes_one, one, other), np.where(likes_one, other, one)
                right = rng.random(size) < np.where(rare[user], RARE_RIGHT, COMMON_RIGHT)
                margin = (np.abs(rng.normal(size=size)) * np.where(right, 1, -1)).astype(np.float32)
                columns = [names.take(pa.array(user)), asked.take(pa.array(prompt))]
                columns += [text.take(pa.array(prompt * RESPONSES + side)) for side in (chosen, rejected)]
                columns += [pa.array(margin), pa.array(np.zeros(size, np.float32))]
                out.write_table(pa.table(columns, schema=schema))
        os.replace(place.with_suffix(".part"), place)


class Watched:
    """The largest memory of a process and all below it, and the most that a folder held, looked at every tenth of a second."""

    def __init__(self, pid: int, folder: Path):
        self.pid, self.folder, self.memory, self.disk = pid, folder, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.memory = max(self.memory, sum(_private(p) for p in _tree(self.pid)))
            with contextlib.suppress(OSError):
                self.disk = max(self.disk, sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file()))

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _private(pid: int) -> int:
    """Bytes of a process, what it shares with others counted once among them."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def audit(folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("evenhand"), "audit", folder, "--scores", "score_chosen,score_rejected", "--out", out, *more]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def evenhand(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([Path(sys.executable).with_name("evenhand"), "audit", *words], cwd=cwd, capture_output=True, text=True)


def said(cwd: Path, shards: str) -> object:
    done = evenhand(cwd, "--merge", shards, "--out", f"report-{shards}")
    if done.returncode not in (0, 1, 3):
        sys.exit(done.stderr)
    report = json.loads((cwd / f"report-{shards}" / "report.json").read_text())
    return {k: v for k, v in report.items() if k != "command"} | {"facts": {k: v for k, v in report["facts"].items() if k != "date"}}


def checks(cwd: Path, files: int = 8) -> None:
    """Killed at each shard in turn and run again, the report is that of an undisturbed run; a file that was cut is named, and the others are counted."""
    write(cwd / "data", files, 50_000, 10_000, 100)
    make = ("data", "--scores", "score_chosen,score_rejected", "--jobs", "2", "--partial")
    evenhand(cwd, *make, "whole")
    kills = 0
    for finished in range(1, files):
        run = subprocess.Popen([Path(sys.executable).with_name("evenhand"), "audit", *make, "killed"], cwd=cwd, stderr=subprocess.DEVNULL)
        while run.poll() is None and len([*(cwd / "killed").glob("*.shard")]) < finished:
            time.sleep(0.01)
        kills += run.poll() is None
        run.kill()
        run.wait()
    evenhand(cwd, *make, "killed")
    print(f"{kills} kills while shards were made: {'the same report' if said(cwd, 'killed') == said(cwd, 'whole') else 'ANOTHER REPORT'}")
    os.truncate(cwd / "data" / "part-003.parquet", 100_000)
    broken = evenhand(cwd, *make, "broken")
    left = evenhand(cwd, *make, "broken", "--on-bad", "skip")
    told = "files left out" in said(cwd, "broken")["facts"]  # type: ignore[index]
    named = "part-003.parquet" in broken.stderr and f"The other {files - 1} of {files}" in broken.stderr
    print(
        f"one file cut: exit {broken.returncode}, {'named' if named else 'NOT NAMED'}; left out: exit {left.returncode}, {'the report says so' if told else 'NOT SAID'}"
    )


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("files", type=int, nargs="?", default=50)
    asked.add_argument("--keep", type=Path)
    asked.add_argument("--jobs", default="0")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        checks(Path(name, "checks"))
        if given.files == 0:
            return
        data, out = given.keep or Path(name, "data"), Path(name, "work", "audit")
        write(data, given.files)
        some = Path(name, "files")  # of a folder that is kept, as many as were asked for
        some.mkdir()
        for number in range(given.files):
            os.link(data / f"part-{number:03d}.parquet", some / f"part-{number:03d}.parquet") if not given.keep else (some / f"part-{number:03d}.parquet").symlink_to((data / f"part-{number:03d}.parquet").resolve())  # fmt: skip
        size = sum(f.stat().st_size for f in some.iterdir()) / 1e9
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        run = audit(some, out, "--jobs", given.jobs)
        watched = Watched(run.pid, out.parent)
        _, errors = run.communicate()
        seconds = time.perf_counter() - start
        watched.end()
        if run.returncode not in (0, 1, 3):
            sys.exit(errors)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.loads((out / "report.json").read_text())
    gap, share = report["model"]["gap"], given.files * PAIRS / 1e8
    print(
        f"{given.files * PAIRS:,} pairs in {given.files} files, {USERS:,} users, {size:.1f} GB of Parquet: {seconds:.0f} s (target {SECONDS * share:.0f}), "
        f"{used:.0f} s of CPU, peak {watched.memory / 1e9:.2f} GB of all processes (target {GIGABYTES}), {watched.disk / 1e9:.1f} GB of disk"
    )
    print(
        f"gap {100 * gap['value']:.2f} points [{100 * gap['low']:.2f}, {100 * gap['high']:.2f}], planted: {100 * (COMMON_RIGHT - RARE_RIGHT):.0f}; of few pairs a user, support tells the tastes apart less well"
    )


if __name__ == "__main__":
    main()

"""A million records that nobody would write, through every door that takes records: files of choices, candidates to score, texts to audit, bodies of
requests. Each is used, or counted under a reason, or refused by an EvenhandError that says what to do; no other exception, no crash, no hang.

    python nightly/fuzz.py --records 1000000
    python nightly/fuzz.py --records 500 --doors score --seed 77     # one batch again

Records come in batches, each with a seed of its own and in a process of its own: one that dies or does not end is found, and named by its seed.
The generators of lines, sources and bodies are the suite's (tests/test_data_fuzz.py, tests/served.py).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import random
import select
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import served
import test_data_fuzz as lines
from starlette.testclient import TestClient
from test_text_align import Certain, grid, texts

from evenhand.core import EvenhandError
from evenhand.data.load import load
from evenhand.data.source import every
from evenhand.texts.rows import read_texts
from evenhand.workflows.audit_text import audit_text
from evenhand.workflows.score import score

Record = dict[str, Any]
REFUSED, USED, LEFT_OUT = "refused", "used", "left out"
TIMES = ["2024-01-01", "2024-13-45T00:00:00Z", 1.7e9, "yesterday", 0]
WEIRD = [
    *lines.WEIRD,
    "1e400",
    "9" * 400,
    b"\xff\xfe",
    float("-inf"),
    [[1, 2], [3]],
    {"role": "user", "content": "x"},
    "[INST] a [/INST]",
    "\n\nHuman: a",
]


def of_lines(kind: str) -> Callable[[random.Random, int, Path], Counter[str]]:
    """Lines of JSON or CSV, whole and garbled, read in a way drawn at random."""

    def door(rng: random.Random, count: int, place: Path) -> Counter[str]:
        row = lines.as_json if kind == "jsonl" else lines.as_csv
        good = json.dumps(lines.record(rng)).encode() if kind == "jsonl" else ",".join(lines.NAMES).encode()
        content = b"\n".join([good, *(row(rng) for _ in range(count))])
        path = place / f"choices.{kind}"
        path.write_bytes(content)
        return read_back(path, rng, place, sum(bool(r.strip()) for r in content.split(b"\n")) if kind == "jsonl" else None)

    return door


def of_sources(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Rows of every source that has samples, with values that are none."""
    shapes = {
        **lines.SHAPES,
        **{
            name: lambda r, s=s: dict(s[r.randrange(len(s))])
            for name, source in every().items()
            if (s := source.sample) and not source.needs
        },
    }
    name = rng.choice(sorted(shapes))
    rows = []
    for _ in range(count):
        row = shapes[name](rng)
        for _ in range(rng.choice((0, 0, 1, 2))):
            key = rng.choice(list(row))
            row[key] = rng.choice([*WEIRD[:-6], *TIMES])
            if rng.random() < 0.2:
                del row[key]
        rows.append(row or {"x": 1})
    path = place / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return read_back(path, rng, place, None, source=rng.choice([name, None]))


def refused(error: EvenhandError) -> Counter[str]:
    """A file that is not taken at all, and the beginning of why."""
    return Counter({REFUSED: 1, f"{REFUSED}: {str(error).partition('Expected')[0][:70]}": 1})


def read_back(path: Path, rng: random.Random, place: Path, rows: int | None, **more: Any) -> Counter[str]:
    """What `load` makes of a file; rows: how many it has, None = that is not known without reading it."""
    wanted: Record = rng.choice([
        {}, {"numbers": ["score"]}, {"attributes": ["country"]}, {"source": "trl"}, {"need_texts": False, "numbers": ["score"]}, {"one_user": True},
        {"columns": {"user": "country"}}, {"min_strength": 2.0}, {"weigh_strength": True}, {"missing": ["FR", "NaN"], "attributes": ["country"]},
    ])  # fmt: skip
    wanted = {**wanted, **more}
    listed = place / "bad.csv"
    try:
        data = load(path, on_bad="skip", bad_rows_to=listed, **wanted)
    except EvenhandError as error:
        return refused(error)
    counted = data.exclusions
    assert counted.rows_in == counted.rows_used + sum(counted.reasons.values()), counted
    if counted.unit == "rows":
        assert rows is None or counted.rows_in == rows, (counted, rows)
        with listed.open(newline="") as file:
            assert len(list(csv.DictReader(file))) == counted.rows_in - counted.rows_used
    for index, size in (
        (data.user, len(data.users)),
        (data.chosen, len(data.texts)),
        (data.rejected, len(data.texts)),
        (data.prompt, len(data.texts)),
    ):
        assert not len(index) or (index.min() >= -1 and index.max() < size)
    assert all(np.isfinite(v).all() for v in data.numbers.values())
    with contextlib.suppress(EvenhandError):  # the first bad row, by its place
        load(path, **wanted)
    return Counter({USED: counted.rows_used, LEFT_OUT: counted.rows_in - counted.rows_used})


def of_types(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Columns of types that no table of choices has: times, decimals, lists, structs, dictionaries, bytes, gaps alone."""

    def texts_of(name: str) -> list[str]:
        return [f"{name}{rng.randrange(30)}" for _ in range(count)]

    makers: list[Callable[[str], pa.Array]] = [
        lambda n: pa.array(texts_of(n)), lambda n: pa.array(texts_of(n), pa.large_string()), lambda n: pa.array(texts_of(n)).dictionary_encode(),
        lambda n: pa.array([t.encode() for t in texts_of(n)], pa.binary()), lambda n: pa.nulls(count), lambda n: pa.array(range(count), pa.timestamp("us")),
        lambda n: pa.array([rng.randrange(99) for _ in range(count)], rng.choice([pa.int8(), pa.uint64(), pa.date32(), pa.duration("s")])),
        lambda n: pa.array([rng.random() for _ in range(count)], rng.choice([pa.float32(), pa.float64()])).cast(pa.float64()),
        lambda n: pa.array([rng.choice([True, False, None]) for _ in range(count)]), lambda n: pa.array([[t] for t in texts_of(n)]),
        lambda n: pa.array([[{"role": rng.choice(["user", "assistant"]), "content": t}] for t in texts_of(n)]), lambda n: pa.array([{n: 1}] * count),
        lambda n: pa.array([math.nan if rng.random() < 0.5 else 1.0 for _ in range(count)]), lambda n: pa.array([None, *texts_of(n)][:count]),
        lambda n: pa.array([rng.randrange(9) for _ in range(count)], pa.decimal128(9, 2)),
    ]  # fmt: skip
    usual = {"user", "prompt", "chosen", "rejected"}
    columns = {
        n: (rng.choice(makers) if n not in usual or rng.random() < 0.08 else makers[0])(n)
        for n in lines.NAMES
        if n in usual or rng.random() < 0.6
    }
    table = pa.table(columns)
    path = place / "choices.parquet"
    try:
        pq.write_table(table, path)
    except pa.ArrowException:  # of a type that Parquet has not
        return Counter({REFUSED: 1})
    return read_back(path, rng, place, count)


def of_bytes(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Parquet, Arrow and compressed files with bytes cut or changed. Whole files count as one record each."""
    rows = [{k: v for k, v in lines.record(rng).items() if k in {"user", "prompt", "chosen", "rejected"}} for _ in range(50)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, place / "whole.parquet")
    with pa.ipc.new_file(str(place / "whole.arrow"), table.schema) as sink:
        sink.write_table(table)
    for packing in ("gz", "zst"):
        with pa.output_stream(str(place / f"whole.jsonl.{packing}"), compression={"gz": "gzip", "zst": "zstd"}[packing]) as sink:
            sink.write("\n".join(map(json.dumps, rows)).encode())
    files = [(p.name.partition(".")[2], p.read_bytes()) for p in sorted(place.glob("whole.*"))]
    found: Counter[str] = Counter()
    for i in range(count):
        ending, whole = files[i % len(files)]
        content = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        path = place / f"cut.{ending}"
        path.write_bytes(content)
        try:
            counted = load(path, on_bad="skip").exclusions
        except EvenhandError:
            found[REFUSED] += 1
        else:
            assert counted.rows_in == counted.rows_used + sum(counted.reasons.values())
            found[USED] += 1
    return found


def scored(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Candidates, pairs and conversations to a saved model, with a history and without, to every kind of file."""
    pairs = rng.random() < 0.5
    rows = []
    for _ in range(count):
        sides = (
            {"chosen": rng.choice(served.TEXTS), "rejected": rng.choice(served.TEXTS)} if pairs else {"response": rng.choice(served.TEXTS)}
        )
        row: Record = {
            "user": rng.choice(["ann", "7", "nobody"]),
            "prompt": f"p{rng.randrange(5)}",
            **sides,
            "note": rng.choice(["a", 1, None]),
        }
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            row[rng.choice(list(row))] = rng.choice([w for w in WEIRD if not isinstance(w, bytes)])
        rows.append(row)
    path = place / "rows.jsonl"
    content = [json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join([content[0], *(lines.garble(c, rng) if rng.random() < 0.1 else c for c in content[1:])]))
    asked = sum(bool(r.strip()) for r in path.read_bytes().split(b"\n"))
    history = [{"user": u, "prompt": p, "chosen": c, "rejected": r} for u, pairs_of in served.HISTORIES.items() for p, c, r in pairs_of]
    known: Record = rng.choice([{}, {"history": history}])
    try:
        found = score(MODEL, path, on_bad="skip", best=rng.choice([None, 1]) if not pairs else None, **known)
        assert len(found) + found.skipped == asked, (len(found), found.skipped, asked)
        assert np.isfinite(found.rewards).all()
        out = place / f"scores.{rng.choice(['jsonl', 'csv', 'parquet'])}"
        found.save(out)
    except EvenhandError as error:
        return refused(error)
    written = {"jsonl": lambda: out.read_bytes().count(b"\n"), "csv": lambda: _rows(out), "parquet": lambda: pq.read_metadata(out).num_rows}
    kept = len(found) if found.best is None else int((found.rank <= found.best).sum())
    assert written[out.suffix[1:]]() == kept, out.suffix
    with contextlib.suppress(EvenhandError):
        score(MODEL, path, **known)
    return Counter({USED: len(found), LEFT_OUT: found.skipped})


def _rows(path: Path) -> int:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def audited(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Texts of a grid with cells, draws, runs and texts that are none; those that are read are audited, too."""
    of, some = grid(), texts(4)
    rows = []
    for i in range(count):
        row: Record = {**some[i % len(some)], "draw": i % 4 + 4 * (i // len(some)), "run": rng.choice(["a", "b"]), "source": "original"}
        if rng.random() < 0.004:
            row[rng.choice(list(row))] = rng.choice([w for w in WEIRD if not isinstance(w, bytes)])
        if rng.random() < 0.05:
            row["text"] = rng.choice(["", " ", "\0", "\ud800", "x" * 30_000, "\u202e!", "must will", "𝕏 " * 90])
        rows.append(row)
    path = place / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    try:
        read = read_texts(path, of)
    except EvenhandError as error:
        return refused(error)
    counted = read.exclusions
    assert counted.rows_in == counted.rows_used + sum(counted.reasons.values()) == count
    assert counted.rows_used == sum(len(t) for t in read.runs.values())
    with contextlib.suppress(EvenhandError):
        audit_text(path, grid=of, audits=[Certain()], permutations=100, progress=lambda *_: None, cache=place / "cache").save(place / "out")
    return Counter({USED: counted.rows_used, LEFT_OUT: count - counted.rows_used})


def requested(rng: random.Random, count: int, place: Path) -> Counter[str]:
    """Bodies to the server: each gets an answer that is the sender's fault, or as many rewards as it asked for; none repeats what was sent."""
    found: Counter[str] = Counter()
    said: list[str] = []
    with TestClient(served.served(MODEL, said.append), raise_server_exceptions=False) as client:
        for path, raw in served.malformed(rng.randrange(2**31), count):
            reply = client.post(path, content=raw, headers={"content-type": "application/json"})
            assert reply.status_code == 200 or 400 <= reply.status_code < 500, (reply.status_code, path, raw[:300])
            assert served.SECRET not in reply.text + "".join(said), (path, raw[:300])
            said.clear()
            if reply.status_code != 200:
                found[REFUSED] += 1
                continue
            body, got = json.loads(raw), reply.json()
            if path == "/classify":
                asked, rewards = len(body["input"]) if isinstance(body.get("input"), list) else 1, [d["probs"][0] for d in got["data"]]
            elif path == "/get_reward":
                asked, rewards = len(body["query"]), got["rewards"]
            else:
                asked, rewards = len(body.get("responses") or body["messages"]), got["rewards"]
            assert len(rewards) == asked, (path, raw[:300])
            numbers = [r for r in rewards if r is not None or path != "/v1/score"]  # null there: a response without text
            assert all(map(math.isfinite, numbers)), (path, raw[:300])
            found[USED] += 1
    return found


@dataclass(frozen=True)
class Door:
    """share of all records; batch: records in one process."""

    check: Callable[[random.Random, int, Path], Counter[str]]
    share: float
    batch: int


DOORS = {
    "jsonl": Door(of_lines("jsonl"), 0.25, 2000), "csv": Door(of_lines("csv"), 0.2, 2000), "sources": Door(of_sources, 0.2, 250), "types": Door(of_types, 0.08, 250),
    "bytes": Door(of_bytes, 0.02, 400), "score": Door(scored, 0.1, 1000), "audit-text": Door(audited, 0.1, 320), "serve": Door(requested, 0.05, 500),
}  # fmt: skip
MODEL = served.small()


def batches(records: int, names: list[str], seed: int) -> Iterator[tuple[str, int, int]]:
    """(door, seed, records) until all are dealt out."""
    whole = sum(DOORS[n].share for n in names)
    for name in names:
        left = round(records * DOORS[name].share / whole)
        number = 0
        while left > 0:
            count = min(left, DOORS[name].batch)
            yield name, seed + number, count
            left, number = left - count, number + 1


def apart(name: str, seed: int, count: int, seconds: float) -> tuple[Counter[str], str]:
    """A batch in a process of its own: what became of its records, and what is wrong ("" = nothing)."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        said: Record
        try:
            with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                said = {"counts": DOORS[name].check(random.Random(f"{name} {seed}"), count, Path(folder))}
        except BaseException:
            said = {"wrong": traceback.format_exc()[-1500:]}
        os.write(there, json.dumps(said).encode()[:60_000])
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as answer:
        ready, _, _ = select.select([answer], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
        said_of_it = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    place = f"{name}, seed {seed}, {count} records"
    if not ready:
        return Counter(), f"{place}: no end after {seconds:g} s"
    if status or not said_of_it:
        return Counter(), f"{place}: ended by {status}"
    found = json.loads(said_of_it)
    return Counter(found.get("counts", {})), f"{place}: {found['wrong']}" if "wrong" in found else ""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--records", type=int, default=1_000_000)
    asked.add_argument("--doors", default=",".join(DOORS))
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--seconds", type=float, default=300, help="that one batch may take")
    told = asked.parse_args()
    counts: Counter[str] = Counter({"records": 0, "batches": 0, USED: 0, LEFT_OUT: 0})
    of_door: dict[str, Counter[str]] = {}
    findings = []
    for name, seed, count in batches(told.records, told.doors.split(","), told.seed):
        found, wrong = apart(name, seed, count, told.seconds)
        found_here = of_door.setdefault(name, Counter())
        found_here.update(found)
        found_here["records"] += count
        counts.update({what: n for what, n in found.items() if ":" not in what})
        counts["records"] += count
        counts["batches"] += 1
        if wrong:
            print(wrong, flush=True)
            findings.append(wrong)
    return ended("fuzz", counts, findings, seed=told.seed, doors=of_door)


if __name__ == "__main__":
    sys.exit(main())

"""10,000 mutated records: nothing but an EvenhandError comes out, and every row is accounted for."""

from __future__ import annotations

import contextlib
import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evenhand.core import EvenhandError
from evenhand.data.load import load
from evenhand.data.source import every

WEIRD: list[Any] = [
    None, "", " ", "\0", "\ud800", "a" * 5000, 0, -1, 1e308, 10**30, True, False, [], {}, [[]], {"a": {}}, [{"role": "user", "content": None}],
    "NaN", "é", "\u202e", "=1+1", "<script>", float("nan"), float("inf"), -0.0, "train", "🙂" * 50, [1, "x", None],
]  # fmt: skip
NAMES = ["user", "prompt", "chosen", "rejected", "weight", "tie", "split", "score", "country"]


def record(rng: random.Random) -> dict[str, Any]:
    return {
        "user": f"u{rng.randrange(40)}", "prompt": f"p{rng.randrange(20)}", "chosen": f"c{rng.randrange(30)}", "rejected": f"r{rng.randrange(30)}",
        "weight": rng.random() + 0.1, "tie": rng.random() < 0.1, "split": rng.choice(["train", "valid", "test", ""]), "score": rng.gauss(0, 1),
        "country": "FR",
    }  # fmt: skip


def mutate(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    for _ in range(rng.randrange(3)):
        name = rng.choice(NAMES)
        what = rng.randrange(4)
        if what == 0:
            row.pop(name, None)
        elif what == 1:
            row[name + rng.choice(["", "_", "s"])] = rng.choice(WEIRD)
        elif what == 2:
            row[name] = [row.get(name)]
        else:
            row[name] = rng.choice(WEIRD)
    return row


def garble(line: bytes, rng: random.Random) -> bytes:
    """Bytes cut, doubled, swapped or thrown in; sometimes a line is left alone."""
    if rng.random() < 0.7 or not line:
        return line
    at = rng.randrange(len(line))
    junk = rng.choice([b"", b'"', b"\xff", b"\x00", b"{", b"}", b"\\u", b"[" * 3000, b",", b"\r", b"NaN", b"\xef\xbb\xbf", b"'", b";"])
    return rng.choice([line[:at], line[:at] + junk + line[at:], line[:at] + junk + line[at + 1 :], line + junk, junk, line * 2])


def as_json(rng: random.Random) -> bytes:
    line = json.dumps(mutate(record(rng), rng)).encode()
    return garble(line, rng) if rng.random() < 0.5 else line


def as_csv(rng: random.Random) -> bytes:
    row = mutate(record(rng), rng)
    cells = [str(row.get(n, "")) for n in NAMES]
    line = ",".join(f'"{c}"' if rng.random() < 0.3 else c for c in cells)
    return garble(line.encode("utf-8", "surrogatepass"), rng) if rng.random() < 0.5 else line.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(("kind", "line"), [("jsonl", as_json), ("csv", as_csv)])
@pytest.mark.parametrize("seed", range(10))
def test_mutated_rows_are_used_or_excluded(tmp_path: Path, kind: str, line: Callable[[random.Random], bytes], seed: int) -> None:
    """500 records a file x 2 kinds x 10 files = 10,000 records."""
    rng = random.Random(seed)
    good = json.dumps(record(rng)).encode() if kind == "jsonl" else ",".join(NAMES).encode()
    lines = [good, *(line(rng) for _ in range(500))]
    path = tmp_path / f"fuzz.{kind}"
    path.write_bytes(b"\n".join(lines))
    for wanted in ({}, {"numbers": ["score"], "attributes": ["country"]}, {"source": "trl"}, {"need_texts": False, "numbers": ["score"]}):
        data = load(path, on_bad="skip", bad_rows_to=tmp_path / "bad.csv", **wanted)
        counted = data.exclusions
        assert counted.rows_in == counted.rows_used + sum(counted.reasons.values())
        assert counted.rows_used == len(data) > 50
        assert counted.reasons
        listed = list(csv.DictReader((tmp_path / "bad.csv").open()))
        assert len(listed) == counted.rows_in - counted.rows_used
        assert [int(r["row"]) for r in listed] == sorted(int(r["row"]) for r in listed)
        if kind == "jsonl":  # one row a line that is not blank; a lone carriage return ends no line
            assert counted.rows_in == sum(bool(raw.strip()) for raw in b"\n".join(lines).split(b"\n"))
        with pytest.raises(EvenhandError):
            load(path, **wanted)


SHAPES = {
    "ratings": lambda rng: {"user": f"u{rng.randrange(9)}", "prompt": "p", "response": f"r{rng.randrange(30)}", "score": rng.randrange(5)},
    "votes": lambda rng: {"user": f"u{rng.randrange(9)}", "item": f"r{rng.randrange(30)}", "vote": rng.choice([1, 0, -1])},
    "trl": lambda rng: {"user": "u", "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"{rng.random()}"}], "rejected": "x"},
    "dsp": lambda rng: {"query": "q", "responses": {d: f"{d}" for d in ("academy", "business", "entertainment", "literature", "normal")}},
    "prism": lambda rng: {"user_id": "u", "conversation_id": f"c{rng.randrange(50)}", "turn": 0, "user_prompt": "q", "model_response": f"{rng.random()}", "score": 3},
    "bbq": lambda rng: {**every()["bbq"].sample[rng.randrange(4)], "question_index": str(rng.randrange(9))},
    "table": lambda rng: {"user": f"u{rng.randrange(3)}", "prompt": "p", "chosen": f"c{rng.randrange(30)}", "rejected": "r", "event": rng.choice(["a", "b", ""]), "target": "chosen", "twin": str(rng.randrange(40))},
    "personalllm": lambda rng: {"prompt": "q", "response_1": f"{rng.random()}", "response_2": "b", "response_1_m": 1.0, "response_2_m": rng.random()},
}  # fmt: skip


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_mutated_rows_of_every_source(tmp_path: Path, source: str, seed: int) -> None:
    rng = random.Random(seed)
    rows = [SHAPES[source](rng)]
    for _ in range(100):
        row = SHAPES[source](rng)
        if rng.random() < 0.5:
            name = rng.choice(list(row))
            row[name] = (
                rng.choice(WEIRD) if not isinstance(row[name], dict) or rng.random() < 0.5 else {**row[name], "normal": rng.choice(WEIRD)}
            )
        rows.append(row)
    path = tmp_path / "fuzz.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    try:
        counted = load(path, source=source, on_bad="skip").exclusions
    except EvenhandError as error:
        assert "no usable pair" in str(error)  # noqa: PT017
    else:
        assert counted.rows_in == counted.rows_used + sum(counted.reasons.values())
        assert counted.rows_in >= 1
    with contextlib.suppress(EvenhandError):
        load(path, source=source)


@pytest.mark.parametrize("seed", range(40))
def test_mutated_binary_files(tmp_path: Path, seed: int) -> None:
    """Parquet, Arrow and compressed files with bytes cut or changed: read, or refused with an EvenhandError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(seed)
    rows = [{k: v for k, v in record(rng).items() if k in {"user", "prompt", "chosen", "rejected"}} for _ in range(50)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as sink:
        sink.write_table(table)
    for packing in ("gz", "zst"):
        with pa.output_stream(str(tmp_path / f"a.jsonl.{packing}"), compression={"gz": "gzip", "zst": "zstd"}[packing]) as sink:
            sink.write("\n".join(map(json.dumps, rows)).encode())
    for path in sorted(tmp_path.iterdir()):
        content = bytearray(path.read_bytes())
        if rng.random() < 0.3:
            content = content[: rng.randrange(len(content))]
        for _ in range(rng.randrange(1, 4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(EvenhandError):
            load(path, on_bad="skip")

"""The server of rewards under what trainers and strangers send: a real process of `evenhand serve`, asked over loopback.

burst       1,000 requests at once, one response each: p50, p99, CPU seconds of the server, and how many the full queue refused
malformed   10,000 bodies that are wrong: every answer is 200 or 4xx
schema      Schemathesis over the OpenAPI document, right and wrong bodies
strangers   requests with wrong tokens, Hosts and Origins: how many were scored
load        eight clients for --minutes: resident memory after the first fifth, against its median

python benchmarks/serve.py [--encoder minilm] [--minutes 10] [PART ...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from served import COLOURS, GOOD, PATHS, SECRET, TEXTS, THINGS, malformed, served, small

PARTS = ("burst", "slow", "malformed", "schema", "strangers", "load")
JSON = {"content-type": "application/json"}


@contextlib.contextmanager
def server(encoder: str, *options: str, token: str = "") -> Iterator[tuple[str, int]]:
    """(address, process id) of a server that answers; its log is searched for the text that every request holds."""
    with tempfile.TemporaryDirectory() as folder:
        model(encoder).save(Path(folder) / "model")
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "evenhand", "serve", str(Path(folder) / "model"), "--port", "0", *options]
        with log.open("w") as out:
            process = subprocess.Popen(command, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1", "EVENHAND_TOKEN": token})
        try:
            while not (found := re.search(r"on (http://\S+)\n", log.read_text())):
                if process.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.1)
            yield found[1], process.pid
        finally:
            process.terminate()
            code = process.wait(120)
            written = log.read_text()
            print(
                f"    exit code {code} after SIGTERM; sent text in the log: {written.count(SECRET)}; defects: {written.count('internal error')}"
            )


def model(encoder: str) -> Any:
    if encoder == "none":
        return small()
    from evenhand.encode.minilm import MiniLM

    return small(encoder=MiniLM())  # type: ignore[arg-type]


def summary(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"p50 {statistics.median(ordered):.3f} s, p99 {ordered[int(0.99 * (len(ordered) - 1))]:.3f} s"


def cpu(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def burst(address: str, pid: int, count: int) -> None:
    """Bare sockets that are open before the clock starts: a client library would measure itself."""
    host, _, port = address.removeprefix("http://").partition(":")
    times: dict[int, list[float]] = {}
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    before, start = cpu(pid), time.perf_counter()
    for i, (_, writer) in enumerate(opened):
        body = json.dumps({"responses": [f"{SECRET} {COLOURS[i % 5]} {THINGS[i % 7]} {i}"]})
        head = f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read(-1)
        status = int(said.split(b" ", 2)[1]) if said else 0
        times.setdefault(status, []).append(time.perf_counter() - start)
        assert status != 429 or b"retry-after: " in said
        writer.close()

    await asyncio.gather(*(read(*one) for one in opened))
    whole, busy = time.perf_counter() - start, cpu(pid) - before
    told = "; ".join(f"{len(found)} x {status}, {summary(found)}" for status, found in sorted(times.items()))
    print(f"    {count} requests at once in {whole:.1f} s, {busy:.1f} CPU seconds of the server: {told}", flush=True)


async def slow(address: str, count: int) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    times: list[float] = []
    ends: list[float] = []

    async def dribble(i: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        start = time.perf_counter()
        writer.write(b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (b"Content-Length: 9999\r\n\r\n" if i % 2 else b""))
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b" " if i % 2 else b"X")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 1)
        ends.append(time.perf_counter() - start)
        writer.close()

    async def honest() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=600) as client:
            while len(ends) < count:
                start = time.perf_counter()
                assert (await client.post("/v1/score", json={"responses": [SECRET]})).status_code == 200
                times.append(time.perf_counter() - start)
                await asyncio.sleep(0.05)

    await asyncio.gather(honest(), *(dribble(i) for i in range(count)))
    print(
        f"    {count} slow connections: {len(times)} honest requests meanwhile, {summary(times)}; closed after {min(ends):.0f} to {max(ends):.0f} s"
    )


def bodies(address: str, count: int) -> None:
    seen: Counter[int] = Counter()
    told = 0
    with httpx.Client(base_url=address, timeout=600, headers=JSON) as client:
        for path, raw in malformed(1, count):
            said = client.post(path, content=raw)
            seen[said.status_code] += 1
            told += SECRET in said.text
    print(f"    {count} bodies: {dict(sorted(seen.items()))}; server errors {sum(n for s, n in seen.items() if s >= 500)}; "
          f"replies that repeat what was sent: {told}", flush=True)  # fmt: skip


def schema(examples: int) -> None:
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import CHECKS, load_all_checks
    from schemathesis.generation import GenerationMode

    load_all_checks()
    unequal = CHECKS.get_one("positive_data_acceptance")  # that two lists are equally long cannot be said in a schema
    found = schemathesis.openapi.from_asgi("/openapi.json", served(small()))
    for operation in (result.ok() for result in found.get_all_operations()):
        for mode in GenerationMode if operation.method == "post" else [GenerationMode.POSITIVE]:
            seen: Counter[int] = Counter()

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            def check(case: Any) -> None:
                said = case.call()
                seen[said.status_code] += 1  # noqa: B023
                case.validate_response(said, excluded_checks=[unequal])

            check()
            print(f"    {operation.label}, {mode.value} data: {dict(sorted(seen.items()))}, no failure", flush=True)


def strangers(address: str, token: str) -> None:
    from test_serve_web import ELSEWHERE, TRICKS

    seen: Counter[int] = Counter()
    right = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, timeout=60) as client:
        assert client.post("/v1/score", json={"responses": ["a"]}, headers=right).status_code == 200
        for path in PATHS:
            for trick in TRICKS:
                wrong = {k: v.replace("t0ken-" + "x" * 40, secrets.token_urlsafe(34)) for k, v in trick.items()}
                wrong = {k: v.strip() for k, v in wrong.items() if k != "host"}  # a client library sends no blank at the end
                seen[client.post(path, json=GOOD[path][0], headers=wrong).status_code] += 1
            for trick in ELSEWHERE:
                seen[client.post(path, json=GOOD[path][0], headers={**right, **trick}).status_code] += 1
            for cut in range(1, len(token)):
                seen[client.post(path, json=GOOD[path][0], headers={"authorization": f"Bearer {token[:cut]}"}).status_code] += 1
    print(f"    {sum(seen.values())} requests: {dict(sorted(seen.items()))}; scored: {seen[200]}", flush=True)


async def load(address: str, pid: int, minutes: float) -> None:
    until = time.monotonic() + 60 * minutes
    begin = time.monotonic() + 12 * minutes
    resident: list[int] = []
    times: list[float] = []
    seen: Counter[int] = Counter()

    async def client_(number: int) -> None:
        draw, wrong = random.Random(number), malformed(number, 10**9)
        async with httpx.AsyncClient(base_url=address, timeout=600, headers=JSON) as client:
            while time.monotonic() < until:
                words = [
                    " ".join(draw.choices([*COLOURS, *THINGS, SECRET, str(draw.random())], k=draw.randrange(1, 120)))
                    for _ in range(draw.randrange(1, 9))
                ]
                history = [{"chosen": draw.choice(TEXTS), "rejected": str(draw.random())} for _ in range(draw.randrange(4))]
                start = time.perf_counter()
                if draw.random() < 0.05:
                    path, raw = next(wrong)
                    said = await client.post(path, content=raw)
                else:
                    said = await client.post("/v1/score", json={"responses": words, "history": history})
                    times.append(time.perf_counter() - start)
                seen[said.status_code] += 1

    async def watch() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(1)
            if time.monotonic() > begin:
                resident.append(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]))  # type: ignore[index]

    await asyncio.gather(watch(), *(client_(i) for i in range(8)))
    middle = statistics.median(resident)
    low, high = min(resident) / middle - 1, max(resident) / middle - 1
    first, last = (statistics.median(part) for part in (resident[: len(resident) // 4], resident[-len(resident) // 4 :]))
    print(f"    {minutes:g} minutes, 8 clients, {sum(seen.values())} requests {dict(sorted(seen.items()))}, {summary(times)}", flush=True)
    print(
        f"    resident memory {middle / 1024:.0f} MB, {100 * low:+.1f} % to {100 * high:+.1f} %; last quarter against first {100 * (last / first - 1):+.1f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--encoder", choices=("none", "minilm"), default="none")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10)
    asked = parser.parse_args()
    for part in asked.parts or PARTS:
        print(f"{part} (encoder {asked.encoder})", flush=True)
        if part == "schema":
            schema(asked.examples)
            continue
        token = secrets.token_urlsafe(32) if part == "strangers" else ""
        with server(asked.encoder, "--max-users", "500", token=token) as (address, pid):
            if part == "burst":
                asyncio.run(burst(address, pid, asked.requests))
            elif part == "slow":
                asyncio.run(slow(address, 500))
            elif part == "malformed":
                bodies(address, asked.bodies)
            elif part == "strangers":
                strangers(address, token)
            elif part == "load":
                asyncio.run(load(address, pid, asked.minutes))
            else:
                sys.exit(f"{part} is no part. Expected: {', '.join(PARTS)}")


if __name__ == "__main__":
    main()

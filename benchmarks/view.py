"""1,000 small runs in `evenhand view`: seconds of CPU time, and of the clock, until the table can be opened; then one page, one run and a filter of it.

python benchmarks/view.py [--runs 1000]

Bound: 2 s of CPU time for the first table, with every report read for the first time; 0.5 s for a later one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path

FIRST, LATER = 2.0, 0.5  # seconds


def write(root: Path, runs: int) -> None:
    """Audits of two groups, about 20 kB each, as an audit of a small table writes."""
    for i in range(runs):
        low = 0.6 + 0.0001 * i
        e = {
            "value": low,
            "low": low - 0.02,
            "high": low + 0.02,
            "n_users": 400,
            "n_pairs": 12_000,
            "metric": "accuracy",
            "group": "",
            "level": 0.95,
        }
        curve = [[0.01 * k, 0.5 + 0.001 * k] for k in range(100)]
        groups = [{"group": f"g{k}", "accuracy": e, "log_loss": e, "margin": e, "ece": e, "excluded": ""} for k in range(20)]
        model = {"model": "m", "overall": e, "gap": e, "groups": groups, "support": {"users": curve}}
        document = {"format": "evenhand report 1", "verdict": ("PASS", "FAIL", "INSUFFICIENT")[i % 3], "title": f"Audit {i}", "requirements": [], "model": model,
                    "facts": {"date": f"2026-11-{1 + i % 28:02d} 10:00 UTC"}}  # fmt: skip
        folder = root / f"batch-{i // 100}" / f"run-{i}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(document, indent=1))


def main() -> None:
    import httpx

    from evenhand.workflows.view import guarded

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs

    async def ask(application: object, path: str) -> tuple[float, float, str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://127.0.0.1") as client:
            cpu, clock = time.process_time(), time.monotonic()
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return time.process_time() - cpu, time.monotonic() - clock, answer.text

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), runs)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*.json")) / 1e6
        print(f"{runs:,} reports, {size:.0f} MB")
        application = guarded(folder, host="127.0.0.1", token=None)
        first, *_, page = found = asyncio.run(ask(application, "/"))
        assert f"{runs:,} runs" in page
        run = re.search(r'href="(/run/[0-9a-f]{16})"', page)[1]  # type: ignore[index]
        worst = 0.0
        print(f"first table: {found[0]:.2f} s of CPU, {found[1]:.2f} s of the clock, {len(page.encode()) / 1000:.0f} kB")
        for name, path in (("table again", "/"), ("filtered", "/?verdict=FAIL&search=run-7&sort=figure"), ("a run", run)):
            cpu, clock, _ = asyncio.run(ask(application, path))
            worst = max(worst, cpu)
            print(f"{name}: {cpu:.2f} s of CPU, {clock:.2f} s of the clock")
    sys.exit(first > FIRST or worst > LATER)


if __name__ == "__main__":
    main()

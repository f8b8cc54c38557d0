"""What a nightly job leaves: one line, nightly/out/NAME.json, and an exit status that says whether it found something."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "out"
TESTS = HERE.parent / "tests"  # generators, models and worlds that the suite has, too
MOST_FINDINGS = 200  # that are written down
BEGAN = time.monotonic()


def ended(name: str, counts: Mapping[str, int | float], findings: Sequence[str], **more: Any) -> int:
    """The exit status: 1 where something was found. counts: what was done. more: what else the file is to hold."""
    OUT.mkdir(parents=True, exist_ok=True)
    seconds = round(time.monotonic() - BEGAN)
    said = {
        "job": name,
        "counts": dict(counts),
        "found": len(findings),
        "findings": list(findings)[:MOST_FINDINGS],
        "seconds": seconds,
        **more,
    }
    (OUT / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    told = ", ".join(f"{n:,} {what}" for what, n in counts.items())
    print(f"{name}: {told}; {f'{len(findings)} FOUND' if findings else 'nothing found'} ({seconds} s)", flush=True)
    return 1 if findings else 0

"""The page of the study of a cluster (runs/scale.py), from runs/results/scale.json."""

from __future__ import annotations

from typing import Any

from scale import HISTORY
from tables import per_cent, table

WORDS = {
    "write": "written", "encode": "encoded", "fit": "trained", "score": "scored", "audit, shards": "read into shards", "audit, merge and report": "put together, audited, reported",
}  # fmt: skip


def scale(found: dict[str, Any]) -> str:
    by_step: dict[str, list[dict[str, Any]]] = {}
    for step in found["steps"]:
        by_step.setdefault(step["step"], []).append(step)
    rows = [
        [WORDS[name], said(name, steps), f"{sum(s['seconds'] for s in steps):,.0f}", f"{sum(s['driver_cpu'] for s in steps):,.0f}"]
        for name, steps in by_step.items()
    ]
    again = [s for s in by_step.get("score", []) if s["parts_found"]]
    gap, of_support = found["gap"]["audit"], found["gap"]["audit-support"]
    resumed = "; ".join(f"of {s['file']} {s['parts_found']} batches were there already and were not scored again" for s in again)
    wall, driver = (sum(s[key] for s in by_step["score"]) for key in ("seconds", "driver_cpu"))
    bound = (
        f" Of the {wall:,.0f} seconds of scoring {driver:,.0f} are the driver's own, which reads, checks and writes the rows: there more workers do not help, and several commands, each with files of its own, do."
        if driver > wall / 2
        else ""
    )
    return "\n".join(
        [
            "## A cluster of three nodes",
            "",
            f"`python runs/scale.py`: {found['pairs']:,} judgements of {found['users']:,} made-up users of two tastes, from the first row to two reports, by one command on a Ray cluster of three nodes, all on this machine of two cores: "
            f"{found['minutes']:.0f} minutes. Meanwhile {' and '.join(found['meanwhile']) or 'nothing was disturbed'}.",
            "",
            *table(["step", "what", "seconds", "CPU s of the driver"], rows),
            "",
            f"After the driver was killed and the same command was given again, what was finished was not done again{': ' + resumed if resumed else ''}. A step that stands there twice was looked at twice; the second look found all of it.{bound}",
            "",
            *table(
                ["taste", "accuracy [95 %]", "users", "pairs"],
                [[name, per_cent(a[:3]), f"{a[3]:,}", f"{a[4]:,}"] for name, a in found["accuracy"].items()],
            ),
            "",
            f"Gap by taste: {points(gap)}. By support, which nobody told: {points(of_support)}. The model is PAFO on {by_step['fit'][0]['pairs']:,} judgements of few users; each user is read from {HISTORY} choices of his or her own.",
            "",
        ]
    )


def said(name: str, steps: list[dict[str, Any]]) -> str:
    first = steps[0]
    match name:
        case "write":
            return f"{first['files']} Parquet files"
        case "encode":
            return f"{first['texts']:,} distinct texts, each once, by {first['workers']} workers"
        case "fit":
            return f"PAFO on {first['pairs']:,} pairs"
        case "score":
            return f"{len(steps)} files"
        case "audit, shards":
            return f"{max(s['shards'] for s in steps)} shards"
        case _:
            return f"by {' and by '.join(dict.fromkeys(s['grouped_by'] for s in steps))}"


def points(gap: list[float]) -> str:
    return f"{100 * gap[0]:.2f} points ({100 * gap[1]:.2f} to {100 * gap[2]:.2f})"


def paragraph(found: dict[str, Any]) -> str:
    return (
        f"{found['pairs']:,} judgements written, encoded, scored, audited and reported by one command on a Ray cluster of three nodes, in {found['minutes']:.0f} minutes on two cores; "
        f"meanwhile {' and '.join(found['meanwhile']) or 'nothing was disturbed'}."
    )

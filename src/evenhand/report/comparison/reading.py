"""Reading published results: who was chosen, who is the reference, and two entries against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
MOST_DRAWN = 30  # rows of a figure
SIGNS = {
    "dominates clearly": "▲",
    "dominates": "△",
    "trades": "◇",
    "undecided": "·",
    "is dominated": "▽",
    "is dominated clearly": "▼",
}
MIRROR = dict(zip(SIGNS, reversed(SIGNS))) | {"trades": "trades", "undecided": "undecided"}


def entry(document: Json, name: str) -> Json | None:
    return next((e for e in document["entries"] if e["name"] == name), None)


def labels(names: Sequence[str]) -> dict[str, str]:
    """Names for a figure: without head and features, which stand in brackets, where that still tells them apart."""
    bare = {n: n.partition(" (")[0] for n in names}
    return {n: b if list(bare.values()).count(b) == 1 else n for n, b in bare.items()}


def running(document: Json) -> list[Json]:
    """Entries with numbers."""
    return [e for e in document["entries"] if e["held_out"]]


def whole(document: Json) -> Json | None:
    """All users of the test pairs, for the counts that stand behind everything."""
    ran = running(document)
    return ran[0]["held_out"][-1] if ran else None


def group_label(document: Json, i: int) -> str:
    """Of a cell of an entry's tuples: its group, all users last."""
    return document["groups"][i] if i < len(document["groups"]) else "all users"


def versus(document: Json, first: str, second: str) -> tuple[list[Json], str] | None:
    """Differences, first minus second, and the verdict seen from the first; None where there is no such comparison."""
    pair = next((d for d in document["pairwise"] if {d["first"], d["second"]} == {first, second}), None)
    return seen(pair, first) if pair else None


def seen(pair: Json, first: str) -> tuple[list[Json], str]:
    """Differences and verdict of a pairwise comparison from the side of one of the two."""
    if pair["first"] == first:
        return pair["differences"], pair["verdict"]
    return [_turned(d) for d in pair["differences"]], MIRROR.get(pair["verdict"], "")


def by_unit(pair: Json, first: str) -> list[tuple[Json, Json]]:
    """Of each group the difference with the deals as they are, and by run, from the side of one of the two."""
    found = list(zip(pair["in_these_deals"], pair["by_run"], strict=True))
    return found if pair["first"] == first else [(_turned(a), _turned(b)) for a, b in found]


def _turned(difference: Json) -> Json:
    value, low, high = (None if difference[k] is None else -difference[k] for k in ("value", "low", "high"))
    return difference | {"value": value, "low": high, "high": low}


def chosen(document: Json) -> Json | None:
    """The entry chosen on validation pairs; without groups the one with the highest accuracy of all users there."""
    if document["front"]:
        return entry(document, document["front"]["chosen"])
    known = [e for e in running(document) if e["selection"] and e["selection"][-1]["value"] is not None]
    return max(known, key=lambda e: e["selection"][-1]["value"], default=None)


def reference(document: Json) -> str:
    """The entry that others are held against: the front's, or the one that user-level differences are taken from; "" for none."""
    if document["front"]:
        name: str = document["front"]["reference"]
        return name
    bare = (e["name"] for e in running(document) if e["unfairness"] and all(m["difference"] is None for m in e["unfairness"]))
    return next(bare, "")


def best_but(document: Json, name: str) -> Json | None:
    """The choice, or, where that is the named entry, the highest mean over groups on validation pairs among the others."""
    best = chosen(document)
    if best is not None and best["name"] != name:
        return best
    return max((e for e in running(document) if e["name"] != name), key=on_validation, default=None)


def on_validation(entry: Json) -> float:
    """Mean over groups, or all users where there are none; 0 without a number."""
    known = [x["value"] for x in (entry["selection"][:-1] or entry["selection"]) if x["value"] is not None]
    return sum(known) / len(known) if known else 0.0


def metric_of(entry: Json, name: str) -> Json | None:
    return next((m for m in entry["unfairness"] if m["name"] == name), None)


def foremost(document: Json, most: int) -> list[Json]:
    """At most that many entries in their order: the choice and the reference, the front, the failed, the highest on validation."""
    front, best = document["front"], chosen(document)
    first = [best["name"] if best else "", reference(document), front["knee"] if front else ""]

    def rank(e: Json) -> tuple[int, float]:
        return (0 if e["name"] in first else 1 if front and e["name"] in front["best"] else 2 if e["failed"] else 3), -on_validation(e)

    kept = {e["name"] for e in sorted(document["entries"], key=rank)[:most]}
    return [e for e in document["entries"] if e["name"] in kept]


def bound(document: Json, front: Json, most: int) -> list[Json]:
    """At most that many entries in their order: those of a constraint's front, and then those with the smallest violation on validation."""

    def rank(e: Json) -> tuple[int, float]:
        sizes = [v["selection"]["value"] for v in e["violations"] if (v["notion"], v["decision"]) == (front["notion"], front["decision"])]
        first = e["name"] in (front["chosen"], front["reference"], front["nearest"])
        return 0 if first else 1 if e["name"] in front["best"] else 2, 1.0 if not sizes or sizes[0] is None else sizes[0]

    kept = {e["name"] for e in sorted(running(document), key=rank)[:most]}
    return [e for e in running(document) if e["name"] in kept]


def drawn_names(document: Json) -> list[str]:
    """The rows of a figure."""
    return [e["name"] for e in foremost(document, MOST_DRAWN) if e["held_out"]]

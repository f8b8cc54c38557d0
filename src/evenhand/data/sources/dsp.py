"""DSP (Cheng et al. 2023, arXiv 2309.03126): four domains as simulated users, each preferring its own response.

A row {query, responses: {academy, business, entertainment, literature, normal}} gives 16 pairs: each domain's own response over those
of the other three and over `normal` (the authors' conversion). A counted row is one such pair; identical and empty responses are set
aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.source import Sides, Source

DOMAINS = ("academy", "business", "entertainment", "literature")
IDENTICAL = Fault("two domains gave the same response", "different responses", set_aside=True)
EMPTY = Fault("a response is empty", "a text", set_aside=True)
NO_RESPONSES = Fault("'responses' lacks a domain", f"texts for {', '.join(DOMAINS)} and normal", column="responses")


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"query", "responses"} <= names


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    for batch in batches:
        pairs: list[tuple[int, dict[str, Any]]] = []
        bad = list(batch.bad)
        for line, record in zip(batch.line.tolist(), batch.records()):
            responses = record.get("responses")
            if not isinstance(responses, Mapping) or not all(isinstance(responses.get(d), str) for d in (*DOMAINS, "normal")):
                bad.append(BadRow(line, NO_RESPONSES))
                continue
            for domain in DOMAINS:
                for other in (d for d in (*DOMAINS, "normal") if d != domain):
                    ours, theirs = responses[domain], responses[other]
                    if ours == theirs or not ours.strip() or not theirs.strip():
                        bad.append(BadRow(line, IDENTICAL if ours == theirs else EMPTY))
                    else:
                        pairs.append((line, {"user": domain, "prompt": record.get("query"), "chosen": ours, "rejected": theirs}))
        yield batch_of(batch.file, pairs, bad)


SAMPLE = (
    {
        "query_id": 0,
        "query": "What is water?",
        "responses": {
            "academy": "Water is the compound of hydrogen and oxygen, in the ratio of two to one.",
            "business": "Water is a resource whose price is rising.",
            "entertainment": "The star of every beach film!",
            "literature": "Water, silver thread between the stones.",
            "normal": "Water is a clear liquid.",
        },
    },
)

SOURCE = Source(
    name="dsp",
    summary="DSP: query and responses by domain; each domain prefers its own (4 simulated users)",
    required=("query", "responses"),
    optional=(),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
)

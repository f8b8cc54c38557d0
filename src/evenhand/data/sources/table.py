"""Tables: one pair a row. A row of the file is a row of the count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.data.source import Source, as_given


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    texts = not any(isinstance(first.get(c), (list, dict)) for c in ("prompt", "chosen", "rejected"))
    return {"user", "prompt", "chosen", "rejected"} <= names and texts


STOAT = "What is a stoat?"
SAMPLE = (
    {"user": "u1", "prompt": "How do I boil an egg?", "chosen": "Eight minutes.", "rejected": "It depends.", "country": "FR"},
    {"user": "u1", "prompt": STOAT, "chosen": "A small weasel.", "rejected": "Glad you ask! A small weasel.", "country": "FR"},
    {"user": "u2", "prompt": STOAT, "chosen": "Glad you ask! A small weasel.", "rejected": "A small weasel.", "country": "SG"},
)

SOURCE = Source(
    name="table",
    summary="columns user, prompt, chosen, rejected (and weight, tie, split, event, target, twin): one pair a row",
    required=("user", "prompt", "chosen", "rejected"),
    optional=("weight", "tie", "split", "event", "target", "twin"),
    recognises=recognises,
    parse=as_given,
    sample=SAMPLE,
)

"""Tables: one pair a row. A row of the file is a row of the count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.data.source import TIME_NAMES, Source, as_given
from evenhand.data.sources.trl import is_chat


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"user", "prompt", "chosen", "rejected"} <= names and not is_chat(first)


STOAT = "What is a stoat?"
SAMPLE = (
    {"user": "u1", "prompt": "How do I boil an egg?", "chosen": "Eight minutes.", "rejected": "It depends.", "country": "FR"},
    {"user": "u1", "prompt": STOAT, "chosen": "A small weasel.", "rejected": "Glad you ask! A small weasel.", "country": "FR"},
    {"user": "u2", "prompt": STOAT, "chosen": "Glad you ask! A small weasel.", "rejected": "A small weasel.", "country": "SG"},
)

SOURCE = Source(
    name="table",
    summary="columns user, prompt, chosen, rejected (and weight, tie, split, time, event, target, twin): one pair a row",
    required=("user", "prompt", "chosen", "rejected"),
    optional=("weight", "tie", "split", "time", "event", "target", "twin"),
    aliases={"time": TIME_NAMES},
    recognises=recognises,
    parse=as_given,
    sample=SAMPLE,
)

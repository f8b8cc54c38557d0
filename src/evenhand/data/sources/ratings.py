"""Ratings: one score a row. Inside a user and prompt every two responses make a pair, the higher score chosen; equal scores make a tie.

At most pairing.PAIRS_PER_PROMPT pairs of one user and prompt. A row counts as used when it is in a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.data.pairing import by_score
from evenhand.data.source import TIME_NAMES, Source, as_given


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"user", "prompt", "response", "score"} <= names


SAMPLE = (
    {"user": "u1", "prompt": "Tell me a joke.", "response": "Why did the hen cross?", "score": 4},
    {"user": "u1", "prompt": "Tell me a joke.", "response": "No.", "score": 1},
    {"user": "u1", "prompt": "Tell me a joke.", "response": "Knock, knock.", "score": 4},
    {"user": "u2", "prompt": "Tell me a joke.", "response": "No.", "score": 5},
)

SOURCE = Source(
    name="ratings",
    summary="columns user, prompt, response, score (and block, split, time): the higher score over the lower, inside a user and prompt",
    required=("user", "prompt", "response", "score"),
    optional=("block", "split", "time"),
    aliases={"time": TIME_NAMES},
    recognises=recognises,
    parse=as_given,
    sample=SAMPLE,
    pairing=by_score,
)

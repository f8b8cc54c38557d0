"""Votes: one vote a row, 1 agree, -1 disagree, 0 neither, or words for these. What a user agrees with is chosen over what he or she disagrees with.

Pairs are formed under one prompt (topic) where the table has one; at most pairing.PAIRS_PER_USER a user, drawn evenly over items by the
seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from evenhand.data import columns
from evenhand.data.pairing import by_vote
from evenhand.data.rows import Batch, Fault, without
from evenhand.data.source import TIME_NAMES, Sides, Source

UNKNOWN_VOTE = Fault("'vote' is no vote", "1, agree, yes or true; -1, disagree, no or false; 0, pass or unsure", column="vote")
NO_VOTE = Fault("'vote' is missing", "a vote in every row", column="vote")
ALIASES = {"user": ("voter-id", "voter_id"), "item": ("comment-id", "comment_id"), "time": TIME_NAMES}


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    log = {"voter-id", "comment-id", "vote"} <= names and not str(first.get("comment-id")).isdigit()  # a Polis log with the texts in it
    return {"user", "item", "vote"} <= names or log


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    for batch in batches:
        vote = columns.votes(batch.columns.get("vote", [None] * len(batch)))
        moved = {{"item": "response"}.get(n, n): c for n, c in batch.columns.items()} | {"score": pa.array(vote)}
        read = without(replace(batch, columns=moved), np.isinf(vote), UNKNOWN_VOTE)
        yield without(read, np.isnan(vote[~np.isinf(vote)]), NO_VOTE)


SAMPLE = (
    {"user": "u1", "item": "Cars should pay to enter the city.", "vote": 1},
    {"user": "u1", "item": "Parking should be free.", "vote": -1},
    {"user": "u1", "item": "Buses should run at night.", "vote": 0},
    {"user": "u2", "item": "Parking should be free.", "vote": 1},
    {"user": "u2", "item": "Cars should pay to enter the city.", "vote": -1},
)

SOURCE = Source(
    name="votes",
    summary="columns user, item, vote (1/agree/yes, -1/disagree/no, 0/pass; and prompt, split, time): agreed over disagreed, inside a user and prompt",
    required=("user", "item", "vote"),
    optional=("prompt", "block", "split", "time"),
    aliases=ALIASES,
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pairing=by_vote,
)

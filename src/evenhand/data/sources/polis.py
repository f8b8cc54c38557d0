"""Polis: votes on statements. A folder with votes and comments, as Polis exports them or as published, under any common prefix.

The export: votes.csv (voter-id, comment-id, vote, timestamp: an event log), comments.csv (comment-id, comment-body), participants-votes.csv
(a matrix, with group-id; enough where there is no log), summary.csv (the topic). Published: votes, comments, conversations, participants.

User = participant (of a conversation), prompt = the topic, item = the statement's text; agreed over disagreed inside a participant, drawn
as in votes; of a changed vote the last counts. Attributes: conversation, group_id (Polis's own opinion group: it comes from the same votes,
so gaps between these groups are partly by construction).
Data: The Computational Democracy Project, https://compdemocracy.org (CC BY 4.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evenhand.data.pairing import by_vote
from evenhand.data.rows import Batch, Fault, plain, without
from evenhand.data.source import TIME_NAMES, Sides, Source

NO_STATEMENT = Fault("the statement's text is unknown", "a row in comments for every comment_id", column="comment_id", set_aside=True)
UNKNOWN_VOTE = Fault("'vote' is none of 1, 0, -1", "1 (agree), -1 (disagree) or 0 (pass)", column="vote")
VOTES = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1}
Record = Mapping[str, Any]


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    log = {"voter-id", "comment-id", "vote"} <= names and str(first.get("comment-id")).isdigit()
    matrix = {"participant", "group-id", "n-votes"} <= names and any(n.isdigit() for n in names)
    return {"conversation", "participant", "comment_id", "vote"} <= names or log or matrix


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    texts = {(c, _of(r, "comment_id")): _of(r, "comment_body") for r in sides["comments"] for c in (_of(r, "conversation"),)}
    topics = {_of(r, "conversation"): _of(r, "topic") for r in sides.get("conversations", ())} | _topic(sides.get("summary", ()))
    people = [*sides.get("participants", ()), *sides.get("participants-votes", ())]
    groups = {(_of(r, "conversation"), _of(r, "participant")): _of(r, "group_id") for r in people}
    for batch in batches:
        batch = batch if "vote" in batch.columns else _cast(batch)
        conversation, participant, comment, vote = (_column(batch, n) for n in ("conversation", "participant", "comment_id", "vote"))
        voter = list(zip(conversation, participant))
        columns: dict[str, Any] = {
            "user": [(f"{c}/{p}" if c else p) if p else "" for c, p in voter],
            "prompt": [topics.get(c, "") for c in conversation],
            "response": [texts.get(key, "") for key in zip(conversation, comment)],
            "score": [VOTES.get(v, v) for v in vote],
        }
        if any(conversation):
            columns |= {"block": conversation, "conversation": conversation}
        if groups or "group_id" in batch.columns:
            columns["group_id"] = batch.columns.get("group_id") or [groups.get(key, "") for key in voter]
        if (time := next((n for n in TIME_NAMES if n in batch.columns), None)) is not None:
            columns["time"] = batch.columns[time]
        known = np.array([v in VOTES for v in vote], bool)
        silent = np.array([not t or t.isspace() for t in columns["response"]], bool)
        kept = without(replace(batch, columns=columns), ~known, UNKNOWN_VOTE)
        yield without(kept, silent[known], NO_STATEMENT)


def _of(record: Record, name: str) -> str:
    """A cell as text under either spelling of its column."""
    value = record.get(name, record.get(name.replace("_", "-")))
    return "" if value is None else str(value)


def _column(batch: Batch, name: str) -> list[str]:
    spellings = (name, name.replace("_", "-"), *(("voter-id", "voter_id") if name == "participant" else ()))
    column = next((batch.columns[n] for n in spellings if n in batch.columns), [None] * len(batch))
    return ["" if v is None else str(v) for v in plain(column)]


def _topic(summary: Sequence[Record]) -> dict[str, str]:
    """summary.csv has no header: its first line is "topic" and the topic."""
    names = list(summary[0]) if summary else []
    return {"": names[1]} if len(names) == 2 and names[0] == "topic" else {}


def _cast(matrix: Batch) -> Batch:
    """A matrix of participants and comments as one vote a row; empty cells are no votes."""
    cells = [
        (line, _of(r, "participant"), _of(r, "group_id"), name, str(value))
        for line, r in zip(matrix.line.tolist(), matrix.records())
        for name, value in r.items()
        if name.isdigit() and value not in (None, "")
    ]
    lines, who, group, comment, vote = (list(c) for c in zip(*cells)) if cells else ([], [], [], [], [])
    return Batch(
        matrix.file, np.array(lines, np.int64), {"participant": who, "group_id": group, "comment_id": comment, "vote": vote}, matrix.bad
    )


SAMPLE = (
    {"conversation": "bridge", "participant": "0", "comment_id": "0", "vote": "1"},
    {"conversation": "bridge", "participant": "0", "comment_id": "1", "vote": "-1"},
    {"conversation": "bridge", "participant": "1", "comment_id": "0", "vote": "-1"},
    {"conversation": "bridge", "participant": "1", "comment_id": "1", "vote": "1"},
)
SAMPLE_SIDES: Sides = {
    "comments": (
        {"conversation": "bridge", "comment_id": "0", "comment_body": "The bridge should be for walkers only."},
        {"conversation": "bridge", "comment_id": "1", "comment_body": "The bridge needs a second lane for cars."},
    ),
    "conversations": ({"conversation": "bridge", "topic": "What should become of the bridge?"},),
    "participants": (
        {"conversation": "bridge", "participant": "0", "group_id": "0"},
        {"conversation": "bridge", "participant": "1", "group_id": "1"},
    ),
}

SOURCE = Source(
    name="polis",
    summary="Polis: an export or published folder with votes (or the matrix) and comments; agreed over disagreed statements",
    required=(),
    optional=("conversation", "participant", "comment_id", "vote"),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pattern=rf"voter[-_]id|comment-id|group[-_]id|n-votes|\d+|{'|'.join(TIME_NAMES)}",
    pairing=by_vote,
    attributes=("conversation", "group_id"),
    main=("votes", "participants-votes"),
    needs=("comments",),
    sides=("conversations", "participants", "participants-votes", "summary"),
)

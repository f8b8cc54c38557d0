"""TRL's preference format with a user column: texts or conversations, the prompt explicit or the turns that both conversations share.

What a conversation is and where its prompt ends: `conversations`. Of texts without turn markers the implicit prompt is the shared start up
to its last white space. Format: https://huggingface.co/docs/trl/dataset_formats (preference).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from evenhand.data.conversations import LIST, is_marked, split
from evenhand.data.rows import Batch, plain, set_aside
from evenhand.data.source import TIME_NAMES, Sides, Source

LEFT_OUT = "turns with parts that are no text (tool calls, images), left out"


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"user", "chosen", "rejected"} <= names and ("prompt" not in names or is_chat(first))


def is_chat(first: Mapping[str, Any]) -> bool:
    """Some of the three is a conversation."""
    return any(isinstance(first.get(c), (*LIST, dict)) or is_marked(first.get(c)) for c in ("prompt", "chosen", "rejected"))


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    for batch in batches:
        given = [plain(batch.columns[c]) if c in batch.columns else [None] * len(batch) for c in ("prompt", "chosen", "rejected")]
        pairs = [split(prompt, chosen, rejected, prompt is not None) for prompt, chosen, rejected in zip(*given)]
        texts = {"prompt": [p.prompt for p in pairs], "chosen": [p.chosen for p in pairs], "rejected": [p.rejected for p in pairs]}
        left_out = sum(p.left_out for p in pairs)
        read = replace(batch, columns={**batch.columns, **texts}, notes={LEFT_OUT: left_out} if left_out else {})
        yield set_aside(read, [p.fault for p in pairs])


SAMPLE = (
    {
        "user": "u1",
        "chosen": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}],
        "rejected": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "There are so many!"}],
    },
    {
        "user": "u2",
        "chosen": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "There are so many!"}],
        "rejected": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}],
    },
)

SOURCE = Source(
    name="trl",
    summary="columns user, chosen, rejected (and prompt): texts or conversations, one pair a row",
    required=("user", "chosen", "rejected"),
    optional=("prompt", "weight", "tie", "split", "time"),
    aliases={"time": TIME_NAMES, "prompt": ("conversations",)},
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
)

"""What trainers send that decode prompt and response together, special tokens and all → the response alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from evenhand.core import EvenhandError
from evenhand.data.conversations import closed

BEGIN = re.compile(r"\A(?:<s>|<\|begin_of_text\|>|<bos>|<\|startoftext\|>)+")  # which a tokenizer puts before every text


def response_of(query: str, prompt: str, place: int) -> str:
    """What follows `prompt` in `query`, without the marks with which a generation ends. Raises EvenhandError where the query does not begin so."""
    for whole, part in ((query, prompt), (BEGIN.sub("", query), BEGIN.sub("", prompt))):
        if whole.startswith(part):
            return closed(whole[len(part) :])
    raise EvenhandError(
        f"query[{place}] does not begin with prompts[{place}]. Expected: prompt and response, as the trainer decodes them. "
        "To do: send the prompt as it stands in the query."
    )


def label_of(label: Any, place: int) -> Mapping[str, Any]:
    """What a label says of who asks: an object, as such or in JSON; of a key alone {"user": …}. Raises EvenhandError for JSON that is broken."""
    if isinstance(label, str) and label.lstrip().startswith("{"):
        try:
            label = json.loads(label)
        except (ValueError, RecursionError) as error:
            raise EvenhandError(
                f"labels[{place}] begins as JSON and is none. Expected: a user id, or a JSON object. To do: write it with json.dumps."
            ) from error
    return label if isinstance(label, Mapping) else {"user": label}

"""What is asked of a saved model → the texts that it reads, the same that `load` makes of a table's pairs; and errors that say which record is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.data.conversations import UNANSWERED, UNANSWERED_PAIR, answered, broken, split
from evenhand.data.rows import Fault

Said = str | Sequence[Mapping[str, Any]]  # a text, or messages with role and content
Choice = Sequence[Said] | Mapping[str, Said]  # (prompt, chosen, rejected), or a dict with these three keys
Texts = tuple[str, str, str]  # prompt, chosen, rejected
KEYS = ("prompt", "chosen", "rejected")


def histories_read(histories: Sequence[Sequence[Choice]]) -> list[list[Texts]]:
    """Every user's choices as texts."""
    return [[_choice(c, u, i) for i, c in enumerate(_listed(h, u))] for u, h in enumerate(_listed(histories))]


def items_read(prompts: Sequence[Said], responses: Sequence[Said]) -> list[tuple[str, str]]:
    """(prompt, response) of each, as texts. A response may hold no text: it has no reward (`has_text`)."""
    prompts, responses = _several(prompts, "prompts"), _several(responses, "responses")
    if len(prompts) != len(responses):
        raise EvenhandError(
            f"Found {len(prompts)} prompts and {len(responses)} responses. Expected: equally many. To do: give one prompt for each response."
        )
    return [item_read(prompt, response, place) for place, (prompt, response) in enumerate(zip(prompts, responses))]


def item_read(prompt: Said, response: Said, place: int) -> tuple[str, str]:
    """The same of one. Raises EvenhandError for what is neither a text nor messages, and for a conversation that ends with the user's turn."""
    found = answered(prompt, response)
    for name, given, text in (("prompts", prompt, found.prompt), ("responses", response, found.response)):
        if not isinstance(text, str):
            why = broken(given) or "it is no list of messages"
            raise EvenhandError(
                f"{name}[{place}] is neither a text nor messages: {why}. Expected: a text, or messages with role and content. "
                "To do: convert it, or leave the row out."
            )
    if found.fault is UNANSWERED:
        raise _unanswered(f"responses[{place}]", found.fault)
    return found.prompt, found.response


def has_text(response: str) -> bool:
    """Whether there is anything to judge. A response without text has no reward, through whatever door it comes."""
    return bool(response.strip())


def _unanswered(what: str, fault: Fault) -> EvenhandError:
    return EvenhandError(f"{what}: {fault.reason}. Expected: {fault.expected}. To do: {fault.remedy}.")


def owners_read(user: Any, n_users: int) -> np.ndarray:
    """int64[n]: places in a list of users."""
    owner = np.asarray(user)
    if owner.ndim != 1 or (owner.size and not np.issubdtype(owner.dtype, np.integer)):
        raise EvenhandError(
            f"Found {owner.dtype} of shape {owner.shape} as user numbers. Expected: a list of int. "
            "To do: give the place of each row's history."
        )
    wrong = np.flatnonzero((owner < 0) | (owner >= n_users)) if owner.size else owner
    if len(wrong):
        raise EvenhandError(
            f"user[{wrong[0]}] is {owner[wrong[0]]}. Expected: 0 to {n_users - 1}, a place in `histories`. To do: correct it."
        )
    return np.asarray(owner.astype(np.int64))


def _several(value: Any, name: str) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise EvenhandError(f"Found {type(value).__name__} as {name}. Expected: a list of texts. To do: wrap a single text in a list.")
    return list(value)


def _listed(value: Any, user: int | None = None) -> Sequence[Any]:
    """`value` if it is a sequence of records, else an error that says what a history is."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    what = "the list of histories" if user is None else f"the history of user {user}"
    raise EvenhandError(
        f"Found {type(value).__name__} as {what}. Expected: a list of (prompt, chosen, rejected) for each user; an empty one is allowed. "
        "To do: wrap the records in a list."
    )


def _choice(record: Any, user: int, place: int) -> Texts:
    if isinstance(record, Mapping):
        parts, found = [record.get(k) for k in KEYS], f"a dict with the keys {clip(sorted(map(str, record)))}"
    elif isinstance(record, Sequence) and not isinstance(record, str):
        parts, found = list(record), ", ".join(type(p).__name__ for p in record) or "nothing"
    else:
        parts, found = [], type(record).__name__
    if len(parts) == 3 and not all(isinstance(p, str) for p in parts):
        said = split(parts[0], parts[1], parts[2], explicit=bool(parts[0]))
        if said.fault is UNANSWERED_PAIR:
            raise _unanswered(f"History of user {user}, record {place}", said.fault)
        parts = [said.prompt, said.chosen, said.rejected]
    texts = [p for p in parts if isinstance(p, str)]
    if len(parts) != 3 or len(texts) != 3:
        raise EvenhandError(
            f"History of user {user}, record {place}: found {found}. Expected: three texts, (prompt, chosen, rejected), or a dict "
            "with these keys. To do: correct this record; a pair without a prompt takes an empty text."
        )
    return (texts[0], texts[1], texts[2])

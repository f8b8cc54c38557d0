"""What a generator is: it answers requests, each with a text that follows from the request and its seed alone, whatever is asked beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from evenhand.core import EvenhandError

Role = Literal["system", "user", "assistant"]
MOST_TOKENS = 8192  # of an answer


@dataclass(frozen=True)
class Request:
    """messages: (role, content), the last one a user's. seed: 0 … 2^31 - 1."""

    messages: tuple[tuple[Role, str], ...]
    seed: int


@dataclass(frozen=True)
class Answer:
    """text: as it was written, special tokens taken out. tokens: how many were written. whole: whether the model ended it, not the limit.
    failed: why there is no text, "" = there is one.
    """

    text: str
    tokens: int = 0
    whole: bool = True
    failed: str = ""


@dataclass(frozen=True)
class Sampling:
    """temperature: 0 = always the likeliest token. top_p: the likeliest tokens of this share of probability together (Holtzman et al. 2020,
    arXiv 1904.09751) are drawn from. max_tokens: of an answer at most. Raises EvenhandError for a value out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 110

    def __post_init__(self) -> None:
        valid = {
            "temperature": (0 <= self.temperature <= 5, "from 0 to 5"),
            "top_p": (0 < self.top_p <= 1, "above 0, 1 at most"),
            "max_tokens": (1 <= self.max_tokens <= MOST_TOKENS, f"a whole number from 1 to {MOST_TOKENS:,}"),
        }
        for name, (good, expected) in valid.items():
            if not good:
                found = f"Found --{name.replace('_', '-')} {getattr(self, name)}"
                raise EvenhandError(f"{found}. Expected: {expected}. To do: correct it, or leave it out.")


class Generator(Protocol):
    """One model. name: for `run` and reports. fingerprint: SHA-256 of all that decides its texts."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """(index of a request, its answer), as they come: in no order that matters. What cannot be answered is an Answer that failed;
        EvenhandError where nothing can.
        """
        ...

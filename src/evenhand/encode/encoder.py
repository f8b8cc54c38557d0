"""What every frozen text encoder offers, and how a text longer than the encoder's limit is cut into windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

Progress = Callable[[int, int], None]  # (texts done, texts in all); called now and then while encoding


class TextEncoder(Protocol):
    """A frozen encoder. Vectors depend on the text alone: not on its batch, its neighbours, their order or any padding."""

    @property
    def name(self) -> str:
        """For people: the model's name."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 hex over all that decides a vector: weights, pooling, token limit, chunking. The same fingerprint, the same vectors."""

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of one window, the special ones included. What is beyond is cut, or pooled from further windows when chunked."""

    @property
    def chunked(self) -> bool:
        """Whether texts over the limit are pooled over all their windows instead of being cut."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """One vector a text, float32[n, dim], in the order of `texts`."""

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each whole text before any cut, special ones included, int64[n]. Over `max_tokens` = truncated unless chunked."""


def truncated(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Which texts the encoder does not see whole, bool[n]; none when it pools over chunks."""
    if encoder.chunked:
        return np.zeros(len(texts), dtype=bool)
    return encoder.tokens(texts) > encoder.max_tokens


def windows(length: int, limit: int) -> list[slice]:
    """Cuts `length` tokens into the fewest windows of at most `limit`, of near-equal size, so that no window is a lone tail."""
    count = max(1, -(-length // limit))
    edges = [length * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def token_batches(lengths: Sequence[int], rows: int) -> list[list[int]]:
    """Texts packed into batches of at most `rows` tokens: the longest first, each into the first batch with room for it.

    First-fit decreasing (Johnson 1973) leaves little room empty. No length may be over `rows`.
    """
    batches: list[list[int]] = []
    room: list[int] = []
    opened = 0  # batches before it are full: no text is shorter than the shortest
    shortest = min(lengths, default=0)
    for text in sorted(range(len(lengths)), key=lambda t: -lengths[t]):
        while opened < len(room) and room[opened] < shortest:
            opened += 1
        place = next((b for b in range(opened, len(room)) if room[b] >= lengths[text]), len(room))
        if place == len(room):
            batches.append([])
            room.append(rows)
        batches[place].append(text)
        room[place] -= lengths[text]
    return batches


def printable(text: str) -> str:
    """The text with lone surrogates replaced: they have no UTF-8 form, and a tokenizer would refuse them."""
    return text.encode("utf-8", "replace").decode("utf-8")

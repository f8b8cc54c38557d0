"""What a tagger says of a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tags:
    """pos: universal part of speech → tokens that have it, punctuation among them. imperatives: verbs in the imperative. nouns, adjectives:
    their lemmas in lower case, in the order of the text, names among the nouns. tokens: words and numbers, punctuation left out.
    """

    pos: Mapping[str, int]
    imperatives: int
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    tokens: int


def together(parts: Iterable[Tags]) -> Tags:
    """Of several sentences as one text."""
    pos: Counter[str] = Counter()
    imperatives = tokens = 0
    nouns: list[str] = []
    adjectives: list[str] = []
    for part in parts:
        pos.update(part.pos)
        imperatives += part.imperatives
        nouns += part.nouns
        adjectives += part.adjectives
        tokens += part.tokens
    return Tags(dict(pos), imperatives, tuple(nouns), tuple(adjectives), tokens)


def record(tags: Tags) -> list[Any]:
    """As JSON."""
    return [dict(tags.pos), tags.imperatives, list(tags.nouns), list(tags.adjectives), tags.tokens]


def of_record(value: list[Any]) -> Tags:
    pos, imperatives, nouns, adjectives, tokens = value
    return Tags(pos, imperatives, tuple(nouns), tuple(adjectives), tokens)

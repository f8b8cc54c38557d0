"""What a tagger says of a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Universal parts of speech (universaldependencies.org), and what spaCy calls a run of spaces
KINDS = (
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
    "SPACE",
)
BREAK = "\n"  # between lemmas: no sentence has one
Record = list[str | int]  # of one sentence, as it is kept: nouns, adjectives, imperatives, tokens, and how many of each of KINDS


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


def record(kinds: Iterable[str], nouns: Iterable[str], adjectives: Iterable[str], imperatives: int, tokens: int) -> Record:
    """kinds: of each token."""
    kinds = list(kinds)
    return [BREAK.join(nouns), BREAK.join(adjectives), imperatives, tokens, *map(kinds.count, KINDS)]


def together(records: Sequence[Record]) -> Tags:
    """Of the sentences of a text."""
    if not records:
        return Tags({}, 0, (), (), 0)
    nouns, adjectives, *numbers = zip(*records)
    imperatives, tokens, *counts = map(sum, numbers)
    return Tags({kind: n for kind, n in zip(KINDS, counts) if n}, imperatives, _words(nouns), _words(adjectives), tokens)


def _words(lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for one in lists if one for word in one.split(BREAK))

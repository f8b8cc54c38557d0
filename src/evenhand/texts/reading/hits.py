"""How often the entries of word lists stand in a text, as whole words, case ignored: one pass over the words of the text, however many
entries.

For every entry it counts what `re.findall(rf"\\b{re.escape(entry)}\\b", text, re.IGNORECASE)` would find, and adds these up over a list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

WORD = re.compile(r"\w+")
# What re.IGNORECASE takes for i, s and k beside I, S and K, and lower() does not turn into one of these.
SAME = str.maketrans({"İ": "i", "ı": "i", "ſ": "s"})


@dataclass(frozen=True)
class Hits:
    """lists: how many. words: entry of one word → the lists that have it. phrases: first word of a longer entry → such entries."""

    lists: int
    words: Mapping[str, tuple[int, ...]]
    phrases: Mapping[str, tuple[tuple[int, re.Pattern[str]], ...]]

    def count(self, text: str) -> list[int]:
        """Hits of each list."""
        found = [0] * self.lists
        for word, times in Counter(WORD.findall(folded(text))).items():
            for at in self.words.get(word, ()):
                found[at] += times
            for at, phrase in self.phrases.get(word, ()):
                found[at] += len(phrase.findall(text))
        return found


def folded(text: str) -> str:
    """In lower case, a letter for a letter."""
    return text.translate(SAME).lower()


def hits(lists: Sequence[Collection[str]]) -> Hits:
    """An entry that a list has twice counts once. Entries hold a letter or digit, and begin and end with one."""
    words: dict[str, list[int]] = {}
    phrases: dict[str, list[tuple[int, re.Pattern[str]]]] = {}
    for at, entries in enumerate(lists):
        for entry in sorted({folded(e) for e in entries}):
            inside = WORD.findall(entry)
            if inside == [entry]:
                words.setdefault(entry, []).append(at)
            else:
                pattern = re.compile(rf"\b{re.escape(entry)}\b", re.IGNORECASE)
                phrases.setdefault(inside[0], []).append((at, pattern))
    return Hits(len(lists), {w: tuple(a) for w, a in words.items()}, {w: tuple(p) for w, p in phrases.items()})

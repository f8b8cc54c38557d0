"""Which identities a text mentions, by a file of terms: {"women": ["woman", "feminis*"], "religion": ["muslim*", "christian*"]}."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from evenhand.core import DataError
from evenhand.data.small_json import read_json, term

EXPECTED = 'a JSON object of names and lists of terms, such as {"women": ["woman", "women", "feminis*"]}'
MAX_TERMS = 1000  # of one name: one pattern tries them at every word, so that time grows with their number
MAX_NAMES = 100


@dataclass(frozen=True)
class Mentions:
    """names: the identities, in the file's order. patterns: one a name, for folded texts. file: its name. fingerprint: SHA-256 of it."""

    names: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    file: str
    fingerprint: str

    def find(self, texts: Sequence[str]) -> np.ndarray:
        """bool[texts, names]: the text mentions the identity."""
        mentioned = np.zeros((len(texts), len(self.names)), bool)
        for row, text in enumerate(texts):
            folded = fold(text)
            mentioned[row] = [pattern.search(folded) is not None for pattern in self.patterns]
        return mentioned


def read_mentions(path: Path | str) -> Mentions:
    """Read a file of terms.

    A term is a word or words. Case and the form of letters do not matter (NFKC, case-folded), white space between words is any; before
    and after it there is no letter, digit or accent, so that "man" is not in "woman" but is in "man's", "_man_" and "(man)". A trailing
    * stands for any ending of the word. All else is literal. Raises DataError for another kind of file, a name without terms, or a term
    that stands under two names, also as part of what a prefix takes in: a text that holds it could not be in one group alone.
    """
    value, fingerprint = read_json(path, EXPECTED)
    file = Path(path).name
    if not isinstance(value, dict) or not value:
        found = "the file holds an empty object" if isinstance(value, dict) else "the file holds no object"
        raise DataError(found, expected=EXPECTED, remedy="mend the file", file=file)
    if len(value) > MAX_NAMES:
        raise DataError(f"{len(value)} names", expected=f"at most {MAX_NAMES}", remedy="choose coarser identities", file=file)
    names: list[str] = []
    patterns: list[re.Pattern[str]] = []
    owner: dict[str, str] = {}
    for key, terms in value.items():
        name = term(key, "a name", file)
        if name in names:
            raise DataError("a name occurs twice", expected="every name once", remedy="put its terms together", file=file, value=name)
        if not isinstance(terms, list) or not terms:
            found = f"'{name}' has no terms" if terms == [] else f"the terms of '{name}' are no list"
            raise DataError(found, expected=EXPECTED, remedy="give it a list of terms, or take it out", file=file)
        if len(terms) > MAX_TERMS:
            expected = f"at most {MAX_TERMS:,} for one name"
            raise DataError(f"'{name}' has {len(terms):,} terms", expected=expected, remedy="use prefixes such as femin*", file=file)
        folded = [_folded(t, name, file) for t in terms]
        for t in folded:
            if owner.setdefault(t, name) != name:
                raise DataError(
                    f"the groups '{owner[t]}' and '{name}' overlap: both list the same term", expected="each term under one name",
                    remedy="keep it under one of the two", file=file, value=t,
                )  # fmt: skip
        names.append(name)
        patterns.append(re.compile(words(list(dict.fromkeys(folded)), r"\s+")))
    _check_prefixes(owner, file)
    return Mentions(tuple(names), tuple(patterns), file, fingerprint)


def _check_prefixes(owner: Mapping[str, str], file: str) -> None:
    """owner: folded term → name. Raises DataError where a prefix of one name takes in a whole term of another, which would then be idle."""
    for t, name in owner.items():
        bare = t.removesuffix("*")
        for end in range(1, len(bare) + 1):
            other = owner.get(f"{bare[:end]}*", name)
            if other != name:
                raise DataError(
                    f"the groups '{other}' and '{name}' overlap: '{bare[:end]}*' takes in '{t}'", expected="terms that tell them apart",
                    remedy="list the words meant instead of the prefix", file=file,
                )  # fmt: skip


def fold(text: str) -> str:
    """The text as terms are looked for in it: without differences of case and letter form."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words(literals: Sequence[str], space: str) -> str:
    """A pattern of any of these words where they stand alone; a trailing * = where words begin with it. space: what may part words.

    Before and after a match there is no letter, digit or accent; an end that is none of these itself, as of an emoji, is bounded by
    anything. The longest is tried first.
    """
    marks = _marks()
    before, after = rf"(?<![^\W_])(?<![{marks}])", rf"(?![^\W_])(?![{marks}])"
    kinds: dict[tuple[bool, bool], list[str]] = {}
    for literal in sorted(literals, key=len, reverse=True):
        bare = literal.removesuffix("*").rstrip()
        body = space.join(re.escape(word) for word in bare.split(" "))
        kinds.setdefault((_in_word(bare[0]), _in_word(bare[-1]) and bare == literal), []).append(body)
    return "|".join(f"{before * left}(?:{'|'.join(bodies)}){after * right}" for (left, right), bodies in sorted(kinds.items()))


def _folded(value: object, name: str, file: str) -> str:
    folded = fold(term(value, f"a term of '{name}'", file))
    if not folded.removesuffix("*").strip():
        raise DataError(f"a term of '{name}' is a * alone", expected="a word before the *", remedy="write the word's beginning", file=file)
    return " ".join(folded.split())


def _in_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char)[0] == "M"


@cache
def _marks() -> str:
    """Accents and vowel signs (Unicode category M) as ranges of a character class: they are parts of words, though \\w leaves them out."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)

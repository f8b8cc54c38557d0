"""Where a word stands, for rules that must not touch it everywhere: the words beside it, the start and end of its sentence, quotations."""

from __future__ import annotations

import re
from collections.abc import Callable

NEAR = 120  # characters that are looked at before and after a word
QUOTED = re.compile(r"“[^”\n]{0,600}”|\"[^\"\n]{0,600}\"|«[^»\n]{0,600}»")
BEFORE = re.compile(r"([\w'’-]+)[ ]+$")
AFTER = re.compile(r"[ ]+([\w'’-]+)")
START = r"(?:(?<=[.!?…][ \n])|(?<=[.!?…][\"”’)][ \n])|(?<=\n)|\A)"  # of a sentence
ENDS = re.compile(r"[.!?\n]")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = words("a an the my your our his her their its no some any")
SUBJECTS = words("i you he she it we they there this that these those")


def whole(words: str) -> str:
    """A pattern for whole words: no letter, apostrophe or hyphen beside them ("must" is not in "must-have")."""
    return rf"(?<![\w'’-])(?:{words})(?![\w'’-])"


def edited(text: str, pattern: re.Pattern[str], new: Callable[[re.Match[str]], str]) -> str:
    """Every match outside quotation marks replaced by what `new` gives."""
    quoted = [m.span() for m in QUOTED.finditer(text)]

    def replaced(m: re.Match[str]) -> str:
        return m[0] if any(a <= m.start() < b for a, b in quoted) else new(m)

    return pattern.sub(replaced, text)


def before(m: re.Match[str], n: int = 1) -> str:
    """The n-th word before the match, lower case; "" where a sign or nothing stands between."""
    rest = m.string[max(0, m.start() - NEAR) : m.start()]
    word = ""
    for _ in range(n):
        found = BEFORE.search(rest)
        if not found:
            return ""
        word, rest = found[1].lower(), rest[: found.start()]
    return word.replace("’", "'")


def after(m: re.Match[str], n: int = 1) -> str:
    """The n-th word after the match, lower case; "" where a sign or nothing stands between."""
    at, word = m.end(), ""
    for _ in range(n):
        found = AFTER.match(m.string, at)
        if not found:
            return ""
        word, at = found[1].lower(), found.end()
    return word.replace("’", "'")


def starts_sentence(m: re.Match[str]) -> bool:
    before = m.string[max(0, m.start() - 4) : m.start()].rstrip(" \"“‘(")  # fmt: skip
    return not before or before[-1] in ".!?…\n:"


def asks(m: re.Match[str]) -> bool:
    """Whether the sentence of the match ends in a question mark."""
    end = ENDS.search(m.string, m.end())
    return end is not None and end[0] == "?"


def sentence_before(m: re.Match[str]) -> str:
    """The sentence's own part before the match, lower case."""
    return re.split(r"[.!?\n]", m.string[max(0, m.start() - 2 * NEAR) : m.start()])[-1].lower()


def like(given: str, new: str) -> str:
    """`new` in the case of `given`: as it is, with a capital, or all capitals."""
    if given.isupper() and len(given) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if given[:1].isupper() else new


def is_title(word: str) -> bool:
    """Whether a word is written with a capital: a name, the month of May, the start of a question."""
    return word[:1].isupper() and not (word.isupper() and len(word) > 1)

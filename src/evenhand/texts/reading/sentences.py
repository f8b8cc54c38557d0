"""A text cut into its sentences by rule, so that every sentence is tagged once, whichever texts it stands in."""

from __future__ import annotations

import re

# A dot after one of these ends no sentence, even before a capital.
ABBREVIATIONS = (
    *("mr", "mrs", "ms", "dr", "prof", "gov", "sen", "rep", "gen", "st", "mt", "jr", "sr", "inc", "ltd", "co", "vs", "etc", "dept", "est"),
    *("approx", "e.g", "i.e", "u.s", "u.k", "u.n", "d.c", "a.m", "p.m"),
)
ABBREVIATED = re.compile(r"(?:^|[\s(\"“‘])(?:[A-Za-z]|" + "|".join(re.escape(a) for a in ABBREVIATIONS) + r")\.$", re.IGNORECASE)
ENDED = re.compile(r"(?<=[.!?…])[\"”’')\]]*\s+(?=[\"“‘'(\[]*[^\W_a-z])")
MARKED = re.compile(r"^(?:[-*•–—#>]+|\(?\d{1,2}[.)])\s+")  # of a list, a heading, a quotation
UNBROKEN = re.compile(r"\S{100}")  # no word is as long, and a tagger's time grows with the square of it


def sentences(text: str) -> list[str]:
    """The sentences of a text, spaces at their ends, marks of lists and marks of emphasis taken away; those without any letter or digit
    left out.

    A line ends a sentence, and so does one of . ! ? … before a capital or a digit, but not after an abbreviation or a single letter.
    """
    found = []
    for line in text.splitlines():
        start, line = 0, MARKED.sub("", line.strip()).replace("**", "").replace("__", "")
        line = UNBROKEN.sub(r"\g<0> ", line)
        for end in ENDED.finditer(line):
            if not ABBREVIATED.search(line, max(start, end.start() - 12), end.start()):
                found.append(line[start : end.end()])
                start = end.end()
        found.append(line[start:])
    return [s for s in (one.strip() for one in found) if any(c.isalnum() for c in s)]

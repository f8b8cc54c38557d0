"""Whole sentences: a text that its generator's limit cut off, or that goes on too long, ends with its last sentence that fits."""

from __future__ import annotations

import re

END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s|$)")
SHORT = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e)|\b[A-Z]\.[A-Z])\.$")  # after which no sentence ends


def trimmed(text: str, most_words: int, whole: bool = True) -> str:
    """As many whole sentences as have at most `most_words` words together, at least one. whole: the end of the text is an end of a sentence
    however it looks, as of a headline or a list; False = it was cut off. A text without any end of a sentence stays as it is.
    """
    ends = [m.end() for m in END.finditer(text) if not SHORT.search(text[: m.end()])]
    if whole and (not ends or ends[-1] < len(text)):
        ends.append(len(text))
    if not ends:
        return text.strip()
    fitting = [end for end in ends if len(text[:end].split()) <= most_words]
    return text[: fitting[-1] if fitting else ends[0]].strip()

"""Counterfactual copies of pairs: terms exchanged by a user's file of pairs of terms, such as [["he", "she"], ["Muslim", "Christian"]].

What a model says of "the nurse said he was late" and of "the nurse said she was late" can then be compared (counterfactual fairness on
given counterfactuals: Kusner et al. 2017, arXiv 1703.06856; term substitution: Garg et al. 2019, arXiv 1809.10610).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evenhand.core import DataError, Events, PreferenceData
from evenhand.data.events import BY_HASH, by_hash
from evenhand.data.mentions import words
from evenhand.data.small_json import read_json, term

EXPECTED = 'a JSON list of pairs of terms, such as [["he", "she"], ["Muslim", "Christian"]]'
MAX_SWAPS = 1000


@dataclass(frozen=True)
class Swaps:
    """partner: each term, case-folded, and what takes its place, both as the file writes them. pattern: any of the terms."""

    partner: Mapping[str, tuple[str, str]]
    pattern: re.Pattern[str]
    file: str
    fingerprint: str  # SHA-256 of the file's bytes

    def swap(self, text: str) -> str:
        """The text with every term exchanged for its partner, all at once and in the case in which it stands."""
        return self.pattern.sub(self._exchanged, text)

    def _exchanged(self, match: re.Match[str]) -> str:
        """As the file writes it where the text does, else lower case, UPPER CASE or Capitalised as in the text."""
        word = match.group()
        term, other = self.partner.get(word.casefold(), ("", word))
        if word == term or other == word:
            return other
        if word.islower():
            return other.lower()
        if word.isupper() and len(word) > 1:
            return other.upper()
        return other[:1].upper() + other[1:].lower()


def read_swaps(path: Path | str) -> Swaps:
    """Read a file of swaps. A term is a word or words with single spaces, and stands in one pair only, or swapping would not be undone.

    Raises DataError, naming the term, for an empty term, one in two pairs or paired with itself, and for any other kind of file.
    """
    value, fingerprint = read_json(path, EXPECTED)
    file = Path(path).name
    if not isinstance(value, list) or not value:
        found = "the file holds an empty list" if value == [] else "the file holds no list"
        raise DataError(found, expected=EXPECTED, remedy="mend the file", file=file)
    if len(value) > MAX_SWAPS:
        raise DataError(f"{len(value):,} pairs of terms", expected=f"at most {MAX_SWAPS:,}", remedy="take fewer", file=file)
    partner: dict[str, tuple[str, str]] = {}
    for number, pair in enumerate(value, 1):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"pair {number} is no list of two terms", expected=EXPECTED, remedy="mend the pair", file=file)
        a, b = (term(t, f"a term of pair {number}", file) for t in pair)
        if a.casefold() == b.casefold():
            raise DataError(f"pair {number} pairs a term with itself", expected="two terms", remedy="take it out", file=file, value=a)
        for word, other in ((a, b), (b, a)):
            if word.casefold() in partner:
                raise DataError(
                    f"a term of pair {number} stands in an earlier pair, too",
                    expected="each term in one pair: swapping must be undone by swapping",
                    remedy="keep one of the two pairs", file=file, value=word,
                )  # fmt: skip
            partner[word.casefold()] = (word, other)
    if starred := next((word for word, _ in partner.values() if word.endswith("*")), None):
        raise DataError(
            "a term ends in *", expected="whole words: an ending has no partner", remedy="list the words", file=file, value=starred
        )
    pattern = re.compile(words([word for word, _ in partner.values()], " "), re.IGNORECASE)
    return Swaps(partner, pattern, file, fingerprint)


def with_swaps(data: PreferenceData, swaps: Swaps) -> PreferenceData:
    """The pairs, and behind them a copy of every pair that the swaps change in prompt, chosen or rejected.

    A copy keeps user, split, weight, tie and its original's choice; the two share a twin number, and y1 of the copy is the counterpart
    of the original's y1. Where swapping twice does not give a text back, its pairs get no copy. Groups stay with the originals: which
    one a copy belongs to is not known, and its event is -1. rows_in = used + excluded holds for the rows read; copies are no rows.
    Raises DataError where no pair is changed, where pairs are matched already, and for score columns, which a copy cannot have.
    """
    if data.numbers:
        raise DataError(
            f"copies have no values in the columns {', '.join(data.numbers)}", expected="a model that scores texts, and no score columns",
            remedy="leave the columns out, or bring scored copies with a twin column",
        )  # fmt: skip
    if data.events is not None and data.events.twin is not None and (data.events.twin >= 0).any():
        raise DataError("the pairs are matched already", expected="a twin column or swaps", remedy="leave one of the two out")
    columns = (data.prompt, data.chosen, data.rejected)
    texts, place, undone = _swapped_texts(data, columns, swaps)
    changed = np.any([place[c] != c for c in columns], axis=0)
    lost = np.any([undone[c] for c in columns], axis=0)
    rows = np.flatnonzero(changed & ~lost)
    if not len(rows):
        raise DataError(
            f"the swaps change none of {len(data):,} pairs" + (" in a way that can be undone" if lost.any() else ""),
            expected="terms that occur in the texts", remedy="check the terms, and that the texts are there", file=swaps.file,
        )  # fmt: skip
    prompt, chosen, rejected = (np.concatenate([c, place[c[rows]]]).astype(c.dtype) for c in columns)
    copies = data.take(np.concatenate([np.arange(len(data)), rows]))
    twin = np.full(len(copies), -1, np.int64)
    twin[rows] = twin[len(data) :] = np.arange(len(rows))
    sentence = (
        f"Counterfactual copies: {len(rows):,} of {len(data):,} pairs are changed by the {len(swaps.partner) // 2} swaps of {swaps.file} "
        f"and have a copy with the same choice; {int(undone.sum()):,} texts in {int(lost.sum()):,} pairs do not come back when swapped "
        "twice, and these pairs are unmatched."
    )
    before = data.events
    if before is None:  # and not `or`: events without names are false, and may carry an orientation
        before = Events((), np.full(len(data), -1, np.int16), by_hash(data), BY_HASH)
    of_pair = np.concatenate([before.of_pair, np.full(len(rows), -1, before.of_pair.dtype)])
    first = np.concatenate([before.first, before.first[rows]])
    events = Events(
        before.names,
        of_pair,
        first,
        f"{before.rule} {sentence} Copies are oriented as their originals.",
        twin,
        np.arange(len(copies)) >= len(data),
    )
    return replace(copies, texts=texts, prompt=prompt, chosen=chosen, rejected=rejected, events=events)


def _swapped_texts(data: PreferenceData, columns: tuple[np.ndarray, ...], swaps: Swaps) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The texts and the swapped ones behind them; the number of each text's counterpart int64[texts + 1], its own where it has none;
    bool[texts + 1]: swapping changes it and does not give it back. The last place answers for -1, no text.
    """
    texts = list(data.texts)
    place, undone = np.arange(len(texts) + 1), np.zeros(len(texts) + 1, bool)
    place[-1] = -1
    used = np.unique(np.concatenate(columns))
    number = {text: t for t, text in enumerate(texts)}
    for t in used[used >= 0].tolist():
        swapped = swaps.swap(texts[t])
        if swapped == texts[t]:
            continue
        undone[t] = swaps.swap(swapped) != texts[t]
        if not undone[t]:
            place[t] = number.setdefault(swapped, len(texts))
            if place[t] == len(texts):
                texts.append(swapped)
    return texts, place, undone

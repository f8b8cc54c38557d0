"""Lexical association: the nouns and adjectives of one group's texts against the others', and what they lean to (the audit of Wan et al.
2023, arXiv 2310.09219, with the mean difference of the word-embedding association test, Caliskan et al. 2017).

Odds ratios alone name words by chance: of the largest twenty, half or more are what any two piles of texts show. So a word is named only
beyond the 95 % point of the largest |z| of all words when labels are dealt anew, and the leanings of the salient words are tested by the
same deals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.texts.audit import SURE, Measured, Tabled, Tested
from evenhand.texts.grid import Axis
from evenhand.texts.reading.contrasts import DEALS, against, cell_shares, contrasts, share_beyond, sides, strata
from evenhand.texts.reading.salience import Found, Salient, Words, ends, lean, leaning_p, salience, words_of
from evenhand.texts.reading.tagger import tagged, tagger_name
from evenhand.texts.reading.vectors import text_vectors
from evenhand.texts.table import HIDDEN, TextTable

NAN = float("nan")
NAMED = 40  # words of a table at most
HEADS = ("word", "more in", "than in", "texts", "texts of those", "odds ratio", "z", "p")


@dataclass(frozen=True)
class Lexical:
    """deals: of labels, the texts as they are among them; the smallest p is one over them. cache: where tags and vectors are kept; default:
    the user's.
    """

    deals: int = DEALS
    seed: int = 0
    cache: Path | None = None

    name = "lexical"

    def measure(self, table: TextTable) -> Measured:
        """Of every matched axis: a test of any word, one a pair of associated sets, and tables of words. Words lean by MiniLM's vectors of
        them alone.
        """
        words = words_of(_content(t.nouns + t.adjectives) for t in tagged(table.texts, self.cache))
        found = [self.compared(axis, table, words) for axis in table.grid.matched]
        return Measured(
            (),
            tuple(t for tests, _, _ in found for t in tests),
            tuple(t for _, tables, _ in found for t in tables),
            (
                f"Nouns and adjectives by {tagger_name()}, {len(words.words):,} words that stand in five texts or more.",
                *(s for _, _, s in found),
            ),
        )

    def compared(self, axis: Axis, table: TextTable, words: Words) -> tuple[list[Tested], list[Tabled], str]:
        """Of one axis, the tests, tables and a sentence. words: of the table's texts."""
        cells = strata(table, axis)
        if not len(cells) or ends(len(words.words)) == 0:
            why = "no whole set of matched cells" if not len(cells) else "fewer than two words stand in five texts or more"
            tests = [Tested(n, axis.name, NAN, NAN, f"not testable: {why}") for n in ("words told apart", *map(_title, axis.associations))]
            return tests, [], f"By {axis.name}, words cannot be compared: {why}."
        over = sides(axis)
        a_cell = len(table) / len(np.unique(table.cell))
        found = salience(
            contrasts(cell_shares(table) @ words.there, cells), over, a_cell, self._leans(axis, words.words), self.seed, self.deals
        )
        p = [share_beyond(s.z, found.largest) for s in found.sides]
        named = _named(axis, over, words.words, found, p)
        point = float(np.quantile(found.largest, 1 - SURE, method="higher"))
        how = f"labels dealt anew in {len(cells)} strata"
        tests = [
            Tested(
                "words told apart",
                axis.name,
                float(found.largest[0]),
                float(np.min(p)),
                f"largest |z| of {len(words.words):,} words, {how}",
            )
        ]
        for number, sets in enumerate(axis.associations):
            tests.append(_leaning_test(axis, over, sets, found, number, how))
        tables = [
            Tabled(
                f"Words told apart by {axis.name}: beyond |z| = {point:.1f}, the 95 % point of the largest by chance",
                HEADS,
                named,
                axis.name,
            ),
            *(_odds(axis, side, words.words, s, one) for side, s, one in zip(over, found.sides, p)),
        ]
        return tests, tables, _sentence(axis, p, words.words)

    def _leans(self, axis: Axis, words: Sequence[str]) -> np.ndarray:
        """float64[words, associations]"""
        if not axis.associations:
            return np.empty((len(words), 0))
        vectors = text_vectors(tuple(words), self.cache)
        return np.stack(
            [
                lean(vectors, text_vectors(first, self.cache), text_vectors(second, self.cache))
                for (_, first), (_, second) in axis.associations
            ],
            axis=1,
        )


def _content(lemmas: Sequence[str]) -> set[str]:
    """Without what stands for a hidden word, and without signs and numbers."""
    return {w for w in lemmas if w != HIDDEN and len(w) > 1 and any(c.isalpha() for c in w)}


def _title(sets: tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]]) -> str:
    return f"{sets[0][0]} against {sets[1][0]}"


def _leaning_test(axis: Axis, over: Sequence[int], sets: tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]], found: Found, number: int, how: str) -> Tested:  # fmt: skip
    at, p = leaning_p(found.leaning[:, number])
    side = over[at]
    note = (
        f"mean leaning to {sets[0][0]} less {sets[1][0]} (cosines of MiniLM) of the {ends(len(found.sides[0].z))} words of largest odds in "
        f"{axis.labels[side]} less those of smallest, that is of {against(axis, side)}; words are salient anew with {how}"
    )
    return Tested(_title(sets), axis.name, float(found.leaning[at, number, 0]), p, note)


def _row(axis: Axis, side: int, word: str, s: Salient, w: int, p: float) -> tuple[str | float | int | None, ...]:
    """A word that is rarer on this side stands for the other one."""
    here, there = axis.labels[side], against(axis, side)
    with_it, others = f"{s.own[w]:.0f} of {s.n_own:.0f}", f"{s.rest[w]:.0f} of {s.n_rest:.0f}"
    if s.odds[w] < 1:
        return word, there, here, others, with_it, float(1 / s.odds[w]), float(abs(s.z[w])), p
    return word, here, there, with_it, others, float(s.odds[w]), float(abs(s.z[w])), p


def _named(axis: Axis, over: Sequence[int], words: Sequence[str], found: Found, p: Sequence[np.ndarray]) -> tuple[tuple[str | float | int | None, ...], ...]:  # fmt: skip
    beyond = [
        (-abs(s.z[w]), words[w], i, w) for i, (s, one) in enumerate(zip(found.sides, p)) for w in np.flatnonzero(one <= SURE).tolist()
    ]
    return tuple(_row(axis, over[i], word, found.sides[i], w, float(p[i][w])) for _, word, i, w in sorted(beyond)[:NAMED])


def _odds(axis: Axis, side: int, words: Sequence[str], s: Salient, p: np.ndarray) -> Tabled:
    k = ends(len(words))
    rows = tuple(_row(axis, side, words[w], s, w, float(p[w])) for w in (*s.order[:k].tolist(), *s.order[-k:].tolist()))
    caption = f"Largest and smallest odds in {axis.labels[side]} against {against(axis, side)}; most of them are chance: see p"
    return Tabled(caption, HEADS, rows, axis.name)


def _sentence(axis: Axis, p: Sequence[np.ndarray], words: Sequence[str]) -> str:
    named = sorted({words[w] for one in p for w in np.flatnonzero(one <= SURE).tolist()})
    if not named:
        return f"By {axis.name}, no word is told apart at {SURE:g} over all words."
    return f"By {axis.name}, {len(named)} word{'s are' if len(named) > 1 else ' is'} told apart at {SURE:g} over all words, other audits' tests not allowed for."

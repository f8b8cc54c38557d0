"""Which words tell the texts of one value of a matched axis from the rest, and what the words of each side lean to. A corpus is one number
here: there is no value a text.

Texts that have a word are counted, not its occurrences; a cell counts by its share of texts, so that k draws of a cell move together and a
cell of more draws weighs no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.texts.reading.contrasts import CLOSE, Contrasts

TOP = 10  # words on each side: of the tables, and of the sets that are set against attributes
FEWEST_TEXTS = 5  # a rarer word cannot be told apart
MOST_WORDS = 5_000  # the most frequent ones


@dataclass(frozen=True)
class Words:
    """words[m], in the order of the alphabet. there: sparse [texts, m], 1 where a text has the word."""

    words: tuple[str, ...]
    there: Any


@dataclass(frozen=True)
class Salient:
    """Of one side. words int64: all of them, the largest odds first. z, odds, own, rest float64[m]: standardised difference; add-one odds
    ratio; texts with the word in this value and in the rest, of n_own and n_rest.
    """

    order: np.ndarray
    z: np.ndarray
    odds: np.ndarray
    own: np.ndarray
    rest: np.ndarray
    n_own: float
    n_rest: float


@dataclass(frozen=True)
class Found:
    """As it is, and in every deal of labels, itself first. largest float64[deals]: the largest |z|. leaning float64[sides, associations,
    deals]: the mean leaning of the top words of a side less that of its bottom ones.
    """

    sides: tuple[Salient, ...]
    largest: np.ndarray
    leaning: np.ndarray


def words_of(sets: Iterable[Iterable[str]]) -> Words:
    """The words of each text, of those that stand in `FEWEST_TEXTS` texts or more, `MOST_WORDS` of them at most."""
    from scipy.sparse import csr_matrix

    texts = [set(s) for s in sets]
    count: dict[str, int] = {}
    for one in texts:
        for word in one:
            count[word] = count.get(word, 0) + 1
    often = sorted((w for w, n in count.items() if n >= FEWEST_TEXTS), key=lambda w: (-count[w], w))
    words = tuple(sorted(often[:MOST_WORDS]))
    at = {w: i for i, w in enumerate(words)}
    rows = [sorted(at[w] for w in one if w in at) for one in texts]
    starts = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    columns = np.array([c for r in rows for c in r], np.int64)
    return Words(words, csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(texts), len(words))))


def salience(c: Contrasts, over: Sequence[int], texts_a_cell: float, leans: np.ndarray, seed: int, deals: int) -> Found:
    """c: contrasts of the cells' shares of texts that have each word. texts_a_cell: their mean number. leans float64[m, associations]: of
    each word.
    """
    largest, leaning, found = [], [], None
    for label in c.dealt(seed, deals):
        sums = [c.sums(label, side) for side in over]
        z = [c.z(s) for s in sums]
        if found is None:
            found = tuple(_salient(c, s[:, 0], one[:, 0], texts_a_cell) for s, one in zip(sums, z))
        largest.append(np.max([np.abs(one).max(axis=0, initial=0.0) for one in z], axis=0))
        if leans.shape[1]:
            leaning.append(np.stack([_leaning(log_odds(c, s, texts_a_cell), leans) for s in sums]))
    assert found is not None
    return Found(found, np.concatenate(largest), np.concatenate(leaning, axis=2) if leaning else np.empty((len(over), 0, deals)))


def log_odds(c: Contrasts, sums: np.ndarray, texts_a_cell: float) -> np.ndarray:
    """Of having a word, this value against the rest, one added to all four counts: sums of shares float64[m, deals] → float64[m, deals]."""
    own, rest = sums * texts_a_cell, (c.n_values * c.mean[:, None] - sums) * texts_a_cell
    n_own = c.n_strata * texts_a_cell
    n_rest = n_own * (c.n_values - 1)
    return np.asarray(np.log(own + 1) - np.log(n_own - own + 1) - np.log(rest + 1) + np.log(n_rest - rest + 1))


def _salient(c: Contrasts, sums: np.ndarray, z: np.ndarray, texts_a_cell: float) -> Salient:
    odds = log_odds(c, sums[:, None], texts_a_cell)[:, 0]
    n = c.n_strata * texts_a_cell
    rest = c.n_values * c.mean - sums
    return Salient(_ordered(odds), z, np.exp(odds), sums * texts_a_cell, rest * texts_a_cell, n, n * (c.n_values - 1))


def _ordered(odds: np.ndarray) -> np.ndarray:
    """float64[m, …] → the largest first; of equal ones, to what rounding leaves, the first of the alphabet."""
    return np.asarray(np.argsort(-np.round(odds, 9), axis=0, kind="stable"))


def ends(m: int) -> int:
    """How many words stand on each side, none on both."""
    return min(TOP, m // 2)


def _leaning(odds: np.ndarray, leans: np.ndarray) -> np.ndarray:
    """odds float64[m, deals], leans [m, associations] → float64[associations, deals]."""
    k = ends(len(odds))
    if not k:
        return np.zeros((leans.shape[1], odds.shape[1]))
    order = _ordered(odds)
    return np.asarray((leans[order[:k]].mean(axis=0) - leans[order[-k:]].mean(axis=0)).T)


def leaning_p(leaning: np.ndarray) -> tuple[int, float]:
    """leaning float64[sides, deals] → (the side that is farthest from what chance gives, p that any side is as far)."""
    far = np.abs(leaning - leaning.mean()).max(axis=0)
    side = int(np.argmax(np.abs(leaning[:, 0] - leaning.mean())))
    return side, float(np.mean(far >= far[0] * CLOSE))


def lean(words: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much nearer each word is to the first set than to the second: mean cosine less mean cosine; all unit vectors [·, d] →
    float64[words].
    """
    wide = words.astype(np.float64)
    return np.asarray(wide @ first.astype(np.float64).mean(axis=0) - wide @ second.astype(np.float64).mean(axis=0))

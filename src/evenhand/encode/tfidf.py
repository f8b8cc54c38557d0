"""TF-IDF over hashed words and word pairs, or letters. No vocabulary is kept: what is saved holds bucket numbers, never a word of a user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.encode.terms import letter_counts, word_counts

SLAB = 4096  # texts hashed at a time


@dataclass(frozen=True)
class HashedTfidf:
    """Sublinear TF-IDF: (1 + ln tf) · idf with idf = ln((1 + n) / (1 + df)) + 1, rows L2-normalised (Salton & Buckley 1988).

    buckets int32[k]: the hash buckets in use, ascending. idf float32[k]. space: number of buckets hashed into. letters: runs of 3 to 5
    letters inside words instead of words, which sees the parts of compounds and inflections in any language.
    Two words that fall into one bucket are counted as one: with 2^18 buckets and 20,000 in use this is 1 in 14 of them, and harmless.
    """

    buckets: np.ndarray
    idf: np.ndarray
    ngrams: int = 2
    space: int = 2**18
    letters: bool = False

    @classmethod
    def fit(
        cls, texts: Sequence[str], *, min_df: int = 3, max_buckets: int = 20_000, ngrams: int = 2, space: int = 2**18, letters: bool = False
    ) -> HashedTfidf:
        """Buckets of terms found in at least `min_df` texts; the `max_buckets` most frequent of them."""
        return cls.fit_apply(texts, min_df=min_df, max_buckets=max_buckets, ngrams=ngrams, space=space, letters=letters)[0]

    @classmethod
    def fit_apply(
        cls, texts: Sequence[str], *, min_df: int = 3, max_buckets: int = 20_000, ngrams: int = 2, space: int = 2**18, letters: bool = False
    ) -> tuple[HashedTfidf, Any]:
        """`fit` and what `apply` gives these texts, their terms counted once."""
        counted = list(_hashed(texts, ngrams, space, letters))
        df = np.zeros(space, dtype=np.int64)
        for slab in counted:
            df += np.bincount(slab.indices, minlength=space)
        buckets = np.flatnonzero(df >= min_df)
        if len(buckets) > max_buckets:
            buckets = np.sort(buckets[np.argsort(-df[buckets], kind="stable")[:max_buckets]])
        idf = np.log((1 + len(texts)) / (1 + df[buckets])) + 1
        terms = cls(buckets.astype(np.int32), idf.astype(np.float32), ngrams, space, letters)
        return terms, terms._weigh(counted)

    def __len__(self) -> int:
        return len(self.buckets)

    def apply(self, texts: Sequence[str]) -> Any:
        """Sparse scipy CSR float32[n, k]; a text without any known word is a row of zeros."""
        return self._weigh(_hashed(texts, self.ngrams, self.space, self.letters))

    def _weigh(self, counted: Iterable[Any]) -> Any:
        from scipy.sparse import csr_matrix, vstack

        parts = [self._weigh_slab(slab[:, self.buckets]) for slab in counted]
        return vstack(parts, format="csr") if parts else csr_matrix((0, len(self)), dtype=np.float32)

    def _weigh_slab(self, counted: Any) -> Any:
        weighted = counted.astype(np.float32)
        weighted.data = (1 + np.log(weighted.data)) * self.idf[weighted.indices]
        row = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
        norm = np.sqrt(np.bincount(row, np.square(weighted.data), weighted.shape[0]))  # added in float64, one by one
        weighted.data = (weighted.data / np.where(norm > 0, norm, 1)[row]).astype(np.float32)
        return weighted


def _hashed(texts: Sequence[str], ngrams: int, space: int, letters: bool) -> Iterator[Any]:
    """Term counts, sparse [up to SLAB texts, space] at a time."""
    for start in range(0, len(texts), SLAB):
        slab = texts[start : start + SLAB]
        yield letter_counts(slab, space) if letters else word_counts(slab, ngrams, space)

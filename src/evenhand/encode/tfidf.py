"""TF-IDF over hashed words and word pairs, or letters. No vocabulary is kept: what is saved holds bucket numbers, never a word of a user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
        df = np.zeros(space, dtype=np.int64)
        for counts in _hashed(texts, ngrams, space, letters):
            df += np.bincount(counts.indices, minlength=space)
        buckets = np.flatnonzero(df >= min_df)
        if len(buckets) > max_buckets:
            buckets = np.sort(buckets[np.argsort(-df[buckets], kind="stable")[:max_buckets]])
        idf = np.log((1 + len(texts)) / (1 + df[buckets])) + 1
        return cls(buckets.astype(np.int32), idf.astype(np.float32), ngrams, space, letters)

    def __len__(self) -> int:
        return len(self.buckets)

    def apply(self, texts: Sequence[str]) -> Any:
        """Sparse scipy CSR float32[n, k]; a text without any known word is a row of zeros."""
        from scipy.sparse import csr_matrix, vstack

        parts = [self._weigh(counts[:, self.buckets]) for counts in _hashed(texts, self.ngrams, self.space, self.letters)]
        return vstack(parts, format="csr") if parts else csr_matrix((0, len(self)), dtype=np.float32)

    def _weigh(self, counts: Any) -> Any:
        from sklearn.preprocessing import normalize

        weighted = counts.astype(np.float32)
        weighted.data = (1 + np.log(weighted.data)) * self.idf[weighted.indices]
        return normalize(weighted, norm="l2", copy=False)


def _hashed(texts: Sequence[str], ngrams: int, space: int, letters: bool) -> Any:
    """Term counts, sparse [up to SLAB texts, space] at a time."""
    from sklearn.feature_extraction.text import HashingVectorizer

    terms = {"analyzer": "char_wb", "ngram_range": (3, 5)} if letters else {"ngram_range": (1, ngrams)}
    hasher = HashingVectorizer(n_features=space, alternate_sign=False, norm=None, **terms)
    return (hasher.transform(texts[i : i + SLAB]) for i in range(0, len(texts), SLAB))

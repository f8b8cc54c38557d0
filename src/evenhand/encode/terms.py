"""Terms of texts, counted by hash bucket: what scikit-learn's HashingVectorizer counts, to the bit, since saved models hold its buckets.

Here because importing scikit-learn takes longer than an audit that needs nothing else of it.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

_WORD = re.compile(r"\b\w\w+\b")


def word_counts(texts: Sequence[str], runs: int, space: int) -> Any:
    """How often each text has a term of each bucket, sparse CSR float64[texts, space]: words of two letters or more in lower case, and runs of
    2 to `runs` of them."""
    said = [_WORD.findall(text.lower()) for text in texts]
    text = np.repeat(np.arange(len(texts)), [len(s) for s in said])
    words = [word for s in said for word in s]
    number = _numbers()
    word = np.fromiter(map(number.__getitem__, words), np.int64, len(words))
    row, column, run = [text], [buckets(list(number), space)[word]], word
    for n in range(2, runs + 1):
        whole = np.flatnonzero(text[n - 1 :] == text[: -(n - 1)])  # where a run starts that ends in the same text
        _, first, which = np.unique((run[:-1] * len(number) + word[n - 1 :])[whole], return_index=True, return_inverse=True)
        row.append(text[whole])
        column.append(buckets([" ".join(words[i : i + n]) for i in whole[first].tolist()], space)[which])
        run = np.zeros_like(run[:-1])
        run[whole] = which
    return _matrix(np.concatenate(row), np.concatenate(column), (len(texts), space))


def letter_counts(texts: Sequence[str], space: int) -> Any:
    """The same of runs of 3 to 5 letters inside words in lower case, with a space at both ends of a word; a word that is shorter, once."""
    number = _numbers()
    known: dict[str, array[int]] = {}
    seen, size = array("i"), []
    for text in texts:
        before = len(seen)
        for word in text.lower().split():
            if word not in known:
                padded = f" {word} "
                runs = (padded[i : i + n] for n in range(3, min(5, len(padded)) + 1) for i in range(len(padded) - n + 1))
                known[word] = array("i", map(number.__getitem__, runs))
            seen.extend(known[word])
        size.append(len(seen) - before)
    return _matrix(np.repeat(np.arange(len(texts)), size), buckets(list(number), space)[np.asarray(seen)], (len(texts), space))


def _numbers() -> defaultdict[str, int]:
    """Numbers terms in the order in which they are asked for."""
    number: defaultdict[str, int] = defaultdict()
    number.default_factory = number.__len__
    return number


def _matrix(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> Any:
    from scipy.sparse import coo_matrix

    return coo_matrix((np.ones(len(row)), (row, column)), shape).tocsr()


def buckets(terms: Sequence[str], space: int) -> np.ndarray:
    """|MurmurHash3_x86_32(UTF-8, seed 0) as a signed number| modulo `space` (Appleby 2011), int32[terms]."""
    given = [term.encode("utf-8", "replace") for term in terms]
    order = np.argsort([-len(term) for term in given], kind="stable")  # the longest first: those with a block of a number stand in front
    length = np.array([len(given[i]) for i in order], dtype=np.int64)
    whole, of_each = length // 4, -(-length // 4)  # blocks of 4 bytes; the last is filled up with zeros
    first = np.cumsum(of_each) - of_each
    block = np.frombuffer(b"".join(given[i].ljust(4 * n, b"\0") for i, n in zip(order, of_each.tolist())), "<u4").astype(np.uint32)
    block = _rotated(block * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    h = np.zeros(len(given), np.uint32)
    fronts = np.searchsorted(-whole, -np.arange(whole.max(initial=0)))
    for number, front in enumerate(fronts.tolist()):  # once for all numbers: a word may have a million letters
        h[:front] = _rotated(h[:front] ^ block[first[:front] + number], 13) * np.uint32(5) + np.uint32(0xE6546B64)
    odd = np.flatnonzero(length % 4)
    h[odd] ^= block[first[odd] + whole[odd]]
    h ^= length.astype(np.uint32)
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    out = np.empty(len(given), np.int32)
    out[order] = np.abs(h.view(np.int32).astype(np.int64)) % space
    return out


def _rotated(x: np.ndarray, by: int) -> np.ndarray:
    return x << np.uint32(by) | x >> np.uint32(32 - by)

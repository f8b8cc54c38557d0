"""Two shipped classifiers of emotions, trained on GoEmotions by `runs/emotions.py` (Demszky et al. 2020, ACL; 27 emotions and neutral).

One reads words, the other MiniLM's vectors. Both are logistic, one emotion against the rest, so that what they say is a product and a
sigmoid. No word is kept of the data: terms are numbers of hash buckets.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from evenhand.core import EvenhandError
from evenhand.encode.tfidf import HashedTfidf

FILE = "emotions.safetensors"
SLAB = 4096  # texts at a time, which bounds memory
TOKEN = re.compile(r"\w+(?:'\w+)*|[!?]+|[^\w\s]")
USER = re.compile(r"(?<!\w)/?u/[\w-]+", re.IGNORECASE)  # a name of a user of the site that GoEmotions is from


@dataclass(frozen=True)
class Linear:
    """Logistic classifiers over the same columns. weights float32[columns, emotions], bias float32[emotions]."""

    weights: np.ndarray
    bias: np.ndarray

    def probabilities(self, columns: Any) -> np.ndarray:
        """Columns [n, columns], dense or sparse → float64[n, emotions], each in (0, 1); they need not add up to one."""
        score = np.asarray(columns @ self.weights, np.float64) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -500, 500))))


@dataclass(frozen=True)
class Emotions:
    """names: of the 28 columns, neutral last. about: data, citation, licence and accuracy."""

    names: tuple[str, ...]
    tfidf: HashedTfidf
    of_words: Linear
    of_vectors: Linear
    about: dict[str, Any]

    def by_words(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities float64[n, 28], bool[n]: whether any term of the text is known; else they are those of an empty text)."""
        found, known = np.empty((len(texts), len(self.names))), np.empty(len(texts), bool)
        for start in range(0, len(texts), SLAB):
            rows = slice(start, start + SLAB)
            columns = self.tfidf.apply([in_terms(t) for t in texts[rows]])
            found[rows], known[rows] = self.of_words.probabilities(columns), np.diff(columns.indptr) > 0
        return found, known

    def by_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """MiniLM's unit vectors float32[n, 384] → probabilities float64[n, 28].

        A row at a time: a product of few rows adds up in another order than one of many, and a text's numbers would tell its neighbours.
        """
        wide = self.of_vectors.weights.astype(np.float64)
        scores = np.stack([v.astype(np.float64) @ wide for v in vectors]) if len(vectors) else np.empty((0, len(self.names)))
        return np.asarray(1 / (1 + np.exp(-(scores + self.of_vectors.bias))))


def in_terms(text: str) -> str:
    """The text with every token, marks and signs too, written so that the hashing of words takes it whole; names of users taken out."""
    tokens = TOKEN.findall(USER.sub(" ", text.replace("’", "'")))
    return " ".join("".join(c if c.isalnum() else f"{ord(c):x}" for c in token) + "_" for token in tokens)


@cache
def shipped() -> Emotions:
    """The classifiers of the package. Raises EvenhandError where the file is not the one that was written with its description."""
    from safetensors.numpy import load

    folder = files("evenhand.texts").joinpath("words")
    about = json.loads(folder.joinpath("emotions.json").read_text(encoding="utf-8"))
    raw = folder.joinpath(FILE).read_bytes()
    if hashlib.sha256(raw).hexdigest() != about["sha256"]:
        raise EvenhandError(
            f"The emotion classifier {FILE} is not the one described in emotions.json (its SHA-256 differs). Expected: the file as it was "
            "released. To do: install the package again, or train both with runs/emotions.py."
        )
    tensors = {name: t.astype(np.float32) if t.dtype == np.float16 else t for name, t in load(raw).items()}
    return Emotions(
        tuple(about["emotions"]),
        HashedTfidf(tensors["buckets"], tensors["idf"], about["ngrams"], about["space"]),
        Linear(tensors["words"], tensors["words_bias"]),
        Linear(tensors["vectors"], tensors["vectors_bias"]),
        about,
    )

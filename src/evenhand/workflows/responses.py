"""The distinct responses of a data set: as an encoder sees them, and the feature maps that are fitted to those of training pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.core import DataError, PreferenceData
from evenhand.data.splits import TRAIN, Split
from evenhand.encode.backbone_encoder import BackboneEncoder, on_gpu
from evenhand.encode.cache import encode_cached
from evenhand.encode.chat import Told
from evenhand.encode.chunks import Tokens
from evenhand.encode.encoder import TextEncoder, truncated
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import apart, item_text
from evenhand.encode.unknown import hardly_read
from evenhand.engines import Engine
from evenhand.workflows.progress import Progress, silent


@dataclass(frozen=True)
class Responses:
    """What the encoder is given: the distinct responses (with `with_prompt`, the distinct prompts and responses together).

    chosen, rejected int64[n]: each pair's rows in `texts`. vectors float32[responses, dim], None without an encoder.
    cut bool[responses]: the encoder does not see the text whole. hardly_read bool[responses]: a fifth or more of the text is unknown to it;
    None = not measured. tokens: prefix and own tokens of each, as a language model reads them; None = another encoder.
    """

    texts: list[str]
    chosen: np.ndarray
    rejected: np.ndarray
    vectors: np.ndarray | None
    cut: np.ndarray
    hardly_read: np.ndarray | None = None
    tokens: Sequence[Tokens] | None = None


def check_texts(data: PreferenceData, with_prompt: bool) -> None:
    """Raises DataError unless every pair has the texts that are read."""
    if len(data) == 0 or (data.chosen < 0).any():
        found = "the data has no texts" if len(data) else "the data has no pairs"
        raise DataError(
            found, expected="chosen and rejected texts", remedy="bring a table with texts, or audit score columns with --scores"
        )
    if with_prompt and (data.prompt < 0).any():
        raise DataError(
            "the data has no prompts", expected="a prompt for each pair", remedy="leave --with-prompt out, or name the prompt column"
        )


def encode_responses(
    data: PreferenceData,
    encoder: TextEncoder | None,
    with_prompt: bool,
    cache: Path | None,
    progress: Progress = silent,
    told: Sequence[Told] | None = None,
    engine: Engine | None = None,
) -> Responses:
    """Every distinct response once, from the cache where it was seen before.

    engine: whose workers encode; None: this process. told: what a language model reads of the user before each pair; then a response is one for everything that it stands behind.
    """
    check_texts(data, with_prompt)
    prompt = data.prompt if with_prompt else np.zeros_like(data.prompt)
    keys = np.concatenate([prompt.astype(np.int64) * len(data.texts) + side for side in (data.chosen, data.rejected)])
    distinct, rows = np.unique(keys, return_inverse=True)
    texts = [item_text(data.texts[k // len(data.texts)], data.texts[k % len(data.texts)], with_prompt) for k in distinct.tolist()]
    if told is not None:
        texts, rows = _behind(told, texts, rows, with_prompt)
    if encoder is None:
        return Responses(texts, rows[: len(data)], rows[len(data) :], None, np.zeros(len(texts), bool))
    vectors = encode_cached(texts, encoder, cache, lambda done, total: progress("encode", done, total), engine, on_gpu(encoder))
    tokens, cut = encoder.tokenized(texts) if isinstance(encoder, BackboneEncoder) else (None, truncated(encoder, texts))
    return Responses(texts, rows[: len(data)], rows[len(data) :], vectors, cut, hardly_read(encoder, texts), tokens)


def _behind(told: Sequence[Told], texts: Sequence[str], rows: np.ndarray, with_prompt: bool) -> tuple[list[str], np.ndarray]:
    """The distinct texts behind what is told before each pair, and both sides' rows in them."""
    number: dict[Told, int] = {}
    before = np.array([number.setdefault(t, len(number)) for t in told], np.int64)
    distinct, inverse = np.unique(np.concatenate([before, before]) * len(texts) + rows, return_inverse=True)
    known, parts = list(number), [apart(text) for text in texts]
    keys = [divmod(key, len(texts)) for key in distinct.tolist()]
    return [item_text(parts[i][0], parts[i][1], with_prompt, known[t]) for t, i in keys], inverse


def fit_features(split: Split, responses: Responses, dim: int | None, tfidf: bool, seed: int) -> FeatureMap:
    """The feature map of the responses that occur in training pairs; dim None = one coordinate for every 6 of them, 16 to 256."""
    rows = _trained(split, responses)
    return _fit_map(rows, responses, Recipe(dim=int(np.clip(len(rows) // 6, 16, 256)) if dim is None else dim), tfidf, seed)


def fit_unreduced(split: Split, responses: Responses, tfidf: bool, seed: int) -> FeatureMap:
    """The same responses by the recipe of that name, with as many coordinates as tell them apart, 512 at most."""
    rows = _trained(split, responses)
    return _fit_map(rows, responses, Recipe.unreduced(int(np.clip(len(rows) - 1, 16, 512))), tfidf, seed)


def _trained(split: Split, responses: Responses) -> np.ndarray:
    train = split.rows(TRAIN)
    return np.unique(np.concatenate([responses.chosen[train], responses.rejected[train]]))


def _fit_map(rows: np.ndarray, responses: Responses, recipe: Recipe, tfidf: bool, seed: int) -> FeatureMap:
    vectors = None if responses.vectors is None else responses.vectors[rows]
    return FeatureMap.fit([responses.texts[r] for r in rows], vectors, tfidf=tfidf, seed=seed, recipe=recipe)


def same_vectors(responses: Responses, chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Pairs of different texts that the encoder cannot tell apart since it does not see them whole, bool[n].

    One of the two alone may have been cut for that, to what the other is. A language model sees the same where the tokens of both are the same.
    """
    tokens, vectors = responses.tokens, responses.vectors
    out = responses.cut[chosen] | responses.cut[rejected]
    some = np.flatnonzero(out)
    if tokens is not None:
        out[some] = [all(map(np.array_equal, tokens[c], tokens[r])) for c, r in zip(chosen[some], rejected[some])]
    elif vectors is not None:
        out[some] = [np.array_equal(vectors[c], vectors[r]) for c, r in zip(chosen[some], rejected[some])]
    return out

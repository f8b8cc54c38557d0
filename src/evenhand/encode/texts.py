"""Texts whose features follow from a backbone that trains: what `core.Texts` asks for, over a fixed list of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenhand.core import Tuning
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.chunks import Tokens, length
from evenhand.encode.encoder import Progress
from evenhand.encode.projection import FeatureMap

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from evenhand.encode.backbone import Backbone


AT_ONCE = 65_536  # texts whose vectors lie in memory together, in every process: 1 GB of 4,096 coordinates


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Features of a text = vector @ of_vector + constant: linear in what trains, so that a gradient comes back by of_vector.T.

    texts: prefix and own tokens of each. of_vector float32[v, d] or None: the vectors themselves are the features. constant
    float32[texts, d] or [1, d]: what of a text's features does not follow from its vector.
    """

    backbone: Backbone
    texts: Sequence[Tokens]
    of_vector: np.ndarray | None = None
    constant: np.ndarray | None = None

    def __post_init__(self) -> None:
        if any(len(text[1]) == 0 for text in self.texts):
            raise ValueError("a text needs at least one token of its own")
        if self.constant is not None and len(self.constant) not in (1, len(self.texts)):
            raise ValueError(f"{len(self.constant)} constants for {len(self.texts)} texts")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def tuning(self) -> Tuning:
        return self.backbone.tuning

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of each text, prefix included, int64[texts]."""
        return np.array([length(text) for text in self.texts], dtype=np.int64)

    def adapter(self, seed: int) -> Module:
        return self.backbone.base.new_adapter(seed)

    def encode(self, adapter: Module, rows: Tensor, progress: Progress | None = None, *, keep: bool = False) -> Tensor:
        """Features float32[n, d] of the texts int64[n] under an adapter, without gradient, on the CPU. keep: `backward` on them comes next."""
        import torch

        if keep or len(rows) <= AT_ONCE:
            return self._encoded(adapter, rows, progress, keep)
        features = torch.empty(len(rows), len(self.of_vector[0]) if self.of_vector is not None else self.backbone.base.dim)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            features[start : start + AT_ONCE] = self._encoded(adapter, part, _behind(start, len(rows), progress), keep=False)
        return features

    def _encoded(self, adapter: Module, rows: Tensor, progress: Progress | None, keep: bool) -> Tensor:
        import torch

        vectors = self.backbone.base.vectors(self._asked(rows), adapter, progress, keep=keep)
        features = vectors if self.of_vector is None else vectors @ torch.from_numpy(self.of_vector)
        if self.constant is None:
            return features
        constant = torch.from_numpy(self.constant)
        return features + (constant if len(constant) == 1 else constant[rows])

    def backward(self, adapter: Module, rows: Tensor, gradient: Tensor) -> None:
        """From a loss's gradient float32[n, d] with respect to these features, add its gradient to `.grad` of the adapter's parameters."""
        import torch

        into = gradient if self.of_vector is None else gradient @ torch.from_numpy(self.of_vector).T
        self.backbone.base.backward(self._asked(rows), adapter, into)

    def under(self, adapter: Module, progress: Progress | None = None) -> np.ndarray:
        """Features float32[texts, d] of all texts."""
        import torch

        return self.encode(adapter, torch.arange(len(self)), progress).numpy()

    def _asked(self, rows: Tensor) -> list[Tokens]:
        return [self.texts[i] for i in rows.tolist()]


def _behind(start: int, total: int, progress: Progress | None) -> Progress | None:
    """Progress of a part that lies behind `start` others."""
    return None if progress is None else lambda done, _: progress(start + done, total)


def encoded_texts(
    encoder: BackboneEncoder, wording: Sequence[str], features: FeatureMap, tokens: Sequence[Tokens] | None = None
) -> EncodedTexts:
    """Texts for training under the features that `features` gives them now.

    wording: what TF-IDF reads; tokens: what the backbone reads, by default the wording as it is. features: fitted with the encoder's vectors.
    """
    if features.of_vector is None:
        raise ValueError("this feature map was fitted without encoder vectors")
    read = encoder.tokenized(wording)[0] if tokens is None else tokens
    return EncodedTexts(encoder.backbone, read, features.of_vector, features.constant(wording))

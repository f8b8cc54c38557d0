"""Texts → one feature matrix, cached by content; encoders are frozen, or a language model that trains along."""

from __future__ import annotations

import os

from evenhand.encode.backbone import Backbone
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM

__all__ = ["Backbone", "TextEncoder", "text_encoder"]


def text_encoder(model: str = MiniLM.name, *, chunked: bool = True) -> TextEncoder:
    """The embedded encoder, "smollm2", or any model by name or folder: of sentence-transformers, or plainly of transformers.

    A folder of transformers without sentence-transformers' list of modules gives the mean of the last hidden states; it and SmolLM2 cut
    long texts, chunked or not.
    """
    if model == MiniLM.name:
        return MiniLM(chunked=chunked)
    if model == "smollm2" or _plain(model):
        from evenhand.encode.backbone_encoder import BackboneEncoder

        return BackboneEncoder(Backbone(model))
    from evenhand.encode.sentence import SentenceEncoder

    return SentenceEncoder(model, chunked=chunked)


def _plain(folder: str) -> bool:
    """Whether it is a folder of a model of transformers, and not one of sentence-transformers."""
    return os.path.isfile(os.path.join(folder, "config.json")) and not os.path.isfile(os.path.join(folder, "modules.json"))

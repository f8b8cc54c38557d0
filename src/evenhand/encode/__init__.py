"""Texts → one feature matrix, cached by content; the encoders are frozen."""

from __future__ import annotations

from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM

__all__ = ["TextEncoder", "text_encoder"]


def text_encoder(model: str = MiniLM.name, *, chunked: bool = True) -> TextEncoder:
    """The embedded encoder, or any sentence-transformers model by name or folder."""
    if model == MiniLM.name:
        return MiniLM(chunked=chunked)
    from evenhand.encode.sentence import SentenceEncoder

    return SentenceEncoder(model, chunked=chunked)

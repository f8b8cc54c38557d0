"""How much of a text an encoder's vocabulary has no piece for: what stands there, the encoder cannot tell from anything else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.encode.sentence import SentenceEncoder

MUCH = 0.2  # share of unknown pieces from which a text is hardly read


def hardly_read(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray | None:
    """bool[n]: at least `MUCH` of the text's pieces are [UNK]; None where the encoder's vocabulary is not known here."""
    if isinstance(encoder, (MiniLM, SentenceEncoder)):
        return encoder.unknown(texts) >= MUCH
    return None

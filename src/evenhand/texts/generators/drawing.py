"""One token a row from logits: temperature, top-p, and a number in [0, 1) of the row's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FEW = 128  # tokens that hold the share top_p in nearly every row: sorting 49,152 of them takes ten times as long


def numbers(seed: int, count: int) -> np.ndarray:
    """float64[count] in [0, 1): the draws of one text."""
    return np.random.Generator(np.random.Philox(seed)).random(count)


def drawn(logits: Tensor, number: Tensor, temperature: float, top_p: float) -> Tensor:
    """int64[rows] from logits [rows, tokens]: of the likeliest tokens, taken until their probability reaches top_p, the one in whose part
    of their cumulative probability number [rows] falls. A row's token follows from its own logits and number alone.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    p = torch.softmax(logits.float() / temperature, dim=-1)
    likely, token = p.topk(min(FEW, p.shape[1]), dim=-1)
    found = token.gather(1, _place(likely, number, top_p)).squeeze(1)
    short = likely.sum(dim=-1) < top_p
    if short.any():
        likely, token = p[short].sort(dim=-1, descending=True, stable=True)
        found[short] = token.gather(1, _place(likely, number[short], top_p)).squeeze(1)
    return found


def _place(likely: Tensor, number: Tensor, top_p: float) -> Tensor:
    before = likely.cumsum(dim=-1) - likely
    kept = torch.where(before < top_p, likely, 0.0).cumsum(dim=-1)
    reached = number.to(kept.dtype)[:, None] * kept[:, -1:]
    return (kept <= reached).sum(dim=-1, keepdim=True).clamp(max=likely.shape[1] - 1)

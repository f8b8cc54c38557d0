"""One reward for everybody: r(u, x, y) = b . phi(x, y). The history is not read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evenhand.core import Head, History


@dataclass(frozen=True)
class Linear(Head):
    """The head without a user. No hyperparameters."""

    def build(self, dim: int, seed: int) -> LinearScorer:
        """An untrained scorer for features of `dim` coordinates; the seed changes nothing, since b starts at 0."""
        return LinearScorer(dim)


class LinearScorer(nn.Module):
    """Parameter b float[d]."""

    def __init__(self, dim: int):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(dim))

    def users(self, history: History) -> Tensor:
        """An empty state, float[users, 0]: every user is the same."""
        return history.items.new_zeros(len(history), 0)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d]."""
        return items @ self.b

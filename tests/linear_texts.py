"""The smallest texts that train: features are base + x A, the adapter the matrix A. What a backbone must do, worked out without one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from evenhand.core import Pairs, Tuning


class Matrix(nn.Module):
    """The adapter: A float[k, d], 0 before training."""

    def __init__(self, k: int, d: int):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(k, d))


@dataclass
class LinearTexts:
    """base float[texts, d], x float[texts, k]. encoded: texts of every call, to count them."""

    base: Tensor
    x: Tensor
    tuning: Tuning
    encoded: list[int] = field(default_factory=list)

    def adapter(self, seed: int) -> nn.Module:
        return Matrix(self.x.shape[1], self.base.shape[1])

    def encode(self, adapter: nn.Module, rows: Tensor, *, keep: bool = False) -> Tensor:
        assert isinstance(adapter, Matrix)
        self.encoded.append(len(rows))
        with torch.no_grad():
            return self.base[rows] + self.x[rows] @ adapter.A

    def backward(self, adapter: nn.Module, rows: Tensor, gradient: Tensor) -> None:
        assert isinstance(adapter, Matrix)
        step = self.x[rows].T @ gradient
        adapter.A.grad = step if adapter.A.grad is None else adapter.A.grad + step


def on_texts(pairs: Pairs, seed: int = 0, k: int = 5, **tuning: float) -> Pairs:
    """The same pairs, with features that train: hidden coordinates x beside the frozen ones."""
    x = torch.randn(len(pairs.items), k, generator=torch.Generator().manual_seed(seed))
    settings = {"steps": 20, "eval_every": 5, "lr": 0.01, "batch_texts": 64} | tuning
    return replace(pairs, texts=LinearTexts(pairs.items, x, Tuning(**settings)))

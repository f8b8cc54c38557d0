"""GPO's transformer over a user's labelled pairs, without positions (Zhao et al. 2023, Group Preference Optimization, arXiv 2310.11523).

    r(u, x, y) = b . phi + (V phi) . w_u,        w_u = O (T(z_1 ... z_n) - T(-z_1 ... -z_n)) / 2,        z_i = (phi+_i - phi-_i) V

T: a learned token joins the pairs, `layers` blocks of attention and perceptron let all of them look at each other, and the token's own
row is read. Nothing says which pair came first, so the order does not matter. Each pair is labelled by its sign; reading the history once
as it is and once with every label turned round makes the mirrored history the mirrored user, and an empty history gives w_u = 0.

Differs from the paper: there the targets enter the transformer beside the context and it predicts their preferences jointly, so
that a target's prediction may depend on the other targets and on how it resembles each context pair. Here a user is read once, into a
vector, and any response is scored alone under it: rewards do not depend on what else is scored. The paper's unit is a group, ours a user.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, Head, History

AT_ONCE = 2**22  # entries of the attention matrices held at once without a gradient: 16 MB


@dataclass(frozen=True)
class Gpo(Head):
    """rank: width of a token, divisible by `heads`. layers: blocks; two are enough to compare pairs and then weigh them."""

    rank: int = 16
    heads: int = 2
    layers: int = 2

    def __post_init__(self) -> None:
        if min(self.rank, self.heads, self.layers) < 1 or self.rank % self.heads:
            raise EvenhandError(
                f"gpo: rank={self.rank}, heads={self.heads}, layers={self.layers}. Expected: 1 or more, and rank divisible by heads. "
                "To do: correct it."
            )

    def build(self, dim: int, seed: int) -> GpoScorer:
        """An untrained scorer for features of `dim` coordinates."""
        return GpoScorer(dim, self, torch.Generator().manual_seed(seed))


class GpoScorer(nn.Module):
    """Parameters: b float[d]; V float[d, rank]; the token float[rank]; O float[rank, rank]; the blocks' matrices."""

    def __init__(self, dim: int, head: Gpo, generator: torch.Generator):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(dim))
        self.V = nn.Parameter(torch.randn(dim, head.rank, generator=generator) / dim**0.5)
        self.token = nn.Parameter(torch.zeros(head.rank))
        self.blocks = nn.ModuleList(Block(head.rank, head.heads, generator) for _ in range(head.layers))
        self.O = nn.Parameter(torch.eye(head.rank))

    def users(self, history: History) -> Tensor:
        """w_u, float[users, rank]. Users are padded to the longest history of their slice; padding is masked."""
        longest = int((history.offsets[1:] - history.offsets[:-1]).max()) if len(history) else 0
        size = max(1, AT_ONCE // (longest + 1) ** 2)
        slices = [history.take(users) for users in torch.arange(len(history)).split(size) if len(users)]
        return torch.cat([self._read(part) for part in slices]) if slices else self.V.new_zeros(0, self.V.shape[1])

    def _read(self, history: History) -> Tensor:
        z, owner = history.differences() @ self.V, history.owner()
        count = history.offsets[1:] - history.offsets[:-1]
        place = torch.arange(len(z)) - history.offsets[owner] + 1  # the token comes first
        width = 1 + (int(count.max()) if len(count) else 0)
        pairs = z.new_zeros(len(count), width, z.shape[1]).index_put((owner, place), z)
        seen = torch.arange(width) <= count[:, None]  # (users, width)
        first = torch.zeros(width, 1).index_fill(0, torch.tensor([0]), 1.0)
        return (self._transform(pairs + first * self.token, seen) - self._transform(first * self.token - pairs, seen)) / 2 @ self.O

    def _transform(self, tokens: Tensor, seen: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, seen)
        return tokens[:, 0]

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d] under w_u [n, rank]."""
        return items @ self.b + ((items @ self.V) * state).sum(-1)


class Block(nn.Module):
    """Attention, then a perceptron, each added to its input (pre-norm). Q, K, W, U: rank x rank or rank x 2 rank."""

    def __init__(self, rank: int, heads: int, generator: torch.Generator):
        super().__init__()

        def random(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) / rows**0.5)

        self.heads = heads
        self.Q, self.K = random(rank, rank), random(rank, rank)
        # Values start as what they are and the perceptron as nothing: an untrained block averages, so a user leans to his or her own side.
        self.A = nn.Parameter(torch.eye(rank))
        self.U, self.W = random(rank, 2 * rank), nn.Parameter(torch.zeros(2 * rank, rank))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """tokens float[users, width, rank], seen bool[users, width] → float[users, width, rank]."""
        users, width, rank = tokens.shape
        normed = nn.functional.layer_norm(tokens, (rank,))

        def split(x: Tensor) -> Tensor:
            return x.view(users, width, self.heads, -1).transpose(1, 2)

        mixed = nn.functional.scaled_dot_product_attention(
            split(normed @ self.Q), split(normed @ self.K), split(normed @ self.A), attn_mask=seen[:, None, None, :]
        )
        tokens = tokens + mixed.transpose(1, 2).reshape(users, width, rank)
        return tokens + torch.nn.functional.gelu(nn.functional.layer_norm(tokens, (rank,)) @ self.U) @ self.W

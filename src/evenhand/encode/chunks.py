"""What a language model reads in one pass, and how the texts of a batch are dealt to passes.

A text is (prefix tokens, own tokens): the formatted prompt, empty where there is none, and the response. Its vector is pooled over its own
tokens, by their places and never by the pad token, which may also be a text's last one. Where soft tokens stand for its user, the prefix
begins with their places, and the text has a third part: what the user is read from (user_tokens.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Ids = Sequence[int] | np.ndarray
Tokens = tuple[Ids, Ids] | tuple[Ids, Ids, np.ndarray]  # prefix, own, user float32[h]; the own part has at least one token
Pooling = Literal["mean", "last"]


@dataclass(frozen=True)
class Chunk:
    """One forward pass of a backbone over `k` texts in some rows of T tokens."""

    texts: Tensor  # int64[k]: places of the texts in the list that was asked for
    ids: Tensor  # int64[rows, T], 0 where there is no token
    mask: Tensor  # bool[rows, T]: where there are tokens; or bool[rows, 1, T, T]: which token (first T) may attend to which
    positions: Tensor  # int64[rows, T]
    row: Tensor  # int64[k]: each text's own tokens are ids[row, start:stop]
    start: Tensor
    stop: Tensor
    users: Tensor | None = None  # float32[rows, h]; None: no soft tokens

    @property
    def size(self) -> int:
        """Places for tokens, filled or not: what time and memory follow from."""
        return self.ids.numel()


def length(text: Tokens) -> int:
    return len(text[0]) + len(text[1])


def padded(texts: Sequence[Tokens], chunk_tokens: int) -> list[Chunk]:
    """One text a row, texts of about one length together, at most `chunk_tokens` places a chunk; a longer text is a chunk of its own.

    Which texts meet in a chunk follows from the texts alone. The longest come first: what does not fit into memory shows at once.
    """
    order = sorted(range(len(texts)), key=lambda i: (-length(texts[i]), i))
    chunks, at = [], 0
    while at < len(order):
        rows = max(1, chunk_tokens // max(1, length(texts[order[at]])))
        chunks.append(_rows(texts, order[at : at + rows]))
        at += rows
    return chunks


def _rows(texts: Sequence[Tokens], places: Sequence[int]) -> Chunk:
    import torch

    starts, stops = [len(texts[i][0]) for i in places], [length(texts[i]) for i in places]
    longest = max(stops)
    ids = np.zeros((len(places), longest), dtype=np.int64)
    for row, (i, start, stop) in enumerate(zip(places, starts, stops)):
        ids[row, :start], ids[row, start:stop] = texts[i][:2]
    steps, stop_at = torch.arange(longest).expand(len(places), longest), torch.tensor(stops)
    return Chunk(
        texts=torch.tensor(places),
        ids=torch.from_numpy(ids),
        mask=steps < stop_at[:, None],
        positions=steps,
        row=torch.arange(len(places)),
        start=torch.tensor(starts),
        stop=stop_at,
        users=users_of([texts[i] for i in places]),
    )


def users_of(rows: Sequence[Tokens]) -> Tensor | None:
    """The user of each row, by one text of it; None where texts have none."""
    import torch

    found = [text[2] for text in rows if len(text) == 3]
    return torch.from_numpy(np.stack(found)) if found else None


def pooled(states: Tensor, chunk: Chunk, pooling: Pooling) -> Tensor:
    """Vectors float32[k, d] of the chunk's texts from hidden states [rows, T, d]: the mean over a text's own tokens, or its last token."""
    import torch

    row, start, stop = (places.to(states.device) for places in (chunk.row, chunk.start, chunk.stop))
    if pooling == "last":
        return states[row, stop - 1].float()
    steps = torch.arange(states.shape[1], device=states.device)
    own = (steps >= start[:, None]) & (steps < stop[:, None])  # [k, T]
    weight = own.float() / own.sum(1, keepdim=True)
    if len(row) == len(states):  # a text a row, in order
        return torch.bmm(weight[:, None], states.float())[:, 0]
    share = weight.new_zeros(len(row), len(states), weight.shape[1])
    share[torch.arange(len(row), device=row.device), row] = weight
    return share.flatten(1) @ states.float().flatten(0, 1)

"""Texts that begin alike read their beginning once: a row is a prefix and, one after another, what each of its texts goes on with.

A token attends to the prefix and to its own branch, never to another; positions of every branch start anew after the prefix. So vectors and
gradients are those of one text a row. For causal models alone: in others a prefix reads what follows it. Sharing does not always pay: a
mask makes attention dense and slower than causal attention is, so rows are dealt by what they are expected to cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evenhand.encode.chunks import Chunk, Ids, Tokens, length, padded, pooled, users_of

if TYPE_CHECKING:
    from torch import Tensor

# A row of T tokens costs T (1 + T / LONG) passes of one token through everything but attention, fitted to benchmarks on SmolLM2's shape,
# forward and backward, float32 on one CPU thread. Wider models have more to do beside attention, so sharing pays there from shorter prefixes.
LONG_CAUSAL = 2000.0
LONG_MASKED = 1800.0  # a mask also lets a row be attended to in full, where causal attention leaves half of it out
GAIN = 0.97  # rows are shared where they are expected to cost at most so much of padded ones


def shared(texts: Sequence[Tokens], chunk_tokens: int, window: int | None = None, taken: Callable[[], bool] = lambda: True) -> list[Chunk]:
    """Chunks of at most `chunk_tokens` places in which texts with one prefix share rows, where that is expected to be faster; else `padded`.

    window: tokens that a layer of the model looks back; texts longer than it are not shared, since a mask of ours is not cut to it.
    taken: whether the model takes shared rows, asked only where there would be any. Which texts meet in a chunk follows from the texts alone.
    """
    groups: dict[bytes, list[int]] = {}
    for i, text in enumerate(texts):
        if len(text[0]) and (window is None or length(text) <= window):
            groups.setdefault(_key(text), []).append(i)
    rows = [row for group in groups.values() for row in _rows(texts, group, chunk_tokens) if len(row) > 1]
    gone = {i for row in rows for i in row}
    left = [i for i in range(len(texts)) if i not in gone]
    alone = [length(texts[i]) for i in left]
    plain = _cost([length(text) for text in texts], chunk_tokens, LONG_CAUSAL)
    together = _cost([_row_length(texts, row) for row in rows], chunk_tokens, LONG_MASKED)
    if not rows or _cost(alone, chunk_tokens, LONG_CAUSAL) + together > GAIN * plain or not taken():
        return padded(texts, chunk_tokens)
    apart = [replace(chunk, texts=_places(left)[chunk.texts]) for chunk in padded([texts[i] for i in left], chunk_tokens)]
    return sorted([*_chunks(texts, rows, chunk_tokens), *apart], key=lambda chunk: -chunk.ids.shape[1])


def shares(states: Callable[[Chunk], Tensor], vocabulary: int) -> bool:
    """Whether a model gives shared rows the states [rows, T, d] that padded rows have: tried on three short texts.

    Models that take no mask of this form, or read positions from elsewhere, do not. Sliding windows are not seen here: see `window_of`.
    """
    ids = [(7 * i + 3) % vocabulary for i in range(80)]
    texts: list[Tokens] = [(ids[:12], ids[12:48]), (ids[:12], ids[48:64]), (ids[:12], ids[64:])]
    try:
        expected, forgotten = _vectors(states, padded([*texts, *(([], text[1]) for text in texts)], 1000)).split(3)
        found = _vectors(states, _chunks(texts, [[0, 1, 2]], 1000))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):  # a model's own way of refusing such a mask
        return False
    return bool(((found - expected).norm() <= 0.03 * (forgotten - expected).norm()).item())


def window_of(config: Mapping[str, Any]) -> int | None:
    """Tokens that some layer of a model looks back at most, from its config; None = all."""
    windows = [config.get(name) for name in ("sliding_window", "attention_chunk_size")]
    return min((int(w) for w in windows if w), default=None)


def _vectors(states: Callable[[Chunk], Tensor], chunks: Sequence[Chunk]) -> Tensor:
    import torch

    with torch.no_grad():
        [chunk] = chunks
        return pooled(states(chunk), chunk, "mean")[chunk.texts.argsort()]


def _key(text: Tokens) -> bytes:
    import numpy as np

    user = text[2].tobytes() if len(text) == 3 else b""
    return np.asarray(text[0], dtype=np.int32).tobytes() + user


def _places(places: Ids) -> Tensor:
    import torch

    return torch.as_tensor(places, dtype=torch.int64)


def _row(tokens: int, long: float) -> float:
    return tokens * (1 + tokens / long)


def _cost(lengths: Sequence[int], chunk_tokens: int, long: float) -> float:
    """Of rows of these lengths, filled up to the longest of their chunk."""
    order, cost, at = sorted(lengths, reverse=True), 0.0, 0
    while at < len(order):
        count = min(max(1, chunk_tokens // order[at]), len(order) - at)
        cost += count * _row(order[at], long)
        at += count
    return cost


def _row_length(texts: Sequence[Tokens], row: Sequence[int]) -> int:
    return len(texts[row[0]][0]) + sum(len(texts[i][1]) for i in row)


def _rows(texts: Sequence[Tokens], group: list[int], chunk_tokens: int) -> list[list[int]]:
    """The texts of one prefix in rows, as many a row as cost least; a row holds at most `chunk_tokens`, or one text."""
    prefix = len(texts[group[0]][0])
    order = sorted(group, key=lambda i: (-len(texts[i][1]), i))
    own = [len(texts[i][1]) for i in order]
    best, dealt = float("inf"), [[i] for i in order]
    for count in range(1, len(order) + 1):  # rows
        size = -(-len(order) // count)
        cuts = range(0, len(order), size)
        sums = [prefix + sum(own[at : at + size]) for at in cuts]
        if size > 1 and max(sums) > chunk_tokens:
            continue
        cost = sum(_row(n, LONG_MASKED if size > 1 else LONG_CAUSAL) for n in sums)
        if cost < best:
            best, dealt = cost, [order[at : at + size] for at in cuts]
    return dealt


def _chunks(texts: Sequence[Tokens], rows: list[list[int]], chunk_tokens: int) -> list[Chunk]:
    """Shared rows, those of about one length together."""
    lengths = [_row_length(texts, row) for row in rows]
    order = sorted(range(len(rows)), key=lambda r: (-lengths[r], rows[r]))
    chunks, at = [], 0
    while at < len(order):
        count = max(1, chunk_tokens // lengths[order[at]])
        chunks.append(_tree(texts, [rows[r] for r in order[at : at + count]], lengths[order[at]]))
        at += count
    return chunks


def _tree(texts: Sequence[Tokens], rows: list[list[int]], longest: int) -> Chunk:
    import numpy as np
    import torch

    ids = np.zeros((len(rows), longest), dtype=np.int64)
    positions = np.zeros_like(ids)
    branch_of = np.full_like(ids, -1)  # 0: the prefix; 1, 2, …: whose token it is; -1: none
    spans = []
    for r, row in enumerate(rows):
        at = prefix = len(texts[row[0]][0])
        ids[r, :at] = texts[row[0]][0]
        positions[r, :at] = np.arange(at)
        branch_of[r, :at] = 0
        for number, i in enumerate(row, 1):
            own = texts[i][1]
            end = at + len(own)
            ids[r, at:end], branch_of[r, at:end] = own, number
            positions[r, at:end] = np.arange(prefix, prefix + len(own))
            spans.append((i, r, at, end))
            at = end
    branch = torch.from_numpy(branch_of)
    attended, attending = branch[:, None, :], branch[:, :, None]
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    # a place without a token attends to itself: a softmax over nothing is not a number, and would reach the weights
    mask = causal & ((attended == 0) | (attended == attending))
    place, row_, start, stop = torch.tensor(spans, dtype=torch.int64).view(-1, 4).unbind(1)
    return Chunk(
        texts=place,
        ids=torch.from_numpy(ids),
        mask=mask[:, None],
        positions=torch.from_numpy(positions),
        row=row_,
        start=start,
        stop=stop,
        users=users_of([texts[row[0]] for row in rows]),
    )

"""Passes forward that a step keeps for its pass backward, as far as memory is allowed for it: these chunks are read once and not twice.

No result follows from what is kept. It serves the same texts under weights that have not moved since, and may be forgotten at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from evenhand.encode.chunks import Chunk, Tokens


class Kept:
    """Vectors of chunks with all that led to them. room: places for tokens of which as much may still be kept."""

    def __init__(self, texts: Sequence[Tokens] = (), weights: Sequence[Tensor] = (), room: int = 0):
        self.room = room
        self._texts = list(texts)
        self._weights = [(weight, weight._version) for weight in weights]  # torch counts what is done to a tensor in its place
        self._vectors: dict[tuple[int, ...], Tensor] = {}

    def put(self, chunk: Chunk, vectors: Tensor) -> None:
        self.room -= chunk.size
        self._vectors[tuple(chunk.texts.tolist())] = vectors

    def pop(self, chunk: Chunk) -> Tensor | None:
        """The vectors of this chunk, to be used once; None = they were not kept."""
        return self._vectors.pop(tuple(chunk.texts.tolist()), None)

    def serves(self, texts: Sequence[Tokens], weights: Sequence[Tensor]) -> bool:
        """Whether it is of these very texts, under these very weights as they are now."""
        return (
            len(texts) == len(self._texts)
            and all(a is b for a, b in zip(texts, self._texts))
            and len(weights) == len(self._weights)
            and all(a is b and a._version == version for a, (b, version) in zip(weights, self._weights))
        )

    def free(self) -> bool:
        """Forget all of it, and keep nothing more; whether there was anything, or would have been."""
        had = self.room > 0 or bool(self._vectors)
        self.room, self._texts, self._weights, self._vectors = 0, [], [], {}
        return had


def kept_bytes(forward: Callable[[Chunk], Tensor], chunk: Chunk, known: Iterable[Tensor]) -> int:
    """What autograd keeps of a pass forward over `chunk`, beside tensors that are there anyway; 0 where no weight trains."""
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    found: dict[int, int] = {}

    def weigh(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in there:
            found[storage.data_ptr()] = storage.nbytes()
        return saved.detach()  # an output that holds itself would never be freed

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda saved: saved):
        _vectors = forward(chunk)  # what is counted lives as long, so that no storage is counted for another
    return sum(found.values())

"""A language model loaded once and shared: its passes forward and backward, chunk by chunk, under one adapter or another.

Gradient caching (Gao et al. 2021, arXiv 2101.06983): vectors of all texts of a batch are computed without gradient, a loss is taken on
them elsewhere, and its gradient with respect to the vectors is brought into the weights in a second pass, one chunk at a time. Both passes
are the same function: the model is in evaluation mode always, so that nothing is drawn at random in either. As far as memory is allowed for
it, the first pass keeps what the second needs (kept.py).

Ranks (ranks.py) share both passes. Which texts meet in a chunk follows from the texts alone; chunks are dealt to the ranks, vectors are
gathered, and gradients of the adapter added up. A model too large for one device may be sharded over the ranks (FSDP2).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from evenhand import ranks
from evenhand.core import EvenhandError, clip
from evenhand.encode.adapter import Adapter, Wardrobe
from evenhand.encode.chunks import Chunk, Pooling, Tokens, padded, pooled
from evenhand.encode.encoder import Progress
from evenhand.encode.kept import Kept, kept_bytes
from evenhand.encode.loading import checkpoint_layers, loaded, positions, shard
from evenhand.encode.prefixes import shared, shares, window_of
from evenhand.encode.user_tokens import Side, UserTokens

READING = RLock()  # of the whole process: models share its cores, and nothing is copied along with a model


class LessMemory(UserWarning):
    """A chunk did not fit into memory, and smaller ones are read from now on."""


class Base:
    """One model on one device. Its weights never change; `chunk_tokens` is halved whenever a chunk does not fit into memory.

    causal: whether no token sees a later one; found out by trying. dim: coordinates of a vector. positions: tokens of a text at most.
    sharded: each rank holds its part of every weight, and all ranks ask for vectors and gradients as often, of the same texts.
    keep_gb: of activations that a step may keep between its two passes; none where they are computed again anyway, or weights are gathered.
    user_tokens: so many soft tokens stand for a text's user, in the first places of its prefix.
    """

    def __init__(
        self, folder: Path, name: str, *, rank: int, pooling: Pooling, unit: bool, device: str, dtype: str, chunk_tokens: int,
        checkpointing: bool, sharded: bool = False, keep_gb: float = 0.0, user_tokens: int = 0,
    ):  # fmt: skip
        self.name, self.rank, self.pooling, self.unit, self.chunk_tokens = name, rank, pooling, unit, chunk_tokens
        self.device = torch.device(device)
        # where all weights train there are none to halve; rounded ones would give other vectors than the copies that train begin with
        self.model, self.tokenizer = loaded(folder, name, dtype if rank else "float32")
        self.model.config.use_cache = False
        self.model.requires_grad_(False).eval()
        self.sharded = sharded
        if sharded:
            shard(self.model, name, self.device, self._wardrobe.held())
        else:
            self.model.to(self.device)
        self._mixed = dtype == "bfloat16"
        self._users: UserTokens | None = None
        self._present: Tensor | None = None  # the users of the rows that are being read
        self.seen: dict[Side, np.ndarray] = {}  # pretrained vectors of the texts of users' choices
        self._told = False
        self._keep_bytes = 0.0 if checkpointing or sharded else keep_gb * 1e9
        self._kept = Kept()
        self.positions = positions(self.model, self.tokenizer)
        self.causal, self.dim = self._tried()
        if user_tokens:
            embeddings = self.model.get_input_embeddings()
            self._users = UserTokens(user_tokens, embeddings.embedding_dim, self.dim).to(self.device)
            embeddings.register_forward_hook(self._with_users)
            self._wardrobe.add(self._users)
        if checkpointing:
            checkpoint_layers(self.model, name)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # shared by whatever holds it

    @cached_property
    def _wardrobe(self) -> Wardrobe:
        return Wardrobe(self.model, self.rank)

    def new_adapter(self, seed: int) -> Adapter:
        """Untrained weights, under which vectors are the pretrained ones."""
        return self._wardrobe.new(seed, self.device)

    def adapter(self, arrays: Mapping[str, np.ndarray]) -> Adapter:
        """The adapter that `Adapter.arrays` was of. Raises EvenhandError when it is one of another base or rank."""
        return self._wardrobe.of(arrays, self.device)

    @contextmanager
    def wearing(self, adapter: nn.Module | None) -> Iterator[None]:
        """The model under an adapter; None = as pretrained. Every pass backward belongs inside."""
        if adapter is None and "_wardrobe" not in self.__dict__:
            yield  # no adapter was ever made: its layers are the model's own
            return
        with self._wardrobe.wearing(adapter):
            yield

    def vectors(
        self, texts: Sequence[Tokens], adapter: nn.Module | None, progress: Progress | None = None, *, keep: bool = False
    ) -> Tensor:
        """Vectors float32[n, dim] on the CPU, without gradient. keep: `backward` on the same texts comes next, before the adapter changes.

        Several threads may ask, as trainers do: one reads at a time, since an adapter is worn by the model itself.
        """
        out = torch.zeros(len(texts) + 1, self.dim)  # 0 is what a rank adds to the vectors of other ranks; the last row: who lacked memory
        done = 0

        def read(chunk: Chunk, own: bool) -> None:
            nonlocal done
            with torch.set_grad_enabled(chunk.size <= self._kept.room):
                vectors = self._forward(chunk)
            if vectors.requires_grad:
                self._kept.put(chunk, vectors)
            if own:
                out[chunk.texts] = vectors.detach().cpu()
                done = min(done + len(chunk.texts) * ranks.count(), len(texts))
            if progress is not None:
                progress(done, len(texts))

        with READING, torch.no_grad(), self.wearing(adapter):
            self._kept = Kept()  # what another step left
            if keep and adapter is not None and self._keep_bytes:
                self._kept = Kept(texts, _trainable(adapter), int(self._keep_bytes / self._place_bytes))
            out[-1] = self._each(texts, read)
        self._agree(bool(ranks.add(out)[-1].any()))
        return out[:-1]

    def backward(self, texts: Sequence[Tokens], adapter: nn.Module, gradient: Tensor) -> None:
        """Adds to `.grad` of the adapter's parameters, from the gradient float32[n, dim] of a loss with respect to the texts' vectors."""
        weights = _trainable(adapter)
        sums: list[Tensor | None] = [None] * len(weights)  # in float64: in whatever order chunks and ranks come, rounded it is the same

        def learn(chunk: Chunk, own: bool) -> None:
            into = gradient[chunk.texts].to(self.device)
            vectors = self._kept.pop(chunk)
            # in one piece, and not by backward(): a chunk that runs out of memory halfway must not have added anything
            parts = torch.autograd.grad(self._forward(chunk) if vectors is None else vectors, weights, into, allow_unused=True)
            for place, part in enumerate(parts if own else ()):
                if part is not None:
                    before = sums[place]
                    sums[place] = part.double() if before is None else before.add_(part)

        if not self._kept.serves(texts, weights):
            self._kept.free()
        with torch.enable_grad(), self.wearing(adapter):
            short = self._each(texts, learn)
        self._kept.free()
        totals, short = _over_ranks(sums, weights, short)
        self._agree(short)
        for weight, total in zip(weights, totals):
            if total is not None:
                weight.grad = total.to(weight.dtype) if weight.grad is None else weight.grad.add_(total)

    def _forward(self, chunk: Chunk) -> Tensor:
        """Vectors float32[k, dim] of a chunk's texts, on the device."""
        states = self._states(chunk)
        vectors = pooled(states, chunk, self.pooling)
        return nn.functional.normalize(vectors, dim=1) if self.unit else vectors

    def _states(self, chunk: Chunk) -> Tensor:
        """Last hidden states [rows, T, dim]."""
        given: dict[str, Tensor] = {}
        if chunk.mask.dim() == 4:
            given = {"attention_mask": chunk.mask.to(self.device), "position_ids": chunk.positions.to(self.device)}
        elif not self.causal:  # a causal model needs no mask: what fills up a row lies behind all that is read
            given = {"attention_mask": chunk.mask.to(self.device)}
        self._present = None if chunk.users is None else chunk.users.to(self.device)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed):
                return self.model(input_ids=chunk.ids.to(self.device), **given).last_hidden_state
        finally:
            self._present = None

    def _with_users(self, module: nn.Module, ids: object, embedded: Tensor) -> Tensor | None:
        """The embeddings [rows, T, e] with the users' added to the first: a hook, so that the model does all else as ever."""
        if self._present is None or self._users is None:
            return None
        with torch.autocast(self.device.type, enabled=False):
            added = self._users(self._present).to(embedded.dtype)
        return torch.cat([embedded[:, : added.shape[1]] + added, embedded[:, added.shape[1] :]], dim=1)

    def _each(self, texts: Sequence[Tokens], step: Callable[[Chunk, bool], None]) -> bool:
        """`step` on every chunk of the texts that is this rank's. One that does not fit into memory, when all that was kept is forgotten, is
        dealt anew, with all that wait behind it. Returns whether that happened: ranks then agree on `chunk_tokens`.

        Layers that are sharded come together in every pass, for which all ranks must make as many: a rank with fewer chunks is given one
        that is not its own (own = False), and whose result is thrown away.
        """
        planned, tokens = self._dealt(texts), self.chunk_tokens
        waiting = deque((chunk, True) for chunk in planned[ranks.number() :: ranks.count()])
        if self.sharded and len(waiting) < -(-len(planned) // ranks.count()):
            waiting.append((planned[-1], False))
        while waiting:
            chunk, own = waiting[0]
            if _fits(step, chunk, own):
                waiting.popleft()
                continue
            forgotten = self._kept.free()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if forgotten:
                continue
            if self.sharded:  # the other ranks wait in the middle of a layer
                raise EvenhandError(
                    f"Backbone '{clip(self.name)}', sharded, runs out of memory on a chunk of {chunk.size} tokens on {self.device}. Expected: "
                    "room for it. To do: give fewer chunk_tokens or max_tokens, turn checkpointing on, or use more processes."
                )
            if len(chunk.texts) == 1:
                raise EvenhandError(
                    f"Backbone '{clip(self.name)}' runs out of memory on a single text of {chunk.size} tokens on {self.device}. Expected: room "
                    "for one text at a time. To do: give fewer max_tokens, turn checkpointing on, or use bfloat16 or a smaller backbone."
                )
            self.chunk_tokens = max(1, min(self.chunk_tokens, chunk.size) // 2)
            if not self._told:
                self._told = True
                warnings.warn(
                    f"{self.device} ran out of memory; chunks of at most {self.chunk_tokens} tokens are read from now on, fewer if need be, "
                    "which changes nothing else",
                    LessMemory,
                    stacklevel=4,
                )
            left = torch.cat([chunk.texts for chunk, _ in waiting]).sort().values
            again = self._dealt([texts[i] for i in left.tolist()])
            waiting = deque((replace(chunk, texts=left[chunk.texts]), True) for chunk in again)
        return self.chunk_tokens < tokens

    def _agree(self, short: bool) -> None:
        """short: whether any rank has fewer chunk_tokens than before. All plan alike."""
        if short:
            self.chunk_tokens = ranks.lowest(self.chunk_tokens)

    def _dealt(self, texts: Sequence[Tokens]) -> list[Chunk]:
        if self.causal and any(len(text[0]) for text in texts):
            return shared(texts, self.chunk_tokens, self._window, lambda: self._shares)
        return padded(texts, self.chunk_tokens)

    @cached_property
    def _window(self) -> int | None:
        return window_of(self.model.config.to_dict())

    @cached_property
    def _place_bytes(self) -> float:
        """What a pass forward keeps of a place for a token, worked out on a short text under whatever is worn."""
        [chunk] = padded([([], [0] * min(64, self.positions))], self.positions)
        return max(1.0, kept_bytes(self._forward, chunk, self.model.parameters()) / chunk.size)

    @cached_property
    def _shares(self) -> bool:
        """Whether texts with one prefix may share a row."""
        return shares(self._states, self.model.get_input_embeddings().num_embeddings)

    def _tried(self) -> tuple[bool, int]:
        """(causal, dim): do the states of the first tokens stay when the last token changes?"""
        ids = torch.tensor([[0, 1, 2], [0, 1, 0]], device=self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed):
            states = self.model(input_ids=ids).last_hidden_state[:, :2].float()
        return bool(torch.allclose(states[0], states[1], rtol=1e-4, atol=1e-6)), states.shape[2]


def _trainable(adapter: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in adapter.parameters() if parameter.requires_grad]


def _over_ranks(sums: Sequence[Tensor | None], weights: Sequence[Tensor], short: bool) -> tuple[Sequence[Tensor | None], bool]:
    """The sums over all ranks of gradients float64 of the weights, None where no text of any rank reaches a weight; and whether any rank is
    short. In one message: between machines a small one takes as long as a large one."""
    if ranks.count() == 1:
        return sums, short
    said = torch.tensor([short, *(part is not None for part in sums)], dtype=torch.float64, device=weights[0].device)
    parts = [torch.zeros_like(weight, dtype=torch.float64) if part is None else part for part, weight in zip(sums, weights)]
    said, *whole = ranks.add(torch.cat([said, *(part.flatten() for part in parts)])).split(
        [len(said), *(weight.numel() for weight in weights)]
    )
    anybody, *reached = said.tolist()
    return [part.view_as(weight) if by else None for part, weight, by in zip(whole, weights, reached)], anybody > 0


def _fits(step: Callable[[Chunk, bool], None], chunk: Chunk, own: bool) -> bool:
    """Whether memory was enough. The error is gone when this returns, and with it what it held on to."""
    try:
        step(chunk, own)
    except MemoryError:
        return False
    except RuntimeError as error:  # torch's own of the GPU is one; on the CPU there is none
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        return False
    return True

"""Rewards of a batch of texts, by a saved model that reads users or by one of the hub's format that reads none.

A reward follows from its batch and the histories alone: a batch that is scored again, in another process, has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from evenhand.core import EvenhandError, clip
from evenhand.data.scorable import Asked
from evenhand.encode.backbone import device
from evenhand.encode.backbone_encoder import on_gpu
from evenhand.encode.cache import encode_cached
from evenhand.encode.prompted import item_text
from evenhand.serve.reward_model import RewardModel
from evenhand.training.scoring import SLICE
from evenhand.workflows.histories import Readers

if TYPE_CHECKING:
    from evenhand.encode.hub_reward import HubRewardModel

KEPT = 32_768  # texts whose vectors, or rewards, stay in memory: texts that come again cost no look into the cache


@dataclass(frozen=True)
class Given:
    """rewards float32[n, k] of each row's sides. known bool[n]: the user was read from a history. cut bool[n]: not every text was read whole."""

    rewards: np.ndarray
    known: np.ndarray
    cut: np.ndarray


class Rewarding(Protocol):
    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""

    def __call__(self, asked: Asked) -> Given: ...


class BySaved:
    """A saved model."""

    def __init__(self, model: RewardModel, readers: Readers, cache: Path | None):
        self._model, self._readers, self._cache = model, readers, cache
        self._vectors: dict[str, np.ndarray] = {}

    @property
    def on_gpu(self) -> bool:
        return on_gpu(self._model.encoder)

    def __call__(self, asked: Asked) -> Given:
        model, read = self._model, self._readers.of(asked)
        told = read.owner if model.history_pairs else np.zeros_like(read.owner)
        prompt = asked.prompt if model.with_prompt else np.zeros_like(asked.prompt)
        size = len(asked.texts) + 1  # a prompt may be -1, none
        keys = ((told * size + prompt + 1) * size)[:, None] + asked.sides
        distinct, place = np.unique(keys, return_inverse=True)
        place = place.reshape(keys.shape)
        parts = ((key // size // size, key // size % size - 1, key % size) for key in distinct.tolist())
        texts = [item_text(asked.texts[p], asked.texts[r], model.with_prompt, read.told[t]) for t, p, r in parts]
        items = torch.from_numpy(model.feature_map.apply(texts, self._encoded(texts)))
        out = np.empty(asked.sides.shape, np.float32)
        with torch.no_grad():
            for start in range(0, len(out), SLICE):
                some = slice(start, start + SLICE)
                state = read.states[torch.from_numpy(read.owner[some])]
                for side in range(len(out.T)):
                    out[some, side] = model.scorer.score(state, items[torch.from_numpy(place[some, side])]).numpy()
        return Given(out, read.known, np.zeros(len(out), bool))

    def _encoded(self, texts: Sequence[str]) -> np.ndarray | None:
        encoder = self._model.encoder
        if encoder is None:
            return None
        new = [text for text in texts if text not in self._vectors]
        if len(self._vectors) + len(new) > KEPT:
            self._vectors, new = {}, list(texts)
        if new:
            self._vectors |= zip(new, encode_cached(new, encoder, self._cache), strict=True)
        return np.stack([self._vectors[text] for text in texts]) if texts else np.zeros((0, encoder.dim), np.float32)


class ByHub:
    """A reward model of the hub's format."""

    def __init__(self, model: HubRewardModel, cache: Path | None):
        self._model, self._cache, self._sha256 = model, cache, model.sha256
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}

    @property
    def on_gpu(self) -> bool:
        return device(self._model.device) != "cpu"

    def __call__(self, asked: Asked) -> Given:
        prompts = [asked.texts[p] if p >= 0 else "" for p in asked.prompt.tolist()]
        keys = [(prompt, asked.texts[r]) for prompt, sides in zip(prompts, asked.sides.tolist()) for r in sides]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if len(self._known) + len(new) > KEPT:
            self._known, new = {}, list(dict.fromkeys(keys))
        if new:
            if self._model.sha256 != self._sha256:  # a worker reads the folder of its own machine
                raise EvenhandError(
                    f"The folder of {clip(self._model.name)} holds another reward model on a worker's machine. Expected: the same files on all. "
                    "To do: copy the folder there again."
                )
            found = self._model.score([p for p, _ in new], [r for _, r in new], cache=self._cache)
            self._known |= zip(new, zip(found.values.tolist(), found.cut.tolist()), strict=True)
        values = [self._known[key] for key in keys]
        rewards = np.array([reward for reward, _ in values], np.float32).reshape(asked.sides.shape)
        cut = np.array([cut for _, cut in values], bool).reshape(asked.sides.shape)
        return Given(rewards, np.zeros(len(rewards), bool), np.asarray(cut.any(axis=1)))

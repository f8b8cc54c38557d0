"""A small world of real texts that language models are fitted on: 36 short texts, 24 users of two tastes, 6 training pairs each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch

from evenhand.core import Events, Pairs
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.texts import encoded_texts
from evenhand.testing import history_of

WORDS = tuple(
    " ".join(words) for words in product(("Please", "Do", "Never"), ("read", "write", "keep"), ("the long report", "a note", "it", "us"))
)
TEXTS = tuple(WORDS[i] for i in torch.randperm(len(WORDS), generator=torch.Generator().manual_seed(0)).tolist())
USERS, PAIRS, HELD_OUT = 24, 6, 2


@dataclass(frozen=True, eq=False)
class LmWorld:
    """encoder as pretrained; train, valid, test with features of 12 dimensions that train along."""

    encoder: BackboneEncoder
    feature_map: FeatureMap
    train: Pairs
    valid: Pairs
    test: Pairs

    def __call__(self) -> tuple[Pairs, Pairs, Pairs]:
        return self.train, self.valid, self.test

    def history(self, user: int) -> list[tuple[str, str, str]]:
        """The user's training pairs in words."""
        own = self.train.user == user
        return [("", TEXTS[c], TEXTS[r]) for c, r in zip(self.train.chosen[own].tolist(), self.train.rejected[own].tolist())]


def lm_world(backbone: Backbone) -> LmWorld:
    """The majority likes requests and the minority prohibitions, both like them short; features are those of the model as pretrained.

    What constraints compare are pairs whose text of the lower number has an even one, and the others.
    """
    encoder = BackboneEncoder(backbone)
    vectors = encoder.encode(TEXTS)
    feature_map = FeatureMap.fit(TEXTS, vectors, recipe=Recipe(dim=12, svd=8, min_df=2))
    items = torch.from_numpy(feature_map.apply(TEXTS, vectors))
    texts = encoded_texts(encoder, TEXTS, feature_map)
    polite = torch.tensor([2.0 if t.startswith("Please") else -2.0 if t.startswith("Never") else 0.0 for t in TEXTS])
    long = torch.tensor([len(t) / 10 for t in TEXTS])
    group = (torch.arange(USERS) % 3 == 0).long()
    draw = torch.Generator().manual_seed(0)

    def pairs(each: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        user = torch.arange(USERS).repeat_interleave(each)
        a, b = torch.randint(len(TEXTS), (2, len(user)), generator=draw)
        b = torch.where(a == b, (b + 1) % len(TEXTS), b)
        sign = 1 - 2 * group[user]
        first = (polite[a] - polite[b]) * sign - (long[a] - long[b]) > 0
        return user, torch.where(first, a, b), torch.where(first, b, a)

    train = pairs(PAIRS)
    history = history_of(items, *train, USERS)

    def known(user: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> Pairs:
        y1 = torch.minimum(chosen, rejected)
        events = Events((), y1 % 2, chosen == y1, "")
        return Pairs(history, user, chosen, rejected, torch.ones(len(user)), group[user], events=events, texts=texts)

    return LmWorld(encoder, feature_map, *(known(*drawn) for drawn in (train, pairs(HELD_OUT), pairs(HELD_OUT))))

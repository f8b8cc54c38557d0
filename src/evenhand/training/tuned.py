"""A scorer whose features train along: a head on an adapter's features of texts.

Heads and losses see features and nothing else. A step asks for the features of its texts without gradient, and hands the loss's gradient
with respect to them back to the texts, which go through the backbone once more (gradient caching: Gao et al. 2021, arXiv 2101.06983).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from evenhand.core import History, Pairs, Scorer, Texts, TrainableScorer
from evenhand.training.state_bytes import State


class Bank:
    """The features that all texts had last, float[texts, d], and which of them are the adapter's present ones, bool[texts]."""

    def __init__(self, texts: Texts, features: Tensor, fresh: Tensor | None = None):
        self.texts = texts
        self.features = features
        self.fresh = torch.ones(len(features), dtype=torch.bool) if fresh is None else fresh

    def copy(self) -> Bank:
        return Bank(self.texts, self.features.clone(), self.fresh.clone())

    def state(self) -> State:
        return {"features": self.features, "fresh": self.fresh}

    def load(self, state: State) -> None:
        """Take these features as one's own, in a copy."""
        self.features.copy_(state["features"])
        self.fresh.copy_(state["fresh"])

    def put(self, rows: Tensor, features: Tensor, *, fresh: bool) -> None:
        """Keep features of these texts; fresh: the adapter has not moved since."""
        self.features[rows] = features
        self.fresh[rows] = fresh

    def refresh(self, adapter: nn.Module, rows: Tensor) -> None:
        """Encode those of the texts that are not fresh."""
        old = rows[~self.fresh[rows]]
        if len(old):
            self.put(old, self.texts.encode(adapter, old), fresh=True)


class Tuned(nn.Module):
    """A head and the adapter whose features it reads. As a scorer it is its head: `on` gives pairs these features.

    A copy has weights of its own; what the adapter is added to is shared.
    """

    def __init__(self, head: TrainableScorer, adapter: nn.Module, bank: Bank):
        super().__init__()
        self.head, self.adapter, self.bank = head, adapter, bank

    def users(self, history: History) -> Tensor:
        """The head's states of histories on this adapter's features."""
        return self.head.users(history)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """The head's rewards of items, features of this adapter."""
        return self.head.score(state, items)

    def on(self, pairs: Pairs) -> Pairs:
        """The same pairs on this adapter's features; texts that no pair and no history of theirs shows keep older ones."""
        history, bank = pairs.history, self.bank
        if pairs.texts is not None and pairs.texts is not bank.texts:  # other texts than those of the training
            bank = Bank(pairs.texts, history.items.clone(), torch.zeros(len(history.items), dtype=torch.bool))
        if not bank.fresh.all():
            reads = (
                self.head.users(history.take(torch.arange(min(1, len(history))))).shape[1] > 0
            )  # a state of nothing is read from nothing
            shown = torch.cat([pairs.chosen, pairs.rejected, *([history.chosen, history.rejected] if reads else [])]).unique()
            bank.refresh(self.adapter, shown)
        return replace(pairs, history=replace(history, items=bank.features), texts=None)

    def __deepcopy__(self, memo: dict[int, object]) -> Tuned:
        return Tuned(copy.deepcopy(self.head, memo), copy.deepcopy(self.adapter, memo), self.bank.copy())


def own_features(scorer: Scorer, pairs: Pairs) -> tuple[Scorer, Pairs]:
    """What scores, and the pairs as it sees them: for a tuned scorer its head, on its own features."""
    if pairs.texts is None or not isinstance(scorer, Tuned):
        return scorer, pairs
    return scorer.head, scorer.on(pairs)


def with_head(scorer: TrainableScorer, change: Callable[[TrainableScorer], TrainableScorer]) -> TrainableScorer:
    """The scorer with `change` of its head; a scorer on frozen features is its head."""
    return Tuned(change(scorer.head), scorer.adapter, scorer.bank) if isinstance(scorer, Tuned) else change(scorer)

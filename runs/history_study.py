"""What a study of histories in words asks about: pairs of some users, how they are split, and everybody's group."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import Groups, PreferenceData, Tuning
from evenhand.data.splits import TEST, TRAIN, VALID, Split, deal


@dataclass(frozen=True)
class Design:
    """Pairs of a user: known (training, or a new user's history), of these behind one history, validation and test; how long is trained."""

    known: int
    block: int
    checked: int
    asked: int
    tuning: Tuning
    max_tokens: int | None = None  # of a text with its history; None: the package's default

    @property
    def enough(self) -> int:
        return self.known + self.checked + self.asked


@dataclass(frozen=True)
class Study:
    """One deal. query int[pairs]: what each pair answers, -1 = nothing. taste int[users]: which users like the same, where that is known; a
    user is told of nobody's choices who has the same.
    """

    data: PreferenceData
    split: Split
    groups: Groups
    seed: int
    design: Design
    query: np.ndarray
    taste: np.ndarray | None = None

    @classmethod
    def of(
        cls, whole: PreferenceData, own: dict[int, np.ndarray], seen: set[int], groups: Groups, seed: int, design: Design,
        taste: np.ndarray | None = None,
    ) -> Study:  # fmt: skip
        """own: the rows of every user drawn, `design.enough` each, known ones first; those of `seen` are trained on, the others' known ones are history."""
        part, block = np.full(len(whole), -1, np.int8), np.zeros(len(whole), np.int64)
        for user, rows in own.items():
            for p, some in zip((TRAIN, VALID, TEST), np.split(rows, np.cumsum([design.known, design.checked]))):
                if user in seen or p != VALID:
                    part[some] = -1 if user not in seen and p == TRAIN else p
                    block[some] = 1 + 10 * user + 3 * p + np.arange(len(some)) // design.block
        # as prompts that nobody reads: pairs on one stand behind one history
        names, place = np.unique(block[block > 0], return_inverse=True)
        prompt = np.full(len(whole), -1, np.int32)
        prompt[block > 0] = len(whole.texts) + place
        sub = replace(whole, texts=[*whole.texts, *map(str, names.tolist())], prompt=prompt, split=part).take(block > 0)
        return cls(*deal(sub, seed=seed), groups, seed, design, whole.prompt[block > 0], taste)

    def counts(self) -> dict[str, int]:
        """Users by group, seen and new, and pairs by part."""
        present = np.unique(self.data.user)
        kinds = [f"{'new' if self.split.unseen[u] else 'seen'} {self.groups.names[self.groups.of_user[u]]}" for u in present.tolist()]
        pairs = {f"{name} pairs": int(self.split.rows(p).sum()) for name, p in (("training", TRAIN), ("validation", VALID), ("test", TEST))}
        texts = {"statements": len(np.unique([self.data.chosen, self.data.rejected]))}
        return {**Counter(kinds), **pairs, **texts}

    def others(self, users: np.ndarray) -> dict[int, int]:
        """Somebody else for each of these users, of another taste where tastes are known."""
        shuffled = np.random.default_rng([62, self.seed]).permutation(users)
        if self.taste is None:
            return dict(zip(shuffled.tolist(), np.roll(shuffled, 1).tolist()))
        by_taste = shuffled[np.argsort(self.taste[shuffled], kind="stable")]
        return dict(zip(by_taste.tolist(), np.roll(by_taste, np.bincount(self.taste[by_taste]).max()).tolist()))

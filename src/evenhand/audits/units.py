"""What users share, found over all batches: prompts or responses, how many there are, and which pairs of a batch go together by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from evenhand.audits.clusters import Clusters, Distinct, Shared, distinct, numbered
from evenhand.audits.passes import Study

FEW_PROMPTS = 20  # fewer are too few to draw from: what users share is then the responses


@dataclass(frozen=True, eq=False)
class Judged:
    """Who judged what in a batch: user int64[n] in 0..U-1; prompt int[n], -1 = none; responses: the two of each pair, int[n] each, whichever
    was chosen. None: not known. texts: no number is as large.
    """

    user: np.ndarray
    prompt: np.ndarray | None
    responses: tuple[np.ndarray, np.ndarray] | None
    texts: int

    def take(self, rows: np.ndarray) -> Judged:
        """Some of the pairs; users keep their numbers."""
        both = None if self.responses is None else (self.responses[0][rows], self.responses[1][rows])
        return Judged(self.user[rows], None if self.prompt is None else self.prompt[rows], both, self.texts)

    @cached_property
    def visits(self) -> Distinct:
        """A user's pairs on one prompt; a pair without a prompt is its own."""
        assert self.prompt is not None
        prompt = self.prompt.astype(np.int64)
        lone = np.flatnonzero(prompt < 0)
        prompt[lone] = self.texts + np.arange(len(lone))
        return distinct(self.user * (self.texts + len(lone)) + prompt)

    @cached_property
    def items(self) -> Distinct:
        """A user's pairs with one response, of the first responses [n] and then of the second ones."""
        assert self.responses is not None
        return distinct(np.concatenate([self.user * self.texts + r for r in self.responses]))

    @cached_property
    def dyads(self) -> np.ndarray:
        """A key for every two responses, int64[n]."""
        assert self.responses is not None
        first, second = (r.astype(np.int64) for r in self.responses)
        return (np.minimum(first, second) << 32) | np.maximum(first, second)

    @cached_property
    def votes(self) -> Distinct:
        """A user's pairs on the same two responses."""
        of, many = numbered(self.dyads)
        return distinct(self.user * many + of)


@dataclass(frozen=True)
class _Texts:
    """users int32[texts]: how many users judged pairs with each text as a unit."""

    users: np.ndarray

    @property
    def are_shared(self) -> bool:
        """Whether any two users have one in common."""
        return bool((self.users > 1).any())

    @cached_property
    def _place(self) -> np.ndarray:
        return np.cumsum(self.users > 0) - 1


@dataclass(frozen=True)
class Prompts(_Texts):
    """users: by prompt; lone: pairs without a prompt, each one of its own; pairs: in all."""

    lone: int
    pairs: int
    unit: ClassVar[str] = "prompt"

    @property
    def units(self) -> int:
        return int(np.count_nonzero(self.users)) + self.lone

    @property
    def repeat(self) -> bool:
        """Whether any user has one in several pairs."""
        return int(self.users.sum()) + self.lone < self.pairs

    def clusters(self, judged: Judged) -> Shared:
        """Of a batch: prompts are numbered for all batches, and visits for this one."""
        assert judged.prompt is not None
        of = self._place[judged.prompt] if self.lone == 0 else self._place[np.maximum(judged.prompt, 0)]
        many, lone = self.units - self.lone, 0
        if self.lone:
            rows = np.flatnonzero(judged.prompt < 0)
            lone = len(rows)
            of[rows] = many + np.arange(lone)
        visits = judged.visits
        return Shared("prompts", (Clusters(of, many + lone, 1.0, lone),), (Clusters(visits.of, visits.many, 1.0, first=visits.first),))


@dataclass(frozen=True)
class Keys:
    """Distinct whole numbers, sorted; added, those of either."""

    values: np.ndarray

    def __add__(self, other: Keys) -> Keys:
        return Keys(np.union1d(self.values, other.values))


@dataclass(frozen=True)
class Responses(_Texts):
    """users: by response; dyads: which two make a pair (`Judged.dyads`); pairs: in all."""

    dyads: Keys
    pairs: int
    unit: ClassVar[str] = "response"

    @property
    def units(self) -> int:
        return int(np.count_nonzero(self.users))

    @property
    def repeat(self) -> bool:
        return int(self.users.sum()) < 2 * self.pairs

    def clusters(self, judged: Judged) -> Shared:
        """Of a batch: responses and dyads are numbered for all batches, and what one user has with them for this one."""
        assert judged.responses is not None
        n, (first, second) = len(judged.user), judged.responses
        of = np.stack([self._place[first], self._place[second]], axis=1)
        dyad = np.searchsorted(self.dyads.values, judged.dyads)
        across = Clusters(of, self.units, 1.0), Clusters(dyad, len(self.dyads.values), -1.0)
        items, votes = judged.items, judged.votes
        item = np.arange(2 * n) if items.of is None else items.of
        both = Clusters(np.stack([item[:n], item[n:]], axis=1), items.many, 1.0, first=items.first % max(n, 1))
        within = both, Clusters(votes.of, votes.many, -1.0, first=votes.first)
        return Shared("responses", across, within)


Units = Prompts | Responses


def find_units(judged: Callable[[Any], Judged]) -> Study[tuple[Units | None, Units | None]]:
    """What users share, and by what pairs of one user go together, of a study's batches; None: nothing, or nothing is known.

    Shared are prompts, where at least 20 repeat over users; else responses, else the few prompts.
    """
    by_prompt, has_responses = yield lambda batch: (prompts_of(judged(batch)), int(judged(batch).responses is not None))
    prompts = None if by_prompt is None else Prompts(*by_prompt)
    if prompts is not None and prompts.are_shared and (prompts.units >= FEW_PROMPTS or not has_responses):
        return prompts, prompts if prompts.repeat else None
    by_response = (yield lambda batch: responses_of(judged(batch))) if has_responses else None
    responses = None if by_response is None else Responses(*by_response)
    known = [u for u in (responses, prompts) if u is not None]
    shared = next((u for u in known if u.are_shared), None)
    together = [shared] if shared is not None else known[::-1]
    return shared, next((u for u in together if u.repeat), None)


def prompts_of(judged: Judged) -> tuple[np.ndarray, int, int] | None:
    """What `Prompts` is made of, of one batch."""
    if judged.prompt is None:
        return None
    seen = judged.prompt if judged.visits.of is None else judged.prompt[judged.visits.first]
    lone = int(np.count_nonzero(seen < 0))
    return np.bincount(seen[seen >= 0] if lone else seen, minlength=judged.texts).astype(np.int32), lone, len(judged.prompt)


def responses_of(judged: Judged) -> tuple[np.ndarray, Keys, int] | None:
    """What `Responses` is made of, of one batch."""
    if judged.responses is None:
        return None
    seen = np.concatenate(judged.responses)
    seen = seen if judged.items.of is None else seen[judged.items.first]
    return np.bincount(seen, minlength=judged.texts).astype(np.int32), Keys(np.unique(judged.dyads)), len(judged.user)

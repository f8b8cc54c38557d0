"""What the functions that trainers call have in common: a model, what is known of its users, and rewards of what a policy wrote."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.data.conversations import UNANSWERED, answered
from evenhand.data.lookalikes import ALIKE, folded
from evenhand.serve.asked import Choice, has_text, item_read
from evenhand.serve.histories import Histories, histories_of, user_id
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.states import UserStates

Blind = Literal["error", "allow"]
History = Sequence[Choice]


@dataclass(frozen=True, eq=False)
class Rewarding:
    """states: of `model`'s users, kept. histories: None where nobody is known by an id."""

    states: UserStates
    histories: Histories | None = None

    def history(self, user: Any) -> History | None:
        """What the user with this id chose before; None for somebody unknown."""
        if self.histories is None:
            return None
        key = user_id(user) or ""
        found = self.histories.get(key)
        if found is None and key and folded(key) in self._folds:
            warnings.warn(f"The id of a user without a history {ALIKE}: it gets the reward for everybody.", stacklevel=3)
        return found

    @cached_property
    def _folds(self) -> frozenset[str]:
        return frozenset(map(folded, self.histories or ()))

    def rewards(self, histories: Sequence[History | None], prompts: Sequence[Any], responses: Sequence[Any]) -> list[float | None]:
        """One number a response, for the user with that history; without one, that for everybody. None: the response holds no text.

        The caller's lists are of one length. Equal histories are read once, equal texts encoded once. Raises EvenhandError for a conversation
        that ends with the user's turn.
        """
        texts = [answered(prompt, response) for prompt, response in zip(prompts, responses)]
        if lost := [i for i, text in enumerate(texts) if text.fault is UNANSWERED]:
            item_read(prompts[lost[0]], responses[lost[0]], lost[0])
        rows = [i for i, text in enumerate(texts) if isinstance(text.response, str) and has_text(text.response)]
        read = {id(histories[i]): histories[i] or () for i in rows}
        place = {key: i for i, key in enumerate(read)}
        states = self.states.of(list(read.values()))
        owner = [place[id(histories[i])] for i in rows]
        found = self.states.model.score_as(states, owner, [prompts[i] for i in rows], [responses[i] for i in rows])
        out: list[float | None] = [None] * len(texts)
        for i, reward in zip(rows, found.tolist()):
            out[i] = reward
        return out


def rewarding(model: RewardModel | str | Path, histories: Any, blind: Blind) -> Rewarding:
    """Raises EvenhandError for a model that reads no prompts, unless blind = "allow"."""
    if blind not in ("error", "allow"):
        raise EvenhandError(f"Found blind = {clip(blind)}. Expected: error or allow. To do: correct it.")
    loaded = model if isinstance(model, RewardModel) else RewardModel.load(model)
    if not loaded.reads_prompts and blind == "error":
        raise EvenhandError(
            "Found a model that reads responses alone. Expected: one that reads prompts, too, since a policy would learn to answer every prompt "
            'alike. To do: fit with --with-prompt, or ask for it by name: blind="allow".'
        )
    return Rewarding(UserStates(loaded), None if histories is None else histories_of(histories))


def plain(value: Any) -> Any:
    """What trainers hand on: arrays, which lists become in pandas, as lists."""
    return value.tolist() if isinstance(value, np.ndarray) else value

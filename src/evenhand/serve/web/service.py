"""One model as its doors ask it: histories by key, rewards in time, numbers where there is no text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from fastapi import HTTPException

from evenhand.core import EvenhandError
from evenhand.data.lookalikes import ALIKE, folded
from evenhand.serve.asked import Choice
from evenhand.serve.histories import Histories, user_id
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.web.batches import Batches, Busy, Rewards, Work
from evenhand.serve.web.measures import Measures


@dataclass(frozen=True)
class Service:
    """unscored: what a response without text is worth where a number is asked for. seconds: until an answer."""

    model: RewardModel
    name: str
    histories: Histories
    batches: Batches
    measures: Measures
    seconds: float
    unscored: float

    def history(self, given: str | None, what: str) -> Sequence[Choice]:
        """Of the user with that key, read as in a table of choices; of None an empty one, which is everybody."""
        if given is None:
            return ()
        key = user_id(given) or given
        if key not in self.histories:
            found = f"{what} is no key of the {len(self.histories):,} histories that this server was started with"
            found += f" (it {ALIKE})" if folded(key) in self._folds else ""
            raise HTTPException(
                404, f"{found}. Expected: one of them. To do: send the history itself, or leave the user out for everybody's reward."
            )
        return self.histories[key]

    @cached_property
    def _folds(self) -> frozenset[str]:
        return frozenset(map(folded, self.histories))

    def numbers(self, found: Rewards) -> np.ndarray:
        """float32[n], for clients that need a number for every response."""
        return np.where(np.isnan(found.rewards), np.float32(self.unscored), found.rewards)

    async def rewards(self, work: Work) -> Rewards:
        """What the queue finds, in time; HTTPException where it does not."""
        try:
            done = self.batches.ask(work)
            found = await asyncio.wait_for(asyncio.wrap_future(done), self.seconds)
        except Busy as busy:
            told = "More requests wait than the queue holds. Expected: fewer at a time. To do: ask again later."
            raise HTTPException(429, told, {"Retry-After": str(busy.seconds)}) from None
        except TimeoutError:
            told = f"No answer within {self.seconds:g} seconds. Expected: one. To do: send fewer or shorter texts, or ask again later."
            raise HTTPException(504, told) from None
        except EvenhandError as error:
            raise HTTPException(422, str(error)) from None
        self.measures.tokens.inc(int(found.tokens.sum()))
        self.measures.cut.inc(int(found.cut.sum()))
        return found

"""States of users that were read before: the same history is not encoded twice, and what is kept has a bound and an age."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock

from evenhand.core import EvenhandError
from evenhand.serve.asked import Choice, histories_read
from evenhand.serve.reward_model import RewardModel, UserState

MOST = 10_000  # users; a state is some dozen numbers
LONGEST = 3600.0  # seconds


class UserStates:
    """The least recently used goes first when there are more than `most`; one that was read over `longest` seconds ago goes when anybody is asked for,
    or by `clean`. Several threads may ask.

    Kept by a hash of the history's texts: nothing of a text stays here. Of a model that reads the history in words nothing is kept, since there
    is nothing to work out, and what it is told may be long.
    """

    def __init__(self, model: RewardModel, most: int = MOST, longest: float = LONGEST, clock: Callable[[], float] = time.monotonic):
        if most < 1 or not longest > 0:
            raise EvenhandError(f"Found room for {most} users and {longest} seconds. Expected: 1 or more, and above 0. To do: correct it.")
        self.model = model
        self._most, self._longest, self._clock = most, longest, clock
        self._kept: OrderedDict[bytes, UserState] = OrderedDict()  # the least recently used first
        self._read: OrderedDict[bytes, float] = OrderedDict()  # the same, when each was read, the longest ago first
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, histories: Sequence[Sequence[Choice]]) -> list[UserState]:
        """One state a history. Those that are not kept are read together, equal ones once."""
        if self.model.history_pairs:
            return self.model.users(histories)
        choices = histories_read(histories)
        keys = [hashlib.sha256(json.dumps(own).encode()).digest() for own in choices]
        found: dict[bytes, UserState] = {}
        self.clean()
        with self._lock:
            now = self._clock()
            for key in dict.fromkeys(keys):
                if (state := self._kept.get(key)) is not None:
                    found[key] = state
                    self._kept.move_to_end(key)
        wanted = {key: own for key, own in zip(keys, choices) if key not in found}
        new = self.model.users(list(wanted.values()))
        found |= zip(wanted, [replace(state, state=state.state.clone()) for state in new])  # each for itself: a view would keep all of them
        with self._lock:
            for key in wanted:
                self._kept[key], self._read[key] = found[key], now
                self._kept.move_to_end(key)
                self._read.move_to_end(key)
            while len(self._kept) > self._most:
                del self._read[self._kept.popitem(last=False)[0]]
        return [found[key] for key in keys]

    def clean(self) -> None:
        """Let go of what was read too long ago: each state once, however often this is called."""
        with self._lock:
            now = self._clock()
            while self._read and now - next(iter(self._read.values())) > self._longest:
                del self._kept[self._read.popitem(last=False)[0]]

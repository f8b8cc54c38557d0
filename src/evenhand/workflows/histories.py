"""Who is read from what: users' states, each worked out once; and, of a file that is its own history, every row's without its own pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evenhand.core import History, PreferenceData
from evenhand.data.lookalikes import folded
from evenhand.data.scorable import PAIRS, Asked
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.chat import Told
from evenhand.serve.reward_model import RewardModel
from evenhand.training.scoring import SLICE, user_slices
from evenhand.workflows.progress import Progress
from evenhand.workflows.responses import check_texts, encode_responses
from evenhand.workflows.told import texts_of

NOBODY = -1


@dataclass(frozen=True)
class Reading:
    """How the users of n rows are read. owner int64[n] indexes `states` float32[k, s] and `told`; known bool[n]: from a history."""

    owner: np.ndarray
    states: Tensor
    told: Sequence[Told]
    known: np.ndarray


class Numbered:
    """Rows by the whole numbers in them: equal rows have one number."""

    def __init__(self, *columns: np.ndarray):
        """columns int64[m] each."""
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        key = np.zeros(len(columns[0]), np.int64)
        for column in columns:
            values, place = np.unique(column, return_inverse=True)
            keys, key = np.unique(key * len(values) + place, return_inverse=True)
            self._levels.append((values, keys))
        self._order = np.argsort(key, kind="stable")
        self._ends = np.searchsorted(key[self._order], np.arange(key.max(initial=-1) + 2))

    def find(self, *columns: np.ndarray) -> np.ndarray:
        """int64[n]: the number of each row, -1 where there is no such row."""
        number, there = np.zeros(len(columns[0]), np.int64), np.ones(len(columns[0]), bool)
        for column, (values, keys) in zip(columns, self._levels, strict=True):
            place, found = _place(values, column)
            number, known = _place(keys, number * len(values) + place)
            there &= found & known
        return np.where(there, number, -1)

    def rows(self, number: int) -> np.ndarray:
        return self._order[self._ends[number] : self._ends[number + 1]]


class Histories:
    """What may be read of each user: strict choices of a history, in its order, and nothing of whoever is not in it."""

    def __init__(self, history: PreferenceData | None, sides: Sequence[str]):
        """sides: what is scored of a row. A pair's own pair is that of the same user, prompt and responses, in either order; a candidate's are all
        of the user's on its prompt, so that candidates of one prompt are read alike."""
        self.history = history
        rows = (
            np.zeros(0, np.int64)
            if history is None
            else np.flatnonzero(np.ones(len(history), bool) if history.tie is None else ~history.tie)
        )
        self._users = {} if history is None else {name: i for i, name in enumerate(history.users)}
        self._texts = {} if history is None else {text: i for i, text in enumerate(history.texts)}
        self._pairs = tuple(sides) == PAIRS
        self.read = (
            rows[np.argsort(history.user[rows], kind="stable")] if history is not None else rows
        )  # rows of `history`, user after user
        self._own = Numbered(*self._columns())

    def alike(self, users: Sequence[str]) -> list[str]:
        """Of these users those who are not in the history, though somebody whose id looks the same is."""
        return [user for user in users if user not in self._users and folded(user) in self._folds]

    @cached_property
    def _folds(self) -> frozenset[str]:
        return frozenset(map(folded, self._users))

    def without(self, rows: np.ndarray) -> None:
        """Nobody is read from these rows of `read` any more, bool[m]."""
        self.read = self.read[~rows]
        self._own = Numbered(*self._columns())

    def own(self, asked: Asked) -> np.ndarray:
        """int64[n]: the number of each row's own pairs in the history, -1 = there are none."""
        number = np.array([self._texts.get(text, -2) for text in asked.texts] + [NOBODY], np.int64)  # the last for what is not there
        columns = [self.users(asked), number[asked.prompt]]
        if self._pairs:
            sides = number[asked.sides]
            columns += [sides.min(1), sides.max(1)]
        return self._own.find(*columns)

    def users(self, asked: Asked) -> np.ndarray:
        """int64[n]: the user's number in the history; -1 for whoever is not in it."""
        return np.array([self._users.get(user, NOBODY) for user in asked.users] + [NOBODY], np.int64)[asked.user]

    def marked(self, numbers: np.ndarray) -> np.ndarray:
        """bool[m]: the rows of `read` that have these numbers."""
        out = np.zeros(len(self.read), bool)
        for number in numbers.tolist():
            out[self._own.rows(number)] = True
        return out

    def of_users(self) -> tuple[np.ndarray, np.ndarray]:
        """Places in `read` of every user's rows, user after user, and where each one's begin, int64[users + 1]."""
        count = np.bincount(self._of()[0], minlength=len(self._users)) if self.history is not None else np.zeros(0, np.int64)
        return np.arange(len(self.read)), np.concatenate([[0], np.cumsum(count)])

    def rest(self, number: int, user: int, begins: np.ndarray) -> np.ndarray:
        """Places in `read` of a user's rows without the own ones of that number."""
        own = np.arange(begins[user], begins[user + 1])
        return own[~np.isin(own, self._own.rows(number))]

    def _of(self) -> tuple[np.ndarray, ...]:
        history = self.history
        if history is None:
            return (self.read,) * 4
        return tuple(column[self.read].astype(np.int64) for column in (history.user, history.prompt, history.chosen, history.rejected))

    def _columns(self) -> list[np.ndarray]:
        user, prompt, chosen, rejected = self._of()
        return [user, prompt, *((np.minimum(chosen, rejected), np.maximum(chosen, rejected)) if self._pairs else ())]


class Readers:
    """The users of batches as a model reads them. State 0 is that of everybody; then that of each user of the history, in its order."""

    def __init__(self, model: RewardModel, histories: Histories, own_out: bool, cache: Path | None, progress: Progress):
        self._model, self._histories, self._own_out = model, histories, own_out
        self._in_texts = model.history_pairs > 0  # what is read of a user stands in the input
        self._items = torch.zeros(0, model.feature_map.dim)
        self._sides = np.zeros((2, len(histories.read)), np.int64)
        places, self._begins = histories.of_users()
        if (history := histories.history) is not None:
            check_texts(history, model.with_prompt)
            if not self._in_texts:
                found = encode_responses(history, model.encoder, model.with_prompt, cache, progress)
                self._items = torch.from_numpy(model.feature_map.apply(found.texts, found.vectors))
                self._sides = np.stack([found.chosen[histories.read], found.rejected[histories.read]])
        self._counts = np.diff(self._begins)
        self._states, self._told = self._of_everybody(places)

    def _of_everybody(self, places: np.ndarray) -> tuple[Tensor, list[Told]]:
        """State 0 and those of all users. They are read by id: rounding follows from the place in a batch, and with it from the order of a file."""
        names = () if self._histories.history is None else self._histories.history.users
        by_id = np.array(sorted(range(len(names)), key=lambda user: names[user]), np.int64)
        counts = self._counts[by_id]
        own = np.repeat(self._begins[by_id] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        states, told = self._read(places[own], np.concatenate([[0, 0], np.cumsum(counts)]))
        back = np.concatenate([[0], 1 + np.argsort(by_id)])
        return states[torch.from_numpy(back)], [told[i] for i in back.tolist()]

    def of(self, asked: Asked) -> Reading:
        user = self._histories.users(asked)
        owner = user + 1
        own = self._histories.own(asked) if self._own_out else np.full(len(user), -1)
        known = (user >= 0) & (np.append(self._counts, 0)[user] > 0)
        states, told = self._states, self._told
        rows = np.flatnonzero(own >= 0)
        if len(rows):
            number, first, place = np.unique(own[rows], return_index=True, return_inverse=True)
            owner[rows] = len(self._states) + place
            left = np.empty(len(number), np.int64)
            new: list[Tensor] = []
            said: list[Told] = []
            for start, some in self._slices(number, user[rows][first]):
                left[start : start + len(some)] = [len(places) for places in some]
                read = self._read(np.concatenate(some), np.concatenate([[0], np.cumsum([len(places) for places in some])]))
                new.append(read[0])
                said += read[1]
            known[rows] = left[place] > 0
            states, told = torch.cat([states, *new]), [*told, *said]
        return Reading(owner, states, told, known)

    def _slices(self, numbers: np.ndarray, users: np.ndarray) -> Iterator[tuple[int, list[np.ndarray]]]:
        """What is left of the history of each, some SLICE pairs at a time."""
        start, size = 0, 0
        some: list[np.ndarray] = []
        for number, user in zip(numbers.tolist(), users.tolist()):
            places = self._histories.rest(number, user, self._begins)
            if some and size + len(places) > SLICE:
                yield start, some
                start, some, size = start + len(some), [], 0
            some.append(places)
            size += len(places)
        yield start, some

    def _read(self, places: np.ndarray, begins: np.ndarray) -> tuple[Tensor, list[Told]]:
        """States and tellings of users with these places of `histories.read`, user after user."""
        nobody = torch.full((len(begins) - 1,), -1)
        told: list[Told] = [()] * (len(begins) - 1)
        if self._in_texts:
            told = [self._telling(places[a:b]) for a, b in pairwise(begins.tolist())]
            places, begins = places[:0], np.zeros_like(begins)
        chosen, rejected = (torch.from_numpy(side[places]) for side in self._sides)
        history = History(self._items, torch.from_numpy(begins.astype(np.int64)), chosen, rejected, nobody)
        with torch.no_grad():
            return torch.cat([self._model.scorer.users(history.take(users)) for users in user_slices(history)]), told

    def _telling(self, places: np.ndarray) -> Told:
        history, model = self._histories.history, self._model
        if history is None or not isinstance(model.encoder, BackboneEncoder):
            return ()
        rows = self._histories.read[places[-model.history_pairs :]]
        return model.encoder.backbone.told([texts_of(history, row, model.with_prompt) for row in rows.tolist()])


def _place(values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted number stands in ascending values, and whether it does."""
    if not len(values):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return place, values[place] == wanted

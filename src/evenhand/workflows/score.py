"""Score pairs with a saved model, or with a reward model of the hub's format."""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evenhand.core import EvenhandError, History, Pairs, PreferenceData
from evenhand.data.votes import number_rows
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.serve.reward_model import RewardModel
from evenhand.training.scoring import rewards
from evenhand.workflows.frames import frame
from evenhand.workflows.given import read
from evenhand.workflows.hub_model import hub_model, pair_rewards
from evenhand.workflows.prepare import check_texts, encode_responses
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.told import tellings
from evenhand.writing import write

if TYPE_CHECKING:
    from pandas import DataFrame

    from evenhand.encode.hub_reward import HubRewardModel

KIND = "scores"
NO_HISTORY = "no user of the data has a history left, so everybody got the reward for everybody."


@dataclass(frozen=True)
class Scored:
    """rewards float32[n, 2] of chosen and rejected, in the order of the pairs read. known: users of the data with a history.

    left_out: pairs of the history that were not read, since the same user's same pair is scored. cut: pairs with a text that a reward model
    of the hub's format did not read whole.
    """

    rewards: np.ndarray
    users: int
    known: int
    left_out: int
    cut: int = 0

    def to_dict(self) -> dict[str, list[float]]:
        """Columns: pair (from 0, in the order read), reward_chosen, reward_rejected."""
        first, second = self.rewards.T.tolist()
        return {"pair": list(range(len(first))), "reward_chosen": first, "reward_rejected": second}

    def to_frame(self) -> DataFrame:
        """The same as a pandas data frame. EvenhandError where pandas is not installed."""
        return frame(self.to_dict())

    def save(self, file: Path) -> None:
        """CSV with the columns pair, reward_chosen, reward_rejected: all rows or no file. Raises DataError where anything but older scores would be
        lost.
        """
        stream = io.StringIO()
        writer = csv.writer(stream)
        writer.writerow(("pair", "reward_chosen", "reward_rejected"))
        writer.writerows((i, f"{a:.9g}", f"{b:.9g}") for i, (a, b) in enumerate(self.rewards.tolist()))
        write(file.parent, {file.name: stream.getvalue().encode()}, KIND)


def score(
    model: RewardModel | str | Path | None = None,
    data: Any = None,
    history: Any = None,
    *,
    reward_model: HubRewardModel | str | Path | None = None,
    head: Any = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Score the pairs of `data`, each user read from his or her pairs in `history`, matched by user id.

        evenhand.score("out/model", "new.jsonl", history="choices.jsonl")
        evenhand.score("new.jsonl", reward_model="my-reward-model")  # no saved model: the data comes first

    A user without any gets the reward for everybody. A pair that is scored is never read: it would give its own answer away. Where nobody has a
    pair left to read, a warning says so.

    Args:
        model: Folder of a saved model, or a RewardModel.
        history: Earlier pairs of the users; without it everybody gets the generic reward.

    Parameters that `audit` has, too, mean the same here.
    """
    model, data = placed(model, data, reward_model)
    if reward_model is not None:
        return _by_hub(hub_model(reward_model), data, history, cache, progress)
    loaded = model if isinstance(model, RewardModel) else RewardModel.load(model, head=head)
    data, history = read(data), None if history is None else read(history)
    with shown(progress) as told:
        rows, offsets, left_out = _earlier(data, history)
        before = None
        if history is not None and loaded.history_pairs and isinstance(loaded.encoder, BackboneEncoder):
            check_texts(history, loaded.with_prompt)
            own = [rows[a:b][-loaded.history_pairs :] for a, b in pairwise(offsets)]
            before = tellings(history, [own[u] for u in data.user], loaded.encoder.backbone, loaded.with_prompt)
        responses = encode_responses(data, loaded.encoder, loaded.with_prompt, cache, told, before)
        items = torch.from_numpy(loaded.feature_map.apply(responses.texts, responses.vectors))
        known = _history(loaded, items, rows, offsets, history, cache, told)
    user = torch.from_numpy(data.user.astype(np.int64))
    chosen, rejected = torch.from_numpy(responses.chosen), torch.from_numpy(responses.rejected)
    pairs = Pairs(known, user, chosen, rejected, torch.ones(len(user)), torch.full_like(user, -1))
    found = int(((known.offsets[1:] > known.offsets[:-1])[user.unique()]).sum())
    if history is not None and not found:
        why = " All pairs of the history are scored themselves: score other pairs than the history." if left_out else ""
        warnings.warn(f"{NO_HISTORY}{why}", stacklevel=2)
    return Scored(rewards(loaded.scorer, pairs).numpy(), len(user.unique()), found, left_out)


def placed(model: Any, data: Any, reward_model: Any) -> tuple[Any, Any]:
    """(model, data): with a reward model of the hub's format there is no saved one, and what stands first is the data."""
    if reward_model is not None and data is None:
        model, data = None, model
    if data is None or (model is None) == (reward_model is None):
        found = (
            "no data"
            if data is None
            else "neither a saved model nor a reward model"
            if model is None
            else "a saved model and a reward model"
        )
        raise EvenhandError(f"Found {found}. Expected: a saved model and data, or data and a reward model. To do: name both, and no more.")
    return model, data


def _by_hub(model: HubRewardModel, data: Any, history: Any, cache: Path | None, progress: Progress | None) -> Scored:
    if history is not None:
        raise EvenhandError(
            "Found a history for a reward model of the hub's format. Expected: none: such a model reads no user. To do: leave it out."
        )
    data = read(data)
    with shown(progress) as told:
        found = pair_rewards(model, data, cache, told)
    return Scored(found.rewards, len(np.unique(data.user)), 0, 0, int(found.cut.sum()))


def _earlier(data: PreferenceData, history: PreferenceData | None) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows of `history` that every user of `data` is read from, user after user; where each one's begin, int64[users + 1]; and how many
    were left out."""
    users = len(data.users)
    if history is None:
        return np.zeros(0, np.int64), np.zeros(users + 1, np.int64), 0
    number = {name: i for i, name in enumerate(data.users)}
    user = np.array([number.get(name, -1) for name in history.users], np.int64)[history.user]
    same = _scored_too(data, history, user)
    wanted = (user >= 0) & (True if history.tie is None else ~history.tie)
    rows = np.flatnonzero(wanted & ~same)
    rows = rows[np.argsort(user[rows], kind="stable")]
    return rows, np.concatenate([[0], np.cumsum(np.bincount(user[rows], minlength=users))]), int((wanted & same).sum())


def _history(
    loaded: RewardModel, items: torch.Tensor, rows: np.ndarray, offsets: np.ndarray, history: PreferenceData | None, cache: Path | None,
    progress: Progress,
) -> History:  # fmt: skip
    """The history of every user over items = those of the data and then those of the history."""
    nobody = torch.full((len(offsets) - 1,), -1)
    if history is None or loaded.history_pairs:  # nothing of it is read, or nothing beside what stands in the texts
        unread = torch.zeros(len(rows), dtype=torch.long)
        return History(items, torch.from_numpy(offsets), unread, unread, nobody)
    responses = encode_responses(history, loaded.encoder, loaded.with_prompt, cache, progress)
    both = torch.cat([items, torch.from_numpy(loaded.feature_map.apply(responses.texts, responses.vectors))])
    chosen, rejected = torch.from_numpy(responses.chosen[rows] + len(items)), torch.from_numpy(responses.rejected[rows] + len(items))
    return History(both, torch.from_numpy(offsets), chosen, rejected, nobody)


def _scored_too(data: PreferenceData, history: PreferenceData, user: np.ndarray) -> np.ndarray:
    """Which pairs of `history` the same user has in `data`, in either order, bool[m]. user int64[m]: the user's number in `data`."""
    number = {text: i for i, text in enumerate(data.texts)}
    of = np.array([number.get(text, -1) for text in history.texts], np.int64)
    columns = []
    for own, other in (
        (data.user, user),
        (data.prompt, of[history.prompt]),
        (data.chosen, of[history.chosen]),
        (data.rejected, of[history.rejected]),
    ):
        columns.append(np.concatenate([own.astype(np.int64), other]) + 1)
    first, second = np.minimum(columns[2], columns[3]), np.maximum(columns[2], columns[3])
    which, _ = number_rows(columns[0], columns[1], first, second)
    return np.isin(which[len(data) :], which[: len(data)])

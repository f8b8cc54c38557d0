"""Rewards inside TRL: what GRPOTrainer, RLOOTrainer and their relatives take as `reward_funcs` (read in TRL 1.16)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError, clip
from evenhand.serve.asked import Said
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.rewarding import Blind, History, Rewarding, rewarding


def reward_function(
    model: RewardModel | str | Path,
    histories: Any = None,
    *,
    user_column: str = "user",
    history_column: str | None = None,
    blind: Blind = "error",
    name: str = "evenhand",
) -> RewardFunction:
    """Rewards of a saved model for a trainer of TRL, each user's own.

        reward = evenhand.reward_function("out/model", "choices.jsonl")
        GRPOTrainer(policy, reward_funcs=reward, train_dataset=dataset)  # columns prompt and user

    Prompts and completions are texts or messages. A completion without text (tool calls alone, white space) has no reward: None, which TRL
    leaves out of a step. A user without a history gets the reward for everybody; how many were known, TRL logs as NAME/known_users, and the
    first unknown one is warned of. No other column is read, a group's least of all: the same completion for the same history has the same
    reward, whoever asks. Users are read once and kept, the least recently used of 10,000 goes first; every distinct text of a batch is
    encoded once.

    Args:
        model: Folder of a saved model, or a RewardModel.
        histories: What users chose before, by user id: a mapping of ids to lists of (prompt, chosen, rejected), or a table of choices as
            `load` reads it. None, and no `history_column`: everybody gets the reward for everybody.
        user_column: The data set's column of user ids.
        history_column: In place of `histories`: the data set's column of such lists.
        blind: "allow" takes a model that reads responses alone; "error" refuses it.
        name: What the trainer calls these rewards: it logs rewards/NAME/mean.

    An id that differs from a known one in spaces, case or the like alone is warned of, too. Messages that end with a turn of the user are an error.

    Raises EvenhandError for a model that reads no prompts unless it is allowed, for histories from both places, and when called without the
    column; DataError for what cannot be loaded.
    """
    if histories is not None and history_column is not None:
        raise EvenhandError("Found histories and a history_column. Expected: one of the two. To do: leave one out.")
    return RewardFunction(rewarding(model, histories, blind), user_column, history_column, name)


class RewardFunction:
    """What `reward_function` returns. unknown: completions so far whose user had no history, though histories were given."""

    def __init__(self, rewarding: Rewarding, user_column: str, history_column: str | None, name: str):
        self.__name__ = name
        self.unknown = 0
        self._rewarding, self._user_column, self._history_column = rewarding, user_column, history_column

    def __call__(
        self,
        prompts: Sequence[Said],
        completions: Sequence[Said],
        completion_ids: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward a completion; as TRL calls it."""
        histories = self._histories(len(completions), columns)
        if self._wanted and completions:
            self._count(sum(h is not None for h in histories), len(completions), log_metric)
        return self._rewarding.rewards(histories, prompts, completions)

    def __repr__(self) -> str:
        whose = "everybody" if self._wanted is None else f"the users in '{clip(self._wanted)}'"
        return f"RewardFunction('{self.__name__}', rewards for {whose}, {self._rewarding.states.model!r})"

    @property
    def _wanted(self) -> str | None:
        """The column that says who asks; None where nobody is told apart."""
        return self._history_column or (None if self._rewarding.histories is None else self._user_column)

    def _histories(self, n: int, columns: dict[str, Any]) -> list[History | None]:
        if self._wanted is None:
            return [None] * n
        if self._wanted not in columns:
            found = ", ".join(sorted(columns.keys() - {"trainer_state", "log_extra", "environments"})) or "none"
            option = "history_column" if self._history_column else "user_column"
            raise EvenhandError(
                f"Found the columns {clip(found)} beside prompts. Expected: '{clip(self._wanted)}', which says who asks. "
                f"To do: add it to the data set, or name another: {option}=."
            )
        values = columns[self._wanted]
        if isinstance(values, str) or len(values) != n:
            found = "one text" if isinstance(values, str) else f"{len(values):,} values"
            raise EvenhandError(f"Found {found} in '{clip(self._wanted)}'. Expected: a list of {n:,}, one a completion. To do: repeat it.")
        return [value or None for value in values] if self._history_column else [self._rewarding.history(user) for user in values]

    def _count(self, known: int, n: int, log_metric: Callable[[str, float], None] | None) -> None:
        if known < n and not self.unknown:
            warnings.warn(
                f"{n - known} of {n} completions are for users without a history: they get the reward for everybody.", stacklevel=3
            )
        self.unknown += n - known
        if log_metric is not None:
            log_metric(f"{self.__name__}/known_users", known / n)

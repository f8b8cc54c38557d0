"""Whose choices are whose: histories by user id, as a mapping or from a table of choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.columns import user_text
from evenhand.data.load import load
from evenhand.serve.asked import Choice, Texts

Histories = Mapping[str, Sequence[Choice]]


def histories_of(given: Any) -> Histories:
    """given: a mapping of user ids to histories, or choices: a path, a table in memory (see `evenhand.load`), or loaded data. Ties are no
    choices. Nothing but user, prompt, chosen and rejected is read of a table. Raises EvenhandError where two keys name one user.
    """
    if not isinstance(given, Mapping):
        return _Table(given if isinstance(given, PreferenceData) else load(given))
    found = {user_id(user): history for user, history in given.items()}
    if None in found or len(found) < len(given):
        what = "two keys that name one user" if len(found) < len(given) else "a key that is no user id"
        raise EvenhandError(f"Found {what} in the histories. Expected: one history a user, by a text or a whole number. To do: correct it.")
    return {user: history for user, history in found.items() if user is not None}


def user_id(value: Any) -> str | None:
    """A user's id as `load` reads it from a table: 7, 7.0 and "7" are one user; None for what names nobody."""
    text = user_text(value.item() if isinstance(value, np.generic) else value)
    return text if isinstance(text, str) and text.strip() else None


class _Table(Mapping[str, list[Texts]]):
    """Histories in the order of a table's rows. They become texts when they are asked for: a table of millions stays arrays."""

    def __init__(self, data: PreferenceData):
        if len(data) and (data.chosen < 0).any():
            raise EvenhandError(
                "Found choices without texts. Expected: chosen and rejected texts. To do: bring the table that the model was fitted on."
            )
        strict = np.arange(len(data)) if data.tie is None else np.flatnonzero(~data.tie)
        self._data, self._rows = data, strict[np.argsort(data.user[strict], kind="stable")]
        users, starts = np.unique(data.user[self._rows], return_index=True)
        self._span = {data.users[u]: (a, b) for u, a, b in zip(users, starts, [*starts[1:], len(self._rows)])}

    def __getitem__(self, user: str) -> list[Texts]:
        a, b = self._span[user]
        data, texts = self._data, self._data.texts
        return [
            ("" if data.prompt[i] < 0 else texts[data.prompt[i]], texts[data.chosen[i]], texts[data.rejected[i]]) for i in self._rows[a:b]
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(self._span)

    def __len__(self) -> int:
        return len(self._span)

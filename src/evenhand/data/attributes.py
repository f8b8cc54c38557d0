"""User attributes that only audits see: one value a user, the same in all of the user's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evenhand.data.columns import EMPTY, MISSING, Store, text_faults
from evenhand.data.ledger import Marks
from evenhand.data.rows import Batch, Fault


class UserAttributes:
    """Grows with the users of a load. A value is missing ("") until a row names it."""

    def __init__(self, names: Sequence[str], missing: Sequence[str] = ()):
        self.names = tuple(names)
        self._missing = {m.casefold() for m in missing}  # values that stand for no value
        self.seen: set[str] = set()  # names that at least one batch had
        self._values = {n: Store() for n in names}
        self._of_user = {n: np.zeros(0, np.int32) for n in names}
        self._lost: list[tuple[str, np.ndarray, Mapping[str, np.ndarray]]] = []  # reason, users, values read from the rows

    def read(self, batch: Batch, marks: Marks) -> dict[str, np.ndarray]:
        """name → int32[n]: the number of each row's value, -1 = missing."""
        read = {}
        for name in self.names:
            if name not in batch.columns:
                continue
            self.seen.add(name)
            ids = self._values[name].ids(batch.columns[name], numbers_too=True)
            for kind, fault in text_faults(name, "a word or number").items():
                if kind not in (MISSING, EMPTY):
                    marks.mark(ids == kind, fault)
            none = [i for i, v in enumerate(self._values[name].values) if v.strip().casefold() in self._missing] if self._missing else []
            read[name] = np.where((ids < 0) | np.isin(ids, none), -1, ids)
        return read

    def settle(self, user: np.ndarray, read: dict[str, np.ndarray], marks: Marks, users: int) -> None:
        """The first value named for a user holds; good rows that name another one are marked."""
        for name, ids in read.items():
            known = self._of_user[name] = np.pad(self._of_user[name], (0, users - len(self._of_user[name])), constant_values=-1)
            rows = np.flatnonzero(marks.good & (ids >= 0))
            fresh = rows[known[user[rows]] < 0][::-1]  # backwards: of several rows the first is written last
            known[user[fresh]] = ids[fresh]
            other = np.zeros(len(user), bool)
            other[rows] = known[user[rows]] != ids[rows]
            marks.mark(
                other, Fault(f"attribute '{name}' contradicts an earlier row of the same user", "one value for each user", column=name)
            )

    def lose(self, reason: str, user: np.ndarray, read: Mapping[str, np.ndarray] | None = None) -> None:
        """Rows that are not used. user int32[n], negative = unknown; read: the values that stand in these rows themselves."""
        self._lost.append((reason, np.maximum(user, -1), read or {}))

    def lost(self) -> dict[str, dict[str, int]]:
        """The rows that are not used, by group and reason. Asked at the end, when all that is known of each user has been read.

        A group is "attribute=value": the value in the row, else the user's. Where neither is known it is "attribute unknown", so that the
        rows of an attribute add up to all that are not used.
        """
        counts: dict[str, Counter[str]] = {}
        for reason, user, read in self._lost:
            for name, ids in self.of(user).items():
                ids = np.where(read[name] >= 0, read[name], ids) if name in read else ids
                for v, count in zip(*np.unique(ids, return_counts=True)):
                    group = f"{name}={self._values[name].values[v]}" if v >= 0 else f"{name} unknown"
                    counts.setdefault(group, Counter())[reason] += int(count)
        return {group: dict(c) for group, c in sorted(counts.items())}

    def of(self, user: np.ndarray) -> dict[str, np.ndarray]:
        """name → the number of the value of each given user, -1 = missing."""
        return {n: np.append(self._of_user[n], -1)[np.minimum(user, len(self._of_user[n]))] for n in self.names if n in self.seen}

    def values(self, users: np.ndarray) -> dict[str, list[str]]:
        """name → one value for each of the given users, "" = missing."""
        return {n: [self._values[n].values[v] if v >= 0 else "" for v in ids] for n, ids in self.of(users).items()}

"""What scoring found: rewards and ranks beside the rows they are of, which are read again to be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evenhand.data.rows import Column, plain
from evenhand.data.scorable import CANDIDATES, PAIRS, Scorable
from evenhand.workflows import ranked
from evenhand.workflows.frames import frame
from evenhand.workflows.scored_rows import shown, write_rows

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Scored:
    """rewards float32[n, 1] of candidates, or float32[n, 2] of chosen and rejected, in the order of the rows read. rank int32[n] of candidates
    among those of the same user and prompt, 1 = the best; of equal rewards the first row comes first.

    users: distinct ones; known: those with a history. left_out: pairs of the history that were not read, since the same user's same pair is
    scored; with leave_own_out, rows that were scored without their own pair. skipped: bad rows that were left out. cut: rows with a text that
    a reward model of the hub's format did not read whole. alike: users without a history whose id differs from a known one in spaces, case or
    the like alone. best: so many candidates of each user and prompt are written, None = all.
    """

    rewards: np.ndarray
    users: int
    known: int
    left_out: int
    cut: int
    skipped: int
    best: int | None
    reward: str
    table: Scorable
    kept: Sequence[np.ndarray]  # of each batch of the table, which of its rows these are, bool
    key: np.ndarray
    alike: int = 0

    def __len__(self) -> int:
        return len(self.rewards)

    def __repr__(self) -> str:
        return f"Scored({len(self):,} {self.kind} of {self.users:,} users, {self.known:,} of them with a history)"

    @property
    def kind(self) -> str:
        return "candidates" if self.rewards.shape[1] == 1 else "pairs"

    @cached_property
    def rank(self) -> np.ndarray:
        return ranked.ranks(self.key, self.rewards[:, 0])

    def columns(self, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """What was found of the rows: reward and rank of candidates; reward_chosen, reward_rejected and margin of pairs."""
        rewards = self.rewards[rows]
        names = added(self.table.sides, self.reward)
        if rewards.shape[1] == 1:
            return dict(zip(names, (rewards[:, 0], self.rank[rows])))
        return dict(zip(names, (rewards[:, 0], rewards[:, 1], rewards[:, 0] - rewards[:, 1])))

    @property
    def moved(self) -> dict[str, str]:
        """Columns of the file that have the name of a new one → what they are called beside it."""
        return {name: before(name) for name in added(self.table.sides, self.reward) if name in self.table.names}

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns of the rows read and those of `columns`, row by row; of candidates the `best`."""
        out: dict[str, list[Any]] = {}
        done = 0
        for rows in self._rows():
            size = len(next(iter(rows.values())))
            for name in dict.fromkeys([*out, *rows]):
                out.setdefault(name, [None] * done).extend(_listed(rows[name]) if name in rows else [None] * size)
            done += size
        return out

    def to_frame(self) -> DataFrame:
        """The same as a pandas data frame. EvenhandError where pandas is not installed."""
        return frame(self.to_dict())

    def save(self, file: str | Path) -> None:
        """Write the rows as `to_dict` has them: .jsonl, .csv or .parquet, all rows or no file. Raises DataError where anything but older scores
        would be lost.
        """
        types = {name: pa.from_numpy_dtype(values.dtype) for name, values in self.columns(slice(0, 0)).items()}
        own = {name: before(name) for name in types}
        write_rows(Path(file), self.table, own, types, self._rows())

    def _rows(self) -> Iterator[dict[str, Column]]:
        """Batch by batch; no empty ones."""
        start = 0
        for batch, kept in zip(self.table.batches(), self.kept, strict=True):
            stop = start + int(kept.sum())
            found = self.columns(slice(start, stop))
            chosen = np.ones(stop - start, bool) if self.best is None else self.rank[start:stop] <= self.best
            rows, start = np.flatnonzero(kept)[chosen], stop
            if len(rows):
                own = {
                    before(name) if name in found else name: [column[i] for i in rows.tolist()]
                    if isinstance(column, list)
                    else column.take(pa.array(rows))
                    for name, column in batch.columns.items()
                }
                yield {**own, **{name: values[chosen] for name, values in found.items()}}


def added(sides: Sequence[str], reward: str) -> tuple[str, ...]:
    """The columns that scoring adds."""
    other = "" if reward == "reward" else f"{reward}_"
    return (reward, f"{other}rank") if tuple(sides) == CANDIDATES else (*(f"{reward}_{side}" for side in PAIRS), f"{other}margin")


def before(name: str) -> str:
    """What a column of the file is called where a new one takes its name."""
    return f"{name}_before"


def _listed(column: Column) -> list[Any]:
    return shown(column) if isinstance(column, np.ndarray) else plain(column)

"""Canonical batches → index arrays. Bad rows are marked, counted or raised here, whatever the format was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.core import DataError
from evenhand.data import columns
from evenhand.data.attributes import UserAttributes
from evenhand.data.columns import EMPTY, MISSING, Store, text_faults
from evenhand.data.ledger import Ledger, Marks
from evenhand.data.rows import NUMBER_LIMIT, Batch, Column, Fault, cell
from evenhand.data.source import TEXTS

SAME = Fault("'chosen' equals 'rejected'", "two different responses", column="rejected")
WEIGHT = Fault("'weight' is not a positive number", "a finite number above 0", column="weight")
WEIGHT_SIZE = Fault(
    "'weight' is too large or too small", "a number from 1e-44 to 3e+38, as weights are kept in single precision", column="weight"
)
TIE = Fault("'tie' is neither true nor false", "true or false", column="tie")
TARGET = Fault(
    "'target' is neither chosen nor rejected",
    "chosen or rejected: which response is y1",
    "mend the row, skip such rows with --on-bad skip, or rename the column if it means something else",
    column="target",
)
CHANGED = "judged again later by the same user"
UNITS = {"seconds": 1, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}  # a second has so many
ERA = 5e8, 5e9  # seconds since 1970 that a judgement may have been made at: 1985 to 2128
GAPS = {"weight": 1.0, "tie": 0, "time": -np.inf}  # what stands for a column that a part of the file lacks; else -1, or no number
SPLIT = Fault("'split' is not a known name", "train, valid, test or certify (or empty)", column="split")


def number_fault(column: str) -> Fault:
    return Fault(f"'{column}' is not a finite number", f"a number in every row, of size {NUMBER_LIMIT:g} at most", column=column)


def size_fault(column: str) -> Fault:
    return Fault(f"'{column}' is over {NUMBER_LIMIT:g} in size", f"a number in every row, of size {NUMBER_LIMIT:g} at most", column=column)


@dataclass(frozen=True)
class Wanted:
    """What a load asks for, and how columns are called in the file."""

    numbers: Sequence[str] = ()
    expected: frozenset[str] = frozenset()  # canonical columns that every row must fill
    ids_for_texts: bool = False  # no texts needed: numbers may stand for them
    stop: bool = True  # at the first bad row
    names: Mapping[str, str] | None = None  # canonical → name in the file, for messages


class Collector:
    """Fills up batch by batch. Memory: distinct users and texts, and the index arrays."""

    def __init__(self, wanted: Wanted, attributes: Sequence[str], missing: Sequence[str] = ()):
        self.wanted = wanted
        self.users, self.texts, self.blocks, self.events, self.twins = Store(), Store(), Store(), Store(), Store()
        self.attributes = UserAttributes(attributes, missing)
        self.ledger = Ledger()
        self.notes: Counter[str] = Counter()  # what was read in a way worth saying, and how often
        self.files: list[str] = []
        self._parts: list[tuple[int, dict[str, np.ndarray]]] = []  # rows, columns

    def add_pairs(self, batch: Batch) -> None:
        """user, prompt, chosen, rejected; weight, tie, split, time, event, target, twin and the wanted numbers."""
        marks, read = self._start(batch)
        arrays = {"user": self._user(batch, marks)}
        for name in ("prompt", "chosen", "rejected"):
            arrays[name] = self._texts(batch, name, marks, allow_empty=name == "prompt")
        marks.mark((arrays["chosen"] == arrays["rejected"]) & (arrays["chosen"] >= 0), SAME)
        if (weight := batch.columns.get("weight")) is not None:
            arrays["weight"] = _weights(weight, marks)
        if (tie := batch.columns.get("tie")) is not None:
            arrays["tie"] = columns.flags(tie)
            marks.mark(arrays["tie"] < 0, TIE)
        if "time" in batch.columns:
            arrays |= {"time": columns.times(batch.columns["time"]), **self._place(batch)}
        if (event := batch.columns.get("event")) is not None:
            arrays["event"] = _named(self.events, event, "event", marks)
        if (target := self._values(batch, "target")) is not None:
            arrays["target"] = columns.targets(target)
            marks.mark(arrays["target"] < 0, TARGET)
        if (twin := batch.columns.get("twin")) is not None:
            arrays["twin"] = _named(self.twins, twin, "twin", marks)
            arrays |= self._place(batch)
        self._finish(batch, marks, read, arrays)

    def add_judgements(self, batch: Batch) -> None:
        """user, prompt, response, score; block, split, time and the wanted numbers."""
        marks, read = self._start(batch)
        arrays = {"user": self._user(batch, marks), "prompt": self._texts(batch, "prompt", marks, allow_empty=True)}
        arrays["response"] = self._texts(batch, "response", marks)
        arrays["score"] = self._number(batch, "score", marks)
        if (block := batch.columns.get("block")) is not None:
            arrays["block"] = np.maximum(self.blocks.ids(block, numbers_too=True, allow_empty=True), -1)
        if "time" in batch.columns:
            arrays["time"] = columns.times(batch.columns["time"])
        arrays |= self._place(batch)
        self._finish(batch, marks, read, arrays)

    def take(self, name: str, default: float, dtype: type) -> np.ndarray:
        """One collected column as one array, and out of the collector; rows of batches without it get the default."""
        parts: list[np.ndarray] = [
            rows.pop(name).astype(dtype, copy=False) if name in rows else np.full(n, default, dtype) for n, rows in self._parts
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype)

    def order_by_time(self) -> None:
        """Where the file has times: of pairs that a user judged again later the last alone stays; single judgements are put last first,
        since of an item that is judged twice the first row counts. Judgements of one time, or of none, stay as they are.
        """
        if not self.has("time"):
            return
        names = dict.fromkeys(name for _, rows in self._parts for name in rows)
        dtypes = {name: next(rows[name].dtype for _, rows in self._parts if name in rows) for name in names}
        arrays = {
            name: self.take(name, GAPS.get(name, -1 if np.issubdtype(dtypes[name], np.integer) else np.nan), dtypes[name].type)
            for name in names
        }
        time = arrays.pop("time")
        self._in_one_unit(time, arrays)
        if "response" in arrays:
            order = np.lexsort((-np.arange(len(time)), -time))
        else:
            order = np.flatnonzero(~self._changed(arrays, time))
        self._parts = [(len(order), {name: values[order] for name, values in arrays.items()})]

    def _in_one_unit(self, time: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Raises DataError where some times are seconds since 1970, as dates are, and others milliseconds or less, and a user judged something twice
        at times of both: nobody knows which is the last. Where nobody did, times decide nothing.
        """
        found = {unit: (time >= ERA[0] * ticks) & (time < ERA[1] * ticks) for unit, ticks in UNITS.items()}
        fewest, *more = sorted((unit for unit in found if found[unit].any()), key=lambda unit: int(found[unit].sum())) or [""]
        if not more:
            return
        low, high = (np.minimum(arrays["chosen"], arrays["rejected"]), np.maximum(arrays["chosen"], arrays["rejected"])) if "chosen" in arrays else (
            arrays["response"], arrays["response"]
        )  # fmt: skip
        _, judged = np.unique(np.stack([arrays["user"], low, high]).astype(np.int64), axis=1, return_inverse=True)
        unit = np.select([*found.values()], range(1, len(found) + 1))
        of_each = {tuple(pair) for pair in np.stack([judged.ravel(), unit])[:, unit > 0].T.tolist()}
        if len(of_each) == len({number for number, _ in of_each}):
            return
        row = int(np.argmax(found[fewest]))
        raise DataError(
            f"this time is in {fewest} since 1970, and others are in {more[-1]}", expected="one unit throughout; dates are read as seconds",
            remedy="write all times in one unit, or as dates", file=self.files[int(arrays["file"][row])], line=int(arrays["line"][row]), column=(self.wanted.names or {}).get("time", "time"),
            value=f"{time[row]:.0f}",
        )  # fmt: skip

    def _changed(self, arrays: Mapping[str, np.ndarray], time: np.ndarray) -> np.ndarray:
        """bool[n]: pairs that the same user judged again later; they are counted as excluded."""
        low, high = np.minimum(arrays["chosen"], arrays["rejected"]), np.maximum(arrays["chosen"], arrays["rejected"])
        keys = (arrays["user"], arrays["prompt"], low, high)
        order = np.lexsort((time, *keys))
        new, again = np.ones((2, len(time)), bool)
        new[1:] = np.any([k[order][1:] != k[order][:-1] for k in keys], axis=0) | (low[order][1:] < 0)
        latest = np.maximum.reduceat(time[order], np.flatnonzero(new))[np.cumsum(new) - 1]
        again[order] = time[order] < latest  # all earlier ones, also where several are of one time
        for number in np.unique(arrays["file"][again]):
            rows = again & (arrays["file"] == number)
            self.ledger.exclude(self.files[number], CHANGED, arrays["line"][rows])
            self.attributes.lose(CHANGED, arrays["user"][rows])
        return again

    def has(self, name: str) -> bool:
        return any(name in rows for _, rows in self._parts)

    def _start(self, batch: Batch) -> tuple[Marks, dict[str, np.ndarray]]:
        marks = Marks(len(batch))
        return marks, self.attributes.read(batch, marks)

    def _place(self, batch: Batch) -> dict[str, np.ndarray]:
        """Where each row came from, for what can be said of it only when all rows are read."""
        if batch.file not in self.files:
            self.files.append(batch.file)
        return {"line": batch.line, "file": np.full(len(batch), self.files.index(batch.file))}

    def _values(self, batch: Batch, name: str) -> Column | None:
        """A column; nulls when this batch lacks a column that the file has (JSONL objects without the key)."""
        column = batch.columns.get(name)
        return [None] * len(batch) if column is None and name in self.wanted.expected else column

    def _user(self, batch: Batch, marks: Marks) -> np.ndarray:
        values = self._values(batch, "user")
        ids = self.users.ids([None] * len(batch) if values is None else values, of_users=True)
        return _marked(ids, "user", "an id", marks)

    def _texts(self, batch: Batch, name: str, marks: Marks, allow_empty: bool = False) -> np.ndarray:
        values = self._values(batch, name)
        if values is None:
            return np.full(len(batch), -1, np.int32)
        ids = self.texts.ids(values, numbers_too=self.wanted.ids_for_texts, allow_empty=allow_empty)
        return _marked(ids, name, "a text", marks)

    def _number(self, batch: Batch, name: str, marks: Marks) -> np.ndarray:
        values = self._values(batch, name)
        numbers = columns.numbers([None] * len(batch) if values is None else values)
        if name in self.wanted.numbers and values is not None and len(numbers) and np.isnan(numbers).all() and columns.is_prose(values):
            raise DataError(
                "the column holds texts, not numbers", expected="a column with a score in every row", remedy="name the column of the scores",
                file=batch.file, line=int(batch.line[0]), column=name,
            )  # fmt: skip
        marks.mark(np.isnan(numbers), number_fault(name))
        marks.mark(np.abs(numbers) > NUMBER_LIMIT, size_fault(name))  # 1e400 is read as infinite
        if values is not None and (commas := columns.decimal_commas(values)):
            self.notes[f"numbers of '{name}' with a decimal comma"] += commas
        return numbers

    def _finish(self, batch: Batch, marks: Marks, read: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
        arrays |= {name: self._number(batch, name, marks) for name in self.wanted.numbers}
        if (split := batch.columns.get("split")) is not None:
            arrays["split"] = columns.splits(split)
            marks.mark(arrays["split"] == -2, SPLIT)
        self.attributes.settle(arrays["user"], read, marks, len(self.users))
        if self.wanted.stop:
            self._raise_first(batch, marks)
        self._exclude(batch, marks, read, arrays["user"])
        if not marks.good.all():
            arrays = {name: values[marks.good] for name, values in arrays.items()}
        self._parts.append((int(marks.good.sum()), arrays))

    def _raise_first(self, batch: Batch, marks: Marks) -> None:
        unread = min((b for b in batch.bad if not b.fault.set_aside), key=lambda b: b.line, default=None)
        row = int(np.argmax(marks.code > 0)) if len(batch) else 0
        fault = marks.faults[marks.code[row]] if len(batch) else None
        if fault is not None and (unread is None or batch.line[row] < unread.line):
            name = (self.wanted.names or {}).get(fault.column, "")
            value = cell(batch, fault.column, row, {"user", *TEXTS, *self.attributes.names})
            raise fault.error(batch.file, int(batch.line[row]), value, name)
        if unread is not None:
            raise unread.fault.error(batch.file, unread.line, unread.value, (self.wanted.names or {}).get(unread.fault.column, ""))

    def _exclude(self, batch: Batch, marks: Marks, read: dict[str, np.ndarray], user: np.ndarray) -> None:
        self.ledger.rows_in += len(batch) + len(batch.bad)
        for reason in dict.fromkeys(b.fault.reason for b in batch.bad):
            rows = [b for b in batch.bad if b.fault.reason == reason]
            self.ledger.exclude(batch.file, reason, np.array([b.line for b in rows], np.int64))
            self.attributes.lose(reason, self.users.ids([b.user for b in rows], of_users=True))
        for code, fault in enumerate(marks.faults):
            if fault is not None:
                marked = marks.code == code
                self.ledger.exclude(batch.file, fault.reason, batch.line[marked])
                self.attributes.lose(fault.reason, user[marked], {name: ids[marked] for name, ids in read.items()})


def _marked(ids: np.ndarray, name: str, kind: str, marks: Marks) -> np.ndarray:
    if len(ids) and ids.min() < 0:
        for value, fault in text_faults(name, kind).items():
            marks.mark(ids == value, fault)
    return ids


def _named(store: Store, column: Column, name: str, marks: Marks) -> np.ndarray:
    """int32[n]: the number of each row's value, -1 where it is missing or empty."""
    ids = store.ids(column, numbers_too=True)
    for kind, fault in text_faults(name, "a word or number").items():
        if kind not in (MISSING, EMPTY):
            marks.mark(ids == kind, fault)
    return np.maximum(ids, -1)


def _weights(column: Column, marks: Marks) -> np.ndarray:
    """A missing weight is 1."""
    weights = columns.numbers(column)
    gaps = np.array([v is None or v == "" for v in column]) if isinstance(column, list) else column.is_null().to_numpy(zero_copy_only=False)
    weights = np.where(gaps, 1.0, weights)
    with np.errstate(over="ignore"):
        kept = weights.astype(np.float32)
    marks.mark(~(weights > 0), WEIGHT)
    marks.mark(~((kept > 0) & (kept < np.inf)), WEIGHT_SIZE)
    return weights

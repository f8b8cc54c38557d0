"""Files of texts to be scored, a batch at a time: candidate responses or pairs, as their columns say, beside the rows as they came.

A row with chosen and rejected is a pair. A row with prompt and response (or completion) is a candidate, and so is a conversation in
`messages`, whose last turn is the response. Each may be a text or messages; what a model reads of them is what `load` makes of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evenhand.core import DataError, PreferenceData
from evenhand.data import source as sources
from evenhand.data.columns import NOT_TEXT, Store, distinct_texts, text_faults
from evenhand.data.conversations import answered, broken, split
from evenhand.data.load import ONE_USER
from evenhand.data.reading import Input, head, inputs, read
from evenhand.data.rows import Batch, Column, Fault, cell, plain
from evenhand.data.source import TEXTS, missing_column
from evenhand.data.sources.trl import is_chat

CANDIDATES, PAIRS = ("response",), ("chosen", "rejected")  # the texts of a row that are scored
ONES = ("completion", "messages")  # what stands for `response` where there is none
BY_ROW = ("table", "trl", "ratings")  # sources whose rows are scored as they stand; of all others pairs are drawn
AT_ONCE = 32_768  # rows of a table
Said = tuple[tuple[Any, ...], Fault | None]  # texts as a model reads them, and what is wrong with the row
KINDS = "columns prompt and response (or completion) of candidates, chosen and rejected of pairs, or messages of conversations"


@dataclass(frozen=True)
class Asked:
    """The n good rows of a batch, over its distinct users and texts. user int64[n]: -1 = nobody's. prompt int64[n], -1 = none; sides int64[n, k].

    kept bool[rows of the batch]: which ones they are. skipped: rows that were left out, those that could not be read at all included.
    """

    users: Sequence[str] = field(repr=False)
    texts: Sequence[str] = field(repr=False)
    user: np.ndarray
    prompt: np.ndarray
    sides: np.ndarray
    kept: np.ndarray
    skipped: int

    @cached_property
    def content(self) -> np.ndarray:
        """uint8[32]: SHA-256 of users, texts, and whose rows are of which."""
        digest = hashlib.sha256(json.dumps([*self.users, None, *self.texts]).encode())
        for array in (self.user, self.prompt, self.sides, self.kept):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return np.frombuffer(digest.digest(), np.uint8)


@dataclass(frozen=True)
class Scorable:
    """sides: CANDIDATES or PAIRS. renames: canonical → name in the file. names: columns of the file, as far as its head tells.

    of_users: there is a column of users. one_user: all rows are one user's. chat: the texts of pairs are conversations.
    """

    files: Sequence[Input]
    name: str
    sides: tuple[str, ...]
    names: Sequence[str]
    renames: Mapping[str, str]
    of_users: bool
    one_user: bool
    chat: bool

    def batches(self) -> Iterator[Batch]:
        """All columns under the file's own names. The same file gives the same batches."""
        for file in self.files:
            yield from read(file, lambda name: True, AT_ONCE)

    @property
    def with_prompts(self) -> bool:
        """Whether something says what was asked."""
        return self.sides == CANDIDATES or self.chat or "prompt" in {*self.names, *self.renames}

    @property
    def typed(self) -> bool:
        """Whether the file itself says the type of every column; one of text alone has none but text."""
        return all(file.format in ("Parquet", "Arrow", "CSV", "TSV") or isinstance(file.rows, pa.Table) for file in self.files)

    def rows(self) -> int:
        """About how many, for whoever shows how far work has come: of texts, the line breaks."""
        return sum(map(_rows, self.files))

    def asked(self, batch: Batch, skip: bool) -> Asked:
        """The texts of a batch. Bad rows are left out where `skip`; else the first of them raises DataError with its place."""
        batch = batch.renamed(self.renames)
        users, texts = Store(), Store()
        if self.one_user:
            user = users.ids([ONE_USER] * len(batch))
        elif self.of_users:
            user = users.ids(_column(batch, "user"), of_users=True)
        else:
            user = np.full(len(batch), -1)
        ids, faults = self._ids(batch, texts)
        if self.of_users and not self.one_user:
            _note(faults, user, "user", "an id")
        if not skip:
            self._raise_first(batch, faults)
        kept = np.ones(len(batch), bool)
        kept[list(faults)] = False
        ids, user = ids[kept].astype(np.int64), user[kept].astype(np.int64)
        return Asked(users.values, texts.values, user, ids[:, 0], ids[:, 1:], kept, len(faults) + len(batch.bad))

    def _ids(self, batch: Batch, texts: Store) -> tuple[np.ndarray, dict[int, Fault]]:
        """Numbers of each row's prompt and sides in `texts`, int32[n, 1 + k], and what is wrong with a row."""
        roles = ("prompt", *self.sides)
        if self.chat or self.sides == CANDIDATES:
            return self._ids_of(batch, roles, texts, self._read)
        found = [self._ids_of(batch, (role,), texts, _as_it_stands) for role in roles]
        faults = {row: fault for _, wrong in reversed(found) for row, fault in wrong.items()}
        return np.concatenate([ids for ids, _ in found], axis=1), faults

    def _ids_of(self, batch: Batch, roles: Sequence[str], texts: Store, read: Callable[..., Said]) -> tuple[np.ndarray, dict[int, Fault]]:
        """The same of what is read together; equal rows are read once."""
        distinct, place = _distinct([_column(batch, role) for role in roles])
        said = [read(*values) for values in distinct]
        ids = np.empty((len(distinct), len(roles)), np.int32)
        wrong: dict[int, Fault] = {}
        for column, role in enumerate(roles):
            values = [texts_[column] for texts_, _ in said]
            is_prompt = role == "prompt"
            ids[:, column] = texts.ids(values, numbers_too=is_prompt and self.sides == CANDIDATES, allow_empty=is_prompt)
            if is_prompt and not self.with_prompts:
                ids[:, column] = -1
            else:
                _note(wrong, ids[:, column], role, "a text")
            no_text = np.flatnonzero(ids[:, column] == NOT_TEXT).tolist()
            wrong |= {i: _no_text(role, why) for i in no_text if i in wrong and (why := broken(values[i]))}
        wrong |= {i: fault for i, (_, fault) in enumerate(said) if fault is not None}
        faults = {row: wrong[i] for row, i in enumerate(place.tolist()) if i in wrong} if wrong else {}
        return ids[place].reshape(-1, len(roles)), faults

    def _read(self, prompt: Any, *sides: Any) -> Said:
        """Prompt and sides as a model reads them."""
        if self.sides == CANDIDATES:
            found = answered(prompt, sides[0])
            alone = prompt is None and isinstance(sides[0], str)
            return (self._or_none(found.prompt) if alone else found.prompt, found.response), found.fault
        pair = split(prompt, sides[0], sides[1], prompt is not None)
        return (pair.prompt, pair.chosen, pair.rejected), pair.fault

    def _or_none(self, prompt: str) -> str | None:
        """Of a response without a prompt: a conversation in one text has one, any other lacks it."""
        return prompt if self.renames.get("response") == "messages" or prompt else None

    def _raise_first(self, batch: Batch, faults: Mapping[int, Fault]) -> None:
        found = {int(batch.line[row]): (fault, row) for row, fault in faults.items() if not fault.set_aside}
        unread = {bad.line: bad for bad in batch.bad if not bad.fault.set_aside}
        if not found and not unread:
            return
        line = min([*found, *unread])
        if line in unread:
            raise unread[line].fault.error(batch.file, line, unread[line].value)
        fault, row = found[line]
        raise fault.error(batch.file, line, cell(batch, fault.column, row, {fault.column}), self.renames.get(fault.column, ""))


def scorable(
    place: Any, columns: Mapping[str, str], source: str | None = None, one_user: bool = False, users_wanted: bool = False
) -> Scorable | None:
    """The rows of a file, or of a table in memory, that are scored as they stand; None where pairs are drawn from it, as `load` does.

    columns: canonical → name in the file. source: a format that was named. users_wanted: histories are matched by users.
    Raises DataError where the columns are none of KINDS, and of no source.
    """
    if source not in (None, *BY_ROW[:2]):
        return None
    if isinstance(place, str | Path) and Path(place).is_dir() and not _one_table(Path(place)):
        return None
    files, name, _ = inputs(place, "data")
    names, first = head(files[0])
    if not names:
        raise DataError("the file holds no readable row", expected="at least one row", remedy="check how it was written", file=name)
    for canonical, given in columns.items():
        if given not in names:
            raise missing_column(given, names, name, f"the column named for '{canonical}'", canonical, first=first)
    first = {**first, **{canonical: first.get(given) for canonical, given in columns.items()}}
    known = frozenset({*names, *columns, *(["user"] if one_user else [])})
    if source is None and any(s.recognises(known, first) for s in sources.every().values() if s.name not in BY_ROW):
        return None
    sides, renames = _sides(known, names, dict(columns), first, name)
    of_users = "user" in known and not one_user
    if not of_users and not one_user:
        _check_users(known, first, name, users_wanted)
    return Scorable(files, name, sides, names, renames, of_users, one_user, sides == PAIRS and (is_chat(first) or "prompt" not in known))


def of_pairs(data: PreferenceData) -> Scorable:
    """Loaded pairs as a table: user, prompt where there are prompts, chosen, rejected, and what else was read of them."""

    def coded(index: np.ndarray, values: Sequence[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(list(values), pa.large_string()))

    columns = {"user": coded(data.user, data.users)}
    columns |= {"prompt": coded(data.prompt, data.texts)} if (data.prompt >= 0).all() else {}
    columns |= {side: coded(getattr(data, side), data.texts) for side in PAIRS}
    columns |= {name: pa.array(values) for name, values in (("weight", data.weight), ("tie", data.tie)) if values is not None}
    columns |= {name: coded(data.user, data.attributes[name]) for name in data.attributes if name not in columns}
    columns |= {name: pa.array(values) for name, values in data.numbers.items() if name not in columns}
    table = pa.table(columns)
    file = Input(Path("table in memory"), "in memory", rows=table)
    return Scorable([file], data.source or "table in memory", PAIRS, table.column_names, {}, True, False, False)


def _sides(
    known: frozenset[str], names: Sequence[str], renames: dict[str, str], first: Mapping[str, Any], file: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """(what is scored, canonical → name in the file)."""
    if set(PAIRS) <= known:
        return PAIRS, renames
    one = next((c for c in ("response", *ONES) if c in known), "")
    if one == "messages" or (one and "prompt" in known):
        return CANDIDATES, renames | ({} if one == "response" else {"response": renames.get(one, one)})
    lacking = "prompt" if one else "rejected" if "chosen" in known else "chosen" if "rejected" in known else "response"
    needed = ("prompt", "response") if lacking in ("prompt", "response") else (*PAIRS,)
    near = {} if lacking != "response" else {"response": _usual(names, first)}
    raise missing_column(lacking, names, file, KINDS, lacking, needed, first, {c: n for c, n in near.items() if n})


def _usual(names: Sequence[str], first: Mapping[str, Any]) -> str:
    """A column that others call a response."""
    return next((n for n in sources.USUAL_NAMES["item"] if n in names and isinstance(first.get(n), str)), "")


def _check_users(names: frozenset[str], first: Mapping[str, Any], file: str, wanted: bool) -> None:
    """Raises DataError for a file without users that needs them, or whose users stand under another name: its rows would be nobody's."""
    near = next((n for n in sources.USUAL_NAMES["user"] if n in names), "")
    if wanted or near:
        raise missing_column(
            "user", names, file, "whose rows these are", "user", ("user", *(TEXTS & names)), first, {"user": near} if near else None
        )


def _one_table(folder: Path) -> bool:
    """A folder that Hugging Face datasets saved, or of Parquet files."""
    return any(folder.glob("state.json")) or any(folder.glob("*/state.json")) or any(folder.glob("*.parquet"))


def _rows(file: Input) -> int:
    if file.rows is not None:
        return len(file.rows)
    if file.format == "Parquet" and not file.compression:
        return int(pq.read_metadata(file.path).num_rows)
    if file.format not in ("JSONL", "CSV", "TSV"):
        return 0
    count = 0
    with pa.input_stream(str(file.path), compression=file.compression or None) as stream:
        while block := stream.read(2**22):
            count += block.count(b"\n")
    return count


def _distinct(columns: Sequence[Column]) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """Distinct rows of these columns, in the order of their first use, and the place of each row among them, int64[n]."""
    coded = [_coded(column) for column in columns]
    key = np.zeros(len(columns[0]), np.int64)
    for found in coded:
        if found is None:  # messages cannot be looked up
            return list(zip(*map(plain, columns), strict=True)), np.arange(len(key))
        key = key * (len(found[1]) + 1) + found[0]
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    values = ([values[code] for code in codes[first[order]].tolist()] for codes, values in filter(None, coded))
    return list(zip(*values, strict=True)), np.argsort(order)[place]


def _coded(column: Column) -> tuple[np.ndarray, Sequence[Any]] | None:
    """int64[n]: each row's place in the values. None: its values cannot be compared."""
    if not isinstance(column, list):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            codes, values = distinct_texts(column)
            return codes % (len(values) + 1), [*values, None]  # -1, none, is the last
    number: dict[Any, int] = {}
    try:
        codes = np.array([number.setdefault(value, len(number)) for value in plain(column)], np.int64)
    except TypeError:
        return None
    return codes, list(number)


def _as_it_stands(value: Any) -> Said:
    return (value,), None


def _column(batch: Batch, name: str) -> Column:
    return batch.columns[name] if name in batch.columns else [None] * len(batch)


def _no_text(role: str, why: str) -> Fault:
    return Fault(f"'{role}' is neither a text nor messages: {why}", "a text, or messages with role and content", column=role)


def _note(faults: dict[int, Fault], ids: np.ndarray, name: str, kind: str) -> None:
    """Adds the rows whose id is negative, with what that means."""
    if len(ids) and ids.min() < 0:
        meaning = text_faults(name, kind)
        for row in np.flatnonzero(ids < 0).tolist():
            faults.setdefault(row, meaning[int(ids[row])])

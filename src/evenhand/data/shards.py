"""Shards: the checked pairs of one file, coded and sorted, in a private folder; an audit of many files is put together from them.

    NAME.shard/                 0700, files 0600; whole or not there
        users.arrow             sorted distinct ids, and each user's attributes
        texts.arrow             sorted distinct prompts and responses
        pairs.safetensors       pairs of each user, and columns of codes and numbers in the order of users: 12-24 bytes a pair
        settings.json           how the file was read, which rows were left out, the file's SHA-256 and that of the three above

Whoever reads one trusts nothing in it: every file is held against its hash, every code against its range.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from evenhand.core import DataError, Exclusions, PreferenceData, clip
from evenhand.data.canonical import rows_in_order
from evenhand.writing import settled, sync

ENDING = ".shard"
FORMAT: Final = "evenhand shard 1"
ABOUT = "One shard of evenhand audit --partial: users' ids, texts and choices. Private."
SETTINGS, USERS, TEXTS, PAIRS = "settings.json", "users.arrow", "texts.arrow", "pairs.safetensors"
MOST_BYTES = 20_000_000  # of settings: some kilobytes, and a count for each group and reason
CODES = ("prompt", "chosen", "rejected")
MORE = {"weight": np.float32, "tie": np.bool_, "split": np.int8}  # what a file may lack
NUMBER = "number "  # before the name of a column of numbers

Count = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class InputFile(Strict):
    """name: below the folder that was named, or the file's own."""

    name: str
    sha256: Sha256


class Left(Strict):
    rows_in: Count
    rows_used: Count
    reasons: dict[str, Count]
    by_group: dict[str, dict[str, Count]]

    @model_validator(mode="after")
    def _adds_up(self) -> Left:
        if self.rows_in != self.rows_used + sum(self.reasons.values()):
            raise ValueError("rows do not add up")
        return self


class About(Strict):
    """How a file became a shard.

    read: what decides which pairs there are and what they mean (scores, attributes, …): all shards of one audit have the same. on_bad: what became of bad
    rows, if there were any. source, columns: how this file calls things. kind, notes: what it was, for the report. times: a later judgement takes an earlier one's place.
    """

    about: str = ABOUT
    format: Literal["evenhand shard 1"] = FORMAT
    evenhand: str = Field(default_factory=cache(lambda: version("evenhand")))
    file: InputFile
    read: dict[str, Any]
    on_bad: Literal["error", "skip"] = "error"
    source: str
    columns: dict[str, str]
    kind: str
    notes: dict[str, Count] = {}
    times: bool = False
    left: Left
    pairs: Count
    users: Count
    texts: Count
    numbers: list[str]
    attributes: list[str]
    files: dict[str, Sha256] = {}

    @property
    def content(self) -> str:
        """SHA-256 over what the shard holds, whatever file it came from."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()

    @property
    def exclusions(self) -> Exclusions:
        return Exclusions(self.left.rows_in, self.left.rows_used, self.left.reasons, self.left.by_group)


Columns = dict[
    str, np.ndarray
]  # count int32[users]; prompt, chosen, rejected, weight, tie, split, "number NAME" [pairs], those that are there


class Shard(Protocol):
    """One file's pairs. Columns are asked for by users and pairs first:last, both in the order of users."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> About: ...

    def users(self) -> pa.Table: ...

    def texts(self) -> pa.Array: ...

    def counts(self, first: int = 0, last: int | None = None) -> np.ndarray: ...

    def columns(self, first: int, last: int) -> Columns: ...


@dataclass(frozen=True)
class Coded:
    """A shard in memory."""

    name: str
    about: About
    people: pa.Table = field(repr=False)
    words: pa.Array = field(repr=False)
    held: Columns = field(repr=False)

    def users(self) -> pa.Table:
        return self.people

    def texts(self) -> pa.Array:
        return self.words

    def counts(self, first: int = 0, last: int | None = None) -> np.ndarray:
        return self.held["count"][first:last]

    def columns(self, first: int, last: int) -> Columns:
        return {name: values[first:last] for name, values in self.held.items() if name != "count"}


def code(data: PreferenceData, about: Mapping[str, Any], name: str = "") -> Coded:
    """Loaded pairs as a shard. about: the fields of `About` that the data does not say itself."""
    users, by_id, user = _sorted(data.users, data.user)
    texts, _, *codes = _sorted(data.texts, data.prompt, data.chosen, data.rejected)
    rows: Columns = {c: narrow(values, len(texts)) for c, values in zip(CODES, codes) if (values >= 0).any()}
    rows |= {c: values for c, values in (("weight", data.weight), ("tie", data.tie), ("split", data.split)) if values is not None}
    rows |= {NUMBER + n: exact(values) for n, values in data.numbers.items()}
    held = {"count": np.bincount(user, minlength=len(users)).astype(np.int32)} | in_order(user, rows)
    people = {"user": users} | {attribute(n): pa.array(values, pa.large_string()).take(by_id) for n, values in data.attributes.items()}
    left = data.exclusions
    said = About(
        **about, pairs=len(data), users=len(users), texts=len(texts), numbers=list(data.numbers), attributes=list(data.attributes),
        left=Left(rows_in=left.rows_in, rows_used=left.rows_used, reasons=dict(left.reasons), by_group={g: dict(r) for g, r in left.by_group.items()}),
    )  # fmt: skip
    return Coded(name, said, pa.table(people), texts, held)


def _sorted(values: Sequence[str], *columns: np.ndarray) -> tuple[Any, ...]:
    """(sorted values, their order, each column renumbered); -1 stays. Order: by code point, as Python has it."""
    given = pa.array(values, pa.large_string())
    order = pc.sort_indices(given)
    place = np.full(len(order) + 1, -1, np.int32)
    place[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return given.take(order), order, *(place[column] for column in columns)


def narrow(codes: np.ndarray, size: int) -> np.ndarray:
    """Codes below `size`, and -1, in as few bytes as hold them."""
    return codes.astype(np.int16 if size < 2**15 else np.int32, copy=False)


def exact(values: np.ndarray) -> np.ndarray:
    """Numbers in half the bytes where that changes none; 0 has no sign."""
    values = values + 0.0
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if np.array_equal(short, values) else values.astype(np.float64, copy=False)


def in_order(user: np.ndarray, rows: Columns) -> Columns:
    """Rows as `canonical` has them: by user, prompt, chosen, rejected, tie, weight, split and numbers."""
    named = [*CODES, "tie", "weight", "split", *sorted(c for c in rows if c.startswith(NUMBER))]
    order = rows_in_order([user, *(rows[c] for c in named if c in rows)])
    return rows if order is None else {c: values[order] for c, values in rows.items()}


def attribute(name: str) -> str:
    return f"attribute {name}"


@dataclass(frozen=True)
class Stored:
    """A shard on disk, whose files were as they had been written when it was opened."""

    folder: Path
    about: About

    @property
    def name(self) -> str:
        return self.folder.name.removesuffix(ENDING)

    def users(self) -> pa.Table:
        """user, and "attribute NAME" of each. Raises DataError where it is not what settings.json says."""
        table = self._arrow(USERS)
        names = ["user", *map(attribute, self.about.attributes)]
        if table.column_names != names or any(f.type != pa.large_string() for f in table.schema) or table.num_rows != self.about.users:
            raise broken(self.folder, f"{USERS} has other columns")
        table = table.combine_chunks()
        for place, column in enumerate(table.columns):
            self._check(column.combine_chunks(), USERS, rising=place == 0)
        return table

    def texts(self) -> pa.Array:
        table = self._arrow(TEXTS)
        if table.column_names != ["text"] or table.schema.field(0).type != pa.large_string() or table.num_rows != self.about.texts:
            raise broken(self.folder, f"{TEXTS} has other columns")
        found = table.column(0).combine_chunks()
        self._check(found, TEXTS, rising=True)
        return found

    def counts(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Pairs of each user, int32[users]."""
        with self._opened() as arrays:
            counts = self._array(arrays, "count", first, self.about.users if last is None else last, self.about.users)
        whole = first == 0 and last is None
        if counts.dtype != np.int32 or counts.min(initial=1) < 1 or (whole and int(counts.sum(dtype=np.int64)) != self.about.pairs):
            raise broken(self.folder, "users have other numbers of pairs")
        return counts

    def columns(self, first: int, last: int) -> Columns:
        """Of pairs first:last. Raises DataError where a code or a number is out of its range."""
        with self._opened() as arrays:
            there = [c for c in arrays.keys() if c != "count"]  # noqa: SIM118 - not a mapping
            numbers = [c.removeprefix(NUMBER) for c in there if c.startswith(NUMBER)]
            if sorted(numbers) != sorted(self.about.numbers) or {*there} - {*CODES, *MORE, *(NUMBER + n for n in numbers)}:
                raise broken(self.folder, f"{PAIRS} has other columns")
            named = [c for c in (*CODES, *MORE) if c in there] + [NUMBER + n for n in self.about.numbers]
            found = {c: self._array(arrays, c, first, last, self.about.pairs) for c in named}
        for name, values in found.items():
            wrong = (
                values.dtype not in (np.int16, np.int32) or values.min(initial=0) < -1 or values.max(initial=-1) >= self.about.texts
                if name in CODES
                else values.dtype != MORE[name]
                or (name == "split" and not ((values >= -1) & (values < 4)).all())
                or (name == "weight" and not (np.isfinite(values) & (values > 0)).all())
                if name in MORE
                else values.dtype not in (np.float32, np.float64) or not np.isfinite(values).all()
            )
            if wrong:
                raise broken(self.folder, f"values of '{clip(name.removeprefix(NUMBER))}' are out of their range")
        return found

    def _opened(self) -> Any:
        try:
            return safe_open(self.folder / PAIRS, framework="np")
        except (SafetensorError, OSError, ValueError) as error:
            raise broken(self.folder, f"{PAIRS} cannot be read") from error

    def _array(self, arrays: Any, name: str, first: int, last: int, size: int) -> np.ndarray:
        try:
            part = arrays.get_slice(name)
            if list(part.get_shape()) != [size]:
                raise broken(self.folder, f"'{clip(name.removeprefix(NUMBER))}' has another length")
            values: np.ndarray = part[first:last]
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise broken(self.folder, f"{PAIRS} cannot be read") from error
        return values

    def _arrow(self, file: str) -> pa.Table:
        try:
            with pa.memory_map(str(self.folder / file)) as source:
                return pa.ipc.open_file(source).read_all()
        except (pa.ArrowException, OSError) as error:
            raise broken(self.folder, f"{file} cannot be read") from error

    def _check(self, values: pa.Array, file: str, rising: bool) -> None:
        try:
            values.validate(full=True)
        except pa.ArrowException as error:
            raise broken(self.folder, f"{file} is damaged") from error
        if values.null_count or (rising and len(values) > 1 and not pc.all(pc.less(values[:-1], values[1:])).as_py()):
            raise broken(self.folder, f"{file} is not in order")


def write(coded: Coded, place: Path) -> Stored:
    """The shard at `place`, a folder that is whole or not there. One that lies there is replaced, and nothing else is. Raises OSError."""
    staged = place.with_name(f".{place.name}.{os.getpid()}.evenhand-part")
    shutil.rmtree(staged, ignore_errors=True)
    settled(place.parent, lambda: staged.mkdir(mode=0o700), mode=0o700)
    try:
        for file, table in ((USERS, coded.people), (TEXTS, pa.table({"text": coded.words}))):
            with pa.OSFile(str(staged / file), "wb") as stream, pa.ipc.new_file(stream, table.schema) as out:
                out.write_table(table)
        save_file({name: np.ascontiguousarray(values) for name, values in coded.held.items()}, staged / PAIRS)
        about = coded.about.model_copy(update={"files": {file: _digest(staged / file) for file in (USERS, TEXTS, PAIRS)}})
        (staged / SETTINGS).write_text(about.model_dump_json(indent=1) + "\n", "utf-8")
        for file in (USERS, TEXTS, PAIRS, SETTINGS):
            durable(staged / file)
        sync(staged)
        if is_shard(place):
            shutil.rmtree(place)
        os.replace(staged, place)
        sync(place.parent)
    except SafetensorError as error:  # its own kind of a full disk
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(place)) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Stored(place, about)


def durable(file: Path) -> None:
    """The file's bytes on the disk, for its owner alone."""
    os.chmod(file, 0o600)
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_shard(place: Path) -> bool:
    """Whether a shard lies here, or what is left of one."""
    return (
        place.suffix == ENDING
        and place.is_dir()
        and not place.is_symlink()
        and {p.name for p in place.iterdir()} <= {SETTINGS, USERS, TEXTS, PAIRS}
    )


def opened(place: Path) -> Stored:
    """Raises DataError, with the shard's name, where it is none, is not whole, or was changed."""
    try:
        with (place / SETTINGS).open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("too long")
        if _other_format(text):
            raise DataError(
                "it is a shard of another version of evenhand", expected=FORMAT, remedy="make it again with --partial", file=place.name
            )
        about = About.model_validate_json(text)
    except FileNotFoundError as error:
        raise DataError("it is no shard", expected=f"a folder that --partial wrote, with {SETTINGS}", remedy="name another", file=place.name) from error  # fmt: skip
    except (OSError, ValidationError, ValueError, RecursionError) as error:
        raise broken(place, f"{SETTINGS} is damaged") from error
    if {*about.files} != {USERS, TEXTS, PAIRS}:
        raise broken(place, f"{SETTINGS} is damaged")
    for file, digest in about.files.items():
        try:
            same = _digest(place / file) == digest
        except OSError as error:
            raise broken(place, f"{file} cannot be read ({error.strerror or error})") from error
        if not same:
            raise broken(place, f"{file} is not as it was written")
    return Stored(place, about)


def _other_format(text: bytes) -> bool:
    """Whether a settings.json of ours has another number of format, or none."""
    try:
        said = json.loads(text)
        return bool(said["about"] == ABOUT and said.get("format") != FORMAT)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def broken(place: Path, why: str) -> DataError:
    return DataError(
        f"the shard is broken: {why}", expected="a shard as --partial wrote it", remedy="make it again from its file, or leave it out", file=place.name
    )  # fmt: skip


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

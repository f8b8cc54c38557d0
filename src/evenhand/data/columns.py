"""Columns of a batch → numbers: texts and ids become rows of a store of distinct values, everything else becomes an array.

Work is done once per distinct value of a batch, not once per row: Arrow's dictionary codes carry the rest.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenhand.core import SPLITS, DataError
from evenhand.data.rows import FIELD_LIMIT, Column, Fault, plain

MISSING, EMPTY, NOT_TEXT, NUL, NOT_UNICODE, TOO_LONG, NOT_UTF8 = range(-1, -8, -1)  # ids of values that are no text
SPLIT_NAMES = {name: i for i, name in enumerate(SPLITS)} | {"validation": 1, "val": 1, "dev": 1}
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
VOTE_WORDS = {
    **dict.fromkeys(("agree", "agreed", "yes", "true", "like", "up", "upvote", "approve"), 1.0),
    **dict.fromkeys(("disagree", "disagreed", "no", "false", "dislike", "down", "downvote", "disapprove"), -1.0),
    **dict.fromkeys(("pass", "passed", "unsure", "neither", "neutral", "skip", "maybe", "don't know"), 0.0),
}  # fmt: skip
WHOLE = re.compile(r"(?:0|[1-9]\d*)\.0")  # a number that became a decimal in a table with gaps
TICKS = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of Arrow's times, a second
TRUE, FALSE = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no", ""}


def text_faults(column: str, kind: str) -> dict[int, Fault]:
    """What each negative id means for a column. kind: "a text" or "an id", for the message."""
    messages = ", or messages with role and content in every row (--source trl)" if kind == "a text" else ""
    return {
        MISSING: Fault(f"'{column}' is missing", f"{kind} in every row", column=column),
        EMPTY: Fault(f"'{column}' is empty", f"{kind} that is not empty", column=column),
        NOT_TEXT: Fault(f"'{column}' is not {kind}", f"{kind} in every row{messages}", column=column),
        NUL: Fault(f"'{column}' holds a NUL character", "text without NUL characters", column=column),
        NOT_UNICODE: Fault(f"'{column}' is not valid Unicode", "UTF-8 text without lone surrogates", column=column),
        NOT_UTF8: Fault(
            f"'{column}' is not UTF-8 (Windows-1252 or Latin-1, perhaps)",
            "text in UTF-8",
            "convert the file: iconv -f CP1252 -t UTF-8",
            column,
        ),
        TOO_LONG: Fault(f"'{column}' is too long", f"at most {FIELD_LIMIT:,} characters", column=column),
    }


class Store:
    """Distinct strings in the order of their first use, and the number of each."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._number: dict[str, int] = {}
        self._blank: list[int] = []  # numbers of values that are empty or white space
        self._recent: deque[tuple[pa.Array, Callable[[object], object], np.ndarray]] = deque(maxlen=3)  # dictionaries of the last columns

    def __len__(self) -> int:
        return len(self.values)

    def ids(self, column: Column, *, numbers_too: bool = False, allow_empty: bool = False, of_users: bool = False) -> np.ndarray:
        """int32[n]: the number of each row's value, new values added; negative where it is no good text.

        numbers_too: whole and other numbers stand for their digits (ids), true and false for these words. of_users: so does "7.0".
        """
        as_text = user_text if of_users else _id_text if numbers_too else _same
        if isinstance(column, list):
            ids = np.array(self._numbers(column, as_text), np.int32)
        else:
            codes, values = _coded(column)
            ids = self._of_dictionary(values, as_text)[codes]
        if self._blank and not allow_empty:
            ids[np.isin(ids, self._blank)] = EMPTY
        return ids

    def _of_dictionary(self, values: pa.Array, as_text: Callable[[object], object]) -> np.ndarray:
        """int32[n + 1]: the number of each value, and of none. Batches of one part of a file share their dictionary: it is looked up once."""
        for known, how, numbers in self._recent:
            if how is as_text and len(known) == len(values) and known.equals(values):
                return numbers
        numbers = np.array([*self._numbers(_python(values), as_text), MISSING], np.int32)
        self._recent.append((values, as_text, numbers))
        return numbers

    def _numbers(self, values: Sequence[Any], as_text: Callable[[object], object]) -> list[int]:
        """Known texts are looked up all at once; the rest, one by one."""
        try:
            known = list(map(self._number.get, values))
        except TypeError:  # lists and objects cannot be looked up
            known = [self._number.get(v) if type(v) is str else None for v in values]
        return [self._add(value, as_text) if number is None else number for value, number in zip(values, known)]

    def _add(self, value: object, as_text: Callable[[object], object]) -> int:
        """The number of one value, or the negative number of what is wrong with it."""
        text = as_text(value)
        if not isinstance(text, str):
            return MISSING if text is None else NOT_TEXT
        number = self._number.get(text)
        if number is None:
            if wrong := _wrong(text):
                return wrong
            number = self._number[text] = len(self.values)
            self.values.append(text)
            if not text or text.isspace():
                self._blank.append(number)
        return number


def _same(value: object) -> object:
    return value


def user_text(value: object) -> object:
    """A user's id as text: "7.0" is "7", too, since every value of a CSV is a text."""
    text = _id_text(value)
    return text[:-2] if isinstance(text, str) and text.endswith(".0") and WHOLE.fullmatch(text) else text


def _id_text(value: object) -> object:
    """An id as text: 7 and 7.0 are "7" (a table with gaps turns whole numbers into floats); nan is a gap, and infinity is no id."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isinf(value):  # 1e400 in JSON: every number too large would be one id
            return value
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) and abs(value) < 10**40 else value


def _wrong(text: str) -> int:
    if len(text) > FIELD_LIMIT:
        return TOO_LONG
    if "\0" in text:
        return NUL
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # a byte that is no UTF-8 was read as a lone surrogate
            return NOT_UTF8 if any("\udc80" <= c <= "\udcff" for c in text) else NOT_UNICODE
    return 0


def distinct_texts(column: pa.Array) -> tuple[np.ndarray, Sequence[Any]]:
    """Codes int64[n] into the distinct values (-1 = null), and these values."""
    codes, values = _coded(column)
    return codes, _python(values)


def _coded(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The same, the values still Arrow's."""
    if pa.types.is_nested(column.type):  # lists and structs are no texts: one value stands for all of them
        return np.where(column.is_null().to_numpy(zero_copy_only=False), -1, 0), pa.array([[]], pa.list_(pa.null()))
    if pa.types.is_null(column.type):
        return np.full(len(column), -1), column[:0]
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary
    if len(values) > len(column):  # a dictionary shared by many batches: take only what this one uses
        used = np.zeros(len(values) + 1, bool)
        used[codes] = True
        place = np.cumsum(used) - 1
        values = values.take(pa.array(np.flatnonzero(used[:-1])))
        codes = np.where(codes < 0, -1, place[codes])
    return codes, values


def _python(values: pa.Array) -> list[Any]:
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return [_decoded(v) for v in values.to_pylist()]
    try:
        return values.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check its strings
        return [_decoded(v) for v in values.cast(pa.binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


def numbers(column: Column) -> np.ndarray:
    """float64[n]: nan where there is no number (null, true, words); infinities stay. Digits written as text count."""
    if not isinstance(column, list):
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if pa.types.is_nested(kind):
            return np.array([_number(value) for value in column.to_pylist()], np.float64)
        codes, values = distinct_texts(column)
        return np.array([*map(_number, values), math.nan])[codes]
    return np.array([value if type(value) is float else _number(value) for value in column], np.float64)


def _number(value: object) -> float:
    if isinstance(value, list) and len(value) == 1:  # one score in a list of its own
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        if isinstance(value, int):
            return math.inf
        return float(value.replace(",", ".")) if isinstance(value, str) and DECIMAL_COMMA.fullmatch(value.strip()) else math.nan


def decimal_commas(column: Column) -> int:
    """How many numbers are written with a comma; DataError where others of the column have a point, so that nobody knows what it means."""
    if not isinstance(column, list):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type)):
            return 0
        column = plain(column)
    commas = sum(type(v) is str and "," in v and DECIMAL_COMMA.fullmatch(v.strip()) is not None for v in column)
    if commas and any(type(v) is str and "." in v for v in column):
        raise DataError("some numbers have a comma, others a point", expected="one kind of decimal mark", remedy="write points throughout")
    return commas


def is_prose(column: Column) -> bool:
    """Every value is a text that is no number: a column of texts was taken for one of numbers."""
    values = plain(column[:100])
    return all(
        isinstance(v, str) and math.isnan(_number(v)) and v.strip().lower() not in ("", "nan", "none", "null", "n/a", "na") for v in values
    )


def times(column: Column) -> np.ndarray:
    """float64[n]: when; -inf where it is not known. Numbers as they are; dates (ISO 8601; UTC where they name no zone) and Arrow's times in seconds
    since 1970, so that files of several kinds have one order."""
    if not isinstance(column, list) and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        column = pc.cast(column, pa.timestamp("ms")) if pa.types.is_date(column.type) else column
        since = pc.cast(column, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) / TICKS[column.type.unit]
        return np.where(column.is_null(), -math.inf, since)
    seconds = numbers(column)
    if np.isnan(seconds).any():
        seconds = np.array([_time(v) if math.isnan(n) else n for v, n in zip(plain(column), seconds)], np.float64)
    return seconds


def _time(value: object) -> float:
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        return -math.inf
    if not isinstance(moment, datetime):
        return -math.inf
    # without a zone it is UTC: this machine's own zone would put it in another order where clocks are turned
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def votes(column: Column) -> np.ndarray:
    """float64[n]: 1, -1 or 0; nan where the vote is missing, inf where it is none."""
    if not isinstance(column, list) and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        signs = numbers(column)
        return np.where(np.isfinite(signs) & ~np.isin(signs, (-1, 0, 1)), math.inf, signs)
    if isinstance(column, list):
        return np.array([_vote(v) for v in column], np.float64)
    codes, values = distinct_texts(column)
    return np.array([*map(_vote, values), math.nan])[codes]


def _vote(value: object) -> float:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if isinstance(value, bool):
        return 1.0 if value else -1.0
    number = _number(value)
    if not math.isnan(number):
        return number if number in (1, 0, -1) else math.inf
    return VOTE_WORDS.get(value.strip().lower(), math.inf) if isinstance(value, str) else math.inf


def flags(column: Column) -> np.ndarray:
    """int8[n]: 1 true, 0 false or missing, -1 neither."""
    return _words(column, {**dict.fromkeys(TRUE, 1), **dict.fromkeys(FALSE, 0)}, missing=0, unknown=-1)


def splits(column: Column) -> np.ndarray:
    """int8[n]: the number of the split in SPLITS, -1 = none (missing or empty), -2 = no known name."""
    return _words(column, {**SPLIT_NAMES, "": -1}, missing=-1, unknown=-2)


def targets(column: Column) -> np.ndarray:
    """int8[n]: 1 chosen, 0 rejected, -1 neither (missing, too)."""
    return _words(column, {"chosen": 1, "rejected": 0}, missing=-1, unknown=-1)


def _words(column: Column, meaning: dict[str, int], missing: int, unknown: int) -> np.ndarray:
    def number(value: object) -> int:
        text = _id_text(value)
        if text is None:
            return missing
        return meaning.get(text.strip().lower(), unknown) if isinstance(text, str) else unknown

    if isinstance(column, list):
        return np.array([number(v) for v in column], np.int8)
    codes, values = distinct_texts(column)
    return np.array([*map(number, values), missing], np.int8)[codes]

"""The small tables beside the judgements - what was judged, and who judged it - looked up by id."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.core import DataError

Record = Mapping[str, Any]

AGE_STARTS = (25, 35, 45)  # few groups, so that each holds enough raters for a verdict
AGE_GROUPS = ("under 25", "25 to 34", "35 to 44", "45 or over")


def by_id(records: Sequence[Record], table: str, key: str, columns: Sequence[str] = ()) -> dict[str, Record]:
    """id → record. table: the file's name without extension, for messages.

    DataError when the column `key` or one of `columns` is not there, when a record has no id, or when two records of one id differ:
    nobody knows which of them was meant. A record that is there twice, word for word, counts once.
    """
    of_id: dict[str, Record] = {}
    for number, record in enumerate(records, 1):
        for column in (key, *columns):
            if column not in record:
                have = ", ".join(record)
                raise DataError(f"there is no column '{column}' (columns: {have})", expected=f"a column '{column}'",
                                remedy="name the column so in the file", file=table)  # fmt: skip
        id_ = "" if record[key] is None else str(record[key])
        if not id_.strip():
            raise DataError(f"record {number} has no '{key}'", expected="an id in every record", remedy="mend or drop it", file=table)
        if of_id.setdefault(id_, record) != record:
            raise DataError(f"two different records of '{key}' {id_[:40]}, the second is record {number}", expected="one record for each id",
                            remedy="drop the one that is not meant", file=table)  # fmt: skip
    return of_id


def word(value: Any) -> str:
    """A cell as text, "" = missing."""
    return "" if value is None else str(value)


def age_group(age: str) -> str:
    """The group of an age in years ("33.0"), "" for what is no number of years from 1 to 120.

    >>> age_group("33.0"), age_group("45"), age_group("unknown")
    ('25 to 34', '45 or over', '')
    """
    try:
        years = float(age)
    except ValueError:
        return ""
    return AGE_GROUPS[bisect(AGE_STARTS, years)] if 1 <= years <= 120 else ""

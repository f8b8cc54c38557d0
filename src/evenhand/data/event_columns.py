"""The columns event, target and twin of a table → Events: what constraints compare, as the data itself says it."""

from __future__ import annotations

import numpy as np

from evenhand.core import DataError, Events, PreferenceData
from evenhand.data.collect import Collector
from evenhand.data.events import BY_HASH, BY_TARGET, SHOWN, by_hash, name_groups


def events_of(c: Collector, data: PreferenceData) -> Events | None:
    """The events of the collected pairs; None where the file has none of the three columns.

    event: the group of a pair, missing or empty = in none. target: the response that is y1; without it, by hash. twin: pairs of one
    value are one question asked about different groups. Raises DataError for rows without a target in a file that has one, and for
    twin sets that cannot be compared. Where bad rows are skipped such sets are unmatched instead, and the rule counts their pairs.
    """
    if not any(c.has(name) for name in ("event", "target", "twin")):
        return None
    names, of_pair = name_groups(c.events.values, c.take("event", -1, np.int32), "values in the column 'event'")
    groups = f"Groups by the column 'event', {len(names)} of them." if names else "No groups: the column 'event' is missing or empty."
    told_target = c.has("target")
    first = _target(c.take("target", -1, np.int8)) if told_target else by_hash(data)
    rule = f"{groups} {BY_TARGET if told_target else BY_HASH}"
    if not c.has("twin"):
        return Events(names, of_pair, first, rule)
    twin = c.take("twin", -1, np.int64)
    line, file = c.take("line", 0, np.int64), c.take("file", 0, np.int32)
    for wrong, found, expected in _faults(data, of_pair, twin, told_target):
        if c.wanted.stop and len(wrong):
            row = wrong[0]
            shown = ", ".join(str(n) for n in line[wrong[:SHOWN]]) + (", …" if len(wrong) > SHOWN else "")
            raise DataError(
                f"{found} ({len(wrong)} such rows, in all: {shown})", expected=expected, remedy="mend the column 'twin'",
                file=c.files[file[row]], line=int(line[row]), column="twin", value=c.twins.values[twin[row]],
            )  # fmt: skip
        if len(wrong):
            twin[wrong] = -1
            rule += f" {len(wrong)} pairs are unmatched: {found}."
    return Events(names, of_pair, first, rule, twin)


def _target(target: np.ndarray) -> np.ndarray:
    """bool[n]. A part of the file that lacks the column altogether is found here; single gaps are faults of their rows."""
    if (target < 0).any():
        raise DataError(
            f"{int((target < 0).sum())} rows lie in a part of the data without the column 'target'",
            expected="the column in all of it or in none", remedy="fill the column in every row", column="target",
        )  # fmt: skip
    return target == 1


def _faults(data: PreferenceData, event: np.ndarray, twin: np.ndarray, told_target: bool) -> list[tuple[np.ndarray, str, str]]:
    """(rows of sets that cannot be compared, what is wrong with them, what is expected), one entry a kind; a row has one kind only."""
    rows = np.flatnonzero(twin >= 0)
    _, first, number, size = np.unique(twin[rows], return_index=True, return_inverse=True, return_counts=True)
    head = rows[first][number]  # the first row of each row's set
    low, high = np.minimum(data.chosen, data.rejected), np.maximum(data.chosen, data.rejected)
    others = (low[rows] != low[head]) | (high[rows] != high[head])
    grouped = np.flatnonzero(event[rows] >= 0)
    keys, times = np.unique(number[grouped] * (int(event.max(initial=0)) + 1) + event[rows][grouped], return_counts=True)
    sets = np.arange(len(size))
    kinds = [
        (np.unique(number[data.user[rows] != data.user[head]]), "the rows of a twin set belong to two users", "sets inside one user"),
        (sets[size == 1], "a twin set has one row only", "two rows or more with one value, or an empty cell"),
        (keys[times > 1] // (int(event.max(initial=0)) + 1), "a twin set names one group twice", "each group once in a set"),
        (
            np.empty(0, np.int64) if told_target else np.unique(number[others]),
            "the responses differ inside a twin set, and no column 'target' says which of them correspond",
            "the column target (chosen or rejected: which response is y1)",
        ),
    ]
    faults, left = [], np.ones(len(size), bool)
    for wrong, sentence, expected in kinds:
        here = np.isin(sets, wrong) & left
        left &= ~here
        faults.append((rows[here[number]], sentence, expected))
    return faults

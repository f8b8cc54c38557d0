"""The order in which pairs are counted: users by their ids, texts by themselves, a user's pairs by what they say.

A set of pairs has one such order, however its file or files were written, so that no number of a report hangs on it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from evenhand.core import Judgements, PreferenceData
from evenhand.data.ballots import MOST


def canonical(data: PreferenceData) -> PreferenceData:
    """The data with users in the order of their ids, texts in the order of the texts (by code points), and rows by user and then by prompt, chosen,
    rejected, tie, weight, split, numbers (by the sorted names) and event; reasons of exclusions by their names.

    Rows that are equal in all of these are the same whichever comes first, but for the sets of matched pairs that they are in: these are
    numbered by their first row. Judgements come in the order of user, prompt, block, split and response; of an item that a user judged
    several times they stay as they are, since the first one counts. Pairs that were drawn from judgements were drawn in the file's order.
    Time: two sorts of integers and one copy; none where all is in order.
    """
    users, texts = sorted_order(data.users), sorted_order(data.texts)
    data = _renumbered(data, users, texts)
    events = data.events
    columns: list[np.ndarray | None] = [data.user, data.prompt, data.chosen, data.rejected, data.tie, data.weight, data.split]
    columns += [data.numbers[name] for name in sorted(data.numbers)]
    columns += [] if events is None else [events.of_pair, events.first, events.copy]
    order = rows_in_order([column for column in columns if column is not None])
    if order is not None:
        data = replace(data.take(order), judgements=data.judgements)
    left = data.exclusions
    by_group = {group: dict(sorted(reasons.items())) for group, reasons in sorted(left.by_group.items())}
    data = replace(data, exclusions=replace(left, reasons=dict(sorted(left.reasons.items())), by_group=by_group))
    if data.events is not None and data.events.twin is not None:
        data = replace(data, events=replace(data.events, twin=_by_first_row(data.events.twin)))
    return data


def sorted_order(names: Sequence[str]) -> np.ndarray | None:
    """Which name comes at each place of the sorted names, int64[names]; None where they are sorted."""
    if all(map(operator.le, names, islice(names, 1, None))):
        return None
    return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)


def places(order: np.ndarray) -> np.ndarray:
    """At which place of the sorted names each name comes, int32[names + 1]; the last one answers for -1."""
    place = np.full(len(order) + 1, -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place


def rows_in_order(columns: Sequence[np.ndarray]) -> np.ndarray | None:
    """Rows sorted by the first column, then by the second, and so on, int64[n]; None where they are. Integers are -1 or above.

    Integer columns at the front make one key as long as they fit; the others are looked at only where rows are equal so far.
    """
    key, size, used = np.zeros(len(columns[0]), np.int64), 1, 0
    for column in columns:
        width = int(column.max(initial=-1)) + 2 if column.dtype.kind in "ib" else MOST
        if size * width >= MOST:
            break
        key *= width
        key += column
        key += 1
        size, used = size * width, used + 1
    ahead = key[1:] >= key[:-1]
    order = np.arange(len(key)) if ahead.all() else np.argsort(key, kind="stable" if ahead.mean() > 0.9 else None)
    starts = np.diff(key[order], prepend=-1) > 0
    for column in columns[used:]:
        rows = np.flatnonzero(~(starts & np.append(starts[1:], True)))
        if not len(rows):
            break
        distinct, rank = np.unique(column[order[rows]], return_inverse=True)
        within = np.cumsum(starts[rows]) * len(distinct) + rank  # a run of equal rows stays where it is
        new = np.argsort(within, kind="stable")
        order[rows] = order[rows][new]
        starts[rows] |= np.diff(within[new], prepend=-1) > 0
    return None if (order[1:] > order[:-1]).all() else order


def _renumbered(data: PreferenceData, users: np.ndarray | None, texts: np.ndarray | None) -> PreferenceData:
    """With users and texts in these orders."""
    changed: dict[str, Any] = {}
    judged: dict[str, Any] = {}
    if users is not None:
        place, of = places(users), users.tolist()
        changed |= {"users": [data.users[i] for i in of], "user": place[data.user]}
        changed["attributes"] = {name: [values[i] for i in of] for name, values in data.attributes.items()}
        judged |= {} if data.judgements is None else {"user": place[data.judgements.user]}
    if texts is not None:
        place = places(texts)
        changed |= {"texts": [data.texts[i] for i in texts.tolist()]}
        changed |= {name: place[getattr(data, name)] for name in ("prompt", "chosen", "rejected")}
        judged |= {} if data.judgements is None else {name: place[getattr(data.judgements, name)] for name in ("prompt", "response")}
    if data.judgements is not None:
        changed["judgements"] = _judgements(replace(data.judgements, **judged))
    return replace(data, **changed) if changed else data


def _judgements(rows: Judgements) -> Judgements:
    """Blocks are numbered by the first of their judgements, by user, prompt, response and score."""
    first = rows_in_order([rows.user, rows.prompt, rows.response, rows.score])
    block = _by_first_row(rows.block if first is None else rows.block[first])
    if first is not None:
        block = block[np.argsort(first)]
    order = rows_in_order([rows.user, rows.prompt, block, rows.split, rows.response, np.arange(len(rows))])
    if order is None:
        return replace(rows, block=block)
    return replace(
        rows, user=rows.user[order], prompt=rows.prompt[order], block=block[order], split=rows.split[order], response=rows.response[order],
        score=rows.score[order], numbers={name: values[order] for name, values in rows.numbers.items()},
    )  # fmt: skip


def _by_first_row(sets: np.ndarray) -> np.ndarray:
    """Sets numbered by the first row of each; -1 stays."""
    rows = np.flatnonzero(sets >= 0)
    _, first, number = np.unique(sets[rows], return_index=True, return_inverse=True)
    out = sets.copy()
    out[rows] = np.argsort(np.argsort(first))[number]
    return out

"""Collected rows → PreferenceData: judgements are paired, values that no row uses any more are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evenhand.core import PreferenceData
from evenhand.data.collect import Collector
from evenhand.data.event_columns import told
from evenhand.data.pairing import Judgements
from evenhand.data.source import Pairing

TEXT_COLUMNS = ("prompt", "chosen", "rejected")


def pairs(c: Collector) -> PreferenceData:
    """The collected rows are pairs."""
    data = _data(
        c, c.take("user", 0, np.int32), {name: c.take(name, -1, np.int32) for name in TEXT_COLUMNS},
        weight=c.take("weight", 1, np.float32) if c.has("weight") else None,
        tie=c.take("tie", 0, np.bool_) if c.has("tie") else None,
        split=c.take("split", -1, np.int8) if c.has("split") else None,
        numbers={name: c.take(name, np.nan, np.float64) for name in c.wanted.numbers},
    )  # fmt: skip
    return replace(data, events=told(c, data)) if len(data) else data


def judged(c: Collector, pairing: Pairing, seed: int) -> PreferenceData:
    """The collected rows are judgements: pair them, and count those that are in no pair."""
    ids = {name: c.take(name, -1, np.int32) for name in ("user", "prompt", "block", "response")}
    has_split = c.has("split")
    split = c.take("split", -1, np.int8)
    drawn = pairing(Judgements(**ids, split=split, score=c.take("score", np.nan, np.float64)), np.random.default_rng(seed))
    line, file = c.take("line", 0, np.int64), c.take("file", 0, np.int32)
    for reason, rows in drawn.left_out.items():
        for number in np.unique(file[rows]):
            here = rows[file[rows] == number]
            c.ledger.exclude(c.files[number], reason, line[here])
            c.attributes.lose(reason, ids["user"][here])
    numbers: dict[str, np.ndarray] = {}
    for name in c.wanted.numbers:
        values = c.take(name, np.nan, np.float64)
        numbers |= {f"{name}_chosen": values[drawn.better], f"{name}_rejected": values[drawn.worse]}
    texts = {"prompt": ids["prompt"][drawn.better], "chosen": ids["response"][drawn.better], "rejected": ids["response"][drawn.worse]}
    return _data(
        c, ids["user"][drawn.better], texts, weight=None, tie=drawn.tie if drawn.tie.any() else None,
        split=split[drawn.better] if has_split else None, numbers=numbers,
    )  # fmt: skip


def _data(
    c: Collector, user: np.ndarray, texts: dict[str, np.ndarray], *, weight: np.ndarray | None, tie: np.ndarray | None,
    split: np.ndarray | None, numbers: dict[str, np.ndarray],
) -> PreferenceData:  # fmt: skip
    users, (user,) = _compact(c.users.values, [user])
    kept, (prompt, chosen, rejected) = _compact(c.texts.values, [texts[name] for name in TEXT_COLUMNS])
    return PreferenceData(
        users=[c.users.values[u] for u in users], texts=[c.texts.values[t] for t in kept], user=user, prompt=prompt,
        chosen=chosen, rejected=rejected, weight=weight, tie=tie, split=split, numbers=numbers, attributes=c.attributes.values(users),
    )  # fmt: skip


def _compact(values: Sequence[str], columns: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The numbers of the values that a column uses, in order, and the columns renumbered; -1 stays."""
    used = np.zeros(len(values) + 1, bool)
    for column in columns:
        used[column] = True  # -1 falls on the spare last place
    numbers = np.flatnonzero(used[:-1])
    if len(numbers) == len(values):
        return numbers, columns
    place = np.append(np.cumsum(used[:-1], dtype=np.int32) - 1, np.int32(-1)).astype(np.int32)
    return numbers, [place[column] for column in columns]

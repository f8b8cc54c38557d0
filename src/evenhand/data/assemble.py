"""Collected rows → PreferenceData: judgements are paired, values that no row uses any more are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evenhand.core import Exclusions, Judgements, PreferenceData
from evenhand.data.collect import Collector
from evenhand.data.event_columns import events_of
from evenhand.data.pairing import Drawn
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
    return replace(data, events=events_of(c, data)) if len(data) else data


def judged(c: Collector, pairing: Pairing, seed: int) -> PreferenceData:
    """The collected rows are judgements: pair them, and count those that are in no pair. Without a split of their own the judgements of
    users who have a pair stay with the data, so that a split can draw pairs inside its parts.
    """
    ids = {name: c.take(name, -1, np.int32) for name in ("user", "prompt", "block", "response")}
    has_split = c.has("split")
    split = c.take("split", -1, np.int8)
    numbers = {name: c.take(name, np.nan, np.float64) for name in c.wanted.numbers}
    score = c.take("score", np.nan, np.float64)
    line, file = c.take("line", 0, np.int64), c.take("file", 0, np.int32)
    rows = Judgements(ids["user"], ids["prompt"], ids["block"], split, ids["response"], score, numbers, pairing)
    drawn = pairing(rows, np.random.default_rng(seed))
    paired = np.zeros(len(c.users.values), bool)
    paired[rows.user[drawn.better]] = True

    def leave_out(of_paired: bool) -> None:
        for reason, left in drawn.left_out.items():
            left = left[paired[rows.user[left]] == of_paired]
            for number in np.unique(file[left]):
                here = left[file[left] == number]
                c.ledger.exclude(c.files[number], reason, line[here])
                c.attributes.lose(reason, rows.user[here])

    leave_out(False)
    read = c.ledger.exclusions(c.attributes.lost())
    leave_out(True)
    if has_split and (split >= 0).any():
        texts = [rows.prompt[drawn.better], rows.response[drawn.better], rows.response[drawn.worse]]
        users, (user,) = _compact(c.users.values, [rows.user[drawn.better]])
        kept, (prompt, chosen, rejected) = _compact(c.texts.values, texts)
        known = None
    else:
        ours = np.flatnonzero(paired[rows.user])
        place = np.cumsum(paired[rows.user]) - 1
        drawn = Drawn(place[drawn.better], place[drawn.worse], drawn.tie, {})
        split, numbers = split[ours], {name: values[ours] for name, values in numbers.items()}
        users, (user_of,) = _compact(c.users.values, [rows.user[ours]])
        kept, (prompt_of, response) = _compact(c.texts.values, [rows.prompt[ours], rows.response[ours]])
        known = Judgements(user_of, prompt_of, rows.block[ours], split, response, rows.score[ours], numbers, pairing, read)
        user, prompt, chosen, rejected = user_of[drawn.better], prompt_of[drawn.better], response[drawn.better], response[drawn.worse]
    return PreferenceData(
        users=[c.users.values[u] for u in users], texts=[c.texts.values[t] for t in kept], user=user, prompt=prompt, chosen=chosen,
        rejected=rejected, tie=drawn.tie if drawn.tie.any() else None, split=split[drawn.better] if known is None else None,
        numbers=_sides(numbers, drawn), attributes=c.attributes.values(users), judgements=known,
    )  # fmt: skip


def redrawn(data: PreferenceData, part: np.ndarray, rng: np.random.Generator) -> tuple[PreferenceData, np.ndarray]:
    """(the data with pairs drawn anew inside the parts, each pair's part int8[pairs]). part int8[judgements]; users and texts keep their
    numbers. Raises no error where nothing can be drawn: there are then no pairs.
    """
    rows = data.judgements
    assert rows is not None
    assert rows.pairing is not None
    drawn: Drawn = rows.pairing(replace(rows, split=part), rng)
    counts = {reason: len(left) for reason, left in drawn.left_out.items() if len(left)}
    by_group = {group: dict(lost) for group, lost in rows.exclusions.by_group.items()}
    for name, values in data.attributes.items():
        for reason, left in drawn.left_out.items():
            distinct, number = np.unique([values[u] for u in rows.user[left]], return_counts=True)
            for value, count in zip(distinct.tolist(), number.tolist()):
                lost = by_group.setdefault(f"{name}={value}" if value else f"{name} unknown", {})
                lost[reason] = lost.get(reason, 0) + count
    reasons = dict(rows.exclusions.reasons)
    for reason, count in counts.items():
        reasons[reason] = reasons.get(reason, 0) + count
    read = rows.exclusions.rows_in
    return replace(
        data, user=rows.user[drawn.better], prompt=rows.prompt[drawn.better], chosen=rows.response[drawn.better],
        rejected=rows.response[drawn.worse], weight=None, tie=drawn.tie if drawn.tie.any() else None, split=None,
        numbers=_sides(rows.numbers, drawn), exclusions=Exclusions(read, read - sum(reasons.values()), reasons, by_group), judgements=None,
    ), part[drawn.better]  # fmt: skip


def _sides(numbers: Mapping[str, np.ndarray], drawn: Drawn) -> dict[str, np.ndarray]:
    """NAME → NAME_chosen and NAME_rejected."""
    sides = (("chosen", drawn.better), ("rejected", drawn.worse))
    return {f"{name}_{side}": values[rows] for name, values in numbers.items() for side, rows in sides}


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

"""Events: which pairs constraints compare, in which group each of them is, and which of its responses is y1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from evenhand.core import DataError, Events, Groups, Notion, PreferenceData
from evenhand.data.groups import MAX_GROUPS
from evenhand.data.mentions import Mentions

SHOWN = 5  # groups or rows named in a message
BY_TARGET = "Pairs are oriented by the column 'target': y1 is the response that it names."
BY_HASH = "Pairs are oriented by hash: y1 is the response whose text has the smaller SHA-256."
BY_MENTION = "Pairs are oriented by mention: y1 is the response that mentions the identity."


def by_hash(data: PreferenceData) -> np.ndarray:
    """bool[n]: the chosen response is y1, the one whose text (UTF-8) has the smaller SHA-256.

    The rule knows neither label nor place: with chosen and rejected exchanged the other value comes out, for the same y1.
    Raises DataError where a pair has no texts.
    """
    used, place = np.unique(np.concatenate([data.chosen, data.rejected]), return_inverse=True)
    if len(used) and used[0] < 0:
        raise DataError(
            f"{int((np.minimum(data.chosen, data.rejected) < 0).sum())} pairs have no texts, so that no rule can orient them",
            expected="the column target (chosen or rejected: which response is y1), or the texts of both responses",
            remedy="add the column, or rename the column event if it means something else",
        )
    digests = b"".join(hashlib.sha256(data.texts[t].encode()).digest() for t in used)
    words = np.frombuffer(digests, ">u8").reshape(-1, 4)
    rank = np.empty(len(used), np.int64)
    rank[np.lexsort(words.T[::-1])] = np.arange(len(used))
    chosen, rejected = rank[place].reshape(2, -1)
    return chosen < rejected


def from_groups(data: PreferenceData, groups: Groups) -> Events:
    """The event of a pair is its user's group. Orientation and matched sets are the data's own; without one, orientation is by hash."""
    first, orientation, twin = _brought(data)
    copy = _copies(data)
    of_pair = groups.of_user[data.user].astype(np.int16)
    return Events(groups.names, _but(of_pair, copy), first, f"{groups.rule} {orientation}", twin, copy)


def from_mentions(data: PreferenceData, terms: Mentions) -> Events:
    """Pairs of a response that mentions one identity against one that mentions none.

    y1 is the response with the mention and its identity the event, whichever was chosen. All other pairs are in no event (-1) and keep
    their orientation: two responses with mentions, none, or one response with several. A matched set of which this turns some pairs but
    not all is taken apart, since y1 would no longer mean the same in it. The rule tells the counts.
    """
    first, _, twin = _brought(data)
    used, place = np.unique(np.concatenate([data.chosen, data.rejected]), return_inverse=True)
    mentioned = terms.find([data.texts[t] if t >= 0 else "" for t in used])
    several = mentioned.sum(axis=1) > 1
    identity = np.where(several, -2, np.where(mentioned.any(axis=1), mentioned.argmax(axis=1), -1))  # -1 none, -2 two or more
    chosen, rejected = identity[place].reshape(2, -1)
    of_pair = np.where((chosen >= 0) & (rejected == -1), chosen, np.where((rejected >= 0) & (chosen == -1), rejected, -1))
    turned = np.where(of_pair >= 0, chosen >= 0, first)
    counts = ", ".join(
        f"{name} {int((identity == i).sum()):,} responses in {int((of_pair == i).sum()):,} pairs" for i, name in enumerate(terms.names)
    )
    rule = (
        f"Identities that exactly one response of a pair mentions, by the terms of {terms.file}: {counts}; "
        f"{int((identity[used >= 0] == -1).sum()):,} responses mention none, {int(several.sum()):,} mention two or more and are in no event. "
        f"{BY_MENTION}"
    )
    if twin is not None:
        twin, apart = _in_step(twin, turned != first)
        rule += f" {apart} pairs of matched sets are unmatched, since y1 would differ in meaning." if apart else ""
    copy = _copies(data)
    return Events(terms.names, _but(of_pair.astype(np.int16), copy), turned, rule, twin, copy)


def name_groups(values: Sequence[str], number: np.ndarray, what: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The values that occur, sorted, and the place of each row's value among them int16[n]; a number below 0 is -1."""
    names = tuple(sorted({values[i] for i in np.unique(number[number >= 0])}))
    check_count(len(names), what)
    place = {name: i for i, name in enumerate(names)}
    return names, np.array([*(place.get(v, -1) for v in values), -1], np.int16)[np.maximum(number, -1)]


def check_count(count: int, what: str) -> None:
    """Raises DataError when there are more groups than an event number can hold."""
    if count > MAX_GROUPS:
        remedy = "choose a coarser grouping, or rename the column if it means something else"
        raise DataError(f"{count} {what}", expected=f"at most {MAX_GROUPS} groups", remedy=remedy)


def _brought(data: PreferenceData) -> tuple[np.ndarray, str, np.ndarray | None]:
    """The orientation that the data brought along, the sentence about it, and the matched sets; by hash where it brought none."""
    if data.events is None:
        return by_hash(data), BY_HASH, None
    sentence = next((s for s in (BY_TARGET, BY_MENTION) if s in data.events.rule), BY_HASH)
    return data.events.first, sentence, data.events.twin


def _copies(data: PreferenceData) -> np.ndarray | None:
    return None if data.events is None else data.events.copy


def _but(of_pair: np.ndarray, copy: np.ndarray | None) -> np.ndarray:
    """Without counterfactual copies, which nobody judged: they are in matched sets alone."""
    return of_pair if copy is None else np.where(copy, np.int16(-1), of_pair)


def _in_step(twin: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, int]:
    """The sets of which all pairs were turned or none, and how many pairs the others had."""
    rows = np.flatnonzero(twin >= 0)
    sets, number, size = np.unique(twin[rows], return_inverse=True, return_counts=True)
    count = np.bincount(number, turned[rows], minlength=len(sets))
    apart = rows[((count > 0) & (count < size))[number]]
    kept = twin.copy()
    kept[apart] = -1
    return kept, len(apart)


def refuse_coin(events: Events, notion: Notion) -> None:
    """Raises DataError for demographic parity where y1 means nothing.

    A hash deals y1 like a coin, so that the rate of preferring y1 is near one half in every event, whatever the model does: one that is
    right on all pairs of one group and wrong on all of another's has no gap at all. Within a label (eo) the rate is the accuracy (label 1)
    or one less it (label 0), so that equalized odds by hash asks for equal accuracy; within a matched set (cf) y1 is the same response.
    """
    if notion == "dp" and BY_HASH in events.rule:
        raise DataError(
            "dp: pairs are oriented by hash, so that y1 is either response by the toss of a coin, its rate is near one half in every group,"
            " and a model that is right on all pairs of one group and wrong on all of another's would pass",
            expected="an orientation that means something: a column target (which response is y1), or a file of terms with --mentions",
            remedy="give one; or hold groups to equal accuracy, by --tolerance or the notion eo",
        )  # fmt: skip


def check_events(events: Events, notion: Notion, *, user: np.ndarray, rows: str, min_pairs: int = 20, min_users: int = 5) -> None:
    """Raises DataError, with groups and counts, where pairs cannot bear a constraint.

    user int[n]: the pairs' users. rows: what these pairs are, for the message, such as "training pairs". dp: two groups or more, each of
    min_pairs pairs and min_users users. eo: the same for each group's pairs of label 0 and of label 1. cf: matched sets of two or more
    pairs, min_pairs of them and min_users users. Fewer say nothing about a rate, and a constraint on it would fit noise. dp by hash: see
    `refuse_coin`.
    """
    refuse_coin(events, notion)
    if notion == "cf":
        _check_sets(events, user, rows, min_pairs, min_users)
        return
    inside = events.of_pair >= 0
    group = events.of_pair[inside].astype(np.int64)
    present = np.unique(group)
    if len(present) < 2:
        where = (
            f"all {len(group):,} {rows} in a group are in '{events.names[present[0]]}'"
            if len(present)
            else f"none of {len(user):,} {rows} is in a group"
        )
        raise DataError(
            f"{notion}: {where}", expected="two groups or more: an attribute that is there and not the same for everybody",
            remedy="check the column, or choose another attribute or file of terms",
        )  # fmt: skip
    cell, names = group, [f"'{name}'" for name in events.names]
    if notion == "eo":
        cell, names = 2 * group + events.first[inside], [f"'{name}' with label {label}" for name in events.names for label in (0, 1)]
    pairs = np.bincount(cell, minlength=len(names))
    voters = np.unique(cell * (int(user.max(initial=0)) + 1) + user[inside]) // (int(user.max(initial=0)) + 1)
    users = np.bincount(voters, minlength=len(names))
    for kind, small in (("no", pairs == 0), ("too few", (pairs < min_pairs) | (users < min_users))):
        if small.any():
            counts = [f"{names[i]} {pairs[i]:,} pairs of {users[i]:,} users" for i in np.flatnonzero(small)]
            shown = "; ".join(counts[:SHOWN]) + (f"; and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
            what = "label 1 = the chosen response is y1" if notion == "eo" else "a group without pairs has no rate"
            raise DataError(
                f"{notion}: {kind} {rows} in: {shown} ({what})", expected=f"{min_pairs} pairs of {min_users} users at least in each",
                remedy="leave the group out, put small groups together" + (", or choose dp" if notion == "eo" else ""),
            )  # fmt: skip


def _check_sets(events: Events, user: np.ndarray, rows: str, min_pairs: int, min_users: int) -> None:
    remedy = "give a column twin (one value for the pairs that differ in the group alone) or a file of swaps, or choose dp or eo"
    sets, start, size = np.unique(events.sets, return_index=True, return_counts=True)
    sets, start, size = sets[sets >= 0], start[sets >= 0], size[sets >= 0]
    if not len(sets):
        raise DataError(f"cf: none of {len(user):,} {rows} is matched", expected="matched sets of two pairs or more", remedy=remedy)
    single = np.sort(start[size < 2])
    if len(single):
        shown = ", ".join(map(str, single[:SHOWN])) + (", …" if len(single) > SHOWN else "")
        raise DataError(
            f"cf: {len(single):,} of {len(sets):,} matched sets have one of the {rows} only (rows {shown}, counted from 0)",
            expected="whole sets: two pairs or more in the same part of the data",
            remedy="put sets into one split whole, or empty their twin cell",
        )  # fmt: skip
    users = len(np.unique(user[start]))
    if len(sets) < min_pairs or users < min_users:
        raise DataError(
            f"cf: too few {rows} are matched: {len(sets):,} sets of {users:,} users",
            expected=f"{min_pairs} sets of {min_users} users at least", remedy="match more pairs, or choose dp or eo",
        )  # fmt: skip

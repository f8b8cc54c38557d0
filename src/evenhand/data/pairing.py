"""Judgements of single items → pairs inside one user's judgements. Pure functions of arrays; the same seed draws the same pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evenhand.core import Judgements

PAIRS_PER_USER = 100  # of one user inside one part; a voter on 200 statements could give 10,000 pairs, nearly all of them repeats
PAIRS_PER_PROMPT = (
    28  # ratings: of one user on one prompt, however many prompts; 8 responses give 28 pairs, so only larger sets are thinned
)

REPEATED = "the same item judged again by the same user"


@dataclass(frozen=True)
class Drawn:
    """Pairs of judgement rows, and the rows that are in no pair, by reason."""

    better: np.ndarray  # int64[m]
    worse: np.ndarray  # int64[m]
    tie: np.ndarray  # bool[m]
    left_out: Mapping[str, np.ndarray]


def by_score(judgements: Judgements, rng: np.random.Generator) -> Drawn:
    """Every two responses that a user rated for one prompt: higher score over lower, equal scores as ties.

    Of more than PAIRS_PER_PROMPT strict pairs - or this prompt's share of PAIRS_PER_USER, if that is more - so many are drawn, every response
    in about as many of them; ties take nothing of that room, and as many of them are kept at most.
    """
    kept, repeated = _once(judgements)
    starts, sizes = _runs(judgements, kept, with_prompt=True)
    room = _room(judgements, kept[starts]) if len(starts) else starts
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes[sizes > 1]):
        here = sizes == size
        rows = kept[starts[here][:, None] + np.arange(size)]  # groups of this size, groups x size
        pairs = size * (size - 1) // 2
        if (room[here] < pairs).any():
            rows = np.where((room[here] < pairs)[:, None], rng.permuted(rows, axis=1), rows)
        for first, second in _drawn(judgements.score, rows, room[here]):
            firsts.append(first)
            seconds.append(second)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    low = judgements.score[first] < judgements.score[second]
    better, worse = np.where(low, second, first), np.where(low, first, second)
    tie = judgements.score[better] == judgements.score[worse]
    better, worse = np.where(tie, np.minimum(better, worse), better), np.where(tie, np.maximum(better, worse), worse)
    order = np.lexsort((worse, better, judgements.user[better]))
    better, worse = better[order], worse[order]
    alone = np.repeat(sizes == 1, sizes)
    thinned = f"beyond {PAIRS_PER_PROMPT} pairs of one user and prompt, and {PAIRS_PER_USER} of one user"
    left_out = {REPEATED: repeated, "the only rating of this user and prompt": kept[alone], thinned: _unused(kept[~alone], better, worse)}
    return Drawn(better, worse, tie[order], left_out)


def _room(judgements: Judgements, firsts: np.ndarray) -> np.ndarray:
    """The strict pairs that each run of one user, prompt, block and split may give, int64[runs]. firsts: a row of each run."""
    owners = judgements.user[firsts].astype(np.int64) * 256 + judgements.split[firsts] + 1
    _, owner, runs = np.unique(owners, return_inverse=True, return_counts=True)
    return np.maximum(PAIRS_PER_PROMPT, PAIRS_PER_USER // runs[owner])


def _drawn(score: np.ndarray, rows: np.ndarray, room: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of the rows of each group, rows [groups, size]: neighbours first, then every second, …: each row equally often.

    Until each group has `room` [groups] strict ones; ties on the way are kept up to as many.
    """
    groups, size = rows.shape
    strict, ties = np.zeros((2, groups, 1), np.int64)
    for step in range(1, size // 2 + 1):
        places = np.arange(size if 2 * step < size else size // 2)
        first, second = rows[:, places], rows[:, (places + step) % size]
        differs = score[first] != score[second]
        so_far, so_tied = strict + differs.cumsum(axis=1), ties + (~differs).cumsum(axis=1)
        taken = np.where(differs, so_far, so_tied) <= room[:, None]
        yield first[taken], second[taken]
        strict, ties = so_far[:, -1:], so_tied[:, -1:]
        if (strict[:, 0] >= room).all():
            return


def by_vote(judgements: Judgements, rng: np.random.Generator) -> Drawn:
    """Items that a user agreed with (score > 0) over items that he or she disagreed with (< 0), under one prompt.

    At most PAIRS_PER_USER pairs of a user inside a split, spread evenly over prompts and, inside a prompt, over items.
    """
    kept, repeated = _once(judgements)
    passed = judgements.score[kept] == 0
    strict = kept[~passed]
    better, worse = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    one_sided = [np.empty(0, np.int64)]
    for topics in _by_user(judgements, strict):
        sides = [(rows[judgements.score[rows] > 0], rows[judgements.score[rows] < 0]) for rows in topics]
        one_sided += [np.concatenate(side) for side in sides if not all(map(len, side))]
        for agreed, disagreed, count in _shares([s for s in sides if all(map(len, s))]):
            first, second = _grid(len(agreed), len(disagreed), count)
            better.append(rng.permutation(agreed)[first])
            worse.append(rng.permutation(disagreed)[second])
    over, under, lone = np.concatenate(better), np.concatenate(worse), np.concatenate(one_sided)
    in_pairs = np.setdiff1d(strict, lone, assume_unique=True)
    left_out = {
        REPEATED: repeated,
        "a vote that neither agrees nor disagrees": kept[passed],
        "no opposite vote of this user under this prompt": np.sort(lone),
        f"beyond {PAIRS_PER_USER} pairs of one user": _unused(in_pairs, over, under),
    }
    return Drawn(over, under, np.zeros(len(over), bool), left_out)


def _shares(sides: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """How many of a user's pairs each prompt gives: as even as its votes allow, PAIRS_PER_USER in all."""
    left = PAIRS_PER_USER
    for done, (agreed, disagreed) in enumerate(sorted(sides, key=lambda s: len(s[0]) * len(s[1]))):
        count = min(len(agreed) * len(disagreed), -(-left // (len(sides) - done)))
        left -= count
        if count:
            yield agreed, disagreed, count


def _grid(rows: int, columns: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` different cells of a rows x columns grid along its diagonals: every row and column about equally often."""
    p = np.arange(count)
    return p % rows, (p + p // np.lcm(rows, columns)) % columns


def _once(judgements: Judgements) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order (user, prompt, block, split, row) without repeats, and the repeated rows; the first one counts."""
    rows = np.arange(len(judgements))
    order = np.lexsort((rows, judgements.response, judgements.split, judgements.block, judgements.prompt, judgements.user))
    again = np.zeros(len(order), bool)
    again[1:] = np.all([k[order][1:] == k[order][:-1] for k in (*_key(judgements), judgements.response)], axis=0)
    keep = np.ones(len(judgements), bool)
    keep[order[again]] = False
    kept = np.flatnonzero(keep)
    return kept[np.lexsort((kept, *(k[kept] for k in reversed(_key(judgements)))))], np.sort(order[again])


def _key(judgements: Judgements) -> tuple[np.ndarray, ...]:
    return judgements.user, judgements.prompt, judgements.block, judgements.split


def _runs(judgements: Judgements, rows: np.ndarray, with_prompt: bool) -> tuple[np.ndarray, np.ndarray]:
    """Starts and sizes of the runs of rows with one key (or of one user)."""
    keys = _key(judgements) if with_prompt else (judgements.user,)
    change = np.ones(len(rows), bool)
    change[1:] = np.any([k[rows][1:] != k[rows][:-1] for k in keys], axis=0)
    starts = np.flatnonzero(change)
    return starts, np.diff(np.append(starts, len(rows)))


def _by_user(judgements: Judgements, rows: np.ndarray) -> Iterator[list[np.ndarray]]:
    """For each user and split the rows of each prompt."""
    starts, sizes = _runs(judgements, rows, with_prompt=True)
    topics = [rows[a : a + n] for a, n in zip(starts, sizes)]
    owners: dict[tuple[int, int], list[np.ndarray]] = {}
    for topic in topics:
        owners.setdefault((int(judgements.user[topic[0]]), int(judgements.split[topic[0]])), []).append(topic)
    yield from owners.values()


def _unused(rows: np.ndarray, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    return np.setdiff1d(rows, np.concatenate([better, worse]))

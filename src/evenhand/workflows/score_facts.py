"""What is odd about score columns themselves, counted for the report: ties of the scores, their scale, and scores that no reward of the text could be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.core import TIE
from evenhand.data.batches import Judged, PairBatches, batches_of
from evenhand.data.votes import has_texts, runs
from evenhand.workflows.score_columns import margins_of

EQUAL_SCORES, SEVERAL_SCORES, ONE_SIDE = "equal scores", "one text, several scores", "scores of one response"  # names of the facts
SMALL, LARGE = "scale of the scores, small", "scale of the scores, large"
CHOSEN, REJECTED, MARGINS = ("chosen", "winner", "preferred"), ("rejected", "loser", "dispreferred"), ("margin", "diff", "minus")
EQUAL, DIFFERENT = 0.5, 0.01  # shares from which it is said
CLEAR = 1_000 * TIE  # most margins are as large, unless the scores are of a small scale
SINGLE = 4 * 2.0**-23  # of a reward's size: what float32 rounds a sum of some terms by
ROUNDED = 1e-4  # of a score: float32 sums differ by some 1e-6 with the texts beside, more where terms cancel


def score_facts(data: Judged, scores: Sequence[str]) -> dict[str, str]:
    """Name → sentence, for the report's facts; nothing where nothing is odd. scores: as `margins_of` takes them."""
    batches = batches_of(data)
    notes, equal, tiny, rough, clear, low, high = {}, 0, 0, 0, 0, np.inf, -np.inf
    for batch in batches:
        margin = margins_of(batch, scores)
        equal += int((margin == 0).sum())
        apart = np.abs(margin)
        rounding = SINGLE * np.max([np.abs(batch.numbers[name]) for name in scores], axis=0) if len(scores) == 2 else 0.0
        tiny += int(((apart > rounding) & (apart < TIE)).sum())  # equal rewards that float32 tells apart are ties at any scale
        clear += int((apart >= CLEAR).sum())
        rough += int(((apart >= TIE) & (apart <= rounding)).sum())
        low, high = min(low, margin.min(initial=np.inf)), max(high, margin.max(initial=-np.inf))
    if len(batches) and (share := equal / len(batches)) >= EQUAL:
        notes[EQUAL_SCORES] = (
            f"{equal:,} of {len(batches):,} pairs ({share:.1%}) have the same score on both sides: accuracy is near one half there, "
            "and gaps between groups shrink with it."
        )
    if tiny and tiny >= DIFFERENT * len(batches) and 2 * clear < len(batches) - equal:  # else they are the rounding of equal rewards
        notes[SMALL] = (
            f"{tiny:,} of {len(batches):,} margins ({tiny / len(batches):.1%}) are not 0 but under {TIE:g}, and so count as ties. Multiply scores of so small "
            "a scale by a constant first: it changes no order."
        )
    if rough and rough >= DIFFERENT * len(batches):
        notes[LARGE] = (
            f"{rough:,} of {len(batches):,} margins ({rough / len(batches):.1%}) are no larger than what sums in single precision are rounded by at rewards of this size, and "
            "count as decided all the same. If the model scores in float32, take what all its rewards have in common out of them, or score in float64."
        )
    if len(scores) == 1 and (why := _one_side(scores[0], low, high)):
        notes[ONE_SIDE] = (
            f"One column of scores, {scores[0]}, {why}. Are these margins, or the rewards of one response alone? Then every accuracy here means "
            "nothing: name both, --scores reward_chosen,reward_rejected."
        )
    if len(scores) == 2 and len(batches.ballots):
        everybody, by_user = _several(batches, scores)
        if by_user[0] >= max(1, DIFFERENT * by_user[1]):
            notes[SEVERAL_SCORES] = (
                f"{by_user[0]:,} of {by_user[1]:,} responses that were scored more than once for one user and prompt have several scores: "
                "the scores depend on more than user, prompt and response."
            )
        elif everybody[0] >= max(1, DIFFERENT * everybody[1]):
            notes[SEVERAL_SCORES] = (
                f"{everybody[0]:,} of {everybody[1]:,} responses that were scored more than once for one prompt have several scores: "
                "the model is personalised, or its scores depend on more than the text."
            )
    return notes


def _one_side(name: str, low: float, high: float) -> str:
    """Why a column may hold rewards of one response of each pair, "" = nothing says so. low, high: the smallest and the largest margin."""
    lower = name.lower()
    if any(word in lower for word in MARGINS):
        return ""
    if any(c in lower for c in (*CHOSEN, *REJECTED)):
        return "is named after one response of the pair"
    return "is above 0 in every pair" if 0 < low < high else ""


def _several(batches: PairBatches, scores: Sequence[str]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Twice (those that have different rewards, those that occur more than once): of responses under a prompt, and of such of one user."""
    first, second, items = batches.ballots.items
    low, high, count = np.full(items, np.inf), np.full(items, -np.inf), np.zeros(items, np.int64)
    by_user = np.zeros(2, np.int64)
    for batch in batches:
        known = has_texts(batch)
        pairs = batch if known.all() else batch.take(known)
        ballot, turned = batches.ballots.of(pairs), pairs.chosen > pairs.rejected
        item = np.stack([np.where(turned, second[ballot], first[ballot]), np.where(turned, first[ballot], second[ballot])], axis=1).ravel()
        reward = np.stack([pairs.numbers[name] for name in scores], axis=1).ravel()
        np.minimum.at(low, item, reward)
        np.maximum.at(high, item, reward)
        count += np.bincount(item, minlength=items)
        order, start = runs(np.repeat(pairs.user, 2), item, items)
        if len(order):
            several = np.diff(start, append=len(order)) > 1
            differs = _apart(np.minimum.reduceat(reward[order], start), np.maximum.reduceat(reward[order], start))
            by_user += (several & differs).sum(), several.sum()
    return (int(((count > 1) & _apart(low, high)).sum()), int((count > 1).sum())), (int(by_user[0]), int(by_user[1]))


def _apart(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether two scores are several: by more than what one score is rounded by in one batch or another."""
    return np.asarray(high - low > ROUNDED * np.maximum(np.abs(low), np.abs(high)))

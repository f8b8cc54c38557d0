"""What is odd about score columns themselves, counted for the report: ties of the scores, and scores that no reward of the text could be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.core import PreferenceData
from evenhand.data.votes import has_texts, number_rows

EQUAL_SCORES, SEVERAL_SCORES, ONE_SIDE = "equal scores", "one text, several scores", "scores of one response"  # names of the facts
CHOSEN, REJECTED, MARGINS = ("chosen", "winner", "preferred"), ("rejected", "loser", "dispreferred"), ("margin", "diff", "minus")
EQUAL, DIFFERENT = 0.5, 0.01  # shares from which it is said


def score_facts(data: PreferenceData, scores: Sequence[str], margin: np.ndarray) -> dict[str, str]:
    """Name → sentence, for the report's facts; nothing where nothing is odd. margin float[n]: chosen minus rejected."""
    notes = {}
    if (equal := float((margin == 0).mean())) >= EQUAL:
        notes[EQUAL_SCORES] = (
            f"{int((margin == 0).sum()):,} of {len(data):,} pairs ({equal:.1%}) have the same score on both sides: accuracy is near one half there, "
            "and gaps between groups shrink with it."
        )
    if len(scores) == 1 and (why := _one_side(scores[0], margin)):
        notes[ONE_SIDE] = (
            f"One column of scores, {scores[0]}, {why}. Are these margins, or the rewards of one response alone? Then every accuracy here means "
            "nothing: name both, --scores reward_chosen,reward_rejected."
        )
    texts = has_texts(data)
    if len(scores) == 2 and texts.any():
        rows = data.take(texts)
        reward = np.concatenate([data.numbers[name][texts] for name in scores])
        text = np.concatenate([rows.chosen, rows.rejected])
        user, prompt = np.tile(rows.user, 2), np.tile(rows.prompt, 2)
        everybody, by_user = _several(reward, prompt, text), _several(reward, user, prompt, text)
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


def _one_side(name: str, margin: np.ndarray) -> str:
    """Why a column may hold rewards of one response of each pair, "" = nothing says so."""
    low = name.lower()
    if any(word in low for word in MARGINS):
        return ""
    if any(c in low for c in (*CHOSEN, *REJECTED)):
        return "is named after one response of the pair"
    if not len(margin) or margin.min() == margin.max():
        return ""
    return "is above 0 in every pair" if (margin > 0).all() else ""


def _several(reward: np.ndarray, *keys: np.ndarray) -> tuple[int, int]:
    """(combinations of keys that have different rewards, combinations that occur more than once)."""
    number, count = number_rows(*keys)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, number, reward)
    np.maximum.at(high, number, reward)
    repeated = np.bincount(number, minlength=count) > 1
    return int((repeated & (low < high)).sum()), int(repeated.sum())

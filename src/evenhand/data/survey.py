"""What one look at all pairs tells: who judged how many, which texts are what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evenhand.core import SPLITS, PreferenceData
from evenhand.data.votes import has_texts, is_strict


@dataclass(frozen=True)
class Survey:
    """Counts over users and texts."""

    pairs: np.ndarray  # int64[users]
    strict: np.ndarray  # int64[users]: pairs that prefer one of two responses
    prompts: np.ndarray  # bool[texts]: the prompt of a pair
    chosen: np.ndarray  # bool[texts]
    responses: np.ndarray  # bool[texts]: in a pair of which both responses are known
    without_prompt: int  # pairs
    without_chosen: int
    without_texts: int  # pairs of which a response is not known
    parts: np.ndarray  # int64[parts + 1]: pairs in each of SPLITS by a split column, those in none last
    matched: bool  # there are matched sets


def survey(batches: Iterable[PreferenceData], users: int, texts: int) -> Survey:
    """One pass over the batches."""
    pairs, strict = np.zeros((2, users), np.int64)
    prompts, chosen, responses = np.zeros((3, texts + 1), bool)  # the last one answers for -1
    parts = np.zeros(len(SPLITS) + 1, np.int64)
    without_prompt = without_chosen = without_texts = 0
    matched = False
    for batch in batches:
        add_by_user(pairs, batch.user)
        add_by_user(strict, batch.user[is_strict(batch)])
        prompts[batch.prompt] = True
        chosen[batch.chosen] = True
        known = has_texts(batch)
        whole = bool(known.all())
        responses[batch.chosen if whole else batch.chosen[known]] = True
        responses[batch.rejected if whole else batch.rejected[known]] = True
        without_prompt += int((batch.prompt < 0).sum())
        without_chosen += int((batch.chosen < 0).sum())
        without_texts += 0 if whole else int((~known).sum())
        parts += [0] * len(SPLITS) + [len(batch)] if batch.split is None else np.bincount(batch.split % len(parts), minlength=len(parts))
        twin = None if batch.events is None else batch.events.twin
        matched |= twin is not None and bool((twin >= 0).any())
    return Survey(pairs, strict, prompts[:-1], chosen[:-1], responses[:-1], without_prompt, without_chosen, without_texts, parts, matched)


def add_by_user(total: np.ndarray, user: np.ndarray, values: np.ndarray | None = None) -> None:
    """Adds to total [users] how often each user occurs in user int[n], or the sum of his or her values [n]; in the order of rows."""
    if len(user):
        first, last = int(user.min()), int(user.max())
        total[first : last + 1] += np.bincount(user - first, values)  # a batch holds a few of many users

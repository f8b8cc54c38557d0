"""Who is compared with whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from evenhand.core import DataError, EvenhandError, Events, Groups, PreferenceData
from evenhand.data.batches import Judged, Rows, batches_of
from evenhand.data.events import from_groups
from evenhand.data.groups import by_attribute, by_quantile, by_threshold, intersection
from evenhand.data.support import Support, choose_support
from evenhand.data.votes import has_texts
from evenhand.encode.projection import FeatureMap, Recipe

# Of users' mean directions in words. z-scores would drown the few words that tell tastes apart; half of the usual SVD finds clusters as good.
DIRECTIONS = Recipe(dim=32, svd=128, standardise=False)


@dataclass(frozen=True)
class Grouping:
    """By attributes, else under a support threshold, else the lowest quantile of support.

    Args:
        attributes: columns of the data with one value a user; several: their intersection.
        threshold: Support rate under which a user is in the minority, instead of --minority.
        minority: Share of users with the lowest support called the minority.
    """

    attributes: Sequence[str] = ()
    threshold: float | None = None
    minority: float = 0.2  # share of users called the minority: q of methods.md, section 1

    def __post_init__(self) -> None:
        if not 0 < self.minority < 1:
            raise EvenhandError(f"minority is {self.minority}. Expected: a share of the users, above 0 and under 1. To do: 0.2 is usual.")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise EvenhandError(f"threshold is {self.threshold}. Expected: a support rate from 0 to 1. To do: 0.4 means 40 %.")

    def groups(self, data: Judged, support: Support, pool: np.ndarray | None = None) -> Groups:
        """Each user's group, -1 for none. pool bool[users]: those whose support decides where the lowest quantile ends (default: all)."""
        if self.attributes:
            first, *others = (by_attribute(data, name) for name in self.attributes)
            return intersection(first, *others) if others else first
        return by_threshold(support, self.threshold) if self.threshold is not None else by_quantile(support, self.minority, pool=pool)

    def events(self, data: PreferenceData, groups: Groups) -> Events | None:
        """What constraints compare: the data's own groups of pairs; else users' groups by attributes; else matched sets alone, if any."""
        given = data.events
        if given is not None and given.names:
            return given
        if self.attributes:
            return from_groups(data, groups)
        return given if given is not None and given.twin is not None else None


@dataclass(frozen=True)
class WordDirections:
    """Each user's mean difference of chosen and rejected responses in words (TF-IDF, reduced), where users share neither pairs nor items.

    Words alone, and the words of the whole file: every verb has them, whatever encoder and feature map a model reads, so that all find the
    same clusters in the same pairs. On DSP (120 users, three draws) they tell the four tastes apart no worse than fit's own features do: mean
    adjusted Rand index at 10 pairs a user .47, at 20 .68; with the encoder's vectors in 16 dimensions .31 and .39, in 128 none and .70.
    """

    data: Judged

    @cached_property
    def features(self) -> np.ndarray:
        """float32[texts, d]; 0 for texts that are no response."""
        texts = self.data.texts
        rows = np.flatnonzero(batches_of(self.data).survey.responses)
        out = np.zeros((len(texts), DIRECTIONS.dim), np.float32)
        if len(rows):
            responses = [texts[r] for r in rows.tolist()]
            out[rows] = FeatureMap.fit(responses, None, recipe=DIRECTIONS).apply(responses, None)
        return out

    def __call__(self, data: Judged) -> np.ndarray:
        """float[users, d] over the pairs of `data`, rows of the whole data with the same texts; 0 without any."""
        out = np.zeros((len(data.users), DIRECTIONS.dim))
        for batch in batches_of(data):
            pairs = batch.take(has_texts(batch) if batch.tie is None else has_texts(batch) & ~batch.tie)
            if len(pairs):
                first, last = int(pairs.user.min()), int(pairs.user.max())
                user, shape, ones = pairs.user - first, (last - first + 1, len(self.features)), np.ones(len(pairs), np.float32)
                signs = csr_array((ones, (user, pairs.chosen)), shape) - csr_array((ones, (user, pairs.rejected)), shape)
                out[first : last + 1] = np.asarray(signs @ self.features) / np.maximum(np.bincount(user), 1)[:, None]
        return out


def support_of(
    data: Judged, known: np.ndarray | Rows | None = None, pool: np.ndarray | None = None, whole: PreferenceData | None = None
) -> Support:
    """Every user's support from the pairs `known` bool[n], by the one rule that the file has in every verb.

    known: of batches a function of each, bool[n]. whole: the file's data, where `data` holds other pairs of the same users and texts. pool: see
    `choose_support`.
    """
    return choose_support(data, WordDirections(data if whole is None else whole), known=known, pool=pool, whole=whole)


def check_parted(groups: Groups, seen: np.ndarray, needing: Sequence[str], say: Callable[[str], None]) -> None:
    """Before any training: where users seen in training are in fewer than two groups, DataError if a method needs groups, else `say` it.

    seen bool[users]: those with training pairs. needing: names of the methods asked for that work on groups.
    """
    present = np.unique(groups.of_user[seen])
    if (present >= 0).sum() > 1:
        return
    found = "no user is in a group" if present.max(initial=-1) < 0 else f"all users are in one group, '{groups.names[present[-1]]}'"
    choices = "another share of the users (--minority 0.4), a support rate (--threshold 0.5) or an attribute (--group-by COLUMN)"
    rule = groups.rule.rstrip(".")
    if needing:
        raise DataError(
            f"{found}. {rule}",
            expected=f"two groups or more, for {', '.join(needing)}",
            remedy=f"choose {choices}; --assignments FILE writes every user's support; or --method bradley_terry, which needs no groups",
        )
    say(f"{found[0].upper()}{found[1:]}, so that no group can be compared with another. {rule}. For groups, choose {choices}.")

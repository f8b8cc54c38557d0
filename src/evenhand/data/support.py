"""Preference support: how common each user's tastes are among the other users, in [0, 1].

The *support rate* of Zhao et al. 2026 (arXiv 2606.07988) is named there and not spelt out; the readings S1-S4 below are ours.
All of them are leave-one-out (a user never supports himself or herself) and shrunken (few pairs pull towards one half), and
all are computed on the pairs they are given: pass `data.take(training rows)`. What counts as one vote is said in `votes.py`.

Shrinkage: with k counted pairs of user u and shares s(u, 1) … s(u, k), the support is the mean of a Beta(1/2, 1/2) prior updated
by k trials with s(u, 1) + … + s(u, k) successes, (1/2 + Σ s) / (1 + k). No counted pair: unknown (nan), never one half. Where all users
have the same mean share, k is the median for all: they differ in nothing but their number of pairs.

Cost: a few sorts of the pairs; memory is linear in the pairs, and no matrix of users x users or users x pairs is ever made.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import DataError, PreferenceData
from evenhand.data.clusters import find_clusters
from evenhand.data.votes import Votes, is_strict, item_votes, pair_votes

MIN_OTHERS = 3  # strict others a pair needs before it counts: below that a share is 0, 1/2 or 1 and says little
ENOUGH_USERS = 0.8  # share of users who share enough pairs, or items, that makes a rule usable for a data set
# Enough: training sees about 54 % of the pairs (of 60 % of the prompts) and 80 % of the users (data/splits.py); it should still find 5 with 3 others.
SHARED_PAIRS, SHARED_OTHERS = 9, 4

PAIRS_RULE = (
    f"Support (S1) is the share of other users who agree with the user on a pair, over pairs that at least {MIN_OTHERS} others judged "
    "strictly, averaged over the user's pairs and shrunk by a Beta(1/2, 1/2) prior."
)
MAJORITY_RULE = (
    f"Support (S3) is how often the user sides with the majority of the others, over pairs that at least {MIN_OTHERS} others judged "
    "strictly (an even split counts half), shrunk by a Beta(1/2, 1/2) prior."
)
ITEMS_RULE = (
    f"Support is the share of an item's other raters with the user's label (liked or not), over items with at least {MIN_OTHERS} other "
    "raters, averaged over the user's items and shrunk by a Beta(1/2, 1/2) prior."
)


@dataclass(frozen=True)
class Support:
    """One support rate a user."""

    values: np.ndarray  # float64[users], in (0, 1); nan = unknown
    pairs: np.ndarray  # int64[users]: pairs (S2 and S4: strict pairs; item support: items) behind each value
    rule: str  # how it was computed, one sentence for the report

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> np.ndarray:
        """bool[users]"""
        return ~np.isnan(self.values)


def _agreement(agree: np.ndarray, others: np.ndarray) -> np.ndarray:
    return agree / others


def _majority(agree: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (1 + np.sign(2 * agree - others)) / 2


def _support(votes: Votes, share: Callable[[np.ndarray, np.ndarray], np.ndarray], pool: np.ndarray | None, rule: str) -> Support:
    """The shrunken mean of share(agreeing others, others) over a user's votes with at least 3 others of the pool on the ballot."""
    voting = np.ones(len(votes.user), dtype=bool) if pool is None else pool[votes.user]
    side = votes.ballot * 2 + votes.up
    size = np.bincount(side[voting], minlength=2 * votes.ballots)
    agree = size[side] - voting
    others = agree + size[side ^ 1]
    counted = others >= MIN_OTHERS
    user = votes.user[counted]
    count = np.bincount(user, minlength=votes.users)
    total = np.bincount(user, weights=share(agree[counted], others[counted]), minlength=votes.users)
    mean = total[count > 0] / count[count > 0]
    # Where everybody has the same share, users differ in their number of pairs alone, and shrinkage would call the busier ones the more common.
    alike = len(mean) > 0 and np.ptp(mean) < 1e-9
    size = np.full(votes.users, np.median(count[count > 0])) if alike else count.astype(np.float64)
    values = np.round((0.5 + total / np.maximum(count, 1) * size) / (1 + size), 12)  # equal shares summed in another order stay equal
    return Support(np.where(count > 0, values, np.nan), count, rule)


def pair_support(data: PreferenceData, *, pool: np.ndarray | None = None) -> Support:
    """S1: the share of the other users with a strict preference on a pair who agree with u, averaged over u's pairs, shrunken.

    A pair counts with at least 3 strict others. `pool` bool[users] says who may be among the others (default: everyone): with
    the users seen in training as the pool, a new user's support is read off his or her history alone and moves nobody else's.
    """
    return _support(pair_votes(data), _agreement, pool, PAIRS_RULE)


def majority_support(data: PreferenceData, *, pool: np.ndarray | None = None) -> Support:
    """S3: how often u is on the side of the majority of the other users, shrunken. An even split of the others counts half.

    A pair counts with at least 3 strict others; `pool` as in `pair_support`.
    """
    return _support(pair_votes(data), _majority, pool, MAJORITY_RULE)


def item_support(data: PreferenceData, *, pool: np.ndarray | None = None) -> Support:
    """Single-item support, for votes and sparse ratings: users share items but few pairs.

    A user's label on an item (a response under a prompt) is + when it was chosen in more of the user's pairs than it was rejected
    in, - when in fewer, none when in as many. Support is the share of the item's other labellers with the same label, over items
    with at least 3 of them, averaged over the user's items and shrunken. `pool` as in `pair_support`.
    """
    return _support(item_votes(data, pair_votes(data)).votes, _agreement, pool, ITEMS_RULE)


def _strict_pairs(data: PreferenceData) -> np.ndarray:
    return np.bincount(data.user[is_strict(data)], minlength=len(data.users))


def _share_of_users(data: PreferenceData, label: np.ndarray, pool: np.ndarray | None, rule: str) -> Support:
    """Share of the other users of the pool with u's label: n others of N, shrunken (1/2 + n) / (1 + N). label int[users], -1 = unknown."""
    pairs = _strict_pairs(data)
    known = label >= 0
    voting = (pairs > 0) & known if pool is None else (pairs > 0) & known & pool
    size = np.bincount(label[voting], minlength=int(label.max(initial=-1)) + 1)
    values = np.full(len(label), np.nan)
    same, others = size[label[known]] - voting[known], voting.sum() - voting[known]
    values[known] = np.where(others > 0, (0.5 + same) / (1 + others), np.nan)
    return Support(values, pairs, rule)


def attribute_support(data: PreferenceData, name: str, *, pool: np.ndarray | None = None) -> Support:
    """S4: the share of other users with u's value of the attribute `name`, shrunken; unknown where the value is missing ("").

    Only users with a strict pair in `data` (and in `pool`) are counted as others. DataError when there is no such attribute.
    """
    label, _ = attribute_labels(data, name)
    return _share_of_users(data, label, pool, f"Support (S4) is the share of other users with the user's value of '{name}'.")


def attribute_labels(data: PreferenceData, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """An attribute's values as numbers int64[users] (-1 = missing) and the distinct values in sorted order. DataError if unknown."""
    if name not in data.attributes:
        near = difflib.get_close_matches(name, list(data.attributes), n=1)
        has = ", ".join(f"'{a}'" for a in data.attributes) or "none"
        remedy = f"did you mean '{near[0]}'?" if near else f"name one of these, or load(path, attributes=[{name!r}])"
        raise DataError(f"no user attribute '{name}'", expected=f"one of the attributes of the data ({has})", remedy=remedy)
    values = np.asarray(data.attributes[name], dtype=object)
    distinct = sorted({str(v) for v in values} - {""})
    number = {v: i for i, v in enumerate(distinct)}
    return np.array([number.get(str(v), -1) for v in values], dtype=np.int64), tuple(distinct)


def cluster_support(
    data: PreferenceData, clusters: np.ndarray | Sequence[int], *, pool: np.ndarray | None = None, how: str = "given"
) -> Support:
    """S2: the share of other users in u's preference cluster, shrunken. clusters int[users], -1 = unknown; see `clusters.find_clusters`."""
    label = np.asarray(clusters, dtype=np.int64)
    if label.shape != (len(data.users),):
        raise DataError(
            f"cluster numbers of shape {label.shape}",
            expected=f"one a user, ({len(data.users)},)",
            remedy="pass one cluster a user, -1 = unknown",
        )
    return _share_of_users(data, label, pool, f"Support (S2) is the share of other users in the user's preference cluster ({how}).")


Directions = Callable[[PreferenceData], np.ndarray]  # pairs → each user's mean direction from rejected to chosen, float[users, d]


def choose_support(
    data: PreferenceData,
    directions: Directions | None = None,
    *,
    known: np.ndarray | None = None,
    pool: np.ndarray | None = None,
    whole: PreferenceData | None = None,
) -> Support:
    """S1 where it can be had, else the best fallback; the rule sentence says which and why.

    The rule is chosen on all pairs of the file, so that it has one rule, however and by whomever its pairs are dealt: on `whole`, where
    dealing drew other pairs than the file's own, else on `data`. It looks at who judged what, and at what was chosen only to tell votes
    and clusters. Values come from the pairs of `data` that are `known` alone (default: all):

    1. Votes on single items (nearly every item of a user is always chosen or always rejected): item support, since both items of
       a pair then lean the same way and S1 overstates how common or rare a taste is.
    2. S1, if 80 % of the users with a strict pair share enough pairs with enough others, so that training's share still holds
       5 pairs with 3 others each.
    3. Item support by the same test.
    4. S2, when `directions` find clusters.
    5. Else S1 or item support, whichever covers more users; values of the others are unknown.

    `pool` bool[users], default everyone: these alone are the others of the rule and make up the clusters of S2, where everybody else
    joins the nearest one. So under the rule nobody outside the pool moves anybody else's support.
    """
    reference = data if known is None else data.take(np.flatnonzero(known))
    measure, reason = _choose(data if whole is None else whole, directions)
    if measure is not None:
        support = measure(reference, pool=pool)
    else:
        assert directions is not None
        clusters, how = find_clusters(directions(reference), 0, pool=pool)
        support = cluster_support(reference, clusters, pool=pool, how=how)
    return replace(support, rule=f"{support.rule} Chosen because {reason}.")


def _choose(data: PreferenceData, directions: Directions | None) -> tuple[Callable[..., Support] | None, str]:
    """How support is measured (None: by clusters), and why."""
    active = _strict_pairs(data) > 0
    votes = pair_votes(data)
    items = item_votes(data, votes)
    covered, covered_items = (_coverage(v, active) for v in (votes, items.votes))
    if items.single_item() and covered_items >= ENOUGH_USERS:
        return item_support, "items are always chosen or always rejected by a user, as in votes, where pairs overstate support"
    shared = f"{covered:.0%} of users share at least {SHARED_PAIRS} pairs with {SHARED_OTHERS} others"
    if covered >= ENOUGH_USERS:
        return pair_support, shared
    if covered_items >= ENOUGH_USERS:
        return item_support, f"only {shared}, but {covered_items:.0%} share as many such items"
    if directions is not None and find_clusters(directions(data), 0)[0].max(initial=0) > 0:
        return None, f"only {shared}, and {covered_items:.0%} as many items"
    of = {measure: _coverage(v, active, 1, MIN_OTHERS) for measure, v in ((pair_support, votes), (item_support, items.votes))}
    best = max(of, key=lambda measure: of[measure])  # pairs where both cover as many
    remedy = "give user attributes or a cluster column to group all of them"
    return best, f"only {shared} and {covered_items:.0%} as many items, so {of[best]:.0%} of users can have a value; {remedy}"


def _coverage(votes: Votes, active: np.ndarray, fewest: int = SHARED_PAIRS, others: int = SHARED_OTHERS) -> float:
    """Share of the active users with at least `fewest` votes on ballots with so many others."""
    shared = np.bincount(votes.ballot, minlength=votes.ballots)[votes.ballot] > others
    count = np.bincount(votes.user[shared], minlength=votes.users)
    return float((count[active] >= fewest).mean()) if active.any() else 0.0

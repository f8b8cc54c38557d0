"""Preference support: how common each user's tastes are among the other users, in [0, 1].

The *support rate* of Zhao et al. 2026 (arXiv 2606.07988) is named there and not spelt out; the readings S1-S4 below are ours.
All of them are leave-one-out (a user never supports himself or herself) and shrunken (few pairs pull towards one half), and
all are computed on the pairs they are given: pass `data.take(training rows)`. What counts as one vote is said in `votes.py`.

Shrinkage: with k counted pairs of user u and shares s(u, 1) … s(u, k), the support is the mean of a Beta(1/2, 1/2) prior updated
by k trials with s(u, 1) + … + s(u, k) successes, (1/2 + Σ s) / (1 + k). No counted pair: unknown (nan), never one half. Where all users
(of the pool, where there is one) have the same mean share, k is the median of their counts: they differ in nothing but their number of pairs.

Cost: a few passes over batches of whole users; memory is linear in the users, in the distinct pairs that were judged and in one batch, and no
matrix of users x users or users x pairs is ever made. Data in memory is one batch, or several where it stands in the order of its users.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import DataError, PreferenceData
from evenhand.data.ballots import Ballots
from evenhand.data.batches import Judged, PairBatches, Rows, again, batches_of, selected
from evenhand.data.clusters import find_clusters
from evenhand.data.survey import add_by_user
from evenhand.data.votes import ItemVotes, Votes, item_votes, pair_votes, single_item

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


def _support(
    read: Callable[[], Iterable[Votes]],
    users: int,
    share: Callable[[np.ndarray, np.ndarray], np.ndarray],
    pool: np.ndarray | None,
    rule: str,
) -> Support:
    """The shrunken mean of share(agreeing others, others) over a user's votes with at least 3 others of the pool on the ballot.

    read: the votes, one batch after the other; gone through twice.
    """
    size = np.zeros(0, np.int64)
    for votes in read():
        side = votes.ballot * 2 + votes.up
        side = side if pool is None else side[pool[votes.user]]
        size = size if len(size) else np.zeros(2 * votes.ballots, np.int64)
        size += np.bincount(side, minlength=len(size))
    count, total = np.zeros(users, np.int64), np.zeros(users)
    for votes in read():
        side = votes.ballot * 2 + votes.up
        agree = size[side] - (1 if pool is None else pool[votes.user])
        others = agree + size[side ^ 1]
        counted = others >= MIN_OTHERS
        user, agree, others = (votes.user, agree, others) if counted.all() else (a[counted] for a in (votes.user, agree, others))
        add_by_user(count, user)
        add_by_user(total, user, share(agree, others))
    there = count > 0 if pool is None else (count > 0) & pool  # whoever is outside of the pool moves nobody else's support
    mean = total[there] / count[there]
    # Where everybody has the same share, users differ in their number of pairs alone, and shrinkage would call the busier ones the more common.
    alike = len(mean) > 0 and np.ptp(mean) < 1e-9
    size = np.full(users, np.median(count[there])) if alike else count.astype(np.float64)
    values = np.round((0.5 + total / np.maximum(count, 1) * size) / (1 + size), 12)  # equal shares summed in another order stay equal
    return Support(np.where(count > 0, values, np.nan), count, rule)


def pair_support(data: Judged, *, pool: np.ndarray | None = None) -> Support:
    """S1: the share of the other users with a strict preference on a pair who agree with u, averaged over u's pairs, shrunken.

    A pair counts with at least 3 strict others. `pool` bool[users] says who may be among the others (default: everyone): with
    the users seen in training as the pool, a new user's support is read off his or her history alone and moves nobody else's.
    """
    batches = batches_of(data)
    return _pair_support(batches, pool, batches.ballots)


def majority_support(data: Judged, *, pool: np.ndarray | None = None) -> Support:
    """S3: how often u is on the side of the majority of the other users, shrunken. An even split of the others counts half.

    A pair counts with at least 3 strict others; `pool` as in `pair_support`.
    """
    batches = batches_of(data)
    return _support(_votes(batches, batches.ballots), len(batches.users), _majority, pool, MAJORITY_RULE)


def item_support(data: Judged, *, pool: np.ndarray | None = None) -> Support:
    """Single-item support, for votes and sparse ratings: users share items but few pairs.

    A user's label on an item (a response under a prompt) is + when it was chosen in more of the user's pairs than it was rejected
    in, - when in fewer, none when in as many. Support is the share of the item's other labellers with the same label, over items
    with at least 3 of them, averaged over the user's items and shrunken. `pool` as in `pair_support`.
    """
    batches = batches_of(data)
    return _item_support(batches, pool, batches.ballots)


def _votes(batches: PairBatches, ballots: Ballots) -> Callable[[], Iterator[Votes]]:
    """The votes on pairs, batch by batch. ballots: those of data of which these pairs are a part."""
    return again(lambda: (pair_votes(batch, ballots) for batch in batches))


def _pair_support(batches: PairBatches, pool: np.ndarray | None, ballots: Ballots) -> Support:
    return _support(_votes(batches, ballots), len(batches.users), _agreement, pool, PAIRS_RULE)


def _item_support(batches: PairBatches, pool: np.ndarray | None, ballots: Ballots) -> Support:
    read = _votes(batches, ballots)
    return _support(again(lambda: (item_votes(votes, ballots).votes for votes in read())), len(batches.users), _agreement, pool, ITEMS_RULE)


def _share_of_users(data: Judged, label: np.ndarray, pool: np.ndarray | None, rule: str) -> Support:
    """Share of the other users of the pool with u's label: n others of N, shrunken (1/2 + n) / (1 + N). label int[users], -1 = unknown."""
    pairs = batches_of(data).survey.strict
    known = label >= 0
    voting = (pairs > 0) & known if pool is None else (pairs > 0) & known & pool
    size = np.bincount(label[voting], minlength=int(label.max(initial=-1)) + 1)
    values = np.full(len(label), np.nan)
    same, others = size[label[known]] - voting[known], voting.sum() - voting[known]
    values[known] = np.where(others > 0, (0.5 + same) / (1 + others), np.nan)
    return Support(values, pairs, rule)


def attribute_support(data: Judged, name: str, *, pool: np.ndarray | None = None) -> Support:
    """S4: the share of other users with u's value of the attribute `name`, shrunken; unknown where the value is missing ("").

    Only users with a strict pair in `data` (and in `pool`) are counted as others. DataError when there is no such attribute.
    """
    label, _ = attribute_labels(data, name)
    return _share_of_users(data, label, pool, f"Support (S4) is the share of other users with the user's value of '{name}'.")


def attribute_labels(data: Judged, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
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


def cluster_support(data: Judged, clusters: np.ndarray | Sequence[int], *, pool: np.ndarray | None = None, how: str = "given") -> Support:
    """S2: the share of other users in u's preference cluster, shrunken. clusters int[users], -1 = unknown; see `clusters.find_clusters`."""
    label = np.asarray(clusters, dtype=np.int64)
    if label.shape != (len(data.users),):
        raise DataError(
            f"cluster numbers of shape {label.shape}",
            expected=f"one a user, ({len(data.users)},)",
            remedy="pass one cluster a user, -1 = unknown",
        )
    return _share_of_users(data, label, pool, f"Support (S2) is the share of other users in the user's preference cluster ({how}).")


Directions = Callable[[PairBatches], np.ndarray]  # pairs → each user's mean direction from rejected to chosen, float[users, d]


def choose_support(
    data: Judged,
    directions: Directions | None = None,
    *,
    known: np.ndarray | Rows | None = None,
    pool: np.ndarray | None = None,
    whole: PreferenceData | None = None,
) -> Support:
    """S1 where it can be had, else the best fallback; the rule sentence says which and why.

    The rule is chosen on all pairs of the file, so that it has one rule, however and by whomever its pairs are dealt: on `whole`, where
    dealing drew other pairs than the file's own, else on `data`. It looks at who judged what, and at what was chosen only to tell votes
    and clusters. Values come from the pairs of `data` that are `known` alone (default: all; a mask bool[n], or for batches a function of each):

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
    batches = batches_of(data)
    reference = batches
    if known is not None:
        reference = selected(batches, known) if callable(known) else batches_of(_taken(data, known))
    all_pairs = batches if whole is None or whole is data else batches_of(whole)
    measure, reason = _choose(all_pairs, directions)
    if measure is not None:
        ballots = all_pairs.ballots if all_pairs is batches else reference.ballots
        support = measure(reference, pool, ballots)
    else:
        assert directions is not None
        clusters, how = find_clusters(directions(reference), 0, pool=pool)
        support = cluster_support(reference, clusters, pool=pool, how=how)
    return replace(support, rule=f"{support.rule} Chosen because {reason}.")


def _taken(data: Judged, known: np.ndarray) -> PreferenceData:
    if isinstance(data, PairBatches):
        raise TypeError("a mask marks pairs of data in memory; of batches a function does")
    return replace(data, numbers={}).take(known)


def _choose(data: PairBatches, directions: Directions | None) -> tuple[Callable[..., Support] | None, str]:
    """How support is measured (None: by clusters), and why."""
    active = data.survey.strict > 0
    counted = _counted(data)
    covered, covered_items = counted.coverage(active)
    if single_item(counted.sides) and covered_items >= ENOUGH_USERS:
        return _item_support, "items are always chosen or always rejected by a user, as in votes, where pairs overstate support"
    shared = f"{covered:.0%} of users share at least {SHARED_PAIRS} pairs with {SHARED_OTHERS} others"
    if covered >= ENOUGH_USERS:
        return _pair_support, shared
    if covered_items >= ENOUGH_USERS:
        return _item_support, f"only {shared}, but {covered_items:.0%} share as many such items"
    if directions is not None and find_clusters(directions(data), 0)[0].max(initial=0) > 0:
        return None, f"only {shared}, and {covered_items:.0%} as many items"
    by_pairs, by_items = counted.coverage(active, 1, MIN_OTHERS)
    best, of_users = (_pair_support, by_pairs) if by_pairs >= by_items else (_item_support, by_items)
    remedy = "give user attributes or a cluster column to group all of them"
    return best, f"only {shared} and {covered_items:.0%} as many items, so {of_users:.0%} of users can have a value; {remedy}"


@dataclass(frozen=True)
class _Counted:
    """How many users are on each ballot and on each item, and how many of either each user is on; pairs first, items second."""

    read: Callable[[], Iterator[tuple[Votes, Votes]]]
    sizes: tuple[np.ndarray, np.ndarray]  # int64[ballots], int64[items]
    votes: np.ndarray  # int64[2, users]
    sides: np.ndarray  # see `votes.single_item`

    def coverage(self, active: np.ndarray, fewest: int = SHARED_PAIRS, others: int = SHARED_OTHERS) -> tuple[float, float]:
        """Share of the active users with at least `fewest` votes on ballots with so many others, and on items."""
        if not active.any():
            return 0.0, 0.0
        count = self.votes
        if any(((size > 0) & (size <= others)).any() for size in self.sizes):
            count = np.zeros_like(self.votes)
            for both in self.read():
                for total, size, votes in zip(count, self.sizes, both):
                    add_by_user(total, votes.user[size[votes.ballot] > others])
        pairs, items = (count[:, active] >= fewest).mean(axis=1).tolist()
        return pairs, items


def _counted(data: PairBatches) -> _Counted:
    ballots = data.ballots
    sizes = np.zeros(len(ballots), np.int64), np.zeros(ballots.items[2], np.int64)
    count = np.zeros((2, len(data.users)), np.int64)
    sides = np.zeros(5, np.int64)

    def judged() -> Iterator[tuple[Votes, ItemVotes]]:
        for batch in data:
            votes = pair_votes(batch, ballots)
            yield votes, item_votes(votes, ballots)

    read = again(judged)
    for pairs, items in read():
        sides += items.sides
        for total, size, votes in zip(count, sizes, (pairs, items.votes)):
            size += np.bincount(votes.ballot, minlength=len(size))
            add_by_user(total, votes.user)
    return _Counted(lambda: ((pairs, items.votes) for pairs, items in read()), sizes, count, sides)

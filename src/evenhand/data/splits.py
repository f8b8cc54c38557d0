"""Splits by user and by prompt, with the four cells seen/unseen user x seen/unseen prompt.

Prompts (with fewer than 20 of them, prompts or responses, whichever keeps more pairs) are dealt to the parts train, valid, test and
certify; a share of the users is kept out of training altogether. Where pairs were drawn from votes or ratings, they are drawn anew inside
the parts, so that none straddles two. What becomes of a pair:

| pair on                        | seen user                        | unseen user                                  |
|--------------------------------|----------------------------------|----------------------------------------------|
| a train prompt                 | train, or held (scored apart)    | history only, or held (scored apart)         |
| a valid prompt                 | valid                            | excluded: nothing is chosen on unseen users  |
| a test or certify prompt       | test, certify                    | test, certify                                |

Others have trained on a held pair's prompt, its own user has not: no pair of his or her history shares the prompt (where responses
are dealt, a response; the pairs in between are excluded).

Prompts of one matched set (`Events.twin`) are dealt as one, and so are its responses that correspond: a counterfactual and its original
never lie in two parts.

The deal is a seeded permutation of the sorted texts (ids of users), so shares are exact to one prompt, and neither the order of
rows nor the numbering of texts matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import SPLITS, DataError, Exclusions, PreferenceData
from evenhand.data.assemble import redrawn
from evenhand.data.matched import tied_texts
from evenhand.data.votes import has_texts, is_strict, number_rows

TRAIN, VALID, TEST, CERTIFY = range(len(SPLITS))
CELLS = ("seen user, seen prompt", "seen user, unseen prompt", "unseen user, seen prompt", "unseen user, unseen prompt")
DEAL = (0.6, 0.15, 0.25)  # of the prompts, to train, valid and test
MIN_PROMPTS = 20  # with fewer, a part would hold a handful of prompts and its result be theirs: responses may serve better
FEWEST_IN_PART = 2  # prompts of a part: of a single one nobody knows what another would have said

USED, STRADDLES, UNSEEN_VALID, NO_SPLIT, SHARES = range(5)
REASONS = (
    "",
    "the pair's two responses lie in different parts",
    "unseen user on a validation prompt",
    "in no split",
    "shares a response with a held pair of the same user",
)


@dataclass(frozen=True)
class Split:
    """Where every pair goes: exactly one of `part` >= 0, `held`, `history` only, or excluded with a reason."""

    part: np.ndarray  # int8[n], numbers of SPLITS, -1 = in none of them
    held: np.ndarray  # bool[n]: on train prompts, but scored instead of trained on, under a history without these prompts
    history: np.ndarray  # bool[n]: may enter a history: train pairs, and unseen users' pairs on train prompts
    unseen: np.ndarray  # bool[users]: has pairs, none of them in train
    cell: np.ndarray  # int8[n], numbers of CELLS, -1 = excluded; with unit "responses" read "response" for "prompt"
    unit: str  # what was dealt: "prompts", "responses" or "given"
    exclusions: Exclusions
    rule: str  # one sentence for the report

    def rows(self, part: int) -> np.ndarray:
        """bool[n]: the pairs of one part, a number of SPLITS."""
        return self.part == part

    def scored(self, cell: int) -> np.ndarray:
        """bool[n]: the test and held pairs of one cell, a number of CELLS."""
        return ((self.part == TEST) | self.held) & (self.cell == cell)


def split_pairs(
    data: PreferenceData,
    *,
    seed: int,
    shares: Sequence[float] = DEAL,
    unseen_users: float = 0.2,
    held_pairs: float = 0.1,
    min_prompts: int = MIN_PROMPTS,
) -> Split:
    """`deal` for pairs as they are, also where they were drawn from judgements."""
    as_they_are = replace(data, judgements=None)
    return deal(as_they_are, seed=seed, shares=shares, unseen_users=unseen_users, held_pairs=held_pairs, min_prompts=min_prompts)[1]


def deal(
    data: PreferenceData,
    *,
    seed: int,
    shares: Sequence[float] = DEAL,
    unseen_users: float = 0.2,
    held_pairs: float = 0.1,
    min_prompts: int = MIN_PROMPTS,
) -> tuple[PreferenceData, Split]:
    """Deal prompts and users → (the data that is split, its split); a split column in the data is honoured as it is instead.

    The data comes back as it is, or, where it holds the judgements its pairs were drawn from, with pairs drawn inside the parts: users and
    texts keep their numbers. Data with events keeps its pairs, of which the events speak.

    shares: of the prompts, for train, valid, test and (optional) certify, summing to 1. unseen_users: share of the users kept out of
    training. held_pairs: share of what is on train prompts that is scored and not trained on. All pairs of a user on a prompt are
    held together, and the share is one of these (user, prompt). Where responses are dealt it is a share of the pairs, together with
    those then excluded for sharing a response with a held pair of the same user; it holds fewer the more pairs a user's responses
    stand in. Nobody's last train pair is taken.

    With fewer than min_prompts prompts, prompts or responses are dealt, whichever keeps more pairs to judge by: strict ones on what no train
    pair is on, of users who have train pairs. Prompts only if each part then has FEWEST_IN_PART. DataError when there are too few of both.

    With a split column, users are unseen when they have no train pair, the other arguments are not used, and pairs in no split are
    history for an unseen user if their prompt is in no scored part (else they are excluded).
    """
    _check_shares(shares, unseen_users, held_pairs)
    if data.split is not None and (data.split >= 0).any():
        return data, _given(data)
    judgements = data.judgements if data.events is None else None
    columns = (data.prompt, data.chosen, data.rejected) if judgements is None else (judgements.prompt, judgements.response)
    texts, users = tied_texts(data, _rank(data.texts, *columns)), _rank(data.users, data.user)
    unit, why, data, part = _deal(data if judgements else replace(data, judgements=None), texts, seed, shares, min_prompts)
    reason = np.where(part < 0, STRADDLES, USED).astype(np.int8)
    unseen = _draw_users(data, users, seed, unseen_users)
    trains = np.bincount(data.user[part == TRAIN], minlength=len(data.users))
    unseen |= (trains == 0) & (np.bincount(data.user, minlength=len(data.users)) > 0)
    new = unseen[data.user]
    on_train = part == TRAIN
    reason[new & (part == VALID)] = UNSEEN_VALID
    hold = _hold_prompts if unit == "prompts" else _hold_responses
    held, shares_one = hold(data, on_train, users, texts, seed, held_pairs)
    reason[shares_one] = SHARES
    history = on_train & ~held & ~shares_one
    part = np.where((on_train & (new | held)) | (reason != USED), -1, part).astype(np.int8)
    cell = np.where(reason == USED, 2 * new + ~on_train, -1).astype(np.int8)
    rule = (
        f"{unit.capitalize()} were dealt to {' / '.join(f'{SPLITS[i]} {s:.0%}' for i, s in enumerate(shares))} with seed {seed}; "
        f"{why}{int(unseen.sum()):,} users have no training pair; {int(held.sum()):,} pairs on train {unit} are scored instead of trained on."
    )
    return data, Split(part, held, history, unseen, cell, unit, _account(reason), rule)


def deal_with(certify: float) -> tuple[float, ...]:
    """`DEAL` scaled to leave a share `certify` of the prompts for a certificate; `DEAL` itself for 0."""
    if not 0 <= certify < 1:
        raise DataError(f"share for certificates {certify}", expected="at least 0 and under 1", remedy="0.25 is usual")
    return (*(share * (1 - certify) for share in DEAL), certify) if certify else DEAL


def _check_shares(shares: Sequence[float], unseen_users: float, held_pairs: float) -> None:
    if len(shares) not in (3, 4) or min(shares) < 0 or shares[TRAIN] <= 0 or abs(sum(shares) - 1) > 1e-6:
        expected = "three or four shares (train, valid, test, certify), none negative, summing to 1"
        raise DataError(f"split shares {tuple(shares)}", expected=expected, remedy="for example .6 .15 .25")
    for name, share in (("unseen users", unseen_users), ("held pairs", held_pairs)):
        if not 0 <= share < 1:
            raise DataError(
                f"share of {name} {share}", expected="at least 0 and under 1", remedy="0.2 of the users and 0.1 of the pairs are usual"
            )


def _rank(names: Sequence[str], *used: np.ndarray) -> np.ndarray:
    """The place of each used name in sorted order, int64[names]; -1 for names that no row uses. A text given twice has one place."""
    numbers = np.unique(np.concatenate(used))
    numbers = numbers[numbers >= 0]
    place = {name: i for i, name in enumerate(sorted({names[i] for i in numbers}))}
    rank = np.full(len(names) + 1, -1, dtype=np.int64)  # the last one answers for row number -1: no such column
    rank[numbers] = [place[names[i]] for i in numbers]
    return rank


def _sizes(count: int, shares: Sequence[float]) -> np.ndarray:
    """How many of `count` things each part gets, int64[parts]: within one of the exact shares, none empty. DataError for too few."""
    wanted = sum(s > 0 for s in shares)
    if count < wanted:
        raise DataError(
            f"{count} prompts or responses for {wanted} parts",
            expected=f"at least {wanted}",
            remedy="bring more data, or give a split column",
        )
    sizes: np.ndarray = np.diff(np.round(np.cumsum(shares) * count).astype(np.int64), prepend=0)
    for empty in np.flatnonzero((np.asarray(shares) > 0) & (sizes == 0)):
        sizes[np.argmax(sizes)] -= 1
        sizes[empty] = 1
    return sizes


def _part_of_each(count: int, shares: Sequence[float], seed: int) -> np.ndarray:
    """A part for each of `count` things, dealt by a seeded permutation."""
    part = np.empty(count, dtype=np.int8)
    part[np.random.default_rng([seed, 0]).permutation(count)] = np.repeat(np.arange(len(shares), dtype=np.int8), _sizes(count, shares))
    return part


def _deal(
    data: PreferenceData, texts: np.ndarray, seed: int, shares: Sequence[float], min_prompts: int
) -> tuple[str, str, PreferenceData, np.ndarray]:
    """The unit that was dealt, why (a sentence, or nothing), the data, and each pair's part by it (-1 = straddles two)."""
    rows = data.judgements
    prompt = texts[data.prompt if rows is None else rows.prompt]
    distinct, which = np.unique(prompt, return_inverse=True)
    prompts = int((distinct >= 0).sum())
    everywhere = prompts == len(distinct)
    if prompts >= min_prompts and not everywhere:
        expected = "a prompt in every pair, or in none"
        raise DataError(
            f"{int((prompt < 0).sum())} pairs without a prompt", expected=expected, remedy="fill the prompt column, or leave it out"
        )

    def by_prompts() -> tuple[PreferenceData, np.ndarray]:
        part = _part_of_each(prompts, shares, seed)[which]
        return (data, part) if rows is None else redrawn(data, part, np.random.default_rng([seed, 3]))

    def by_responses() -> tuple[PreferenceData, np.ndarray]:
        columns = (texts[data.chosen], texts[data.rejected]) if rows is None else (texts[rows.response],)
        responses, number = np.unique(np.concatenate(columns), return_inverse=True)
        part = _part_of_each(len(responses), shares, seed)[number]
        if rows is not None:
            return redrawn(data, part, np.random.default_rng([seed, 3]))
        chosen, rejected = np.split(part, 2)
        return data, np.where(chosen == rejected, chosen, -1)

    if prompts >= min_prompts:
        return "prompts", "", *by_prompts()
    wanted = np.asarray(shares) > 0
    may = everywhere and prompts >= FEWEST_IN_PART * wanted.sum() and bool((_sizes(prompts, shares)[wanted] >= FEWEST_IN_PART).all())
    if not has_texts(data).all():
        if may:
            return "prompts", f"There are {prompts} prompts, and no responses to deal instead. ", *by_prompts()
        expected = f"{min_prompts} distinct prompts, or {FEWEST_IN_PART} of them for each part, or both responses of every pair"
        raise DataError(
            "too few prompts to split by, and pairs without texts", expected=expected, remedy="bring them, or give a split column"
        )
    few = f"There are {prompts} prompts, under {min_prompts}: " if prompts else ""
    if not may:
        return "responses", few and f"{few}too few to deal to {wanted.sum()} parts. ", *by_responses()
    candidates = {"prompts": by_prompts(), "responses": by_responses()}
    kept = {name: _kept(*candidate) for name, candidate in candidates.items()}
    unit = "prompts" if kept["prompts"] >= kept["responses"] else "responses"
    why = f"{few}dealing prompts keeps {kept['prompts']:,} pairs to judge by, dealing responses {kept['responses']:,}. "
    return unit, why, *candidates[unit]


def _kept(data: PreferenceData, part: np.ndarray) -> int:
    """Strict pairs outside train that lie in one part and whose user has train pairs."""
    strict = is_strict(data)
    trains = np.bincount(data.user[strict & (part == TRAIN)], minlength=len(data.users)) > 0
    return int((strict & (part > TRAIN) & trains[data.user]).sum())


def _draw_users(data: PreferenceData, users: np.ndarray, seed: int, share: float) -> np.ndarray:
    present = np.flatnonzero(np.bincount(data.user, minlength=len(data.users)))
    present = present[np.argsort(users[present], kind="stable")]
    drawn = np.random.default_rng([seed, 1]).permutation(len(present))[: min(round(share * len(present)), len(present) - 1)]
    unseen = np.zeros(len(data.users), dtype=bool)
    unseen[present[drawn]] = True
    return unseen


def _hold_prompts(
    data: PreferenceData, on_train: np.ndarray, users: np.ndarray, texts: np.ndarray, seed: int, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs on train prompts to be scored, all pairs of a user on a prompt together, and those to be excluded: bool[n] and none."""
    rows = np.flatnonzero(on_train)
    number, count = number_rows(users[data.user[rows]], texts[data.prompt[rows]])
    drawn = np.zeros(count, dtype=bool)
    drawn[np.random.default_rng([seed, 2]).permutation(count)[: round(share * count)]] = True
    held = np.zeros(len(data), dtype=bool)
    held[rows] = drawn[number]
    return held & _spared(data, on_train, held), np.zeros(len(data), dtype=bool)


def _hold_responses(
    data: PreferenceData, on_train: np.ndarray, users: np.ndarray, texts: np.ndarray, seed: int, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of train responses to be scored, and the users' other pairs that share a response with one, two times bool[n].

    Pairs are drawn until they and all that share a response with them come to the share. With a and b held, so are {a, b} and every
    other pair of held responses: what is left to exclude has one foot in the history.
    """
    rows = np.flatnonzero(on_train)
    user, a, b = users[data.user[rows]], texts[data.chosen[rows]], texts[data.rejected[rows]]
    number, count = number_rows(user, texts[data.prompt[rows]] + 1, np.minimum(a, b), np.maximum(a, b))
    ends, responses = number_rows(np.concatenate([user, user]), np.concatenate([a, b]))
    first, second = ends.reshape(2, -1)
    of_pair = np.zeros((2, count), dtype=np.int64)
    of_pair[:, number] = np.minimum(first, second), np.maximum(first, second)
    pairs_of = np.bincount(of_pair.ravel(), minlength=responses)
    order = np.random.default_rng([seed, 2]).permutation(count)
    touched = np.cumsum(pairs_of[of_pair[:, order]].sum(axis=0) - 1)
    taken = np.zeros(responses, dtype=bool)
    taken[of_pair[:, order[touched <= round(share * count)]]] = True
    held, shares_one = np.zeros((2, len(data)), dtype=bool)
    held[rows], shares_one[rows] = taken[first] & taken[second], taken[first] ^ taken[second]
    spared = _spared(data, on_train, held | shares_one)
    return held & spared, shares_one & spared


def _spared(data: PreferenceData, on_train: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """bool[n]: the pair's user keeps a train or history pair when those of `taken` are gone; nobody's last one is taken."""
    return (np.bincount(data.user[on_train & ~taken], minlength=len(data.users)) > 0)[data.user]


def _given(data: PreferenceData) -> Split:
    assert data.split is not None
    part = data.split.astype(np.int8)
    users = len(data.users)
    by_prompt = len(np.unique(data.prompt[data.prompt >= 0])) >= MIN_PROMPTS
    columns = (data.prompt,) if by_prompt else (data.chosen, data.rejected)
    seen, scored = _any_among(columns, part == TRAIN, len(data.texts)), _any_among(columns, part > TRAIN, len(data.texts))
    count = np.bincount(data.user, minlength=users)
    unseen = (np.bincount(data.user[part == TRAIN], minlength=users) == 0) & (count > 0)
    new = unseen[data.user]
    only_history = (part < 0) & new & ~scored
    reason = np.where((part < 0) & ~only_history, NO_SPLIT, USED).astype(np.int8)
    cell = np.where(reason == USED, 2 * new + ~(seen | only_history), -1).astype(np.int8)
    rule = f"The data's own split column was used; {int(unseen.sum()):,} users have no training pair."
    return Split(part, np.zeros(len(data), dtype=bool), (part == TRAIN) | only_history, unseen, cell, "given", _account(reason), rule)


def _any_among(columns: Sequence[np.ndarray], rows: np.ndarray, texts: int) -> np.ndarray:
    """bool[n]: one of the row's texts also stands in one of `rows`."""
    there = np.zeros(texts + 1, dtype=bool)  # the last one answers for -1
    for column in columns:
        there[column[rows]] = True
    there[-1] = False
    return np.any([there[column] for column in columns], axis=0)


def _account(reason: np.ndarray) -> Exclusions:
    counts = np.bincount(reason, minlength=len(REASONS))
    return Exclusions(len(reason), int(counts[USED]), {REASONS[i]: int(c) for i, c in enumerate(counts) if i != USED and c})

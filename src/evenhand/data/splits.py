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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.core import SPLITS, DataError, Exclusions, PreferenceData
from evenhand.data.assemble import redrawn
from evenhand.data.batches import PairBatches, batches_of
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
    data = replace(data, judgements=data.judgements if data.events is None else None)
    users = _rank(data.users, _used(len(data.users), data.user))
    dealt, data, part = (
        _deal_pairs(data, seed, shares, min_prompts) if data.judgements is None else _deal_judgements(data, seed, shares, min_prompts)
    )
    reason = np.where(part < 0, STRADDLES, USED).astype(np.int8)
    unseen = _draw_users(data, users, seed, unseen_users)
    trains = np.bincount(data.user[part == TRAIN], minlength=len(data.users))
    unseen |= (trains == 0) & (np.bincount(data.user, minlength=len(data.users)) > 0)
    new = unseen[data.user]
    on_train = part == TRAIN
    reason[new & (part == VALID)] = UNSEEN_VALID
    hold = _hold_prompts if dealt.unit == "prompts" else _hold_responses
    held, shares_one = hold(data, on_train, users, dealt.number, seed, held_pairs)
    reason[shares_one] = SHARES
    history = on_train & ~held & ~shares_one
    part = np.where((on_train & (new | held)) | (reason != USED), -1, part).astype(np.int8)
    cell = np.where(reason == USED, 2 * new + ~on_train, -1).astype(np.int8)
    rule = (
        f"{dealt.unit.capitalize()} were dealt to {' / '.join(f'{SPLITS[i]} {s:.0%}' for i, s in enumerate(shares))} with seed {seed}; "
        f"{dealt.why}{_without(unseen)}; {int(held.sum()):,} pairs on train {dealt.unit} are scored instead of trained on."
    )
    return data, Split(part, held, history, unseen, cell, dealt.unit, _account(reason), rule)


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


def _used(names: int, *columns: np.ndarray) -> np.ndarray:
    """bool[names]: numbers that stand in a column."""
    used = np.zeros(names + 1, bool)  # the last one answers for -1
    for column in columns:
        used[column] = True
    return used[:-1]


def _rank(names: Sequence[str], used: np.ndarray) -> np.ndarray:
    """The place of each used name in sorted order, int64[names + 1]; -1 for the others, and for row number -1. A text given twice has one place."""
    numbers = np.flatnonzero(used).tolist()
    place = {name: i for i, name in enumerate(sorted({names[i] for i in numbers}))}
    rank = np.full(len(names) + 1, -1, dtype=np.int64)
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


@dataclass(frozen=True)
class DealtTexts:
    """The part of each prompt, or of each response; a pair's part follows from its texts alone."""

    unit: str  # "prompts" or "responses"
    why: str  # a sentence, or nothing
    of_text: np.ndarray  # int8[texts + 1]: -1 = no such unit; the last one answers for -1
    number: np.ndarray  # int64[texts + 1]: the texts' places in sorted order, one place for those that matched sets tie together

    def part(self, data: PreferenceData) -> np.ndarray:
        """int8[n], numbers of SPLITS; -1 = the pair straddles two."""
        if self.unit == "prompts":
            return self.of_text[data.prompt]
        chosen, rejected = self.of_text[data.chosen], self.of_text[data.rejected]
        return np.where(chosen == rejected, chosen, np.int8(-1))


def deal_texts(batches: PairBatches, *, seed: int, shares: Sequence[float], min_prompts: int = MIN_PROMPTS) -> DealtTexts:
    """What `deal` deals prompts or responses to, for pairs in batches, without the users it keeps out and the pairs it holds.

    DataError where there are matched sets, whose pairs must be in memory, and as in `deal`.
    """
    if batches.survey.matched:
        raise DataError(
            "there are matched sets, which a deal keeps together",
            expected="pairs in memory, or a split column",
            remedy="give a split column",
        )
    survey = batches.survey
    number = _rank(batches.texts, survey.prompts | survey.chosen | survey.responses)
    return _deal_texts(batches, number, seed, shares, min_prompts)


def _deal_pairs(
    data: PreferenceData, seed: int, shares: Sequence[float], min_prompts: int
) -> tuple[DealtTexts, PreferenceData, np.ndarray]:
    number = tied_texts(data, _rank(data.texts, _used(len(data.texts), data.prompt, data.chosen, data.rejected)))
    dealt = _deal_texts(batches_of(data), number, seed, shares, min_prompts)
    return dealt, data, dealt.part(data)


def _deal_texts(batches: PairBatches, number: np.ndarray, seed: int, shares: Sequence[float], min_prompts: int) -> DealtTexts:
    def kept(dealt: DealtTexts) -> int:
        return sum(_kept(batch, dealt.part(batch)) for batch in batches)

    survey = batches.survey
    return _dealt(
        survey.prompts, None if survey.without_texts else survey.responses, survey.without_prompt, number, seed, shares, min_prompts, kept
    )


def _deal_judgements(
    data: PreferenceData, seed: int, shares: Sequence[float], min_prompts: int
) -> tuple[DealtTexts, PreferenceData, np.ndarray]:
    """The judgements' texts are dealt, and pairs are drawn inside the parts."""
    rows = data.judgements
    assert rows is not None
    prompts, responses = _used(len(data.texts), rows.prompt), _used(len(data.texts), rows.response)

    def drawn(dealt: DealtTexts) -> tuple[PreferenceData, np.ndarray]:
        of_row = rows.prompt if dealt.unit == "prompts" else rows.response
        return redrawn(data, dealt.of_text[of_row], np.random.default_rng([seed, 3]))

    dealt = _dealt(
        prompts, responses if has_texts(data).all() else None, int((rows.prompt < 0).sum()), _rank(data.texts, prompts | responses), seed, shares,
        min_prompts, lambda some: _kept(*drawn(some)),
    )  # fmt: skip
    return dealt, *drawn(dealt)


def _dealt(
    prompts: np.ndarray, responses: np.ndarray | None, without_prompt: int, number: np.ndarray, seed: int, shares: Sequence[float],
    min_prompts: int, kept: Callable[[DealtTexts], int],
) -> DealtTexts:  # fmt: skip
    """prompts, responses bool[texts]; responses None: not all are known. number int64[texts + 1]. kept: pairs to judge by in a deal."""
    count = len(np.unique(number[:-1][prompts]))
    if count >= min_prompts and without_prompt:
        expected = "a prompt in every pair, or in none"
        raise DataError(f"{without_prompt} pairs without a prompt", expected=expected, remedy="fill the prompt column, or leave it out")

    def by(unit: str, units: np.ndarray, why: str) -> DealtTexts:
        distinct, which = np.unique(number[:-1][units], return_inverse=True)
        of_text = np.full(len(number), -1, np.int8)
        of_text[:-1][units] = _part_of_each(len(distinct), shares, seed)[which]
        return DealtTexts(unit, why, of_text, number)

    if count >= min_prompts:
        return by("prompts", prompts, "")
    wanted = np.asarray(shares) > 0
    enough = not without_prompt and count >= FEWEST_IN_PART * wanted.sum()
    may = enough and bool((_sizes(count, shares)[wanted] >= FEWEST_IN_PART).all())
    if responses is None:
        if may:
            return by("prompts", prompts, f"There are {count} prompts, and no responses to deal instead. ")
        expected = f"{min_prompts} distinct prompts, or {FEWEST_IN_PART} of them for each part, or both responses of every pair"
        raise DataError(
            "too few prompts to split by, and pairs without texts", expected=expected, remedy="bring them, or give a split column"
        )
    few = f"There are {count} prompts, under {min_prompts}: " if count else ""
    if not may:
        return by("responses", responses, few and f"{few}too few to deal to {wanted.sum()} parts. ")
    candidates = by("prompts", prompts, ""), by("responses", responses, "")
    keeps = [kept(dealt) for dealt in candidates]
    why = f"{few}dealing prompts keeps {keeps[0]:,} pairs to judge by, dealing responses {keeps[1]:,}. "
    return replace(candidates[int(keeps[0] < keeps[1])], why=why)


def _kept(data: PreferenceData, part: np.ndarray) -> int:
    """Strict pairs outside train that lie in one part and whose user has train pairs."""
    strict = is_strict(data)
    trains = np.zeros(len(data.users), bool)
    trains[data.user[strict & (part == TRAIN)]] = True
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
    rule = f"The data's own split column was used; {_without(unseen)}."
    return Split(part, np.zeros(len(data), dtype=bool), (part == TRAIN) | only_history, unseen, cell, "given", _account(reason), rule)


def _without(unseen: np.ndarray) -> str:
    """unseen: bool[users]."""
    n = int(unseen.sum())
    return "1 user has no training pair" if n == 1 else f"{n:,} users have no training pair"


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

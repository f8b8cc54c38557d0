"""Which pairs are audited, and which tell how common a user's tastes are: a user's own choices must not decide both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenhand.core import DataError, PreferenceData
from evenhand.data.batches import PairBatches, Rows, batches_of
from evenhand.data.splits import MIN_PROMPTS, TEST, TRAIN, VALID, deal, deal_texts

HALVES = (0.5, 0.0, 0.5)  # of the prompts: support is computed on one half, the model judged on the other


@dataclass(frozen=True)
class Halves:
    """tested: the pairs to audit; known: those for support. where: what the first are called."""

    tested: Rows
    known: Rows
    where: str


def halves_of(batches: PairBatches, seed: int) -> Halves:
    """By the split column; else prompts (or, with few, responses) are dealt to two halves; where there are neither, all is audited.

    Raises DataError for a split column without test pairs, and for matched sets where texts are dealt.
    """
    parts = batches.survey.parts
    if is_split(batches):
        if not parts[TEST]:
            raise no_test_pairs()
        return Halves(_in_parts(TEST), _in_parts(TRAIN, VALID), "test rows of the split column")
    if not _shared(batches):
        return Halves(lambda batch: np.ones(len(batch), bool), lambda batch: np.zeros(len(batch), bool), "all rows")
    dealt = deal_texts(batches, seed=seed, shares=HALVES)
    return Halves(lambda batch: dealt.part(batch) == TEST, lambda batch: dealt.part(batch) == TRAIN, f"half of the {dealt.unit}")


def halves_in_memory(data: PreferenceData, seed: int) -> tuple[PreferenceData, np.ndarray, np.ndarray, str]:
    """(the data that was dealt, rows to audit bool[n], rows for support bool[n], what the first are called).

    As `halves_of`; pairs that were drawn from judgements are drawn anew inside the halves, and matched sets stay together.
    """
    batches = batches_of(data)
    if (data.judgements is None and not batches.survey.matched) or is_split(batches) or not _shared(batches):
        halves = halves_of(batches, seed)
        return data, halves.tested(data), halves.known(data), halves.where
    data, split = deal(data, seed=seed, shares=HALVES, unseen_users=0.0, held_pairs=0.0)
    return data, split.rows(TEST), split.rows(TRAIN), f"half of the {split.unit}"


def is_split(batches: PairBatches) -> bool:
    """Whether the data has a split of its own."""
    return bool(batches.survey.parts[:-1].any())


def no_test_pairs() -> DataError:
    """The error of a split without test pairs."""
    remedy = "bring more prompts, or mark some rows 'test' in the split column"
    return DataError("there are no test pairs", expected="held-out pairs to judge by", remedy=remedy)


def _shared(batches: PairBatches) -> bool:
    """Whether there is enough that users share to deal; without it support is unknown, and groups need an attribute."""
    survey = batches.survey
    return not survey.without_chosen and max(int(survey.prompts.sum()), int(survey.chosen.sum())) >= MIN_PROMPTS


def _in_parts(*parts: int) -> Rows:
    return lambda batch: np.zeros(len(batch), bool) if batch.split is None else np.isin(batch.split, parts)

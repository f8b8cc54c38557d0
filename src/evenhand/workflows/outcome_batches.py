"""Score columns of pairs in batches → what an audit is given, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evenhand.audits.outcomes import OutcomeBatches, Outcomes, numbering, outcomes_of
from evenhand.data.batches import Judged, PairBatches, Rows, batches_of
from evenhand.workflows.score_columns import margins_of


def outcome_batches(batches: PairBatches, scores: Sequence[str], rows: Rows | None = None, *, model: str, split: str) -> OutcomeBatches:
    """Outcomes of the pairs that `rows` marks (default: all). scores: one column of margins, or two of rewards, see `margins_of`.

    Pairs are numbered over all of `batches`: with or without `rows` a pair has one number.
    """
    numbers = numbering(batches, texts_are_ids=not has_words(batches))

    def read() -> Iterator[Outcomes]:
        for batch in batches:
            pairs = batch if rows is None else batch.take(np.flatnonzero(rows(batch)))
            yield outcomes_of(pairs, margins_of(pairs, scores), model=model, split=split, numbers=numbers)

    return OutcomeBatches(
        model, split, len(batches.users), len(batches.texts), 0 if numbers.ballots is None else len(numbers.ballots), read
    )


def has_words(data: Judged) -> bool:
    """Whether chosen and rejected are texts, whose lengths mean something, and not missing or ids: by the first thousand pairs."""
    batches = batches_of(data)
    if len(batches) == 0 or batches.survey.without_chosen:
        return False
    first = next(batch for batch in batches if len(batch))
    rows = {*first.chosen[:1000].tolist(), *first.rejected[:1000].tolist()}
    return any(" " in batches.texts[r].strip() for r in rows if r >= 0)

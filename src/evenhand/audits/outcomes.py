"""What an audit is given: one margin a pair, and who judged it. No model, no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from evenhand.audits.clusters import numbered
from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.ballots import Ballots
from evenhand.data.batches import PAIRS_AT_ONCE, Judged, batch_ends, batches_of

LARGEST = 1e50  # fourth powers of margins, as in degrees of freedom, must stay finite


@dataclass(frozen=True)
class Outcomes:
    """Margins of one model on one set of pairs; every array has one entry a pair.

    user int32[n], >= 0; margin float[n] = r(chosen) - r(rejected), finite. prompt int32[n], chosen and rejected int32[n], numbers of texts:
    what several users judged was drawn, too, and widens intervals (two-way clustering, see `twoway.share_units`);
    weight float[n] > 0 (within a user); tie bool[n]: the annotator had no strict preference (left out of every metric, counted).
    pair int64[n] names the unordered pair of responses and side bool[n] which of the two was chosen (for agreement between annotators).
    length_difference float[n]: characters of chosen minus rejected. truncated, identical bool[n]: a text was cut, both texts are equal
    after cutting; hardly_read bool[n]: much of a text is unknown to the encoder; None = not measured. labels: nuisance → its value for each pair (language, position), for panel 6.
    """

    model: str
    split: str
    user: np.ndarray
    margin: np.ndarray
    prompt: np.ndarray | None = None
    chosen: np.ndarray | None = None
    rejected: np.ndarray | None = None
    weight: np.ndarray | None = None
    tie: np.ndarray | None = None
    pair: np.ndarray | None = None
    side: np.ndarray | None = None
    length_difference: np.ndarray | None = None
    truncated: np.ndarray | None = None
    identical: np.ndarray | None = None
    hardly_read: np.ndarray | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.user)
        for name, array in self._arrays().items():
            if array.shape != (n,):
                raise EvenhandError(f"Outcomes: '{name}' has shape {array.shape}. Expected: ({n},), one entry a pair as in 'user'.")
        _refuse_rows(
            np.isnan(self.margin), "margins are not a number", "score these pairs again, or leave them out and count them as excluded"
        )
        _refuse_rows(np.abs(self.margin) > LARGEST, "margins are infinite or beyond 1e50", "let the model return finite rewards")
        _refuse_rows(self.user < 0, "pairs have no user", "leave these pairs out: an audit counts users")
        if self.weight is not None:
            _refuse_rows(
                ~(np.isfinite(self.weight) & (self.weight > 0)), "weights are not above 0", "give every pair a finite weight above 0"
            )

    def __len__(self) -> int:
        return len(self.user)

    def _arrays(self) -> dict[str, np.ndarray]:
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("model", "split", "labels")}
        return {k: v for k, v in (*named.items(), *self.labels.items()) if v is not None}

    def take(self, rows: np.ndarray | slice) -> Outcomes:
        """The pairs at `rows` (boolean mask, indices or slice). Users keep their numbers."""
        picked: dict[str, Any] = {k: v[rows] for k, v in self._arrays().items() if k not in self.labels}
        return replace(self, **picked, labels={k: v[rows] for k, v in self.labels.items()})

    def strict(self) -> Outcomes:
        """Without the pairs on which the annotator had no preference: no answer to these is right."""
        return self if self.tie is None or not self.tie.any() else self.take(~self.tie)


@dataclass(frozen=True)
class OutcomeBatches:
    """Outcomes batch by batch: one user's pairs are all in one batch, and numbers of users, texts and pairs are common to all.

    users, texts, pairs: no number is as large (of `user`; of `prompt`, `chosen`, `rejected`; of `pair`). read: the batches, each time anew and
    the same, in the order of users; all have the same arrays.
    """

    model: str
    split: str
    users: int
    texts: int
    pairs: int
    read: Callable[[], Iterator[Outcomes]]

    def __iter__(self) -> Iterator[Outcomes]:
        return self.read()


@dataclass(frozen=True)
class Numbering:
    """What the outcomes of all batches have in common."""

    prompts: bool  # there are prompts
    ballots: Ballots | None  # numbers of the pairs; None where a response is not known
    lengths: np.ndarray | None  # int64[texts], characters; None where texts are not known, or only named


def in_batches(outcomes: Outcomes | OutcomeBatches, ends: np.ndarray | None = None) -> OutcomeBatches:
    """Pairs in memory as batches of whole users, in the order of users; pairs of one user keep theirs.

    ends int64[batches]: where batches end, numbers of users, exclusive, as from `batch_ends` of other pairs of the same users. None: one
    batch where they are few, else `batch_ends` of these pairs. Equal batches from elsewhere give the same statistics to the bit.
    """
    if isinstance(outcomes, OutcomeBatches):
        return outcomes
    if ends is None and len(outcomes) <= PAIRS_AT_ONCE:
        return one_batch(outcomes)
    one = one_batch(outcomes)
    (outcomes,) = one
    of_user = np.bincount(outcomes.user, minlength=0 if ends is None else int(ends[-1]))
    stops = np.cumsum(of_user)[(batch_ends(of_user) if ends is None else ends) - 1]
    order = None if (outcomes.user[1:] >= outcomes.user[:-1]).all() else np.argsort(outcomes.user, kind="stable")

    def read() -> Iterator[Outcomes]:
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            yield outcomes.take(slice(start, stop) if order is None else order[start:stop])

    return replace(one, read=read)


def one_batch(outcomes: Outcomes) -> OutcomeBatches:
    """Pairs in memory as a single batch."""
    if outcomes.pair is not None and len(outcomes) and int(outcomes.pair.max()) >= 4 * len(outcomes) + 1000:
        outcomes = replace(outcomes, pair=numbered(outcomes.pair)[0])
    named = [a for a in (outcomes.prompt, outcomes.chosen, outcomes.rejected) if a is not None]
    keys = 0 if outcomes.pair is None else _beyond(outcomes.pair)
    texts = max(map(_beyond, named), default=0)
    return OutcomeBatches(outcomes.model, outcomes.split, _beyond(outcomes.user), texts, keys, lambda: iter((outcomes,)))


def _beyond(numbers: np.ndarray) -> int:
    """The least that no number reaches."""
    return int(numbers.max()) + 1 if len(numbers) else 0


def numbering(data: Judged, *, texts_are_ids: bool = False) -> Numbering:
    """texts_are_ids: what stands for the texts names them only, so that its length is nobody's."""
    batches = batches_of(data)
    known = batches.survey.without_texts == 0
    lengths = np.fromiter(map(len, batches.texts), np.int64, len(batches.texts)) if known and not texts_are_ids else None
    return Numbering(bool(batches.survey.prompts.any()), batches.ballots if known else None, lengths)


def outcomes_of(
    data: PreferenceData, margin: np.ndarray, *, model: str, split: str, texts_are_ids: bool = False, numbers: Numbering | None = None
) -> Outcomes:
    """Outcomes of a model whose margins on `data` are `margin` float[n]; lengths, numbers of pairs and ties come from the data.

    Where a pair has no texts (-1) there are neither lengths nor numbers. The same two answers to another question are another pair.
    numbers: of data of which these pairs are a part (default: their own, see `numbering`).
    """
    if numbers is None:
        numbers = numbering(data, texts_are_ids=texts_are_ids)
    ballots, lengths = numbers.ballots, numbers.lengths
    return Outcomes(
        model=model, split=split, user=data.user, margin=np.asarray(margin, np.float64), prompt=data.prompt if numbers.prompts else None,
        weight=data.weight, tie=data.tie,
        chosen=data.chosen if ballots is not None else None, rejected=data.rejected if ballots is not None else None,
        pair=None if ballots is None else ballots.of(data), side=None if ballots is None else data.chosen <= data.rejected,
        length_difference=None if lengths is None else (lengths[data.chosen] - lengths[data.rejected]).astype(np.float64),
    )  # fmt: skip


def _refuse_rows(bad: np.ndarray, what: str, remedy: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        raise EvenhandError(f"{len(rows)} of {len(bad)} {what} (rows {shown}, counted from 0). Expected: none. To do: {remedy}.")

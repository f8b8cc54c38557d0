"""Which of a user's earlier choices stand in a language model's input before the pair that is judged.

A training pair stands behind choices drawn from the user's other training pairs: never itself, and none that shares its prompt (where
prompts do not tell pairs apart, a response); a user's pairs on one prompt stand behind the same ones, and so does a counterfactual copy.
One in ten stands behind none, so that the model also learns the reward for everybody.
Every other pair stands behind the last ones that may enter a history, as when the model is asked later. Groups play no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.core import PreferenceData
from evenhand.data.matched import tied_texts
from evenhand.data.splits import MIN_PROMPTS, TRAIN, Split
from evenhand.encode.backbone import Backbone
from evenhand.encode.chat import Told

ALONE = 0.1  # of the training pairs


def by_prompt(data: PreferenceData, split: Split) -> bool:
    """Whether prompts tell pairs apart: then context and target pairs of a user share none. A topic that everybody votes on does not."""
    return split.unit == "prompts" or (split.unit == "given" and len(np.unique(data.prompt)) >= MIN_PROMPTS)


def earlier(data: PreferenceData, split: Split, pairs: int, seed: int) -> list[np.ndarray]:
    """For every pair the rows of the choices before it, in the order of the data; none for a pair that nobody asks the model about."""
    order = np.flatnonzero(split.history & _judged(data))
    order = order[np.argsort(data.user[order], kind="stable")]
    ends = np.searchsorted(data.user[order], np.arange(len(data.users) + 1))
    units, train, asked = _units(data, split), split.rows(TRAIN), (split.part >= 0) | split.held
    draw = np.random.default_rng(seed)
    drawn: dict[tuple[int, ...], np.ndarray] = {}
    out = []
    for row in range(len(data)):
        own = order[ends[data.user[row]] : ends[data.user[row] + 1]]
        if not asked[row]:
            own = own[:0]
        elif train[row]:
            key = (int(data.user[row]), *sorted(units[row].tolist()))
            if key not in drawn:
                free = own[~(units[own][:, :, None] == units[row]).any((1, 2))]
                wanted = 0 if draw.random() < ALONE else min(pairs, len(free))
                drawn[key] = np.sort(draw.choice(free, wanted, replace=False))
            own = drawn[key]
        out.append(own[max(len(own) - pairs, 0) :])
    return out


def tellings(data: PreferenceData, rows: Sequence[np.ndarray], backbone: Backbone, with_prompt: bool) -> list[Told]:
    """What the backbone is told before each pair, from rows of the choices before it. One user's choices are made a persona once."""
    made: dict[bytes, Told] = {}
    out = []
    for some in rows:
        key = some.tobytes()
        if key not in made:
            made[key] = backbone.told([texts_of(data, row, with_prompt) for row in some.tolist()])
        out.append(made[key])
    return out


def texts_of(data: PreferenceData, row: int, with_prompt: bool) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) of a pair; the prompt is empty where none is read."""
    return (data.texts[data.prompt[row]] if with_prompt else "", data.texts[data.chosen[row]], data.texts[data.rejected[row]])


def _judged(data: PreferenceData) -> np.ndarray:
    """Pairs that somebody decided, bool[n]: no ties, no counterfactual copies."""
    out = np.ones(len(data), bool) if data.tie is None else ~data.tie
    return out if data.events is None or data.events.copy is None else out & ~data.events.copy


def _units(data: PreferenceData, split: Split) -> np.ndarray:
    """What two pairs of a user may not share where one is told before the other, int64[n, 1 or 2]."""
    tied = np.append(tied_texts(data, np.arange(len(data.texts))), -1)
    return tied[data.prompt][:, None] if by_prompt(data, split) else tied[np.stack([data.chosen, data.rejected], axis=1)]

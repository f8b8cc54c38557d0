"""Texts that matched sets tie together: where one of them is known, so is what was said of the others."""

from __future__ import annotations

import numpy as np

from evenhand.core import PreferenceData


def tied_texts(data: PreferenceData, number: np.ndarray) -> np.ndarray:
    """A numbering of the texts in which tied texts share a number: the smallest of theirs.

    number int64[texts, or more]: any numbers of `data.texts`, 0 or above where a text is used. The prompts of a matched set are tied, so
    are its responses y1, and so are its y2: a counterfactual copy and its original carry one choice, and a split or a history that
    parts them would give it away. Without matched sets the numbers stay as they are.
    """
    twin = None if data.events is None else data.events.twin
    rows = np.empty(0, np.int64) if twin is None else np.flatnonzero(twin >= 0)
    if data.events is None or twin is None or not len(rows):
        return number
    from scipy.sparse import coo_array  # a tenth of what a small audit takes, and few data have matched sets
    from scipy.sparse.csgraph import connected_components

    first = data.events.first
    _, head, place = np.unique(twin[rows], return_index=True, return_inverse=True)
    ends = []
    for column in (data.prompt, np.where(first, data.chosen, data.rejected), np.where(first, data.rejected, data.chosen)):
        text, other = column[rows], column[rows[head][place]]
        there = (text >= 0) & (other >= 0)
        ends.append(np.stack([number[text[there]], number[other[there]]]))
    a, b = np.concatenate(ends, axis=1)
    count = int(number.max()) + 1
    _, component = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    least = np.full(int(component.max()) + 1, count)
    np.minimum.at(least, component, np.arange(count))
    return np.append(least[component], -1)[number]

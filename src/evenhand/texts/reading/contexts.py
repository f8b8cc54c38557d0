"""What a cell of a grid says about its texts, as sentences: one a placeholder, and those that other values would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenhand.texts.grid import Axis, Grid


@dataclass(frozen=True)
class Said:
    """Of one placeholder, which the axis fills. sentences: one a distinct value. own int64[cells]: which of them is true of each cell."""

    column: str
    axis: Axis
    sentences: tuple[str, ...]
    own: np.ndarray


def said(grid: Grid) -> tuple[Said, ...]:
    """Of every placeholder of more than one value: whom a text is intended for (matched axes), what it is about (the others)."""
    out = []
    for at, axis in enumerate(grid.axes):
        for part, column in enumerate(axis.names):
            values = list(dict.fromkeys(v[part] for v in axis.values))
            if len(values) > 1:
                sentences = tuple(f"This message is {'intended for' if axis.matched else 'about'} {v}." for v in values)
                of_value = np.array([values.index(v[part]) for v in axis.values])
                out.append(Said(column, axis, sentences, of_value[grid.cells[:, at]]))
    return tuple(out)

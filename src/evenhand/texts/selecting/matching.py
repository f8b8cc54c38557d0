"""What of a grid is compared with what: units inside which texts are chosen together, and their matched cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenhand.core import EvenhandError
from evenhand.texts.grid import Grid


@dataclass(frozen=True)
class Sides:
    """A matched axis inside a unit. cells int64[values, others]: places of the unit; those of one column differ in this axis alone."""

    axis: str
    cells: np.ndarray

    @cached_property
    def pairs(self) -> np.ndarray:
        """int64[values · (values - 1) / 2 · others, 2], the pairs of two values one after the other."""
        two = itertools.combinations(range(len(self.cells)), 2)
        return np.concatenate([np.stack([self.cells[v], self.cells[w]], axis=1) for v, w in two])


@dataclass(frozen=True)
class Units:
    """cells int64[units, places]: of the grid. sides: the same of every unit."""

    cells: np.ndarray
    sides: tuple[Sides, ...]

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values [cells, …] → [units, places, …]."""
        return np.asarray(values[self.cells])

    def back(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """Values [units, places] → [cells]."""
        out = np.zeros(len(grid), values.dtype)
        out[self.cells] = values
        return out


def blocks(grid: Grid) -> Units:
    """A unit is a block: every combination of the matched axes (all ages x genders of one theme and region)."""
    places = np.arange(grid.size).reshape(grid.shape)
    sides = tuple(Sides(a.name, np.moveaxis(places, i, 0).reshape(len(a), -1)) for i, a in enumerate(grid.matched))
    return Units(np.arange(len(grid)).reshape(grid.blocks, grid.size), sides)


def pairs(grid: Grid) -> Units:
    """A unit is a matched pair (y_a, y_b), of the first matched axis of two values: the paper's plain reading. Raises EvenhandError for
    none.
    """
    axis = next((a for a in grid.matched if len(a) == 2), None)
    if axis is None:
        raise EvenhandError(
            "No matched axis of the grid has two values, so that its cells are no pairs. Expected: an axis such as gender with two values. "
            "To do: select whole blocks, which is the default."
        )
    return Units(grid.pairs(axis), (Sides(axis.name, np.array([[0], [1]])),))

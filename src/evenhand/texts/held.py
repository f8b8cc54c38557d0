"""Blocks that no training sees, so that what was learned can be looked at where it was not learned."""

from __future__ import annotations

import numpy as np

from evenhand.core import EvenhandError
from evenhand.texts.grid import Grid


def held_out(grid: Grid, share: float = 0.25, seed: int = 0) -> np.ndarray:
    """bool[blocks]: which blocks are held out, whole, so that a combination of the axes that are not matched is on one side alone.

    round(share · blocks) of them, as evenly as can be over the values of the first such axis: where each theme comes in several regions,
    every theme is trained on, and looked at in a region where it was not. Raises EvenhandError for fewer than two blocks.
    """
    if not 0 < share < 1:
        raise EvenhandError(f"The share of blocks held out is {share}. Expected: above 0 and under 1. To do: .25 is usual.")
    if grid.blocks < 2:
        raise EvenhandError(
            f"Grid '{grid.name}' has one block. Expected: two or more, one to train on and one to look at. To do: add an axis that is not "
            "matched."
        )
    draw = np.random.default_rng([seed, 23])
    values = next(len(a) for a in grid.axes if not a.matched)
    each = grid.blocks // values  # blocks of a value
    place = np.stack([draw.permutation(each) for _ in range(values)])  # [values, blocks of each]: which goes first
    turn = draw.permutation(values)[:, None]  # whose turn it is first
    order = np.argsort((place * values + turn).ravel())
    held = np.zeros(grid.blocks, bool)
    held[order[: min(max(1, round(share * grid.blocks)), grid.blocks - 1)]] = True
    return held

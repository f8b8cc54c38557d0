"""Offsets: one number a group added to the margins of a trained model, the post-processing baseline to Faro.

    M' = M + c_g,     c_g brings the group's rates of sigma(M') to those of all pairs in events

After Hardt et al. (2016, arXiv 1610.02413), who give each group a threshold of its own. Demographic parity has one rate a group and is met
exactly on the pairs the offsets were fitted to; equalized odds has two rates and one number, so that the sum of squares is smallest.
They need a pair's group when they score: a model that is blind to groups cannot use them, and outputs say so.
"""

from __future__ import annotations

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from evenhand.core import EvenhandError, Pairs
from evenhand.training.constraints import Layout, Meter, soft

WIDEST = 10.0  # |c|: sigma(10) is certainty


def offsets(margin: Tensor, pairs: Pairs, layout: Layout) -> Tensor:
    """c float[groups], fitted to the margins float[n] of `pairs`; 0 for a group that has none.

    Raises EvenhandError for matched sets: a copy has no group of its own.
    """
    if layout.matched or pairs.events is None:
        raise EvenhandError("offsets: matched sets have no groups to offset. Expected: dp or eo on events. To do: choose one of these.")
    meter = Meter(pairs, layout)
    event, first = pairs.events.of_pair, pairs.events.first
    groups = len(layout.blocks[0])
    inside = event >= 0
    rows = [inside if len(layout.blocks) == 1 else inside & (first == bool(label)) for label in range(len(layout.blocks))]
    wanted = [torch.sigmoid(_oriented(margin, pairs)[r]).mean() for r in rows]
    c = []
    for group in range(groups):
        cells = {block[group]: w for block, w in zip(layout.blocks, wanted, strict=True) if meter.present[block[group]]}
        if not cells:
            c.append(0.0)
            continue

        def away(c: float, group: int = group, cells: dict[int, Tensor] = cells) -> float:
            shifted = apply(margin, pairs, torch.zeros(groups).index_fill(0, torch.tensor([group]), c))
            q = meter(shifted, soft)
            return float(sum((q[cell] - w) ** 2 for cell, w in cells.items()))

        c.append(float(minimize_scalar(away, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-4}).x))
    return torch.tensor(c)


def apply(margin: Tensor, pairs: Pairs, c: Tensor) -> Tensor:
    """Margins r(chosen) - r(rejected) with the groups' offsets on y1; pairs in no event stay as they are."""
    assert pairs.events is not None
    event = pairs.events.of_pair
    return margin + torch.where(pairs.events.first, 1.0, -1.0) * torch.where(event >= 0, c[event.clamp_min(0)], 0.0)


def _oriented(margin: Tensor, pairs: Pairs) -> Tensor:
    assert pairs.events is not None
    return torch.where(pairs.events.first, margin, -margin)

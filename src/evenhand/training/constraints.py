"""Constraints on event rates as training sees them: which cells of pairs are compared, their rates, and what exceeds the slack.

    q(e) = mean over users of the user's mean of the decision over the pairs of cell e         decision: sigma(M) or 1[M > 0], M = r(y1) - r(y2)
    g_j  = (A q)_j - slack_j <= 0

`audits.rates` measures the same on held-out pairs; there users' names and intervals are known, here gradients are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from evenhand.core import TIE, EvenhandError, Events, History, Pairs
from evenhand.training.episodes import draw_sides

Decision = Callable[[Tensor], Tensor]  # oriented margins M → values in [0, 1]
FEWEST_PAIRS, FEWEST_USERS = 20, 2  # of a cell: with fewer a rate says nothing, and no batch could be promised one


def soft(oriented: Tensor) -> Tensor:
    """sigma(M), differentiable."""
    return torch.sigmoid(oriented)


def hard(oriented: Tensor) -> Tensor:
    """1[M > 0], one half for a tie."""
    return torch.where(oriented.abs() < TIE, 0.5, (oriented > 0).to(oriented.dtype))


@dataclass(frozen=True)
class Layout:
    """What a notion compares. cell: the cell of each pair int64[n], -1 = none. blocks: cells that are compared with each other.

    Without blocks the one cell holds gaps of matched sets, which are violations themselves (counterfactual fairness).
    """

    cells: int
    cell: Callable[[Events], Tensor]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def matched(self) -> bool:
        return not self.blocks

    def violation(self, q: Tensor, present: Tensor | None = None) -> Tensor:
        """D float[…] of rates float[…, cells]: the largest difference within a block, or the mean gap.

        present bool[cells]: cells that have pairs, default all; the others are compared with nothing. 0 where no two cells are compared.
        """
        if self.matched:
            return q[..., 0]
        high, low = (q, q) if present is None else (q.where(present, -torch.inf), q.where(present, torch.inf))
        gaps = [high[..., list(b)].amax(-1) - low[..., list(b)].amin(-1) for b in self.blocks]
        return torch.stack(gaps, -1).amax(-1).clamp_min(0)

    def all_pairs(self) -> tuple[Tensor, Tensor]:
        """(A [j, cells], slack per unit of gamma [j]): every two cells of a block within gamma of each other."""
        return self._differences([pair for block in self.blocks for pair in combinations(block, 2)], 1.0)

    def anchored(self, anchor: int) -> tuple[Tensor, Tensor]:
        """The same with every cell within gamma / 2 of the anchor's, the block's cell number `anchor`: 2 (k - 1) instead of k (k - 1).

        Every two cells are then within gamma by the triangle inequality; the set of models that satisfy it is smaller. Two groups have one
        difference, which keeps all of gamma.
        """
        slack = 0.5 if any(len(b) > 2 for b in self.blocks) else 1.0
        return self._differences([(c, b[anchor]) for b in self.blocks for c in b if c != b[anchor]], slack)

    def _differences(self, compared: Sequence[tuple[int, int]], slack: float) -> tuple[Tensor, Tensor]:
        if self.matched:
            return torch.ones(1, 1), torch.ones(1)
        rows = torch.zeros(2 * len(compared), self.cells)
        for j, (a, b) in enumerate(compared):
            rows[2 * j, a], rows[2 * j, b] = 1.0, -1.0
        rows[1::2] = -rows[::2]
        return rows, torch.full((len(rows),), slack)


def dp(groups: int) -> Layout:
    """Demographic parity: the rate of preferring y1 is the same in every group."""
    return Layout(groups, lambda o: o.of_pair, (tuple(range(groups)),))


def eo(groups: int) -> Layout:
    """Equalized odds (Hardt et al. 2016, arXiv 1610.02413): the same among pairs in which y1 was chosen, and among the others."""
    labels = tuple(tuple(range(label, 2 * groups, 2)) for label in (0, 1))
    return Layout(2 * groups, lambda o: torch.where(o.of_pair >= 0, 2 * o.of_pair + o.first, -1), labels)


def cf(groups: int) -> Layout:
    """Counterfactual fairness on matched sets (after Kusner et al. 2017, arXiv 1703.06856): the mean over sets of max - min."""
    return Layout(1, lambda o: torch.where(o.sets >= 0, 0, -1), ())


Notion = Callable[[int], Layout]


def groups_of(*parts: Pairs) -> int:
    """The number of groups in some sets of pairs together; 0 without events."""
    return max(0 if pairs.events is None or len(pairs) == 0 else int(pairs.events.of_pair.max()) + 1 for pairs in parts)


class Meter:
    """Rates of one set of pairs, from their margins. present bool[cells]: the cell has pairs (for matched sets: two of one set)."""

    def __init__(self, pairs: Pairs, layout: Layout):
        assert pairs.events is not None
        cell = layout.cell(pairs.events)
        self.rows = (cell >= 0).nonzero()[:, 0]
        self.sign = torch.where(pairs.events.first, 1.0, -1.0)[self.rows]
        self.cells, self.sets = layout.cells, None
        cell, user = cell[self.rows], pairs.user[self.rows]
        if layout.matched:
            _, self.sets, size = pairs.events.sets[self.rows].unique(return_inverse=True, return_counts=True)
            self.whole = (size > 1).nonzero()[:, 0]
            user = torch.zeros(len(size), dtype=torch.long).index_copy(0, self.sets, user)[self.whole]
            cell = torch.zeros_like(user)
        _, place, count = (user * layout.cells + cell).unique(return_inverse=True, return_counts=True)
        of = torch.zeros(len(count), dtype=torch.long).index_copy(0, place, cell)
        self.users = torch.bincount(of, minlength=layout.cells)  # of each cell
        self.cell, self.weight = cell, 1.0 / (count[place] * self.users[cell])
        self.present = self.users > 0

    def __call__(self, margin: Tensor, decision: Decision) -> Tensor:
        """q float[…, cells] from margins r(chosen) - r(rejected) float[…, n]; 0 for a cell that is not present."""
        value = decision(margin[..., self.rows] * self.sign)
        if self.sets is not None:
            index = self.sets.expand(value.shape)
            shape = (*value.shape[:-1], int(self.sets.max()) + 1) if len(self.sets) else (*value.shape[:-1], 0)
            high = value.new_full(shape, -1.0).scatter_reduce(-1, index, value, "amax")
            low = value.new_full(shape, 2.0).scatter_reduce(-1, index, value, "amin")
            value = (high - low)[..., self.whole]
        return value.new_zeros(*value.shape[:-1], self.cells).index_add(-1, self.cell, value * self.weight.to(value.dtype))


def check(method: str, train: Pairs, layout: Layout) -> None:
    """Raises EvenhandError unless there are cells to compare, and each of them has enough training pairs to be constrained."""
    if train.events is None:
        raise EvenhandError(
            f"{method}: the pairs are in no events. Expected: an event column, a term file or groups of users. "
            "To do: --mentions FILE, --column event=NAME, or --group-by COLUMN."
        )
    if not layout.matched and len(layout.blocks[0]) < 2:
        raise EvenhandError(
            f"{method}: the pairs are in {len(layout.blocks[0])} events. Expected: two or more, to be compared with each other. "
            "To do: --mentions FILE with several groups, or a column that is not the same for all pairs."
        )
    meter = Meter(train, layout)
    pairs, users = torch.bincount(meter.cell, minlength=layout.cells), meter.users
    for cell in range(layout.cells):
        if pairs[cell] < FEWEST_PAIRS or users[cell] < FEWEST_USERS:
            what = "matched sets" if layout.matched else "training pairs"
            raise EvenhandError(
                f"{method}: event {cell} of {layout.cells} has {int(pairs[cell])} {what} of {int(users[cell])} users. "
                f"Expected: at least {FEWEST_PAIRS} of {FEWEST_USERS} users. To do: leave it out, merge it with another, or bring more data."
            )


def dealt(train: Pairs, seed: int) -> Pairs:
    """Training pairs in an event, each under other pairs of its user: one deal, fixed by the seed, to measure training violations by.

    A head that reads histories must not be asked about what it has just read. Without histories' sake nothing is lost but half the pairs.
    """
    context, target = draw_sides(train, (0.5, 0.5), torch.Generator().manual_seed(seed))
    order = torch.argsort(train.user[context], stable=True)
    rows = context.nonzero()[:, 0][order]
    offsets = torch.zeros(len(train.history) + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(train.user[rows], minlength=len(train.history)), 0)
    history = History(train.items, offsets, train.chosen[rows], train.rejected[rows], train.history.row)
    return replace(train.take(target.nonzero()[:, 0]), history=history)


def measured(method: str, meter: Meter) -> None:
    """Raises EvenhandError where a cell has no pair to measure its violation by: it would look as if it were met."""
    if not bool(meter.present.all()):
        what = "whole matched set" if meter.sets is not None else "pair"
        raise EvenhandError(
            f"{method}: event {int(meter.present.long().argmin())} of {len(meter.present)} has no {what} left when a part of each user's pairs is set aside as history. "
            "Expected: matched sets that are dealt as one block, events of several users. To do: give the pairs blocks, or bring more data."
        )

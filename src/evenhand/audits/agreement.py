"""The annotators' own agreement: no model can be expected to agree with people more than they agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.batch import Batch
from evenhand.audits.clusters import Clusters, Shared, factor
from evenhand.audits.intervals import nobody_deviates
from evenhand.audits.passes import Study
from evenhand.audits.sample import Sample
from evenhand.audits.spread import Spread, at, spread, table
from evenhand.core import Estimate

WIDEST = 0.5  # an interval of alpha wider than this cannot tell poor agreement from good: it is not shown


def agreements(sample: Sample, names: Sequence[str]) -> Study[list[Estimate | None]]:
    """Krippendorff's alpha of the users of each cell on the pairs they share: 1 = full agreement, 0 = chance, -1 = two raters who always
    differ. With a 95 % t interval for users and what they judge drawn; no user is compared with himself, and who judged a pair twice has one
    judgement, perhaps between the sides.

    Which response is called the first says nothing, so alpha is that of the data together with their mirror image: the expected
    disagreement is that of two equally frequent values, N / (2N - 1) of N judgements, whatever the order of rows or texts.
    alpha = 1 - D_o / D_e with D_o the mean over judgements of e_ui, the share of the other users of pair i who chose otherwise than u
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). A user counts in his own e and in the others', so that
    V = V_user(2 (e - D_o)) + V_unit(e - D_o) - V_(user and unit)(2 (e - D_o)), at least the larger of the first two, with
    min(users, units) - 1 degrees; units are the prompts or responses that users share, else the pairs themselves. None with no shared pair,
    under 3 users, or where the interval is wider than 0.5.

    D_o needs of each pair no more than how many judged it, m, and the sums s and q of their choices and of the squares of these (who chose
    either side once chose by half):  Σ_u e_u = 2 ((m - 1) s - s² + q) / (m - 1).
    """
    if not names:
        return []
    tables = yield lambda batch: _counted(sample, batch)
    if tables is None:
        return [None] * len(names)
    judgements, firsts, squares = tables
    pair, cell = judgements.nonzero()
    m, s, q = (at(t, pair, cell) for t in (judgements, firsts, squares))
    pair, cell, m, s, q = (x[m > 1] for x in (pair, cell, m, s, q))
    count = np.bincount(cell, m, minlength=len(names))
    apart = np.bincount(cell, 2 * ((m - 1) * s - s**2 + q) / (m - 1), minlength=len(names))
    disagreement = np.divide(apart, count, out=np.zeros(len(count)), where=count > 0)

    def ask(batch: Batch) -> Spread:
        rows, item, chose = _judgements(sample, batch)
        cell = sample.cell[sample.at(batch)]
        of = cell[batch.user[rows]]
        others = at(judgements, item, of) - 1
        met = others > 0
        rows, item, chose, of, others = rows[met], item[met], chose[met], of[met], others[met]
        of_others = at(firsts, item, of) - chose
        differs = (chose * (others - of_others) + (1 - chose) * of_others) / others
        off = (differs - disagreement[of]) / count[of]
        if sample.shared is not None:
            shared = sample.shared.clusters(batch.judged.take(rows))
        else:
            shared = Shared("pairs", (Clusters(item, batch.keys, 1.0),), (Clusters(None, len(rows), 1.0),))
        return spread(shared, batch.user[rows], cell, sample.cells, [off, np.ones(len(rows))])

    found: Spread = yield ask
    return [_estimate(found, g, disagreement[g], int(count[g]), name) for g, name in enumerate(names)]


def _judgements(sample: Sample, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of users in a cell, one judgement of each user on each pair: its row, its pair, and the choice, 0 to 1."""
    ballots, side, pair = batch.ballots, batch.strict.side, batch.strict.pair
    assert ballots is not None
    assert side is not None
    assert pair is not None
    rows = ballots.first
    if ballots.of is None:
        chose = side[rows].astype(np.float64)
    else:
        chose = np.bincount(ballots.of, side, minlength=ballots.many) / np.bincount(ballots.of, minlength=ballots.many)
    kept = sample.cell[sample.at(batch)][batch.user[rows]] >= 0
    return rows[kept], pair[rows[kept]], chose[kept]


def _counted(sample: Sample, batch: Batch) -> tuple[Any, ...] | None:
    """Of each pair in each cell how many judged it, and the sums of their choices and of the squares of these; None where pairs are unknown."""
    if batch.ballots is None:
        return None
    rows, item, chose = _judgements(sample, batch)
    of, shape = sample.cell[sample.at(batch)][batch.user[rows]], (batch.keys, sample.cells)
    return tuple(table(item, of, values, shape) for values in (None, chose, chose**2))


def _estimate(found: Spread, cell: int, disagreement: float, count: int, group: str) -> Estimate | None:
    raters = int(found.users.many[cell + 1])
    if raters < 3:
        return None
    drawn = [t.of_cell(cell) for t in found.across]
    units = int(drawn[0].many)
    by_user = 4 * float(found.users.products[cell + 1, 0, 0]) * float(factor(np.array(raters))) ** 2
    by_unit = sum(m.sign * float(m.products[0, 0]) for m in drawn) * float(factor(np.array(units))) ** 2
    twice = 4 * sum(m.sign * float(m.products[cell + 1, 0, 0]) for m in found.within)
    variance = 4 * max(by_user, by_unit, by_user + by_unit - twice)  # alpha moves by twice what D_o moves
    value, fewest = 1 - disagreement * (2 * count - 1) / count, min(raters, units)
    half = float(stdtrit(max(fewest - 1, 1), 0.975) * np.sqrt(variance)) if variance > 1e-24 else 2 * nobody_deviates(fewest)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if high - low > WIDEST:
        return None
    return Estimate(value, low, high, raters, count, metric="Krippendorff alpha", group=group)

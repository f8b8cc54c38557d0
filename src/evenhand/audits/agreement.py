"""The annotators' own agreement: no model can be expected to agree with people more than they agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.batch import Batch
from evenhand.audits.clusters import Clusters, Shared, factor, numbered
from evenhand.audits.intervals import nobody_deviates
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.passes import Study, over
from evenhand.audits.sample import Sample
from evenhand.audits.spread import Spread, at, spread, table
from evenhand.core import Estimate

WIDEST = 0.5  # an interval of alpha wider than this cannot tell poor agreement from good: it is not shown


def krippendorff_alpha(first: np.ndarray, second: np.ndarray) -> float:
    """Krippendorff's alpha of choices between two responses that have no fixed order, from how often either was chosen on each pair
    [items]; 1 = full agreement, 0 = chance, -1 = two raters who always differ.

    Which response is called the first says nothing, so alpha is that of the data together with their mirror image: the expected
    disagreement is that of two equally frequent values, N / (2N - 1) of N judgements, whatever the order of rows or texts.
    alpha = 1 - D_o / D_e with D_o = 1/N Σ_i 2 a_i b_i / (m_i - 1) over items with m_i = a_i + b_i >= 2 (Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability"). nan where no item has two judgements.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    paired = a + b >= 2
    a, b = a[paired], b[paired]
    total = (a + b).sum()
    return _alpha(float((2 * a * b / (a + b - 1)).sum() / total), float(total)) if total else float("nan")


def _alpha(disagreement: float, judgements: float) -> float:
    return 1 - disagreement * (2 * judgements - 1) / judgements


def agreement(user: np.ndarray, pair: np.ndarray, side: np.ndarray, group: str = "", shared: Shared | None = None) -> Estimate | None:
    """Alpha of users on the pairs they share, with a 95 % t interval for users and what they judge drawn; no user is compared with himself.

    user int[n], pair int64[n] (unordered pair of responses), side bool[n] (which was chosen); who judged a pair twice has one judgement,
    perhaps between the sides. shared: the prompts or responses behind the n pairs (default: the pairs themselves are drawn).
    D_o is the mean over judgements of e_ui, the share of the other users of pair i who chose otherwise than u. A user counts in his own e
    and in the others', so that V = V_user(2 (e - D_o)) + V_unit(e - D_o) - V_(user and unit)(2 (e - D_o)), at least the larger of the
    first two, with min(users, units) - 1 degrees. None with no shared pair, under 3 users, or where the interval is wider than 0.5.
    """
    (who, raters), (item, items) = numbered(user), numbered(pair)
    batch = Batch(Outcomes("", "", who, np.zeros(len(who)), pair=item, side=side), 0, items)
    sample = Sample(batch.number, np.zeros(raters, np.int64), 1, batch.pairs)
    drawn = None if shared is None else lambda batch, rows: shared.take(rows)
    return over([batch], agreements(sample, [group], drawn))[0]


Drawn = Callable[[Batch, np.ndarray], Shared | None]


def agreements(sample: Sample, names: Sequence[str], drawn: Drawn | None = None) -> Study[list[Estimate | None]]:
    """The same of the users of each cell, of pairs in batches. drawn: what lies behind rows int64[m] of a batch, default what the sample shares.

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
        shared = drawn(batch, rows) if drawn is not None else None
        if drawn is None and sample.shared is not None:
            shared = sample.shared.clusters(batch.judged.take(rows))
        if shared is None:
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
    value, fewest = _alpha(disagreement, count), min(raters, units)
    half = float(stdtrit(max(fewest - 1, 1), 0.975) * np.sqrt(variance)) if variance > 1e-24 else 2 * nobody_deviates(fewest)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if high - low > WIDEST:
        return None
    return Estimate(value, low, high, raters, count, metric="Krippendorff alpha", group=group)

"""The annotators' own agreement: no model can be expected to agree with people more than they agree with each other."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.intervals import nobody_deviates
from evenhand.audits.twoway import Clusters, Shared, factor, numbered
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
    (rater, raters), (item, items) = numbered(user), numbered(pair)
    visit, visits = numbered(item * raters + rater)
    chose = np.bincount(visit, side, minlength=visits) / np.bincount(visit, minlength=visits)
    row = np.empty(visits, np.int64)
    row[visit] = np.arange(len(visit))
    others = np.bincount(item[row], minlength=items)[item[row]] - 1
    chose, others, row = chose[others > 0], others[others > 0], row[others > 0]
    count = len(row)
    if count == 0:
        return None
    (who, raters), (what, items) = numbered(rater[row]), numbered(item[row])
    if raters < 3:
        return None
    of_others = np.bincount(what, chose)[what] - chose
    differs = (chose * (others - of_others) + (1 - chose) * of_others) / others
    disagreement = float(differs.mean())
    value, off = _alpha(disagreement, count), (differs - disagreement) / count
    drawn = Shared("pairs", (Clusters(what, items, 1.0),), (Clusters(None, count, 1.0),)) if shared is None else shared.take(row)
    by_user = float((np.bincount(who, 2 * off) ** 2).sum() * factor(np.array(raters)) ** 2)
    by_unit = sum(c.sign * float((c.sums(off) ** 2).sum()) for c in drawn.across) * float(factor(np.array(drawn.units))) ** 2
    twice = sum(c.sign * float((c.sums(2 * off) ** 2).sum()) for c in drawn.within)
    variance = 4 * max(by_user, by_unit, by_user + by_unit - twice)  # alpha moves by twice what D_o moves
    fewest = min(raters, drawn.units)
    half = float(stdtrit(max(fewest - 1, 1), 0.975) * np.sqrt(variance)) if variance > 1e-24 else 2 * nobody_deviates(fewest)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if high - low > WIDEST:
        return None
    return Estimate(value, low, high, raters, count, metric="Krippendorff alpha", group=group)

"""The annotators' own agreement: no model can be expected to agree with people more than they agree with each other."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.intervals import nobody_deviates
from evenhand.audits.twoway import factor, numbered
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
    judged = a + b >= 2
    a, b = a[judged], b[judged]
    total = (a + b).sum()
    return _alpha(float((2 * a * b / (a + b - 1)).sum() / total), float(total)) if total else float("nan")


def _alpha(disagreement: float, judgements: float) -> float:
    return 1 - disagreement * (2 * judgements - 1) / judgements


def agreement(user: np.ndarray, pair: np.ndarray, side: np.ndarray, group: str = "") -> Estimate | None:
    """Alpha of users on the pairs they share, with a 95 % t interval for users and pairs drawn; a user is never compared with himself.

    user int[n], pair int64[n] (unordered pair of responses), side bool[n] (which was chosen). D_o is the mean over judgements of
    e_ui, the share of the other users of pair i who chose otherwise than u. A user counts in his own e and in the others', so that
    V = V_user(2 (e - D_o)) + V_pair(e - D_o) - V_judgement(2 (e - D_o)), at least the larger of the first two, with min(users, pairs) - 1
    degrees. None with no shared pair, under 3 users, or where the interval is wider than 0.5.
    """
    (rater, raters), (item, items) = numbered(user), numbered(pair)
    visit, visits = numbered(item * raters + rater)
    weight = np.bincount(visit, minlength=visits)
    chose = np.bincount(visit, side, minlength=visits) / weight  # who judged a pair twice has one judgement, perhaps between the sides
    who, what = np.empty(visits, np.int64), np.empty(visits, np.int64)
    who[visit], what[visit] = rater, item
    others = np.bincount(what, minlength=items)[what] - 1
    shared = others > 0
    chose, who, what, others = chose[shared], who[shared], what[shared], others[shared]
    count = len(chose)
    if count == 0:
        return None
    of_others = np.bincount(what, chose, minlength=items)[what] - chose
    differs = (chose * (others - of_others) + (1 - chose) * of_others) / others
    who, raters = numbered(who)
    what, items = numbered(what)
    if raters < 3:
        return None
    disagreement = float(differs.mean())
    value, off = _alpha(disagreement, count), (differs - disagreement) / count
    by_user = float((np.bincount(who, 2 * off) ** 2).sum() * factor(np.array(raters)) ** 2)
    by_pair = float((np.bincount(what, off) ** 2).sum() * factor(np.array(items)) ** 2)
    variance = 4 * max(by_user, by_pair, by_user + by_pair - float((4 * off**2).sum()))  # alpha moves by twice what D_o moves
    degrees = max(min(raters, items) - 1, 1)
    half = float(stdtrit(degrees, 0.975) * np.sqrt(variance)) if variance > 1e-24 else 2 * nobody_deviates(min(raters, items))
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if high - low > WIDEST:
        return None
    return Estimate(value, low, high, raters, count, metric="Krippendorff alpha", group=group)

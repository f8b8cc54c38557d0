"""Scores that no verdict may rest on: they tell no pair apart, or serve every group worse than a coin would."""

from __future__ import annotations

import numpy as np

from evenhand.audits.examine import MIN_PAIRS, MIN_USERS, exclusion
from evenhand.audits.intervals import contrast, in_points
from evenhand.audits.metrics import TIE, correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import arrange, means
from evenhand.core import SMALLEST_CELL, Groups

NEARLY_ALL = 0.95  # of the pairs tied: the rest is too little to say anything of the scores


def broken(outcomes: Outcomes, groups: Groups | None = None, *, min_users: int = MIN_USERS, min_pairs: int = MIN_PAIRS) -> str:
    """What is wrong with the scores, in a first sentence, and what may be the cause in a second; "" where nothing is.

    Either |margin| < 1e-6 in at least 95 % of the pairs with a preference; or all groups that are large enough for a verdict (all users,
    where there is none) lie under 50 %, each with its whole 95 % interval: since all of them must, no correction for their number is due.
    """
    strict = outcomes.strict()
    if not len(strict):
        return ""
    if flaw := all_tied(strict.margin):
        return flaw
    known = groups or Groups((), np.full(int(strict.user.max()) + 1, -1, np.int16), "")
    accuracies = means(arrange(strict, known), [correct(strict.margin)])
    cells = [g for g in range(len(known)) if not exclusion(int(accuracies.users[g]), int(accuracies.pairs[g]), min_users, min_pairs)]
    cells = cells or [len(known)]
    c = contrast(accuracies, np.eye(accuracies.value.size)[cells])
    high = c.bounds(high=1.0)[1]
    if not (high < 0.5).all():
        return ""
    who = "All users together lie" if cells == [len(known)] else "Every group lies"
    if len(cells) == 1 and cells != [len(known)]:
        who = "The one group that is large enough lies"
    best = f"accuracy is {in_points(float(c.value.max()))} % at best, with a 95 % interval up to {in_points(float(high.max()))} %"
    proof = f" ({best})" if accuracies.users[cells].min() >= SMALLEST_CELL else ""
    return f"{who} under 50 %, worse than a coin{proof}. Are the columns swapped?"


def all_tied(margin: np.ndarray) -> str:
    """The same for margins float[n], n > 0, that tell no pair apart, or nearly none."""
    tied = np.abs(margin) < TIE
    if tied.all():
        return "Every margin is 0. These scores tell no pair apart, and equal service means nothing: are these the right scores, or did a model learn nothing?"
    if tied.mean() < NEARLY_ALL:
        return ""
    share = f"{in_points(float(tied.mean()))} % of all margins are 0 ({int(tied.sum()):,} of {len(tied):,})"
    return f"{share}. These scores tell nearly no pair apart, and equal service means little: are these the right scores, or did a model learn nothing?"


def in_short(flaw: str) -> str:
    """The first sentence, to go on with."""
    first = flaw.partition(". ")[0]
    return first[:1].lower() + first[1:]

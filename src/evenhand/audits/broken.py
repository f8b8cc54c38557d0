"""Scores that no verdict may rest on: they tell no pair apart, or serve every group worse than a coin would."""

from __future__ import annotations

import numpy as np

from evenhand.audits.batch import Batch, batches_of
from evenhand.audits.examine import too_small
from evenhand.audits.intervals import contrast, in_points
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import OutcomeBatches, Outcomes
from evenhand.audits.passes import Study, over, side_by_side
from evenhand.audits.sample import Means, averages, means_of, surveyed
from evenhand.core import SMALLEST_CELL, TIE, Groups

NEARLY_ALL = 0.95  # of the pairs tied: the rest is too little to say anything of the scores


def broken(outcomes: Outcomes | OutcomeBatches, groups: Groups | None = None) -> str:
    """What is wrong with the scores, in a first sentence, and what may be the cause in a second; "" where nothing is.

    Either |margin| < 1e-6 in at least 95 % of the pairs with a preference; or all groups that are large enough for a verdict (all users,
    where there is none) lie under 50 %, each with its whole 95 % interval: since all of them must, no correction for their number is due.
    """
    batches = batches_of(outcomes, groups)
    pairs, tied, accuracies = over(batches, accuracies_of(groups))
    return flaw_of(pairs, tied, accuracies, len(groups or ()))


def accuracies_of(groups: Groups | None) -> Study[tuple[int, int, Means | None]]:
    """Pairs with a preference, how many of them are tied, and accuracies by group; None without any."""

    def right(batch: Batch) -> list[np.ndarray]:
        return [correct(batch.strict.margin)]

    sample, average, (pairs, tied) = yield from side_by_side(surveyed(groups), averages(right), _ties())
    if not pairs:
        return 0, 0, None
    return pairs, tied, (yield from means_of(sample, right, average))


def _ties() -> Study[tuple[int, int]]:
    pairs, tied = yield lambda batch: (len(batch.user), int(np.count_nonzero(np.abs(batch.strict.margin) < TIE)))
    return pairs, tied


def flaw_of(pairs: int, tied: int, accuracies: Means | None, groups: int) -> str:
    """The same from `accuracies_of`, whose last cell is all users."""
    if accuracies is None:
        return ""
    if flaw := tied_flaw(pairs, tied):
        return flaw
    reasons = too_small(accuracies.users[:groups], accuracies.pairs[:groups])
    cells = [g for g, reason in enumerate(reasons) if not reason] or [groups]
    c = contrast(accuracies, np.eye(accuracies.value.size)[cells])
    high = c.bounds(high=1.0)[1]
    if not (high < 0.5).all():
        return ""
    who = "All users together lie" if cells == [groups] else "Every group lies"
    if len(cells) == 1 and cells != [groups]:
        who = "The one group that is large enough lies"
    best = f"accuracy is {in_points(float(c.value.max()))} % at best, with a 95 % interval up to {in_points(float(high.max()))} %"
    proof = f" ({best})" if accuracies.users[cells].min() >= SMALLEST_CELL else ""
    return f"{who} under 50 %, worse than a coin{proof}. Are the columns swapped?"


def all_tied(margin: np.ndarray) -> str:
    """The same for margins float[n], n > 0, that tell no pair apart, or nearly none."""
    return tied_flaw(len(margin), int(np.count_nonzero(np.abs(margin) < TIE)))


def tied_flaw(pairs: int, tied: int) -> str:
    """The same where so many of pairs are tied."""
    if tied == pairs:
        return f"Every margin is 0 or under {TIE:g}. These scores tell no pair apart, and equal service means nothing: are these the right scores, did a model learn nothing, or is their scale so small that all should be multiplied by a constant?"
    if tied / pairs < NEARLY_ALL:
        return ""
    share = f"{in_points(tied / pairs)} % of all margins are 0 or under {TIE:g} ({tied:,} of {pairs:,})"
    return f"{share}. These scores tell nearly no pair apart, and equal service means little: are these the right scores, did a model learn nothing, or is their scale so small that all should be multiplied by a constant?"


def in_short(flaw: str) -> str:
    """The first sentence, to go on with."""
    first = flaw.partition(". ")[0]
    return first[:1].lower() + first[1:]

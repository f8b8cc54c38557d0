"""What `fit` keeps of each deal, and how many deals there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evenhand.audits.deals import Deal
from evenhand.audits.metrics import correct
from evenhand.audits.ranking import Judged
from evenhand.core import EvenhandError
from evenhand.data.splits import TEST
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.prepare import Prepared, judged
from evenhand.workflows.progress import Progress
from evenhand.workflows.trained import Model

DEALS = 5  # of votes and ratings on few prompts, where one deal of the responses decides too much
MOST_DEALS = 50


def number_of(deals: int | None, unit: str, *, constrained: bool, certify_share: float) -> int:
    """How many deals to train in; None asked = DEALS where responses are dealt, else 1.

    A constrained fit is judged on one deal's events, and the pairs kept for a certificate must not be seen by any training: one deal.
    """
    if deals is None:
        return DEALS if unit == "responses" and not constrained and not certify_share else 1
    if not 1 <= deals <= MOST_DEALS:
        raise EvenhandError(f"deals is {deals}. Expected: 1 to {MOST_DEALS}. To do: {DEALS} are usual for votes.")
    if deals > 1 and certify_share:
        raise EvenhandError(
            "Found --deals with --certify-share. Expected: one of them, since other deals train on what the first keeps for a certificate. "
            "To do: fit twice, into two folders."
        )
    if deals > 1 and unit == "given":
        raise EvenhandError("Found --deals and a split column. Expected: one of them. To do: leave --deals out, or the column.")
    return deals


Another = Callable[[int], tuple[Prepared, Sequence[Model]]]  # a seed → its deal, with the models trained on it, the one kept last


def in_deals(
    method: str, ready: Prepared, models: Sequence[Model], seeds: Sequence[int], another: Another, progress: Progress
) -> tuple[list[Deal], list[str], list[Assignment]]:
    """The first deal, whose models are trained, and one of each further seed; what the models are called over all of them, the audited one
    first; every deal's groups. What validation keeps may differ from deal to deal: then the method is judged, and bears its own name.
    """
    roles, known = [m.title for m in reversed(models)], {m.title: m for m in models}
    deals, kept = [deal_of(ready, [known[r] for r in roles], seeds[0])], {roles[0]}
    groups = [Assignment(seeds[0], ready.groups, ready.support.values)]
    for seed in seeds[1:]:
        progress("deals", len(deals), len(seeds))
        ready, trained = another(seed)
        again, last = {m.title: m for m in trained}, trained[-1]
        kept.add(last.title)
        deals.append(deal_of(ready, [last, *(again.get(r, last) for r in roles[1:])], seed))
        groups.append(Assignment(seed, ready.groups, ready.support.values))
    progress("deals", len(seeds), len(seeds))
    return deals, [roles[0] if len(kept) == 1 else f"{method}, as chosen in each deal", *roles[1:]], groups


def deal_of(ready: Prepared, models: Sequence[Model], seed: int) -> Deal:
    """The test pairs of one deal under the models, the audited one first."""
    rows = np.flatnonzero(ready.strict(ready.counted(ready.split.rows(TEST))))
    mask = np.zeros(len(ready.data), bool)
    mask[rows] = True
    data = ready.data
    user = data.user[rows].astype(np.int64)
    weight = np.ones(len(rows)) if data.weight is None else data.weight[rows].astype(np.float64)
    right = np.stack([correct(judged(m.ready, m.fitted.scorer, mask, m.title, "").margin) for m in models])
    share = weight / np.bincount(user, weight)[user]
    return Deal(
        seed,
        Judged(user, data.prompt[rows], data.chosen[rows], data.rejected[rows], share, right),
        ready.groups.names,
        ready.groups.of_user,
    )

"""Which events constraints and certificates compare, and what the constraints of an audit find on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenhand.audits.constraints import examine_constraints
from evenhand.audits.findings import ConstraintFindings, FittedConstraints
from evenhand.audits.outcomes import Outcomes
from evenhand.core import DataError, Events, Notion, PreferenceData, clip
from evenhand.data.events import check_events, from_mentions, refuse_coin
from evenhand.data.mentions import Mentions, read_mentions
from evenhand.data.splits import TEST, TRAIN
from evenhand.data.swaps import read_swaps, with_swaps
from evenhand.workflows.settings import AuditSettings

if TYPE_CHECKING:
    from evenhand.workflows.prepare import Prepared


def events_of(ready: Prepared, notion: Notion, terms: Mentions | None, leave_out: Sequence[str]) -> Events:
    """The events by a file of terms, else the data's own, else the users' groups; without those left out.

    Raises DataError where there are none, and where one that is left out is not there.
    """
    events = from_mentions(ready.data, terms) if terms is not None and notion != "cf" else ready.events  # terms would part matched sets
    if events is None:
        raise no_events()
    refuse_coin(events, notion)
    return without(events, leave_out)


def without(events: Events, leave_out: Sequence[str]) -> Events:
    """The events but those named: their pairs are in no event. Matched sets of which a pair was in one are not compared either."""
    if not leave_out:
        return events
    unknown = [name for name in leave_out if name not in events.names]
    if unknown:
        raise DataError(
            f"no event is named {clip(unknown[0])}", expected=f"one of {clip(', '.join(events.names))}", remedy="correct --leave-out"
        )
    kept = np.array([name not in leave_out for name in events.names] + [False])
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    names = tuple(name for name in events.names if name not in leave_out)
    out = kept[events.of_pair]
    twin = events.twin
    if twin is not None:
        dropped = (events.of_pair >= 0) & ~out
        twin = np.where(np.isin(twin, twin[dropped & (twin >= 0)]), -1, twin)
    return replace(events, names=names, of_pair=place[events.of_pair].astype(np.int16), twin=twin)


def with_events(
    data: PreferenceData, mentions: str | Path | None, swap: str | Path | None, leave_out: Sequence[str] = ()
) -> PreferenceData:
    """The data with the events of a file of terms, and with counterfactual copies by a file of swaps; without the events left out."""
    if mentions is not None:
        data = replace(data, events=from_mentions(data, read_mentions(mentions)))
    if leave_out:
        if data.events is None:
            raise DataError("there are no events to leave out", expected="event columns or --mentions", remedy="take --leave-out away")
        data = replace(data, events=without(data.events, leave_out))
    return data if swap is None else with_swaps(data, read_swaps(swap))


def check_constraints(ready: Prepared, notions: Sequence[Notion]) -> None:
    """Raises DataError or EvenhandError, before any training, unless training and test pairs can bear a constraint of each notion."""
    if not notions:
        return
    if ready.events is None:
        raise no_events()
    for part, name in ((TRAIN, "training pairs"), (TEST, "test pairs")):
        rows = np.flatnonzero(ready.strict(ready.split.rows(part)))
        for notion in notions:
            check_events(ready.events.take(rows), notion, user=ready.data.user[rows], rows=name)


def examined(
    settings: AuditSettings,
    before: Outcomes | None,
    after: Outcomes,
    events: Events | None,
    fitted: Mapping[Notion, FittedConstraints] | None = None,
) -> tuple[ConstraintFindings, ...]:
    """The findings of every constraint that was asked for, on pairs whose events stand in the same order."""
    if not settings.constraints:
        return ()
    if events is None:
        raise no_events()
    for notion, _ in settings.constraints:
        refuse_coin(events, notion)
    return tuple(
        examine_constraints(
            before, after, events, notion, gamma, seed=settings.seed, resamples=settings.resamples, fitted=(fitted or {}).get(notion)
        )
        for notion, gamma in settings.constraints
    )


def no_events() -> DataError:
    """The error of a constraint on data that compares nothing."""
    expected = "groups of pairs, or of users, to compare"
    remedy = "bring event columns, name attributes with --group-by, or give a file of terms with --mentions"
    return DataError("the data has no events", expected=expected, remedy=remedy)

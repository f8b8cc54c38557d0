"""Which events a certificate compares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evenhand.audits.rates import Notion
from evenhand.core import DataError, Events, clip
from evenhand.data.events import from_groups, from_mentions
from evenhand.data.mentions import Mentions
from evenhand.jobs.prepare import Prepared


def events_of(ready: Prepared, notion: Notion, group_by: Sequence[str], terms: Mentions | None, leave_out: Sequence[str]) -> Events:
    """The events by a file of terms, else the data's own, else the users' groups by `group_by`; without those left out.

    Raises DataError where there are none, and where one that is left out is not there.
    """
    data = ready.data
    if terms is not None:
        events = from_mentions(data, terms)
    elif data.events is not None and (notion == "cf" or data.events.names):
        events = data.events
    elif group_by:
        events = from_groups(data, ready.groups)
    else:
        expected = "groups of pairs, or of users, to compare"
        remedy = "bring event columns, name attributes with --group-by, or give a file of terms with --mentions"
        raise DataError("the data has no events", expected=expected, remedy=remedy)
    unknown = [name for name in leave_out if name not in events.names]
    if unknown:
        raise DataError(
            f"no event is named {clip(unknown[0])}", expected=f"one of {clip(', '.join(events.names))}", remedy="correct --leave-out"
        )
    kept = np.array([name not in leave_out for name in events.names] + [False])
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    names = tuple(name for name in events.names if name not in leave_out)
    out = kept[events.of_pair]
    twin = events.twin if events.twin is None or not leave_out else np.where(out, events.twin, -1)
    return replace(events, names=names, of_pair=place[events.of_pair].astype(np.int16), twin=twin)


def events_digest(events: Events) -> str:
    """SHA-256 over the events of all pairs: names, groups, orientation, matched sets."""
    digest = hashlib.sha256()
    for name in events.names:
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    twin = b"-" if events.twin is None else np.ascontiguousarray(events.twin.astype(np.int64)).tobytes()
    for part in (events.of_pair.astype(np.int16).tobytes(), events.first.astype(bool).tobytes(), twin):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()

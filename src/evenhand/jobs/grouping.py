"""Who is compared with whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.core import EvenhandError, Events, Groups, PreferenceData
from evenhand.data.events import from_groups
from evenhand.data.groups import by_attribute, by_quantile, by_threshold, intersection
from evenhand.data.support import Support


@dataclass(frozen=True)
class Grouping:
    """By attributes (several = their intersection), else under a support threshold, else the lowest quantile of support."""

    attributes: Sequence[str] = ()
    threshold: float | None = None
    minority: float = 0.2  # share of users called the minority: q of methods.md, section 1

    def __post_init__(self) -> None:
        if not 0 < self.minority < 1:
            raise EvenhandError(f"minority is {self.minority}. Expected: a share of the users, above 0 and under 1. To do: 0.2 is usual.")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise EvenhandError(f"threshold is {self.threshold}. Expected: a support rate from 0 to 1. To do: 0.4 means 40 %.")

    def groups(self, data: PreferenceData, support: Support, pool: np.ndarray | None = None) -> Groups:
        """Each user's group, -1 for none. pool bool[users]: those whose support decides where the lowest quantile ends (default: all)."""
        if self.attributes:
            first, *others = (by_attribute(data, name) for name in self.attributes)
            return intersection(first, *others) if others else first
        return by_threshold(support, self.threshold) if self.threshold is not None else by_quantile(support, self.minority, pool=pool)

    def events(self, data: PreferenceData, groups: Groups) -> Events | None:
        """What constraints compare: the data's own groups of pairs; else users' groups by attributes; else matched sets alone, if any."""
        own = data.events
        if own is not None and own.names:
            return own
        if self.attributes:
            return from_groups(data, groups)
        return own if own is not None and own.twin is not None else None

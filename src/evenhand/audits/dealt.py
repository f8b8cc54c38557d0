"""What several deals of one data set say of a method: plain frozen records. See `deals` for how they come about."""

from __future__ import annotations

from dataclasses import dataclass

from evenhand.core import Estimate


@dataclass(frozen=True)
class DealtModel:
    """accuracy by group, all users last; gap of the groups that bear a verdict, best minus worst of two signed, None with fewer; by_deal: the
    gap, or the accuracy of all users, in each deal; gain over this model of the audited one, by group, empty for the audited one.
    """

    model: str
    accuracy: tuple[Estimate, ...]
    gap: Estimate | None
    gain: tuple[Estimate, ...]
    by_deal: tuple[Estimate, ...]


@dataclass(frozen=True)
class OverDeals:
    """What several deals say; the audited model first."""

    seeds: tuple[int, ...]
    unit: str  # what was dealt: "prompts" or "responses"
    models: tuple[DealtModel, ...]

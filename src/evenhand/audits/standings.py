"""What a comparison of methods, or a sweep over settings, found: plain frozen records, turned into JSON by `findings.to_json`.

Nothing here holds a raw text or a raw user id. Accuracies are means over users of a user's share of pairs with a positive margin; a user
counts once in each seed. Intervals are clustered by user over all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evenhand.core import Estimate, Exclusions


@dataclass(frozen=True)
class Unfairness:
    """A user-level metric on per-user accuracies averaged over seeds. Raw: user noise inflates it, for all entries alike."""

    name: str  # "gap", "correlation with support", or a name of metrics.USER_METRICS
    value: Estimate
    difference: Estimate | None  # from the reference entry, paired by user; None for the reference itself


@dataclass(frozen=True)
class Standing:
    """One entry: a method at its best validation setting (compare), or one setting (sweep).

    Tuples by group follow `Standings.groups`, with all users last.
    """

    name: str
    settings: Mapping[str, str]  # dial → value; "by seed" where validation chose differently in different seeds
    tried: int  # settings tried on validation in each seed
    seconds: float  # of training, over all settings and seeds
    seeds: int
    note: str = ""  # what the method cannot do on these data
    failed: str = ""  # why it failed, in how many seeds; then there are no numbers below
    selection: tuple[Estimate, ...] = ()  # accuracy on validation pairs
    held_out: tuple[Estimate, ...] = ()  # accuracy on test pairs
    over_seeds: tuple[float, ...] = ()  # standard deviation over seeds of the accuracy on test pairs
    log_loss: Estimate | None = None  # test pairs, all users
    calibrated: Estimate | None = None  # the same after each rater's slope, shrunk to the pool's, was fitted on validation pairs
    cells: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)  # accuracy of seen and of unseen users
    unfairness: tuple[Unfairness, ...] = ()


@dataclass(frozen=True)
class Versus:
    """Two entries on the same test pairs. differences: first minus second by group; their intervals hold at once over all duels (max-t)."""

    first: str
    second: str
    differences: tuple[Estimate, ...]
    verdict: str  # "dominates clearly", "dominates", "undecided", "trades", "is dominated", "is dominated clearly"


@dataclass(frozen=True)
class Front:
    """Panel 8: which entries are not dominated, chosen on validation pairs and shown on both splits.

    The hypervolume is the area (two groups; else the volume) of accuracies that improve on the reference in every group, in points^2.
    On test pairs it is that of the entries picked on validation pairs, so that the fall between the two shows what selection flattered.
    """

    reference: str  # entry that improvements are measured from
    best: tuple[str, ...]  # entries not dominated on validation pairs
    knee: str  # of these, the one farthest above the line between the front's ends; "" with fewer than three
    chosen: str  # no group worse than under the reference on validation, and then the largest mean over groups
    hypervolume_selection: float
    hypervolume_held_out: float
    best_held_out: tuple[str, ...]  # entries not dominated on test pairs: to compare, nothing is chosen by it


@dataclass(frozen=True)
class Standings:
    """Everything `compare` and `sweep` print."""

    title: str
    simulated: bool
    groups: tuple[str, ...]  # "all" is not among them
    groups_rule: str
    entries: tuple[Standing, ...]  # in the order asked for, the references first
    duels: tuple[Versus, ...]  # every two entries that did not fail
    front: Front | None  # None where fewer than two groups hold users, or the reference failed
    seeds: tuple[int, ...]
    swept: tuple[str, ...]  # names of the dials a sweep turns; empty for a comparison
    exclusions: Exclusions
    facts: Mapping[str, str]
    limits: tuple[str, ...]
    command: str
    details: Mapping[str, Any] = field(default_factory=dict)  # for machines: what each seed chose

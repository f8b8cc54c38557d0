"""What a comparison of methods, or a sweep over settings, found: plain frozen records, turned into JSON by `findings.to_json`.

Nothing here holds a raw text or a raw user id. Accuracies are means over users of a user's share of pairs with a positive margin; a user
counts once in each seed. In intervals of accuracies and their differences users, the prompts or responses that they
share, and deals (seeds) are drawn; other intervals are clustered by user over all seeds. Violations are those of `rates`, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evenhand.audits.findings import MetricFinding
from evenhand.core import Estimate, Exclusions


@dataclass(frozen=True)
class Unfairness:
    """A user-level metric on per-user accuracies averaged over seeds. Raw: user noise inflates it, for all entries alike."""

    name: str  # "gap", "correlation with support", or a name of metrics.USER_METRICS
    value: Estimate
    difference: Estimate | None  # from the reference entry, paired by user; None for the reference itself


@dataclass(frozen=True)
class Violated:
    """How far an entry's event rates lie apart, by one notion and kind of decision (see `rates`).

    D is the mean over seeds of each seed's own D, the violation that one training is to be expected to have: a maximum of differences, so that
    each seed's noise pushes it up. Pooled, rates are averaged over seeds first: noise that differs between seeds cancels, a bias that they
    share remains.
    """

    notion: str  # "dp", "eo" or "cf"
    decision: str  # "soft" or "hard"
    selection: Estimate  # D on validation pairs; interval from the bootstrap by user, reverse percentiles
    held_out: Estimate  # D on test pairs
    pooled_selection: Estimate  # pooled; interval simultaneous over all compared differences (max-t)
    pooled: Estimate
    difference: Estimate | None  # D on test pairs minus the reference's, paired by user; None for the reference itself
    pooled_difference: Estimate | None


@dataclass(frozen=True)
class EventCount:
    """How many users and pairs stand behind the rate of an event, over all seeds."""

    notion: str
    event: str
    selection_users: int
    selection_pairs: int
    held_out_users: int
    held_out_pairs: int


@dataclass(frozen=True)
class Result:
    """One entry: a method at its best validation setting (compare), or one setting (sweep).

    Tuples by group follow `Comparison.groups`, with all users last.
    """

    name: str
    settings: Mapping[str, str]  # hyperparameter → value; "by seed" where validation chose differently in different seeds
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
    violations: tuple[Violated, ...] = ()  # empty where the data has no events
    cost: Estimate | None = None  # accuracy of all users on test pairs minus the reference's, where there are events
    metrics: tuple[MetricFinding, ...] = ()  # every metric on test pairs, in the order of METRICS; groups follow Comparison.groups


@dataclass(frozen=True)
class Pairwise:
    """Two entries on the same test pairs. differences: first minus second by group; their intervals hold at once over all pairwise comparisons (max-t).

    Users, what users share, and deals (seeds) were drawn. in_these_deals: the same with the deals as they are; by_run: with the deal as the
    only unit. With one deal the first two are the same, and the third is unknown.
    """

    first: str
    second: str
    differences: tuple[Estimate, ...]
    verdict: str  # "dominates clearly", "dominates", "undecided", "trades", "is dominated", "is dominated clearly"
    in_these_deals: tuple[Estimate, ...] = ()
    by_run: tuple[Estimate, ...] = ()


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
class ConstraintFront:
    """Panel 8 for one constraint: accuracy of all users against the violation, chosen on validation pairs and shown on both splits.

    The hypervolume is the area of (violation, accuracy) that improves on a violation of 1 and the accuracy of a coin, .5, in points^2. On test
    pairs it is that of the entries picked on validation pairs.
    """

    notion: str
    decision: str
    gamma: float  # the violation accepted
    reference: str
    lines: tuple[tuple[str, ...], ...]  # entries of a sweep that differ in gamma alone, in its order
    best: tuple[str, ...]  # entries that no other one exceeds in accuracy or violation and equals in both, on validation pairs
    best_held_out: tuple[str, ...]  # the same on test pairs: to compare, nothing is chosen by it
    knee: str
    chosen: str  # of the entries with a violation of at most gamma on validation pairs the most accurate there; "" where there is none
    nearest: str  # the entry with the smallest violation on validation pairs
    hypervolume_selection: float
    hypervolume_held_out: float
    noise_selection: float  # D that the reference would show if all its true rates were equal, mean over seeds; nan for CF
    noise_held_out: float


@dataclass(frozen=True)
class Comparison:
    """Everything `compare` and `sweep` print."""

    title: str
    simulated: bool
    groups: tuple[str, ...]  # "all" is not among them
    groups_rule: str
    entries: tuple[Result, ...]  # in the order asked for, the references first
    pairwise: tuple[Pairwise, ...]  # every two entries that did not fail
    front: Front | None  # None where fewer than two groups hold users, or the reference failed
    seeds: tuple[int, ...]
    swept: tuple[str, ...]  # names of the hyperparameters a sweep turns; empty for a comparison
    exclusions: Exclusions
    facts: Mapping[str, str]
    limits: tuple[str, ...]
    command: str
    details: Mapping[str, Any] = field(default_factory=dict)  # for machines: what each seed chose
    events: tuple[EventCount, ...] = ()  # what constraints compare, where the data says so
    events_rule: str = ""  # how events came about and how pairs are oriented, a sentence
    constraint_fronts: tuple[ConstraintFront, ...] = ()  # one a notion and decision
    note: str = ""  # what the reader is to know, in the words of whoever asked for the report

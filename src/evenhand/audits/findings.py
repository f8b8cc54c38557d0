"""What an audit found: plain frozen records, one for each panel of the report, all turned into JSON by `to_json`.

Nothing here holds a raw text or a raw user id. An interval is 95 % and clustered by user unless its Estimate says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from evenhand.audits.dealt import OverDeals
from evenhand.core import Estimate, Exclusions, Notion, Verdict


@dataclass(frozen=True)
class Requirement:
    """One line of the verdict strip (panel 0). The estimate's interval is simultaneous over all requirements."""

    name: str  # "accuracy gap, minority against majority"
    estimate: Estimate
    tolerance: float  # PASS only if the simultaneous upper bound of the gap is at or under it
    verdict: Verdict
    reason: str  # why this verdict, what would decide it, and which groups it does not speak of


@dataclass(frozen=True)
class SupportBin:
    low: float  # support rate, in [0, 1]
    high: float
    mean: float
    accuracy: Estimate  # over the users of the bin


@dataclass(frozen=True)
class LowSupport:
    """Whether the users with the lowest support share a taste of their own ("rare": they agree with each other more than with the others),
    follow the common one with less care ("careless": the other way round), or neither shows ("unknown").
    """

    finding: str
    edge: float  # support at or under which a user's support is low: a quarter of the users
    among: float  # agreement of two users of low support on a pair both judged, in [0, 1]
    with_others: float  # of one of them and another user
    difference: Estimate  # among - with_others; two-way


@dataclass(frozen=True)
class SupportCurve:
    """Panel 1: per-user accuracy against preference support. Flat = even-handed."""

    rule: str  # how support was computed, a sentence
    bins: tuple[SupportBin, ...]
    line: tuple[tuple[float, float], ...]  # isotonic fit: (support, accuracy)
    slope: Estimate  # logit accuracy per 0.1 of support, standard error clustered by user
    correlation: Estimate  # Spearman, per-user accuracy against support, interval from the bootstrap by user
    users: tuple[tuple[float, float], ...] = ()  # at most 2,000 (support, shrunken accuracy) points, no ids
    low: LowSupport | None = None  # rare taste or carelessness; None where nobody knows which pairs are shared


@dataclass(frozen=True)
class GroupFinding:
    """Panels 2 and 3: one group of users. `excluded` is empty, or the reason why the group bears no verdict."""

    group: str
    n_users: int
    n_pairs: int
    accuracy: Estimate
    margin: Estimate  # mean margin
    log_loss: Estimate
    ece: Estimate  # expected calibration error, 10 equal-width bins of sigma(margin)
    mde: float  # minimum detectable effect of the accuracy, 2.8 standard errors
    ceiling: Estimate | None = None  # annotators' own agreement on shared pairs (Krippendorff alpha), where there is one
    excluded: str = ""
    p_value: float = math.nan  # this group's accuracy against all other groups' users, Welch's t; for exploration
    notable: bool = False  # survives Benjamini-Hochberg at 10 % over the groups


@dataclass(frozen=True)
class MetricFinding:
    """One metric of `metrics.METRICS`, or one brought along, wherever a model is examined: of all users, of each group, and between groups."""

    name: str
    formula: str
    overall: Estimate  # of all users
    groups: tuple[Estimate, ...]  # in the order of the groups beside it
    gap: Estimate | None  # two groups: as the accuracy gap; more: highest minus lowest; None with fewer than two that may be shown


@dataclass(frozen=True)
class NullFinding:
    """Panel 4: a spread statistic against its distribution if all groups were equal (users permuted over groups)."""

    statistic: str  # "max - min", "ratio min / max", "standard deviation"
    observed: float
    expected: float  # mean under the permutation null
    null_low: float  # 2.5 % and 97.5 % points of the null
    null_high: float
    excess: float  # observed - expected
    p_value: float  # share of permutations at least as extreme, plus-one corrected


@dataclass(frozen=True)
class UserMetric:
    """A user-level metric, read three ways, since the raw one is mostly noise when users have few pairs."""

    # "standard deviation", "coefficient of variation", "Gini", "Jain", "max - min", "worst user", "worst decile", "share below 50 %"
    name: str
    raw: float
    expected_if_equal: float  # the same metric if every user had the pooled accuracy
    excess: float
    shrunken: float  # on empirical-Bayes (beta-binomial) accuracies


@dataclass(frozen=True)
class UserSpread:
    """Panel 5: accuracies of single users."""

    grid: tuple[float, ...]  # accuracies 0..1
    raw_density: tuple[float, ...]
    shrunken_density: tuple[float, ...]
    tau: Estimate  # true between-user standard deviation of accuracy (beta-binomial), profile-likelihood interval
    tau_p_value: float  # test of tau = 0
    metrics: tuple[UserMetric, ...]


@dataclass(frozen=True)
class Confound:
    """Panel 6: accuracy over the bins of a nuisance, and how far the nuisance alone tells chosen from rejected."""

    name: str  # "length difference", or the name of a label given by the caller
    bins: tuple[tuple[str, Estimate], ...]
    alone: Estimate | None = None  # accuracy of "prefer the longer" and the like


@dataclass(frozen=True)
class GroupCounts:
    """Panel 6, table: what happened to a group's pairs before they were scored. None = not measured, which is not 0."""

    group: str
    pairs: int
    truncated: int | None = None
    identical_after_truncation: int | None = None
    dropped: int | None = None  # rows of the file left out on reading
    tied: int = 0  # |margin| < 1e-6: count half
    no_preference: int = 0  # the annotator had none: left out of every metric
    hardly_read: int | None = None  # a fifth or more of a text's pieces are unknown to the encoder


@dataclass(frozen=True)
class ChangeRow:
    group: str
    before: Estimate
    after: Estimate
    difference: Estimate  # paired by pair, clustered by user


@dataclass(frozen=True)
class Change:
    """Panel 7: the same pairs under two models."""

    before: str  # model names
    after: str
    rows: tuple[ChangeRow, ...]  # "all" first, then the groups
    gap_before: Estimate
    gap_after: Estimate
    gap_change: Estimate
    levelled_down: float  # share of the closed gap that came from lowering the best group, in [0, 1]; nan if no gap closed
    verdict: str  # one sentence


@dataclass(frozen=True)
class Paired:
    """One number under the model before and the model after. before and change (paired by pair) are None where only one was judged."""

    before: Estimate | None
    after: Estimate
    change: Estimate | None  # after minus before


@dataclass(frozen=True)
class EventRate:
    event: str  # "women", "women, label 1", or "matched sets" whose rate is itself a gap
    rate: Paired


@dataclass(frozen=True)
class ViolationFinding:
    """How far a notion's events lie apart, for one kind of decision."""

    decision: str  # "soft" or "hard"
    size: (
        Paired  # D in [0, 1]; bounds of a level hold at once over all compared events and both decisions; its group names the two furthest
    )
    expected_before: float  # D that noise alone would show if all compared rates were equal; nan where that is no question
    expected_after: float
    rates: tuple[EventRate, ...]
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class GroupCost:
    """What the pairs of one group paid for the constraint, or won by it."""

    group: str
    accuracy: Paired
    log_loss: Paired
    ece: Paired


@dataclass(frozen=True)
class FittedConstraints:
    """How a constrained fit went, epoch by epoch. Violations are D in [0, 1] on all pairs of a split."""

    names: tuple[str, ...]  # of the constraints, as many as multipliers an epoch
    valid_violation: tuple[float, ...]
    train_violation: tuple[float, ...]
    multipliers: tuple[tuple[float, ...], ...]
    best_epoch: int  # the one that was kept, counted from 1; 0 = none
    feasible: bool  # whether any epoch came within gamma; which pairs decide is the method's own rule
    gamma: float
    dual: str  # whose violation drives the multipliers: "hard" or "soft"
    multiplier: str  # "additive" or "swap-regret"


@dataclass(frozen=True)
class ConstraintFindings:
    """One notion against its tolerance, on pairs that training did not see."""

    notion: Notion
    name: str  # "demographic parity"
    gamma: float
    before: str  # model names; "" where no other model was judged
    after: str
    split: str
    rule: str  # how groups came about and how pairs are oriented
    violations: tuple[ViolationFinding, ...]  # soft, hard
    costs: tuple[GroupCost, ...]  # the groups, then "all groups" where some pairs are in none, then "all pairs"
    levelled_down: float  # of a closed gap of accuracies, the share that came from lowering the best group, in [0, 1]; nan if none closed
    levelling: str  # the same in a sentence, "" without a model before
    fitted: FittedConstraints | None
    training: str  # one sentence: whether training found a model within gamma; "" where nothing is known of it
    verdict: Verdict  # of the violation that stands worst
    sentence: str  # violation before and after against gamma, and the verdict

    @property
    def deciding(self) -> ViolationFinding:
        """The violation that gives the verdict: what fails before what is open, and of these the one with the highest bound; what has none
        counts as the highest.
        """
        order = {"FAIL": 2, "INSUFFICIENT": 1, "PASS": 0}
        return max(self.violations, key=lambda v: (order[v.verdict], v.size.after.high if math.isfinite(v.size.after.high) else 1.0))

    @property
    def requirement(self) -> Requirement:
        """The constraint as one line of the verdict strip."""
        worst = self.deciding
        return Requirement(f"{self.name}, {worst.decision} decisions", worst.size.after, self.gamma, worst.verdict, worst.reason)


@dataclass(frozen=True)
class TrainingTrace:
    """Panel 9: how a fit went."""

    method: str
    seed: int
    train_loss: tuple[float, ...]  # per epoch
    valid_loss: tuple[float, ...]
    best_epoch: int
    seconds: float
    pairs_per_second: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    limited: bool = False  # an epoch within the constraints goes before one with a lower validation loss
    by_group: bool = False  # kept by the groups' validation losses, not by the lowest mean over users
    stopped: str = ""  # where and why training on texts ended before its time, one sentence
    tuned_from: int = 0  # epochs after this one trained head and language model together; 0 = none did


@dataclass(frozen=True)
class ModelFindings:
    """Panels 1-6 for one model on one set of pairs."""

    model: str
    split: str  # "test: seen users, unseen prompts" and the like
    overall: Estimate  # accuracy over all users
    groups: tuple[GroupFinding, ...]
    gap: Estimate | None  # accuracy of the best-served minus the worst-served; for two groups majority minus minority
    support: SupportCurve | None
    null: tuple[NullFinding, ...]
    spread: UserSpread | None
    confounds: tuple[Confound, ...]
    counts: tuple[GroupCounts, ...]
    metrics: tuple[MetricFinding, ...] = ()  # every metric, in the order of METRICS; accuracy is among them


@dataclass(frozen=True)
class FairnessReport:
    """Everything the report room prints. `model` is the audited one; `others` are the models it is compared with."""

    title: str
    simulated: bool  # users are simulated: said in the title strip
    requirements: tuple[Requirement, ...]
    model: ModelFindings
    others: tuple[ModelFindings, ...]
    changes: tuple[Change, ...]  # panel 7, the most important first
    cells: tuple[ModelFindings, ...]  # seen/unseen user x prompt, the audited model
    training: tuple[TrainingTrace, ...]
    groups_rule: str
    exclusions: Exclusions
    facts: Mapping[str, str]  # panel 10: hashes, versions, seeds, splits, hardware, date
    formulas: Mapping[str, str]  # panel 10: name → formula
    limits: tuple[str, ...]  # panel 10: what this report does not show
    command: str  # reproduces it
    constraints: tuple[ConstraintFindings, ...] = ()  # each is a line of the verdict strip, too
    deals: OverDeals | None = None  # what several deals of the data say of the method; all else is about the first deal's model
    flaw: str = ""  # why no verdict may rest on these scores; said before everything else
    kept: str = ""  # where validation chose between models: which, among what, and why
    note: str = ""  # what the reader is to know, in the words of whoever asked for the report

    @property
    def judged(self) -> tuple[Requirement, ...]:
        """The lines of the verdict strip: requirements, then constraints."""
        return (*self.requirements, *(c.requirement for c in self.constraints))

    @property
    def verdict(self) -> Verdict:
        """FAIL if any line of the strip fails, else INSUFFICIENT if any lacks data (or there is none), else PASS."""
        verdicts = {r.verdict for r in self.judged}
        if "FAIL" in verdicts:
            return "FAIL"
        return "PASS" if verdicts == {"PASS"} else "INSUFFICIENT"

    @property
    def exit_code(self) -> int:
        return {"PASS": 0, "FAIL": 1, "INSUFFICIENT": 3}[self.verdict]


def to_json(value: Any) -> Any:
    """Records → plain JSON values; nan and infinities become null, so that any JSON reader takes the file."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

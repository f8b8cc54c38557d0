"""One model on one set of pairs: panels 1 to 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.audits.agreement import agreements
from evenhand.audits.batch import Batch, batches_of
from evenhand.audits.bootstrap import RESAMPLED_USERS, basic_interval, holding, resampled_means, resampled_sums
from evenhand.audits.confounds import confounds_of, counts_of
from evenhand.audits.findings import GroupFinding, MetricFinding, ModelFindings, NullFinding, SupportCurve
from evenhand.audits.intervals import (
    BOOTSTRAP_ABOVE,
    BOOTSTRAP_UP_TO,
    MDE_FACTOR,
    Contrast,
    contrast,
    discoveries,
    estimate,
    is_pairwise,
    range_bounds,
    range_rows,
    simultaneous_alpha,
)
from evenhand.audits.low_support import low_support_of
from evenhand.audits.metrics import ECE_BINS, METRICS, Metric, calibration_gaps, correct
from evenhand.audits.nulls import against_null
from evenhand.audits.outcomes import OutcomeBatches, Outcomes
from evenhand.audits.passes import PerUser, Study, nothing, over, per_user, side_by_side
from evenhand.audits.sample import Means, Sample, averages, means, means_of, nobody, surveyed
from evenhand.audits.support_curve import curve_of
from evenhand.audits.twoway import shared_noise
from evenhand.audits.users import as_independent, fit_beta_binomial, independent_of, spread_of_users
from evenhand.core import SMALLEST_CELL, Estimate, EvenhandError, Exclusions, Groups

MIN_USERS = 30
MIN_PAIRS = 200


@dataclass(frozen=True)
class Measured:
    """One metric in every cell: user-clustered means, the value of each user [U], and resampled means a cell where the bootstrap is
    used.
    """

    metric: Metric
    name: str
    means: Means
    of_user: np.ndarray
    draws: dict[int, np.ndarray]

    def single(self, cell: int) -> tuple[Contrast, np.ndarray]:
        row = np.zeros((1, len(self.means.users)))
        row[0, cell] = 1.0
        return contrast(self.means, row, self.metric.bounded), row

    def estimate(self, cell: int, group: str) -> Estimate:
        """Value and 95 % interval of one cell: bootstrap by user for 51 to 20,000 users, else Student's t; two-way t where prompts
        repeat.
        """
        if self.means.users[cell] == 0:
            return Estimate(np.nan, np.nan, np.nan, 0, 0, self.name, group)
        found = estimate(self.single(cell)[0], 0, self.name, group, self.metric.low, self.metric.high)
        if cell not in self.draws:
            return found
        low, high = holding(found.value, self.draws[cell])
        return replace(found, low=low, high=high)


def examine_model(
    outcomes: Outcomes | OutcomeBatches,
    groups: Groups,
    support: np.ndarray | None = None,
    support_rule: str = "",
    *,
    resamples: int = 1000,
    seed: int = 0,
    exclusions: Exclusions | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> ModelFindings:
    """Everything panels 1 to 6 show. support float64[users] (nan = unknown), numbered as Groups.of_user; exclusions fill the `dropped`
    column. metrics: all of METRICS, and perhaps more.

    A group under MIN_USERS or MIN_PAIRS is shown, but bears no verdict and takes no part in gap and null while two other groups are
    large enough.
    """
    study = study_of_model(outcomes, groups, support, support_rule, resamples=resamples, seed=seed, exclusions=exclusions, metrics=metrics)
    return over(batches_of(outcomes, groups), study)


def examine_support(
    outcomes: Outcomes | OutcomeBatches, support: np.ndarray, support_rule: str = "", *, resamples: int = 1000, seed: int = 0
) -> SupportCurve | None:
    """What `examine_model` finds on support, alone. support float64[users], nan = unknown."""
    return over(batches_of(outcomes), study_of_support(outcomes, support, support_rule, resamples=resamples, seed=seed))


def study_of_model(
    outcomes: Outcomes | OutcomeBatches,
    groups: Groups,
    support: np.ndarray | None = None,
    support_rule: str = "",
    *,
    resamples: int = 1000,
    seed: int = 0,
    exclusions: Exclusions | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> Study[ModelFindings]:
    """`examine_model` as a study, to be read side by side with others over `batches_of` the same outcomes."""
    if resamples < 1:
        raise EvenhandError(f"{resamples} resamples. Expected: at least 1; 1,000 for intervals to print. To do: ask for more.")
    if support is not None and len(support) != len(groups.of_user):
        raise EvenhandError(f"support has {len(support)} entries. Expected: one a user, {len(groups.of_user)}, as in Groups.of_user.")
    read, confounders, counts = yield from side_by_side(
        _read(outcomes, groups, metrics, support, support_rule, resamples, seed), confounds_of(), counts_of(groups, exclusions)
    )
    sample = read.sample
    rng = np.random.default_rng([seed, 10110])
    measured = _measured(sample, metrics, read.means, read.of_user, resamples, rng)
    accuracy = measured["accuracy"]
    excluded = too_small(accuracy.means.users[:-1], accuracy.means.pairs[:-1])
    cells = compared(accuracy.means.users, excluded)
    return ModelFindings(
        model=outcomes.model,
        split=outcomes.split,
        overall=accuracy.estimate(len(groups), "all"),
        groups=_group_findings(read, groups, measured, excluded, resamples, rng),
        gap=group_gap(accuracy.means, groups, cells, seed, accuracy.draws),
        support=read.curve,
        null=_null(sample, accuracy, cells, resamples, seed),
        spread=spread_of_users(sample.right(accuracy.of_user), sample.pairs, seed, read.independent),
        confounds=confounders,
        counts=counts,
        metrics=tuple(_metric(m, groups, cells, seed) for m in measured.values()),
    )


@dataclass(frozen=True)
class _Read:
    """What the pairs are read for: all that is said of them follows from it. means of the metrics, of_user float64[metrics, U]; of the five
    calibration bins gaps float64[bins, U], and levels, their means, where users share prompts or responses.
    """

    sample: Sample
    of_user: np.ndarray
    means: Means
    gaps: np.ndarray
    levels: Means | None
    independent: np.ndarray
    ceilings: Sequence[Estimate | None]
    curve: SupportCurve | None


def _read(
    outcomes: Outcomes | OutcomeBatches,
    groups: Groups,
    metrics: Mapping[str, Metric],
    support: np.ndarray | None,
    rule: str,
    resamples: int,
    seed: int,
) -> Study[_Read]:
    def columns(batch: Batch) -> list[np.ndarray]:
        return [metric.values(name, batch.strict.margin) for name, metric in metrics.items()]

    sample, of_user, gaps = yield from side_by_side(surveyed(groups), averages(columns), _gaps())
    if not len(sample.number):
        raise nobody(outcomes)
    found, levels, ceilings, (independent, curve) = yield from side_by_side(
        means_of(sample, columns, of_user),
        means_of(sample, _in_bins, gaps) if sample.shared is not None else nothing(),
        agreements(sample, groups.names),
        _served(sample, of_user[list(metrics).index("accuracy")], support, rule, resamples, seed),
    )
    return _Read(sample, of_user, found, gaps, levels, independent, ceilings, curve)


def study_of_support(
    outcomes: Outcomes | OutcomeBatches, support: np.ndarray, rule: str = "", *, resamples: int = 1000, seed: int = 0
) -> Study[SupportCurve | None]:
    """`examine_support` as a study, to be read side by side with others over `batches_of` the same outcomes."""
    sample, average = yield from side_by_side(surveyed(), averages(lambda batch: [_right(batch)]))
    if not len(sample.number):
        raise nobody(outcomes)
    return (yield from _served(sample, average[0], support, rule, resamples, seed))[1]


def _served(
    sample: Sample, accuracy: np.ndarray, support: np.ndarray | None, rule: str, resamples: int, seed: int
) -> Study[tuple[np.ndarray, SupportCurve | None]]:
    """As how many independent pairs those of each user count, and the curve of accuracy over support."""

    def curve() -> Study[tuple[np.ndarray, SupportCurve | None]]:
        independent = yield from independent_of(sample, _right)
        if support is None:
            return independent, None
        right = as_independent(sample.right(accuracy), sample.pairs, independent)
        shrunken = fit_beta_binomial(right, independent).shrunken(right, independent)
        known = support[sample.number]
        found = yield from curve_of(sample, lambda batch: [_right(batch)], known, accuracy, shrunken, rule, resamples=resamples, seed=seed)
        return independent, found

    low = low_support_of(sample, support) if support is not None else nothing()
    (independent, found), lowest = yield from side_by_side(curve(), low)
    return independent, None if found is None else replace(found, low=lowest)


def _right(batch: Batch) -> np.ndarray:
    return correct(batch.strict.margin)


def _in_bins(batch: Batch) -> list[np.ndarray]:
    bins, off = calibration_gaps(batch.strict.margin)
    return [np.where(bins == b, off, 0.0) for b in range(ECE_BINS)]


def _gaps() -> Study[np.ndarray]:
    """Averages of `_in_bins`, float64[bins, U]."""

    def ask(batch: Batch) -> PerUser:
        bins, off = calibration_gaps(batch.strict.margin)
        place = bins.astype(np.int64) * len(batch.number) + batch.user
        sums = np.bincount(place, batch.share * off, minlength=ECE_BINS * len(batch.number))
        return per_user(sums.reshape(ECE_BINS, -1) / batch.whole)

    found: PerUser = yield ask
    return found.all


def _metric(found: Measured, groups: Groups, cells: list[int], seed: int) -> MetricFinding:
    by_group = tuple(found.estimate(g, name) for g, name in enumerate(groups.names))
    shown = (found.means.users[cells] >= SMALLEST_CELL).all()
    gap = group_gap(found.means, groups, cells, seed, found.draws, found.metric, found.name) if shown else None
    return MetricFinding(found.name, found.metric.formula, found.estimate(len(groups), "all"), by_group, gap)


def measure(
    sample: Sample, margin: np.ndarray, resamples: int, rng: np.random.Generator, metrics: Mapping[str, Metric] = METRICS
) -> dict[str, Measured]:
    """Every metric over all cells, of pairs that are one batch; the resamples of users are common to them."""
    values = [metric.values(name, margin) for name, metric in metrics.items()]
    return _measured(sample, metrics, means(sample, values), np.stack([sample.user_means(v) for v in values]), resamples, rng)


def _measured(
    sample: Sample, metrics: Mapping[str, Metric], found: Means, of_user: np.ndarray, resamples: int, rng: np.random.Generator
) -> dict[str, Measured]:
    """The same from the means of all metrics and of each user [metrics, U]."""
    draws = _resampled_cells(sample, of_user.T, resamples, rng)
    return {
        name: Measured(metric, name, found.column(c), of_user[c], {cell: d[:, c] for cell, d in draws.items() if np.ptp(d[:, c]) > 0})
        for c, (name, metric) in enumerate(metrics.items())
    }


def _resampled_cells(sample: Sample, of_user: np.ndarray, resamples: int, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Resampled means [resamples, metrics] of each cell that the bootstrap serves; the cell of all is the sum of the others."""
    users, _ = sample.counts()
    served = [g for g, n in enumerate(users) if BOOTSTRAP_ABOVE < n <= BOOTSTRAP_UP_TO]
    if sample.shared is not None or not resamples:
        return {}
    cells = list(range(-1, sample.cells)) if sample.cells in served else served
    sums = {g: resampled_sums(of_user[sample.cell == g], resamples, rng) for g in cells if (sample.cell == g).any()}
    if sample.cells in served:
        sums[sample.cells] = sum(sums.values(), np.zeros((resamples, of_user.shape[1] + 1)))
    return {g: sums[g][:, :-1] / sums[g][:, -1:] for g in served}


def too_small(users: np.ndarray, pairs: np.ndarray) -> list[str]:
    """Of cells with so many users and pairs, int[cells] each: why one bears no verdict, or ''."""
    sizes = [((u, "users", MIN_USERS), (p, "pairs", MIN_PAIRS)) for u, p in zip(users, pairs, strict=True)]
    return ["; ".join(f"{found} {what}, {least} needed" for found, what, least in size if found < least) for size in sizes]


def compared(users: np.ndarray, excluded: Sequence[str]) -> list[int]:
    """users int[groups + 1]. The groups that gap and null compare: those large enough for a verdict; under two of these, those that may be shown; under two of
    these, too, all that have users. One tiny group thus never hides the gap between others.
    """
    tiers = [g for g, reason in enumerate(excluded) if not reason], _of_size(users, SMALLEST_CELL)
    return next((cells for cells in tiers if len(cells) >= 2), _of_size(users, 1))


def _of_size(users: np.ndarray, least: int) -> list[int]:
    return [g for g, n in enumerate(users[:-1]) if n >= least]


def group_gap(
    found: Means,
    groups: Groups,
    cells: list[int],
    seed: int,
    draws: dict[int, np.ndarray] | None = None,
    metric: Metric = METRICS["accuracy"],
    name: str = "accuracy",
) -> Estimate | None:
    """Two groups: the larger minus the smaller, or majority minus minority where named so (signed). More: best minus worst, with
    simultaneous bounds.
    """
    if len(cells) < 2:
        return None
    widest, title = metric.high - metric.low, f"{name} gap"
    if len(cells) > 2:
        spans = contrast(found, range_rows(cells, found.value.size), metric.bounded)
        value, low, high = range_bounds(spans, simultaneous_alpha(spans.correlation, seed), not is_pairwise(cells), widest)
        order = sorted(cells, key=lambda g: found.value[0, g])
        users, pairs = int(found.users[cells].sum()), int(found.pairs[cells].sum())
        ends = "best minus worst" if name == "accuracy" else "highest minus lowest"
        return Estimate(value, low, high, users, pairs, title, f"{groups.names[order[-1]]} minus {groups.names[order[0]]} ({ends})")
    first, second = ordered(groups, found.users, cells)
    row = np.zeros((1, found.value.size))
    row[0, first], row[0, second] = 1.0, -1.0
    signed = contrast(found, row, metric.bounded)
    gap = estimate(signed, 0, title, f"{groups.names[first]} minus {groups.names[second]}", -widest, widest)
    if draws and first in draws and second in draws:
        spread = holding(gap.value, draws[first] - draws[second])
        gap = replace(gap, low=spread[0], high=spread[1])
    return gap


def ordered(groups: Groups, users: np.ndarray, cells: Sequence[int]) -> tuple[int, int]:
    """(majority, minority) of two groups: by name, else by number of users."""
    a, b = cells
    names = groups.names[a].casefold(), groups.names[b].casefold()
    if names == ("minority", "majority") or ("majority" not in names and "minority" not in names and users[a] < users[b]):
        return b, a
    return a, b


def _group_findings(
    read: _Read, groups: Groups, measured: dict[str, Measured], excluded: list[str], resamples: int, rng: np.random.Generator
) -> tuple[GroupFinding, ...]:
    accuracy, gaps = measured["accuracy"], np.ascontiguousarray(read.gaps.T)
    p_values = _against_others(accuracy, excluded)
    notable = discoveries(p_values)
    out = []
    for g, name in enumerate(groups.names):
        single, _ = accuracy.single(g)
        users, pairs = int(accuracy.means.users[g]), int(accuracy.means.pairs[g])
        rows = read.sample.cell == g
        out.append(
            GroupFinding(
                group=name, n_users=users, n_pairs=pairs, accuracy=accuracy.estimate(g, name), margin=measured["margin"].estimate(g, name),
                log_loss=measured["log_loss"].estimate(g, name), ece=calibration_error(gaps[rows], pairs, name, max(resamples, 200), rng, read.levels, g),
                mde=float(MDE_FACTOR * single.se[0]) if users else np.nan, ceiling=read.ceilings[g], excluded=excluded[g],
                p_value=float(p_values[g]), notable=bool(notable[g]),
            )
        )  # fmt: skip
    return tuple(out)


def _against_others(accuracy: Measured, excluded: list[str]) -> np.ndarray:
    """Welch p of each group against the users of all other groups, float64[groups]; nan for groups without a verdict or without others."""
    users = accuracy.means.users[:-1]
    out = np.full(len(users), np.nan)
    for g in range(len(users)):
        others = np.where((np.arange(len(users)) != g), users, 0)
        if excluded[g] or others.sum() < 2:
            continue
        row = np.zeros((1, len(users) + 1))
        row[0, :-1] = -others / others.sum()
        row[0, g] = 1.0
        out[g] = contrast(accuracy.means, row).p_values()[0]
    return out


def calibration_error(
    by_user: np.ndarray, pairs: int, group: str, resamples: int, rng: np.random.Generator, found: Means | None = None, cell: int = 0
) -> Estimate:
    """ECE = Σ_bins |mean over users of (correct - confidence) in the bin|, by_user [users, 5]; reverse percentiles of the bootstrap by
    user. found: the means of the five bins where users share prompts or responses, `cell` this group's; their error is added.
    """
    if len(by_user) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, "expected calibration error", group)
    value = float(np.abs(by_user.mean(axis=0)).sum())
    if len(by_user) == 1:
        return Estimate(value, 0.0, 1.0, 1, pairs, "expected calibration error", group)
    enough = int(np.clip(RESAMPLED_USERS // len(by_user), 200, resamples))
    levels = resampled_means(by_user, enough, rng)
    if found is not None and found.by_both is not None:
        own = np.ix_(*2 * [cell + len(found.users) * np.arange(ECE_BINS)])
        levels += shared_noise(found.by_user[own], found.by_both[own], len(levels), int(found.units[cell]), rng)
    draws = np.abs(levels).sum(axis=1)
    low, high = basic_interval(np.array(value), draws)
    return Estimate(value, float(low), min(1.0, float(high)), len(by_user), pairs, "expected calibration error", group)


def _null(sample: Sample, accuracy: Measured, cells: list[int], resamples: int, seed: int) -> tuple[NullFinding, ...]:
    place = np.full(sample.cells + 1, -1)
    place[cells] = np.arange(len(cells))
    of = np.where(sample.cell >= 0, place[sample.cell], -1)
    if len(cells) < 2:
        return ()
    return against_null(accuracy.of_user[of >= 0], of[of >= 0], found=accuracy.means, cells=cells, permutations=resamples, seed=seed)

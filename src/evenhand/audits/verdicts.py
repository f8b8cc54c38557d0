"""PASS, FAIL or INSUFFICIENT for each requirement, on bounds that hold for all of them at once.

PASS only if the bound proves it, never because a difference was "not significant". FAIL only if the bound proves it, too. Between the
two the data decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.batch import batches_of
from evenhand.audits.broken import accuracies_of, flaw_of, in_short
from evenhand.audits.changes import same_pairs
from evenhand.audits.examine import compared, too_small
from evenhand.audits.findings import Requirement
from evenhand.audits.intervals import (
    MDE_FACTOR,
    Contrast,
    contrast,
    in_points,
    is_pairwise,
    pairwise,
    range_bounds,
    range_rows,
    simultaneous_alpha,
)
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import OutcomeBatches, Outcomes
from evenhand.audits.passes import Study, over
from evenhand.audits.requirements import Expression, parse_requirement
from evenhand.audits.sample import Means, arrange, means, nobody
from evenhand.audits.shortfall import Question, needed, parts_of
from evenhand.core import SMALLEST_CELL, Estimate, EvenhandError, Groups, Verdict

TOLERANCE = 0.05


@dataclass(frozen=True)
class Bounded:
    """A quantity with its simultaneous bounds: what a verdict is made from. mde: the largest minimum detectable effect of the groups of a
    gap, else 0. thin: why the groups it needs bear no verdict, or ''. needed: what would decide, should the bounds not. left_out: groups
    it does not speak of, or ''.
    """

    estimate: Estimate
    mde: float
    thin: str
    needed: str = ""
    left_out: str = ""


def check_requirements(
    outcomes: Outcomes | OutcomeBatches,
    groups: Groups,
    expressions: Sequence[str] = (),
    *,
    tolerance: float | None = TOLERANCE,
    before: Outcomes | None = None,
    seed: int = 0,
) -> tuple[Requirement, ...]:
    """One Requirement for the gap (best minus worst group <= tolerance) and one for each expression; see `requirements.parse_requirement`.

    All bounds hold at once with 95 % (max-t over every group, difference and gain involved). INSUFFICIENT: a group involved has fewer
    than MIN_USERS users or MIN_PAIRS pairs; or the bounds lie on both sides of the threshold; or, for a PASS on a gap, a minimum
    detectable effect (2.8 standard errors of an involved group's accuracy) exceeds the threshold. A FAIL, a floor and a gain need no such
    power: their bound proves them. Scores that are broken (`broken.broken`) pass nothing. tolerance None: no requirement but the
    expressions.
    """
    study = study_of_requirements(outcomes, groups, expressions, tolerance=tolerance, before=before, seed=seed)
    return over(batches_of(outcomes, groups), study)[0]


def study_of_requirements(
    outcomes: Outcomes | OutcomeBatches,
    groups: Groups,
    expressions: Sequence[str] = (),
    *,
    tolerance: float | None = TOLERANCE,
    before: Outcomes | None = None,
    seed: int = 0,
) -> Study[tuple[tuple[Requirement, ...], str]]:
    """`check_requirements` as a study, to be read side by side with others over `batches_of` the same outcomes, and what is `broken`."""
    parsed = [parse_requirement(e, groups) for e in expressions]
    if tolerance is not None and not any(e.quantity == "gap" and not e.groups for e in parsed):
        parsed.insert(0, Expression("gap", (), "<=", tolerance))
    if before is None and any(e.quantity == "gain" for e in parsed):
        raise EvenhandError("Requirement 'gain': no model to compare with. Expected: a second model on the same pairs. To do: name one.")
    pairs, tied, alone = yield from accuracies_of(groups)
    if alone is None:
        raise nobody(outcomes)
    accuracies = alone if before is None else _of_both(outcomes, before, groups)
    thin = too_small(accuracies.users, accuracies.pairs)
    plans = [_rows(e, accuracies, groups, thin) for e in parsed]
    rows = np.concatenate(plans) if plans else np.zeros((0, accuracies.value.size))
    flaw = flaw_of(pairs, tied, alone, len(groups))
    if not len(rows):
        return tuple(requirement(e, _nothing(accuracies, e), flaw) for e in parsed), flaw
    together = contrast(accuracies, rows)
    sizes = [len(p) for p in plans]
    bears = [not any(thin[g] for g in _cells(e, accuracies, groups, thin)) for e in parsed]
    bearing = np.repeat(bears, sizes)  # what bears no verdict must not widen the bounds of what does
    alphas = {
        True: simultaneous_alpha(together.correlation[np.ix_(bearing, bearing)], seed),
        False: simultaneous_alpha(together.correlation, seed),
    }
    out = []
    for e, size, end, is_judged in zip(parsed, sizes, np.cumsum(sizes), bears, strict=True):
        part = slice(end - size, end)
        bounded = (
            _bounded(e, rows[part], together.rows(part), alphas[is_judged], accuracies, groups, thin) if size else _nothing(accuracies, e)
        )
        out.append(requirement(e, bounded, flaw))
    return tuple(out), flaw


def _of_both(outcomes: Outcomes | OutcomeBatches, before: Outcomes, groups: Groups) -> Means:
    """Accuracies of a model and of the one that it is compared with, as two columns."""
    if not isinstance(outcomes, Outcomes):
        raise EvenhandError("Two models are compared on pairs in memory. Expected: Outcomes of both. To do: audit each by itself.")
    same_pairs(before, outcomes)
    return means(arrange(outcomes, groups), [correct(o.strict().margin) for o in (outcomes, before)])


def _cells(e: Expression, accuracies: Means, groups: Groups, thin: list[str]) -> list[int]:
    """The cells a requirement needs: named groups whatever their size; else those that are compared; of one alone, for a worst group, it."""
    if e.groups:
        return [groups.names.index(g) for g in e.groups]
    if e.quantity in ("accuracy", "gain"):
        return [len(groups)]
    large = [g for g in range(len(groups)) if not thin[g]]
    return large if e.quantity == "worst_group" and len(large) == 1 else compared(accuracies.users, thin[:-1])


def _rows(e: Expression, accuracies: Means, groups: Groups, thin: list[str]) -> np.ndarray:
    """The contrasts [m, K] whose simultaneous bounds decide the requirement."""
    cells, size = _cells(e, accuracies, groups, thin), len(accuracies.users)
    k = accuracies.value.size
    if any(accuracies.users[g] == 0 for g in cells):
        return np.zeros((0, k))
    if e.quantity == "gap":
        return pairwise(cells, k) if e.groups else range_rows(cells, k)
    rows = np.zeros((len(cells), k))
    rows[np.arange(len(cells)), cells] = 1.0
    if e.quantity == "gain":
        rows[np.arange(len(cells)), [size + c for c in cells]] = -1.0
    return rows


def _bounded(
    e: Expression, rows: np.ndarray, contrasts: Contrast, alpha: float, accuracies: Means, groups: Groups, thin: list[str]
) -> Bounded:
    value, half = contrasts.value, stdtrit(contrasts.df, 1 - alpha / 2) * contrasts.se
    cells = _cells(e, accuracies, groups, thin)
    if e.quantity == "gap" and not e.groups:
        shown = range_bounds(contrasts, alpha, not is_pairwise(cells))
    elif e.quantity == "worst_group":
        shown = value.min(), max(0.0, (value - half).min()), min(1.0, (value + half).min())
    else:
        least = 0.0 if e.quantity == "accuracy" else -1.0
        shown = value[0], max(least, value[0] - half[0]), min(1.0, value[0] + half[0])
    users, pairs = int(accuracies.users[cells].sum()), int(accuracies.pairs[cells].sum())
    label = ", ".join(e.groups) or ("all" if e.quantity in ("accuracy", "gain") else _extremes(e, cells, accuracies, groups))
    estimate = Estimate(float(shown[0]), float(shown[1]), float(shown[2]), users, pairs, e.quantity, label)
    name = [*groups.names, "all users"]
    lacking = listed([f"{name[g]}: {thin[g]}" for g in cells if thin[g]])
    singles = np.eye(accuracies.value.size)[cells]
    errors = contrast(accuracies, singles).se
    mde = float(MDE_FACTOR * errors.max()) if e.quantity == "gap" else 0.0
    is_range = e.quantity == "gap" and not e.groups
    row, variance, df = _decisive(e, rows, contrasts, half, is_range and not is_pairwise(cells))
    question = Question(
        float(estimate.value if is_range else row @ np.nan_to_num(accuracies.value).ravel()), e.threshold, parts_of(accuracies, row, variance), alpha, df,
        is_range, tuple(parts_of(accuracies, s, float(se**2)) for s, se in zip(singles, errors)) if e.quantity == "gap" else (),
    )  # fmt: skip
    more = needed(question, users, int(accuracies.units[cells].max()), accuracies.unit)
    return Bounded(estimate, mde, lacking, more, left_out(e, cells, accuracies.users, groups, thin))


def _decisive(e: Expression, rows: np.ndarray, contrasts: Contrast, half: np.ndarray, of_means: bool) -> tuple[np.ndarray, float, float]:
    """The combination of means whose bound stands nearest to deciding a requirement: coefficients [K], variance, degrees of freedom.
    of_means: a range of so many groups that its rows are their means (see `intervals.range_rows`).
    """
    value = contrasts.value
    if of_means:
        high, low = int(value.argmax()), int(value.argmin())
        return rows[high] - rows[low], float(contrasts.se[[high, low]] @ contrasts.se[[high, low]]), float(contrasts.df[[high, low]].min())
    at = 0
    if e.quantity == "gap" and not e.groups:
        size = np.abs(value)
        at = int(size.argmax() if size.max() > e.threshold else (size + half).argmax())
    elif e.quantity == "worst_group":
        at = int(value.argmin() if value.min() < e.threshold else (value - half).argmin())
    return rows[at], float(contrasts.se[at] ** 2), float(contrasts.df[at])


def left_out(e: Expression, cells: Sequence[int], users: np.ndarray, groups: Groups, thin: Sequence[str]) -> str:
    """users int64[groups + 1]. Which groups a gap or a worst group does not speak of. Groups that may not be shown are counted, not named."""
    if e.quantity not in ("gap", "worst_group") or e.groups:
        return ""
    omitted = [g for g in range(len(groups)) if g not in cells]
    named = [f"{groups.names[g]} ({thin[g]})" for g in omitted if users[g] >= SMALLEST_CELL]
    few = sum(0 < int(users[g]) < SMALLEST_CELL for g in omitted)
    return listed(named + ([f"{few} group{'s' * (few != 1)} of fewer than {SMALLEST_CELL} users"] if few else []))


def listed(parts: list[str], most: int = 4) -> str:
    """ "a; b; c; d; and 3 more"."""
    return "; ".join(parts[:most] + ([f"and {len(parts) - most} more"] if len(parts) > most else []))


def _extremes(e: Expression, cells: list[int], accuracies: Means, groups: Groups) -> str:
    order = sorted(cells, key=lambda g: accuracies.value[0, g])
    worst = groups.names[order[0]]
    return worst if e.quantity == "worst_group" else f"{groups.names[order[-1]]} minus {worst}"


def _nothing(accuracies: Means, e: Expression) -> Bounded:
    """Fewer groups with users than the requirement needs."""
    estimate = Estimate(np.nan, np.nan, np.nan, int(accuracies.users[-1]), int(accuracies.pairs[-1]), e.quantity, ", ".join(e.groups))
    return Bounded(estimate, np.nan, "a group has no user" if e.groups else "fewer than two groups have users")


def requirement(e: Expression, bounded: Bounded, flaw: str) -> Requirement:
    """What the bounds decide; scores that are broken (flaw) pass nothing, and what a gap leaves out is named."""
    verdict, reason = decide(e, bounded)
    if flaw and verdict != "FAIL":
        verdict, reason = "INSUFFICIENT", f"These scores bear no PASS: {in_short(flaw)}."
    if bounded.left_out:
        reason += f" Left out, too small: {bounded.left_out}."
    return Requirement(e.name, bounded.estimate, e.threshold, verdict, reason)


def decide(e: Expression, bounded: Bounded) -> tuple[Verdict, str]:
    """The verdict and its reason: what the bounds say and, where they leave it open, about what would tell."""
    low, high = bounded.estimate.low, bounded.estimate.high
    limit = in_points(e.threshold)
    if bounded.thin:
        return "INSUFFICIENT", f"Too little data: {bounded.thin}."
    passed, failed = (high <= e.threshold, low > e.threshold) if e.direction == "<=" else (low >= e.threshold, high < e.threshold)
    worse, better = ("above", "at or under") if e.direction == "<=" else ("under", "at or above")
    interval = f"simultaneous interval, {in_points(low)} to {in_points(high)} points,"
    more = bounded.needed or "more users are needed"
    if failed:
        return "FAIL", f"The whole {interval} lies {worse} {limit}."
    if not passed:
        return "INSUFFICIENT", f"The {interval} lies on both sides of {limit}: {more}."
    if e.quantity == "gap" and bounded.mde > e.threshold:
        blunt = f"in the group known least well only effects from {in_points(bounded.mde)} points on would be seen (2.8 standard errors)"
        return "INSUFFICIENT", f"The whole {interval} lies {better} {limit}, but {blunt}: {more}."
    return "PASS", f"The whole {interval} lies {better} {limit}."

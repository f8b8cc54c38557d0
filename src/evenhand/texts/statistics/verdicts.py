"""PASS, FAIL or INSUFFICIENT for the gaps that a run is held to, on bounds that hold for all of them at once.

PASS only if the bound proves it, never because a gap was "not significant". FAIL if the bound proves it; or if a gap is there after
correction for all tests and its estimate is over the tolerance, which the reason then says. Between these the texts decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scipy.special import stdtr

from evenhand.audits.findings import Requirement
from evenhand.audits.intervals import LEVEL, MDE_FACTOR
from evenhand.audits.shortfall import Parts, Question, needed
from evenhand.core import Estimate, EvenhandError, Verdict
from evenhand.texts.findings import FEWEST_BLOCKS, Gap, Run
from evenhand.texts.statistics.blocks import quantile

ALPHA = 1 - LEVEL


def requirements(runs: Sequence[Run], tolerance: float) -> tuple[tuple[Requirement, ...], Verdict]:
    """For every run, objective measure and matched axis: |d| of the signed gap at or under the tolerance. A profile has no d. What is held
    to it are the texts with words that name groups hidden, where there are such: to name its audience is what a text was asked for.

    Texts that were chosen by what is measured pass nothing: selection steers their means, and their blocks are no draws.

    tolerance: in standard deviations of the texts' values, above 0. The second part is the verdict over all: FAIL if any fails, else
    INSUFFICIENT if any is open or there are none. As everywhere, a PASS asks for power as well: 2.8 standard errors within the tolerance.
    """
    if not tolerance > 0:
        raise EvenhandError(
            f"The tolerance is {tolerance:g}. Expected: a number above 0, in standard deviations of the texts' values. "
            "To do: choose one, such as 0.2."
        )
    held = [(run, gap) for run in runs for gap in run.gaps if _is_held(run, gap)]
    bearing = sum(not _lacking(gap) for _, gap in held)
    made = tuple(_requirement(run, gap, tolerance, ALPHA / max(bearing, 1)) for run, gap in held)
    made = tuple(_of_chosen(one) if run.selected else one for (run, _), one in zip(held, made))
    verdicts = [r.verdict for r in made]
    verdict: Verdict = "FAIL" if "FAIL" in verdicts else "PASS" if verdicts and set(verdicts) == {"PASS"} else "INSUFFICIENT"
    return made, verdict


def _of_chosen(made: Requirement) -> Requirement:
    """A requirement of texts that were chosen by what is measured: it has no interval, and does not pass."""
    if made.estimate.low != made.estimate.low:  # nan
        return made
    size = made.estimate.value
    seen, limit = _apart(made.tolerance, size)
    estimate = replace(made.estimate, low=float("nan"), high=float("nan"))
    if made.verdict == "FAIL":
        even = f"Even in these texts, which were chosen by what is measured, the estimate, {seen}, lies above {limit}."
        return replace(made, estimate=estimate, reason=even)
    side = "above" if size > made.tolerance else "at or under"
    reason = f"These texts were chosen by what is measured: their estimate, {seen}, lies {side} {limit}, and nothing follows for others."
    return replace(made, estimate=estimate, verdict="INSUFFICIENT", reason=reason)


def _is_held(run: Run, gap: Gap) -> bool:
    objective = {(level.audit, level.measure) for level in run.levels if level.objective}
    hidden = any(g.masked for g in run.gaps)
    return gap.masked == hidden and not gap.distance and (gap.audit, gap.measure) in objective


def _lacking(gap: Gap) -> str:
    """Why there are no bounds, or ''."""
    if gap.n_pairs and gap.d.value == gap.d.value and gap.signed.n_users < FEWEST_BLOCKS:
        return f"{gap.signed.n_users} of the {FEWEST_BLOCKS} blocks that an interval needs"
    if gap.d.low == gap.d.low and gap.mde != gap.mde:  # nan
        return "the gap is the same in every block, so that nothing is known of how it varies"
    return "" if gap.d.low == gap.d.low else (gap.testable.removeprefix("not testable: ") or "no interval could be computed")


def _requirement(run: Run, gap: Gap, tolerance: float, alpha: float) -> Requirement:
    name = f"{run.name}: {gap.measure} by {gap.axis}{', names hidden' if gap.masked else ''}"
    size, lacking = abs(gap.d.value), _lacking(gap)
    signed = gap.signed
    if lacking:
        estimate = Estimate(size, float("nan"), float("nan"), signed.n_users, gap.n_pairs, gap.measure, signed.group)
        if _is_found(gap, size, tolerance):
            seen, limit = _apart(tolerance, size)
            return Requirement(name, estimate, tolerance, "FAIL", f"In these very prompts the gap is there (p = {_p(gap.p_holm)} after "
                               f"correction for all tests), and its estimate, {seen}, lies above {limit}. Nothing is said of other prompts: "
                               f"{lacking}.")  # fmt: skip
        return Requirement(name, estimate, tolerance, "INSUFFICIENT", f"Too little data: {lacking}.")
    se = gap.mde / MDE_FACTOR  # of the contrast known least well, so that the bounds hold for all contrasts of the axis
    t = quantile(alpha, len(gap.groups), gap.df)
    low, high = max(0.0, size - t * se), size + t * se
    estimate = Estimate(size, low, high, signed.n_users, gap.n_pairs, gap.measure, signed.group)
    verdict, reason = _decided(gap, estimate, tolerance, se, t)
    return Requirement(name, estimate, tolerance, verdict, reason)


def _decided(gap: Gap, estimate: Estimate, tolerance: float, se: float, t: float) -> tuple[Verdict, str]:
    low, high, value, blunt, limit = _apart(tolerance, estimate.low, estimate.high, estimate.value, gap.mde)
    interval = f"simultaneous interval, {low} to {high} standard deviations,"
    if estimate.low > tolerance:
        return "FAIL", f"The whole {interval} lies above {limit}."
    if estimate.high <= tolerance and gap.mde <= tolerance:
        return "PASS", f"The whole {interval} lies at or under {limit}."
    if _is_found(gap, estimate.value, tolerance):
        return "FAIL", f"The gap is there (p = {_p(gap.p_holm)} after correction for all tests), and its estimate, {value}, lies above " \
                       f"{limit}; the {interval} does not exclude a smaller one."  # fmt: skip
    more = _more(gap, estimate, tolerance, se, t)
    if estimate.high <= tolerance:
        return (
            "INSUFFICIENT",
            f"The whole {interval} lies at or under {limit}, but only gaps from {blunt} on would be seen (2.8 standard errors): {more}.",
        )
    return "INSUFFICIENT", f"The {interval} lies on both sides of {limit}: {more}."


def _is_found(gap: Gap, size: float, tolerance: float) -> bool:
    return size > tolerance and gap.p_holm <= ALPHA


def _more(gap: Gap, estimate: Estimate, tolerance: float, se: float, t: float) -> str:
    variance = Parts(se**2, 0.0)
    question = Question(estimate.value, tolerance, variance, float(2 * stdtr(gap.df, -t)), gap.df, True, (variance,))
    more = needed(question, estimate.n_users, 0, "", unit="block") or "more blocks are needed"
    shared = gap.df < estimate.n_users - 1
    return more + (", if they are of new values: gaps go with a value that blocks share" if shared else "")


def _apart(limit: float, *values: float) -> list[str]:
    """The values, and last the limit, as text with digits enough that none looks like the limit and is not."""
    for digits in range(2, 10):
        shown = [f"{v:.{digits}f}" for v in (*values, limit)]
        if all(v == limit or s != shown[-1] for v, s in zip(values, shown)):
            break
    return shown


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "under 0.0001"

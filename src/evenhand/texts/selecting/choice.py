"""The choice of a model by bounded regression over all audits (Islam 2026, arXiv 2606.10126): no strategy is best by every audit, so that a
run may be a little worse by some, and is chosen by how many it improves.

The disparity D_j of audit j in a run is its mean |gap| as written: the mean over matched axes (and over its objectives, where it has
several) of the mean over pairs of |m_a - m_b|, of a profile the L1 distance. Against the first run, a run is admissible when

    (D_j - D_j(first)) / D_j(first) <= rho for every audit j, and its fidelity has changed by -eps or more

and its share of usable texts is not lower beyond noise, or by a tenth where blocks are too few for an interval, and not 0 (ours: texts that
are no messages have small gaps). Of the admissible ones the one with the most audits j of D_j < D_j(first) is chosen; ties go to the lower
mean of the relative changes, then to the order of the runs. Where none is admissible none is chosen: bounds are never widened by
themselves. All of it goes by estimates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evenhand.core import Estimate, EvenhandError, clip
from evenhand.texts.findings import Admitted, Choice, Run, Scored
from evenhand.texts.selecting.gate import TINY

RHO, EPS = 0.1, 0.02
RHOS = (0.0, 0.05, 0.1, 0.25)
EPSS = (0.0, 0.01, 0.02, 0.05)
USABLE_FALL = 0.1  # share of its usable texts that a run may lose where no interval can be given


def choice(runs: Sequence[Run], *, rho: float = RHO, eps: float = EPS) -> Choice:
    """Which of runs[1:] to take in the place of runs[0], at the bounds that decide and at those of a table.

    A run that lacks an audit of the first one, or its fidelity, is not admissible. Raises EvenhandError for fewer than two runs, bounds
    out of range, and a first run without a disparity or without a fidelity.
    """
    _check(runs, rho, eps)
    found = {run.name: disparities(run) for run in runs}
    first = {audit: d for audit, d in found[runs[0].name].items() if math.isfinite(d)}
    change = {name: {a: _relative(own.get(a, math.nan), d) for a, d in first.items()} for name, own in found.items()}
    falls = {run.name: fidelity(run) - fidelity(runs[0]) for run in runs}
    scored = tuple(
        Scored(
            run.name, change[run.name], falls[run.name], sum(c < -TINY for c in change[run.name].values()),
            tuple(o.name for o in runs if o is not run and _dominates(change[o.name], falls[o.name], change[run.name], falls[run.name])),
            _fewer_usable(run.usable, runs[0].usable),
            run.selected,
            {a: found[run.name][a] for a, c in change[run.name].items() if c == math.inf},
        )
        for run in runs
    )  # fmt: skip
    bounds = sorted({(r, e) for r in (*RHOS, rho) for e in (*EPSS, eps)})
    admitted = tuple(_admitted(scored[1:], r, e) for r, e in bounds)
    best = next(a.best for a in admitted if (a.rho, a.eps) == (rho, eps))
    return Choice(runs[0].name, scored, admitted, rho, eps, best, noise(runs))


def disparities(run: Run) -> dict[str, float]:
    """Audit → its disparity; audits without an objective have none."""
    objectives = {(v.audit, v.measure) for v in run.levels if v.objective and not v.masked}
    found: dict[str, dict[str, list[float]]] = {}
    for gap in run.gaps:
        if (gap.audit, gap.measure) in objectives and not gap.masked and gap.distance in ("", "L1"):
            found.setdefault(gap.audit, {}).setdefault(gap.measure, []).append(gap.absolute)
    return {audit: float(np.mean([np.mean(axes) for axes in measures.values()])) for audit, measures in found.items()}


def fidelity(run: Run) -> float:
    """Mean of its measures of fidelity, as written; nan = it has none."""
    found = [v.value.value for v in run.levels if v.fidelity and not v.masked]
    return float(np.mean(found)) if found else math.nan


def noise(runs: Sequence[Run]) -> str:
    """What stands behind a choice: how many texts, and how much of the disparities is the noise of single texts."""
    texts = [run.n_texts for run in runs]
    many = f"{texts[0]:,}" if min(texts) == max(texts) else f"{min(texts):,} to {max(texts):,}"
    objectives = {(v.audit, v.measure) for v in runs[0].levels if v.objective and not v.masked}
    gaps = [g for g in runs[0].gaps if (g.audit, g.measure) in objectives and not g.masked and g.distance in ("", "L1")]
    shares = [g.null / g.absolute for g in gaps if g.absolute > 0 and math.isfinite(g.null)]
    start = f"The choice goes by estimates on {many} texts a run"
    cells = [run.n_cells for run in runs]
    if min(cells) < max(cells):
        start += f", of {min(cells):,} to {max(cells):,} cells: what differs may be the cells"
    if not runs[0].usable.value:
        start += f". No text of “{clip(runs[0].name)}” is usable: what others are compared with are no messages"
    if not any(g.absolute > 0 for g in gaps):
        return f"{start}. Every mean |gap| of “{clip(runs[0].name)}” is 0: there is nothing to improve."
    if not shares:
        return f"{start}; with one text a cell nobody can tell how much of a mean |gap| is noise."
    ends = dict.fromkeys(f"{100 * share:.0f}\u00a0%" for share in (min(shares), max(shares)))
    return (
        f"{start}. Without any difference between groups the mean |gap| of “{clip(runs[0].name)}” would be {' to '.join(ends)} of "
        "what it is: a few per cent more or less are not a difference of the runs."
    )


def _fewer_usable(now: Estimate, before: Estimate) -> bool:
    """By intervals that do not meet; where one is missing, by estimates: a run of loops must not pass because its blocks are few. A run
    without any usable text has always too few of them, whatever the first one has.
    """
    if now.value == 0:
        return True
    if math.isfinite(now.high) and math.isfinite(before.low):
        return now.high < before.low
    return now.value < (1 - USABLE_FALL) * before.value


def _check(runs: Sequence[Run], rho: float, eps: float) -> None:
    for name, bound in (("rho", rho), ("eps", eps)):
        if not 0 <= bound < math.inf:
            raise EvenhandError(f"Found {name} = {bound:g}. Expected: 0 or more. To do: {name} = {RHO if name == 'rho' else EPS} is usual.")
    if len(runs) < 2:
        raise EvenhandError(f"Found {len(runs)} run. Expected: a first one, and one or more to choose from. To do: give more runs.")
    names = [run.name for run in runs]
    if twice := next((n for i, n in enumerate(names) if n in names[:i]), None):
        raise EvenhandError(f"Found two runs called '{clip(twice)}'. Expected: every name once. To do: rename one.")
    draws = sorted({run.n_draws for run in runs})
    if len(draws) > 1:
        raise EvenhandError(
            f"Found runs of {draws[0]} to {draws[-1]} texts a cell. Expected: as many in each, since the mean |gap| of fewer texts is larger by their noise "
            "alone. To do: audit as many draws of each."
        )
    if not any(math.isfinite(d) for d in disparities(runs[0]).values()):
        raise EvenhandError(
            f"The first run, '{clip(names[0])}', has no disparity. Expected: an audit whose gaps the gate keeps, such as persuasion. "
            "To do: audit the texts with it."
        )
    if not math.isfinite(fidelity(runs[0])):
        raise EvenhandError(
            f"The first run, '{clip(names[0])}', has no fidelity, so that nobody can tell whether another keeps it. Expected: an audit of "
            "fidelity. To do: audit the texts with --audit fidelity too."
        )


def _relative(now: float, before: float) -> float:
    if before > TINY:
        return (now - before) / before
    return now if math.isnan(now) or math.isnan(before) else (0.0 if now <= TINY else math.inf)


def _dominates(change: dict[str, float], fidelity: float, other: dict[str, float], its: float) -> bool:
    """Whether a run is nowhere worse than the other, by any audit and by fidelity, and somewhere better."""
    better = [*(other[a] - c if c != other[a] else 0.0 for a, c in change.items()), fidelity - its]
    return all(b >= 0 for b in better) and any(b > TINY for b in better)


def _admitted(runs: Sequence[Scored], rho: float, eps: float) -> Admitted:
    some = [r for r in runs if all(c <= rho + TINY for c in r.regression.values()) and r.fidelity >= -eps - TINY and not r.fewer_usable]
    best = min(some, key=lambda r: (-r.improved, round(float(np.mean([*r.regression.values()])), 9)), default=None)
    return Admitted(rho, eps, tuple(r.run for r in some), best.run if best else "")

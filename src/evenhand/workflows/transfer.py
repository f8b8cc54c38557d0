"""What a reward's policies do to groups: exact Gibbs and best-of-n policies over given candidate responses, measured and bounded."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Real
from typing import Any

from evenhand.audits.policies import Candidates
from evenhand.audits.transfer import FEWEST_PROMPTS, measure
from evenhand.core import EvenhandError, clip
from evenhand.data.candidates import read_candidates
from evenhand.report import Report, policies

LONGEST_GRID = 40  # values of beta, or of n
MOST_DRAWS = 10**6  # n of best-of-n

FORMULAS: Mapping[str, str] = {
    "Gibbs policy": "pi(y|x) = pi_ref(y|x) exp(r(x, y) / beta) / Z(x), the optimum of E[r] - beta KL(pi || pi_ref)",
    "best of n": "n draws from pi_ref, the highest reward wins, ties split evenly: P(max = v) = F(v)^n - F(v-)^n; exact, not sampled",
    "rate": "mean over a group's prompts of E_pi[event]; every prompt counts once",
    "gap": "largest difference of two groups' rates",
    "shift": "the gap's signed difference of rates less the same two groups' difference under the reference policy",
    "kappa": "largest group mean of KL(pi || pi_ref), in nats",
    "bound of the gap": "gap under pi_ref + 2 sqrt(kappa / 2), at most 1 (Pinsker)",
    "KL of best of n": "at most log n - (n - 1)/n (Beirami et al. 2024, arXiv 2401.01879)",
    "e": "half the largest range of r - r' within a prompt: rewards are defined up to a constant per prompt, and the best one is taken",
    "two rewards": "|log pi_r/pi_r'| <= 2 e/beta; TV <= tanh(e/2 beta); J_r(pi_r) - J_r(pi_r') = beta KL(pi_r' || pi_r) <= e^2/2 beta;"
    " gap under pi_r <= gap under pi_r' + 2 tanh(e/2 beta)",
    "interval": "95 %, Student t over prompts (prompts - 1 df, Welch for differences); of the gap and of shifts at once over all pairs of groups",
}  # fmt: skip

LIMITS: tuple[str, ...] = (
    "These are exact policies over these candidates alone. A trained policy writes responses that are not among them, and stops short of the optimum.",
    "Bounds hold exactly for the prompts at hand, and say nothing of other prompts; intervals do, if these prompts were drawn like those.",
    "Prompts count as independent. Where one person asks many of them, or many share a template, the intervals are too narrow.",
    "Each setting of beta or n has its own 95 % interval; the interval of a gap holds at once over all pairs of groups, not over settings.",
    "A gap that is closed on average at beta = 1 may be open at any other beta and at any n: only a bound on every pair's reward carries over.",
)


def transfer(
    candidates: Any,
    *,
    reward: str = "reward",
    other: str | None = None,
    group_by: str = "group",
    event: str = "event",
    ref: str | None = None,
    prompt: str = "prompt",
    betas: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 4.0),
    ns: Sequence[float] = (1, 2, 4, 8, 16),
    title: str = "",
    note: str = "",
    seed: int = 0,
    command: str = "",
) -> Report:
    """Event rates by group under the Gibbs policy of each beta and the best of each n, with bounds.

    Args:
        candidates: A table with one row a candidate response (JSONL, CSV, Parquet, Arrow; in Python also a table in memory).
        reward: Column of the reward.
        other: Column of a second reward, to be compared at each beta.
        group_by: Column of the group of the prompt, or of who asks.
        event: Column of what is counted: 0, 1 or a rate between.
        ref: Column of log-probabilities under the reference policy; default: all candidates alike.
        prompt: Column that tells prompts apart: an id or the text.
        betas: Temperatures of Gibbs policies, with commas.
        ns: Draws of best-of-n policies, with commas.
        title: Title of the report.
        note: A sentence for the reader of the report.
        seed: of the joint law of intervals of three and more groups.

    Raises DataError with file, line, column, expectation and remedy; EvenhandError for grids out of range, or fewer than two groups.
    """
    finite, draws = grids(betas, ns)
    if other == reward:
        raise EvenhandError(f"Both rewards are column '{reward}'. Expected: two columns. To do: name another one, or leave --other out.")
    columns = [reward, event, *(name for name in (other, ref) if name is not None)]
    table = read_candidates(candidates, prompt, group_by, columns, shares=(event,))
    number = {name: table.numbers[:, i] for i, name in enumerate(columns)}
    given = Candidates(
        table.prompt, table.group, number[reward], number[event], None if other is None else number[other], None if ref is None else number[ref],
    )  # fmt: skip
    facts = {
        "candidates": table.source,
        "candidates sha256": table.fingerprint,
        "columns": ", ".join(f"{role} = {name}" for role, name in _roles(reward, other, group_by, event, ref, prompt) if name),
        "reference policy": f"log-probabilities of column {ref}, normalised within each prompt" if ref else "uniform over the candidates of a prompt",
        "groups compared": f"those of at least {FEWEST_PROMPTS} prompts",
        "seed": str(seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("evenhand", "numpy", "scipy")),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }  # fmt: skip
    title = title or f"Policies of {reward} over {table.source.partition(' (')[0]}"
    found = measure(given, table.groups, finite, draws, title=title, event=event, facts=facts, limits=LIMITS, command=command, seed=seed)
    return policies.report(replace(found, formulas=FORMULAS, note=note))


def grids(betas: Sequence[float], ns: Sequence[float]) -> tuple[list[float], list[int]]:
    """The finite temperatures, and the numbers of draws; beta = inf is the reference policy, which is always there.

    Raises EvenhandError for a value out of range.
    """
    for beta in betas:
        if not (isinstance(beta, Real) and beta > 0):
            raise EvenhandError(f"Found beta = {_short(beta)}. Expected: temperatures above 0, or inf. To do: --betas 0.1,0.5,1,2,4.")
    for n in ns:
        if not (isinstance(n, Real) and 1 <= n <= MOST_DRAWS and n == int(n)):
            raise EvenhandError(f"Found n = {_short(n)}. Expected: whole numbers from 1 to {MOST_DRAWS:,}. To do: --ns 1,2,4,8,16.")
    finite = [float(b) for b in betas if math.isfinite(b)]
    if not finite and not len(ns):
        raise EvenhandError("Found no policy to look at. Expected: a finite beta, or an n. To do: --betas 0.1,0.5,1,2,4.")
    if max(len(finite), len(ns)) > LONGEST_GRID:
        raise EvenhandError(
            f"Found {max(len(finite), len(ns))} settings. Expected: {LONGEST_GRID} at most of each kind. To do: name fewer."
        )
    return finite, [int(n) for n in ns]


def _short(value: object) -> str:
    """A number, or whatever is in its place."""
    return f"{value:g}" if isinstance(value, Real) else clip(value)


def _roles(reward: str, other: str | None, group: str, event: str, ref: str | None, prompt: str) -> tuple[tuple[str, str | None], ...]:
    return ("prompt", prompt), ("group", group), ("reward", reward), ("other", other), ("event", event), ("ref", ref)

"""Panel 4: how far apart would the groups lie if they were all equal? Users are permuted over groups of the same sizes; what users share,
prompts or responses, is drawn with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.audits.findings import NullFinding
from evenhand.audits.sample import Means
from evenhand.audits.twoway import shared_noise

EXACT_UP_TO = 20_000  # users: above this, and with groups of 30 or more, group means under permutation are drawn from their normal limit
CHUNK = 1 << 22


def spread_statistics(group_means: np.ndarray) -> dict[str, np.ndarray]:
    """Spread of group accuracies [..., groups] by the names of panel 4, each [...]."""
    low, high = group_means.min(axis=-1), group_means.max(axis=-1)
    ratio = np.divide(low, high, out=np.ones_like(low), where=high > 0)
    return {"max - min": high - low, "ratio min / max": ratio, "standard deviation": group_means.std(axis=-1, ddof=1)}


def permuted_means(accuracy: np.ndarray, sizes: np.ndarray, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Group means float64[permutations, groups] when `accuracy` [users] is dealt out at random to groups of `sizes` (which sum to users).

    Above 20,000 users the means are drawn from the normal law with the permutation's exact mean and covariance,
    S² (1[g=h]/n_g - 1/U) (Hájek 1960), provided that every group has 30 users.
    """
    users = len(accuracy)
    if users > EXACT_UP_TO and sizes.min() >= 30:
        noise = rng.standard_normal((permutations, len(sizes))) / np.sqrt(sizes)
        noise -= (noise @ sizes / users)[:, None]  # the groups together are all users: their weighted errors cancel
        return accuracy.mean() + accuracy.std(ddof=1) * noise
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    step = max(1, CHUNK // users)
    parts = []
    for at in range(0, permutations, step):
        dealt = rng.permuted(np.broadcast_to(accuracy, (min(step, permutations - at), users)), axis=1)
        parts.append(np.add.reduceat(dealt, starts, axis=1) / sizes)
    return np.concatenate(parts)


def against_null(
    accuracy: np.ndarray,
    group: np.ndarray,
    *,
    found: Means | None = None,
    cells: Sequence[int] = (),
    permutations: int = 1000,
    seed: int = 0,
) -> tuple[NullFinding, ...]:
    """Observed spread of the groups against its null. accuracy float64[users]; group int[users] 0..G-1, each group non-empty.

    Permuting users shows what users do by chance, but leaves everybody with the same prompts. Which prompts (or responses) were drawn moves
    users of like tastes together, hence groups apart: with `found`, the groups' means of which `cells` are groups 0..G-1, each
    permutation gets the error that these add (`twoway.shared_noise`).

    p-value = (1 + permutations at least as extreme) / (1 + permutations); small ratios are extreme, large values of the others. Fewer
    than two groups: ().
    """
    sizes = np.bincount(group)
    if len(sizes) < 2:
        return ()
    observed = spread_statistics(np.bincount(group, accuracy) / sizes)
    rng = np.random.default_rng([seed, 40310])
    draws_of_means = permuted_means(accuracy, sizes, permutations, rng)
    if found is not None and found.by_both is not None:
        block = np.ix_(cells, cells)
        draws_of_means += shared_noise(found.by_user[block], found.by_both[block], permutations, int(found.units[list(cells)].min()), rng)
    null = spread_statistics(draws_of_means)
    out = []
    for name, draws in null.items():
        value = float(observed[name])
        extreme = draws <= value + 1e-12 if name.startswith("ratio") else draws >= value - 1e-12
        low, high = np.quantile(draws, [0.025, 0.975])
        mean = float(draws.mean())
        out.append(NullFinding(name, value, mean, float(low), float(high), value - mean, float(1 + extreme.sum()) / (1 + permutations)))
    return tuple(out)

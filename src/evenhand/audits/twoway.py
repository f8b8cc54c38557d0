"""Errors that pairs share: through the user who judged them, and through what many users judged.

What users share is a prompt, or, where no prompt repeats (votes), the two responses of a pair. Pairs are correlated if they have the user or
such a unit in common; users, units and pairs were all drawn. With psi_i what pair i adds to the errors of K statistics,

    V = Σ psi_i psi_j' over pairs i, j of one user or with a common unit = V_user + V_unit - V_(user and unit)

(Cameron, Gelbach & Miller 2011). Prompts: V_unit = Σ_p S_p S_p' with S_p the sum of psi over the pairs of a prompt. Responses: pairs are
dyads, V_unit = Σ_items S S' - Σ_dyads S S', since two pairs on the same two responses were counted at both (Aronow, Samii & Assenova
2015); inside a user likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEW_PROMPTS = 20  # fewer are too few to draw from: what users share is then the responses


@dataclass(frozen=True)
class Clusters:
    """of int64[n] or int64[n, 2]: the cluster, or both clusters, of each pair, 0..many-1. None: every pair is its own. sign: of its
    part in the sum.
    """

    of: np.ndarray | None
    many: int
    sign: float

    def sums(self, values: np.ndarray) -> np.ndarray:
        """float64[many] from values [n]."""
        if self.of is None:
            return values
        if self.of.ndim == 1:
            return np.bincount(self.of, values, minlength=self.many)
        return np.bincount(self.of[:, 0], values, minlength=self.many) + np.bincount(self.of[:, 1], values, minlength=self.many)

    def take(self, rows: np.ndarray) -> Clusters:
        """Those of some pairs, numbered anew: clusters of which no pair is left would only cost time."""
        if self.of is None:
            return Clusters(None, len(rows) if rows.dtype != bool else int(rows.sum()), self.sign)
        picked = self.of[rows]
        counts = np.bincount(picked.ravel(), minlength=self.many)
        return Clusters((np.cumsum(counts > 0) - 1)[picked], int((counts > 0).sum()), self.sign)


@dataclass(frozen=True)
class Shared:
    """name: "prompts" or "responses". across: the clusters whose parts make V_unit, the units first; within: those of V_(user and unit),
    each inside one user.
    """

    name: str
    across: tuple[Clusters, ...]
    within: tuple[Clusters, ...]

    @property
    def units(self) -> int:
        return self.across[0].many

    def take(self, rows: np.ndarray) -> Shared:
        return Shared(self.name, tuple(c.take(rows) for c in self.across), tuple(c.take(rows) for c in self.within))


def share_units(user: np.ndarray, prompt: np.ndarray | None, responses: tuple[np.ndarray, np.ndarray] | None) -> Shared | None:
    """What users share: prompts, where at least 20 repeat over users; else responses (first and second int[n] of each pair), else the few
    prompts. None: nothing, or nothing is known.
    """
    prompts = None if prompt is None else share_prompts(user, prompt)
    if responses is None or (prompts is not None and prompts.units >= FEW_PROMPTS):
        return prompts
    return share_responses(user, *responses) or prompts


def share_prompts(user: np.ndarray, prompt: np.ndarray) -> Shared | None:
    """user int[n] in 0..U-1, prompt int[n]; a pair without a prompt (-1) is its own. None where no two users have a prompt in common."""
    return _if_shared(_by_prompts(user, prompt))


def share_responses(user: np.ndarray, first: np.ndarray, second: np.ndarray) -> Shared | None:
    """first, second int[n]: the two responses of each pair, whichever was chosen. None where no two users have a response in common."""
    return _if_shared(_by_responses(user, first, second))


def within_users(
    user: np.ndarray, prompt: np.ndarray | None, responses: tuple[np.ndarray, np.ndarray] | None, shared: Shared | None
) -> tuple[Clusters, ...]:
    """Which pairs of one user go together, through a prompt or a response; () where all stand alone, or nothing is known. shared: what
    `share_units` found.
    """
    units = [shared] if shared else []
    if not shared and prompt is not None:
        units.append(_by_prompts(user, prompt))
    if not shared and responses is not None:
        units.append(_by_responses(user, *responses))
    return next((f.within for f in units if f.within[0].of is not None and f.within[0].many < f.within[0].of.size), ())


def _if_shared(shared: Shared) -> Shared | None:
    return shared if shared.within[0].many > shared.units else None


def _by_prompts(user: np.ndarray, prompt: np.ndarray) -> Shared:
    of, many = numbered(_own(prompt))
    visit, visits = numbered(of * (int(user.max()) + 1) + user)
    return Shared("prompts", (Clusters(of, many, 1.0),), (Clusters(None if visits == len(of) else visit, visits, 1.0),))


def _by_responses(user: np.ndarray, first: np.ndarray, second: np.ndarray) -> Shared:
    n = len(user)
    of, many = numbered(np.concatenate([first, second]))
    users = int(user.max()) + 1
    item, items = numbered(of * users + np.concatenate([user, user]))
    low, high = np.minimum(of[:n], of[n:]), np.maximum(of[:n], of[n:])
    dyad, dyads = numbered(low * many + high)
    both, boths = numbered(dyad * users + user)
    across = Clusters(np.stack([of[:n], of[n:]], axis=1), many, 1.0), Clusters(dyad, dyads, -1.0)
    within = Clusters(np.stack([item[:n], item[n:]], axis=1), items, 1.0), Clusters(None if boths == n else both, boths, -1.0)
    return Shared("responses", across, within)


def covariance(influence: np.ndarray, user: np.ndarray, shared: Shared | None) -> tuple[np.ndarray, np.ndarray]:
    """(V_user, V), each float64[K, K], of K statistics. influence float64[n, K]: what pair i adds to each statistic's error, so that the
    error is the column's sum; user int[n] >= 0; shared: from `share_prompts` or `share_responses` on the same pairs, None: V = V_user.

    For several models judged on the same pairs, put their influences side by side: differences are then paired. For several deals of
    one data set, stack the pairs of all deals and keep the users' and units' numbers. V need not be positive: take a variance as the
    larger of V_user's and V's, with at most min(users, units) - 1 degrees of freedom. Each part carries G / (G - 1) for its G clusters.
    """
    by_user = _gram(Clusters(*numbered(user), 1.0), influence)
    if shared is None:
        return by_user, by_user
    return by_user, by_user + sum(_gram(c, influence) for c in shared.across) - sum(_gram(c, influence) for c in shared.within)


def _gram(clusters: Clusters, influence: np.ndarray) -> np.ndarray:
    sums = influence if clusters.of is None else np.stack([clusters.sums(column) for column in influence.T], axis=1)
    return clusters.sign * factor(np.array(clusters.many)) ** 2 * (sums.T @ sums)


def factor(clusters: np.ndarray) -> np.ndarray:
    """sqrt(G / (G - 1)) for G clusters, the small-sample factor of a standard error; 1 for a single cluster."""
    many = np.maximum(clusters, 2)
    return np.where(clusters > 1, np.sqrt(many / (many - 1)), 1.0)


def shared_noise(by_user: np.ndarray, by_both: np.ndarray, draws: int, units: int, rng: np.random.Generator) -> np.ndarray:
    """Draws float64[draws, K] of the error that shared units add to what resampling users shows: normal with covariance V - V_user, its
    negative parts left out, and the tails of t with units - 1 degrees.
    """
    values, vectors = np.linalg.eigh(by_both - by_user)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    degrees = max(units - 1, 1)
    return (rng.standard_normal((draws, len(values))) @ root.T) * np.sqrt(degrees / rng.chisquare(degrees, (draws, 1)))


def numbered(key: np.ndarray) -> tuple[np.ndarray, int]:
    """int64[n] in 0..many-1 in the order of the keys, and many."""
    low, high = int(key.min()), int(key.max())
    if high - low < 4 * len(key) + 1000:
        counts = np.bincount(key - low)
        return (np.cumsum(counts > 0) - 1)[key - low], int((counts > 0).sum())
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    new = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    out = np.empty(len(key), np.int64)
    out[order] = new
    return out, int(new[-1]) + 1


def _own(prompt: np.ndarray) -> np.ndarray:
    """Pairs without a prompt (-1) get one each."""
    prompt = prompt.astype(np.int64)
    lone = prompt < 0
    if lone.any():
        prompt[lone] = int(prompt.max()) + 1 + np.arange(int(lone.sum()))
    return prompt

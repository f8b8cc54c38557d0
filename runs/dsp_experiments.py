"""The experiments around PAFO on DSP: gap, support, size of the minority, two minority tastes, user states, history length, a case, ablations.

Frame, features and users as in runs/dsp.py. Nothing is tuned: each model is what `evenhand fit --method NAME` builds, and every number is
of clean test pairs of unseen queries. E1 to E11 number the axes of the
figures and tables of PAFO's paper (E4, E6 and part of E11 are runs/dsp.py and runs/dsp_compare.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from dsp import (
    DOMAINS,
    MINORITY,
    TRAIN_PAIRS,
    USERS,
    Queries,
    arguments,
    domains_of,
    features_of,
    in_processes,
    interval,
    per_user,
    world,
)
from dsp_ablations import ablations
from scipy import stats
from torch import Tensor

from evenhand.audits.passes import over
from evenhand.audits.sample import Sample
from evenhand.audits.support_curve import curve_of
from evenhand.core import Estimate, History, Pairs, PreferenceData
from evenhand.data.support import Support, choose_support
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.training.scoring import margins
from evenhand.training.traces import Fitted
from evenhand.workflows.hyperparameters import hyperparameters, method

# The models: title → (method, hyperparameters set, head; None = the method's own). PAFO first: the pooled model it trains may be one of the others.
MODELS: dict[str, tuple[str, dict[str, str], str | None]] = {
    "PAFO": ("pafo", {}, None),
    "personalised BT": ("bradley_terry", {}, None),
    "PAFO on the ridge head": ("pafo", {}, "low_rank"),
    "personalised BT, ridge head": ("bradley_terry", {}, "low_rank"),
    "P-RLHF": ("p_rlhf", {}, None),
    "VPL": ("vpl", {}, None),
    "GPO": ("gpo", {}, None),
}
OURS, PLAIN = "PAFO", "personalised BT"  # the two of E5, E7 and E10; E11 takes OURS apart
CELLS = ("test", "new28")
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # E5: users who like the named domain
COUPLES, COUPLE_SHARES = tuple(combinations(range(4), 2)), (0.1, 0.2)  # two minority domains, and their users in all
ABLATION_SEEDS, SHARE_SEEDS, COUPLE_SEEDS = 1, 1, 1  # at most --seeds; each has fits of its own, and time is short
LENGTHS = (0, 1, 2, 4, 8, TRAIN_PAIRS)  # E9

Accuracies = dict[str, dict[str, np.ndarray]]  # model → cell → one a user [USERS]


def main() -> None:
    args = arguments(__doc__ or "")
    runs = [(m, s) for s in range(args.seeds) for m in range(4)]
    couples = [(couple, s) for s in range(min(COUPLE_SEEDS, args.seeds)) for couple in COUPLES]
    found = in_processes(args, one_run, runs)
    two = in_processes(args, one_couple, couples)
    by_share, apart = ([r[name] for r in found if r[name]] for name in ("shares", "ablations"))
    summary = {
        "models": {title: built(title) for title in MODELS},
        "runs": runs,
        "users": USERS,
        "gap": {t: {c: gap([r["accuracy"][t][c] for r in found]) for c in CELLS} for t in MODELS},
        "support": support_summary(found),
        "shares": [share_row(s, [r[s] for r in by_share]) for s in SHARES],
        "couples": [share_row(s, [r[s] for r in two]) for s in COUPLE_SHARES],
        "states": {"probe": probe_summary(found), **found[0]["map"]},
        "history": {t: {k: groups([r["lengths"][t][k] for r in found]) for k in LENGTHS} for t in MODELS},
        "case": found[0]["case"],
        "ablations": {"runs": len(apart), "variants": ablation_summary(apart)},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(summary) + "\n")
    print(f"written: {args.out}")


def built(title: str) -> dict[str, str]:
    """A model's hyperparameters by name."""
    name, settings, head = MODELS[title]
    return {
        "method": name,
        "head": head or "its own",
        **{hyperparameter: str(value) for hyperparameter, value in hyperparameters(method(name, settings, head))},
    }


# --- one run ---


def one_run(texts: list[str], vectors: np.ndarray, run: tuple[int, int]) -> dict[str, Any]:
    """All experiments of one run (minority domain, seed)."""
    minority, seed = run
    features, queries = features_of(texts, vectors, (minority,), seed)
    sets = world(features, queries, (minority,), seed)
    domain = domains_of((minority,))
    fitted = trained(MODELS, sets, seed)
    accuracy = accuracies(fitted, sets)
    support = support_of(sets["train"], seed)
    states = {t: fitted[t].scorer.users(sets["new28"].history).detach().numpy() for t in (OURS, PLAIN)}
    means = mean_differences(sets["new28"].history).numpy()
    out = {
        "accuracy": accuracy,
        "shares": at_shares(features, queries, (minority,), seed, SHARES, accuracy) if seed < SHARE_SEEDS else {},
        "support": support.values,
        "rule": support.rule,
        "lengths": {t: {k: per_user(margins(f.scorer, shortened(sets["new28"], k))) for k in LENGTHS} for t, f in fitted.items()},
        "probe": {t: probed(x, domain, minority, seed) for t, x in {**states, "mean difference of features, no model": means}.items()},
        "map": {"run": run, "domain": domain.tolist(), "points": {t: plane(x) for t, x in states.items()}},
        "case": case(fitted, sets, domain, run),
        "ablations": ablations(method(*MODELS[OURS]), fitted[OURS], sets, seed, CELLS) if seed < ABLATION_SEEDS else {},
    }
    print(f"minority {DOMAINS[minority]}, seed {seed}: done", flush=True)
    return out


def at_shares(
    features: Tensor, queries: Queries, minority: Sequence[int], seed: int, shares: Sequence[float], usual: Accuracies | None = None
) -> dict[float, Accuracies]:
    """E5: PAFO and personalised Bradley-Terry by the share of users who like the minority's domains; usual: known at the usual share."""

    def at(share: float) -> Accuracies:
        sets = world(features, queries, minority, seed, share)
        return accuracies(trained((OURS, PLAIN), sets, seed), sets)

    return {share: usual if usual and share == MINORITY else at(share) for share in shares}


def one_couple(texts: list[str], vectors: np.ndarray, run: tuple[tuple[int, int], int]) -> dict[float, Accuracies]:
    """Two domains make up the minority, half of its users each; PAFO knows them as one group."""
    couple, seed = run
    features, queries = features_of(texts, vectors, couple, seed)
    out = at_shares(features, queries, couple, seed, COUPLE_SHARES)
    print(f"minority {' and '.join(DOMAINS[d] for d in couple)}, seed {seed}: done", flush=True)
    return out


def trained(titles: Iterable[str], sets: Mapping[str, Pairs], seed: int) -> dict[str, Fitted]:
    """The models fitted. A Bradley-Terry model that PAFO has trained on its way, with the same hyperparameters and seed, is not trained twice."""
    out: dict[str, Fitted] = {}
    pooled: dict[BradleyTerry, Fitted] = {}
    for title in titles:
        chosen = method(*MODELS[title])
        known = pooled.get(chosen) if isinstance(chosen, BradleyTerry) else None
        out[title] = known or chosen.fit(sets["train"], sets["valid"], seed)
        if isinstance(chosen, Pafo):
            pooled[chosen.base] = out[title].parts["pooled"]
    return out


def accuracies(fitted: Mapping[str, Fitted], sets: Mapping[str, Pairs]) -> Accuracies:
    return {t: {c: per_user(margins(f.scorer, sets[c])) for c in CELLS} for t, f in fitted.items()}


def support_of(train: Pairs, seed: int) -> Support:
    """E2: the package's own support rate of each user, from training pairs alone; row numbers stand for the texts."""
    names = [str(i) for i in range(len(train.items))]
    chosen, rejected, user = train.chosen.numpy(), train.rejected.numpy(), train.user.numpy()
    data = PreferenceData([str(u) for u in range(USERS)], names, user, chosen // 4, chosen, rejected)
    return choose_support(data, lambda some: mean_differences(train.history).numpy())


def mean_differences(history: History) -> Tensor:
    """Mean of features(chosen) - features(rejected) over each user's pairs, float[users, d]; every user has as many."""
    return history.differences().view(len(history), -1, history.items.shape[1]).mean(1)


def shortened(pairs: Pairs, length: int) -> Pairs:
    """The same pairs under the first `length` pairs of each user's history."""
    h = pairs.history
    chosen, rejected = (side.view(len(h), -1)[:, :length].flatten() for side in (h.chosen, h.rejected))
    return replace(pairs, history=History(h.items, torch.arange(len(h) + 1) * length, chosen, rejected, h.row))


def probed(states: np.ndarray, domain: np.ndarray, minority: int, seed: int) -> dict[str, np.ndarray]:
    """E7: can a linear probe tell a user's group, and domain, from his or her state? Right or not, bool[users], in 5-fold cross-validation.

    Logistic regression on standardised states; classes weigh the same, so that always guessing the majority is worth nothing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return {name: cross_val_predict(probe, states, y, cv=folds) == y for name, y in (("group", domain == minority), ("domain", domain))}


def plane(states: np.ndarray) -> dict[str, Any]:
    """First two principal components of the users' states, and the share of variance they hold."""
    centred = states - states.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    return {"xy": np.round(left[:, :2] * size[:2], 3).tolist(), "held": float((size[:2] ** 2).sum() / (size**2).sum())}


def case(fitted: Mapping[str, Fitted], sets: Mapping[str, Pairs], domain: np.ndarray, run: tuple[int, int]) -> dict[str, Any]:
    """E10: the first minority user, and every test pair of his or hers on which the two models disagree. Numbers alone, no texts."""
    test = sets["test"].take((sets["test"].user == 0).nonzero()[:, 0])
    scorers = {PLAIN: fitted[PLAIN].scorer, "minority's teacher": fitted[OURS].parts["teacher 1"].scorer, OURS: fitted[OURS].scorer}
    found = {t: margins(s, test) for t, s in scorers.items()}
    differ = ((found[OURS] > 0) != (found[PLAIN] > 0)).nonzero()[:, 0].tolist()
    history = sets["train"].history
    flipped = int((history.chosen[:TRAIN_PAIRS] % 4 != int(domain[0])).sum())
    pairs = [
        {
            "query": int(test.chosen[i]) // 4,
            "chosen": DOMAINS[int(test.chosen[i]) % 4],
            "rejected": DOMAINS[int(test.rejected[i]) % 4],
            "margins": {t: float(m[i]) for t, m in found.items()},
        }
        for i in differ
    ]
    right = {t: float((m > 0).double().mean()) for t, m in found.items()}
    return {"run": run, "user": 0, "domain": DOMAINS[domain[0]], "flipped": flipped, "accuracy": right, "pairs": pairs, "of": len(test)}


# --- over runs ---


def split(values: Sequence[np.ndarray], share: float = MINORITY) -> dict[str, np.ndarray]:
    """Values of the groups' users [runs, users of the group]; minority users come first."""
    few, together = round(USERS * share), np.stack(values).astype(float)
    return {"majority": together[:, few:], "minority": together[:, :few]}


def groups(values: Sequence[np.ndarray], share: float = MINORITY) -> dict[str, dict[str, float]]:
    return {g: interval(v.ravel()) for g, v in split(values, share).items()}


def between(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Mean of a minus mean of b in points, with Welch's 95 % interval; the unit is the user of a run."""
    ends = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    value, low, high = (round(100 * float(v), 4) for v in (a.mean() - b.mean(), ends.low, ends.high))
    return {"value": value, "low": low, "high": high}


def gap(values: Sequence[np.ndarray], share: float = MINORITY) -> dict[str, Any]:
    """E1: both groups' accuracy, and majority minus minority."""
    part = split(values, share)
    by_run = (100 * (part["majority"].mean(1) - part["minority"].mean(1))).tolist()
    return {**groups(values, share), "gap": between(part["majority"].ravel(), part["minority"].ravel()), "gap_by_run": by_run}


def gain(mine: Sequence[np.ndarray], other: Sequence[np.ndarray], share: float = MINORITY) -> dict[str, Any]:
    """Paired difference of the groups' users."""
    difference = split([a - b for a, b in zip(mine, other, strict=True)], share)
    return {g: {**interval(d.ravel()), "by_run": (100 * d.mean(1)).tolist()} for g, d in difference.items()}


def share_row(share: float, results: list[Accuracies]) -> dict[str, Any]:
    """E5: both models at one share, and what PAFO changes."""
    by_cell = {}
    for c in CELLS:
        ours, plain = ([r[t][c] for r in results] for t in (OURS, PLAIN))
        by_cell[c] = {OURS: gap(ours, share), PLAIN: gap(plain, share), "gain": gain(ours, plain, share)}
    return {"share": share, "runs": len(results), "cells": by_cell}


def support_summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """E2 on seen users of all runs together: bars over support bins, correlations with the measured and with the true support."""
    support = np.stack([r["support"] for r in found])
    true = np.broadcast_to(np.where(np.arange(USERS) < USERS * MINORITY, MINORITY, (1 - MINORITY) / 3), support.shape)
    few = round(USERS * MINORITY)
    out = {}
    for title in MODELS:
        accuracy = np.stack([r["accuracy"][title]["test"] for r in found])
        out[title] = {
            "measured": curve(support, accuracy),
            "measured, majority alone": curve(support[:, few:], accuracy[:, few:]),
            "measured, minority alone": curve(support[:, :few], accuracy[:, :few]),
            "true": curve(true, accuracy),
        }
    known = {g: float(np.nanmean(v)) for g, v in split([r["support"] for r in found]).items()}
    rules = Counter(r["rule"].partition(" Chosen because")[0] for r in found)
    return {"rules": rules, "mean": known, "unknown": float(np.isnan(support).mean()), "models": out}


def curve(support: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """Bins of equally many users, and Spearman's correlation with its interval, by the package's own panel."""
    x, y = support.ravel(), accuracy.ravel()
    sample = Sample(np.arange(len(x)), np.full(len(x), -1), 0, np.full(len(x), 30))  # of users who share nothing
    found = over((), curve_of(sample, lambda batch: [], x, y, y, "", resamples=400))
    assert found is not None
    bins = [{"support": [b.low, b.high], "accuracy": ends(b.accuracy)} for b in found.bins]
    return {"bins": bins, "correlation": ends(found.correlation)}


def ends(e: Estimate) -> dict[str, float]:
    return {"value": round(e.value, 5), "low": round(e.low, 5), "high": round(e.high, 5)}


def probe_summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Right answers of each group's users, and the mean of both (chance: 50); right domains over all users."""
    out = {}
    for title in found[0]["probe"]:
        part = split([r["probe"][title]["group"] for r in found])
        a, b = part["majority"].ravel(), part["minority"].ravel()
        both = between(a / 2, -b / 2)
        domain = interval(np.stack([r["probe"][title]["domain"] for r in found]).astype(float).ravel())
        out[title] = {"majority": interval(a), "minority": interval(b), "both": both, "domain": domain}
    return out


def ablation_summary(found: list[Accuracies]) -> dict[str, Any]:
    """E11: accuracies by group, and the paired difference from PAFO as it is."""
    out: dict[str, Any] = {}
    for name in found[0]:
        cells = {c: ([r[name][c] for r in found], [r["PAFO"][c] for r in found]) for c in CELLS}
        out[name] = {c: {"accuracy": groups(own), "against PAFO": gain(own, full)} for c, (own, full) in cells.items()}
    return out


if __name__ == "__main__":
    main()

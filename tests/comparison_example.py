"""Comparison made from simulated accuracies by the functions that `compare` and `sweep` use: comparisons, a sweep, and extreme ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from evenhand.audits.frontier import RateBoard, constraint_front, counted, noise, violated
from evenhand.audits.ranking import Board, front, levels, over_seeds, pairwise, unfairness
from evenhand.audits.rates import cells
from evenhand.audits.results import Comparison, Result
from evenhand.core import Exclusions

REFERENCE = "personalised Bradley-Terry"
Levels = Mapping[str, Sequence[float]]  # entry → true accuracy in each group


def board(truth: Levels, groups: Sequence[str], sizes: Sequence[int], seeds: int, seed: int, pairs: int = 30) -> Board:
    """Users of `sizes` [groups] with a taste and a luck of their own, which all entries share; sizes after the groups' are in no group."""
    rng = np.random.default_rng(seed)
    group = np.repeat([*range(len(groups)), -1][: len(sizes)], sizes)
    n = len(group)
    own = rng.normal(0, 0.05, n)  # a user's ease of being predicted
    luck = rng.normal(0, 0.05, (seeds, n))
    accuracy = np.empty((len(truth), seeds, n))
    for e, mean in enumerate(truth.values()):
        shift = np.asarray([*mean, np.mean(mean)])[group]
        p = np.clip(shift + own + luck + rng.normal(0, 0.004, (seeds, 1)), 0.02, 0.98)
        accuracy[e] = np.clip(p + rng.normal(0, 0.03, (seeds, n)), 0, 1)
    in_seed = np.tile(group, (seeds, 1))
    support = np.clip(0.35 + 0.3 * (group == 0) + rng.normal(0, 0.08, n), 0, 1)
    return Board(tuple(truth), tuple(groups), accuracy, in_seed, np.tile(support, (seeds, 1)), np.full((seeds, n), pairs))


def results(
    truth: Levels, groups: Sequence[str] = ("majority", "minority"), sizes: Sequence[int] = (340, 60), seeds: int = 3,
    settings: Mapping[str, Mapping[str, str]] | None = None, swept: Sequence[str] = (), failed: Mapping[str, str] | None = None,
    reference: str = REFERENCE, resamples: int = 40,
) -> Comparison:  # fmt: skip
    """`failed` entries, name → reason, come last and have no numbers."""
    test, valid = board(truth, groups, sizes, seeds, 1), board(truth, groups, sizes, seeds, 2, 8)
    found, chosen_on = levels(test), levels(valid)
    names, one = list(truth), np.eye(len(truth))
    cells = (*groups, "all")
    spread, unfair = over_seeds(test), unfairness(test, found, names.index(reference), resamples=resamples, seed=0)
    half = np.arange(len(test.accuracy[0, 0])) % 3 == 0
    parts = {
        name: levels(replace(test, accuracy=np.where(keep, test.accuracy, np.nan)))
        for name, keep in (("seen users", ~half), ("unseen users", half))
    }
    rng = np.random.default_rng(3)
    entries = [
        Result(
            name, (settings or {}).get(name, {}), 12 if settings is None else 1, float(rng.uniform(5, 400)), seeds,
            selection=tuple(chosen_on.estimate(one[e], c, "accuracy", g) for c, g in enumerate(cells)),
            held_out=tuple(found.estimate(one[e], c, "accuracy", g) for c, g in enumerate(cells)),
            over_seeds=tuple(map(float, spread[e])),
            log_loss=replace(found.estimate(one[e], len(groups), "log-loss", "all"), value=0.55, low=0.53, high=0.57),
            cells={k: tuple(p.estimate(one[e], c, "accuracy", g) for c, g in enumerate(cells)) for k, p in parts.items()},
            unfairness=unfair[name],
        )
        for e, name in enumerate(names)
    ]  # fmt: skip
    lost = [Result(n, {}, 12, 3.0, 0, failed=why) for n, why in (failed or {}).items()]
    with_users = [c for c in range(len(groups)) if found.users[c]]
    pareto = front(names, chosen_on.value[:, with_users], found.value[:, with_users], reference) if len(with_users) > 1 else None
    return Comparison(
        "Choices of 400 users over 661 queries", True, tuple(groups),
        "Minority: users whose preference support on training pairs is under 0.5; majority: everybody else" if groups else "",
        (*entries, *lost), pairwise(test, found, 0), pareto, tuple(range(seeds)), tuple(swept),
        Exclusions(12_418, 12_000, {"chosen equals rejected": 211, "empty response": 44, "user with a single pair": 163}, {"minority": {"empty response": 31}}),
        {"data": "choices.parquet", "data hash (SHA-256)": "9c1f" * 16, "evenhand": "0.1.0", "splits": "train 360 prompts, validation 100, test 201"},
        ("Accuracy says nothing about how much a wrong choice costs a user.",),
        "evenhand compare choices.parquet --methods pafo,lore,p_rlhf --seeds 3 --out out/compare",
    )  # fmt: skip


TRUTH: Levels = {
    "Bradley-Terry": (0.58, 0.30), REFERENCE: (0.726, 0.63), "pafo": (0.734, 0.668), "pafo on LoRe’s head": (0.742, 0.671),
    "lore": (0.738, 0.652), "p_rlhf": (0.69, 0.61), "vpl": (0.70, 0.635), "reweight": (0.719, 0.664), "group_dro": (0.705, 0.672),
    "maxmin": (0.69, 0.678), "mgda": (0.723, 0.645), "pal": (0.68, 0.60),
}  # fmt: skip


def compared() -> Comparison:
    """Twelve methods, three seeds, two groups; one more failed, one cannot serve unseen users."""
    found = results(TRUTH, failed={"gpo": "2 of 3 seeds: the loss is not a number after epoch 4 (seeds 0 and 2)"}, resamples=200)
    entries = tuple(
        replace(e, note="unknown users get the generic reward", settings={"rank": "by seed"}) if e.name == "p_rlhf"
        else replace(e, settings={"alpha": "0.1", "balance": "0.5"}) if e.name.startswith("pafo") else e
        for e in found.entries
    )  # fmt: skip
    return replace(found, entries=entries)


def swept(alphas: Sequence[str] = ("0.1", "0.25", "0.5", "0.8"), balances: Sequence[str] = ("0", "0.5", "1")) -> Comparison:
    """PAFO over alpha and balance beside the two references."""
    truth: dict[str, Sequence[float]] = {"Bradley-Terry": (0.58, 0.30), REFERENCE: (0.726, 0.63)}
    settings = {}
    for alpha, balance in product(alphas, balances):
        strong, even = 1 - float(alpha), float(balance)
        name = f"alpha={alpha} balance={balance}"
        truth[name] = (0.726 + 0.012 * strong - 0.010 * even * strong, 0.63 + 0.045 * strong * (0.3 + 0.7 * even))
        settings[name] = {"alpha": alpha, "balance": balance}
    found = results(truth, settings=settings, swept=("alpha", "balance"))
    return replace(
        found, title="pafo over alpha and balance", command="evenhand sweep choices.parquet --method pafo --over alpha=0.1,0.25,0.5,0.8"
    )


RULE = "Identities that exactly one response of a pair mentions, by the terms of terms.json. y1 is the response that mentions the identity."
IDENTITIES = ("women", "Muslims", "gay people")


def rate_board(spread: Mapping[str, float], notion: str, users: int, seeds: int, seed: int, fewest: int | None = None) -> RateBoard:
    """Events whose true rates lie `spread` of the entry apart in all; users differ, seeds differ a little. fewest: users of the last event."""
    rng = np.random.default_rng([seed, len(notion)])
    events, compared = cells(notion, IDENTITIES)
    n = len(events)
    own, luck = rng.normal(0, 0.06, (users, n)), rng.normal(0, 0.03, (seeds, users, n))
    towards = np.linspace(-0.5, 0.5, n) if compared else np.ones(n)
    middle = 0.5 if compared else 0.0
    seen = np.arange(users)[:, None] < np.where(np.arange(n) == n - 1, users if fewest is None else fewest, users)
    of = {}
    for decision, times in (("soft", 1.0), ("hard", 2.0)):
        x = np.stack([middle + times * gap * towards + own + luck + rng.normal(0, 0.06, (seeds, users, n)) for gap in spread.values()])
        of[decision] = np.where(seen, np.clip(x, 0, 1), np.nan)
    return RateBoard(notion, events, compared, of, np.tile(np.full(n, 4) * seen.sum(axis=0), (seeds, 1)))


def bound(
    is_sweep: bool = True, fewest: int | None = None, gamma: float = 0.05, notions: Sequence[str] = ("dp",), resamples: int = 60
) -> Comparison:
    """Faro over gamma, or methods side by side, on pairs that mention one of three identities."""
    spread = {"Bradley-Terry": 0.11, REFERENCE: 0.14}
    truth: dict[str, Sequence[float]] = {"Bradley-Terry": (0.70, 0.62), REFERENCE: (0.726, 0.63)}
    settings: dict[str, Mapping[str, str]] = {}
    if is_sweep:
        for g in (0.02, 0.05, 0.1, 0.2, 1.0):
            name = f"gamma={g:g}"
            spread[name] = min(0.14, 0.8 * g + 0.01)
            truth[name] = tuple(a - 0.02 * (1 - spread[name] / 0.14) for a in truth[REFERENCE])
            settings[name] = {"gamma": str(g), "step": "0.01"}
    else:
        for name, gap, price in (("Faro", 0.035, 0.005), ("penalty", 0.05, 0.012), ("reweight", 0.13, 0.004), ("pafo", 0.15, -0.01)):
            spread[name], truth[name] = gap, tuple(a - price for a in truth[REFERENCE])
    found = results(truth, settings=settings or None, swept=("gamma",) if is_sweep else (), resamples=resamples)
    names = list(truth)
    accuracy = tuple(
        np.array([e[-1].value for e in side]) for side in ([e.selection for e in found.entries], [e.held_out for e in found.entries])
    )
    levelled = levels(board(truth, found.groups, (340, 60), 3, 1))
    violations: list[list] = []
    fronts, events = [], ()
    for notion in notions:
        valid, test = (rate_board(spread, notion, n, 3, k, fewest) for n, k in ((260, 11), (400, 12)))
        by_entry = violated(valid, test, 1, resamples=resamples, seed=0)
        events += counted(valid, test)
        for place, decision in enumerate(("soft", "hard")):
            violations.append([v[place] for v in by_entry])
            by_noise = noise(valid, 1, decision, 0), noise(test, 1, decision, 0)
            lines = [[n for n in names if n.startswith("gamma")]] if is_sweep else []
            fronts.append(constraint_front(violations[-1], names, accuracy, REFERENCE, gamma, lines, by_noise))
    entries = []
    for i, e in enumerate(found.entries):
        against = np.eye(len(names))[i] - np.eye(len(names))[1]
        cost = None if i == 1 else levelled.estimate(against, 2, "difference of accuracy", "all")
        entries.append(replace(e, violations=tuple(v[i] for v in violations), cost=cost))
    return replace(found, entries=tuple(entries), events=events, events_rule=RULE, constraint_fronts=tuple(fronts))


def bound_sweep() -> Comparison:
    return bound(notions=("dp", "cf"), resamples=200)


def one_seed() -> Comparison:
    return results({k: TRUTH[k] for k in ("Bradley-Terry", REFERENCE, "pafo")}, seeds=1)


def three_groups() -> Comparison:
    truth = {
        "bt": (0.6, 0.5, 0.4),
        REFERENCE: (0.72, 0.66, 0.63),
        "pafo": (0.725, 0.68, 0.66),
        "lore": (0.73, 0.67, 0.64),
        "vpl": (0.70, 0.69, 0.60),
    }
    return results(truth, ("country FR", "country DE", "country IT"), (200, 120, 60))


def no_groups() -> Comparison:
    return results({"bt": (0.6,), REFERENCE: (0.7,), "pafo": (0.72,)}, (), (300,))


def small_group() -> Comparison:
    """The minority has seven users."""
    return results({"bt": (0.6, 0.3), REFERENCE: (0.7, 0.6), "pafo": (0.72, 0.61)}, sizes=(200, 7))


def many_groups(k: int = 30) -> Comparison:
    truth = {n: tuple(0.6 + 0.03 * i + 0.002 * ((7 * g + i) % k) for g in range(k)) for i, n in enumerate(("bt", REFERENCE, "pafo"))}
    return results(truth, [f"region {g:02d}" for g in range(k)], [12 + g for g in range(k)], seeds=2)


def large_sweep(n: int = 34) -> Comparison:
    alphas = tuple(f"{a:.4f}" for a in np.linspace(0.01, 0.99, n))
    return swept(alphas, ("0.5",))


def all_failed() -> Comparison:
    failed = tuple(Result(n, {}, 12, 0.0, 0, failed="no user has more than one pair") for n in ("bt", REFERENCE, "pafo"))
    return replace(one_seed(), entries=failed, pairwise=(), front=None)


def named(texts: Sequence[str]) -> Comparison:
    """A text of its own in every place for one: entries, groups, hyperparameters, reasons, facts."""
    truth = {t: (0.6 + 0.01 * i, 0.55 + 0.008 * i) for i, t in enumerate(dict.fromkeys(texts))}
    names = list(truth)
    groups = ("group " + names[0], names[-1])
    found = results(
        truth,
        groups,
        settings={t: {names[0]: t} for t in names},
        swept=(names[0],),
        failed={"failed " + names[1]: names[1]},
        reference=names[0],
    )
    entries = tuple(
        replace(e, note=names[i % len(names)], cells={names[1]: e.cells["seen users"]} if e.cells else {})
        for i, e in enumerate(found.entries)
    )
    return replace(
        found, entries=entries, title=names[0], groups_rule=names[1], facts={t: t for t in names}, limits=tuple(names), command=names[2],
        exclusions=Exclusions(len(names), 0, dict.fromkeys(names, 1), {names[-1]: {names[0]: 1}}), details={names[0]: names[1]},
    )  # fmt: skip

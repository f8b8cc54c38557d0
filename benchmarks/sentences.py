"""How often does a report state what is not so? Users and prompts, or users and statements, drawn anew in each repeat.

Users agree with the majority's side of a prompt with a probability of their own; support is that probability. Four groups are cut by support.
Models, none of which serves anybody better over the prompts that could have been drawn, so that every trend or gap they are said to show is
a false statement: a reward drawn at random once for all; one that knows every user, to a degree that has nothing to do with support; one
that finds some prompts (or statements) much harder than others. A fourth one truly follows the majority: how often is that seen?
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evenhand.audits.changes import compare
from evenhand.audits.examine import examine_model
from evenhand.audits.low_support import low_support_of
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.passes import over
from evenhand.audits.sample import arrange
from evenhand.core import Groups
from evenhand.report.audit.sentences import trend
from evenhand.report.numbers import is_clear

SIZES = ((200, 60), (600, 200))
RANDOM, PERSONAL, UNEQUAL, MAJORITY = "random reward for all", "personalised", "unequal difficulty", "majority's reward"
WORLDS = (RANDOM, PERSONAL, UNEQUAL)
GROUPS = 4


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def people(users: int, rng: np.random.Generator) -> tuple[np.ndarray, Groups]:
    """How often each user sides with the majority, and four groups cut by it."""
    support = rng.beta(4, 2.5, users)
    of = np.searchsorted(np.quantile(support, [0.25, 0.5, 0.75]), support).astype(np.int16)
    return support, Groups(tuple(f"group {g}" for g in range(GROUPS)), of, "by support")


def on_prompts(world: str, users: int, prompts: int, rng: np.random.Generator, each: int = 20) -> tuple[Outcomes, np.ndarray, Groups]:
    """Each user judges the two responses of 20 prompts."""
    support, groups = people(users, rng)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    prompt = np.argsort(rng.random((users, prompts)), axis=1)[:, :each].ravel().astype(np.int32)
    with_majority = rng.random(len(user)) < support[user]
    if world == RANDOM:
        right = with_majority == (rng.random(prompts) < 0.5)[prompt]
    elif world == MAJORITY:
        right = with_majority == (rng.random(prompts) < 0.75)[prompt]
    elif world == PERSONAL:
        right = rng.random(len(user)) < logistic(rng.normal(0.9, 0.5, users)[user] + rng.normal(0, 0.3, prompts)[prompt])
    else:
        right = rng.random(len(user)) < logistic(0.9 + rng.normal(0, 1.5, prompts)[prompt])
    size = np.abs(rng.normal(1, 0.3, len(user)))
    length = rng.normal(0, 120, prompts)[prompt]  # of a prompt's two responses: a nuisance that all its pairs share
    o = Outcomes("m", "test", user, np.where(right, size, -size), prompt=prompt, length_difference=np.where(with_majority, length, -length))
    return o, support, groups


def on_votes(
    world: str, users: int, items: int, rng: np.random.Generator, votes: int = 16, most: int = 30
) -> tuple[Outcomes, np.ndarray, Groups]:
    """Each user agrees or disagrees with 16 statements; pairs are drawn of one that he or she agrees with and one not, at most 30."""
    support, groups = people(users, rng)
    popular = rng.random(items) < 0.5
    shared, own = rng.normal(size=items), rng.normal(size=(users, items))
    worth = rng.normal(1.0, 0.5, users)
    rows = []
    rewards = np.zeros((users, items))
    for u in range(users):
        judged = rng.permutation(items)[:votes]
        agrees = (rng.random(votes) < support[u]) == popular[judged]
        if world == RANDOM:
            rewards[u] = shared
        elif world == MAJORITY:
            rewards[u] = 1.0 * popular + shared
        else:
            rewards[u, judged] = np.where(agrees, 0.5, -0.5) * (worth[u] if world == PERSONAL else 1.0) + own[u, judged]
            rewards[u] += 1.5 * shared if world == UNEQUAL else 0.0
        couples = np.stack(np.meshgrid(judged[agrees], judged[~agrees]), axis=-1).reshape(-1, 2)
        picked = couples[rng.permutation(len(couples))[:most]]
        rows.append(np.column_stack([np.full(len(picked), u), picked]))
    user, chosen, rejected = np.concatenate(rows).astype(np.int32).T
    margin = rewards[user, chosen] - rewards[user, rejected]
    return Outcomes("m", "test", user, margin, chosen=chosen, rejected=rejected), support, groups


def said(o: Outcomes, support: np.ndarray, groups: Groups, seed: int, resamples: int) -> dict[str, float]:
    """What a report would state of groups and of support, 1 or 0 each; all of it false but for the majority's reward."""
    found = examine_model(replace(o, length_difference=None), groups, support, "known", resamples=resamples, seed=seed)
    curve = found.support
    assert curve is not None
    assert found.gap is not None
    assert found.spread is not None
    return {
        "trend": float(trend(curve) != 0),
        "slope": float(is_clear(curve.slope)),
        "rank": float(is_clear(curve.correlation)),
        "null": float(found.null[0].p_value < 0.05),
        "gap": float(is_clear(found.gap)),
        "notable": float(any(g.notable for g in found.groups)),
        "users": float(found.spread.tau_p_value < 0.05),
    }


def rates(world: str, votes: bool, users: int, units: int, repeats: int, seed: int, resamples: int = 200) -> dict[str, float]:
    """Share of repeats with each statement."""
    rng = np.random.default_rng([seed, users, votes])
    draw = on_votes if votes else on_prompts
    counts: dict[str, float] = {}
    for repeat in range(repeats):
        o, support, groups = draw(world, users, units, rng)
        for name, value in said(o, support, groups, repeat, resamples).items():
            counts[name] = counts.get(name, 0.0) + value / repeats
    return counts


def changed(users: int, prompts: int, repeats: int, seed: int) -> float:
    """Two random rewards for all on the same prompts, four groups: how often the gap is said to have moved."""
    rng = np.random.default_rng([seed, users])
    false = 0
    for repeat in range(repeats):
        o, _, groups = on_prompts(RANDOM, users, prompts, rng)
        other = o.margin * np.where(rng.random(prompts) < 0.5, 1, -1)[o.prompt]
        change = compare(o, Outcomes("n", "test", o.user, other, prompt=o.prompt), groups, resamples=400, seed=repeat).gap_change
        false += bool(change.low > 0 or change.high < 0)
    return false / repeats


def missed(users: int, prompts: int, repeats: int, seed: int) -> dict[str, float]:
    """A random reward for all: share of 95 % intervals that miss the truth, of support bins, length bins and groups' calibration errors."""
    rng = np.random.default_rng([seed, users])
    miss: dict[str, list[bool]] = {"support bins": [], "length bins": [], "ECE": []}
    error = float(logistic(np.abs(np.random.default_rng(0).normal(1, 0.3, 400_000))).mean()) - 0.5  # confidence over an accuracy of 1/2
    for repeat in range(repeats):
        o, support, groups = on_prompts(RANDOM, users, prompts, rng)
        found = examine_model(o, groups, support, "known", resamples=400, seed=repeat)
        miss["support bins"] += [not b.accuracy.low <= 0.5 <= b.accuracy.high for b in found.support.bins]
        miss["length bins"] += [not e.low <= 0.5 <= e.high for _, e in found.confounds[0].bins]
        miss["ECE"] += [not g.ece.low <= error <= g.ece.high for g in found.groups]
    return {k: float(np.mean(v)) for k, v in miss.items()}


CARELESS, RARE, MIXED, EQUAL = "careless", "rare", "mixed", "equal"


def tastes(kind: str, users: int, pairs: int, rng: np.random.Generator, each: int = 20) -> tuple[Outcomes, np.ndarray]:
    """Each user judges 20 pairs. careless: one taste, followed with a care of 50 to 95 %. rare: a fifth of the users share another taste,
    which turns 70 % of the pairs round. mixed: an eighth of them, and three in ten of all users have a care of 60 %. equal: nobody
    differs. Care is 85 % else. Support is an estimate from 20 other pairs.
    """
    common = rng.choice([-1, 1], pairs)
    other = np.where(rng.random(pairs) < 0.7, -common, common)
    care = rng.uniform(0.5, 0.95, users) if kind == CARELESS else np.full(users, 0.85)
    if kind == MIXED:
        care[rng.random(users) < 0.3] = 0.6
    odd = rng.random(users) < {RARE: 0.2, MIXED: 0.125}.get(kind, 0.0)
    taste = np.where(odd[:, None], other, common)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    pair = np.argsort(rng.random((users, pairs)), axis=1)[:, :each].ravel()
    side = (rng.random(len(user)) < care[user]) == (taste[user, pair] > 0)
    alike = (taste == common).mean(axis=1)
    support = rng.binomial(20, alike * care + (1 - alike) * (1 - care)) / 20 + rng.normal(0, 1e-3, users)
    return Outcomes("m", "t", user, np.ones(len(user)), prompt=pair.astype(np.int32), pair=pair, side=side), support


def low_findings(kind: str, users: int, pairs: int, repeats: int, seed: int) -> dict[str, float]:
    """Share of repeats in which low support is called a rare taste, carelessness, or neither."""
    rng = np.random.default_rng([seed, users])
    nobody, found = Groups((), np.full(users, -1, np.int16), ""), []
    for _ in range(repeats):
        outcomes, support = tastes(kind, users, pairs, rng)
        sample = arrange(outcomes, nobody)
        found.append(over(sample.batches, low_support_of(sample, support)).finding)
    return {name: found.count(name) / repeats for name in ("rare", "careless", "unknown")}


def main(repeats: int = 400, votes: tuple[bool, ...] = (False, True)) -> None:
    noise = 100 * 1.96 * np.sqrt(0.05 * 0.95 / repeats)
    print(f"False statements in per cent of {repeats} audits (± {noise:.1f} points at 5 %); goal: at most 6. 'notable' is a list at 10 %;")
    print(f"users truly differ where the model is personalised; all statements are true of the {MAJORITY} ({repeats // 4} audits)")
    header = ("trend", "slope", "rank", "null", "gap", "notable", "users")
    print(f"{'':44}" + "".join(f"{h:>9}" for h in header))
    for by_votes in votes:
        for users, units in SIZES:
            for world in (*WORLDS, MAJORITY):
                found = rates(world, by_votes, users, units, repeats // 4 if world == MAJORITY else repeats, seed=1)
                name = f"{users} x {units} {'statements' if by_votes else 'prompts'}, {world}"
                print(f"{name:46}" + "".join(f"{100 * found[h]:7.1f}  " for h in header), flush=True)
    for users, units in SIZES:
        moved = changed(users, units, repeats, 2)
        print(f"{users} x {units}, {RANDOM}: the gap of four groups is said to have moved in {100 * moved:.1f} %", flush=True)
        told = ", ".join(f"{k} {100 * v:.1f} %" for k, v in missed(users, units, repeats // 4, 3).items())
        print(f"{users} x {units}, {RANDOM}: intervals that miss the truth: {told} ({repeats // 4} audits)", flush=True)
    print("Low support: what is said of it (false: 'rare' of careless users, 'careless' of rare ones, either of equal ones)")
    for users, units in SIZES:
        for kind in (CARELESS, RARE, MIXED, EQUAL):
            told = ", ".join(f"{k} {100 * v:.1f} %" for k, v in low_findings(kind, users, units, repeats, 4).items())
            print(f"{users} x {units}, {kind}: {told}", flush=True)


if __name__ == "__main__":
    main()

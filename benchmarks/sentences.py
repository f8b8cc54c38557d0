"""How often does a report state what is not so? Users and prompts, or users and statements, drawn anew in each repeat.

Users agree with the majority's side of a prompt with a probability of their own; support is that probability. Four groups are cut by support.
Models, none of which serves anybody better over the prompts that could have been drawn, so that every trend or gap they are said to show is
a false statement: a reward drawn at random once for all; one that knows every user, to a degree that has nothing to do with support; one
that finds some prompts (or statements) much harder than others. A fourth one truly follows the majority: how often is that seen?
"""

from __future__ import annotations

import numpy as np

from evenhand.audits.comparison import compare
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import to_json
from evenhand.audits.outcomes import Outcomes
from evenhand.core import Groups
from evenhand.report.words import is_clear, trend

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
    found = to_json(examine_model(o, groups, support, "known", resamples=resamples, seed=seed))
    curve = found["support"]
    return {
        "trend": float(trend(curve) != 0),
        "slope": float(is_clear(curve["slope"])),
        "rank": float(is_clear(curve["correlation"])),
        "null": float(found["null"][0]["p_value"] < 0.05),
        "gap": float(is_clear(found["gap"])),
        "notable": float(any(g["notable"] for g in found["groups"])),
        "users": float(found["spread"]["tau_p_value"] < 0.05),
    }


def rates(world: str, votes: bool, users: int, units: int, repeats: int, seed: int, resamples: int = 400) -> dict[str, float]:
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


def main(repeats: int = 400) -> None:
    noise = 100 * 1.96 * np.sqrt(0.05 * 0.95 / repeats)
    print(f"False statements in per cent of {repeats} audits (± {noise:.1f} points at 5 %); goal: at most 6; last rows: true ones")
    header = ("trend", "slope", "rank", "null", "gap", "notable", "users")
    print(f"{'':36}" + "".join(f"{h:>9}" for h in header))
    for votes in (False, True):
        for users, units in SIZES:
            for world in (*WORLDS, MAJORITY):
                found = rates(world, votes, users, units, repeats, seed=1)
                name = f"{users} x {units} {'votes' if votes else 'prompts'}, {world}"
                print(f"{name:44}" + "".join(f"{100 * found[h]:7.1f}  " for h in header), flush=True)
    for users, units in SIZES:
        print(
            f"{users} x {units}: change of the gap of four groups said to be clear: {100 * changed(users, units, repeats, 2):.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()

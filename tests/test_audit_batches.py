"""Audits over batches of whole users: wherever batches end, the numbers are those of all pairs at once, and one batch at a time is held."""

import gc
import json
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from evenhand.audits.broken import broken
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import to_json
from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.outcomes import OutcomeBatches, Outcomes, in_batches
from evenhand.audits.verdicts import check_requirements
from evenhand.core import EvenhandError, Groups
from evenhand.data.batches import batch_ends

World = tuple[Outcomes, Groups, np.ndarray]


def made(
    users: int = 90, prompts: int = 40, each: int = 14, groups: int = 2, out: float = 0.0, seed: int = 0, twice: bool = False
) -> World:
    """Users judge two of three responses of each of some prompts, in the order of users; a rarer taste is served worse."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, users)
    group[rng.random(users) < out] = -1
    user = np.repeat(np.arange(users), rng.integers(2, 2 * each - 1, users)).astype(np.int32)
    prompt = rng.integers(0, prompts, len(user)).astype(np.int32)
    if twice:
        again = rng.random(len(user)) < 0.3
        prompt = np.where(again, np.roll(prompt, 1), prompt)
    first = rng.integers(0, 3, len(user))
    second = (first + rng.integers(1, 3, len(user))) % 3
    likes_first = (first < second) ^ (group[user] == 1) ^ (rng.random(len(user)) < 0.2)
    chosen, rejected = (prompts + 3 * prompt + np.where(likes_first, *s) for s in ((first, second), (second, first)))
    margin = np.abs(rng.normal(size=len(user))) * np.where(rng.random(len(user)) < np.where(group[user] == 1, 0.62, 0.74), 1, -1)
    low = np.minimum(chosen, rejected)
    pair = low.astype(np.int64) * 1000 + np.maximum(chosen, rejected)
    pair = np.unique(pair, return_inverse=True)[1]
    o = Outcomes(
        "m", "test", user, margin, prompt=prompt, chosen=chosen.astype(np.int32), rejected=rejected.astype(np.int32), pair=pair, side=chosen == low,
        length_difference=rng.integers(-9, 10, 3 * prompts + prompts)[chosen] * 40.0,
    )  # fmt: skip
    return o, Groups(tuple("abcd"[:groups]), group.astype(np.int16), ""), np.where(rng.random(users) < 0.1, np.nan, rng.random(users))


def weighted(world: World) -> World:
    o, groups, support = world
    rng = np.random.default_rng(5)
    margin = np.where(rng.random(len(o)) < 0.1, 0.0, o.margin)
    tie = rng.random(len(o)) < 0.15
    tie[o.user < 4] = True  # users without a pair that counts, in the first batch
    return replace(o, weight=rng.uniform(0.2, 3, len(o)), tie=tie, margin=margin, truncated=tie, identical=margin == 0), groups, support


def labelled(world: World) -> World:
    o, groups, support = world
    rng = np.random.default_rng(6)
    language = np.array([f"l{i:02}" for i in range(20)])[np.minimum(rng.geometric(0.15, len(o)) - 1, 19)]
    return replace(o, labels={"language": language, "position": rng.integers(0, 2, len(o))}), groups, support


def lone(world: World) -> World:
    """Some pairs without a prompt, and nothing known of responses."""
    o, groups, support = world
    prompt = np.where(np.random.default_rng(7).random(len(o)) < 0.3, -1, o.prompt).astype(np.int32)
    return replace(o, prompt=prompt, chosen=None, rejected=None, pair=None, side=None), groups, support


WORLDS: dict[str, Callable[[], World]] = {
    "prompts": lambda: made(),
    "three groups, users in none, visits of many pairs": lambda: made(groups=3, out=0.2, seed=1, twice=True),
    "weights, ties, cuts": lambda: weighted(made(seed=2)),
    "labels": lambda: labelled(made(seed=3)),
    "pairs without a prompt": lambda: lone(made(seed=4)),
    "few prompts: responses": lambda: made(prompts=12, seed=5, twice=True),
    "responses, no prompts": lambda: (replace(made(seed=6)[0], prompt=None), *made(seed=6)[1:]),
    "nothing shared": lambda: nothing_shared(made(seed=7, twice=True)),
    "no group": lambda: (made(seed=8)[0], Groups((), np.full(90, -1, np.int16), ""), made(seed=8)[2]),
    "thousands of users": lambda: (replace(made(3000, 400, 3, seed=9)[0], prompt=None, chosen=None, rejected=None), *made(3000, 400, 3, seed=9)[1:]),
    "above 20,000 users": lambda: made(21_000, 300, 2, seed=10),
}  # fmt: skip


def nothing_shared(world: World) -> World:
    o, groups, support = world
    return replace(o, prompt=o.prompt + 40 * o.user, chosen=None, rejected=None, pair=np.arange(len(o))), groups, support


def read(outcomes: Outcomes | OutcomeBatches, groups: Groups, support: np.ndarray) -> dict[str, object]:
    brier = Metric(lambda margin: 1 / (1 + np.exp(margin)) ** 2, 0.0, 1.0, "")
    found = examine_model(outcomes, groups, support, "rule", resamples=100, metrics=METRICS | {"Brier": brier})
    wanted = ["accuracy>=0.6", "worst_group>=0.5"] if len(groups) else ["accuracy>=0.6"]
    return {
        "model": to_json(found), "requirements": [to_json(r) for r in check_requirements(outcomes, groups, wanted)],
        "broken": broken(outcomes, groups),
    }  # fmt: skip


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Where two documents differ, numbers by more than 1e-12 of their size."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(one, float) and isinstance(other, float):
        if not (one == other or math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)):
            yield f"{path}: {one} and {other}"
    elif one != other:
        yield f"{path}: {one} and {other}"


@pytest.mark.parametrize("name", WORLDS)
def test_wherever_batches_end_the_numbers_are_the_same(name):
    o, groups, support = WORLDS[name]()
    users = len(groups.of_user)
    expected = read(o, groups, support)
    rng = np.random.default_rng(0)
    for ends in ([users], [1, 5, users // 2, users], np.unique([*rng.integers(1, users, 6), users]).tolist()):
        found = read(in_batches(o, np.array(ends)), groups, support)
        assert list(differences(expected, found)) == []

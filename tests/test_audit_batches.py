"""Audits over batches of whole users: wherever batches end, the numbers are those of all pairs at once, and one batch at a time is held."""

import json
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from evenhand.audits import spread
from evenhand.audits.batch import batches_of
from evenhand.audits.broken import broken
from evenhand.audits.examine import examine_model, examine_support, study_of_model, study_of_support
from evenhand.audits.findings import to_json
from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.outcomes import OutcomeBatches, Outcomes, in_batches
from evenhand.audits.passes import over, side_by_side
from evenhand.audits.verdicts import check_requirements, study_of_requirements
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
    "thousands of users": lambda: (replace(made(2500, 400, 3, seed=9)[0], prompt=None, chosen=None, rejected=None), *made(2500, 400, 3, seed=9)[1:]),
    "above 20,000 users": lambda: made(20_100, 300, 2, seed=10),
}  # fmt: skip


def nothing_shared(world: World) -> World:
    o, groups, support = world
    return replace(o, prompt=o.prompt + 40 * o.user, chosen=None, rejected=None, pair=np.arange(len(o))), groups, support


def read(outcomes: Outcomes | OutcomeBatches, groups: Groups, support: np.ndarray) -> dict[str, object]:
    brier = Metric(lambda margin: 1 / (1 + np.exp(margin)) ** 2, 0.0, 1.0, "")
    found = examine_model(outcomes, groups, support, "rule", resamples=50, metrics=METRICS | {"Brier": brier})
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
    anywhere = np.unique([*rng.integers(1, users, 6), users])
    for ends in (anywhere, np.array([1, 5, users // 2, users])) if users < 1000 else (anywhere,):
        assert list(differences(expected, read(in_batches(o, ends), groups, support))) == []


@pytest.mark.parametrize("name", ["prompts", "few prompts: responses", "three groups, users in none, visits of many pairs"])
def test_tables_too_large_to_be_dense_hold_the_same_sums(name, monkeypatch):
    o, groups, support = WORLDS[name]()
    expected = read(o, groups, support)
    monkeypatch.setattr(spread, "DENSE", 0)
    assert list(differences(expected, read(in_batches(o, np.array([30, 90])), groups, support))) == []


def generated(o: Outcomes, users: int, at_once: int, held: list[weakref.ref]) -> OutcomeBatches:
    """Batches made when they are asked for; what earlier ones left behind is an error."""
    ends = batch_ends(np.bincount(o.user, minlength=users), at_once).tolist()

    def make(start: int, end: int) -> Outcomes:
        batch = o.take((o.user >= start) & (o.user < end))
        held.extend(weakref.ref(a) for a in (batch, batch.user, batch.margin, batch.prompt, batch.pair))
        return batch

    def batches() -> Iterator[Outcomes]:
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            assert all(ref() is None for ref in held)
            yield make(start, end)

    return OutcomeBatches(o.model, o.split, users, int(o.rejected.max()) + 9, int(o.pair.max()) + 9, batches)


def test_one_batch_is_held_at_a_time_and_equal_batches_from_elsewhere_give_the_same_bits():
    o, groups, support = made(seed=11, twice=True, groups=3)
    ends = batch_ends(np.bincount(o.user, minlength=90), 100)
    shuffled = np.argsort(
        np.random.default_rng(1).permutation(90)[o.user], kind="stable"
    )  # users in another order, their pairs in the same
    held: list[weakref.ref] = []
    elsewhere = json.dumps(read(generated(o, 90, 100, held), groups, support))
    assert len(held) > 5 * len(ends)
    assert elsewhere == json.dumps(read(in_batches(o, ends), groups, support))
    assert elsewhere == json.dumps(read(in_batches(o.take(shuffled), ends), groups, support))


def test_studies_read_side_by_side_find_what_they_find_alone():
    o, groups, support = made(seed=12)
    count = 0
    batches = in_batches(o, np.array([30, 60, 90]))

    def counted() -> Iterator[Outcomes]:
        nonlocal count
        count += 1
        return batches.read()

    some = replace(batches, read=counted)
    model = study_of_model(some, groups, support, "rule", resamples=50)
    curve = study_of_support(some, support, "rule", resamples=50)
    requirements = study_of_requirements(some, groups, ["accuracy>=0.9"])
    found, alone, (verdicts, flaw) = over(batches_of(some, groups), side_by_side(model, curve, requirements))
    assert count == 4  # readings of all pairs for everything that a report shows
    assert to_json(found) == to_json(examine_model(batches, groups, support, "rule", resamples=50))
    assert to_json(alone) == to_json(found.support) == to_json(examine_support(batches, support, "rule", resamples=50))
    assert to_json(verdicts[0]) == to_json(check_requirements(batches, groups, ["accuracy>=0.9"])[0])
    assert flaw == broken(batches, groups) == ""


def test_what_batches_cannot_do_is_said():
    o, groups, _ = made()
    nobody = OutcomeBatches("m", "t", 90, 200, 900, lambda: iter(()))
    with pytest.raises(EvenhandError, match="no batch of pairs"):
        examine_model(nobody, groups)
    tied = replace(o, tie=np.ones(len(o), bool))
    with pytest.raises(EvenhandError, match="no pair to audit"):
        examine_model(in_batches(tied, np.array([40, 90])), groups)
    with pytest.raises(EvenhandError, match="no pair to audit"):
        check_requirements(in_batches(tied, np.array([40, 90])), groups)
    with pytest.raises(EvenhandError, match="User number 89 has no group entry"):
        examine_model(in_batches(o, np.array([40, 90])), Groups((), np.full(89, -1, np.int16), ""))
    with pytest.raises(EvenhandError, match="pairs in memory"):
        check_requirements(in_batches(o, np.array([40, 90])), groups, before=o)


def test_batches_end_with_whole_users():
    assert batch_ends(np.array([], int)).tolist() == []
    assert batch_ends(np.array([3]), 2).tolist() == [1]
    assert batch_ends(np.array([9, 1, 1, 1, 5]), 3).tolist() == [1, 4, 5]
    assert batch_ends(np.array([1, 1, 1, 1]), 2).tolist() == [2, 4]
    assert batch_ends(np.array([0, 0, 4, 0]), 4).tolist() == [3, 4]

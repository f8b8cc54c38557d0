"""Errors of pairs that share a user, a prompt or a response: against the sum over all couples of pairs, spelled out."""

from dataclasses import replace

import numpy as np
import pytest

from evenhand.audits.changes import compare
from evenhand.audits.examine import examine_model
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import arrange, means
from evenhand.audits.twoway import Clusters, Shared, covariance, share_units, shared_noise
from evenhand.core import Groups

RNG = np.random.default_rng(0)
N = 60
USER, PROMPT = RNG.integers(0, 8, N), RNG.integers(-1, 6, N)
FIRST = RNG.integers(0, 7, N)
SECOND = (FIRST + RNG.integers(1, 7, N)) % 7
INFLUENCE = RNG.normal(size=(N, 3))


def couples(linked):
    return np.array([[linked(i, j) for j in range(N)] for i in range(N)], float)


def without_factors(shared: Shared) -> np.ndarray:
    def parts(clusters: tuple[Clusters, ...]) -> np.ndarray:
        sums = [np.stack([c.sums(x) for x in INFLUENCE.T], axis=1) for c in clusters]
        return sum(c.sign * s.T @ s for c, s in zip(clusters, sums, strict=True))

    by_user = np.stack([np.bincount(USER, x) for x in INFLUENCE.T], axis=1)
    return by_user.T @ by_user + parts(shared.across) - parts(shared.within)


def test_prompts_are_counted_once_for_every_couple_of_pairs():
    same = couples(lambda i, j: i == j or USER[i] == USER[j] or (PROMPT[i] == PROMPT[j] >= 0))
    assert without_factors(share_units(USER, PROMPT, None)) == pytest.approx(INFLUENCE.T @ same @ INFLUENCE)


@pytest.mark.parametrize("pool", [7, 3], ids=["responses repeat", "the same pairs repeat"])
def test_pairs_with_a_response_in_common_are_counted_once_whichever_side_it_is_on(pool):
    first, second = FIRST % pool, (FIRST + 1 + SECOND % (pool - 1)) % pool
    linked = couples(lambda i, j: USER[i] == USER[j] or bool({first[i], second[i]} & {first[j], second[j]}))
    found = without_factors(share_units(USER, None, (first, second)))
    assert found == pytest.approx(INFLUENCE.T @ linked @ INFLUENCE)
    swapped = RNG.random(N) < 0.5
    other = share_units(USER, None, (np.where(swapped, second, first), np.where(swapped, first, second)))
    assert without_factors(other) == pytest.approx(found)


def test_each_part_carries_its_own_number_of_clusters():
    shared = share_units(USER, PROMPT, None)
    by_user, both = covariance(INFLUENCE, USER, shared)

    def part(key):
        _, of = np.unique(key, return_inverse=True)
        sums = np.stack([np.bincount(of, x) for x in INFLUENCE.T], axis=1)
        return sums.T @ sums * len(sums) / (len(sums) - 1)

    own = np.where(PROMPT < 0, 100 + np.arange(N), PROMPT)
    assert by_user == pytest.approx(part(USER))
    assert both == pytest.approx(part(USER) + part(own) - part(own * 8 + USER))
    rows = RNG.random(N) < 0.5
    some = covariance(INFLUENCE[rows], USER[rows], shared.take(rows))[1]
    again = covariance(INFLUENCE[rows], USER[rows], share_units(USER[rows], PROMPT[rows], None))[1]
    assert some == pytest.approx(again)


def test_what_is_shared_prompts_where_there_are_enough_else_responses():
    user = np.repeat(np.arange(30), 20)
    many, few, lone = np.tile(np.arange(20), 30), np.tile(np.arange(20) % 5, 30), np.arange(600)
    responses = np.tile(np.arange(20), 30), np.tile((np.arange(20) + 1) % 20, 30)
    assert share_units(user, many, responses).name == "prompts"
    assert share_units(user, few, responses).name == "responses"
    assert share_units(user, lone, responses).name == "responses"
    assert share_units(user, None, responses).units == 20
    assert share_units(user, few, None).units == 5
    assert share_units(user, lone, None) is None
    assert share_units(user, None, (lone, lone + 600)) is None


def test_noise_of_shared_units_has_their_covariance_and_never_less_than_none():
    by_user, both = np.eye(2), np.array([[3.0, 1.0], [1.0, 0.5]])
    draws = shared_noise(by_user, both, 200_000, 10_000, np.random.default_rng(1))
    values, vectors = np.linalg.eigh(both - by_user)
    assert np.cov(draws.T) == pytest.approx(vectors @ np.diag(np.maximum(values, 0)) @ vectors.T, abs=0.05)
    assert shared_noise(both, both, 5, 30, np.random.default_rng(1)) == pytest.approx(np.zeros((5, 2)))


def random_reward(rng: np.random.Generator, users: int = 200, prompts: int = 60, each: int = 20) -> tuple[Outcomes, Groups, np.ndarray]:
    """A reward drawn at random once for all, users of four levels of support: over prompts everybody is served alike, on these not."""
    support = rng.beta(4, 2.5, users)
    groups = Groups(tuple("abcd"), np.digitize(support, np.quantile(support, [0.25, 0.5, 0.75])).astype(np.int16), "by support")
    user = np.repeat(np.arange(users), each).astype(np.int32)
    prompt = np.argsort(rng.random((users, prompts)), axis=1)[:, :each].ravel().astype(np.int32)
    right = (rng.random(len(user)) < support[user]) == (rng.random(prompts) < 0.5)[prompt]
    margin = np.where(right, 1.0, -1.0) * np.abs(rng.normal(1, 0.3, len(user)))
    return Outcomes("m", "t", user, margin, prompt=prompt, length_difference=rng.normal(0, 120, prompts)[prompt]), groups, support


def test_bins_confounds_and_calibration_errors_count_shared_prompts():
    o, groups, support = random_reward(np.random.default_rng(5))
    found, alone = (examine_model(x, groups, support, resamples=200) for x in (o, replace(o, prompt=None)))
    for pick in (
        lambda f: [e for _, e in f.confounds[0].bins],
        lambda f: [g.ece for g in f.groups],
        lambda f: [b.accuracy for b in f.support.bins],
    ):
        assert [e.value for e in pick(found)] == pytest.approx([e.value for e in pick(alone)])
        assert np.mean([e.high - e.low for e in pick(found)]) > 1.1 * np.mean([e.high - e.low for e in pick(alone)])


def test_the_gap_of_many_groups_is_not_said_to_move_between_two_random_rewards():
    rng = np.random.default_rng(6)
    moved = []
    for seed in range(30):
        o, groups, _ = random_reward(rng, 120, 40, 15)
        other = replace(o, model="n", margin=o.margin * np.where(rng.random(40) < 0.5, 1, -1)[o.prompt])
        change = compare(o, other, groups, resamples=200, seed=seed).gap_change
        moved.append(change.low > 0 or change.high < 0)
    assert np.mean(moved) <= 0.06  # by users alone 13 %


ONCE = np.concatenate([np.random.default_rng(u).permutation(20)[:14].reshape(-1, 2) for u in range(8)])  # nobody has a response twice


@pytest.mark.parametrize(
    ("user", "first", "second"), [(USER, FIRST, SECOND), (np.repeat(np.arange(8), 7), *ONCE.T)], ids=["often", "once a user"]
)
def test_means_on_shared_responses_have_the_covariance_of_dyads(user, first, second):
    shared = share_units(user, None, (first, second))
    o = Outcomes("m", "t", user.astype(np.int32), INFLUENCE[: len(user), 0], chosen=first, rejected=second)
    sample = arrange(o, Groups(("a",), np.where(np.arange(8) < 5, 0, -1).astype(np.int16), ""))
    y = correct(o.margin)
    found = means(sample, [y])
    share = 1 / np.bincount(user)[user]
    psi = np.stack([np.where(user < 5, share * (y - found.value[0, 0]) / 5, 0.0), share * (y - found.value[0, 1]) / 8], axis=1)
    assert found.by_both[1, 1] == pytest.approx(covariance(psi, user, shared)[1][1, 1])
    rows = user < 5
    own = covariance(psi[rows], user[rows], share_units(user[rows], None, (first[rows], second[rows])))[1]
    assert found.by_both[0, 0] == pytest.approx(own[0, 0])
    assert found.units.tolist() == [len(np.unique([f[m] for f in (first, second)])) for m in (rows, rows | True)]

"""Splits: nothing leaks, nothing is lost, nothing depends on order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.core import DataError, PreferenceData
from evenhand.data.splits import CERTIFY, TEST, TRAIN, VALID, Split, split_pairs


def made_up(seed: int, users: int = 30, prompts: int = 40, rows: int = 600) -> PreferenceData:
    """Two responses of four a pair, some judged twice; the last user and the last text occur nowhere."""
    rng = np.random.default_rng(seed)
    user = rng.integers(users, size=rows).astype(np.int32)
    prompt = np.concatenate([np.arange(prompts), rng.integers(prompts, size=rows)])[:rows].astype(np.int32)
    sides = np.argsort(rng.random((rows, 4)), axis=1)[:, :2].astype(np.int32) + prompts + 4 * prompt[:, None]
    texts = [f"t{i}" for i in rng.permutation(5 * prompts + 1)]
    return PreferenceData([f"u{i}" for i in range(users + 1)], texts, user, prompt, sides[:, 0], sides[:, 1])


def without_prompts(data: PreferenceData) -> PreferenceData:
    return PreferenceData(data.users, data.texts, data.user, np.full(len(data), -1, dtype=np.int32), data.chosen, data.rejected)


def check_accounts(data: PreferenceData, split: Split) -> None:
    """Every row in exactly one place, or excluded with a reason."""
    only_history = split.history & (split.part != TRAIN)
    places = (split.part >= 0).astype(int) + split.held + only_history
    assert places.max(initial=0) <= 1
    assert (places == 0).sum() == sum(split.exclusions.reasons.values())
    assert split.exclusions.rows_used == (places == 1).sum()
    np.testing.assert_array_equal(split.cell == -1, places == 0)


def texts_of(data: PreferenceData, rows: np.ndarray, *columns: str) -> set[int]:
    return {int(t) for c in columns for t in getattr(data, c)[rows]}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 25),
    st.integers(20, 50),
    st.sampled_from([50, 600]),
    st.sampled_from([(0.6, 0.15, 0.25), (0.5, 0.1, 0.2, 0.2), (0.8, 0, 0.2)]),
    st.sampled_from([0, 0.2, 0.7]),
    st.sampled_from([0, 0.1, 0.6]),
)
def test_nothing_leaks_and_nothing_is_lost(seed, users, prompts, rows, shares, unseen_users, held_pairs):
    data = made_up(seed, users, prompts, rows)
    split = split_pairs(data, seed=seed, shares=shares, unseen_users=unseen_users, held_pairs=held_pairs)
    check_accounts(data, split)
    assert split.unit == "prompts"
    prompts_of = [texts_of(data, split.rows(part), "prompt") for part in range(4)]
    assert all(not prompts_of[a] & prompts_of[b] for a in range(4) for b in range(a))
    scored_prompts = set().union(*prompts_of[1:])
    assert not texts_of(data, split.history, "prompt") & scored_prompts
    new = split.unseen[data.user]
    assert not (new & ((split.part == TRAIN) | (split.part == VALID))).any()
    assert set(split.exclusions.reasons) <= {"unseen user on a validation prompt"}
    trained = np.isin(np.arange(len(data.users)), data.user[split.part == TRAIN])
    present = np.isin(np.arange(len(data.users)), data.user)
    np.testing.assert_array_equal(split.unseen, present & ~trained)
    np.testing.assert_array_equal(split.cell[split.part == TEST] % 2, 1)
    np.testing.assert_array_equal(split.cell[split.cell >= 0] >= 2, new[split.cell >= 0])
    np.testing.assert_array_equal(sum(split.scored(c) for c in range(4)), (split.part == TEST) | split.held)
    assert not by_user(data, split.held, "prompt") & by_user(data, split.history, "prompt")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 25), st.sampled_from([3, 12]), st.sampled_from([60, 600]), st.sampled_from([0, 0.1, 0.4, 0.9])
)
def test_no_held_pair_shares_a_response_with_its_users_history(seed, users, prompts, rows, held_pairs):
    few = made_up(seed, users, prompts, rows)
    for data in (few, without_prompts(few)):
        split = split_pairs(data, seed=seed, held_pairs=held_pairs)
        check_accounts(data, split)
        if split.unit == "prompts":  # 12 prompts of one user may keep more
            assert not by_user(data, split.held, "prompt") & by_user(data, split.history, "prompt")
            continue
        assert not by_user(data, split.held, "chosen", "rejected") & by_user(data, split.history, "chosen", "rejected")
        plain = split_pairs(data, seed=seed, held_pairs=0)
        taken = plain.history & ~split.history
        assert len(judged_pairs(data, taken)) <= round(held_pairs * len(judged_pairs(data, plain.history)))
        assert split.exclusions.reasons.get(SHARED, 0) == (taken & ~split.held).sum()
        np.testing.assert_array_equal(split.unseen, plain.unseen)
        assert set(data.user[split.history]) == set(data.user[plain.history])
        assert set(np.flatnonzero(plain.history)) >= set(np.flatnonzero(split.history))
        assert not plain.held.any()


def judged_pairs(data: PreferenceData, rows: np.ndarray) -> set[tuple[int, ...]]:
    columns = (data.user, data.prompt, np.minimum(data.chosen, data.rejected), np.maximum(data.chosen, data.rejected))
    return set(zip(*(c[rows].tolist() for c in columns)))


SHARED = "shares a response with a held pair of the same user"


def test_pairs_with_responses_of_their_own_are_held_without_loss():
    i = np.arange(4000, dtype=np.int32)
    names = [f"t{k:04}" for k in range(8000)]
    data = PreferenceData([f"u{k}" for k in range(100)], names, i % 100, np.full(4000, -1), 2 * i, 2 * i + 1)
    split, plain = (split_pairs(data, seed=0, held_pairs=share) for share in (0.2, 0))
    assert SHARED not in split.exclusions.reasons
    assert split.held.sum() == round(0.2 * plain.history.sum()) > 200


def by_user(data: PreferenceData, rows: np.ndarray, *columns: str) -> set[tuple[int, int]]:
    return {(int(u), int(t)) for c in columns for u, t in zip(data.user[rows], getattr(data, c)[rows])}


def test_all_pairs_of_a_user_on_a_prompt_are_held_together_and_a_share_of_these_is():
    rng = np.random.default_rng(0)
    user, prompt = (a.ravel().repeat(6).astype(np.int32) for a in np.meshgrid(np.arange(40), np.arange(50)))  # ratings of four responses
    low, high = np.tile(np.array(np.triu_indices(4, 1)), 2000) + 50 + 4 * prompt
    swap = rng.random(len(user)) < 0.5
    texts = [f"t{i}" for i in range(250)]
    data = PreferenceData(
        [f"u{i}" for i in range(40)],
        texts,
        user,
        prompt,
        np.where(swap, low, high).astype(np.int32),
        np.where(swap, high, low).astype(np.int32),
    )
    split = split_pairs(data, seed=0, held_pairs=0.1)
    held = np.bincount(user * 50 + prompt, weights=split.held)
    assert set(held) == {0.0, 6.0}
    assert split.held.sum() == 6 * round(0.1 * 30 * 40)


def test_nobodys_last_train_pair_is_held():
    data = made_up(0, users=30, prompts=40, rows=150)
    plain, held = (split_pairs(data, seed=0, held_pairs=share) for share in (0, 0.9))
    np.testing.assert_array_equal(held.unseen, plain.unseen)
    assert set(data.user[held.history]) == set(data.user[plain.history])
    assert held.held.sum() > 10


def test_shares_are_exact():
    split = split_pairs(data := made_up(0, users=50, prompts=100, rows=5000), seed=1, held_pairs=0.1)
    on = [data.prompt[split.part == part] for part in range(4)]
    assert [len(np.unique(p)) for p in on] == [60, 15, 25, 0]
    assert split.unseen.sum() == 10
    judged = np.isin(data.prompt, on[TRAIN])
    assert split.held.sum() / judged.sum() == pytest.approx(0.1, abs=0.01)
    assert all(split.scored(c).any() for c in range(4))
    assert len(np.unique(data.prompt[split_pairs(data, seed=1, shares=(0.5, 0.1, 0.2, 0.2)).part == CERTIFY])) == 20


@pytest.mark.parametrize("responses", [False, True])
def test_deal_depends_on_the_seed_but_on_no_order(responses):
    data = without_prompts(made_up(2)) if responses else made_up(2)
    first, again, other = split_pairs(data, seed=5), split_pairs(data, seed=5), split_pairs(data, seed=6)
    np.testing.assert_array_equal(first.part, again.part)
    assert (first.part != other.part).any()
    rng = np.random.default_rng(0)
    rows, texts, users = rng.permutation(len(data)), rng.permutation(len(data.texts)), rng.permutation(len(data.users))
    new_text, new_user = np.argsort(texts), np.argsort(users)
    shuffled = PreferenceData(
        [data.users[i] for i in users], [data.texts[i] for i in texts], new_user[data.user[rows]],
        np.where(data.prompt[rows] < 0, -1, new_text[data.prompt[rows]]), new_text[data.chosen[rows]], new_text[data.rejected[rows]],
    )  # fmt: skip
    moved = split_pairs(shuffled, seed=5)
    for name in ("part", "held", "history", "cell"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(first, name)[rows], err_msg=name)
    np.testing.assert_array_equal(moved.unseen, first.unseen[users])


def test_responses_are_dealt_where_prompts_are_few():
    few = made_up(3, prompts=4, rows=400)
    for data in (few, without_prompts(few)):
        split = split_pairs(data, seed=0)
        check_accounts(data, split)
        assert split.unit == "responses"
        texts = [texts_of(data, split.rows(part), "chosen", "rejected") for part in range(3)]
        assert all(not texts[a] & texts[b] for a in range(3) for b in range(a))
        assert not texts_of(data, split.history, "chosen", "rejected") & (texts[VALID] | texts[TEST])
        assert split.exclusions.reasons["the pair's two responses lie in different parts"] > 0
    assert split_pairs(few, seed=0, min_prompts=4).unit == "prompts"


def test_a_given_split_is_honoured():
    data = made_up(4, users=3, prompts=30, rows=300)
    part = np.select([data.prompt < 10, data.prompt < 15, data.prompt < 20], [TRAIN, VALID, TEST], -1).astype(np.int8)
    part[(data.user == 2) & (part == TRAIN)] = -1  # user 2 was never trained on
    part[np.flatnonzero((data.user == 2) & (part == TEST))[:2]] = -1  # on test prompts: no history
    part[np.flatnonzero(data.user < 2)[0]] = -1
    data = PreferenceData(data.users, data.texts, data.user, data.prompt, data.chosen, data.rejected, split=part)
    split = split_pairs(data, seed=0)
    check_accounts(data, split)
    np.testing.assert_array_equal(split.part, part)
    np.testing.assert_array_equal(split.unseen, [False, False, True, False])
    unscored = (data.prompt < 10) | (data.prompt >= 20)
    np.testing.assert_array_equal(split.history, (part == TRAIN) | ((part == -1) & (data.user == 2) & unscored))
    assert split.exclusions.reasons == {"in no split": int(((part == -1) & (data.user < 2)).sum()) + 2}
    assert split.rule.endswith("; 1 user has no training pair.")
    np.testing.assert_array_equal(split.scored(3), (part == TEST) & (data.user == 2))
    leaky = part.copy()
    leaky[np.flatnonzero((part == TRAIN) & (data.user == 0))[:3]] = TEST  # a test pair on a train prompt is a cell, not an error
    leaked = split_pairs(PreferenceData(data.users, data.texts, data.user, data.prompt, data.chosen, data.rejected, split=leaky), seed=0)
    assert leaked.scored(0).sum() == 3


def test_a_given_split_of_responses_has_cells_too():
    data = without_prompts(made_up(5, users=5, prompts=4, rows=60))
    part = np.where(np.arange(60) < 30, TRAIN, TEST).astype(np.int8)
    split = split_pairs(PreferenceData(data.users, data.texts, data.user, data.prompt, data.chosen, data.rejected, split=part), seed=0)
    trained = texts_of(data, part == TRAIN, "chosen", "rejected")
    for i in np.flatnonzero(part == TEST):
        assert (split.cell[i] % 2 == 0) == bool({int(data.chosen[i]), int(data.rejected[i])} & trained)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": (0.6, 0.6, 0.2)}, "split shares"),
        ({"shares": (0.6, 0.4)}, "split shares"),
        ({"shares": (0, 0.5, 0.5)}, "split shares"),
        ({"unseen_users": 1.0}, "unseen users"),
        ({"held_pairs": -0.1}, "held pairs"),
    ],
)
def test_impossible_shares_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        split_pairs(made_up(0), seed=0, **settings)


def test_too_little_data_is_an_error_and_half_a_prompt_column_too():
    tiny = PreferenceData(["u"], ["a", "b"], *(np.array([i], dtype=np.int32) for i in (0, -1, 0, 1)))
    with pytest.raises(DataError, match="2 prompts or responses for 3 parts"):
        split_pairs(tiny, seed=0)
    data = made_up(0)
    data.prompt[:7] = -1
    with pytest.raises(DataError, match="7 pairs without a prompt"):
        split_pairs(data, seed=0)


def test_pairs_without_texts_are_split_by_prompt_or_not_at_all():
    data = made_up(7)
    none = np.full(len(data), -1, dtype=np.int32)
    scores = PreferenceData(data.users, data.texts, data.user, data.prompt, none, none)
    check_accounts(scores, split_pairs(scores, seed=0))
    bare = PreferenceData(data.users, data.texts, data.user, none, none, none)
    with pytest.raises(DataError, match="pairs without texts"):
        split_pairs(bare, seed=0)
    given_split = PreferenceData(data.users, data.texts, data.user, none, none, none, split=(np.arange(len(data)) % 3).astype(np.int8))
    check_accounts(given_split, split_pairs(given_split, seed=0))


def test_every_part_gets_something_however_small():
    data = made_up(6, prompts=4, rows=80)
    split = split_pairs(data, seed=0, min_prompts=3, shares=(0.9, 0.05, 0.05), unseen_users=0)
    assert [len(np.unique(data.prompt[split.part == p])) for p in range(3)] == [2, 1, 1]

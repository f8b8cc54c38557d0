"""The training loop: what is drawn, what is minimised, what is returned."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from worlds import history_of, two_tastes

from evenhand.core import EvenhandError, Pairs, Tuning
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear, LinearScorer
from evenhand.models.low_rank import LowRank
from evenhand.training.adam import Adam
from evenhand.training.episodes import draw_sides, dropout_mask, episodes
from evenhand.training.loop import train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, cross_margins, margins, mean_over_users

FULL_BATCH = Schedule(lr=0.02, weight_decay=0.0, dropout=0.0, batch_users=10_000, max_epochs=60, patience=10_000, context=(0.0, 0.0))
QUICK = Schedule(lr=1e-2, weight_decay=0.05, dropout=0.1, max_epochs=6)
COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


def users_of(counts: list[int], seed: int) -> Tensor:
    """User numbers of interleaved pairs, as a table has them."""
    user = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return user[torch.randperm(len(user), generator=torch.Generator().manual_seed(seed))]


def named(user: Tensor, n_users: int, block: Tensor | None = None) -> Pairs:
    """Pairs of these users whose two items name their pair."""
    n = len(user)
    chosen, items = torch.arange(n), torch.arange(2.0 * n)[:, None]
    history = history_of(items, user, chosen, chosen + n, n_users)
    return Pairs(history, user, chosen, chosen + n, torch.ones(n), torch.zeros(n).long(), block)


# ---- context and targets


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(0, 10**6), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda t: (min(t), max(t))))
def test_the_context_holds_the_share_asked_for_and_never_all_of_a_user(counts: list[int], seed: int, share: tuple[float, float]) -> None:
    user = users_of(counts, seed)
    inside, target = draw_sides(named(user, len(counts)), share, torch.Generator().manual_seed(seed))
    assert torch.equal(target, ~inside)
    for u, count in enumerate(counts):
        context = int(inside[user == u].sum())
        assert context <= max(count - 1, 0)  # a target is left
        assert min(round(share[0] * count - 0.5), max(count - 1, 0)) <= context <= share[1] * count + 0.5


def test_every_pair_of_a_user_is_equally_likely_to_be_context() -> None:
    train, g = named(users_of([6, 10], 0), 2), torch.Generator().manual_seed(0)
    often = torch.stack([draw_sides(train, (0.5, 0.5), g)[0] for _ in range(2000)]).float().mean(0)
    assert (often - 0.5).abs().max() < 0.06  # 5 standard errors of a share of 2,000 draws


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(0, 10**6), st.integers(1, 5))
def test_each_epoch_every_pair_is_either_context_or_target_once(counts: list[int], seed: int, batch_users: int) -> None:
    user = users_of(counts, seed)
    train = named(user, len(counts))
    n, chosen = len(user), train.chosen
    schedule = Schedule(batch_users=batch_users, dropout=0.0)
    as_context, as_target = [], []
    for history, batch, rows in episodes(train, schedule, torch.Generator().manual_seed(seed)):
        assert torch.equal(batch.chosen, chosen[rows])
        context = history.items[history.chosen][:, 0].long()
        assert torch.equal(history.items[history.rejected][:, 0].long(), context + n)
        # context and targets that share a number in the batch share a user in the table
        owner = {int(b): int(u) for b, u in zip(batch.user, user[rows])}
        assert len(set(owner.values())) == len(owner)
        for pair, number in zip(context, history.owner()):
            assert owner[int(number)] == int(user[pair])
        as_context += context.tolist()
        as_target += rows.tolist()
    assert sorted(as_context + as_target) == list(range(n))  # disjoint, and nothing lost


BLOCKS = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(BLOCKS, st.integers(0, 10**6), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda t: (min(t), max(t))))
def test_a_users_pairs_of_one_block_are_context_or_targets_together(pairs: list, seed: int, share: tuple[float, float]) -> None:
    user, block = torch.tensor(pairs).T
    inside, target = draw_sides(named(user, 6, block), share, torch.Generator().manual_seed(seed))
    assert torch.equal(target, ~inside)
    sides: dict[tuple[int, int], set[bool]] = {}
    for pair, side in zip(pairs, inside.tolist()):
        sides.setdefault(pair, set()).add(side)
    assert all(len(s) == 1 for s in sides.values())
    for u in set(user.tolist()):
        blocks = [s for (owner, _), s in sides.items() if owner == u]
        context = sum(True in s for s in blocks)
        assert context <= len(blocks) - 1
        assert min(round(share[0] * len(blocks) - 0.5), len(blocks) - 1) <= context <= share[1] * len(blocks) + 0.5


def test_blocks_of_one_pair_change_nothing_bit_for_bit() -> None:
    train, valid, _ = two_tastes(n_users=20)
    train = train.take(torch.randperm(len(train), generator=torch.Generator().manual_seed(0)))
    alone = replace(train, block=torch.arange(len(train)).flip(0) * 7 - 100)
    states = [BradleyTerry(LowRank(3), QUICK).fit(pairs, valid, 0).scorer for pairs in (train, alone)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].state_dict().values(), states[1].state_dict().values()))
    assert torch.equal(cross_margins(states[0], train, 3), cross_margins(states[0], alone, 3))


def test_context_and_targets_share_no_block_and_batches_carry_theirs() -> None:
    train, _, _ = two_tastes(n_users=20)
    block = torch.randint(5, (len(train),), generator=torch.Generator().manual_seed(0))
    train = replace(named(train.user, 20, block), group=train.group)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for history, batch, rows in episodes(train, Schedule(dropout=0.0), generator):
            assert torch.equal(batch.block, block[rows])
            context = history.items[history.chosen][:, 0].long()
            read = set(zip(history.owner().tolist(), block[context].tolist()))
            assert read
            assert not read & set(zip(batch.user.tolist(), batch.block.tolist()))
    assert torch.equal(train.of(1).block, block[train.group == 1])


def test_the_split_is_drawn_afresh_each_epoch() -> None:
    train, _, _ = two_tastes(n_users=20)
    g = torch.Generator().manual_seed(0)
    epochs = [torch.cat([rows for _, _, rows in episodes(train, Schedule(), g)]).sort().values.tolist() for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_context_features_lose_the_same_coordinates_in_chosen_and_rejected() -> None:
    train, _, _ = two_tastes(n_users=20)
    train = replace(train, history=replace(train.history, items=torch.ones_like(train.items)))
    for history, _, _ in episodes(train, Schedule(dropout=0.5), torch.Generator().manual_seed(0)):
        assert history.differences().abs().max() == 0
        assert {0.0, 2.0} == set(history.items.unique().tolist())


def test_dropout_keeps_the_mean() -> None:
    mask = dropout_mask(2000, 50, 0.3, torch.Generator().manual_seed(0))
    assert mask.mean() == pytest.approx(1, abs=0.01)
    assert (mask == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(dropout_mask(3, 4, 0.0, torch.Generator()).expand(3, 4), torch.ones(3, 4))


# ---- losses


def test_bradley_terry_loss_is_minus_log_sigma() -> None:
    m = torch.tensor([-200.0, -1.0, 0.0, 2.0, 200.0])
    expected = [200.0, np.log1p(np.e), np.log(2), np.log1p(np.exp(-2.0)), 0.0]
    np.testing.assert_allclose(bt(m).numpy(), expected, rtol=1e-6, atol=1e-12)


def test_mean_over_users_counts_a_user_once() -> None:
    train, _, _ = two_tastes(n_users=4)
    pairs = replace(train.take(torch.arange(4)), user=torch.tensor([0, 0, 0, 2]))  # users 1 and 3 have no pair
    assert float(mean_over_users(torch.tensor([1.0, 2.0, 3.0, 10.0]), pairs)) == pytest.approx((2.0 + 10.0) / 2)


def test_bradley_terry_with_the_linear_head_is_logistic_regression_on_differences() -> None:
    """Tolerance 0.01 on coefficients of size 1 to 3: full batch, no dropout, no decay, 4,000 pairs, 300 steps of AdamW."""
    train, _, _ = two_tastes(n_users=20, pairs=200, dim=5, minority=0.0)
    fitted = BradleyTerry(Linear(), replace(FULL_BATCH, max_epochs=300, lr=0.1)).fit(train, train, 0)
    d = (train.items[train.chosen] - train.items[train.rejected]).numpy().astype(float)
    oracle = LogisticRegression(fit_intercept=False, C=1e9, tol=1e-10, max_iter=1000)
    oracle.fit(np.concatenate([d, -d]), np.repeat([1, 0], len(d)))
    assert np.abs(oracle.coef_[0]).max() > 1
    np.testing.assert_allclose(fitted.scorer.b.detach().numpy(), oracle.coef_[0], atol=0.01)


@pytest.mark.parametrize("head", [Linear(), LowRank(3)])
def test_weight_two_is_the_row_twice(head: Linear | LowRank) -> None:
    train, _, _ = two_tastes(n_users=30)
    rows = torch.arange(0, len(train), 3)
    weighted = replace(train, weight=train.weight.index_fill(0, rows, 2.0))
    doubled = train.take(torch.cat([torch.arange(len(train)), rows]))
    b = [fit(head, pairs, train) for pairs in (weighted, doubled, train)]
    torch.testing.assert_close(b[0], b[1], atol=1e-4, rtol=1e-4)
    assert (b[0] - b[2]).abs().max() > 0.01  # the weights did something


def fit(head: Linear | LowRank, train: Pairs, valid: Pairs) -> Tensor:
    """b after all epochs of full-batch descent."""
    epochs = iter(range(0, -1000, -1))
    scorer = head.build(train.items.shape[1], 0)
    out = train_model(scorer, train, lambda m, rows: bt(m), valid, 0, FULL_BATCH, valid_loss=lambda m: torch.tensor(float(next(epochs))))
    assert out.trace.best_epoch == FULL_BATCH.max_epochs
    return out.scorer.b.detach()


# ---- what comes back


def test_the_best_validation_epoch_is_returned() -> None:
    """A validation set of the opposite taste gets worse from some epoch on: the epoch kept is the best one, not the last one."""
    train, valid, _ = two_tastes(n_users=60, minority=0.0)
    mixed = replace(valid, chosen=valid.chosen.clone(), rejected=valid.rejected.clone())
    flip = torch.arange(0, len(valid), 3)
    mixed.chosen[flip], mixed.rejected[flip] = valid.rejected[flip], valid.chosen[flip]
    schedule = replace(QUICK, max_epochs=60, patience=4, lr=0.05, weight_decay=0.0)
    out = BradleyTerry(Linear(), schedule).fit(train, mixed, 0)
    losses = out.trace.valid_loss
    assert out.trace.best_epoch == int(np.argmin(losses)) + 1
    assert 0 < out.trace.best_epoch < len(losses) == out.trace.best_epoch + schedule.patience  # it stopped because of patience
    assert float(mean_over_users(bt(margins(out.scorer, mixed)), mixed)) == pytest.approx(min(losses), rel=1e-6)


def test_if_training_only_harms_the_start_is_returned() -> None:
    train, valid, _ = two_tastes(n_users=40, minority=0.0)
    opposite = replace(valid, chosen=valid.rejected, rejected=valid.chosen)
    out = BradleyTerry(Linear(), QUICK).fit(train, opposite, 0)
    assert out.trace.best_epoch == 0
    assert torch.equal(out.scorer.b, LinearScorer(train.items.shape[1]).b)


def test_the_model_and_data_passed_in_are_left_as_they_were() -> None:
    train, valid, _ = two_tastes(n_users=20)
    scorer = LowRank(3).build(train.items.shape[1], 0)
    before = copy.deepcopy((scorer.state_dict(), train.items, train.chosen, train.history.chosen))
    train_model(scorer, train, lambda m, rows: bt(m), valid, 0, QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), scorer.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(before[1:], (train.items, train.chosen, train.history.chosen)))


def test_the_rows_handed_to_the_loss_name_the_pairs_of_their_margins() -> None:
    """A distillation target is looked up by row: with the scorer fixed, the margin of row i must be row i's."""
    train, valid, _ = two_tastes(n_users=30)
    scorer = Linear().build(train.items.shape[1], 0)
    with torch.no_grad():
        scorer.b += torch.arange(len(scorer.b))
    expected, seen = margins(scorer, train), []

    def loss(m: Tensor, rows: Tensor) -> Tensor:
        torch.testing.assert_close(m.detach(), expected[rows])
        seen.append(rows)
        return bt(m)

    train_model(scorer, train, loss, valid, 0, replace(QUICK, lr=1e-30, dropout=0.0, max_epochs=3))
    assert len(torch.cat(seen).unique()) > 0.5 * len(train)


def test_the_same_seed_gives_the_same_model_bit_for_bit_whatever_else_draws_numbers() -> None:
    train, valid, _ = two_tastes(n_users=30)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))
        states.append(BradleyTerry(LowRank(3), QUICK).fit(train, valid, seed).scorer.state_dict())
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert not torch.equal(states[0]["V"], states[2]["V"])


# ---- margins without the pair itself


def test_cross_margins_never_show_a_pair_to_itself() -> None:
    """Change one pair: its own margin under the user's other pairs must be the new pair under the old history, and no memory of it."""
    train, _, _ = two_tastes(n_users=10, pairs=8)
    scorer = LowRank(3).build(train.items.shape[1], 0)
    plain = cross_margins(scorer, train, 0)
    for row in (0, 17, 79):
        swapped = replace(train, chosen=train.chosen.clone(), rejected=train.rejected.clone())
        swapped.chosen[row], swapped.rejected[row] = train.rejected[row], train.chosen[row]
        other = cross_margins(scorer, swapped, 0)
        assert float(other[row]) == pytest.approx(-float(plain[row]), abs=1e-6)  # same history, pair turned round
        others = (train.user != train.user[row]).nonzero()[:, 0]
        torch.testing.assert_close(other[others], plain[others])


def test_cross_margins_never_show_a_pair_its_own_block() -> None:
    """Turn round a whole block but one pair: that pair's margin must not notice, and pairs of the user's other blocks must."""
    train, _, _ = two_tastes(n_users=10, pairs=12)
    train = replace(train, block=torch.arange(len(train)) % 3)  # four pairs a block, interleaved
    scorer = LowRank(3).build(train.items.shape[1], 0)
    plain = cross_margins(scorer, train, 0)
    for row in (0, 17, 79):
        same = (train.user == train.user[row]) & (train.block == train.block[row])
        same[row] = False
        swapped = replace(train, chosen=train.chosen.where(~same, train.rejected), rejected=train.rejected.where(~same, train.chosen))
        other = cross_margins(scorer, swapped, 0)
        assert same.sum() == 3
        torch.testing.assert_close(other[same], -plain[same])
        assert float(other[row]) == pytest.approx(float(plain[row]), abs=1e-6)
        rest = (train.user == train.user[row]) & (train.block != train.block[row])
        assert ((other - plain)[rest].abs() > 1e-4).all()
        assert (
            float((cross_margins(scorer, replace(swapped, block=None), 0) - cross_margins(scorer, replace(train, block=None), 0))[row]) != 0
        )


def test_cross_margins_of_users_with_one_pair_are_those_of_an_empty_history() -> None:
    train, _, _ = two_tastes(n_users=12, pairs=1)
    scorer = LowRank(3).build(train.items.shape[1], 0)
    with torch.no_grad():
        scorer.b += 1.0
    difference = train.items[train.chosen] - train.items[train.rejected]
    torch.testing.assert_close(cross_margins(scorer, train, 0), difference @ scorer.b.detach(), atol=1e-5, rtol=1e-5)


BEYOND = {
    "steps": 0, "lr": 1.0, "head_lr": 1.0, "weight_decay": float("inf"), "batch_texts": 1, "eval_every": 0, "patience": 0, "warm_up": 1.0, "clip": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_a_tuning_that_cannot_be_is_refused_at_the_first_value_beyond(name: str) -> None:
    Tuning(steps=1, lr=0.0, head_lr=0.0, weight_decay=0.0, batch_texts=2, eval_every=1, patience=1, warm_up=0.0)
    with pytest.raises(EvenhandError, match=f"{name} is {BEYOND[name]}"):
        Tuning(**{name: BEYOND[name]})  # type: ignore[arg-type]


# ---- steps


def test_steps_are_those_of_torchs_adam_to_the_bit() -> None:
    """With a tensor that has no gradient at times, a scalar, and replicas that go."""
    g = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.randn(s, generator=g.manual_seed(1)).requires_grad_() for s in ((3, 7, 5), (3, 33), ())] for _ in range(2))
    one, two = Adam(ours, 0.03), torch.optim.Adam(theirs, lr=0.03)
    for step in range(60):
        one.forget()
        two.zero_grad(set_to_none=True)
        for place, (a, b) in enumerate(zip(ours, theirs)):
            if place != 1 or step % 3:
                a.grad = torch.randn(a.shape, generator=g) * 10.0 ** (step % 5 - 3)
                b.grad = a.grad.clone()
        one.step()
        two.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    stacked, rest = ours[:2], torch.tensor([2, 0])
    some = [[p.detach()[r].clone().requires_grad_() for p in stacked] for r in range(3)]
    one, alone = Adam(stacked, 0.03), [torch.optim.Adam(own, lr=0.03) for own in some]
    for step in range(8):
        if step == 4:
            stacked = [p.detach()[rest].requires_grad_() for p in stacked]
            one.go_on_with(stacked, rest)
        for place, p in enumerate(stacked):
            p.grad = torch.randn(p.shape, generator=g)
            for row, replica in enumerate(range(3) if step < 4 else rest.tolist()):
                some[replica][place].grad = p.grad[row].clone()
        one.step()
        for replica in range(3) if step < 4 else rest.tolist():
            alone[replica].step()
    for row, replica in enumerate(rest.tolist()):
        assert all(torch.equal(p[row], q) for p, q in zip(stacked, some[replica]))

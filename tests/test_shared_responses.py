"""Pairs made of votes on single items: one vote is in many pairs, so a pair may give away what another of the same user asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from worlds import history_of

from evenhand.core import Groups, History, Pairs, PreferenceData
from evenhand.data.splits import split_pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.low_rank import LowRank
from evenhand.training.episodes import draw_sides, episodes
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import cross_margins, margins
from evenhand.workflows.prepare import Prepared
from evenhand.workflows.responses import encode_responses

ITEMS = 7
EDGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, ITEMS - 1), st.integers(1, ITEMS - 1)), min_size=1, max_size=50, unique=True)
SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda t: (min(t), max(t)))


def pairs_of(items: Tensor, user: Tensor, chosen: Tensor, rejected: Tensor, n_users: int) -> Pairs:
    """Pairs in which responses are shared; the history is that of the pairs themselves."""
    history = history_of(items, user, chosen, rejected, n_users)
    return Pairs(history, user, chosen, rejected, torch.ones(len(user)), torch.zeros_like(user), torch.stack([chosen, rejected], 1))


def of_edges(edges: list[tuple[int, int, int]]) -> Pairs:
    """Pairs (user, item, another item) whose items are unit vectors, so that features name them."""
    user, first, step = torch.tensor(edges).T
    return pairs_of(torch.eye(ITEMS), user, first, (first + step) % ITEMS, 5)


def votes(user: int, liked: list[int], disliked: list[int]) -> list[tuple[int, int, int]]:
    return [(user, a, (b - a) % ITEMS) for a in liked for b in disliked]


# ---- context and targets


@settings(max_examples=100, deadline=None)
@given(EDGES, st.integers(0, 10**6), SHARES, st.integers(1, 5))
def test_context_and_targets_of_a_user_share_no_response(edges: list, seed: int, share: tuple[float, float], batch_users: int) -> None:
    train = of_edges(edges)
    schedule = Schedule(batch_users=batch_users, dropout=0.0, context=(min(share[0], 0.99), min(share[1], 0.99)))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        served: set[int] = set()
        for history, batch, rows in episodes(train, schedule, generator):
            read = {(int(u), int(i)) for u, i in zip(history.owner().repeat(2), torch.cat([history.chosen, history.rejected]))}
            read = {(u, int(history.items[i].argmax())) for u, i in read}
            asked = {(int(u), int(i)) for u, i in zip(batch.user.repeat(2), torch.cat([batch.chosen, batch.rejected]))}
            assert not read & asked
            assert torch.equal(batch.chosen, train.chosen[rows])
            served |= set(train.user[rows].tolist())
        assert served == set(train.user.tolist())  # nobody is without a target


def test_every_pair_is_a_target_sometimes_and_context_where_it_can_be() -> None:
    train = of_edges(votes(0, [0, 1, 2], [3, 4, 5, 6]) + votes(1, [0], [1, 2, 3]) + votes(2, [5, 6], [0, 1]) + votes(4, [2], [3]))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_sides(train, (0.3, 0.7), generator) for _ in range(400)]
    context, target = (torch.stack(side).float().mean(0) for side in zip(*drawn))
    assert target.min() > 0.1
    can = (train.user == 0) | (train.user == 2)  # every pair of users 1 and 4 holds the one response that all their pairs hold
    assert context[can].min() > 0.03
    assert context[~can].max() == 0
    first = train.user == 0
    assert context[first].max() < 1.5 * context[first].min()  # no pair of a user is favoured
    assert 0.15 < float(context[first].mean()) < 0.35  # about the square of the share of responses


def test_an_epoch_has_about_as_many_targets_as_one_without_shared_responses() -> None:
    train = of_edges([e for u in range(5) for e in votes(u, [0, 1, 2], [3, 4, 5, 6])])
    for pairs in (train, replace(train, block=None)):
        generator = torch.Generator().manual_seed(0)
        targets = [len(rows) for _ in range(50) for _, _, rows in episodes(pairs, Schedule(dropout=0.0), generator)]
        assert 0.4 < sum(targets) / 50 / len(train) < 0.65


def test_without_context_every_pair_is_a_target() -> None:
    train = of_edges(votes(0, [0, 1, 2], [3, 4, 5, 6]))
    context, target = draw_sides(train, (0.0, 0.0), torch.Generator())
    assert target.all()
    assert not context.any()


def test_part_of_the_pairs_keeps_its_responses() -> None:
    train = of_edges(votes(0, [0, 1, 2], [3, 4]) + votes(3, [5], [0, 1]))
    rows = train.user == 3
    unit, owner = train.take(rows).units
    assert torch.equal(train.take(rows).block, torch.tensor([[5, 0], [5, 1]]))
    assert unit.tolist() == [[0, 1], [0, 2]]
    assert owner.tolist() == [3, 3, 3]


# ---- margins under a user's other pairs


class Recogniser(torch.nn.Module):
    """A scorer that rewards item i with i + 1 if it stands in the history, else with 0: any response read before shows in a margin."""

    def users(self, history: History) -> Tensor:
        read = torch.zeros(len(history), ITEMS)
        for side in (history.chosen, history.rejected):
            read[history.owner()] = read[history.owner()].maximum(torch.zeros(len(side), ITEMS))
            read.index_put_((history.owner(), side), torch.ones(len(side)))
        return read

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return (state * items) @ torch.arange(1.0, ITEMS + 1)


class Length(Recogniser):
    """Rewards item 0 by the number of responses read."""

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return state.sum(1) * items[:, 0]


@settings(max_examples=60, deadline=None)
@given(EDGES, st.integers(0, 10**6))
def test_no_pair_is_scored_under_a_history_with_one_of_its_responses(edges: list, seed: int) -> None:
    train = of_edges(edges)
    assert not cross_margins(Recogniser(), train, seed).any()


def test_the_recogniser_would_tell() -> None:
    train = of_edges(votes(0, [0, 1, 2], [3, 4, 5, 6]))
    assert cross_margins(Recogniser(), replace(train, block=None), 0).all()
    assert margins(Recogniser(), train).all()


def test_what_may_be_read_is_read() -> None:
    """Three responses liked and four not, in five parts: a pair of two parts leaves at least 7 - 4, and mostly both kinds."""
    train = of_edges([e for u in range(5) for e in votes(u, [0, 1, 2], [3, 4, 5, 6])])
    read = cross_margins(Length(), train, 0)[train.chosen == 0]
    assert read.max() == 5
    assert (read > 0).float().mean() > 0.8


# ---- what it does to a model


def noisy_votes(seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """train, valid, test of 80 users who all want the same and vote at random half of the time, each part on items of its own.

    Nothing is personal, but each user's own noise is in many of his or her pairs.
    """
    g = torch.Generator().manual_seed(seed)
    users, dim, each, voted = 80, 24, 80, (12, 8, 16)
    items = torch.randn(3 * each, dim, generator=g)
    taste = torch.zeros(dim)
    taste[:4] = 1.0
    parts = []
    for part, count in enumerate(voted):
        rows = []
        for user in range(users):
            seen = part * each + torch.randperm(each, generator=g)[:count]
            truth = items[seen] @ taste > 0
            vote = torch.where(torch.rand(count, generator=g) < 0.5, torch.rand(count, generator=g) < 0.5, truth)
            rows += [(user, int(a), int(b)) for a in seen[vote] for b in seen[~vote]]
        parts.append(torch.tensor(rows).T)
    train, valid, test = (pairs_of(items, *columns, n_users=users) for columns in parts)
    return train, replace(valid, history=train.history), replace(test, history=train.history)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_that_recurs_is_no_taste(seed: int) -> None:
    """Where context and targets share responses, noise is recognised: the training loss falls, new items are judged worse."""
    train, valid, test = noisy_votes(seed)
    schedule = Schedule(lr=1e-2, weight_decay=0.3, dropout=0.2, max_epochs=30, patience=30)
    leaky, mended = (BradleyTerry(LowRank(4), schedule).fit(pairs, valid, 0) for pairs in (replace(train, block=None), train))
    assert leaky.trace.train_loss[-1] < mended.trace.train_loss[-1] - 0.1
    assert min(mended.trace.valid_loss) < min(leaky.trace.valid_loss) - 0.015
    right = [float((margins(fitted.scorer, test) > 0).float().mean()) for fitted in (leaky, mended)]
    assert right[1] > right[0] + 0.015


def test_without_blocks_a_teacher_is_surer_of_the_noise_it_has_read() -> None:
    """PAFO's targets: margins of training pairs must be no better than those of new pairs by what a shared response gives away."""
    train, valid, _ = noisy_votes(0)
    scorer = (
        BradleyTerry(LowRank(4), Schedule(lr=1e-2, weight_decay=0.3, dropout=0.2, max_epochs=10))
        .fit(replace(train, block=None), valid, 0)
        .scorer
    )
    leaky, clean = cross_margins(scorer, replace(train, block=None), 0), cross_margins(scorer, train, 0)
    assert (leaky > 0).float().mean() > (clean > 0).float().mean() + 0.1


# ---- which data have them


def blocks_of(rows: list[tuple[int, int, int, int]]) -> tuple[Tensor | None, Pairs]:
    """The blocks of pairs (user, prompt, chosen, rejected) under 90 texts that share words."""
    user, prompt, chosen, rejected = np.array(rows, np.int32).T
    texts = [f"{('some', 'more')[i % 2]} {('words', 'text')[i % 3 > 0]} {i}" for i in range(90)]
    data = PreferenceData([f"u{i}" for i in range(4)], texts, user, prompt, chosen, rejected, split=np.zeros(len(rows), np.int8))
    responses = encode_responses(data, None, False, None)
    features = torch.zeros(len(responses.texts), 2)
    nobody = Groups((), np.full(4, -1, np.int16), "")
    ready = Prepared(data, split_pairs(data, seed=0), None, nobody, responses, None, features)  # type: ignore[arg-type]
    everything = np.ones(len(data), bool)
    pairs = ready.pairs(everything, everything)
    return pairs.block, pairs


def test_votes_are_told_from_pairs_of_their_own_and_from_prompts() -> None:
    block, pairs = blocks_of([(u, 0, a, b) for u in range(4) for a in (1, 2) for b in (3, 4, 5)])
    assert block is not None
    assert torch.equal(block, torch.stack([pairs.chosen, pairs.rejected], 1))
    assert blocks_of([(u, 0, a, a + 20) for u in range(4) for a in (1 + u, 2 + u)])[0] is None
    prompts = [(u, p, 30 + p, 60 + p) for u in range(4) for p in range(25)]
    block, _ = blocks_of(prompts)
    assert block is not None
    assert torch.equal(block, torch.tensor([p for _, p, _, _ in prompts]))


def test_a_response_of_two_users_is_not_shared() -> None:
    assert blocks_of([(u, 0, 1, 2) for u in range(4)])[0] is None
    assert blocks_of([(u, 0, 1, 2) for u in range(4)] + [(0, 0, 3, 1)])[0] is not None  # of one user, chosen once and rejected once

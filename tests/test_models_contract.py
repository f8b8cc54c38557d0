"""What every head of models/ must satisfy. A new file there is found by listing the folder, and inherits the suite."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from worlds import history_of, two_tastes

from evenhand.core import History
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.vpl import Vpl
from evenhand.serve.saved import heads
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import margins
from evenhand.training.stack import Training, train_stack

DIM = 10
FORMS = {"VplPerceptron": Vpl(perceptron=6), "PalPerceptron": Pal(hidden=6), "PalAnglePerceptron": PalAngle(hidden=6)}  # the papers' own
HEADS = [pytest.param(kind(), id=name) for name, kind in sorted(heads().items())] + [pytest.param(h, id=n) for n, h in FORMS.items()]
BY_NUMBER = {"PRlhf", "PRlhfCluster"}  # look a training user up instead of reading a history; tested in test_models_baselines.py
READS_HISTORY = [p for p in HEADS if p.id not in {"Linear"} | BY_NUMBER]
# A state of these is a whole taste, near the common one where little is known, or (Collaborative) read from what the common one leaves
# over; of the others, what a user differs by.
WHOLE_TASTE = {"Lore", "Pal", "PalAngle", "Pref", "Collaborative"}
IN_PLACE = {"Pal", "PalAngle"}  # an ideal point has a place in feature space; what is shared moves it


def shaken(head: Any, seed: int = 3) -> Any:
    """The head built and moved off its starting point, so that no parameter is 0 by design."""
    scorer = head.build(DIM, seed)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in scorer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=g)
    return scorer


def ragged(seed: int = 0, counts: tuple[int, ...] = (5, 0, 1, 30, 2)) -> History:
    g = torch.Generator().manual_seed(seed)
    user = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    chosen, rejected = torch.randint(60, (2, len(user)), generator=g)
    return history_of(torch.randn(60, DIM, generator=g), user, chosen, rejected, len(counts))


def rewards(scorer: Any, history: History, items: Tensor) -> Tensor:
    """float[users, items]."""
    with torch.no_grad():
        states = scorer.users(history)
        return torch.stack([scorer.score(s.expand(len(items), -1), items) for s in states])


def only(history: History, user: int) -> History:
    own = slice(int(history.offsets[user]), int(history.offsets[user + 1]))
    chosen, rejected = history.chosen[own], history.rejected[own]
    return History(history.items, torch.tensor([0, len(chosen)]), chosen, rejected, history.row[user : user + 1])


def test_the_folder_lists_every_head() -> None:
    known = {"Linear", "LowRank", "Attention", "Lore", "Vpl", "PRlhf", "PRlhfCluster", "Pal", "PalAngle", "Pref", "Gpo", "Collaborative"}
    assert known <= heads().keys()


@pytest.mark.parametrize("head", HEADS)
class TestEveryHead:
    def test_is_a_frozen_dataclass_whose_scorer_takes_no_group(self, head: Any) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            head.anything = 1
        scorer = head.build(DIM, 0)
        assert list(inspect.signature(scorer.users).parameters) == ["history"]
        assert list(inspect.signature(scorer.score).parameters) == ["state", "items"]
        assert not {"group", "groups"} & {f.name for f in dataclasses.fields(History)}

    def test_same_seed_same_start(self, head: Any) -> None:
        one, two = head.build(DIM, 7).state_dict(), head.build(DIM, 7).state_dict()
        assert one.keys() == two.keys()
        assert all(torch.equal(one[n], two[n]) for n in one)

    def test_replicas_in_one_stack_are_what_each_is_alone(self, head: Any) -> None:
        train, valid, _ = two_tastes(n_users=24, pairs=8, dim=DIM)
        schedule = Schedule(lr=1e-2, dropout=0.2, max_epochs=4, batch_users=8)
        seeds = (0, 1, 0)  # a replica may start elsewhere; batches are those of one seed
        starts = [head.build(DIM, s) for s in seeds]
        schedules = [dataclasses.replace(schedule, weight_decay=wd) for wd in (0.0, 1.0, 0.3)]
        stacked = train_stack([Training(s, pair_bt, one, alike=head) for s, one in zip(starts, schedules, strict=True)], train, valid, 5)
        for start, one, found in zip(starts, schedules, stacked, strict=True):
            alone = train_model(start, train, pair_bt, valid, 5, one)
            torch.testing.assert_close(margins(found.scorer, valid), margins(alone.scorer, valid), atol=1e-5, rtol=0)
        assert not torch.allclose(margins(stacked[0].scorer, valid), margins(stacked[2].scorer, valid), atol=1e-4)

    def test_building_leaves_the_global_generator_alone(self, head: Any) -> None:
        before = torch.random.get_rng_state()
        head.build(DIM, 7)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_a_user_alone_gets_the_rewards_he_or_she_gets_among_others(self, head: Any) -> None:
        scorer, history = shaken(head), ragged()
        items = history.items[:20]
        together = rewards(scorer, history, items)
        for user in range(len(history)):
            torch.testing.assert_close(rewards(scorer, only(history, user), items)[0], together[user], atol=1e-5, rtol=1e-5)

    def test_one_item_alone_gets_the_reward_it_gets_among_others(self, head: Any) -> None:
        scorer, history = shaken(head), ragged()
        together = rewards(scorer, history, history.items[:20])
        alone = torch.cat([rewards(scorer, history, history.items[i : i + 1]) for i in range(20)], dim=1)
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)

    def test_the_order_of_items_and_of_history_pairs_does_not_matter(self, head: Any) -> None:
        scorer, history = shaken(head), ragged()
        g = torch.Generator().manual_seed(1)
        items = history.items[:20]
        order = torch.randperm(20, generator=g)
        shuffled = torch.cat([int(a) + torch.randperm(int(b - a), generator=g) for a, b in zip(history.offsets, history.offsets[1:])])
        other = dataclasses.replace(history, chosen=history.chosen[shuffled], rejected=history.rejected[shuffled])
        assert not torch.equal(other.chosen, history.chosen)
        torch.testing.assert_close(rewards(scorer, other, items[order]), rewards(scorer, history, items)[:, order], atol=1e-5, rtol=1e-5)

    def test_an_empty_history_is_the_reward_for_everybody(self, head: Any) -> None:
        scorer, none = shaken(head), torch.zeros(0, dtype=torch.long)
        nobody = history_of(ragged().items, none, none, none, 3)
        out = rewards(scorer, nobody, nobody.items)
        assert torch.equal(out[0], out[1])
        assert torch.equal(out[0], out[2])
        assert torch.equal(out[0], rewards(scorer, ragged(), nobody.items)[1])  # user 1 of the ragged history has no pair
        assert out.std() > 0

    def test_what_both_responses_of_a_prompt_share_cancels(self, head: Any) -> None:
        """Adding any f(x) to the features of both responses, in the history too, changes no margin and no state."""
        if type(head).__name__ in IN_PLACE or head == FORMS["VplPerceptron"]:
            pytest.skip("an ideal point, and the paper's perceptron, have a place in feature space")
        scorer, history = shaken(head), ragged()
        offset = torch.randn(DIM, generator=torch.Generator().manual_seed(5))
        moved = dataclasses.replace(history, items=history.items + offset)
        torch.testing.assert_close(scorer.users(moved), scorer.users(history), atol=1e-4, rtol=1e-4)
        a, b = rewards(scorer, moved, moved.items), rewards(scorer, history, history.items)
        assert (a - b).abs().max() > 1e-2  # the rewards did move
        torch.testing.assert_close(a[:, :30] - a[:, 30:], b[:, :30] - b[:, 30:], atol=1e-4, rtol=1e-4)

    def test_large_features_give_finite_rewards(self, head: Any) -> None:
        history = ragged()
        huge = dataclasses.replace(history, items=history.items * 1e3)
        assert torch.isfinite(rewards(shaken(head), huge, huge.items)).all()

    def test_every_parameter_learns(self, head: Any) -> None:
        scorer, history = shaken(head), dataclasses.replace(ragged(), row=torch.arange(5))
        state = scorer.users(history)[torch.tensor([0, 3, 4])]
        scorer.score(state, history.items[:3]).sum().backward()
        for name, p in scorer.named_parameters():
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name
            assert p.grad.abs().sum() > 0, name


@pytest.mark.parametrize("head", READS_HISTORY)
class TestEveryHeadThatReadsTheHistory:
    def test_another_history_gives_another_reward(self, head: Any) -> None:
        scorer = shaken(head)
        assert not torch.allclose(scorer.users(ragged(0))[3], scorer.users(ragged(1))[3])

    def test_the_opposite_history_gives_the_opposite_state(self, head: Any) -> None:
        """A user who chose the other response every time is the mirror image: what is read is taste, not how much was chosen."""
        if type(head).__name__ in WHOLE_TASTE or head == FORMS["VplPerceptron"]:
            pytest.skip("the state holds the common taste too, which does not turn round")
        scorer, history = shaken(head), ragged()
        mirrored = dataclasses.replace(history, chosen=history.rejected, rejected=history.chosen)
        torch.testing.assert_close(scorer.users(mirrored), -scorer.users(history), atol=1e-5, rtol=1e-4)

    def test_other_seeds_start_elsewhere(self, head: Any) -> None:
        one, two = head.build(DIM, 0).state_dict(), head.build(DIM, 1).state_dict()
        assert any(not torch.equal(one[n], two[n]) for n in one)

    def test_one_pair_moves_the_reward_less_than_thirty_alike(self, head: Any) -> None:
        scorer, history = head.build(DIM, 3), ragged()
        chosen, rejected = history.chosen[:1], history.rejected[:1]
        few = History(history.items, torch.tensor([0, 1]), chosen, rejected, torch.tensor([-1]))
        many = History(history.items, torch.tensor([0, 30]), chosen.repeat(30), rejected.repeat(30), torch.tensor([-1]))
        assert scorer.users(few).norm() < scorer.users(many).norm()


@pytest.mark.parametrize("head", READS_HISTORY)
def test_two_tastes_are_told_apart_by_their_histories(head: Any) -> None:
    """The minority wants the opposite of the majority. One reward for all cannot serve both; a head that reads histories does."""
    schedule = Schedule(max_epochs=30, lr=1e-2, weight_decay=0.05, dropout=0.1)
    train, valid, test = two_tastes(0)
    for kind, low, high in ((Linear(), 0.0, 0.55), (head, 0.82, 1.0)):
        right = margins(BradleyTerry(kind, schedule).fit(train, valid, 0).scorer, test) > 0
        accuracy = float(right[test.group == 1].float().mean())
        assert low <= accuracy <= high, kind
        assert right[test.group == 0].float().mean() > 0.85, kind

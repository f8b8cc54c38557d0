"""What every head of models/ must satisfy. A new file there is found by listing the folder, and inherits the suite."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import pytest
import torch
from worlds import two_tastes

from evenhand.core import History
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.vpl import Vpl
from evenhand.serve.head_record import heads
from evenhand.testing import DIM, HEAD_CHECKS, ragged, rewards, shaken
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import margins
from evenhand.training.stack import Training, train_stack

FORMS = {"VplPerceptron": Vpl(perceptron=6), "PalPerceptron": Pal(hidden=6), "PalAnglePerceptron": PalAngle(hidden=6)}  # the papers' own
HEADS = [pytest.param(kind(), id=name) for name, kind in sorted(heads().items())] + [pytest.param(h, id=n) for n, h in FORMS.items()]
BY_NUMBER = {"PRlhf", "PRlhfCluster"}  # look a training user up instead of reading a history; tested in test_models_baselines.py
READS_HISTORY = [p for p in HEADS if p.id not in {"Linear"} | BY_NUMBER]
# A state of these is a whole taste, near the common one where little is known, or (Collaborative) read from what the common one leaves
# over; of the others, what a user differs by.
WHOLE_TASTE = {"Lore", "Pal", "PalAngle", "Pref", "Collaborative"}
IN_PLACE = {"Pal", "PalAngle"}  # an ideal point has a place in feature space; what is shared moves it


def test_the_folder_lists_every_head() -> None:
    known = {"Linear", "LowRank", "Attention", "Lore", "Vpl", "PRlhf", "PRlhfCluster", "Pal", "PalAngle", "Pref", "Gpo", "Collaborative"}
    assert known <= heads().keys()


@pytest.mark.parametrize("head", HEADS)
class TestEveryHead:
    @pytest.mark.parametrize("check", HEAD_CHECKS, ids=[check.__name__ for check in HEAD_CHECKS])
    def test_keeps_the_contract(self, head: Any, check: Any) -> None:
        check(head)

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


@cache
def accuracies(head: Any) -> tuple[float, float]:
    """Of the majority and of the minority."""
    schedule = Schedule(max_epochs=30, lr=1e-2, weight_decay=0.05, dropout=0.1)
    train, valid, test = two_tastes(0)
    right = margins(BradleyTerry(head, schedule).fit(train, valid, 0).scorer, test) > 0
    majority, minority = (float(right[test.group == group].float().mean()) for group in (0, 1))
    return majority, minority


@pytest.mark.parametrize("head", READS_HISTORY)
def test_two_tastes_are_told_apart_by_their_histories(head: Any) -> None:
    """The minority wants the opposite of the majority. One reward for all cannot serve both; a head that reads histories does."""
    for kind, low, high in ((Linear(), 0.0, 0.55), (head, 0.82, 1.0)):
        majority, minority = accuracies(kind)
        assert low <= minority <= high, kind
        assert majority > 0.85, kind

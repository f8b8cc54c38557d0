"""Which epoch methods that treat groups apart keep: groups count as far as they can tell epochs apart, and never decide when to stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from worlds import two_tastes

import evenhand
from evenhand.core import Pairs
from evenhand.data.simulate import write_sample
from evenhand.data.splits import split_pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.models.linear import Linear
from evenhand.training.epochs import mean_rise, shrunk, worst_rise
from evenhand.training.loop import train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.prepare import prepare


def validation(n_users: int, minority: float, pairs: int = 4) -> Pairs:
    return two_tastes(n_users=n_users, pairs=2, held_out=pairs, minority=minority)[1]


def change_of(margin: Tensor, kept: Tensor, valid: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Each user's change of log-loss, and the users' groups, without the package's means."""
    loss = np.logaddexp(0, -margin.double().numpy()) - np.logaddexp(0, -kept.double().numpy())
    users = np.unique(valid.user.numpy())
    return np.array([loss[valid.user.numpy() == u].mean() for u in users]), np.array([int(valid.group[valid.user == u][0]) for u in users])


def test_what_lies_within_its_noise_counts_for_nothing() -> None:
    assert shrunk(torch.tensor([2.0, -2.0, 0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])).tolist() == [1.5, -1.5, 0.0, 0.0]


def test_the_rise_over_groups_is_its_formula() -> None:
    valid = validation(40, 0.25)
    g = torch.Generator().manual_seed(0)
    kept = torch.randn(len(valid), generator=g)
    margin = kept + 0.3 - 0.9 * (valid.group == 1) + 0.1 * torch.randn(len(valid), generator=g)
    change, group = change_of(margin, kept, valid)
    mean, variance = ([f(change[group == k]) for k in (0, 1)] for f in (np.mean, lambda x: x.var(ddof=1) / len(x)))
    d, c = change.mean(), (mean[0] + mean[1]) / 2 - change.mean()
    noise = (0.5 - 30 / 40) ** 2 * variance[0] + (0.5 - 10 / 40) ** 2 * variance[1]
    assert c**2 > noise > 0
    assert float(mean_rise(margin[None], kept[None], valid)) == pytest.approx(d + c - noise / c, rel=1e-4)


def test_the_worst_groups_rise_follows_a_group_that_can_be_told() -> None:
    """Everybody gets better, the minority (worst before) clearly less so than the plain mean says."""
    valid = validation(200, 0.25)
    kept = torch.where(valid.group == 0, 1.0, -1.0)
    margin = torch.where(valid.group == 0, 2.0, -0.9) + 1e-3 * torch.randn(len(valid), generator=torch.Generator().manual_seed(0))
    expected = np.logaddexp(0, 0.9) - np.logaddexp(0, 1.0)
    assert float(worst_rise(margin[None], kept[None], valid)) == pytest.approx(expected, rel=0.02)
    assert change_of(margin, kept, valid)[0].mean() < 1.5 * expected < 0


def test_with_many_users_it_is_the_mean_over_groups_with_few_the_mean_over_users() -> None:
    g = torch.Generator().manual_seed(1)
    for n_users, minority, decides in ((2000, 0.1, "groups"), (20, 0.1, "users")):
        valid = validation(n_users, minority)
        kept = torch.zeros(len(valid))
        margin = 0.2 - 0.6 * (valid.group == 1) + torch.randn(len(valid), generator=g)
        change, group = change_of(margin, kept, valid)
        by_groups, by_users = np.mean([change[group == k].mean() for k in (0, 1)]), change.mean()
        rise = float(mean_rise(margin[None], kept[None], valid))
        assert rise == pytest.approx(by_groups if decides == "groups" else by_users, abs=0.1 * abs(by_groups - by_users))


def test_a_single_user_of_a_group_has_no_say_of_his_or_her_own() -> None:
    valid = validation(20, 0.05)
    margin = torch.where(valid.group == 1, -9.0, 0.1)
    change, _ = change_of(margin, torch.zeros(len(valid)), valid)
    assert float(mean_rise(margin[None], torch.zeros(1, len(valid)), valid)) == pytest.approx(change.mean(), rel=1e-5)


def test_groups_choose_the_epoch_and_the_mean_over_users_when_to_stop() -> None:
    """Whoever chooses rejects every epoch: training still goes on while the plain loss falls, and returns the untrained model."""
    train, valid, _ = two_tastes(n_users=30, minority=0.0)
    schedule = Schedule(lr=1e-2, weight_decay=0.0, dropout=0.0, max_epochs=30, patience=3)
    never = train_model(
        Linear().build(train.items.shape[1], 0), train, lambda m, rows: bt(m), valid, 0, schedule, rise=lambda m, kept, valid: torch.ones(1)
    )
    plain = BradleyTerry(Linear(), schedule).fit(train, valid, 0)
    assert never.trace.best_epoch == 0
    assert not never.scorer.b.detach().any()
    assert never.trace.valid_loss == plain.trace.valid_loss
    assert len(plain.trace.valid_loss) > 2 * schedule.patience
    assert never.trace.by_group
    assert not plain.trace.by_group


def test_a_small_minoritys_noise_does_not_keep_the_untrained_student(tmp_path: Path) -> None:
    """60 users x 30 pairs: the ten users of the minority have 38 validation pairs, whose loss first rises. A plain mean over groups kept epoch 0.

    Of five seeds the median: with the rounding of some processors, as with some seeds, a single student finds nothing in its first ten epochs.
    """
    data = evenhand.load(write_sample(tmp_path / "s.jsonl", users=60, pairs_per_user=30, minority=0.2))
    ready = prepare(data, split_pairs(data, seed=0), Encoding(None), evenhand.Grouping(), seed=0)
    train, valid = ready.training()
    kept, losses = [], []
    for seed in range(5):
        parts = Pafo().fit(train, valid, seed).parts
        student, pooled = parts["student"], parts["pooled"]  # whichever the guard kept
        kept.append(student.trace.best_epoch)
        losses.append([float(mean_over_users(bt(margins(f.scorer, valid)), valid)) for f in (student, pooled)])
    of_student, of_pooled = np.median(losses, axis=0)
    assert np.median(kept) > 20
    assert of_student < of_pooled + 0.01 < np.log(2) - 0.02

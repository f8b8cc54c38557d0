"""The search on validation: Pareto improvements first, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from worlds import two_tastes

from evenhand.core import EvenhandError
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.models.low_rank import LowRank
from evenhand.training.schedule import Schedule
from evenhand.training.traces import Fitted, Trace
from evenhand.training.tune import TunedFit, choose, losses_by_group, tune


def trial(name: str, *losses: float) -> TunedFit:
    return TunedFit(name, Fitted(None, Trace()), dict(enumerate(losses)))


def test_no_group_may_lose_and_the_largest_mean_gain_wins() -> None:
    default = trial("default", 0.6, 0.7)
    harms = trial("harms the first group", 0.61, 0.3)
    small, large = trial("small", 0.6, 0.65), trial("large", 0.59, 0.64)
    assert choose([default, harms, small, large]).method == "large"
    assert choose([default, harms]).method == "default"
    assert choose([default, trial("tie", 0.6, 0.7)]).method == "default"


def test_users_in_no_group_have_no_say() -> None:
    train, valid, _ = two_tastes(n_users=20, pairs=8)
    fitted = BradleyTerry(LowRank(2), Schedule(max_epochs=1)).fit(train, valid, 0)
    some = replace(valid, group=torch.where(valid.user < 2, -1, valid.group))
    assert set(losses_by_group(fitted, some)) == set(some.groups())
    assert set(losses_by_group(fitted, replace(valid, group=torch.full_like(valid.group, -1)))) == {-1}


@dataclass(frozen=True)
class Counting:
    """A method that counts its fits."""

    calls: list[str] = field(default_factory=list)

    def fit(self, train: Any, valid: Any, seed: int) -> Fitted:
        self.calls.append("fit")
        return BradleyTerry(LowRank(2), Schedule(max_epochs=1)).fit(train, valid, seed)

    def variants(self) -> Any:
        while True:
            yield self


@pytest.mark.parametrize("settings", [1, 3])
def test_the_budget_is_kept(settings: int) -> None:
    train, valid, _ = two_tastes(n_users=20, pairs=8)
    method = Counting()
    _, trials = tune(method, train, valid, 0, settings)
    assert method.calls == ["fit"] * settings
    assert len(trials) == settings


def test_the_default_comes_first_and_no_setting_twice() -> None:
    for method in (BradleyTerry(), Pafo()):
        variants = list(method.variants())
        assert variants[0] == method
        assert len(variants) == len(set(map(repr, variants)))


@pytest.mark.parametrize(
    "wrong", [{"dropout": 1.0}, {"batch_users": 0}, {"context": (0.5,)}, {"context": (0.6, 0.2)}, {"lr": float("nan")}, {"patience": 0}]
)
def test_schedules_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvenhandError, match=next(iter(wrong))):
        Schedule(**wrong)

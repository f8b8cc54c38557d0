"""A metric is a function of margins and its line in METRICS; whatever prints findings gets every one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import evenhand
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import ModelFindings
from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.outcomes import Outcomes
from evenhand.core import EvenhandError, Groups
from evenhand.data.simulate import simulated_users

BRIER = Metric(lambda m: (1 - 1 / (1 + np.exp(-m))) ** 2, 0.0, 1.0, "mean over users of each user's mean of (1 - sigma(margin))^2")
MARGINS = {"a": 0.0, "b": np.log(3.0), "c": -np.log(3.0)}  # sigma 1/2, 3/4, 1/4: Brier scores 1/4, 1/16, 9/16


def examined(groups: str, users: int, metric: Metric = BRIER) -> ModelFindings:
    """Groups of `users` each; all pairs of a group have its margin, but for a user who has one pair more, of margin 0."""
    of = np.repeat(np.arange(len(groups)), users).astype(np.int16)
    user = np.repeat(np.arange(len(of)), 10)
    margin = np.array([MARGINS[g] for g in groups])[of[user]]
    outcomes = Outcomes("m", "test", np.append(user, 0).astype(np.int32), np.append(margin, 0.0))
    return examine_model(outcomes, Groups(tuple(groups), of, ""), resamples=50, metrics=METRICS | {"Brier": metric})


def test_every_metric_stands_with_all_users_each_group_and_their_gap() -> None:
    found = examined("abc", 40)
    assert [m.name for m in found.metrics] == [*METRICS, "Brier"]
    brier = found.metrics[-1]
    assert brier.formula == BRIER.formula
    assert [e.value for e in brier.groups] == pytest.approx([1 / 4, 1 / 16, 9 / 16])
    assert brier.overall.value == pytest.approx((1 / 4 + 1 / 16 + 9 / 16) / 3)
    assert brier.gap is not None
    assert brier.gap.value == pytest.approx(1 / 2)
    assert (brier.gap.metric, brier.gap.group) == ("Brier gap", "c minus b (highest minus lowest)")
    by_name = {m.name: m for m in found.metrics}
    assert by_name["accuracy"].overall == found.overall
    assert by_name["accuracy"].gap == found.gap
    assert by_name["log_loss"].groups == tuple(g.log_loss for g in found.groups)


def test_a_gap_of_two_groups_is_signed_and_not_cut_to_a_share() -> None:
    found = examined("cb", 40)
    margin = next(m for m in found.metrics if m.name == "margin").gap
    assert margin is not None
    assert margin.value == pytest.approx(-2 * np.log(3) + np.log(3) / (40 * 11), abs=1e-3)  # below -1
    assert margin.low <= margin.value <= margin.high


def test_no_gap_to_a_group_that_may_not_be_shown() -> None:
    assert examined("ab", 9).metrics[-1].gap is None
    assert examined("ab", 10).metrics[-1].gap is not None


def test_a_metric_that_leaves_its_range_is_refused() -> None:
    with pytest.raises(EvenhandError, match=r"Metric Brier gives values from -?[\d.e+-]+ to .*Expected: one finite value from 0 to 1"):
        examined("ab", 10, Metric(lambda m: m, 0.0, 1.0, ""))
    with pytest.raises(EvenhandError, match=r"gives shape \(\)"):
        examined("ab", 10, Metric(np.mean, 0.0, 1.0, ""))


def test_a_comparison_holds_every_metric_of_every_entry(tmp_path: Path) -> None:
    data = simulated_users(seed=1, users=60, minority=0.3, pairs_per_user=20)
    report = evenhand.compare(data, [], seeds=2, tune_settings=0, out=tmp_path, encoding=evenhand.Encoding(None, dim=16), resamples=50)
    for entry in report.findings.entries:
        assert [m.name for m in entry.metrics] == list(METRICS)
        accuracy, _, loss = entry.metrics
        assert [e.value for e in (*accuracy.groups, accuracy.overall)] == pytest.approx([e.value for e in entry.held_out])
        assert entry.log_loss is not None
        assert loss.overall.n_users == entry.log_loss.n_users
        assert loss.overall.low < loss.overall.value < loss.overall.high
        assert loss.gap is not None
        assert loss.gap.value == pytest.approx(loss.groups[0].value - loss.groups[1].value)

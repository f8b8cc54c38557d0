"""Mistakes in parts from outside the package: whoever wrote them learns which part, which line and what to do, and never of a defect of evenhand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import evenhand
from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.simulate import simulated_users

MINE = """
from dataclasses import dataclass, field

from evenhand.core import Head, Method
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.loop import train_model


@dataclass(frozen=True)
class Raises(Method):
    base: BradleyTerry = field(default_factory=BradleyTerry)

    def fit(self, train, valid, seed):
        raise ValueError("my own mistake")  # Raises

    def variants(self):
        yield self


class Nothing(Raises):
    def fit(self, train, valid, seed):
        return None


class NoLoss(Raises):
    def fit(self, train, valid, seed):
        scorer = self.base.untrained(train, seed)
        return train_model(scorer, train, lambda m, rows: m * float("nan"), valid, seed, self.base.schedule)


@dataclass(frozen=True)
class Needs(Raises):
    much: float = field(kw_only=True)


@dataclass(frozen=True)
class MyHead(Head):
    def build(self, dim, seed):
        return {}["size"]  # MyHead


def words(margin):
    return ["good"] * len(margin)


def two(margin, weight):
    return margin * weight


def parse(batches, sides, seed):
    for batch in batches:
        yield batch.columns["nobody"]  # parse


def rubbish(batches, sides, seed):
    yield 3
"""
QUICK: dict[str, Any] = {"encoding": evenhand.Encoding(None, dim=16), "resamples": 20, "settings": {"max_epochs": 2}}


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return simulated_users(seed=1, users=60, minority=0.25, pairs_per_user=20)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("own") / "mine.py"
    file.write_text(MINE)
    return file


def line_of(mark: str) -> int:
    return next(n for n, line in enumerate(MINE.splitlines(), 1) if line.endswith(f"# {mark}"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", rf"^mine\.py:Raises fails at line {line_of('Raises')} \(ValueError: my own mistake\)\. Expected: .* To do: "),
        ("Nothing", r"^mine\.py:Nothing fails \(AttributeError: 'NoneType' object has no attribute 'scorer'\)"),
        ("Needs", r"^mine\.py:Needs fails \(TypeError: .*'much'\)"),
        ("bradley_terry:MyHead", rf"^mine\.py:MyHead fails at line {line_of('MyHead')} \(KeyError: 'size'\)"),
        ("NoLoss", r"^NoLoss.*: the training loss is not a number after epoch 1\. Expected: a finite loss"),
    ],
)
def test_a_methods_or_heads_mistake_names_it(name: str, said: str, mine: Path, data: PreferenceData) -> None:
    method, _, head = name.partition(":")
    with pytest.raises(EvenhandError, match=said):
        evenhand.fit(data, method if head else f"{mine}:{method}", head=f"{mine}:{head}" if head else None, **QUICK)


@pytest.mark.parametrize(
    ("metric", "said"), [("words", "ValueError: could not convert string"), ("two", r"TypeError: two\(\) missing 1 .*'weight'")]
)
def test_a_metrics_mistake_names_it(metric: str, said: str, mine: Path, data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match=rf"^mine\.py:{metric} fails at line \d+ \({said}.* Expected: a function of margins"):
        evenhand.audit(data, model=lambda p, r, u: [len(text) for text in r], metrics=[f"{mine}:{metric}"], resamples=20)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda prompts, responses: [1.0], "TypeError: .* takes 2 positional arguments but 3 were given"),
        (lambda p, r, u: ["good"] * len(r), "ValueError: could not convert string to float"),
        (lambda p, r, u: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_models_mistake_names_it(model: Any, said: str, data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match=rf"<lambda> fails at line \d+ \({said}.*Expected: a function of prompts, responses and users"):
        evenhand.audit(data, model=model, resamples=20)


@pytest.mark.parametrize(
    ("name", "said"), [("parse", rf"at line {line_of('parse')} \(KeyError: 'nobody'\)"), ("rubbish", r"at line \d+ \(AttributeError")]
)
def test_a_sources_mistake_names_it(name: str, said: str, mine: Path) -> None:
    with pytest.raises(EvenhandError, match=rf"^mine\.py:{name} fails {said}"):
        evenhand.load([{"who": "u1", "good": "yes", "bad": "no"}], source=f"{mine}:{name}")


def test_in_a_sweep_built_in_entries_do_not_fall_with_it(mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    asked = QUICK | {"seeds": 1, "out": tmp_path, "jobs": 1}
    found = evenhand.sweep(data, {"lr": [0.1, 0.2]}, f"{mine}:Raises", **asked).findings
    assert [bool(e.failed) for e in found.entries] == [False, False, True, True]
    assert all(re.search("ValueError: my own mistake", e.failed) for e in found.entries[2:])


def test_mistakes_of_the_package_stay_what_they_are() -> None:
    from evenhand.methods.pafo import Pafo
    from evenhand.parts import calling

    with pytest.raises(ZeroDivisionError), calling("anything", Pafo()):
        print(1 / 0)

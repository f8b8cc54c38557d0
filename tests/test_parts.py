"""Parts from outside the package: methods, heads, metrics and sources of a user's own file, and the checks they can be put to."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import evenhand
from evenhand.core import DataError, EvenhandError, Head, Method, Pairs, PreferenceData
from evenhand.data.simulate import simulated_users
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo, mse
from evenhand.models.linear import Linear, LinearScorer
from evenhand.parts import Files, files_of, load_file, part, sources, split_head
from evenhand.serve.reward_model import RewardModel
from evenhand.testing import check_head, check_method
from evenhand.training.tuned import Tuned
from evenhand.workflows import hyperparameters, trials

MINE = '''
"""What a user writes."""
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from evenhand.core import Method
from evenhand.methods.bradley_terry import BradleyTerry


@dataclass(frozen=True)
class Halved(Method):
    """Bradley-Terry with half the step."""

    needs_groups: ClassVar[bool] = False
    unreduced: ClassVar[bool] = False
    base: BradleyTerry = field(default_factory=BradleyTerry)
    share: float = 0.5

    def fit(self, train, valid, seed):
        from dataclasses import replace
        schedule = self.base.schedule
        return replace(self.base, schedule=replace(schedule, lr=schedule.lr * self.share)).fit(train, valid, seed)

    def variants(self):
        yield self


@dataclass(frozen=True)
class Plain:
    """One reward for all, times a constant."""

    reads_new_users: ClassVar[bool] = True
    scale: float = 1.0

    def build(self, dim, seed):
        return PlainScorer(dim, self.scale)


class PlainScorer(nn.Module):
    def __init__(self, dim, scale):
        super().__init__()
        self.b, self.scale = nn.Parameter(torch.zeros(dim)), scale

    def users(self, history):
        return history.items.new_zeros(len(history), 0)

    def score(self, state, items):
        return self.scale * (items @ self.b)


def brier(margin):
    """mean over users of the mean of (1 - sigma(margin))^2"""
    return (1 - 1 / (1 + np.exp(-margin))) ** 2


def pairs(batches, sides, seed):
    """who, good and bad."""
    from dataclasses import replace
    for batch in batches:
        c = batch.columns
        yield replace(batch, columns={"user": c["who"], "prompt": ["?"] * len(batch), "chosen": c["good"], "rejected": c["bad"]})
'''
TFIDF = evenhand.Encoding(None, dim=16)
QUICK = {"encoding": TFIDF, "resamples": 20}


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return simulated_users(seed=1, users=60, minority=0.25, pairs_per_user=20)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_names_of_files_and_heads() -> None:
    assert split_head("pafo:lore") == ("pafo", "lore")
    assert split_head("./a b/mine.py:Rule") == ("./a b/mine.py:Rule", None)
    assert split_head("./mine.py:Rule:./mine.py:MyHead") == ("./mine.py:Rule", "./mine.py:MyHead")
    assert split_head("pafo:./mine.py:MyHead") == ("pafo", "./mine.py:MyHead")


def test_fit_takes_a_method_a_head_and_a_metric_from_a_file(mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    settings = {"max_epochs": 10, "share": 0.25, "lr": 0.05}
    made = evenhand.fit(data, f"{mine}:Halved", head=f"{mine}:Plain", settings=settings, metrics=[f"{mine}:brier"], **QUICK)
    found = made.report.findings
    assert found.model.model == "Halved (Plain head)"
    assert found.training[-1].settings["share"] == 0.25
    brier = found.model.metrics[-1]
    assert (brier.name, brier.formula) == ("brier", "mean over users of the mean of (1 - sigma(margin))^2")
    assert 0 < brier.overall.low < brier.overall.value < brier.overall.high < 1
    assert [m.name for m in found.others[0].metrics][-1] == "brier"
    assert found.formulas["brier"] == brier.formula
    assert str(tmp_path) not in json.dumps(dict(made.model.facts))


def test_a_saved_head_from_outside_is_never_run_by_its_folder(mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    kind = part("heads", f"{mine}:Plain")
    made = evenhand.fit(data, BradleyTerry(head=kind(2.0)), settings={"max_epochs": 2}, **QUICK)
    made.model.save(tmp_path / "model")
    said = json.loads((tmp_path / "model" / "model.json").read_text())["head"]
    assert (said["name"], said["source"], said["settings"]) == ("Plain", "mine.py:Plain", {"scale": 2.0})
    with pytest.raises(DataError, match=r"Plain, is from outside evenhand \(mine.py:Plain\).*--head ./FILE.py:Plain"):
        RewardModel.load(tmp_path / "model")
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, evenhand; evenhand.RewardModel.load(sys.argv[1])", tmp_path / "model"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "is from outside evenhand" in ran.stderr
    choices = [("p", "a good answer", "a bad answer")]
    expected = made.model.score(choices, ["p"], ["another answer"])
    for head in (kind, f"{mine}:Plain"):
        assert RewardModel.load(tmp_path / "model", head=head).score(choices, ["p"], ["another answer"]) == expected
    with pytest.raises(DataError, match="Linear was given"):
        RewardModel.load(tmp_path / "model", head=Linear)
    report = evenhand.audit(data, model=tmp_path / "model", head=f"{mine}:Plain", resamples=20)
    assert report.findings.model.overall.value == pytest.approx(made.report.findings.model.overall.value)
    mine.write_text(MINE.replace("items @ self.b)", "items @ self.b) + 1"))
    with pytest.raises(DataError, match="not the one that the model was saved with"):
        RewardModel.load(tmp_path / "model", head=f"{mine}:Plain")


def test_compare_trains_own_methods_in_its_processes_and_knows_an_edited_file(mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"seeds": 1, "tune": 0, "head": "linear", "jobs": 2, "out": tmp_path / "out", **QUICK}

    def computed(**more: Any) -> tuple[list[str], int]:
        """Names of the entries, and how many trials were computed for this call."""
        steps: list[int] = []
        told = evenhand.compare(data, [f"{mine}:Halved:{mine}:Plain"], progress=lambda what, n, total: steps.append(n), **(asked | more))
        assert not any(e.failed for e in told.findings.entries)
        return [e.name for e in told.findings.entries], 2 - min(steps[-1] if steps[0] == 2 else steps[0], 2)

    names, first = computed()
    assert names[-1] == "Halved (Plain head)"
    assert first == 2
    assert computed()[1] == 0  # from disk
    assert computed(metrics=[f"{mine}:brier"])[1] == 2
    before = set((tmp_path / "out" / "trials").iterdir())
    mine.write_text(MINE.replace("* self.share", "* self.share / 2"))
    assert computed()[1] == 1  # the other entry is as it was
    assert len(set((tmp_path / "out" / "trials").iterdir()) - before) == 1


def test_methods_as_objects_are_told_apart_by_their_hyperparameters(data: PreferenceData, tmp_path: Path) -> None:
    base = BradleyTerry(head=Linear(), schedule=replace(BradleyTerry().schedule, max_epochs=2))
    found = evenhand.compare(data, [Pafo(base), Pafo(base, alpha=0.75)], seeds=1, tune=0, out=tmp_path, **QUICK).findings
    assert [e.name for e in found.entries[-2:]] == ["PAFO (linear)", "PAFO (linear), alpha=0.75"]


def test_sweep_takes_an_own_method_and_numbers(mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    found = evenhand.sweep(
        data,
        {"share": [0.5, 1.0]},
        f"{mine}:Halved",
        settings={"max_epochs": 2},
        seeds=1,
        out=tmp_path / "s",
        title="Mine",
        note="so",
        **QUICK,
    ).findings
    assert [e.name for e in found.entries[-2:]] == ["share=0.5", "share=1.0"]
    assert (found.title, found.note) == ("Mine", "so")


def test_a_source_from_a_file(mine: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps({"who": f"u{i % 3}", "good": f"yes {i}", "bad": f"no {i}"}) + "\n" for i in range(9)))
    loaded = evenhand.load(table, source=f"{mine}:pairs")
    assert (len(loaded), loaded.users, loaded.texts[loaded.chosen[4]]) == (9, ["u0", "u1", "u2"], "yes 4")
    with pytest.raises(EvenhandError, match="brier is no source"):
        evenhand.load(table, source=f"{mine}:brier")


def test_entry_points_are_found_by_name(monkeypatch: pytest.MonkeyPatch, mine: Path, tmp_path: Path) -> None:
    """A package as pip leaves it: its files, and their record with the entry points."""
    (tmp_path / "their_package.py").write_text(MINE)
    record = tmp_path / "their_package-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(
        "[evenhand.methods]\nhalved = their_package:Halved\nbroken = their_package:Nothing\n[evenhand.heads]\nplain = their_package:Plain\n"
        "[evenhand.metrics]\nbrier = their_package:brier\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    built = hyperparameters.method("halved", {"share": 0.1}, "plain")
    assert (type(built).__name__, built.share, type(built.base.head).__name__) == ("Halved", 0.1, "Plain")
    assert type(hyperparameters.method("plain", {}).head).__name__ == "Plain"
    with pytest.raises(EvenhandError, match="did you mean 'halved'"):
        hyperparameters.method("halvd", {})
    with pytest.raises(EvenhandError, match=r"Entry point broken of evenhand\.methods cannot be loaded"):
        hyperparameters.method("broken", {})
    assert trials.describe(built) != trials.describe(replace(built, share=0.2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.py:Rule", "nowhere.py cannot be read"),
        ("{mine}:Halve", "did you mean Halved"),
        ("{mine}:PlainScorer", "PlainScorer is no method: it lacks @dataclass"),
        ("{broken}:Rule", r"broken.py stops at line 2 \(ZeroDivisionError"),
    ],
)
def test_errors_of_own_parts_say_what_to_do(text: str, said: str, mine: Path, data: PreferenceData, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\n1 / 0\n")
    with pytest.raises(EvenhandError, match=said):
        evenhand.fit(data, text.format(mine=mine, broken=tmp_path / "broken.py"), **QUICK)


def test_settings_have_their_own_types() -> None:
    built = hyperparameters.method("pafo", {"alpha": 1, "distil": mse, "warm_start": False, "max_epochs": 7})
    assert (built.alpha, built.distil, built.warm_start, built.base.schedule.max_epochs) == (1.0, mse, False, 7)
    assert isinstance(built.alpha, float)
    for name, value in {"alpha": "much", "max_epochs": 2.5, "warm_start": 1, "distil": 3}.items():
        with pytest.raises(EvenhandError, match=name):
            hyperparameters.method("pafo", {name: value})
    assert hyperparameters.method(Pafo(alpha=0.5), {"balance": 0.25}) == Pafo(alpha=0.5, balance=0.25)
    assert hyperparameters.method(Pafo, {}) == Pafo()


def test_a_process_that_is_given_pickles_runs_the_files_first(mine: Path) -> None:
    method = hyperparameters.method(f"{mine}:Halved", {})
    files = files_of([method])
    assert files == Files({str(mine): mine.read_bytes()})
    mine.unlink()  # it may be another machine
    code = "import pickle, sys; files, method = pickle.loads(sys.stdin.buffer.read()); print(type(method).__name__, method.share)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps((files, method)), capture_output=True, check=False)
    assert done.stdout.decode().split() == ["Halved", "0.5"], done.stderr.decode()
    assert files_of([Pafo()]) == Files({})


def test_the_code_of_an_own_part_is_what_tells_it_apart(mine: Path) -> None:
    assert sources(Pafo()) == []
    first = sources(part("methods", f"{mine}:Halved")())
    mine.write_text(MINE + "\n# a comment\n")
    assert sources(part("methods", f"{mine}:Halved")()) != first
    assert load_file(mine) is load_file(mine)

    made: dict[str, Any] = {}
    for power in (2, 3):  # as a notebook does: classes without a file
        exec(f"class Cell:\n    def f(self): return lambda x: x ** {power}\nCell.__module__ = 'a_notebook'", made)
        made[str(power)] = sources(made["Cell"]())
    assert made["2"] != made["3"]


# ---- checks for everybody


@dataclass(frozen=True)
class Own(Method):
    """Bradley-Terry under another name, kept correct; each class below breaks one contract."""

    needs_groups: ClassVar[bool] = False
    unreduced: ClassVar[bool] = False
    base: BradleyTerry = field(default_factory=BradleyTerry)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Any:
        return self.base.fit(train, valid, seed)

    def variants(self) -> Iterator[Method]:
        yield self


@dataclass(frozen=True)
class Unseeded(Own):
    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Any:
        return self.base.fit(train, valid, int(torch.randint(1000, ())))


@dataclass(frozen=True)
class StirsTheAdapter(Own):
    """On features that train, its adapter is moved by numbers that no seed decides."""

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Any:
        fitted = self.base.fit(train, valid, seed)
        if isinstance(fitted.scorer, Tuned):
            with torch.no_grad():
                fitted.scorer.adapter.A.add_(torch.randn(fitted.scorer.adapter.A.shape))
        return fitted


@dataclass(frozen=True)
class NamesGroups(Own):
    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Any:
        weight = torch.where(train.group == 1, 3.0, 1.0)
        return self.base.fit(replace(train, weight=weight), valid, seed)


@dataclass(frozen=True)
class Shifts(Own):
    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Any:
        train.items.mul_(1.01)
        return self.base.fit(train, valid, seed)


@dataclass
class Thawed:
    base: BradleyTerry = field(default_factory=BradleyTerry)
    needs_groups: ClassVar[bool] = False
    unreduced: ClassVar[bool] = False
    fit, variants = Own.fit, Own.variants


@dataclass(frozen=True)
class CentresTheBatch(Head):
    """Its reward of a text depends on the texts beside it."""

    reads_new_users: ClassVar[bool] = True

    def build(self, dim: int, seed: int) -> Any:
        return CentredScorer(dim)


class CentredScorer(LinearScorer):
    def score(self, state: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return super().score(state, items - items.mean(0))


def test_a_correct_method_and_head_pass(mine: Path) -> None:
    check_method(Own)
    check_method(Own(BradleyTerry(head=Linear())))
    check_method(Own(BradleyTerry(head=Linear())), texts=True)
    check_head(Linear)
    check_head(part("heads", f"{mine}:Plain"))


@pytest.mark.parametrize(
    ("method", "check"),
    [
        (Unseeded, "same_seed_same_model_bit_for_bit"),
        (NamesGroups, "what_groups_are_called_changes_nothing"),
        (Shifts, "leaves_the_global_generator_and_the_data_alone|same_seed"),
        (Thawed, "is_frozen"),
    ],
)
def test_each_broken_contract_of_a_method_is_named(method: Any, check: str) -> None:
    from evenhand.testing import small_world

    small_world.cache_clear()
    with pytest.raises(AssertionError, match=f"{method.__name__} fails ({check})"):
        check_method(method)
    small_world.cache_clear()


def test_a_broken_contract_on_features_that_train_is_named() -> None:
    check_method(StirsTheAdapter)
    with pytest.raises(AssertionError, match="StirsTheAdapter fails same_seed"):
        check_method(StirsTheAdapter, texts=True)


def test_a_broken_contract_of_a_head_is_named() -> None:
    with pytest.raises(AssertionError, match="CentresTheBatch fails one_item_alone_gets_the_reward_it_gets_among_others"):
        check_head(CentresTheBatch())


# ---- audits of whatever gives rewards


def test_every_way_of_giving_scores_gives_one_audit(data: PreferenceData) -> None:
    length = np.array([len(t) for t in data.texts], np.float64)
    rewards = np.stack([length[data.chosen], length[data.rejected]], axis=1)
    named = replace(data, numbers={"good": rewards[:, 0], "bad": rewards[:, 1], "margin": rewards[:, 0] - rewards[:, 1]})
    asked: list[tuple[str, list[str], list[str], list[str]]] = []

    def by_length(prompts: list[str], responses: list[str], users: list[str]) -> list[int]:
        asked.append(("", prompts, responses, users))
        return [len(r) for r in responses]

    found = [
        evenhand.audit(named, "margin", resamples=20),
        evenhand.audit(named, ("good", "bad"), resamples=20),
        evenhand.audit(data, rewards, resamples=20),
        evenhand.audit(data, rewards[:, 0] - rewards[:, 1], resamples=20),
        evenhand.audit(data, model=by_length, name="length", resamples=20),
    ]
    assert len({r.findings.model.overall.value for r in found}) == 1
    assert [r.findings.model.model for r in found] == ["margin", "good - bad", "reward_chosen - reward_rejected", "margin", "length"]
    assert max(len(a[2]) for a in asked) <= 512
    triples = [t for a in asked for t in zip(a[1], a[2], a[3], strict=True)]
    assert len(triples) == len(set(triples))  # each asked about once
    assert set(triples[0]) <= {*data.texts, *data.users}


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.zeros(3), r"shape \(3,\).*Expected: finite numbers of shape"),
        (np.full(1200, np.nan), "not all finite"),
        (np.repeat([0, -1e60], [5, 1195]), r"over 1e\+49 in size \(the first: pair 5, counted from 0, \[-1e\+60\]\)"),
        (np.array(["a"] * 1200), "values of type"),
    ],
)
def test_arrays_that_are_no_scores(data: PreferenceData, scores: Any, said: str) -> None:
    assert len(data) == 1200
    with pytest.raises(EvenhandError, match=said):
        evenhand.audit(data, scores)


def test_a_function_that_gives_no_rewards(data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match=r"rewards of shape \(\).*Expected: \d+ finite numbers"):
        evenhand.audit(data, model=lambda prompts, responses, users: 1.0)

"""Trainings that survive: a kill anywhere and the same bits afterwards, refusals, damaged files, numbers that are none, and what is told."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from report_example import realistic
from rich.console import Console
from test_methods_contract import METHODS
from torch import Tensor, nn

from evenhand import ranks, writing
from evenhand.audits.findings import TrainingTrace
from evenhand.core import DataError, EvenhandError, Groups, Pairs, PreferenceData, Tuning
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.collaborative import CollaborativeMethod
from evenhand.report import terminal
from evenhand.report.audit import report
from evenhand.report.audit.sentences import training_sentence
from evenhand.testing import LinearTexts
from evenhand.training.checkpoint import KIND, checkpointing
from evenhand.training.loop import train_model
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.state_bytes import packed, random_state, set_random_state, unpacked
from evenhand.training.traces import Fitted
from evenhand.training.watched import Standing, watching
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.fit import identity
from evenhand.workflows.progress import Lines
from evenhand.workflows.trained import asked, how_it_goes, shown_groups

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import resumes


@pytest.fixture(scope="module")
def world() -> tuple[Pairs, Pairs]:
    return resumes.linear(users=16)


class Ended(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@dataclass
class Ending(LinearTexts):
    """Texts under which a training ends before it has encoded so many times."""

    left: int = 10**9

    def encode(self, adapter: nn.Module, rows: Tensor, *, keep: bool = False) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise Ended
        return super().encode(adapter, rows, keep=keep)


def on(texts: LinearTexts, pairs: tuple[Pairs, Pairs]) -> tuple[Pairs, Pairs]:
    train, valid = (replace(p, texts=texts) for p in pairs)
    return train, valid


def like(kind: type[LinearTexts], pairs: tuple[Pairs, Pairs], **settings: Any) -> Any:
    texts = pairs[0].texts
    assert isinstance(texts, LinearTexts)
    return kind(texts.base, texts.x, texts.tuning, **settings)


def ended(method: Any, pairs: tuple[Pairs, Pairs], folder: Path, encodes: int, seed: int = 0, **settings: Any) -> None:
    """A fit that ended after so many calls of the encoder, with a checkpoint after every step."""
    with pytest.raises(Ended), checkpointing(folder, **({"steps": 1, "say": quiet} | settings)):
        method.fit(*on(like(Ending, pairs, left=encodes), pairs), seed)


def quiet(sentence: str) -> None:
    """Nobody listens."""


def undisturbed(method: Any, pairs: tuple[Pairs, Pairs]) -> tuple[Any, int]:
    """What a whole fit gives, and how often it called the encoder before anybody looked at that."""
    texts = like(LinearTexts, pairs)
    train, valid = on(texts, pairs)
    fitted = method.fit(train, valid, 0)
    calls = len(texts.encoded)
    return in_json(fitted, valid), calls


def in_json(fitted: Fitted, valid: Pairs) -> Any:
    return json.loads(json.dumps(resumes.outcome(fitted, valid)))


@pytest.fixture(scope="module")
def whole(world: tuple[Pairs, Pairs]) -> Any:
    """What Bradley-Terry gives."""
    return undisturbed(resumes.BASE, world)[0]


# ---- going on


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("name", ["pafo", "group_dro", "vpl"])
def test_a_killed_fit_comes_out_bit_by_bit(name: str, world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    case = resumes.Case(name, resumes.METHODS[name], *world)
    case.undisturbed(tmp_path / "whole")
    assert case.calls is not None
    for kind, share in ((resumes.TRAIN, 0.7), (resumes.SAVE, 0.55)):
        here = tmp_path / kind
        here.mkdir()
        assert case.start(here, kind, int(share * case.calls[kind])) == -9
        assert list((here / "kept").glob("*.safetensors"))
        same, said = case.resumed(here)
        assert same
        assert "finished training" in said[0]


REMEMBERING = [pytest.param(resumes.METHODS[name], id=name) for name in ("faro, swap-regret", "faro", "maxmin")]  # beyond their defaults


@pytest.mark.parametrize("method", [*METHODS, *REMEMBERING])
def test_every_method_goes_on_as_it_would_have(method: Any, world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    """A method that remembers something from batch to batch has to say so (`memory` of train_model), or this tells."""
    if isinstance(method, CollaborativeMethod):
        method = replace(method, base=BradleyTerry(schedule=method.base.schedule))  # its own head is not trained by steps
    whole, calls = undisturbed(method, world)
    ended(method, world, tmp_path / "kept", int(0.8 * calls))
    with checkpointing(tmp_path / "kept", steps=2, say=quiet):
        assert in_json(method.fit(*world, 0), world[1]) == whole
    assert not (tmp_path / "kept").exists()


def test_what_was_done_is_not_done_again(world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    method = resumes.METHODS["pafo"]
    calls = undisturbed(method, world)[1]
    ended(method, world, tmp_path, calls - 4)
    texts = like(LinearTexts, world)
    with checkpointing(tmp_path, steps=1, say=quiet):
        method.fit(*on(texts, world), 0)
    assert len(texts.encoded) < 0.4 * calls  # the last of four trainings was nearly done: its rest, and the teachers' cross margins again


def test_a_training_on_a_tiny_llama_goes_on(tmp_path: Path) -> None:
    pairs = resumes.llama(tmp_path)
    method = resumes.METHODS["bradley_terry"]
    whole = in_json(method.fit(*pairs, 0), pairs[1])
    texts, encode, left = pairs[0].texts, pairs[0].texts.encode, [6]

    def ending(*asked: Any, keep: bool = False) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise Ended
        return encode(*asked, keep=keep)

    object.__setattr__(texts, "encode", ending)
    with pytest.raises(Ended), checkpointing(tmp_path / "kept", steps=1, say=quiet):
        method.fit(*pairs, 0)
    object.__setattr__(texts, "encode", encode)
    said: list[str] = []
    with checkpointing(tmp_path / "kept", steps=1, say=said.append):
        assert in_json(method.fit(*pairs, 0), pairs[1]) == whole
    assert "one that stands after step" in said[0]


def test_minutes_count_too(world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    for minutes, files in ((1e-9, 2), (60.0, 0)):
        folder = tmp_path / str(minutes)
        ended(resumes.BASE, world, folder, 6, steps=None, minutes=minutes)
        assert len(list(folder.glob("*.safetensors"))) == files  # the newest, and the one before it


def asking(number: signal.Signals, times: int, after: int = 3) -> Callable[[Standing], None]:
    """Asks this process to end so many times, in the step after `after` others."""

    def tell(standing: Standing) -> None:
        if standing.steps and standing.done == after + 1:
            for _ in range(times):
                signal.raise_signal(number)

    return tell


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_keeps_the_step_and_ends_as_ever(
    number: signal.Signals, world: tuple[Pairs, Pairs], whole: Any, tmp_path: Path
) -> None:
    def exits(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, exits)
    try:
        said: list[str] = []
        kind = KeyboardInterrupt if number == signal.SIGINT else SystemExit
        with pytest.raises(kind), checkpointing(tmp_path / "kept", say=said.append), watching(asking(number, 1)):
            resumes.BASE.fit(*world, 0)
        assert signal.getsignal(signal.SIGTERM) is exits
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ["Asked once more, it ends at once" in said[0], said[1].partition(": ")[2]] == [
        True, "the training stopped after step 4 and is kept; the same command goes on from there.",
    ]  # fmt: skip
    with checkpointing(tmp_path / "kept", say=said.append):
        assert in_json(resumes.BASE.fit(*world, 0), world[1]) == whole
    assert "one that stands after step 4" in said[2]


def test_asked_twice_or_before_its_first_step_it_ends_at_once(world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    for times, after in ((2, 3), (1, 0)):
        with pytest.raises(KeyboardInterrupt), checkpointing(tmp_path, say=quiet), watching(asking(signal.SIGINT, times, after)):
            resumes.BASE.fit(*world, 0)
        assert not list(tmp_path.iterdir())


def test_asked_while_all_agree_that_the_last_training_is_finished_it_ends(
    world: tuple[Pairs, Pairs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank waits there for the one that writes, and hears a signal only when all have agreed that nobody was asked."""
    agreed = ranks.lowest

    def late(value: int) -> int:
        found = agreed(value)
        if value == 0 and finished(tmp_path):
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(ranks, "lowest", late)
    with pytest.raises(KeyboardInterrupt), checkpointing(tmp_path, say=quiet):
        resumes.BASE.fit(*world, 0)
    assert finished(tmp_path)


def finished(folder: Path) -> bool:
    """Whether there is the checkpoint of a finished training."""
    return any(unpacked(file.read_bytes())[0]["finished"] for file in folder.glob("*.safetensors"))


# ---- refusals


@pytest.mark.parametrize("change", ["method", "pairs", "features", "schedule", "seed", "weights", "format"])
def test_a_checkpoint_of_something_else_is_refused(
    change: str, world: tuple[Pairs, Pairs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"method": "bradley_terry"}
    ended(resumes.BASE, world, tmp_path / "kept", 6, identity=asked)
    before = {p.name: p.read_bytes() for p in (tmp_path / "kept").iterdir()}
    method, pairs, seed = resumes.BASE, world, 0
    if change == "method":
        asked = {"method": "pafo"}
    elif change == "pairs":
        pairs = (world[0].take(torch.arange(len(world[0]) - 1)), world[1])
    elif change == "features":
        items = world[0].items.clone()
        items[0, 0] += 1e-6
        pairs = tuple(replace(p, history=replace(p.history, items=items)) for p in world)  # type: ignore[assignment]
    elif change == "schedule":
        method = replace(method, schedule=replace(method.schedule, dropout=0.2))
    elif change == "seed":
        seed = 1
    elif change == "weights":
        method = replace(method, head=replace(method.head, rank=2))
    else:
        monkeypatch.setattr("evenhand.training.checkpoint.FORMAT", "0")
    with (
        pytest.raises(DataError, match=rf"{change} is .*Expected: {change} .*To do: choose another folder"),
        checkpointing(tmp_path / "kept", steps=1, identity=asked, say=quiet),
    ):
        method.fit(*pairs, seed)
    assert {p.name: p.read_bytes() for p in (tmp_path / "kept").iterdir()} == before


def test_what_cannot_be_a_folder_of_checkpoints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="it is a file"), checkpointing(tmp_path / "file"):
        pass
    with pytest.raises(EvenhandError, match="steps is 0"), checkpointing(tmp_path / "new", steps=0):
        pass
    with pytest.raises(EvenhandError, match="minutes is nan"), checkpointing(tmp_path / "new", minutes=math.nan):
        pass


@pytest.mark.parametrize("name", ["pafo", "faro", "auto"])
def test_a_fit_is_the_same_in_every_process(name: str) -> None:
    rows = np.arange(2, dtype=np.int32)
    data = PreferenceData(["a"], ["b", "c"], rows * 0, rows * 0, rows, 1 - rows)
    said = identity(data, asked(name, {}, None), Encoding(None), (0, 0, 0.0, None))
    assert "0x" not in said["method"]  # an address, which the next process has not
    assert all(isinstance(value, str) for value in said.values())
    if name == "pafo":
        assert identity(data, asked(name, {"alpha": 0.3}, None), Encoding(None), (0, 0, 0.0, None))["method"] != said["method"]


def test_a_setting_that_is_another_is_told_by_its_name() -> None:
    rows = np.arange(2, dtype=np.int32)
    data = PreferenceData(["a"], ["b", "c"], rows * 0, rows * 0, rows, 1 - rows)

    def said(backbone: Backbone, seed: int = 0) -> dict[str, str]:
        return identity(data, asked("pafo", {}, None), Encoding(BackboneEncoder(backbone), trained=True), (seed, 0, 0.0, None))

    first = said(Backbone("smollm2"))
    others = said(Backbone("smollm2", rank=8, tuning=Tuning(batch_texts=64)), 1)
    assert {name: others[name] for name in first if others[name] != first[name]} == {"rank": "8", "batch_texts": "64", "seed": "1"}


# ---- damage


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda file: file.write_bytes(b"")])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(
    damage: Callable[[Path], None], world: tuple[Pairs, Pairs], whole: Any, tmp_path: Path
) -> None:
    ended(resumes.BASE, world, tmp_path / "kept", 8)
    older, newest = sorted((tmp_path / "kept").glob("*.safetensors"))
    damage(newest)
    left, said = newest.read_bytes(), []
    with checkpointing(tmp_path / "kept", steps=1, say=said.append):
        assert in_json(resumes.BASE.fit(*world, 0), world[1]) == whole
    assert "1 checkpoint is damaged" in said[0]
    assert not older.exists()  # taken away at the end
    assert newest.read_bytes() == left  # never replaced: nobody knows whose it is
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [writing.LIST, newest.name]


def test_without_a_good_one_it_begins_anew(world: tuple[Pairs, Pairs], whole: Any, tmp_path: Path) -> None:
    ended(resumes.BASE, world, tmp_path, 8)
    for file in tmp_path.glob("*.safetensors"):
        cut(file)
    said: list[str] = []
    with checkpointing(tmp_path, steps=1, say=said.append):
        assert in_json(resumes.BASE.fit(*world, 0), world[1]) == whole
    assert len(said) == 1
    assert "2 checkpoints are damaged" in said[0]


def test_files_of_the_user_are_left_alone(world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    mine = {"000001.safetensors": b"mine", "notes.txt": b"mine, too"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    with checkpointing(tmp_path, steps=2, say=quiet):
        resumes.BASE.fit(*world, 0)
    assert {name: (tmp_path / name).read_bytes() for name in mine} == mine
    assert {p.name for p in tmp_path.iterdir()} - {writing.LIST} == set(mine)


def test_a_disk_that_is_full_ends_no_training(world: tuple[Pairs, Pairs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise DataError("it cannot be written (No space left on device)", expected="room", remedy="make room")

    monkeypatch.setattr(writing, "write", full)
    said: list[str] = []
    with checkpointing(tmp_path, steps=4, say=said.append):
        fitted = resumes.BASE.fit(*world, 0)
    assert fitted.trace.step_loss
    assert said
    assert all("No space left" in sentence and "Training goes on" in sentence for sentence in said)


# ---- bytes


def test_a_state_comes_back_as_it_was() -> None:
    state = {
        "a": torch.tensor([1.5, math.nan, -math.inf]), "b": {"c/d": torch.tensor(True), "e": {}}, "f": [0.1, math.inf], "g": "text",
        "h": torch.zeros(0, 3), "i": torch.tensor(7), "j": None, "k": torch.arange(6).view(2, 3).T,
    }  # fmt: skip
    said, back = unpacked(packed({"steps": 3}, state))
    assert said == {"steps": 3}
    assert back.keys() == state.keys()
    assert torch.equal(back["a"], state["a"]) or torch.equal(back["a"].isnan(), state["a"].isnan())  # type: ignore[attr-defined]
    assert back["b"]["c/d"].item() is True
    assert back["b"]["e"] == {}
    assert (back["f"], back["g"], back["j"], back["h"].shape, back["i"].shape) == ([0.1, math.inf], "text", None, (0, 3), ())
    assert torch.equal(back["k"], state["k"])  # type: ignore[arg-type]


def test_the_global_generators_come_back_as_they_were() -> None:
    import random

    def draws() -> list[float]:
        return [float(torch.rand(1)), random.random(), float(np.random.rand()), float(np.random.standard_normal())]

    np.random.standard_normal()  # of two that are drawn together one is kept for later
    state = unpacked(packed({}, random_state()))[1]
    first = draws()
    set_random_state(state)
    assert draws() == first


def test_files_are_private_and_ours(world: tuple[Pairs, Pairs], tmp_path: Path) -> None:
    ended(resumes.BASE, world, tmp_path, 6)
    for file in tmp_path.glob("*.safetensors"):
        writing.check(tmp_path, [file.name], KIND)
        assert os.name == "nt" or file.stat().st_mode & 0o077 == 0


# ---- numbers that are none


@dataclass
class Failing(LinearTexts):
    """Texts that fail once, at a step counted from 0 that comes right after another one: features that are no numbers, or their gradient."""

    at: int = 0
    how: str = "features"
    step: int = 0
    failed: bool = False

    def encode(self, adapter: nn.Module, rows: Tensor, *, keep: bool = False) -> Tensor:
        features = super().encode(adapter, rows, keep=keep)
        return self.spoilt("features", features)

    def backward(self, adapter: nn.Module, rows: Tensor, gradient: Tensor) -> None:
        super().backward(adapter, rows, self.spoilt("gradient", gradient))
        self.step += 1

    def spoilt(self, what: str, values: Tensor) -> Tensor:
        now = self.how == what and self.step == self.at and bool(self.encoded) and not self.failed
        self.failed |= now
        return values * math.nan if now else values


@pytest.mark.parametrize("how", ["features", "loss", "gradient"])
@pytest.mark.parametrize("at", [0, 6])
def test_a_number_that_is_none_stops_with_the_last_good_one(how: str, at: int, world: tuple[Pairs, Pairs]) -> None:
    texts = like(Failing, world, at=at, how=how)
    train, valid = on(texts, world)
    fitted = train_model(
        resumes.BASE.untrained(train, 0), train, lambda m, rows: texts.spoilt("loss", bt(m)), valid, 0, resumes.BASE.schedule
    )
    whole = resumes.BASE.fit(*world, 0)
    trace = fitted.trace
    assert trace.stopped_step == at + 1
    assert trace.stopped_by == how
    assert 1 <= trace.stopped_batch <= at + 1
    assert f"stopped at step {at + 1} (batch {trace.stopped_batch} of its pass), where the {how}" in trace.stopped
    rounds = trace.tuned_from + at // 4
    assert trace.valid_loss == whole.trace.valid_loss[:rounds]
    assert trace.step_loss == whole.trace.step_loss[:at]
    assert len(trace.valid_loss) == rounds
    held = mean_over_users(bt(margins(fitted.scorer, valid)), valid)
    assert float(held) == pytest.approx(min(trace.valid_loss), abs=1e-6)
    assert all(bool(p.isfinite().all()) for p in fitted.scorer.parameters())  # type: ignore[attr-defined]
    assert whole.trace.stopped == ""


def test_the_other_trainings_of_a_method_go_on(world: tuple[Pairs, Pairs]) -> None:
    told: list[Standing] = []
    with watching(told.append):
        fitted = resumes.METHODS["pafo"].fit(*on(like(Failing, world, at=3), world), 0)
    ends = [at.done for at in told if at.steps]
    assert ends[:5] == [0, 1, 2, 3, 11]  # whoever watches need not wait for the rest
    stopped = [part.trace.stopped_step for part in fitted.parts.values()]
    assert stopped[0] == 4
    assert not any(stopped[1:])
    assert torch.isfinite(margins(fitted.scorer, world[1])).all()


def test_the_report_says_so() -> None:
    stopped = TrainingTrace("PAFO", 0, (0.7, 0.6, 0.5), (0.7, 0.65, 0.66), 2, 1.0, 100.0, stopped="Training on texts stopped at step 7.")
    assert training_sentence([stopped]).endswith("; PAFO, seed 0: training on texts stopped at step 7.")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*terminal.lines(report(replace(realistic(), training=(stopped,))).page), sep="\n")
    assert "PAFO, seed 0: training on texts stopped at step 7." in console.export_text()


# ---- what is told


def test_steps_are_traced_and_told(world: tuple[Pairs, Pairs]) -> None:
    told: list[Standing] = []
    with watching(told.append):
        trace = resumes.BASE.fit(*world, 0).trace
    steps = [at for at in told if at.steps]
    assert [at.done for at in steps] == [*range(12), 11]
    assert {at.most for at in steps} == {11}
    assert [at.loss for at in steps[1:-1]] == trace.step_loss
    assert all(at.texts_per_second > 0 and at.seconds_left >= 0 for at in steps[1:-1])
    assert len(trace.step_lr) == len(trace.texts_per_second) == 11
    assert max(trace.step_lr) == world[0].texts.tuning.lr  # type: ignore[union-attr]
    assert trace.step_lr[-1] == pytest.approx(0.05 * (1 + math.cos(math.pi * 9 / 10)) / 2)  # 1 step of warm-up, then half a cosine over 10
    last = {int(g): steps[-1].valid[int(g)] for g in world[1].group.unique()}
    users = {int(g): len(world[1].of(int(g)).user.unique()) for g in world[1].group.unique()}
    assert sum(last[g] * users[g] for g in users) / sum(users.values()) == pytest.approx(trace.valid_loss[-1], abs=1e-6)
    assert steps[0].valid.keys() == users.keys()


def test_a_line_says_how_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(clock=lambda: now[0])
    for done in range(5):
        lines("step", done, 10, "loss 0.512")
        now[0] += 20
    assert capsys.readouterr().err.splitlines() == [
        "step 2 of 10 after 40 s, at most 3 min left: loss 0.512",
        "step 4 of 10 after 80 s, at most 2 min left: loss 0.512",
    ]


def test_how_it_goes_names_no_group_of_a_few() -> None:
    groups = Groups(("many", "few"), np.array([0] * 20 + [1] * 9 + [-1] * 10, dtype=np.int16), "by hand")
    at = Standing(3, 10, True, 0.5123, 33.6, 12.0, {0: 0.53, 1: 0.61, -1: 0.4})
    assert how_it_goes(at, shown_groups(groups)) == "loss 0.512, validation loss: users in no group 0.400, many 0.530; 34 texts a second"
    assert how_it_goes(Standing(0, 10, True), {}) == ""

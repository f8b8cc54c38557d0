"""Ranks: on any number of processes the same losses, models and reports; sharded weights; who writes, who prints, and what ends them.

Real processes on gloo: those of rank_worlds.py, forked for all tests at once, and new ones that torchrun itself starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_worlds
import torch
from forked import forked
from rank_worlds import KILLS, METHODS, ON_TWO, arguments
from safetensors.numpy import load_file

from evenhand import compare, ranks, sweep
from evenhand.cli import main
from evenhand.core import EvenhandError
from evenhand.encode.backbone import Backbone, device

pytestmark = pytest.mark.lm

WAYS = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the worlds left; they are run once, however many processes test."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    root, finished = shared / "worlds", shared / "worlds.finished"
    with (shared / "worlds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            root.mkdir(exist_ok=True)
            rank_worlds.ready(root)
            code = apart(shared / "worlds", lambda: rank_worlds.main(root))
            told = (shared / "worlds.err").read_text()
            assert code == 0, told
            assert "Traceback" not in told, told
            finished.touch()
    return root


def apart(place: Path, work: Callable[[], object]) -> int:
    """How a copy of this process that does it ends; what it and its own processes print is in PLACE.out and PLACE.err."""

    def logged() -> None:
        signal.alarm(900)
        os.environ.update(WAYS)
        sys.stdout, sys.stderr = (place.with_suffix(kind).open("w", buffering=1) for kind in (".out", ".err"))
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            os.dup2(stream.fileno(), number)
        work()

    return forked(logged)


def found(folder: Path, job: str, count: int) -> Iterator[dict[str, Any]]:
    """What each rank ended with."""
    for number in range(count):
        yield dict(np.load(folder / f"{job}-{count}-{number}.npz"))


@pytest.mark.parametrize(("method", "count"), [(m, n) for m in METHODS for n in (2, 4) if n == 4 or m in ON_TWO])
def test_one_rank_or_several_train_the_same_model(folder: Path, method: str, count: int) -> None:
    (alone,) = found(folder, "methods", 1)
    parts = [name for name in alone if name.startswith(f"{method}| ") and name != f"{method}| sums"]
    assert len(alone[f"{method}| valid"]) > alone[f"{method}| tuned_from"]  # the adapter has trained
    first, *others = found(folder, "methods", count)
    for part in parts:
        assert np.allclose(first[part], alone[part], rtol=0, atol=1e-6), part
        for other in others:
            assert np.array_equal(other[part], first[part]), part  # bit for bit, heads and adapters too


def test_what_is_compared_is_all_that_a_method_trains_and_finds(folder: Path) -> None:
    """Two teachers that differ, their student, groups' losses and multipliers that have moved: or the test above would show little."""
    (alone,) = found(folder, "methods", 1)
    for method in ("pafo", "faro eo, distilled"):
        teachers = [alone[f"{method}| {'pooled: ' * (method != 'pafo')}teacher {g}: weights"] for g in (0, 1)]
        assert np.abs(teachers[0] - teachers[1]).max() > 0.005
    assert len(alone["pafo| guard"]) == 1 + 3 * 3  # kept or not; of all users and both groups the change, its error, what is told of it
    for method, constraints in (("faro dp", 2), ("faro eo, distilled", 4)):
        multipliers = alone[f"{method}| multipliers"]
        assert multipliers.shape[1] == constraints
        assert np.ptp(multipliers, 0).max() > 0.001
        assert alone[f"{method}| violations"].max() > 0.02


def test_a_sharded_base_gives_the_same_and_each_rank_holds_its_part(folder: Path) -> None:
    (alone,) = found(folder, "sharded", 1)
    assert alone["held"] == alone["whole"] > 10_000
    for rank in found(folder, "sharded", 2):
        for part in ("train", "valid", "head", "weights", "margins", "gradient False", "gradient True"):
            assert np.allclose(rank[part], alone[part], rtol=0, atol=1e-6), part
        assert rank["whole"] == alone["whole"]
        assert 0.45 < rank["held"] / rank["whole"] < 0.55
    assert np.abs(alone["gradient True"]).max() > 0.01


def test_one_rank_that_runs_out_of_memory_changes_nothing_and_all_plan_alike(folder: Path) -> None:
    (alone,) = found(folder, "short_of_memory", 1)
    both = list(found(folder, "short_of_memory", 2))
    assert alone["chunk_tokens"] == 100
    assert both[0]["chunk_tokens"] == both[1]["chunk_tokens"] <= 40
    for rank in both:
        assert np.allclose(rank["vectors"], alone["vectors"], atol=1e-5)
        assert np.allclose(rank["gradient"], alone["gradient"], atol=1e-4)


def test_the_first_rank_alone_writes_and_all_read_what_it_found(folder: Path) -> None:
    for rank in found(folder, "files", 2):
        assert rank["vectors"][:, 0].tolist() == list(range(90))
        assert not rank["vectors"][:, 1].any()  # as the first rank encoded them
        assert rank["asked"] == 50  # the others lay in the first rank's cache
    assert (folder / "out-0" / "a.txt").exists()
    assert (folder / "cache-0").exists()
    assert not (folder / "out-1").exists()
    assert not (folder / "cache-1").exists()


def test_all_ranks_end_after_the_step_in_which_one_is_asked_to(folder: Path) -> None:
    first, second = found(folder, "asked_to_end", 2)
    for rank in (first, second):
        assert rank["ends"].tolist() == [True, False]
        assert rank["same"].all()
        assert "one that stands after step 3" in str(rank["said"])
    assert "stopped after step 3 and is kept" in str(first["said"])
    assert "Asked to end" in str(second["said"])


def test_ranks_with_other_data_or_settings_are_told_apart(folder: Path) -> None:
    for rank in found(folder, "told_apart", 4):
        assert "have not the same seed" in str(rank["said"])
        assert "To do: " in str(rank["said"])


def test_a_rank_that_fails_says_why_and_the_others_do_not_wait(folder: Path) -> None:
    said = [(folder / f"failed-{number}").read_text() for number in (0, 1)]
    assert "2 processes work together" in said[0]
    assert "Another of 2 processes has ended" in said[0]
    assert "choices.jsonl" in said[1]
    assert "work together" not in said[1]
    assert [text.splitlines()[-1] for text in said] == ["exit code 2"] * 2
    assert not (folder / "unfinished" / "report.json").exists()


@pytest.mark.parametrize("point", range(len(KILLS)))
def test_a_killed_rank_costs_nothing_and_any_number_goes_on(folder: Path, point: int) -> None:
    """SIGKILL of one of two ranks; two, four and one of them go on, and give what nobody disturbed gives."""
    killed, _, count = KILLS[point]
    assert not (folder / f"killed-{point}-2-{killed}.npz").exists()
    left = dict(np.load(folder / f"killed-{point}-2-{1 - killed}.npz"))
    assert "Another of 2 processes has ended" in str(left["said"])
    assert "run the same command again" in str(left["said"])
    undisturbed = next(found(folder, "methods", count))
    for number, rank in enumerate(found(folder, f"resumed-{point}", count)):
        said = str(rank.pop("said"))
        assert "one that stands after step" in said or "finished training" in said
        assert ("as 2 processes left them" in said) == (count != 2)
        for part, value in rank.items():
            assert np.array_equal(value, undisturbed[f"pafo| {part}"]), (number, part)
    assert not (folder / f"kept-{point}").exists()


def test_ranks_that_torchrun_starts_again_find_each_other(folder: Path) -> None:
    """Its store still has the addresses of those that were killed."""
    (launched,) = found(folder, "restarted", 1)
    assert launched["sums"].tolist() == [3, 3]


def test_ranks_that_find_other_checkpoints_do_not_go_on(folder: Path) -> None:
    for rank in found(folder, "apart", 2):
        assert "have not the same checkpoints" in str(rank["said"])
        assert "a folder to write to that all machines share" in str(rank["said"])


def test_torchrun_goes_on_as_one_process_does(folder: Path) -> None:
    """The command line of the docs, on one process, and on two of torchrun that go on from where others were killed in the middle of a file:
    the same report and the same model, written and printed once."""
    assert (folder / "killed-0").read_text() == "2 processes work together\n"
    assert list((folder / "fit-2" / "checkpoint").glob("*.evenhand-part"))
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "evenhand", *arguments(folder, folder / "fit-2")]

    def agent() -> None:
        """`python -m torch.distributed.run`, which starts both processes as the shell starts evenhand."""
        sys.argv = torchrun
        runpy.run_module("torch.distributed.run", run_name="__main__", alter_sys=True)

    failed = apart(folder / "torchrun", agent)
    printed, told = ((folder / f"torchrun.{kind}").read_text() for kind in ("out", "err"))
    code = int(re.findall(r"exitcode\s*: (\d+)", told)[0]) if failed else 0
    alone = (folder / "said-1-0").read_text()
    assert alone.splitlines()[-1] == f"exit code {code}", told
    assert code in (0, 1, 3)
    assert told.count("2 processes work together") == 1
    assert printed.count("going on from") == 1
    assert printed.count("report: ") == 1
    places = [folder / "fit-1", folder / "fit-2"]
    reports = [json.loads((place / "report.json").read_text()) for place in places]
    for report in reports:
        del report["command"], report["facts"]["date"]
        for trace in report["training"]:
            del trace["seconds"], trace["pairs_per_second"]
    one, two = (dict(leaves(report)) for report in reports)
    assert one.keys() == two.keys()
    assert len(one) > 1000
    for place, value in one.items():
        assert two[place] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), place
    models = [load_file(next((place / "model").glob("*.safetensors"))) for place in places]
    assert any(name.startswith("adapter.") for name in models[0])
    for name, array in models[0].items():
        assert np.allclose(array, models[1][name], rtol=0, atol=1e-6), name


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield place, value
        return
    for name, part in inside:
        yield from leaves(part, f"{place}/{name}")


# One process


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of torchrun's first process of two."""
    values = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_without_torchrun_one_process_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ranks.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # some machines set it for their own ends
    with ranks.together():
        assert (ranks.count(), ranks.number(), ranks.first()) == (1, 0, True)
        assert torch.equal(ranks.add(torch.ones(2)), torch.ones(2))
        ranks.wait()
    assert not torch.distributed.is_initialized()


def test_fewer_processes_than_torchrun_said_are_refused(said: pytest.MonkeyPatch) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(EvenhandError, match=r"1 processes work together\. Expected: 2"), ranks.together():
            pass
    finally:
        torch.distributed.destroy_process_group()
    assert ranks.count() == 1


@pytest.mark.parametrize(("name", "value"), [("RANK", "2"), ("RANK", "-1"), ("WORLD_SIZE", "many"), ("LOCAL_WORLD_SIZE", "3")])
def test_an_environment_without_sense_is_refused(said: pytest.MonkeyPatch, name: str, value: str) -> None:
    said.setenv(name, value)
    with pytest.raises(EvenhandError, match=rf"{name}={value}.*Expected: .*To do: "), ranks.together():
        pass


def test_verbs_with_processes_of_their_own_are_refused(said: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="run compare without torchrun"):
        compare(tmp_path / "none.jsonl", ["lore"], out=tmp_path)
    with pytest.raises(EvenhandError, match="run sweep without torchrun"):
        sweep(tmp_path / "none.jsonl", {"alpha": [0.1]}, out=tmp_path)


def test_every_rank_has_a_device_of_its_own(said: pytest.MonkeyPatch) -> None:
    said.setattr(torch.cuda, "is_available", lambda: True)
    said.setattr(torch.cuda, "device_count", lambda: 2)
    said.setattr(ranks, "count", lambda: 2)
    said.setenv("LOCAL_RANK", "1")
    assert (device(None), device("cuda"), device("cpu")) == ("cuda:1", "cuda:1", "cpu")
    with pytest.raises(EvenhandError, match="a GPU for each process"):
        device("cuda:0")
    said.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(EvenhandError, match=r"has 1 GPUs.*or give cpu"):
        device(None)


def test_what_cannot_be_sharded_is_refused(folder: Path) -> None:
    with pytest.raises(EvenhandError, match=r"rank 0.*Expected: LoRA"):
        Backbone("smollm2", rank=0, sharded=True)
    (alone,) = found(folder, "sharded", 1)
    assert "there is one process" in str(alone["refused"])
    assert "To do: start with torchrun" in str(alone["refused"])


@pytest.mark.parametrize(("restarts", "code"), [("0", 3), ("3", 0)])
def test_a_verdict_starts_nothing_again(
    said: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], restarts: str, code: int
) -> None:
    """torchrun --max-restarts takes every code but 0 for a failure; an error of the user's stays one."""
    said.setenv("WORLD_SIZE", "1")
    said.setenv("LOCAL_WORLD_SIZE", "1")
    said.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
    rows = [{"user": f"u{n % 5}", "prompt": f"p{n}", "chosen": "a", "rejected": "b", "score": n % 3 - 1} for n in range(20)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for column, expected in (("score", code), ("none", 2)):
        said.setattr(sys, "argv", ["evenhand", "audit", str(tmp_path / "pairs.jsonl"), "--scores", column, "--out", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as leaving:
            main()
        assert leaving.value.code == expected
    assert ("exit code 0 and not 3" in capsys.readouterr().err) == (code == 0)

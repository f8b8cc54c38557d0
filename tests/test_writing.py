"""Files in users' folders: nothing of theirs is lost, and whatever step a save ends at, the old or the new is whole and the same call completes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import report_example
import torch

import evenhand.cli
from evenhand.core import DataError
from evenhand.models.low_rank import LowRank
from evenhand.report.audit import AUDIT
from evenhand.report.audit import report as made
from evenhand.serve.saved import SavedModel, load_model, save_model
from evenhand.workflows import fit as jobs_fit
from evenhand.writing import LIST, alone, check, nothing_left, part, settled, write

OLD, NEW = {"a.csv": b"1", "b.csv": b"old", "gone.csv": b"2"}, {"a.csv": b"1", "b.csv": b"new" * 10_000, "c.csv": b"3"}
NAMES = tuple(OLD | NEW)

FILES, KIND = AUDIT.files, AUDIT.name


class Killed(BaseException):
    """Nothing more happens on the disk: no step after it is made, tidying up included."""


class Steps:
    """Ends a call at one of its file-system steps: before it, or in the middle of it (half of the bytes written)."""

    WATCHED = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "fcntl.flock"})

    def __init__(self) -> None:
        self.folder, self.left, self.end = "", -1, lambda: None
        sys.addaudithook(self.hook)  # cannot be taken away again, so one serves all tests

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder and event in self.WATCHED and (event == "fcntl.flock" or str(arguments[0]).startswith(self.folder)):
            self.step()

    def step(self, handle: int | None = None) -> None:
        self.left -= 1
        if self.left < 0 and self.end is dead:
            dead()
        if self.left == 0:
            if handle is not None:
                os.truncate(handle, os.fstat(handle).st_size // 2)
            if self.end is not dead:
                self.folder = ""
            self.end()

    def synced(self, handle: int) -> None:
        """Stands in for os.fsync: the step at which bytes reach the disk, all or half of them."""
        if self.folder:
            self.step(handle if os.path.isfile(f"/proc/self/fd/{handle}") else None)

    def ended_at(self, number: int, folder: Path, end: Callable[[], None], call: Callable[[], object]) -> bool:
        """Whether `call` has so many steps. What `end` raises is swallowed."""
        self.folder, self.left, self.end = str(folder), number, end
        os.fsync = self.synced
        try:
            call()
        except (DataError, KeyboardInterrupt, Killed):
            pass
        finally:
            reached, self.folder, os.fsync = self.left <= 0, "", no_sync
        return reached


STEPS = Steps()


def no_sync(handle: int) -> None:
    """A disk that is synced takes most of the time here, and no test cuts the power."""


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_sync)


def full() -> None:
    raise OSError(28, "No space left on device")


def interrupted() -> None:
    raise KeyboardInterrupt


def dead() -> None:
    raise Killed


def killed(number: int, folder: Path, call: Callable[[], object]) -> bool:
    """As `ended_at`, in a process of its own that ends at once, with nothing tidied up."""
    child = os.fork()
    if child == 0:
        os._exit(0 if not STEPS.ended_at(number, folder, lambda: os._exit(9), call) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def each_step(folder: Path, call: Callable[[], object], before: Callable[[], None], after: Callable[[str], None]) -> int:
    """End `call` in each way at each of its steps, on a folder that `before` made; how many steps there are."""
    ways: dict[str, Callable[[int], bool]] = {
        "full": lambda n: STEPS.ended_at(n, folder, full, call),
        "interrupted": lambda n: STEPS.ended_at(n, folder, interrupted, call),
        "dead": lambda n: STEPS.ended_at(n, folder, dead, call),
        "killed": lambda n: killed(1 + 4 * n, folder, call),  # a process takes longer to make: every fourth step
    }
    steps: list[int] = []
    for way, ended in ways.items():
        number = 1
        while True:
            before()
            if not ended(number):
                break
            after(f"{way} at step {number}")
            number += 1
        steps.append(number - 1)
    return steps[0]


def emptied(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("old", [{}, OLD], ids=["first", "over an older one"])
def test_a_report_ended_at_every_step(old: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def before() -> None:
        emptied(folder)
        (folder / "mine.txt").write_text("mine")
        if old:
            write(folder, old, "set", NAMES)

    def call() -> None:
        write(folder, NEW, "set", NAMES)

    before()
    call()
    expected = content(folder)
    assert {n: b for n, b in expected.items() if n not in (LIST, "mine.txt")} == NEW

    def after(way: str) -> None:
        found = content(folder)
        for name in NAMES:
            assert found.get(name) in (old.get(name), NEW.get(name)), way
        assert found["mine.txt"] == b"mine"
        check(folder, NAMES, "set")
        call()
        assert content(folder) == expected, way

    assert each_step(folder, call, before, after) > 25


def saved(seed: int) -> SavedModel:
    head = LowRank(2)
    torch.manual_seed(seed)
    return SavedModel(
        head, 4, head.build(4, seed), ({}, {"recipe": {"dim": 4}, "tfidf": None}), {"kind": "none", "with_prompt": False}, {"seed": seed}
    )


@pytest.mark.parametrize("old", [False, True], ids=["first", "over an older one"])
def test_a_model_ended_at_every_step(old: bool, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def before() -> None:
        emptied(folder)
        if old:
            save_model(folder / "model", saved(0))

    def call() -> None:
        save_model(folder / "model", saved(1))

    before()
    call()
    expected = content(folder)
    assert set(expected) == {"model/model.json", "model/model.safetensors"}

    def after(way: str) -> None:
        if old or (folder / "model" / "model.json").exists():
            model = load_model(folder / "model")
            seed = model.facts["seed"]
            assert seed in ([0, 1] if old else [1]), way
            assert torch.equal(model.scorer.V, saved(seed).scorer.V), way
        call()
        assert content(folder) == expected, way

    assert each_step(folder, call, before, after) > 10


def test_a_save_ended_twice_still_has_a_model(tmp_path: Path) -> None:
    """A kill between the last two steps, and then one at each step of the next save."""
    folder = tmp_path / "out"
    save_model(folder / "model", saved(0))
    number = 1
    while not ((folder / "model" / ".model.safetensors.evenhand-part").exists() and load_model(folder / "model").facts["seed"] == 1):
        assert STEPS.ended_at(number, folder, dead, lambda: save_model(folder / "model", saved(1)))
        number += 1
    between = content(folder)
    assert set(between) == {"model/model.json", "model/model.safetensors", "model/.model.safetensors.evenhand-part"}

    def before() -> None:
        emptied(folder)
        (folder / "model").mkdir()
        for name, data in between.items():
            (folder / name).write_bytes(data)

    def after(way: str) -> None:
        assert load_model(folder / "model").facts["seed"] in (1, 2), way

    assert each_step(folder, lambda: save_model(folder / "model", saved(2)), before, after) > 10


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_the_user_is_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    for act in (lambda: check(tmp_path, FILES, KIND), lambda: write(tmp_path, dict.fromkeys(FILES, b"x"), KIND)):
        with pytest.raises(DataError, match="not evenhand's"):
            act()
    assert content(tmp_path) == {name: b"mine"}


def test_what_else_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1"}, "one")
    write(tmp_path, {"a": b"2"}, "one")
    with pytest.raises(DataError, match="of another kind \\(one\\)"):
        write(tmp_path, {"a": b"3"}, "two")
    (tmp_path / "a").write_bytes(b"2 and my notes")
    with pytest.raises(DataError, match="changed after evenhand wrote it"):
        write(tmp_path, {"a": b"3"}, "one")
    (tmp_path / "a").unlink()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "precious")
    for name in ("a", LIST, "precious"):
        with pytest.raises(DataError, match="would be lost"):
            write(tmp_path, {name: b"3"}, "one")
    (tmp_path / "a").unlink()
    part(tmp_path / "a").symlink_to(tmp_path / "precious")
    write(tmp_path, {"a": b"3"}, "one")
    assert (tmp_path / "precious").read_text() == "mine"
    (tmp_path / LIST).write_text("[1]")
    with pytest.raises(DataError, match="damaged"):
        write(tmp_path, {"a": b"4"}, "one")
    assert (tmp_path / "a").read_bytes() == b"3"


def test_reports_keep_apart_and_take_their_own_leavings_away(tmp_path: Path) -> None:
    made(report_example.realistic()).save(tmp_path)
    listed = json.loads((tmp_path / LIST).read_text())["files"]
    assert set(listed) == {*FILES} - {"constraints.csv", "multipliers.csv"}
    write(tmp_path, {"scores.csv": b"pair"}, "scores")
    (tmp_path / "mine.csv").write_text("mine")
    write(tmp_path, {"report.html": b"page"}, KIND, FILES)
    assert set(content(tmp_path)) == {"report.html", "scores.csv", "mine.csv", LIST}


def test_two_processes_write_one_after_the_other(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from evenhand.writing import write\n"
    code += "for i in range(30): write(Path(sys.argv[1]), {'a': sys.argv[2].encode() * 50_000, 'b': sys.argv[2].encode()}, 'set')"
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, letter]) for letter in "xy"]
    assert [p.wait(60) for p in running] == [0, 0]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() * 50_000
    assert set(content(tmp_path)) == {"a", "b", LIST}


ROW = {"user": "u", "prompt": "p", "chosen": "a", "rejected": "b", "reward": 1.0, "group": "g", "event": 0}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("audit {0} --scores reward --out .", "users.csv"),
        ("audit {0} --scores reward --out .", "junit.xml"),
        ("score nowhere {0} --out {0}", "pairs.jsonl"),
        ("score nowhere pairs.jsonl --history {0} --out {0}", "history.jsonl"),
        ("demo --out .", "sample.jsonl"),
        ("check pairs.jsonl --bad-rows {0}", "notes.csv"),
        ("check {0} --bad-rows {0}", "pairs.jsonl"),
        ("fit pairs.jsonl --out .", "training.csv"),
        ("fit pairs.jsonl --out .", "model/model.safetensors"),
        ("fit pairs.jsonl --out .", "model"),
        ("compare pairs.jsonl --out .", "results.csv"),
        ("compare pairs.jsonl --encoder none --methods lore --out .", "trials"),
        ("sweep pairs.jsonl --over alpha=0,1 --out .", "violations.csv"),
        ("transfer {0} --out .", "report.json"),
        ("certify nowhere pairs.jsonl --gamma 0.1 --out .", "certificate.md"),
    ],
)
def test_no_verb_replaces_what_it_did_not_write(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    text = "user,prompt,chosen,rejected,reward\nu,p,a,b,1\n" if name.endswith(".csv") else json.dumps(ROW) + "\n"
    for file in (name, "pairs.jsonl"):
        Path(file).write_text(text if file == name else json.dumps(ROW) + "\n")
    before = content(tmp_path)
    assert run(monkeypatch, *command.format(name).split()) == 2
    assert content(tmp_path) == before
    told = capsys.readouterr().err
    assert Path(name).name in told
    assert "File exists" in told if name == "trials" else "lost" in told or "would replace the data" in told or "not a saved model" in told


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """evenhand's own entry point in this process → exit code."""
    monkeypatch.setattr(sys, "argv", ["evenhand", *arguments])
    with pytest.raises(SystemExit) as leaving:
        evenhand.cli.main()
    return int(leaving.value.code or 0)


@pytest.mark.parametrize("option", ["--bad-rows", "--assignments"])
@pytest.mark.parametrize(
    ("verb", "file"),
    [
        ("audit --scores x", "audit/users.csv"),
        ("compare --methods lore", "compare/report.md"),
        ("fit", "out/report.json"),
        ("fit", "out/model"),
        ("fit", "out/model/who.csv"),
        ("fit", "out/model/deep/who.csv"),
    ],
)
def test_lists_do_not_take_the_place_of_report_or_model(
    option: str, verb: str, file: str, sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Said before the work: found out after it, the report, or the trained model itself, would be lost."""
    monkeypatch.chdir(tmp_path)
    name, *more = verb.split()
    assert run(monkeypatch, name, str(sample_table), *more, option, file) == 2
    assert f"choose another {option}" in capsys.readouterr().err
    assert content(tmp_path) == {}


@pytest.mark.parametrize(("ends", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError(), 70), (OSError(28, "No space left"), 2)])
def test_whatever_happens_after_training_the_model_is_kept(
    ends: BaseException, code: int, sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("fit", str(sample_table), "--method", "bradley_terry", "--set", "max_epochs=1", "--encoder", "none")
    with monkeypatch.context() as broken:
        broken.setattr(jobs_fit, "_report", Mock(side_effect=ends))
        assert run(broken, *command) == code
    first = content(tmp_path / "out")
    assert set(first) == {"model/model.json", "model/model.safetensors"}
    if code == 130:
        assert run(monkeypatch, *command) in (0, 1, 3)
        whole = content(tmp_path / "out")
        assert set(whole) > {"report.html", "report.json", "junit.xml", "groups.csv", "training.csv"}
        assert first.items() <= whole.items()


@pytest.mark.parametrize("place", ["old", "old/new/deep", "link/new", "new/../old/deep", "old/../link"])
def test_what_fails_takes_no_folder_away_that_was_there(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one that is reached through one to come, or through a link, is not new."""
    monkeypatch.chdir(tmp_path)
    for name in ("old", "linked"):
        Path(name).mkdir()
    Path("link").symlink_to("linked")

    def begun() -> None:
        Path(place).mkdir(parents=True, exist_ok=True)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), nothing_left(Path(place)):
        begun()
    assert {p.name for p in tmp_path.iterdir()} - {"new"} == {"old", "linked", "link"}
    assert [*Path("old").iterdir(), *Path("linked").iterdir()] == []


def test_a_run_that_fails_takes_no_folder_away_that_another_is_about_to_write_to(tmp_path: Path) -> None:
    """Both began while it was not there; the other has it, and nothing lies in it yet."""
    shared = tmp_path / "shared"

    def begun() -> None:
        other.enter_context(alone(shared))
        raise ZeroDivisionError

    with ExitStack() as other:
        with pytest.raises(ZeroDivisionError), nothing_left(shared / "mine"):
            begun()
        (shared / "theirs.txt").write_text("whole")
    assert (shared / "theirs.txt").read_text() == "whole"
    with pytest.raises(ZeroDivisionError), nothing_left(tmp_path / "new" / "deep"), alone(tmp_path / "new" / "deep"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()  # whoever had it is gone


@pytest.mark.parametrize("taken", ["before it is opened", "before it is locked"])
def test_a_folder_that_is_taken_away_while_it_is_entered_is_made_again(taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failing run comes in between, once: after the folder was made, or after it was opened."""
    folder, real, times = tmp_path / "shared" / "deep", os.open, iter([True])

    def opened(path: Any, *more: Any, **named: Any) -> int:
        if Path(path) != folder or not next(times, False):
            return real(path, *more, **named)
        handle = real(path, *more, **named) if taken == "before it is locked" else None
        folder.rmdir()
        folder.parent.rmdir()
        return real(path, *more, **named) if handle is None else handle

    monkeypatch.setattr(os, "open", opened)
    write(folder, {"a.txt": b"a"}, "kind")
    assert (folder / "a.txt").read_bytes() == b"a"
    assert next(times, None) is None  # it did come in between


def test_what_nobody_can_make_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    tries: list[int] = []

    def begin() -> None:
        tries.append(1)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        settled(tmp_path / "new", begin)
    assert 1 < len(tries) < 1000

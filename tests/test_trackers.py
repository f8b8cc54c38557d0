"""Trackers: one fit told to MLflow, TensorBoard and W&B at once, read back with what each of them reads; nothing of a person in what they wrote."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_text_align import Certain, grid, texts
from tiny_models import tiny_llama

import evenhand
from evenhand.core import DataError, EvenhandError
from evenhand.training.watched import Standing
from evenhand.workflows.align import align
from evenhand.workflows.compare import compare
from evenhand.workflows.fit import fit
from evenhand.workflows.tracking import Tracker, Tracking, tracker_of, tracking

SECRET_USER, SECRET_TEXT = "Zaphod-7", "my diary says xyzzy"
GROUPS = {"minority": "a/../b?", "majority": "a/../b!"}  # equal once MLflow has replaced what it refuses
PLAIN = "one reward for all (Bradley-Terry, linear)"
STUB = "MLFLOW_DISABLE_TELEMETRY", "WANDB_ERROR_REPORTING", "MLFLOW_ALLOW_FILE_STORE"


@dataclass
class Kept:
    """A tracker of a user's own."""

    settings: dict[str, str] = field(default_factory=dict)
    steps: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    failed: bool = False

    def start(self, settings: Mapping[str, str]) -> None:
        self.settings |= settings

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        self.steps.append((part, number, dict(values)))

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        self.figures |= figures
        self.pages |= pages

    def fail(self) -> None:
        self.failed = True

    def curve(self, part: str, name: str) -> list[tuple[int, float]]:
        return [(n, values[name]) for p, n, values in self.steps if p == part and name in values]


@dataclass(frozen=True)
class Several:
    """One training told to many."""

    trackers: tuple[Tracker, ...]

    def start(self, settings: Mapping[str, str]) -> None:
        for t in self.trackers:
            t.start(settings)

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        for t in self.trackers:
            t.step(part, number, values)

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        for t in self.trackers:
            t.finish(figures, pages)

    def fail(self) -> None:
        for t in self.trackers:
            t.fail()


@pytest.fixture(scope="module")
def table(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a user, and texts, that would be found."""
    rows = [json.loads(line) for line in sample_table.read_text().splitlines()]
    for row in rows:
        row |= {"user": f"{SECRET_USER}-{row['user']}", "chosen": f"{row['chosen']} {SECRET_TEXT}", "club": GROUPS[row["taste"]]}
    place = tmp_path_factory.mktemp("tracked") / "choices.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture(scope="module")
def tracked(table: Path) -> Iterator[SimpleNamespace]:
    """A fit, what was told, where each library kept it, and how many connections were tried while it ran."""
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    folder, kept = table.parent, Kept()
    some = [tracker_of(f"{kind}:{folder / kind}") for kind in ("mlflow", "tensorboard", "wandb")]
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in (*STUB, "WANDB_MODE", "CI", "PYTEST_CURRENT_TEST"):  # MLflow says nothing in tests of its own accord
            patch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        encoding = evenhand.Encoding(None)
        found = fit(
            table,
            "pafo",
            group_by="club",
            encoding=encoding,
            settings={"max_epochs": 4},
            resamples=50,
            track=Several((kept, *filter(None, some))),
        )
        switches = {name: os.environ.get(name) for name in STUB}
        proxy.settimeout(0)
        calls = 0
        while True:
            try:
                proxy.accept()
                calls += 1
            except BlockingIOError:
                break
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for the readers
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield SimpleNamespace(found=found, kept=kept, folder=folder, calls=calls, switches=switches)


def test_a_fit_tells_its_curves_and_the_figures_of_its_report(tracked: SimpleNamespace) -> None:
    kept, report = tracked.kept, tracked.found.report
    trace = next(t for t in report.findings.training if t.method == PLAIN)
    assert kept.curve(PLAIN, "loss") == [*enumerate(trace.train_loss, 1)]
    assert kept.curve(PLAIN, "validation loss") == [*enumerate(trace.valid_loss, 1)]
    assert {p for p, _, _ in kept.steps} == {t.method.replace("/", "∕") for t in report.findings.training}, "teachers included"
    model = report.document["model"]
    assert kept.figures[f"{model['model']}/accuracy of all"] == model["overall"]["value"]
    assert kept.figures[f"{model['model']}/accuracy of all, low"] == model["overall"]["low"]
    assert kept.figures[f"{model['model']}/accuracy of a∕..∕b?"] == next(
        g["accuracy"]["value"] for g in model["groups"] if g["group"] == "a/../b?"
    )
    assert kept.figures["exit code"] == report.exit_code
    assert kept.pages["report.json"] == report.json()
    assert kept.settings["verb"] == "fit"
    assert kept.settings["seed"] == "0"
    assert not kept.failed


def test_mlflow_reads_it_back(tracked: SimpleNamespace) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tracked.folder / "mlflow").as_uri())
    [run] = client.search_runs([client.get_experiment_by_name("evenhand").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "0"
    name = next(n for n in run.data.metrics if n.startswith("one reward") and n.endswith("linear_/loss"))
    history = client.get_metric_history(run.info.run_id, name)
    assert [(m.step, m.value) for m in history] == tracked.kept.curve(PLAIN, "loss")
    figures = {f for f in tracked.kept.figures if "accuracy of a∕" in f and not f.endswith(("low", "high"))}
    told = {m: v for m, v in run.data.metrics.items() if m.startswith("report/") and "accuracy of a_.._b_" in m and "low" not in m}
    assert sorted(v for m, v in told.items() if "high" not in m) == sorted(tracked.kept.figures[f] for f in figures), "no group lost"
    artifact = Path(client.download_artifacts(run.info.run_id, "report.json"))
    assert json.loads(artifact.read_text()) == tracked.found.report.document


def test_tensorboard_reads_it_back(tracked: SimpleNamespace) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [run] = (tracked.folder / "tensorboard").iterdir()
    events = EventAccumulator(str(run)).Reload()
    read = [(e.step, e.value) for e in events.Scalars(f"{PLAIN}/loss")]
    assert read == [(n, pytest.approx(v, rel=1e-6)) for n, v in tracked.kept.curve(PLAIN, "loss")]
    model = tracked.found.report.document["model"]
    [last] = events.Scalars(f"report/{model['model']}/accuracy of all")
    assert last.value == pytest.approx(model["overall"]["value"], rel=1e-6)
    [said] = events.Tensors("report.md/text_summary")
    assert said.tensor_proto.string_val[0].decode() == tracked.found.report.markdown()


def test_wandb_reads_it_back(tracked: SimpleNamespace) -> None:
    [run] = (tracked.folder / "wandb" / "wandb").glob("offline-run-*")
    [file] = run.glob("*.wandb")
    losses, summary, ended = [], dict[str, Any](), None
    for record in records(file.read_bytes()):
        row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        if f"{PLAIN}/loss" in row:
            losses.append((row[f"{PLAIN}/step"], row[f"{PLAIN}/loss"]))
        summary |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.summary.update}
        if record.WhichOneof("record_type") == "exit":
            ended = record.exit.exit_code
    assert losses == [(n, pytest.approx(v)) for n, v in tracked.kept.curve(PLAIN, "loss")]
    model = tracked.found.report.document["model"]
    assert summary[f"report/{model['model']}/accuracy of all"] == pytest.approx(model["overall"]["value"])
    assert ended == 0
    assert (run / "files" / "report.md").read_text() == tracked.found.report.markdown()


def records(content: bytes) -> Iterator[Any]:
    """Records of a run's file: seven bytes, then blocks of 32 KiB, in them parts of records (checksum 4, length 2, whether whole, first, middle or last 1)."""
    from wandb.proto import wandb_internal_pb2

    place, whole = 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_nothing_of_a_person_is_written_and_nobody_is_called(tracked: SimpleNamespace) -> None:
    written = [
        p for kind in ("mlflow", "tensorboard", "wandb") for p in (tracked.folder / kind).rglob("*") if p.is_file() and not p.is_symlink()
    ]
    assert len(written) > 20
    for file in written:
        content = file.read_bytes()
        assert SECRET_USER.encode() not in content, file
        assert SECRET_TEXT.encode() not in content, file
        assert SECRET_USER not in str(file)
    told = repr((tracked.kept.settings, tracked.kept.steps, tracked.kept.figures, tracked.kept.pages))
    assert SECRET_USER not in told
    assert SECRET_TEXT not in told
    assert tracked.calls == 0
    assert tracked.switches == dict(zip(STUB, ("true", "false", "true")))


def test_a_small_group_has_no_figure(tracked: SimpleNamespace) -> None:
    """As in the report itself: a group of fewer than ten users is told of nowhere."""
    from evenhand.workflows.tracking import figures_of_audit

    groups = tracked.found.report.findings.model.groups
    smaller = replace(groups[0], accuracy=replace(groups[0].accuracy, n_users=9))
    from evenhand.report.audit import report

    findings = replace(
        tracked.found.report.findings, model=replace(tracked.found.report.findings.model, groups=(smaller, *groups[1:])), others=()
    )
    tracking = Tracking(kept := Kept())
    tracking.finish(report(findings), figures_of_audit)
    assert not any(f"accuracy of {groups[0].group.replace('/', '∕')}" in name for name in kept.figures)
    assert any(f"accuracy of {groups[1].group.replace('/', '∕')}" in name for name in kept.figures)


class Broken(Kept):
    """Fails at one of its methods."""

    def __init__(self, at: str):
        super().__init__()
        self.at, self.asked = at, list[str]()

    def _maybe(self, name: str) -> None:
        self.asked.append(name)
        if name == self.at:
            raise OSError(28, "No space left on device")

    def start(self, settings: Mapping[str, str]) -> None:
        self._maybe("start")

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        self._maybe("step")

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        self._maybe("finish")


@pytest.mark.parametrize("at", ["start", "step", "finish"])
def test_one_that_fails_is_said_once_and_left_alone(at: str, tracked: SimpleNamespace) -> None:
    said: list[str] = []
    broken = Broken(at)
    with tracking(broken, dict, said.append) as told:
        for n in (1, 2, 3):
            told.step("model", n, {"loss": 0.5, "nothing": float("nan")})
        told.finish(tracked.found.report, lambda document: {"exit code": document["exit_code"]})
    assert said == [
        "The tracker failed (OSError: [Errno 28] No space left on device) and is told nothing more; all else goes on without it."
    ]
    assert broken.asked.count(at) == 1
    assert broken.asked[-1] == at, "asked for nothing more"


def test_work_that_ends_early_ends_the_run_as_failed() -> None:
    with pytest.raises(KeyboardInterrupt), tracking(kept := Kept(), dict, print):
        raise KeyboardInterrupt
    assert kept.failed
    assert not kept.figures


def test_each_training_on_texts_has_a_curve_of_its_own() -> None:
    """PAFO on a language model trains teachers, then a student: steps begin again, and a tracker's must not."""
    told = Tracking(kept := Kept())
    for done, of in ((0, 2), (1, 2), (2, 2), (0, 3), (1, 3)):
        told.standing("PAFO", {0: "young/old"}, Standing(done, of, True, 0.5 - done / 10, float("nan"), 0.0, {0: 0.7, 1: 0.9}))
    told.standing("PAFO", {}, Standing(3, 9))  # epochs of a head are told when they have ended
    assert kept.curve("PAFO, steps", "loss") == [(0, 0.5), (1, 0.4), (2, 0.3)]
    assert kept.curve("PAFO, steps 2", "loss") == [(0, 0.5), (1, 0.4)]
    assert kept.steps[0][2] == {"loss": 0.5, "validation loss/young∕old": 0.7}, "no group that has no name, no number that is none"
    assert len(kept.steps) == 5


@pytest.mark.parametrize("text", ["mlflow", "mlflow:", "comet:runs", ":runs"])
def test_what_is_no_tracker_is_an_error_before_any_work(text: str) -> None:
    with pytest.raises(EvenhandError, match="Expected: mlflow:FOLDER or tensorboard:FOLDER or wandb:FOLDER"):
        tracker_of(text)


def test_places_and_libraries_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvenhandError, match="is a file: file"):
        tracker_of(f"tensorboard:{tmp_path / 'file'}")
    monkeypatch.setattr("evenhand.workflows.tracking.find_spec", lambda name: None)
    with pytest.raises(EvenhandError, match="pip install mlflow-skinny"):
        tracker_of("mlflow:runs")
    from evenhand.cli.inputs import check_track

    with pytest.raises(DataError, match="choose another --track"):
        check_track(f"mlflow:{tmp_path}/out/model/runs", tmp_path / "out")
    check_track(f"mlflow:{tmp_path}/out/runs", tmp_path / "out")


def test_compare_tells_a_summary_of_each_trial(table: Path, tmp_path: Path) -> None:
    kept = Kept()
    (some := tmp_path / "some.jsonl").write_text("".join(table.read_text().splitlines(keepends=True)[:800]))  # 20 users
    report = compare(
        some,
        ["bradley_terry"],
        tune=0,
        seeds=1,
        encoding=evenhand.Encoding(None, dim=8),
        out=tmp_path / "out",
        resamples=20,
        jobs=1,
        track=kept,
    )
    assert [(p, n) for p, n, _ in kept.steps] == [(e.name, 0) for e in report.findings.entries]
    for entry in report.findings.entries:
        [(_, accuracy)] = kept.curve(entry.name, "test accuracy")
        assert accuracy == pytest.approx(entry.held_out[-1].value), "of one seed it is the report's own"
        assert kept.figures[f"{entry.name}/accuracy of all"] == entry.held_out[-1].value
    assert SECRET_USER not in repr((kept.settings, kept.steps, kept.figures))


@pytest.mark.lm
def test_align_tells_the_losses_of_its_trainings_and_the_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    kept = Kept()
    student = str(tiny_llama(tmp_path / "llama", chat=True))
    quiet: Callable[[str, int, int], None] = lambda what, done, total: None  # noqa: E731
    given: dict[str, Any] = {"originals": texts(), "draws": 1, "audits": [Certain()], "permutations": 100, "train": True, "rank": 4}
    found = align(grid(), out=tmp_path / "out", student=student, device="cpu", most_examples=8, track=kept, progress=quiet, **given)
    assert kept.curve("SFT, steps", "loss") == [*found.report.findings.trained[0].trace]
    gap = next(g for r in found.report.document["runs"] if r["name"] == "original" for g in r["gaps"] if g["axis"] == "gender")
    assert kept.figures["original/gap of certainty by gender"] == gap["signed"]["value"]
    assert not any("town hall" in text for text in (repr(kept.settings), repr(kept.figures), *kept.pages.values()))

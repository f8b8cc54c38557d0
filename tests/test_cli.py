"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

EVENHAND = str(Path(sys.executable).with_name("evenhand"))


def run(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "EVENHAND_CACHE": str(cwd / "cache"), "COLUMNS": "200", **environment}
    return subprocess.run([EVENHAND, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True)


def inside(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has torch loaded already: that a process of its own ends alike is shown by the tests that start one."""
    from evenhand.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    env = {"EVENHAND_CACHE": str(cwd / "cache"), "COLUMNS": "200"}
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, env),
        mock.patch.object(sys, "argv", ["evenhand", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def fitted(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A whole fit on features that need no encoder, so that it takes seconds."""
    cwd = tmp_path_factory.mktemp("fit")
    short = ("--set", "lr=0.02", "--set", "max_epochs=15")
    return cwd, run(
        "fit", sample_table, "--out", "out", "--method", "pafo", *short, "--encoder", "none", "--simulated", "--tolerance", "0.3", cwd=cwd
    )


def test_fit_writes_model_and_report(fitted: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    cwd, done = fitted
    assert done.returncode in (0, 1, 3), done.stderr
    report = json.loads((cwd / "out" / "report.json").read_text())
    assert {0: "PASS", 1: "FAIL", 3: "INSUFFICIENT"}[done.returncode] == report["verdict"]
    assert {m["model"] for m in report["others"]} == {
        "one reward for all (Bradley-Terry, linear)",
        "personalised Bradley-Terry (LoRe's head)",
    }
    assert report["model"]["overall"]["value"] > 0.55
    assert (cwd / "out" / "report.html").stat().st_size < 2e6
    assert {p.name for p in (cwd / "out" / "model").iterdir()} == {"model.json", "model.safetensors"}
    assert "simulated" in done.stdout
    assert "report:" in done.stdout
    assert len(done.stdout.strip().splitlines()) <= 14


def test_no_user_id_or_text_leaves(fitted: tuple[Path, subprocess.CompletedProcess[str]], sample_table: Path) -> None:
    cwd, _ = fitted
    rows = [json.loads(line) for line in sample_table.read_text().splitlines()[:50]]
    for file in (cwd / "out").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(f'"{row["user"]}"'.encode() in content or row["chosen"].encode() in content for row in rows), file


def test_saved_model_is_audited_on_its_own_test_split(fitted: tuple[Path, subprocess.CompletedProcess[str]], sample_table: Path) -> None:
    cwd, _ = fitted
    done = inside("audit", sample_table, "--model", "out/model", "--out", "again", cwd=cwd)
    assert done.returncode in (0, 1, 3), done.stderr
    first, again = (json.loads((cwd / name / "report.json").read_text()) for name in ("out", "again"))
    assert again["model"]["overall"] == pytest.approx(first["model"]["overall"])


def test_scores_of_a_saved_model_give_its_audit(fitted: tuple[Path, subprocess.CompletedProcess[str]], sample_table: Path) -> None:
    """Score pairs with history, put the columns into the table, audit the columns: users with a history are served better than without."""
    cwd, _ = fitted
    lines = sample_table.read_text().splitlines()
    known, asked = cwd / "known.jsonl", cwd / "asked.jsonl"
    known.write_text("\n".join(lines[::2]) + "\n")
    asked.write_text("\n".join(lines[1::2]) + "\n")
    accuracy = {}
    for name, extra in {"read": ("--history", known), "generic": ()}.items():
        done = inside("score", "out/model", asked, *extra, "--out", f"{name}.csv", cwd=cwd)
        assert done.returncode == 0, done.stderr
        with (cwd / f"{name}.csv").open() as stream:
            rewards = list(csv.DictReader(stream))
        table = cwd / f"{name}.jsonl"
        table.write_text(
            "".join(json.dumps({**json.loads(line), **r}, default=float) + "\n" for line, r in zip(lines[1::2], map(floats, rewards)))
        )
        done = inside("audit", table, "--scores", "reward_chosen,reward_rejected", "--out", f"audit-{name}", cwd=cwd)
        assert done.returncode in (0, 1, 3), done.stderr
        accuracy[name] = json.loads((cwd / f"audit-{name}" / "report.json").read_text())["model"]["overall"]["value"]
    assert accuracy["read"] > accuracy["generic"] + 0.02


def floats(row: dict[str, str]) -> dict[str, float]:
    return {name: float(row[name]) for name in ("reward_chosen", "reward_rejected")}


def test_check_prints_counts(sample_table: Path, tmp_path: Path) -> None:
    done = inside("check", sample_table, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3,200 rows in, 3,200 used" in done.stdout
    assert "majority" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "missing.jsonl"), "missing.jsonl"),
        (("check", "{data}", "--column", "user=usr"), "nearest match 'user'"),
        (("check", "{data}", "--column", "taste=weight"), "turn them: --column weight=taste"),
        (("check", "{data}", "--source", "tabel"), "table"),
        (("fit", "{data}", "--method", "pafoo"), "did you mean 'pafo'"),
        (("fit", "{data}", "--method", "pafo", "--set", "alpah=1"), "did you mean 'alpha'"),
        (("fit", "{data}", "--set", "alpha"), "--set alpha=0.25"),
        (("fit", "{data}", "--method", "pafo", "--set", "alpha=2"), "from 0 to 1"),
        (("fit", "{data}", "--method", "pafo", "--head", "low_rnk"), "did you mean 'low_rank'"),
        (("audit", "{data}"), "neither a model nor scores were named; this file has no numeric column"),
        (("audit", "{data}", "--scores", "good", "bad"), "put a comma between two columns: --scores good,bad"),
        (("audit", "{data}", "{data}"), "which nothing takes"),
        (("fit", "{data}", "--tolerance", "5"), "5 points are 0.05"),
        (("fit", "{data}", "--minority", "2"), "under 1"),
        (("fit", "{data}", "--method", "pafo", "--set", "batch_users=0"), "1 or more"),
        (("audit", "{data}", "--scores", "reward"), "reward"),
        (("audit", "{data}", "--model", "nowhere"), "nowhere"),
        (("fit", "{data}", "--group-by", "tast"), "taste"),
        (("audit", "{data}", "--engine", "moon"), "error: Found --engine moon. Expected: here or ray. To do"),
        (("certify", "m", "{data}", "--gamma", "1", "--notion=moon"), "error: Found --notion moon. Expected: dp, eo or cf. To do"),
        (("fit", "{data}", "--seed", "-1"), "error: Found --seed -1. Expected: a whole number, 0 or more. To do"),
        (("serve", "m", "--port", "x"), "error: Found --port x. Expected: a whole number from 0 to 65535. To do"),
        (("fit", "{data}", "--tolerance", ""), 'error: Found --tolerance "". Expected: a number. To do'),
        (("fit", "{data}", "--engine", ""), 'error: Found --engine "". Expected: here or ray. To do'),
        (
            ("check", "{data}", "--out", ""),
            'error: Found --out "". Expected: a name, a path or a text behind it. To do: give one, or leave --out out',
        ),
        (("check", "{data}", "--out="), 'error: Found --out "". Expected: a name'),
        (("fit", "{data}", "--group-by", ""), 'error: Found --group-by "". Expected: a name'),
        (("transfer", "{data}", "--betas", " "), 'error: Found --betas " ". Expected: --betas 0.1'),
        (("check", "{data}", "--outt", "o"), "error: No such option: --outt"),
        (("fitt", "{data}"), "error: No such command 'fitt'. Did you mean 'fit'? Expected"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple[str, ...], said: str, sample_table: Path, tmp_path: Path) -> None:
    done = inside(*(a.format(data=sample_table) for a in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "To do" in done.stderr


def test_unknown_verb_is_a_usage_error(tmp_path: Path) -> None:
    assert run("adit", cwd=tmp_path).returncode == 2


def test_interrupt_ends_with_130_and_the_run_goes_on(sample_table: Path, tmp_path: Path) -> None:
    """Ctrl-C while texts are encoded: exit 130, and the next run starts with the vectors already there."""
    env = {**os.environ, "EVENHAND_CACHE": str(tmp_path / "cache")}
    table = tmp_path / "few.jsonl"  # users of half of the texts: encoding is what takes long here
    table.write_text("".join(sample_table.read_text().splitlines(keepends=True)[:600]))
    asked = ("fit", str(table), "--out", "out", "--method", "bradley_terry", "--head", "linear", "--set", "max_epochs=2")
    process = subprocess.Popen([EVENHAND, *asked], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "cache").rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    kept = list((tmp_path / "cache").rglob("*.safetensors"))
    assert kept
    done = inside(*asked, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    assert all(file.exists() for file in kept)
    assert (tmp_path / "out" / "report.html").exists()


def test_version_and_completion(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.startswith("evenhand 0.")
    assert "--install-completion" in run("--help", cwd=tmp_path).stdout


def test_a_closed_pipe_is_no_verdict(sample_table: Path, tmp_path: Path) -> None:
    """`evenhand check DATA | head -1` ends with check's own exit code."""
    process = subprocess.Popen([EVENHAND, "check", str(sample_table)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_a_place_that_cannot_be_written_is_told_before_the_work(sample_table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = inside("fit", sample_table, "--out", "file", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "file").read_text()) == (2, "mine")
    assert "--out is a file" in done.stderr
    assert "encode" not in done.stderr
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "report.md").write_text("mine")
    done = inside("audit", sample_table, "--model", "x", "--out", "folder", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "folder" / "report.md").read_text()) == (2, "mine")
    done = inside("score", "x", sample_table, "--out", "folder", cwd=tmp_path)
    assert done.returncode == 2
    assert "--out is a folder" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "{data}", "--scores", "sc,srr", "--out", "new/audit"),
        ("audit", "{data}", "--scores", "good,bad", "--partial", "new/shards"),
        ("audit", "{folder}", "--scores", "good,bad", "--jobs", "1", "--out", "new/audit"),
        ("audit", "{folder}", "--scores", "weight", "--jobs", "1", "--require", "gap<5", "--out", "new/audit"),
        ("check", "{data}", "--group-by", "nope", "--out", "new/check"),
        ("compare", "{data}", "--methods", "nope", "--out", "new/compared"),
        ("fit", "{data}", "--encoder", "none", "--require", "nope", "--track", "tensorboard:runs", "--out", "new/out"),
        ("score", "{model}", "{bad}", "--out", "rewards.csv"),
        ("align", "climate", "--model", "nope", "--out", "new/aligned"),
        ("generate", "climate", "--endpoint", "http://127.0.0.1:9", "--out", "new/texts.jsonl"),
    ],
    ids=" ".join,
)
def test_what_is_refused_leaves_nothing_behind(
    arguments: tuple[str, ...], sample_table: Path, fitted: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    place, folder, bad = tmp_path / "place", tmp_path / "folder", tmp_path / "bad.jsonl"
    place.mkdir()
    folder.mkdir()
    (folder / "choices.jsonl").symlink_to(sample_table)
    bad.write_text('{"user": "u", "prompt": "p", "chosen": "", "rejected": "b"}\n')
    named = {"data": sample_table, "folder": folder, "bad": bad, "model": fitted[0] / "out" / "model"}
    done = inside(*(a.format(**named) for a in arguments), cwd=place)
    assert done.returncode == 2, done.stderr
    assert [p.name for p in place.iterdir() if p.name != "cache"] == []


def test_a_defect_of_the_program_is_neither_a_verdict_nor_a_traceback(tmp_path: Path) -> None:
    code = "import evenhand.cli as c, sys; c.app = lambda: 1 / 0; sys.argv = ['evenhand']; c.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_the_recorded_command_names_no_home_folder(fitted: tuple[Path, subprocess.CompletedProcess[str]], sample_table: Path) -> None:
    cwd, _ = fitted
    command = json.loads((cwd / "out" / "report.json").read_text())["command"]
    assert command.startswith("evenhand fit choices.jsonl --out out")
    assert str(sample_table.parent) not in (cwd / "out" / "report.html").read_text()


def test_every_verb_that_reads_data_reads_it_alike() -> None:
    from evenhand.cli import verbs
    from evenhand.cli.certificates import certify
    from evenhand.cli.comparisons import compare, sweep
    from evenhand.cli.scoring import score

    for verb in (verbs.check, verbs.audit, verbs.fit, score, compare, sweep, certify):
        options = set(inspect.signature(verb).parameters)
        assert {"data", "source", "columns", "on_bad", "one_user", "min_strength"} <= options
        # no weight of a pair changes a reward, and none is a history's
        assert verb is score or {"group_by", "missing", "bad_rows_to", "weigh_strength"} <= options


def test_a_report_bears_the_names_it_is_given(tmp_path: Path) -> None:
    rows = [f"u{u},p{i},yes {u} {i},no {u} {i},{(u * i) % 7 - 3}" for u in range(12) for i in range(5)]
    (tmp_path / "t.csv").write_text("\n".join(["user,prompt,chosen,rejected,margin", *rows]) + "\n")
    (tmp_path / "mine.py").write_text("def lead(margin):\n    'mean margin beyond 1'\n    return margin - 1\n")
    named = ("--name", "Our model", "--title", "A title", "--note", "For the team.", "--metric", "./mine.py:lead", "--simulated")
    done = inside("audit", "t.csv", "--scores", "margin", *named, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    said = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert (said["title"], said["model"]["model"], said["note"], said["simulated"]) == ("A title", "Our model", "For the team.", True)
    metrics = {m["name"]: m["overall"]["value"] for m in said["model"]["metrics"]}
    assert metrics["lead"] == pytest.approx(metrics["margin"] - 1)


def test_demo_asks_fit_for_what_the_command_line_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options come from Python and not from what somebody typed."""
    from evenhand.cli.verbs import demo
    from evenhand.workflows import fit

    class Asked(Exception):
        pass

    def ask(data: Any, method: str, **more: Any) -> Any:
        assert (method, more["engine"], more["address"], more["simulated"], len(data) > 1000) == ("auto", "here", None, True, True)
        raise Asked

    monkeypatch.setattr(fit, "fit", ask)
    with pytest.raises(Asked):
        demo(out=tmp_path / "demo", cache=tmp_path)

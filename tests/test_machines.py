"""What goes to workers and comes back, what their options do, and what is said where they have nothing to do; all in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from forked import forked
from typer.testing import CliRunner

import evenhand
from evenhand.cli import app
from evenhand.core import DataError, EvenhandError
from evenhand.data.merging import batches, merge
from evenhand.data.shards import opened
from evenhand.encode import cache
from evenhand.engines.here import InProcess, Processes
from evenhand.workflows import shards

TEXTS = [f"text {i}" for i in range(40)]
PAIR = {"user": "u", "prompt": "p", "chosen": "a", "rejected": "b", "s_chosen": 1.0, "s_rejected": 0.0}


@dataclass
class Lengths:
    """A text's vector is its length. One text ends the work."""

    ends: str = ""

    fingerprint, dim, name = "f" * 64, 1, "lengths"

    def encode(self, texts: Sequence[str], progress: Any = None) -> np.ndarray:
        if self.ends in texts:
            raise RuntimeError("the end")
        return np.array([[len(text)] for text in texts], np.float32)


@pytest.mark.parametrize(("seconds", "files"), [(3600.0, 2), (0.0, 10)])
def test_workers_leave_a_file_for_some_seconds_of_work_and_not_for_each_piece(
    seconds: float, files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BLOCK", 4)
    monkeypatch.setattr(cache, "SAVE_SECONDS", seconds)
    found = cache.encode_cached(TEXTS, Lengths(), tmp_path, engine=InProcess())  # type: ignore[arg-type]
    assert found[:, 0].tolist() == [len(text) for text in TEXTS]
    assert len([*tmp_path.rglob("*.safetensors")]) == files


def test_what_workers_found_before_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BLOCK", 4)
    with pytest.raises(RuntimeError, match="the end"):
        cache.encode_cached(TEXTS, Lengths(TEXTS[21]), tmp_path, engine=InProcess())  # type: ignore[arg-type]
    known: list[int] = []
    cache.encode_cached(TEXTS, Lengths(), tmp_path, lambda done, total: known.append(done))  # type: ignore[arg-type]
    assert known[0] == 20


@pytest.mark.parametrize("options", [["--jobs", "2"], ["--engine", "ray"], ["--address", "10.0.0.1:6379"], ["--repeated"]])
def test_an_option_of_many_files_is_refused_by_an_audit_in_one_piece(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(PAIR) + "\n")
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "a.jsonl"), "--scores", "s", *options, "--out", str(tmp_path / "out")])
    assert f"Found {options[0]} with an audit in one piece" in str(done.exception)


def test_files_at_once_make_shards_of_a_small_folder(tmp_path: Path) -> None:
    """--jobs is followed however few rows there are."""
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for file in range(2):
        rows = [{**PAIR, "user": f"u{i % 20}", "prompt": f"p{file} {i}", "s_chosen": float(rng.normal())} for i in range(100)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"{file}.parquet")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "data"), "--scores", "s_chosen,s_rejected", "--jobs", "2", "--out", str(out)])
    assert done.exit_code in (0, 1, 3), done.exception
    assert json.loads((out / "report.json").read_text())["facts"]["read in"] == "2 shards, one a file"


def test_machines_that_have_nothing_to_do_are_told(tmp_path: Path) -> None:
    from test_text_grid import rows

    from evenhand.texts.grid import load_grid

    (tmp_path / "a.jsonl").write_text(json.dumps(PAIR) + "\n")
    with pytest.raises(EvenhandError, match="--engine, --address or --jobs with features without an encoder"):
        evenhand.fit(tmp_path / "a.jsonl", "bradley_terry", encoding=evenhand.Encoding(None), engine=InProcess())
    grid = load_grid("climate")
    texts = [row | {"text": "Plant trees."} for row in rows(grid)]
    with pytest.raises(EvenhandError, match="with audits that tag no words"):
        evenhand.audit_text(texts, grid=grid, audits=["fidelity"], jobs=1)


@pytest.mark.parametrize("wrong", ["secret-4711\0", "secret-4711\ud800", 10**40 + 4711, ["secret-4711"]])
@pytest.mark.parametrize("column", ["user", "prompt", "chosen"])
def test_no_error_of_a_row_to_be_scored_repeats_it(column: str, wrong: Any, tmp_path: Path) -> None:
    from test_score import MODEL, lines

    path = lines(tmp_path / "rows.jsonl", [PAIR, {**PAIR, column: wrong}])
    for read in (lambda: evenhand.score(MODEL, path), lambda: evenhand.load(path)):
        with pytest.raises(DataError, match="line 2") as error:
            read()
        assert "4711" not in str(error.value) + error.value.value


def test_a_text_in_a_column_of_labels_is_not_repeated(tmp_path: Path) -> None:
    """As where the wrong column was named."""
    row = {"user": "u", "prompt": "p", "response_a": "a", "response_b": "b", "winner": "my own secret is number 4711, and nobody knows it"}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({**row, **more}) + "\n" for more in ({"winner": "response_a"}, {})))
    with pytest.raises(DataError, match="49 characters") as error:
        evenhand.load(tmp_path / "a.jsonl")
    assert "4711" not in str(error.value)


def folder_of(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist([{**PAIR, "prompt": f"p{i}"} for i in range(4)]), tmp_path / "in" / "good.parquet")
    return tmp_path / "in"


def made(data: Path, out: Path) -> shards.Made:
    reading = shards.Reading(("s_chosen", "s_rejected"))
    return shards.make(data, out, reading, InProcess(), lambda what, done, total, how="": None)


def test_a_broken_file_is_named_once(tmp_path: Path) -> None:
    (data := folder_of(tmp_path)).joinpath("torn.parquet").write_bytes((data / "good.parquet").read_bytes()[:-90])
    (data / "gone.parquet").symlink_to("nowhere")
    with pytest.raises(DataError) as error:
        made(data, tmp_path / "out")
    assert str(error.value).count("torn.parquet") == str(error.value).count("gone.parquet") == 1
    assert str(tmp_path) not in str(error.value)


def test_what_cannot_be_written_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a folder's place is named; and what could not be read is not called unwritten."""
    data = folder_of(tmp_path)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out" / "deep"):
        with pytest.raises(DataError, match=r"it cannot be written, since file is a file \((File exists|Not a directory)\)"):
            made(data, out)
    made(data, tmp_path / "out")
    with pytest.raises(DataError, match="since file is a file"):
        evenhand.audit_merge(tmp_path / "out", unfinished=tmp_path / "file")

    monkeypatch.setattr("evenhand.workflows.audit_shards.audit_batches", torn_audit)
    with pytest.raises(OSError, match="Input/output error"):
        evenhand.audit_merge(tmp_path / "out", unfinished=tmp_path / "merged")
    monkeypatch.setattr("evenhand.data.merging.Merged.columns", torn_audit)  # while shards are put together
    with pytest.raises(OSError, match="Input/output error"):
        evenhand.audit_merge(tmp_path / "out", unfinished=tmp_path / "merged")
    (tmp_path / "out" / shards.FILES).unlink()
    (tmp_path / "out" / shards.FILES).mkdir()
    with pytest.raises(DataError, match="it cannot be read"):
        evenhand.audit_merge(tmp_path / "out")


def test_merged_pairs_that_are_not_written_or_gone_when_they_are_read_are_told_apart(tmp_path: Path) -> None:
    data, folder = folder_of(tmp_path), tmp_path / "private"
    pq.write_table(pa.Table.from_pylist([{**PAIR, "user": "v"}]), data / "more.parquet")
    done = made(data, tmp_path / "out")
    merged = merge([opened(place) for place in done.shards], at_once=1)
    with pytest.raises(DataError, match=r"told: it cannot be written \(No such file or directory\)"):
        batches(merged, shards.putting(folder, Path("told")))
    folder.mkdir()
    pairs = batches(merged, shards.putting(folder, Path("told")))
    assert [len(batch) for batch in pairs] == [4, 1]
    (folder / "batch-000001.safetensors").unlink()
    with pytest.raises(DataError, match=r"batch-000001.safetensors: merged pairs cannot be read again \(No such file or directory\)"):
        list(pairs)


def torn_audit(*given: Any) -> Any:
    raise OSError(5, "Input/output error")


def indexing() -> Any:
    return lambda piece: int(MANY[PLACES].sum())


MANY, PLACES = torch.ones(400, 100), torch.arange(400).repeat(500)


def test_a_process_copied_from_one_that_computes_with_several_threads_waits_for_none_of_them() -> None:
    """A copy has one thread, and OpenMP would wait for the others for ever."""
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        assert len(beats) < 4, "nothing ends"

    def with_two() -> None:
        torch.set_num_threads(2)
        wanted = indexing()(0)
        assert list(Processes(1).run(indexing, [0], beat=beat)) == [(0, wanted)]

    assert forked(with_two) == 0  # not here: later tests copy this process, too

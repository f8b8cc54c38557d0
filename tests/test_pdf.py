"""--pdf: the page printed by a browser of this machine, or an error before any work."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import chromium
import pytest
from typer.testing import CliRunner

from evenhand.cli import app
from evenhand.core import DataError, EvenhandError
from evenhand.workflows import pdf


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    document = {"format": "evenhand report 1", "model": {"overall": {"value": 0.6, "low": 0.5, "high": 0.7, "n_users": 40, "n_pairs": 400}}}
    (tmp_path / "a.json").write_text(json.dumps(document))
    return tmp_path


def run(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, ["diff", "a.json", "a.json", *arguments]).exception


def text(content: bytes) -> bytes:
    """What the streams of a PDF hold."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.S)
    return b"".join(zlib.decompress(s) for s in streams if s[:1] == b"x")


def empty_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    monkeypatch.setenv("PATH", str(folder / "bin"))


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_the_page_is_printed_beside_itself_and_goes_with_it(folder: Path) -> None:
    assert run("--pdf") is None
    content = (folder / "diff" / "diff.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"Tj" in text(content) or b"TJ" in text(content)  # there is text on it
    assert json.loads((folder / "diff" / ".evenhand.json").read_text())["files"]["diff.pdf"]["kind"] == pdf.KIND
    assert run() is None
    assert not (folder / "diff" / "diff.pdf").exists()


def test_without_a_browser_nothing_is_begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_path(folder, monkeypatch)
    error = run("--pdf")
    assert isinstance(error, EvenhandError)
    assert "Found no browser that prints (--pdf). Expected: chromium, chromium-browser" in str(error)
    assert "To do: install Chromium, or leave --pdf out" in str(error)
    assert not (folder / "diff").exists()


def test_a_browser_that_fails_leaves_the_page_and_its_own_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_path(folder, monkeypatch)
    (folder / "bin" / "chrome").write_text("#!/bin/sh\necho 'no usable sandbox' >&2\nexit 3\n")
    (folder / "bin" / "chrome").chmod(0o755)
    assert "chrome prints no PDF (no usable sandbox)" in str(run("--pdf"))
    assert (folder / "diff" / "diff.html").exists()
    assert not (folder / "diff" / "diff.pdf").exists()


def test_a_pdf_of_somebody_else_is_not_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_path(folder, monkeypatch)
    (folder / "bin" / "chromium").write_text("#!/bin/sh\nexit 3\n")
    (folder / "bin" / "chromium").chmod(0o755)
    (folder / "diff").mkdir()
    (folder / "diff" / "diff.pdf").write_text("mine")
    assert isinstance(run("--pdf"), DataError)
    assert not (folder / "diff" / "diff.html").exists()
    assert run() is None
    assert (folder / "diff" / "diff.pdf").read_text() == "mine"


def test_every_verb_that_writes_a_page_has_the_option() -> None:
    for verb in ("check", "audit", "fit", "compare", "sweep", "transfer", "certify", "diff"):
        shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
        assert "--pdf" in shown, verb

"""The pipelines of docs/ci.md: their YAML is read, and their own shell lines run as a runner runs them, once on data that pass and once on data that fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_docs import ROOT, blocks

from evenhand.data.simulate import write_sample


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Any]:
    """The examples by the names of their files."""
    return {
        b["mark"].removeprefix("file "): yaml.load(b["code"], yaml.BaseLoader)  # a runner reads `on` as a word
        for b in blocks(ROOT / "docs" / "ci.md")
        if b["language"] == "yaml"
    }


def table(folder: Path, fair: bool) -> None:
    """A table whose scores are right about everybody, or wrong about everybody in the minority."""
    rows = [json.loads(line) for line in write_sample(folder / "all.jsonl", users=200, minority=0.35, pairs_per_user=10).open()]
    with (folder / "choices.jsonl").open("w") as out:
        for row in rows:
            right = float(fair or row["taste"] == "majority")
            out.write(json.dumps({**row, "reward_chosen": right, "reward_rejected": 1 - right}) + "\n")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step as runners run it: bash that stops at the first error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line], cwd=folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )


@pytest.mark.parametrize(("fair", "code", "verdict"), [(True, 0, "PASS"), (False, 1, "FAIL")])
def test_github_gates_and_shows_the_markdown(pipelines: dict[str, Any], tmp_path: Path, fair: bool, code: int, verdict: str) -> None:
    table(tmp_path, fair)
    workflow = pipelines["fairness.yml"]
    assert workflow["on"] == ["pull_request"]
    [job] = workflow["jobs"].values()
    steps = {step.get("name", ""): step for step in job["steps"] if "run" in step}
    done = shell(steps["Audit"]["run"], tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert steps["Summary"]["if"] == "${{ !cancelled() }}", "it is shown after a FAIL, too"
    summary = tmp_path / "summary.md"
    assert shell(steps["Summary"]["run"], tmp_path, GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text() == (tmp_path / "audit" / "report.md").read_text()
    assert verdict in summary.read_text().splitlines()[0]
    kept = job["steps"][-1]
    assert (tmp_path / kept["with"]["path"] / "report.html").exists()


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The address of something that keeps what is posted: path, token, body."""
    posted: list[tuple[str, str, str]] = []

    class Kept(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posted.append((self.path, self.headers["PRIVATE-TOKEN"], urllib.parse.parse_qs(body)["body"][0]))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Kept) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/api/v4", posted
        running.shutdown()


def test_gitlab_gates_and_posts_the_markdown(
    pipelines: dict[str, Any], tmp_path: Path, server: tuple[str, list[tuple[str, str, str]]]
) -> None:
    table(tmp_path, fair=False)
    job = pipelines["gitlab-ci.yml"]["audit"]
    address, posted = server
    about = {"CI_API_V4_URL": address, "CI_PROJECT_ID": "17", "CI_MERGE_REQUEST_IID": "4", "REPORT_TOKEN": "glpat-made-up", "no_proxy": "*"}
    [install, audit] = job["script"]
    assert install.startswith("pip install evenhand")
    assert shell(audit, tmp_path).returncode == 1
    [after] = job["after_script"]
    assert shell(after, tmp_path, **{**about, "REPORT_TOKEN": ""}).returncode == 0
    assert not posted, "nothing is posted without a token"
    done = shell(after, tmp_path, **about)
    assert done.returncode == 0, done.stderr
    [(path, token, body)] = posted
    assert path == "/api/v4/projects/17/merge_requests/4/notes"
    assert token == "glpat-made-up"
    assert body == (tmp_path / "audit" / "report.md").read_text()
    assert job["artifacts"]["when"] == "always"
    suite = ElementTree.parse(tmp_path / job["artifacts"]["reports"]["junit"]).getroot()
    assert suite.findall(".//failure")


@pytest.mark.parametrize(("code", "passes"), [(0, True), (1, False), (2, False), (3, True)])
def test_one_code_can_be_let_through(tmp_path: Path, code: int, passes: bool) -> None:
    """The line of the page with the audit's own word for the program replaced by one that ends with a given code."""
    [line] = [b["code"] for b in blocks(ROOT / "docs" / "ci.md") if b["language"] == "bash" and "||" in b["code"]]
    done = shell(re.sub(r"^evenhand .*? \|\|", f"(exit {code}) ||", line), tmp_path)
    assert (done.returncode == 0) is passes

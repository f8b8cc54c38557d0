"""The private page: the worst-served group's misordered pairs, and nothing of them anywhere else."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import evenhand
from evenhand.cli import app
from evenhand.core import DataError, EvenhandError
from evenhand.workflows.examples import FILE, USERS, ShowExamples

SIZES = {"good": 12, "bad": 11, "tiny": 9}  # "tiny" is served worst, and too small to be shown


def table(path: Path, **change: Any) -> Path:
    """Each user judges 10 prompts. Margins are -(user + prompt / 100) in "bad" for even prompts and in all of "tiny", else 1; "good" has a tie."""
    rows, user = [], 0
    for group, size in SIZES.items():
        for _ in range(size):
            for p in range(10):
                wrong = group == "tiny" or (group == "bad" and p % 2 == 0)
                margin = -(user + p / 100) if wrong else -1e-7 if group == "good" and p == 9 else 1.0
                rows.append({"user": f"secret-{user}", "prompt": f"Question {p} & <b>?", "chosen": f"Yes {group} {user} {p}", "rejected": f"No {group} {user} {p}", "taste": group, "reward": margin, **change})  # fmt: skip
            user += 1
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def run(folder: Path, *more: str) -> Any:
    return CliRunner().invoke(
        app, ["audit", str(folder / "pairs.jsonl"), "--scores", "reward", "--group-by", "taste", "--out", str(folder / "out"), *more]
    )


def shown(page: str) -> list[list[str]]:
    """Rows of the table, cells as texts."""
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    table(folder / "pairs.jsonl")
    done = run(folder, "--show-examples", "7")
    assert done.exit_code in (1, 3), done.output
    return folder


def test_the_largest_wrong_margins_of_the_worst_served_group_stand_first(folder: Path) -> None:
    page = (folder / "out" / FILE).read_text()
    rows = shown(page)
    names = [f"Yes bad 22 {p}" for p in (8, 6, 4, 2, 0)] + ["Yes bad 21 8", "Yes bad 21 6"]  # users 12 to 22
    assert [re.search(r"Chosen: ([^<]*)<", r[0])[1] for r in rows] == names
    assert [re.match(r"\d+\. ", r[0])[0] for r in rows] == [f"{i}. " for i in range(1, 8)]
    assert "Rejected: No bad 22 8<" in rows[0][0]
    assert rows[0][0].startswith("1. Question 8 &amp; &lt;b&gt;?<")
    assert rows[0][1] == "−22.080"
    assert "7 of 55 misordered pairs of “bad”, the worst-served group" in page  # 11 users, 5 even prompts each
    assert "this page holds raw texts of users" in page
    assert page.index("Private:") < page.index("Yes bad")


def test_the_page_is_its_owners_alone_and_names_nobody(folder: Path) -> None:
    assert stat.S_IMODE((folder / "out" / FILE).stat().st_mode) == 0o600
    page = (folder / "out" / FILE).read_text()
    assert "secret-" not in page
    assert "tiny" not in page  # fewer than 10 users
    assert not re.search(r"<script|https?://", page)
    assert "beside this page" not in page
    for file in (folder / "out").iterdir():
        if file.name not in (FILE, USERS):
            assert "Yes bad" not in file.read_text()
            assert "Question" not in file.read_text()


def test_users_of_each_group_stand_in_a_file_of_its_owner_alone(folder: Path) -> None:
    """Users 12 to 22 choose against the model on every second prompt; whoever is in "good" never does; "tiny" is too small to be told."""
    file = folder / "out" / USERS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = json.loads(file.read_text())
    assert found["format"] == "evenhand users 1"
    assert [(g["group"], g["n_users"], len(g["users"])) for g in found["groups"]] == [("bad", 11, 11), ("good", 12, 12)]
    bad, good = (g["users"] for g in found["groups"])
    assert {(u["accuracy"], u["n_pairs"], u["misordered"], len(u["pairs"])) for u in bad} == {(0.5, 10, 5, 5)}
    assert {(u["accuracy"], u["misordered"]) for u in good} == {(0.95, 0)}  # a tie counts half, and is not misordered
    of = {u["pairs"][0]["chosen"].split()[2]: u for u in bad}
    assert [p["margin"] for p in of["22"]["pairs"]] == pytest.approx([-22.08, -22.06, -22.04, -22.02, -22.0])
    assert len({u["user"] for u in (*bad, *good)}) == 23
    assert all(re.fullmatch("[0-9a-f]{12}", u["user"]) for u in (*bad, *good))
    assert "secret-" not in file.read_text()
    assert "tiny" not in file.read_text()


def test_an_old_page_goes_when_the_audit_is_run_without(tmp_path: Path) -> None:
    table(tmp_path / "pairs.jsonl")
    run(tmp_path, "--show-examples", "3")
    assert (tmp_path / "out" / FILE).exists()
    run(tmp_path)
    assert not (tmp_path / "out" / FILE).exists()
    assert not (tmp_path / "out" / USERS).exists()
    assert FILE not in json.loads((tmp_path / "out" / ".evenhand.json").read_text())["files"]
    (tmp_path / "out" / FILE).write_text("mine")
    assert run(tmp_path).exit_code in (1, 3)  # somebody's own file of this name is no hindrance
    assert (tmp_path / "out" / FILE).read_text() == "mine"
    assert isinstance(run(tmp_path, "--show-examples", "3").exception, DataError)
    assert (tmp_path / "out" / FILE).read_text() == "mine"


def test_what_cannot_be_shown_is_said_before_the_work(tmp_path: Path) -> None:
    data = evenhand.load(table(tmp_path / "pairs.jsonl"), numbers=["reward"], attributes=["taste"])
    bare = replace(data, texts=(), **dict.fromkeys(("prompt", "chosen", "rejected"), np.full(len(data), -1, np.int32)))
    with pytest.raises(DataError, match="there are no texts to show"):
        evenhand.audit(bare, scores="reward", group_by="taste", show_examples=ShowExamples(3, tmp_path))
    with pytest.raises(EvenhandError, match="Found 0 examples"):
        ShowExamples(0, tmp_path)
    few = data.take(np.isin(data.user, np.arange(6)))
    evenhand.audit(few, scores="reward", group_by="taste", show_examples=ShowExamples(3, tmp_path))
    page = (tmp_path / FILE).read_text()
    assert "No group has 10 users: no pair is shown" in page
    assert "Yes" not in page


def test_fit_shows_pairs_of_its_model(tmp_path: Path) -> None:
    data = evenhand.load(table(tmp_path / "pairs.jsonl"), attributes=["taste"])
    evenhand.fit(
        data, "bradley_terry", head="linear", settings={"max_epochs": "1"}, encoding=evenhand.Encoding(None, dim=8), resamples=20,
        group_by="taste", show_examples=ShowExamples(2, tmp_path / "out"),
    )  # fmt: skip
    assert "Private:" in (tmp_path / "out" / FILE).read_text()

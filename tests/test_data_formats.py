"""The table "you have … → from file to audit" of docs/data-formats.md: every row's command is run on a file of its kind."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evenhand.cli import app

ROOT = Path(__file__).parents[1]
CASES = ROOT.parent / "shared" / "cases"
DATA = ROOT.parent / "shared" / "data"
ROWS = re.findall(r"^\|(.+?)\|(.+?)\|$", (ROOT / "docs" / "data-formats.md").read_text().split("`evenhand check` takes")[0], re.M)[2:]
COMMANDS = [c for _, told in ROWS for c in re.findall(r"`(evenhand .+?)`", told)]
AUDITED = {f"u{u}": ("FR", "SG")[u % 2] for u in range(24)}
JUDGED = [{"user": u, "country": c, "prompt": f"p{p}", "n": p} for u, c in AUDITED.items() for p in range(12)]


def rows(kind: str) -> list[dict[str, Any]]:
    """Made-up tables of the kinds that have no small file of their own."""
    if kind == "pairs":
        return [{**r, "chosen": "yes", "rejected": "no", "reward_chosen": 1.0, "reward_rejected": r["n"] % 2 * 2.0} for r in JUDGED]
    if kind == "ab":
        named = {"WHO": "user", "X": "response_a", "Y": "response_b", "PICK": "winner"}
        texts = {"response_a": "yes", "response_b": "no", "reward_a": 0.5, "reward_b": 0.75}
        whole = [{**r, **texts, "winner": "ab"[r["n"] % 2]} for r in JUDGED]
        return [{**r, **{other: r[name] for other, name in named.items()}} for r in whole]
    if kind == "ratings":
        return [{**r, "response": f"r{k}", "score": k, "rm": k * (r["n"] % 2)} for r in JUDGED for k in (0, 1)]
    return [{"user": r["user"], "item": r["prompt"], "vote": ("agree", "disagree", "pass")[r["n"] % 3]} for r in JUDGED]


def written(path: Path, table: list[dict[str, Any]]) -> Path:
    names = list(table[0])
    cells = ["\t".join(names), *("\t".join(str(r[n]) for n in names) for r in table)]
    path.write_text("\n".join(cells) + "\n")
    return path


def place(word: str, folder: Path) -> str:
    """The file that stands for one of the table's names."""
    name, _, part = word.partition("::")
    cases = {
        "pairs.jsonl": "ultrafeedback_binarized.jsonl", "hh.jsonl": "hh_strings.jsonl", "arena33k.jsonl": "arena33k.jsonl", "arena55k.csv": "arena55k.csv",
        "multipref.jsonl": "multipref.jsonl", "helpsteer3.jsonl": "helpsteer3.jsonl", "community.csv": "community_alignment.csv",
        "export.json": "labelstudio_full.json", "dices.csv": "dices.csv", "polis_export/": "polis_export", "prism/": "prism",
    }  # fmt: skip
    if name in cases:
        return str(CASES / cases[name])
    if name == "table.xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        table = rows("pairs")
        book.active.title = "SHEET"
        for cells in (list(table[0]), *(list(r.values()) for r in table)):
            book.active.append(cells)
        book.save(folder / name)
        return f"{folder / name}::{part}" if part else str(folder / name)
    if name == "data.db":
        base = sqlite3.connect(folder / name)
        base.execute('CREATE TABLE "TABLE" (user, prompt, chosen, rejected)')
        base.executemany('INSERT INTO "TABLE" VALUES (?, ?, ?, ?)', [(r["user"], r["prompt"], "yes", "no") for r in rows("pairs")])
        base.commit()
        base.close()
        query = part.replace("…", '* FROM "TABLE"')
        return f"{folder / name}::{query}"
    if name in ("pairs.csv", "ab.csv", "ratings.csv", "votes.csv"):
        return str(written(folder / name, rows(name.removesuffix(".csv"))))
    known = {
        "crehate/": "crehate",
        "rows.jsonl": "personalllm_sample/rows.jsonl.gz",
        "Nationality.jsonl": "bbq/Sexual_orientation.jsonl.gz",
    }
    if not (DATA / known[name]).exists():
        pytest.skip("this file is not here")
    return str(DATA / known[name])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_table_reads_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """`fit` is run as `check`, which takes the same arguments and reads alike; `check` and `audit` as they stand."""
    if not CASES.exists():
        pytest.skip("the small files are not here")
    _, verb, word, *options = shlex.split(command)
    path = place(word, tmp_path)
    monkeypatch.chdir(tmp_path)
    if verb == "fit":
        options = [o for o in options if o != "--simulated" and not re.search("constraint|eo=", o)]  # they ask nothing of the reading
    done = CliRunner().invoke(app, [verb.replace("fit", "check"), path, *options])
    assert done.exit_code in (0, 1, 3), f"{done.output} {done.exception!r}"
    report = json.loads(next(tmp_path.glob("*/*.json")).read_text())
    lost = report["exclusions"]
    assert lost["rows_in"] == lost["rows_used"] + sum(lost["reasons"].values())
    assert lost["rows_used"] > 0


def test_the_table_is_read() -> None:
    assert len(COMMANDS) >= 22

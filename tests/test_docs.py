"""The documentation agrees with the tree: links, file names, commands."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from evenhand.cli import app
from evenhand.data.simulate import write_sample

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_readme_tree_is_current() -> None:
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))["tree"]()
    assert tree in (ROOT / "README.md").read_text(), "run: .venv/bin/python docs/tree.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shown_commands_exist(page: Path) -> None:
    """Every `evenhand VERB --option` on a page is one that the command line knows."""
    command = get_command(app)
    for shown in re.findall(r"(?:^    |`)(evenhand [a-z][^`\n]*)", page.read_text(), re.MULTILINE):
        words = shlex.split(shown.partition("  #")[0], comments=False)
        verb = command.commands.get(words[1])  # type: ignore[attr-defined]
        assert verb is not None or words[1].isupper(), shown
        if verb is not None:
            known = {o for p in verb.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            assert {w.partition("=")[0] for w in words[2:] if w.startswith("--")} <= known, shown


def test_source_files_mentioned_in_docs_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`(src/evenhand/[\w/]+\.py)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize(
    ("page", "left"),
    [
        ("README.md", ["out/report.html", "audit/report.html"]),
        ("docs/comparing.md", ["compare/report.html", "sweep/report.html"]),
        ("docs/getting-started.md", ["out/model/model.json", "audit/report.html"]),
        ("docs/own-parts.md", ["out/report.html"]),
    ],
)
def test_code_on_a_page_runs(page: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's Python block, word for word, on a small table with reward columns."""
    block = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert len(block) == 1
    rows = [json.loads(line) for line in write_sample(tmp_path / "all.jsonl", users=60, minority=0.3).read_text().splitlines()]
    prompts = sorted({row["prompt"] for row in rows})[:24]
    with (tmp_path / "choices.jsonl").open("w") as out:
        for row in rows:
            if row["prompt"] in prompts:
                out.write(
                    json.dumps({**row, "reward_chosen": len(row["chosen"]) / 100, "reward_rejected": len(row["rejected"]) / 100}) + "\n"
                )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    exec(compile(block[0], page, "exec"), {})  # our own text
    assert all((tmp_path / name).exists() for name in left)

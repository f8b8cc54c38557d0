"""The documentation agrees with the tree: links, file names, commands, every block of code, and the site that is built from it.

The blocks of a page run in their order, in one folder that holds choices.jsonl (simulated users, with reward columns) and new.jsonl (other pairs of the same users). An HTML comment above a
block says what is special: `<!-- exits 2 -->` (else an exit code of a verdict: 0, 1 or 3), `<!-- parsed: why -->` (not run: verbs and options exist),
`<!-- file NAME -->` (written under that name), `<!-- output -->` (a text whose numbers all stand in what the last command printed).
"""

from __future__ import annotations

import functools
import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli import inside
from typer.main import get_command

from evenhand.cli import app
from evenhand.data.simulate import write_sample

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
named = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def blocks(page: Path) -> list[dict[str, str]]:
    return [match.groupdict(default="") for match in BLOCK.finditer(page.read_text())]


@functools.cache
def verbs() -> dict[str, Any]:
    """Name → verb, as the command line has it."""
    return dict(get_command(app).commands)  # type: ignore[attr-defined]


def commands(block: str) -> list[list[str]]:
    return [words for line in block.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


def test_tree_is_current() -> None:
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))["tree"]()
    assert tree in (ROOT / "docs" / "architecture.md").read_text(), "run: .venv/bin/python docs/tree.py"


def test_results_of_readme_stand_in_the_results() -> None:
    table = (ROOT / "README.md").read_text().partition("<!-- results -->\n")[2].partition("\n<!-- /results -->")[0]
    assert table.count("\n") > 3
    assert table in (ROOT / "docs" / "results.md").read_text(), "run: .venv/bin/python runs/results.py"


@named
def test_times_in_a_column_have_one_unit(page: Path) -> None:
    rows: list[list[str]] = []
    for line in page.read_text().split("\n"):
        rows = [*rows, line.strip("| ").split(" | ")] if line.startswith("|") else []
        for cells in zip(*rows[2:], strict=False):
            units = {unit for cell in cells for unit in re.findall(r"\d (µs|ms|s|min|h|days)\b", cell)}
            assert len(units) <= 1, (rows[0], cells)


@named
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@named
def test_shown_commands_exist(page: Path) -> None:
    """Every `evenhand VERB --option` on a page, run or not, is one that the command line knows."""
    shown = [
        shlex.split(line.partition("  #")[0]) for line in re.findall(r"(?:^    |`)(evenhand [a-z][^`\n]*)", page.read_text(), re.MULTILINE)
    ]
    for block in blocks(page):
        if block["language"] in ("bash", "yaml"):
            code = re.sub(r"^\s*(?:- )?run: ", "", block["code"], flags=re.MULTILINE) if block["language"] == "yaml" else block["code"]
            shown += [words for words in commands(code) if words[0] == "evenhand"]
    for words in shown:
        if not words[1].isupper():
            assert words[1] in verbs(), words
            options = {o for p in verbs()[words[1]].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            assert {w.partition("=")[0] for w in words[2:] if w.startswith("--")} <= options, words


@named
def test_options_named_in_text_exist(page: Path) -> None:
    """An option that stands alone, such as `--tune`, is one of some verb."""
    known = {o for verb in verbs().values() for p in verb.params for o in (*p.opts, *p.secondary_opts)}
    assert set(re.findall(r"`(--[a-z][a-z-]*)", page.read_text())) <= known | {"--help"}


def test_source_files_mentioned_in_docs_exist() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`(?:src/evenhand/)?((?:audits|cli|data|encode|methods|models|report|serve|training|workflows)/[\w/]+\.py)`", page.read_text()
        ):
            assert (ROOT / "src" / "evenhand" / name).exists() or "NAME" in name, f"{page.name}: {name}"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File → what it holds, for every page."""
    rows = [
        json.loads(line)
        for line in write_sample(tmp_path_factory.mktemp("docs") / "all.jsonl", users=60, minority=0.3).read_text().splitlines()
    ]
    prompts = sorted({row["prompt"] for row in rows})
    lines: dict[str, list[str]] = {"choices.jsonl": [], "new.jsonl": []}
    for name, some in zip(lines, (prompts[:24], prompts[24:48])):
        for row in rows:
            if row["prompt"] in some:
                rewards = {f"reward_{kind}": len(row[kind]) / 100 for kind in ("chosen", "rejected")}
                lines[name].append(json.dumps({**row, **rewards}) + "\n")
    return {name: "".join(some) for name, some in lines.items()}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of texts, as a reader of several pages has them: the first page that needs one encodes it."""
    return tmp_path_factory.mktemp("vectors")


@pytest.mark.parametrize("page", [p for p in PAGES if any(BLOCK.finditer(p.read_text()))], ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_of_a_page_run(page: Path, tables: dict[str, str], vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's blocks, word for word, one after the other."""
    for name, table in tables.items():
        (tmp_path / name).write_text(table)
    (tmp_path / "cache").symlink_to(vectors)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    printed = ""
    for block in blocks(page):
        code, mark = block["code"], block["mark"]
        if mark.startswith("file "):
            (tmp_path / mark.removeprefix("file ")).write_text(code)
        elif block["language"] == "python":
            compiled = compile(code, page.name, "exec")
            if not mark.startswith("parsed: "):
                exec(compiled, names)  # our own text
        elif block["language"] == "bash" and not mark.startswith("parsed: "):
            expected = {int(mark.removeprefix("exits "))} if mark.startswith("exits ") else {0, 1, 3}
            for words in commands(code):
                printed = run_command(words, expected, tmp_path)
        elif mark == "output":
            assert set(re.findall(r"\d[\d.,]*", code)) <= set(re.findall(r"\d[\d.,]*", printed)), f"{page.name}: {printed}"
        elif block["language"] in ("json", "yaml", "toml"):
            {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}[block["language"]](code)
        else:
            assert block["language"] == "text" or mark.startswith("parsed: "), f"{page.name}: what is {block['language']!r}?"


def run_command(words: list[str], expected: set[int], folder: Path) -> str:
    """evenhand runs, in this process, and what it prints is returned; make and python have what they name; pip is left alone."""
    if words[0] == "make":
        assert f"\n{words[1]}: " in (ROOT / "Makefile").read_text(), words
    elif words[0] == "python":
        assert (ROOT / words[1]).exists(), words
    elif words[0] != "pip":
        assert words[0] == "evenhand", words
        done = inside(*words[1:], cwd=folder)
        assert done.returncode in expected, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout
    return ""


def test_site_builds_and_asks_the_network_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make docs` builds it, where every warning is an error: links, anchors, pages without a place, docstrings that cannot be read."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True))
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 3
    for page in pages:
        html = page.read_text()
        assert not re.search(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*(?:src|href|data)=[\"']?(?:https?:)?//", html), page
        assert 'class="mermaid"' not in html, f"{page}: the theme would fetch what draws it"
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style


def test_the_way_to_grpo_is_the_same_on_both_pages() -> None:
    """tests/test_serve_trl.py runs that of docs/loop.md."""
    ways = [
        [re.sub(r"  # .*", "", line) for line in block.splitlines()]
        for page in ("README.md", "docs/loop.md")
        for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
        if "GRPOTrainer(" in block
    ]
    assert len(ways) == 2
    assert ways[0] == ways[1]
    assert sum(bool(line) for line in ways[0]) + 1 <= 12  # with the line that fits

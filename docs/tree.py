"""Write the file tree into docs/architecture.md: one line a file, from the first sentence of each file's own description."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- tree -->", "<!-- /tree -->"
FOLDERS = ("src/evenhand", "benchmarks", "nightly", "runs", "docs")
SKIPPED = {"__pycache__", "runs/results", "runs/out", "nightly/out"}


def tree() -> str:
    lines = ["```text"]
    for folder in FOLDERS:
        lines += _lines(ROOT / folder, 0)
    return "\n".join([*lines, "```"])


def _lines(folder: Path, depth: int) -> list[str]:
    name = str(folder.relative_to(ROOT)) if depth == 0 else folder.name
    about = _about(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
    out = [_row(f"{'  ' * depth}{name}/", about)]
    children = sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name))
    for child in children:
        if child.is_dir() and not {child.name, str(child.relative_to(ROOT))} & SKIPPED:
            out += _lines(child, depth + 1)
        elif child.suffix in (".py", ".sh", ".md", ".j2", ".css", ".jsonl") and child.name != "__init__.py":
            out.append(_row(f"{'  ' * (depth + 1)}{child.name}", _about(child)))
    return out


def _row(name: str, about: str) -> str:
    return f"{name:38s}{about}".rstrip()


def _about(file: Path) -> str:
    """The first sentence of a docstring, the first heading of a page, the first comment of a script."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    elif file.suffix == ".sh":
        text = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")
    elif file.suffix == ".md":
        text = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), "")
    elif match := re.match(r"\s*(?:\{#|/\*)\s*(.*?)\s*(?:#\}|\*/)", text, re.DOTALL):
        text = match.group(1)
    else:
        text = "the built-in sample's texts" if file.suffix == ".jsonl" else ""
    first = re.split(r"(?<=[\w)\]%`])(?<!et al)(?<!e\.g)(?<!sec)\. ", " ".join(text.split("\n\n")[0].split()))[0].rstrip(".")
    return first if len(first) <= 130 else first[:127].rsplit(" ", 1)[0] + " …"


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{tree()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

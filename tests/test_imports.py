"""The direction of imports, and what importing may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_point_left() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


HEAVY = {"torch", "sklearn", "scipy.stats", "pandas", "matplotlib", "transformers", "sentence_transformers", "pydantic.v1", "ray", "duckdb"}


def loaded_by(code: str) -> set[str]:
    """The modules in memory after `code` ran in a fresh interpreter."""
    show = "import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True).stdout.split())


def called(*arguments: str) -> str:
    """Code that runs a verb and keeps what it prints to itself."""
    code = f"import sys, contextlib, io\nsys.argv = ['evenhand', *{list(arguments)}]\nimport evenhand.cli\n"
    streams = "contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())"
    return (
        code
        + f"with {streams}:\n  try: evenhand.cli.main()\n  except SystemExit as leaving: code = leaving.code\nassert code in (0, 1, 3), code"
    )


def test_help_needs_no_heavy_library() -> None:
    assert not loaded_by(called("--help")) & (HEAVY | {"scipy", "pyarrow", "jinja2"})


def test_package_import_is_light_and_audits_do_without_torch() -> None:
    assert not loaded_by("import evenhand") & (HEAVY | {"numpy", "typer", "rich"})
    assert "torch" not in loaded_by("import evenhand; evenhand.audit; evenhand.load; evenhand.Report")


def test_an_audit_of_score_columns_from_the_shell_loads_no_heavy_library(tmp_path: Path) -> None:
    """With page, figures and support curve, and where users share so few pairs that their words are read: scikit-learn has 300 modules."""
    rows = [
        {
            "user": f"u{i % 24}",
            "prompt": f"p{i // 24 % 10}",
            "chosen": "one text",
            "rejected": "another text",
            "score": (i * 7919 % 101) - 40,
        }
        for i in range(480)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = """
import numpy as np
from evenhand.data.clusters import find_clusters
from evenhand.encode.projection import FeatureMap, Recipe
found = FeatureMap.fit([f"word{i % 9} and word{i % 7}" for i in range(60)], None, recipe=Recipe(dim=4, svd=8)).apply(["word1"] * 60, None)
find_clusters(found + np.random.default_rng(0).normal(size=found.shape), 0)
"""
    loaded = loaded_by(called("audit", str(tmp_path / "pairs.jsonl"), "--scores", "score", "--out", str(tmp_path / "out")) + words)
    assert (tmp_path / "out" / "report.html").exists()
    assert not loaded & HEAVY


def test_importing_everything_opens_no_socket_and_loads_no_optional_dependency() -> None:
    """Nor do they load scipy.stats, or training heads, alone and stacked, torch's compiler, which takes a second."""
    code = "import socket\ndef refuse(*a, **k): raise AssertionError('a socket was opened')\n"
    code += "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
    trained = """
from evenhand.methods.pafo import Pafo
from evenhand.testing import prepared, small_world
from evenhand.training.stack import fit_all
from dataclasses import replace
pafo = prepared(Pafo)
fit_all([pafo, replace(pafo, alpha=0.5)], *small_world()[:2], 0)
"""
    loaded = loaded_by(code + "import evenhand\nfor name in evenhand.__all__: getattr(evenhand, name)" + trained)
    assert not loaded & {"sentence_transformers", "fairlearn", "transformers", "torch._dynamo", "scipy.stats"}


def test_an_interrupt_before_the_command_line_is_loaded_ends_like_a_later_one() -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
class Interrupted(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "evenhand.cli.options":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from evenhand.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: nothing was begun.\n")

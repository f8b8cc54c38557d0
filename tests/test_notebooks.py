"""The notebooks of docs/notebooks, as they are, from the first cell to the last; and they hold no outputs, which would be somebody's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evenhand

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NAMES = sorted(p.stem for p in FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """One for all, so that libraries are loaded once."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    yield manager
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)


def run(name: str, folder: Path, kernel: Any) -> list[str]:
    """Everything that the cells showed or printed, as text."""
    # jsonschema builds a grammar of addresses at import, which takes longer than all else of these packages: notebooks have no field of them
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # as if it were not installed
    import nbformat
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    places = {"EVENHAND_CACHE": str(folder / "cache")}
    fresh = f"%reset -f\nimport os\nos.chdir({str(folder)!r})\nos.environ |= {places!r}\ndel os"
    notebook.cells.insert(0, new_code_cell(fresh))
    NotebookClient(notebook, km=kernel, timeout=None).execute()
    said = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return [out.get("text") or out.get("data", {}).get("text/plain", "") for out in said]


def test_an_audit_in_ten_minutes(kernel: Any, tmp_path: Path) -> None:
    said = run("audit-in-ten-minutes", tmp_path, kernel)
    assert any(text.startswith("FAIL") and "The minority" in text for text in said)
    assert "(1, 'FAIL')" in said
    assert (tmp_path / "audit" / "report.html").exists()


def test_a_frontier(kernel: Any, tmp_path: Path) -> None:
    said = run("pareto-frontier", tmp_path, kernel)
    assert any("alpha=0.5" in text for text in said)
    assert any("Figure" in text for text in said)
    assert (tmp_path / "sweep" / "report.html").exists()


@pytest.mark.lm
@pytest.mark.skipif("reward_function" not in evenhand.__all__, reason="there is no reward_function yet")
def test_from_choices_to_grpo(kernel: Any, tmp_path: Path) -> None:
    said = run("choices-to-grpo", tmp_path, kernel)
    assert any(text.startswith("[(1, ") and "(2, " in text for text in said), "the mean reward of each step"
    assert (tmp_path / "out" / "model" / "model.json").exists()
    assert os.environ.get("HF_HUB_OFFLINE") == "1"


def test_every_notebook_is_run_here() -> None:
    assert NAMES == ["audit-in-ten-minutes", "choices-to-grpo", "pareto-frontier"]

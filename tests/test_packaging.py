"""What is shipped: everything that the package reads at run time, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "evenhand"
SPARED = ("__pycache__", "*.pyc", "*.egg-info")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel, the wheel built from the sdist, as `make dist` builds them; from a copy, which a build may litter."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"):
        shutil.copy(ROOT / name, tree / name)
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*SPARED))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", tree], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = {n for n in opened.namelist() if ".dist-info/" not in n}
        about = next(n for n in opened.namelist() if n.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(opened.read(about).decode())
        notice = any(n.endswith("licenses/LICENSE") for n in opened.namelist())
    whole = {str(p.relative_to(ROOT / "src")) for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert names == whole, "grids, words, samples and templates included"
    assert {"evenhand/texts/grids/climate.toml", "evenhand/data/sample/responses.jsonl", "evenhand/py.typed"} <= names
    assert said["License-Expression"] == "MIT"
    assert said["Requires-Python"] == ">=3.11"
    assert notice
    assert wheel.stat().st_size < 4e6


def test_the_sdist_holds_what_builds_it_and_no_tests(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        inside = {n.partition("/")[2] for n in opened.getnames()} - {""}
    assert {n.partition("/")[0] for n in inside} == {
        "src", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "PKG-INFO", "setup.cfg",
    }  # fmt: skip
    assert {n for n in inside if n.startswith("src/evenhand/texts/words/")}

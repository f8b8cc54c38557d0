"""The lowest and the highest versions that pyproject.toml allows, each installed in an environment of its own, and a part of the suite run there.

    python nightly/versions.py --tests all
    python nightly/versions.py --tests few --side floor

Floor: every direct dependency at the version that its range begins with, all others as they come. Ceiling: everything as new as it is to be had, without
constraints.txt. What cannot be installed is told; a test that fails is a finding: raise the floor, with the reason, or mend the code.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from outcome import HERE, OUT, ended

ROOT = HERE.parent
EXTRAS = ("excel", "sql", "frames", "serve", "lm")
TOOLS = (
    "pytest",
    "hypothesis",
    "fairlearn",
    "krippendorff",
    "httpx",
    "pandas",
    "polars",
    "pytest-xdist",
)  # of the extra test, which the tests below import
TESTS = {
    "few": ("test_audit_intervals", "test_support", "test_data_formats", "test_encode", "test_models_contract", "test_terminal"),
    "all": (
        "test_agreement", "test_audit", "test_audit_intervals", "test_audit_users", "test_backbone", "test_calibration", "test_certificate", "test_choosing",
        "test_cli", "test_constraints", "test_data_formats", "test_data_load", "test_data_sources", "test_data_tables", "test_encode", "test_encode_cache",
        "test_frontier", "test_groups", "test_metrics", "test_models_contract", "test_parts", "test_report", "test_report_engine", "test_report_numbers",
        "test_sample", "test_score", "test_serve_saved", "test_serve_web", "test_splits", "test_support", "test_terminal", "test_training", "test_twoway",
        "test_view", "test_writing",
    ),
}  # fmt: skip


def requirements() -> dict[str, str]:
    """Direct dependencies of the package and of its extras, as they are written: name → range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    written = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    found = (re.match(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", r) for r in written)
    return {m[1]: m[2] for m in found if m and m[1] != "evenhand"}


def floors() -> list[str]:
    """Each direct dependency at the beginning of its range."""
    return [f"{name}=={m[1]}" for name, allowed in requirements().items() if (m := re.match(r"[>=]=([\w.]+)", allowed))]


def installed(python: Path) -> dict[str, str]:
    said = subprocess.run([python, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("==", 1) for line in said.splitlines() if "==" in line)


def side(name: str, tests: tuple[str, ...], held: list[str]) -> tuple[list[str], dict[str, str]]:
    """What was found on one side, and the versions of direct dependencies there. held: versions that are given, such as torch==2.13.0."""
    place = OUT / name
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}[{','.join(EXTRAS)}]", *TOOLS]
    given = [h.split("==")[0] for h in held]
    pinned = [*held, *(f for f in floors() if name == "floor" and f.split("==")[0] not in given)]
    (place / "pinned.txt").write_text("".join(f"{p}\n" for p in pinned))
    command += ["--constraint", place / "pinned.txt"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return [f"{name}: cannot be installed: {(done.stdout + done.stderr)[-1500:]}"], {}
    known = {re.sub(r"[-_.]+", "-", n).lower(): v for n, v in installed(python).items()}
    versions = {n: known[key] for n in requirements() if (key := re.sub(r"[-_.]+", "-", n).lower()) in known}
    shutil.copytree(ROOT / "tests", place / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    files = [f"tests/{t}.py" for t in tests]
    pytest = [python, "-m", "pytest", "-q", "-n", "0", "--maxfail=40", "--tb=line", "-p", "no:cacheprovider", *files]
    (place / "pytest.ini").write_text("[pytest]\nmarkers = lm\n")
    done = subprocess.run(pytest, cwd=place, env=env, capture_output=True, text=True)
    said = done.stdout + done.stderr
    print(f"{name}: {said.strip().splitlines()[-1] if said.strip() else 'no output'}", flush=True)
    failed = [f"{name}: {line[:400]}" for line in said.splitlines() if re.match(r"(FAILED|ERROR) ", line)]
    return failed or ([f"{name}: pytest ended by {done.returncode}: {said[-1500:]}"] if done.returncode else []), versions


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--tests", choices=sorted(TESTS), default="all")
    asked.add_argument("--side", choices=("floor", "ceiling"), action="append", help="default: both")
    asked.add_argument("--hold", action="append", default=[], help="a version that both sides have, such as torch==2.13.0")
    told = asked.parse_args()
    OUT.mkdir(exist_ok=True)
    findings, versions = [], {}
    for name in told.side or ("floor", "ceiling"):
        found, versions[name] = side(name, TESTS[told.tests], told.hold)
        findings += found
    counts = {"sides": len(versions), "test files": len(TESTS[told.tests]), "packages": len(requirements())}
    return ended("versions", counts, findings, versions=versions)


if __name__ == "__main__":
    sys.exit(main())

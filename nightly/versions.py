"""The lowest and the highest versions that pyproject.toml allows, each installed in an environment of its own, and a part of the suite run there.

    python nightly/versions.py --tests all
    python nightly/versions.py --tests few --side floor

Floor: every direct dependency at the lowest version in its range that goes with the others, all further ones as they come. Ceiling: everything as new as it
is to be had, without constraints.txt. A test that fails is a finding: raise the floor, with the reason, or mend the code. Needs uv, which resolves both.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib

from outcome import HERE, OUT, ended
from uv import find_uv_bin

ROOT = HERE.parent
RESOLUTIONS = {"floor": "lowest-direct", "ceiling": "highest"}
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
    """Direct dependencies of the package and of the extras that are installed, as they are written: name → range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    written = [*project["dependencies"], *(r for extra in EXTRAS for r in project["optional-dependencies"][extra])]
    found = (re.match(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", r) for r in written)
    return {m[1]: m[2] for m in found if m and m[1] != "evenhand"}


def side(name: str, tests: tuple[str, ...], held: list[str]) -> tuple[list[str], dict[str, str]]:
    """What was found on one side, and the versions of direct dependencies there. held: versions that are given, such as torch==2.13.0."""
    place = OUT / name
    shutil.rmtree(place, ignore_errors=True)
    uv = shutil.which("uv") or find_uv_bin()
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "OMP_NUM_THREADS": "1",
        "UV_LINK_MODE": "copy",
        "VIRTUAL_ENV": str(place),
    }
    (OUT / "held.txt").write_text("".join(f"{h}\n" for h in held))
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    lowest = [
        uv,
        "pip",
        "compile",
        ROOT / "pyproject.toml",
        *extras,
        "--quiet",
        "--resolution",
        RESOLUTIONS[name],
        "--constraint",
        OUT / "held.txt",
    ]
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, place],
        [*lowest, "--python", place / "bin" / "python", "--output-file", place / "versions.txt"],
        [uv, "pip", "install", "--quiet", "--requirement", place / "versions.txt", *TOOLS],
        [uv, "pip", "install", "--quiet", "--no-deps", ROOT],
    ):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            return [f"{name}: cannot be installed: {(done.stdout + done.stderr)[-1500:]}"], {}
    lines = (line.split("==") for line in (place / "versions.txt").read_text().splitlines() if re.match(r"[\w.-]+==", line))
    known = dict(lines)
    versions = {n: known[key] for n in requirements() if (key := re.sub(r"[-_.]+", "-", n).lower()) in known}
    shutil.copytree(ROOT / "tests", place / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for beside in ("docs", "runs", "benchmarks", "README.md"):  # which tests look at
        (place / beside).symlink_to(ROOT / beside)
    (place / "pytest.ini").write_text("[pytest]\nmarkers = lm\n")
    pytest = [
        place / "bin" / "python",
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "--maxfail=40",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "-k",
        "not schemathesis",
    ]
    done = subprocess.run([*pytest, *(f"tests/{t}.py" for t in tests)], cwd=place, env=env, capture_output=True, text=True)
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

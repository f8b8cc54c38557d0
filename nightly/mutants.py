"""Mutation testing of what numbers follow from (core, audits, data): mutmut changes one thing in one function, and the tests of that file must notice.

    python nightly/mutants.py --mutants 2000
    python nightly/mutants.py --mutants 40 --files audits/intervals.py

A mutant that no test notices survives. Those that were looked at stand in nightly/survivors.md, each with a judgement; every other survivor is a
finding: write the test that is missing, or add the line with the reason why none can be. Words in messages are not changed: a test that repeats a
sentence tells nothing. Needs mutmut (pip install 'evenhand[nightly]').
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from outcome import HERE, OUT, ended

ROOT = HERE.parent
WORK = OUT / "mutants"
KNOWN = HERE / "survivors.md"
SOURCE = Path("src/evenhand")
KILLED, TIMED_OUT, SURVIVED, UNREACHED = "killed", "timed out", "survived", "reached by no test"
TESTS: dict[str, tuple[str, ...]] = {  # file → its tests, the fastest that speak of it
    "audits/intervals.py": ("test_audit_intervals", "test_twoway", "test_audit"),
    "audits/sample.py": ("test_audit_intervals", "test_audit_users", "test_twoway", "test_audit"),
    "audits/verdicts.py": ("test_audit", "test_report_numbers", "test_constraints"),
    "audits/twoway.py": ("test_twoway", "test_agreement", "test_audit_intervals"),
    "audits/nulls.py": ("test_audit_users",),
    "audits/users.py": ("test_audit_users",),
    "data/support.py": ("test_support", "test_groups"),
    "data/votes.py": ("test_support",),
    "data/splits.py": ("test_splits", "test_shared_responses", "test_deals"),
    "data/pairing.py": ("test_grouping", "test_deals", "test_data_sources"),
    "core.py": ("test_models_contract", "test_training", "test_events", "test_data_load"),
}
WITHOUT = " or ".join((
    "hold_at_once", "test_coverage", "cover_where", "gate_error",  # import benchmarks/coverage.py, whose name mutmut has taken
    "are_bounded_by_their_means", "notable_groups", "any_text", "of_many_groups_that", "never_imports", "sidak", "hundreds_of_groups",  # seconds each
))  # fmt: skip
CONFIG = """
[tool.pytest.ini_options]
markers = ["lm"]

[tool.mutmut]
source_paths = ["src"]
only_mutate = ["{file}"]
pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:cacheprovider", "-k", "not ({without})"]
pytest_add_cli_args_test_selection = [{tests}]
timeout_constant = 20.0
track_dependencies = false
use_git_change_detection = false
"""


@dataclass(frozen=True)
class Mutant:
    """name: mutmut's. change: the lines that differ, `old` → `new`."""

    file: str
    name: str
    function: str
    change: str


def mutants_of(file: str) -> list[Mutant]:
    """All mutants of a file but those that change words alone."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    path = SOURCE / file
    made = mutate_file_contents(str(path), (ROOT / path).read_text())
    functions = {n.name: n for n in ast.walk(ast.parse(made.code)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    found = []
    for name in made.mutant_names:
        whole = f"{name.partition('__mutmut_')[0]}__mutmut_orig"
        one, other = functions[whole], functions[name]
        if wordless(one) != wordless(other):
            found.append(Mutant(file, get_mutant_name(path, name), function_of(name), change(one, other)))
    return found


def wordless(function: ast.AST) -> str:
    """A function without its name, without the words of its texts, and without what errors that it raises say."""
    tree = ast.parse(ast.unparse(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name:
            node.name = ""
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
    return ast.dump(tree)


def function_of(name: str) -> str:
    """ "Class.method" or "function" of mutmut's name."""
    return re.sub("^x_|^xǁ", "", name.partition("__mutmut_")[0]).replace("ǁ", ".")


def change(one: ast.AST, other: ast.AST) -> str:
    before, after = (re.sub(r"\bx(?:_|ǁ\w*ǁ)(\w+?)__mutmut_\w+", r"\1", ast.unparse(f)).splitlines() for f in (one, other))
    lines = [line for line in difflib.ndiff(before, after) if line[:1] in "-+"]
    sides = [" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+"]
    return " → ".join(f"`{side}`" for side in sides).replace("|", "¦")


def run(file: str, mutants: list[Mutant]) -> dict[str, str]:
    """What became of each, by mutmut's names. Raises SystemExit where the tests fail without any mutant."""
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, WORK / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for beside in ("README.md", "docs", "runs", "benchmarks"):  # which tests look at
        (WORK / "mutants").mkdir(exist_ok=True)
        (WORK / "mutants" / beside).symlink_to(ROOT / beside)
    tests = ", ".join(f'"tests/{t}.py"' for t in TESTS[file])
    (WORK / "pyproject.toml").write_text(CONFIG.format(file=SOURCE / file, tests=tests, without=WITHOUT))
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", "").replace(str(ROOT / "src"), "")]))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run", "--max-children", "1", *(m.name for m in mutants)]
    done = subprocess.run(command, cwd=WORK, env=env, capture_output=True, text=True)
    meta = WORK / "mutants" / SOURCE / f"{file}.meta"
    if done.returncode or not meta.exists():
        sys.exit(f"mutmut stopped at {file}: {(done.stdout + done.stderr)[-3000:]}")
    codes = json.loads(meta.read_text())["exit_code_by_key"]
    known = {0: SURVIVED, 33: UNREACHED, 5: UNREACHED, 36: TIMED_OUT, 24: TIMED_OUT, -24: TIMED_OUT, 152: TIMED_OUT, -9: TIMED_OUT}
    return {m.name: known.get(codes[m.name], KILLED) for m in mutants}


def judged() -> set[tuple[str, str, str]]:
    """(file, function, change) of the survivors that were looked at."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in KNOWN.read_text().splitlines() if line.startswith("| `")
    ]
    return {(file.strip("`"), function.strip("`"), made) for file, function, made, *_ in rows}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--mutants", type=int, default=2000, help="over all files, drawn evenly among their mutants")
    asked.add_argument("--files", default=",".join(TESTS))
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    every = {file: mutants_of(file) for file in told.files.split(",")}
    total = sum(map(len, every.values()))
    counts: Counter[str] = Counter({"mutants": 0, KILLED: 0, TIMED_OUT: 0, SURVIVED: 0, UNREACHED: 0})
    by_file, left = {}, list[Mutant]()
    for file, mutants in every.items():
        size = min(len(mutants), -(-told.mutants * len(mutants) // total))
        some = random.Random(f"{told.seed} {file}").sample(mutants, size)
        fates = run(file, some)
        by_file[file] = dict(Counter(fates.values())) | {"of": len(mutants)}
        counts.update(fates.values())
        counts["mutants"] += len(some)
        here = [m for m in some if fates[m.name] in (SURVIVED, UNREACHED)]
        left += here
        print(f"{file}: {by_file[file]}", *(f"  {m.function}: {m.change}" for m in here), sep="\n", flush=True)
    known = judged()
    rows = [f"{m.file}, {m.function}: {m.change}" for m in left if (m.file, m.function, m.change) not in known]
    lines = [f"| `{m.file}` | `{m.function}` | {m.change} | |" for m in left]
    return ended("mutants", counts | Counter({"looked at before": len(left) - len(rows)}), rows, files=by_file, survivors=lines)


if __name__ == "__main__":
    sys.exit(main())

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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outcome import HERE, OUT, ended

if TYPE_CHECKING:
    from mutmut.mutation.file_mutation import MutatedFile

ROOT = HERE.parent
WORK = OUT / "mutants"
KNOWN = HERE / "survivors.md"
SOURCE = Path("src/evenhand")
KILLED, TIMED_OUT, SURVIVED, UNREACHED = "killed", "timed out", "survived", "reached by no test"
TESTS: tuple[tuple[str, str], ...] = (  # files → the tests that speak of them, in process and fast; of these mutmut runs the ones that enter the function
    (
        "audits/intervals audits/sample audits/bootstrap audits/twoway audits/agreement audits/nulls audits/users audits/support_curve audits/low_support",
        "test_audit_intervals test_twoway test_agreement test_audit_users test_low_support test_audit test_audit_batches test_noticed",
    ),
    (
        "audits/batch audits/passes audits/clusters audits/units audits/spread audits/outcomes audits/metrics audits/examine audits/findings "
        "audits/broken audits/changes audits/confounds audits/requirements audits/shortfall audits/stability audits/verdicts",
        "test_audit_batches test_audit test_twoway test_answers test_metrics test_report_numbers test_constraints test_agreement test_data_batches test_noticed",
    ),
    (
        "audits/constraints audits/rates audits/violations audits/bounds audits/certificate",
        "test_constraints test_certificate test_answers test_events test_frontier",
    ),
    (
        "audits/ranking audits/deals audits/results audits/frontier",
        "test_ranking test_deals test_frontier test_metrics test_report_comparison",
    ),
    ("audits/policies audits/transfer data/candidates", "test_transfer"),
    ("data/support data/votes data/groups data/clusters", "test_support test_groups test_data_batches test_sample"),
    ("data/splits data/pairing", "test_splits test_shared_responses test_deals test_grouping test_data_sources test_data_tables"),
    (
        "data/batches data/canonical data/ballots data/survey data/merging data/shards",
        "test_data_batches test_shards test_audit_batches",
    ),
    (
        "data/assemble data/attributes data/collect data/columns data/labels data/ledger data/load data/reading data/reading_tables "
        "data/reading_text data/resolve data/rows data/source data/side_tables data/small_json data/conversations data/written "
        "data/sources/choices data/sources/table data/sources/trl data/sources/votes data/sources/ratings",
        "test_data_load test_data_cases test_data_choices test_data_tables test_data_sources test_hostile_data test_hostile_files test_grouping test_events test_chat",
    ),
    (
        "data/sources/crehate data/sources/dsp data/sources/multipico data/sources/personalllm data/sources/polis data/sources/prism data/sources/bbq",
        "test_data_sources test_data_tables test_bbq test_data_formats",
    ),
    ("data/events data/event_columns data/matched data/mentions data/swaps", "test_events"),
    ("data/doctor data/counts data/lookalikes data/surface", "test_doctor test_data_tables"),
    ("data/scorable data/simulate", "test_score test_sample test_metrics"),
    ("core", "test_models_contract test_training test_events test_data_load"),
)  # fmt: skip
NO_NUMBERS = {"data/csv_cells": "writes cells that no spreadsheet runs; test_hostile_files has them"}  # file → why it is left out
WITHOUT = " or ".join((
    "hold_at_once", "test_coverage", "cover_where", "gate_error", "test_page_", "which_command",  # import benchmarks/, whose name mutmut has taken
    "are_bounded_by_their_means", "notable_groups", "any_text", "of_many_groups_that", "never_imports", "sidak", "hundreds_of_groups",  # seconds each
    "swept", "falls_as_gamma", "gamma_one_is", "goes_on_where_it_stopped", "replica_is_what", "too_many_comparisons", "toss_of_a_coin", "each_users_rates",
    "hold_the_truth", "page_is", "texts_of_others", "sentences_begin", "every_verb", "field_over_the_limit",
    "published_polis_folder", "command_of_the_table", "logistic_regression_on", "row_twice", "documentation", "killed", "averages_over_deals",
))  # fmt: skip
CONFIG = """
[tool.pytest.ini_options]
markers = ["lm"]
filterwarnings = ["error::RuntimeWarning:evenhand"]

[tool.mutmut]
source_paths = ["src"]
only_mutate = [{files}]
pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:cacheprovider", "-k", "not ({without})"]
pytest_add_cli_args_test_selection = [{tests}]
timeout_constant = 10.0
timeout_multiplier = 4.0
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


def mutated(file: str) -> MutatedFile:
    """All mutants of a file, as mutmut writes them."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    return mutate_file_contents(str(SOURCE / file), (ROOT / SOURCE / file).read_text())


def drawn(file: str, made: MutatedFile, size: int, draw: random.Random) -> list[Mutant]:
    """So many of a file's mutants, fewer where it has fewer, none of which changes words alone or what a protocol declares."""
    from mutmut.utils.format_utils import get_mutant_name

    functions = {n.name: n for n in ast.walk(ast.parse(made.code)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    found = list[Mutant]()
    for name in draw.sample(made.mutant_names, len(made.mutant_names)):
        one, other = functions[f"{name.partition('__mutmut_')[0]}__mutmut_orig"], functions[name]
        if len(found) < size and wordless(one) != wordless(other) and not all(isinstance(n, ast.Expr) for n in one.body):
            found.append(Mutant(file, get_mutant_name(SOURCE / file, name), function_of(name), change(one, other)))
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


def run(mutants: list[Mutant], tests: str) -> dict[str, str]:
    """What became of each, by mutmut's names. Raises SystemExit where the tests fail without any mutant."""
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, WORK / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for beside in ("README.md", "docs", "runs", "benchmarks"):  # which tests look at
        (WORK / "mutants").mkdir(exist_ok=True)
        (WORK / "mutants" / beside).symlink_to(ROOT / beside)
    if (cases := ROOT.parent / "shared" / "cases").exists():  # tables of others, small ones
        (WORK / "shared").mkdir()
        (WORK / "shared" / "cases").symlink_to(cases)
    files = sorted({m.file for m in mutants})
    chosen = CONFIG.format(files=quoted(SOURCE / f for f in files), tests=quoted(f"tests/{t}.py" for t in tests.split()), without=WITHOUT)
    (WORK / "pyproject.toml").write_text(chosen)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", "").replace(str(ROOT / "src"), "")]))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run", "--max-children", "1", *(m.name for m in mutants)]
    done = subprocess.run(command, cwd=WORK, env=env, capture_output=True, text=True)
    metas = [WORK / "mutants" / SOURCE / f"{file}.meta" for file in files]
    if done.returncode or not all(meta.exists() for meta in metas):
        sys.exit(f"mutmut stopped at {', '.join(files)}: {(done.stdout + done.stderr)[-3000:]}")
    codes = {name: code for meta in metas for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()}
    known = {0: SURVIVED, 33: UNREACHED, 5: UNREACHED, 36: TIMED_OUT, 24: TIMED_OUT, -24: TIMED_OUT, 152: TIMED_OUT, -9: TIMED_OUT}
    return {m.name: known.get(codes[m.name], KILLED) for m in mutants}


def quoted(names: Iterable[Path | str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def unnamed() -> list[str]:
    """Files of core, audits and data that stand in no row of TESTS: they would go untested without a word."""
    here = [ROOT / SOURCE / "core.py", *(path for room in ("audits", "data") for path in (ROOT / SOURCE / room).rglob("*.py"))]
    functions = {
        str(path.relative_to(ROOT / SOURCE).with_suffix(""))
        for path in here
        if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(path.read_text())))
    }
    named = {name for files, _ in TESTS for name in files.split()} | NO_NUMBERS.keys()
    return [f"{name}.py stands in no row of TESTS" for name in sorted(functions - named)] + [
        f"{name}.py of TESTS holds no function" for name in sorted(named - functions)
    ]


def judged() -> set[tuple[str, str, str]]:
    """(file, function, change) of the survivors that were looked at."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in KNOWN.read_text().splitlines() if line.startswith("| `")
    ]
    return {(file.strip("`"), function.strip("`"), made) for file, function, made, *_ in rows}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--mutants", type=int, default=2000, help="over all files, drawn evenly among their mutants; there are about 30,000")
    asked.add_argument("--files", default="", help="such as audits/intervals.py,data/splits.py; all where none is named")
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    if lost := unnamed():
        return ended("mutants", {"mutants": 0}, lost)
    wanted = {name.removesuffix(".py") for name in told.files.split(",") if name}
    if unknown := wanted - {name for files, _ in TESTS for name in files.split()}:
        sys.exit(f"in no row of TESTS: {', '.join(sorted(unknown))}")
    every = {f"{name}.py": mutated(f"{name}.py") for files, _ in TESTS for name in files.split() if not wanted or name in wanted}
    total = sum(len(made.mutant_names) for made in every.values())
    counts: Counter[str] = Counter({"mutants": 0, KILLED: 0, TIMED_OUT: 0, SURVIVED: 0, UNREACHED: 0})
    by_file, left = dict[str, dict[str, int]](), list[Mutant]()
    for files, tests in TESTS:
        some = list[Mutant]()
        for file in (f"{name}.py" for name in files.split() if f"{name}.py" in every):
            size = -(-told.mutants * len(every[file].mutant_names) // total)
            some += drawn(file, every[file], size, random.Random(f"{told.seed} {file}"))
        fates = run(some, tests) if some else {}
        for file in sorted({m.file for m in some}):
            here = [m for m in some if m.file == file]
            by_file[file] = dict(Counter(fates[m.name] for m in here)) | {"of": len(every[file].mutant_names)}
            lost = [m for m in here if fates[m.name] in (SURVIVED, UNREACHED)]
            print(f"{file}: {by_file[file]}", *(f"  {m.function}: {m.change}" for m in lost), sep="\n", flush=True)
            left += lost
        counts.update(fates.values())
        counts["mutants"] += len(some)
    known = judged()
    rows = [f"{m.file}, {m.function}: {m.change}" for m in left if (m.file, m.function, m.change) not in known]
    lines = [f"| `{m.file}` | `{m.function}` | {m.change} | |" for m in left]
    return ended("mutants", counts | Counter({"looked at before": len(left) - len(rows)}), rows, files=by_file, survivors=lines)


if __name__ == "__main__":
    sys.exit(main())

"""An audit of score columns against what gives the same group accuracies: a pipeline of pandas and fairlearn, and a query of DuckDB.

    python benchmarks/audit_others.py [--users 1000] [--pairs 50] [--boots 20] [--rounds 3]

One Parquet file: users of three countries, as many pairs each, so that a mean over pairs and a mean over users are the same number and all
three can be compared to the last digit. Each is a process of its own, the three take turns, round after round; counted are CPU seconds of the
process (user and system), libraries' imports included. What the others cannot say of the data is printed beside their seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COUNTRIES, SHARES, ACCURACY = ("Chile", "France", "Japan"), (0.6, 0.3, 0.1), (0.72, 0.7, 0.62)
TEXTS = 2_000

PANDAS = """
import json, sys
import numpy as np, pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score
table = pd.read_parquet("pairs.parquet", columns=["user", "country", "score_chosen", "score_rejected"])
right = (table.score_chosen > table.score_rejected).astype(int)
by_user = right.groupby([table.country, table.user]).mean().groupby("country").mean()
frame = MetricFrame(metrics=accuracy_score, y_true=np.ones(len(table), int), y_pred=right, sensitive_features=table.country,
                    n_boot=int(sys.argv[1]), ci_quantiles=[0.025, 0.5, 0.975], random_state=0)
low, _, high = frame.by_group_ci
print(json.dumps({g: [by_user[g], float(low[g]), float(high[g])] for g in by_user.index}))
"""

DUCKDB = """
import json
import duckdb
duckdb.sql("SET threads = 1")
rows = duckdb.sql('''
    SELECT country, avg(accuracy), avg(accuracy) - 1.96 * stddev_samp(accuracy) / sqrt(count(*)), avg(accuracy) + 1.96 * stddev_samp(accuracy) / sqrt(count(*))
    FROM (SELECT country, "user", avg(CASE WHEN score_chosen > score_rejected THEN 1.0 WHEN score_chosen = score_rejected THEN 0.5 ELSE 0.0 END) AS accuracy
          FROM 'pairs.parquet' GROUP BY country, "user")
    GROUP BY country''').fetchall()
print(json.dumps({g: [value, low, high] for g, value, low, high in rows}))
"""

MISSING = {
    "pandas and fairlearn": "intervals that know of users (fairlearn draws pairs), shared prompts, the gap's interval, a null, verdicts, calibration, "
    "single users, checks of the data, a page",
    "DuckDB": "any interval but the normal one written out above, shared prompts, the gap's interval, a null, verdicts, calibration, single users, "
    "checks of the data, a page",
}


def write(file: Path, users: int, pairs: int) -> None:
    """As many pairs a user; the model serves a country worse. Every user has own accuracy around the country's, so pairs are not independent."""
    rng = np.random.default_rng(0)
    country = rng.choice(3, size=users, p=SHARES)
    accuracy = np.clip(np.asarray(ACCURACY)[country] + 0.15 * rng.normal(size=users), 0.02, 0.98)
    user = np.repeat(np.arange(users), pairs)
    prompt, right = rng.integers(TEXTS, size=len(user)), rng.random(len(user)) < accuracy[user]
    margin = (np.abs(rng.normal(size=len(user))) + 1e-3) * np.where(right, 1, -1)
    likes_first = rng.random(len(user)) < 0.5
    texts = pa.array([f"Response {k} to prompt {p}, which says a little more." for p in range(TEXTS) for k in range(2)])
    columns = {
        "user": pa.array([f"user {i}" for i in range(users)]).take(user),
        "country": pa.array(COUNTRIES).take(country[user]),
        "prompt": pa.array([f"Prompt number {p}, of some length" for p in range(TEXTS)]).take(prompt),
        "chosen": texts.take(2 * prompt + likes_first),
        "rejected": texts.take(2 * prompt + ~likes_first),
        "score_chosen": pa.array(margin),
        "score_rejected": pa.array(np.zeros(len(user))),
    }
    pq.write_table(pa.table(columns), file)


def run(command: list[str], folder: Path) -> tuple[float, str]:
    """CPU seconds of the process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1, 3):
        sys.exit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("users", 1_000), ("pairs", 50), ("boots", 20), ("rounds", 3)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    options = arguments.parse_args()
    python = sys.executable
    ours = [
        python,
        "-m",
        "evenhand",
        "audit",
        "pairs.parquet",
        "--scores",
        "score_chosen,score_rejected",
        "--group-by",
        "country",
        "--out",
        "out",
    ]
    commands = {
        "evenhand": ours,
        "pandas and fairlearn": [python, "-c", PANDAS, str(options.boots)],
        "DuckDB": [python, "-c", DUCKDB],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder / "pairs.parquet", options.users, options.pairs)
        for _ in range(options.rounds):
            for name, command in commands.items():
                seconds, printed = run(command, folder)
                took[name].append(seconds)
                if name != "evenhand":
                    found[name] = json.loads(printed)
        groups = json.loads((folder / "out" / "report.json").read_text())["model"]["groups"]
        found["evenhand"] = {g["group"]: [g["accuracy"][part] for part in ("value", "low", "high")] for g in groups}
    print(f"{options.users * options.pairs:,} pairs of {options.users:,} users, {options.rounds} rounds; CPU seconds, medians")
    for name, seconds in took.items():
        ratios = [a / b for a, b in zip(took["evenhand"], seconds)]
        told = (
            ""
            if name == "evenhand"
            else f"   evenhand costs x{statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}) of it"
        )
        print(f"{name:22} {statistics.median(seconds):6.2f} s{told}")
        for group in COUNTRIES:
            value, low, high = (100 * v for v in found[name][group])
            print(f"  {group:8} {value:.4f} % [{low:.2f}, {high:.2f}]")
    for name, lacks in MISSING.items():
        print(f"{name} does not give: {lacks}")
    print(f"fairlearn draws {options.boots} times, evenhand 1,000 times")
    apart = max(abs(found[name][g][0] - found["evenhand"][g][0]) for name in MISSING for g in COUNTRIES)
    print(f"largest difference of a group's accuracy from evenhand's: {apart:.1e} (required: 1e-9)")
    return 0 if apart < 1e-9 else 1


if __name__ == "__main__":
    raise SystemExit(main())

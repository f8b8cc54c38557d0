"""Random shardings of one table into files, read one by one, put together and audited: the report must be the one of a single file, to the last digit.

python nightly/shardings.py --shardings 1000

A row lies in any file and any place of it. Compared is the whole of report.json but what says how the rows came (`OF_FILES`), with that of the
audit of one file in memory; half of the shardings go by groups of an attribute.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

import test_shards


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--shardings", type=int, default=1000)
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    os.fsync = lambda handle: None  # nobody cuts the power, and a thousand folders are written
    rng = np.random.default_rng(told.seed)
    table = test_shards.choices().drop_columns("split")
    table = table.slice(len(table) - 500)  # bad rows, ties and repeated ones among them
    findings, files = [], 0
    with tempfile.TemporaryDirectory() as place:
        grouped = ((), ("taste",))
        whole = [test_shards.said(test_shards.in_one(table, Path(place) / "whole", group_by=group_by)) for group_by in grouped]
        for number in range(told.shardings):
            folder, group_by = Path(place) / str(number), grouped[number % 2]
            parts = test_shards.deal(rng, len(table), 9)
            test_shards.made(test_shards.written(folder / "data", table, parts), folder / "out")
            report = test_shards.said(test_shards.together(folder / "out", group_by=group_by))
            if report != whole[number % 2]:
                differ = [name for name in whole[number % 2] if report.get(name) != whole[number % 2][name]]
                findings.append(f"sharding {number} into {len(parts)} files: another report in {', '.join(differ)}")
            files += len(parts)
            shutil.rmtree(folder)
    return ended("shardings", {"shardings": told.shardings, "files": files}, findings)


if __name__ == "__main__":
    sys.exit(main())

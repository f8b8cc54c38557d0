"""All nightly jobs in turn: `make nightly`. Each prints one line at its end and leaves nightly/out/NAME.json; the status is 1 where any found something.

python nightly/all.py              # the whole of each: some hours on two cores
python nightly/all.py --short      # the same jobs, small: about half an hour
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

JOBS = {  # file → what it is given: the whole, the short form
    "kills.py": (["--kills", "200"], ["--kills", "36"]),
    "rank_kills.py": (["--kills", "50", "--torchrun", "6", "--trainings", "50"], ["--kills", "6"]),
    "shardings.py": (["--shardings", "1000"], ["--shardings", "50"]),
    "fuzz.py": (["--records", "1000000"], ["--records", "40000"]),
    "hostile.py": (["--payloads", "500"], ["--payloads", "120"]),
    "planted.py": (["--secrets", "200"], ["--secrets", "200"]),
    "mutants.py": (["--mutants", "4000"], ["--mutants", "200"]),
    "versions.py": (["--tests", "all"], ["--tests", "few"]),
}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--short", action="store_true")
    told = asked.parse_args()
    here = Path(__file__).parent
    failed = [job for job, sizes in JOBS.items() if subprocess.run([sys.executable, here / job, *sizes[told.short]]).returncode]
    print(f"nightly: {len(JOBS) - len(failed)} of {len(JOBS)} jobs found nothing{'; look at ' + ', '.join(failed) if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# Whether the default of `fit` serves anybody worse than a baseline, of docs/results.md. Usage: runs/no_harm.sh [FOLDER WITH dsp, polis, crehate]
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data}
if [ ! -e "$data/polis/votes.csv.gz" ]; then echo "skipped: no Polis data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/no_harm.py --data "$data" --out runs/results/no_harm.json
.venv/bin/python runs/results.py

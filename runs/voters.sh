#!/usr/bin/env bash
# The study on real raters of docs/results.md. Usage: runs/voters.sh [FOLDER WITH polis, crehate, multipico]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data}
if [ ! -e "$data/polis/votes.csv.gz" ]; then echo "skipped: no Polis data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/voters.py --data "$data" --out runs/results/voters.json
.venv/bin/python runs/results.py

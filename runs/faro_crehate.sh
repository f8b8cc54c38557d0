#!/usr/bin/env bash
# Faro on CREHate, of docs/results.md. Usage: runs/faro_crehate.sh [FOLDER crehate]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/crehate}
if [ ! -e "$data/annotations.csv.gz" ]; then echo "skipped: no CREHate data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/faro_crehate.py --data "$data" --out runs/results/faro_crehate.json
.venv/bin/python runs/results.py

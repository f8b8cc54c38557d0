#!/usr/bin/env bash
# Faro on BBQ, of docs/results.md. Usage: runs/faro_bbq.sh [FOLDER bbq]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/bbq}
if [ ! -e "$data/Age.jsonl.gz" ]; then echo "skipped: no BBQ data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/faro_bbq.py --data "$data" --per-template 32 --out runs/results/faro_bbq.json
.venv/bin/python runs/results.py

#!/usr/bin/env bash
# What a reward reads, of docs/results.md. Usage: runs/reads.sh [FOLDER WITH dsp, crehate, multipico]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data}
if [ ! -e "$data/dsp/domain_specific_preference.test.jsonl.gz" ]; then echo "skipped: no DSP data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/reads.py --data "$data" --out runs/results/reads.json
.venv/bin/python runs/results.py

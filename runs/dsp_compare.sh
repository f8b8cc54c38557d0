#!/usr/bin/env bash
# Every method within one tuning budget on the DSP worlds, for docs/results.md. Usage: runs/dsp_compare.sh [FOLDER WITH domain_specific_preference.test.jsonl.gz]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/dsp}
if [ ! -e "$data/domain_specific_preference.test.jsonl.gz" ]; then echo "skipped: no DSP data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/dsp_compare.py --data "$data" --out runs/results/dsp_compare.json --seeds 1
.venv/bin/python runs/results.py

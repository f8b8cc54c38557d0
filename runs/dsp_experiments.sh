#!/usr/bin/env bash
# The experiments around the DSP study, for docs/results.md. Usage: runs/dsp_experiments.sh [FOLDER]; skips when the data is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/dsp}
if [ ! -e "$data/domain_specific_preference.test.jsonl.gz" ]; then echo "skipped: no DSP data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/dsp_experiments.py --data "$data" --seeds 1 --out runs/results/dsp_experiments.json
.venv/bin/python runs/results.py

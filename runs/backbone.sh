#!/usr/bin/env bash
# The study of backbones that train, of docs/results.md. Usage: runs/backbone.sh [FOLDER WITH domain_specific_preference.test.jsonl.gz]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/dsp}
if [ ! -e "$data/domain_specific_preference.test.jsonl.gz" ]; then echo "skipped: no DSP data in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/backbone.py --data "$data" --out runs/results/backbone.json
OMP_NUM_THREADS=1 .venv/bin/python runs/backbone.py --data "$data" --out runs/results/backbone.json --backbone smollm2 --rotations 0 --steps 8 --pieces-of frozen tuned heads
.venv/bin/python runs/results.py

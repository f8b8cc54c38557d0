#!/usr/bin/env bash
# The shipped emotion classifiers. Usage: runs/emotions.sh [FOLDER OF GOEMOTIONS]; skips when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/goemotions}
if [ ! -e "$data/train.tsv.gz" ]; then echo "skipped: no GoEmotions in $data"; exit 0; fi
OMP_NUM_THREADS=1 .venv/bin/python runs/emotions.py --data "$data"

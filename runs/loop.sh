#!/usr/bin/env bash
# From choices to a policy and its audit, of docs/results.md: some ten minutes of one core; it goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
OMP_NUM_THREADS=1 .venv/bin/python runs/loop.py "$@"
.venv/bin/python runs/results.py

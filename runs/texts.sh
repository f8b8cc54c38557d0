#!/usr/bin/env bash
# The study of texts, of docs/results.md: hours of one core; it goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
OMP_NUM_THREADS=1 .venv/bin/python runs/texts.py "$@"
.venv/bin/python runs/results.py

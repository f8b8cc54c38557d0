"""What the study of backbones makes of its pieces: differences paired by user, over the runs that have both models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from backbone import CELLS, FROZEN, HEADS, PERSONAL, USERS, summary


def piece(file: Path, majority: float, minority: float) -> None:
    """Accuracies in every cell of the first 40 users, the minority, and of the others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    accuracy = np.concatenate([np.full(40, minority), np.full(USERS - 40, majority)])
    save_file({f"{PERSONAL}|{cell}": accuracy for cell in CELLS}, file, {"about": json.dumps({"cpu": 1.0})})


def test_differences_are_paired_and_over_runs_that_have_both(tmp_path: Path) -> None:
    piece(tmp_path / "minilm-0-0" / "frozen.safetensors", 0.5, 0.25)
    piece(tmp_path / "minilm-0-0" / "heads.safetensors", 0.75, 0.5)
    piece(tmp_path / "minilm-1-0" / "frozen.safetensors", 0.5, 0.25)
    piece(tmp_path / "minilm-1-0" / "heads.safetensors", 0.625, 0.25)
    piece(tmp_path / "minilm-2-0" / "frozen.safetensors", 0.0, 0.0)  # has no other model

    found = summary(tmp_path)["minilm"]

    (difference,) = [d for d in found["differences"] if d["one"] == f"{HEADS}: {PERSONAL}"]
    assert difference["other"] == f"{FROZEN}: {PERSONAL}"
    assert difference["runs"] == ["0-0", "1-0"]
    majority, minority = (difference["cells"]["test"][g] for g in ("majority", "minority"))
    assert majority["by_run"] == pytest.approx([25.0, 12.5])
    assert majority["difference"]["value"] == pytest.approx(18.75)
    assert majority["difference"]["users"] == 2 * (USERS - 40)
    assert minority["by_run"] == pytest.approx([25.0, 0.0])
    level = found["models"][f"{FROZEN}: {PERSONAL}"]["new8"]["majority"]
    assert level["value"] == pytest.approx(100 / 3)
    assert level["by_run"] == {"0-0": 50.0, "1-0": 50.0, "2-0": 0.0}

"""The benchmarks of language models: the GPU's script runs on the CPU line by line, and its FLOPs are those that torch counts."""

from __future__ import annotations

import os
import re
import runpy
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.lm


def printed(folder: Path, *arguments: str) -> str:
    """What gpu.py prints on a machine that shows no GPU, as the main program of a process: a copy of this one, which has torch loaded already."""
    from trl import RewardTrainer  # here, so that the next copy has it, too

    assert RewardTrainer
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
            sys.argv, sys.path = ["gpu.py", *arguments], [str(BENCHMARKS), *sys.path]
            with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = out, err
                try:
                    runpy.run_path(str(BENCHMARKS / "gpu.py"), run_name="__main__")
                    code = 0
                except BaseException:
                    traceback.print_exc(file=err)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (folder / "err").read_text()[-2000:]
    return (folder / "out").read_text()


def test_every_line_of_the_gpu_script_runs_without_one(tmp_path: Path) -> None:
    rows = printed(tmp_path, "--tiny").splitlines()[1:]
    assert [re.split(r"\s{2,}", row)[1] for row in rows] == [
        "training, evenhand",
        "training, TRL",
        "scoring, evenhand",
        "scoring, padded loop",
    ]
    assert all(float(re.search(r"([\d,]+) tokens/s", row)[1].replace(",", "")) > 0 for row in rows)


def test_without_a_gpu_every_row_says_so(tmp_path: Path) -> None:
    rows = printed(tmp_path).splitlines()
    assert len(rows) == 12
    assert all(row.endswith("not measured: no GPU at hand") for row in rows)


def test_flops_are_those_that_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one text through a model with eager attention, which counts the half that is masked too; LoRA's and the backward pass's by hand."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu import TINY, Size
    from lm import config_of

    [tiny] = TINY
    assert isinstance(tiny, Size)
    model = AutoModel.from_config(config_of("qwen3", **{**tiny.shape, "vocab_size": 100}), attn_implementation="eager")
    tokens = 20
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        model(input_ids=torch.ones(1, tokens, dtype=torch.long))
    attention = 2 * 2 * tokens**2 * 2 * 2 * 32  # scores and sums, 2 FLOPs each, of 2 layers x 2 heads x 32
    rotations = 2 * tokens * 16  # positions times frequencies, once
    assert counted.get_total_flops() in (t := tiny.flops(np.array([tokens]), False) + attention / 2, t + rotations)
    n = 2 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128)
    lora = 2 * 16 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 128))
    assert tiny.flops(np.array([tokens, tokens]), True) == 2 * ((4 * n + 6 * lora) * tokens + 3 * attention / 2)

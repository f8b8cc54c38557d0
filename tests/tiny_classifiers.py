"""Tiny classifiers with random weights and named outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiny_models import tiny_bert, tiny_llama, tiny_qwen3


def tiny_classifier(folder: Path, labels: Sequence[str], *, kind: str = "bert", problem: str | None = None) -> Path:
    """kind: bert, llama, qwen3. problem: problem_type of its config."""
    import torch
    from transformers import AutoModelForSequenceClassification

    {"bert": tiny_bert, "llama": tiny_llama, "qwen3": tiny_qwen3}[kind](folder, score=True)
    names = dict(enumerate(labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(labels), id2label=names, label2id={v: k for k, v in names.items()}, ignore_mismatched_sizes=True
        )
        head = model.classifier if kind == "bert" else model.score
        torch.nn.init.normal_(head.weight, std=0.5)
    model.config.problem_type = problem
    model.save_pretrained(folder)
    return folder

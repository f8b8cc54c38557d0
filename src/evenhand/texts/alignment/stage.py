"""One training from beginning to end: examples in, an adapter in a folder out; finished, half done, or not begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenhand import ranks, writing
from evenhand.core import EvenhandError
from evenhand.encode.backbone import device
from evenhand.encode.chat import Chat
from evenhand.encode.loading import positions
from evenhand.texts.alignment import adapters
from evenhand.texts.alignment.adapters import Causal
from evenhand.texts.alignment.examples import Examples, Tokenized, tokenized
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.findings import Trained
from evenhand.texts.generators.places import files_sha256, folder_of, short
from evenhand.training.checkpoint import checkpointing, say_warning

CHECKPOINT = "checkpoint"  # a folder inside `out`, while it is in progress
MINUTES = 1.0  # between checkpoints: a step of a small model on a CPU takes seconds, and so does a checkpoint of a large one


@dataclass(frozen=True)
class Stage:
    """What SFT and DPO differ in. settings: beyond the recipe, for the record. start: the model under the adapter that trains. columns:
    what the trainer reads, of examples in their own order.
    """

    name: str
    settings: Mapping[str, str]
    start: Callable[[Causal], Any]
    columns: Callable[[Tokenized], Mapping[str, list[Any]]]
    make: Callable[[], Callable[..., Any]]


def train(
    stage: Stage,
    examples: Examples,
    *,
    model: str,
    out: Path,
    recipe: Recipe,
    every: int | None,
    say: Callable[[str], None] | None,
    progress: Callable[[int, int], None] | None,
) -> Trained:
    """See sft.py and dpo.py."""
    if ranks.count() > 1:
        raise EvenhandError(
            f"Found {ranks.count()} processes. Expected: one, to train on texts. To do: leave torchrun out; for many GPUs give sft.jsonl and "
            "dpo.jsonl to TRL's own command."
        )
    recipe = replace(recipe, device=device(recipe.device))
    identity = {
        "stage": stage.name,
        "model": short(model),
        "model sha256": files_sha256(folder_of(model)),
        "examples sha256": examples.sha256,
    }
    identity |= {**stage.settings, **recipe.said()}
    there = adapters.finished(out, identity)
    if there is not None and not (out / CHECKPOINT).exists():
        return there
    with checkpointing(
        out / CHECKPOINT, steps=every, minutes=MINUTES if every is None else None, identity=identity, say=say or say_warning
    ):
        return there or _trained(stage, examples, model, out, recipe, identity, progress)


def _trained(
    stage: Stage,
    examples: Examples,
    model: str,
    out: Path,
    recipe: Recipe,
    identity: Mapping[str, str],
    progress: Callable[[int, int], None] | None,
) -> Trained:
    from evenhand.texts.alignment.trainers import run

    base = adapters.causal(model, recipe.dtype, recipe.device or "cpu")
    tokens = tokenized(examples, Chat(base.tokenizer, min(recipe.max_tokens, positions(base.model, base.tokenizer))))
    order = recipe.order(tokens.lengths)
    columns = {name: [rows[i] for i in order] for name, rows in stage.columns(tokens).items()}
    worn = stage.start(base)
    weights = sum(p.numel() for p in worn.parameters() if p.requires_grad)
    losses, seconds = run(stage.make(), worn, base.tokenizer, columns, recipe, progress)
    facts = {
        "examples": f"{len(examples):,}",
        "tokens of answers": f"{tokens.tokens:,}",
        "cut to the limit of tokens": f"{tokens.cut:,} texts",
        "weights that train": f"{weights:,}",
        "steps": f"{len(losses):,} of {recipe.batch} examples",
        "seconds": f"{seconds:.0f}",
        **adapters.told(losses),
    }
    files = adapters.adapter_files(worn, base.name, adapters.record(stage.name, identity, facts, losses))
    writing.write(out, files, adapters.KIND)
    return adapters.read_trained(out)

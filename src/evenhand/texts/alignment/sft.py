"""Supervised fine-tuning: an adapter learns to write the texts that were selected, from their prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenhand.texts.alignment.adapters import fresh
from evenhand.texts.alignment.examples import SFT, Tokenized, read_examples
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.alignment.stage import Stage, train
from evenhand.texts.findings import Trained

RECIPE = Recipe(lr=2e-4)
NONE = -100  # the label of a token that is not learned


def sft(
    examples: Path,
    *,
    model: str,
    out: Path,
    recipe: Recipe = RECIPE,
    every: int | None = None,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train LoRA on the answers of `examples` (JSON lines, see examples.py), and write it to `out` as PEFT reads it.

    What lies there finished is read instead. A training that a kill has ended goes on from its last checkpoint and ends with the same
    bytes, on one machine. every: steps between checkpoints; None = a minute. say: told of what an earlier start left.

    Raises EvenhandError for a model that cannot write; DataError for examples that are none, and a folder that holds something else.
    """
    stage = Stage("SFT", {}, lambda base: fresh(base, recipe.rank, recipe.seed), columns, _maker)
    return train(stage, read_examples(examples, SFT), model=model, out=out, recipe=recipe, every=every, say=say, progress=progress)


def columns(tokens: Tokenized) -> Mapping[str, list[Any]]:
    [answers] = tokens.answers
    return {
        "input_ids": [p + a for p, a in zip(tokens.prompt, answers)],
        "labels": [[NONE] * len(p) + a for p, a in zip(tokens.prompt, answers)],
    }


def _maker() -> Callable[..., Any]:
    from evenhand.texts.alignment.trainers import sft_trainer

    return sft_trainer

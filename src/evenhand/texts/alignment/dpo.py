"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): an adapter goes on from SFT, towards the chosen of two texts.

The reference is the policy that it begins with, after SFT the one that SFT left and not the pretrained model: the first loss is log 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError
from evenhand.texts.alignment.adapters import WEIGHTS, Causal, check, fresh, worn
from evenhand.texts.alignment.examples import DPO, Tokenized, read_examples
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.alignment.stage import Stage, train
from evenhand.texts.findings import Trained

RECIPE = Recipe(lr=5e-5)
BETA = 0.1


def dpo(
    examples: Path,
    *,
    model: str,
    adapter: Path | None,
    out: Path,
    beta: float = BETA,
    recipe: Recipe = RECIPE,
    every: int | None = None,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a copy of `adapter` (sft.py, or any LoRA of PEFT's) on pairs of texts, and write it to `out`; None = begin with the model itself, under
    an adapter of the recipe's rank. beta: how dear it is to leave the reference. All else as in `sft`.

    Raises EvenhandError for an adapter of another model.
    """
    if not 0 < beta < 100:
        raise EvenhandError(f"beta of DPO is {beta}. Expected: above 0. To do: correct it.")
    start: Callable[[Causal], Any]
    if adapter is None:
        start, known = lambda base: fresh(base, recipe.rank, recipe.seed), "the model"
    else:
        check(adapter)
        start, known = lambda base: worn(base, adapter), hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest()
    stage = Stage("DPO", {"beta": str(beta), "starts from": known}, start, columns, lambda: _maker(beta))
    return train(stage, read_examples(examples, DPO), model=model, out=out, recipe=recipe, every=every, say=say, progress=progress)


def columns(tokens: Tokenized) -> Mapping[str, list[Any]]:
    chosen, rejected = tokens.answers
    return {"prompt_ids": tokens.prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def _maker(beta: float) -> Callable[..., Any]:
    from evenhand.texts.alignment.trainers import dpo_trainer

    return partial(dpo_trainer, beta=beta)

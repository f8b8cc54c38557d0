"""Users as adapters of PEFT on one classifier: the head of each in full (`modules_to_save`), and what the language model learned, merged or kept.

    base        a stock classifier; its own head is one user's, by default everybody's
    adapter     score float32[1, hidden] of a user; with `keep` also LoRA as it was trained, else a LoRA of rank 1 that adds 0 to one layer,
                since PEFT wants an adapter to adapt something

Servers hold one base and change heads from request to request: vLLM reads such adapters since `modules_to_save` of classifiers is supported there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from evenhand.core import EvenhandError
from evenhand.encode.adapter import PEFT_PREFIX, SCALE, Adapter
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.serve.exporting.folders import written
from evenhand.serve.exporting.stock import Folded, check_rewards, classifier
from evenhand.serve.exporting.texts import Exported, exported
from evenhand.serve.reward_model import RewardModel, UserState

Tensors = dict[str, torch.Tensor]


def on_own_base(model: RewardModel, state: UserState, score: torch.Tensor, constant: float, base: str) -> tuple[dict[str, bytes], Exported]:
    """One user as an adapter on the language model as pretrained, which stays where it is: LoRA as trained, and the head. Its tokenizer lies beside.

    base: what adapter_config.json calls that model.
    """
    encoder = model.encoder
    assert isinstance(encoder, BackboneEncoder)
    adapter = trained(encoder)
    read = exported(encoder, model.with_prompt)
    made = classifier(read, score, constant)  # merged: what the two together compute
    check_rewards(model, [state], read, lambda **texts: made(**texts).logits[:, 0].float() + constant)
    files = adapter_files(_lora(adapter, made.base_model_prefix), score, base, encoder.backbone.rank)
    return files | written(lambda place: read.tokenizer.save_pretrained(place)), read


def on_one_base(
    model: RewardModel, states: Mapping[str, UserState], found: Folded, default: str, base: str, keep: bool
) -> tuple[dict[str, bytes], dict[str, dict[str, bytes]], Exported]:
    """(the base's files, each user's files, how it reads). base: what the adapters call it. found: of the states, in their order."""
    encoder = model.encoder
    assert isinstance(encoder, BackboneEncoder)
    lora: Tensors | None = None
    place = list(states).index(default)
    read = exported(encoder, model.with_prompt)
    made = classifier(read, found.score[place], float(found.constant[place]))
    check_rewards(model, list(states.values()), read, lambda **texts: _under_all(made, found, texts))
    rank = 1
    if keep:
        lora, rank = _lora(trained(encoder), made.base_model_prefix), encoder.backbone.rank
        read = exported(encoder, model.with_prompt, merged=False)
        made = classifier(read, found.score[place], float(found.constant[place]))
    with torch.no_grad():
        made.score.weight.copy_(found.score[place][None])
    files = written(lambda place: (made.save_pretrained(place), read.tokenizer.save_pretrained(place)))
    lora = _nothing(made) if lora is None else lora
    return files, {name: adapter_files(lora, score, base, rank) for name, score in zip(states, found.score)}, read


def trained(encoder: BackboneEncoder) -> Adapter:
    """The adapter that is kept. Raises EvenhandError where no LoRA was trained."""
    if encoder.adapter is None or encoder.backbone.rank == 0:
        what = "all its weights were trained" if encoder.adapter is not None else "its language model did not train"
        raise EvenhandError(f"There is no adapter to keep: {what}. Expected: a model trained with LoRA. To do: leave --keep-adapter out.")
    return encoder.adapter


def adapter_files(lora: Tensors, score: torch.Tensor, base: str, rank: int) -> dict[str, bytes]:
    """adapter_config.json and adapter_model.safetensors, as PEFT writes them for a classifier."""
    from peft import LoraConfig, TaskType

    suffix = ".lora_A.weight"
    targets = sorted(name.removeprefix(PEFT_PREFIX).removesuffix(suffix) for name in lora if name.endswith(suffix))
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules=targets, modules_to_save=["score"],
        base_model_name_or_path=base, inference_mode=True,
    )  # fmt: skip
    tensors = {**lora, f"{PEFT_PREFIX}score.weight": score[None].float().clone()}
    made = {"adapter_model.safetensors": safetensors.torch.save(tensors, metadata={"format": "pt"})}
    return made | written(lambda place: config.save_pretrained(str(place)))


def _lora(adapter: Adapter, prefix: str) -> Tensors:
    """An adapter's tensors by the names that PEFT gives them under a classifier whose language model is `prefix`."""
    return {
        name.replace(PEFT_PREFIX, f"{PEFT_PREFIX}{prefix}.", 1): tensor.detach().cpu().float().clone()
        for name, tensor in adapter.tensors().items()
    }


def _nothing(made: Any) -> Tensors:
    """LoRA of rank 1 on the first linear layer that adds 0 to it."""
    name, layer = next((n, m) for n, m in made.named_modules() if isinstance(m, nn.Linear) and n != "score")
    shapes = {"lora_A": (1, layer.in_features), "lora_B": (layer.out_features, 1)}
    return {f"{PEFT_PREFIX}{name}.{part}.weight": torch.zeros(shape) for part, shape in shapes.items()}


def _under_all(made: Any, found: Folded, texts: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Rewards float64[users] of one text under every user's head: the language model is run once."""
    own = made.score
    made.score = nn.Linear(found.score.shape[1], len(found.score), bias=False, dtype=own.weight.dtype)
    try:
        with torch.no_grad():
            made.score.weight.copy_(found.score)
            return np.asarray(made(**texts).logits[0].double() + torch.from_numpy(found.constant))
    finally:
        made.score = own

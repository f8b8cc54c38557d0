"""A language model of transformers as a base: read from its folder, its layers computed again in the pass backward, or sharded over the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evenhand import ranks
from evenhand.core import EvenhandError, clip
from evenhand.encode.quiet import quiet


def loaded(folder: Path, name: str, dtype: str) -> tuple[Any, Any]:
    """(model without any head, tokenizer) of transformers, on the CPU. Raises EvenhandError."""
    from transformers import AutoModel, AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model, report = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                output_loading_info=True,
            )
    except Exception as error:  # a folder of anybody's can break these libraries in any way
        raise EvenhandError(
            f"Backbone '{clip(name)}' cannot be loaded: {clip(' '.join(str(error).split()), 300)}. Expected: a folder that save_pretrained of "
            "transformers wrote, of an architecture that transformers knows. To do: save the model there again, or name another backbone."
        ) from error
    if model.config.is_encoder_decoder:
        raise EvenhandError(
            f"Backbone '{clip(name)}' has an encoder and a decoder. Expected: a model of one of them. To do: name another backbone."
        )
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise EvenhandError(
            f"Backbone '{clip(name)}' lacks {len(missing)} of its weights, {clip(missing[0])} among them. Expected: all weights that its "
            "config.json asks for. To do: save the model there again, or name another backbone."
        )
    places = model.get_input_embeddings().num_embeddings
    if (largest := max(tokenizer.get_vocab().values(), default=-1)) >= places:  # numbers may have gaps: how many tokens there are says less
        raise EvenhandError(
            f"The tokenizer of backbone '{clip(name)}' has {len(tokenizer)} tokens, numbered up to {largest}, and its model embeds {places}. "
            f"Expected: numbers under {places}. To do: save the tokenizer that the model was trained with, or resize the model's embeddings and "
            "train them."
        )
    return model, tokenizer


def positions(model: Any, tokenizer: Any) -> int:
    """Tokens of a text at most, 2 ** 31 where nothing says it. RoBERTa and its like count positions from behind the pad token's number."""
    said = [model.config.to_dict().get("max_position_embeddings"), tokenizer.model_max_length, 2**31]
    tables = [m for name, m in model.named_modules() if name.endswith("position_embeddings") and isinstance(m, nn.Embedding)]
    said += [m.num_embeddings - m.padding_idx - 1 for m in tables if m.padding_idx is not None]
    return int(min(n for n in said if n is not None))


def checkpoint_layers(model: nn.Module, name: str) -> None:
    """Every layer keeps its input alone, and is computed again in the pass backward. transformers' own switch works in training mode only."""
    from torch.utils.checkpoint import checkpoint

    layers = _layers(model)
    if not layers:
        raise EvenhandError(
            f"The layers of backbone '{clip(name)}' cannot be computed again. Expected: a model that supports gradient checkpointing. "
            "To do: leave checkpointing out, and give fewer max_tokens if memory is short."
        )
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


def shard(model: nn.Module, name: str, device: torch.device, whole: Sequence[Tensor]) -> None:
    """Each rank keeps its part of every weight on its device but of those in `whole`; layer by layer they come together for a pass."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    layers = _layers(model)
    if ranks.count() == 1 or not layers:
        found = "there is one process" if layers else "its layers are not known"
        raise EvenhandError(
            f"Backbone '{clip(name)}' cannot be sharded: {found}. Expected: two processes or more, and a transformer with layers that can be "
            "computed again. To do: start with torchrun --nproc-per-node K, or leave sharded out."
        )
    mesh = init_device_mesh(device.type, (ranks.count(),))
    for module in (*layers, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params={p for p in whole if isinstance(p, nn.Parameter)})


def _layers(model: nn.Module) -> list[Any]:
    """The layers that transformers knows how to compute again."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]

"""Language models with a head, and LoRA adapters on them as PEFT reads them: a folder with adapter_model.safetensors and
adapter_config.json.

Beside them lies training.json: what the adapter was trained with and from, by SHA-256, and its losses.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand import writing
from evenhand.core import DataError, EvenhandError, clip
from evenhand.encode.quiet import quiet
from evenhand.texts.findings import Trained
from evenhand.texts.generators.places import folder_of, short

WEIGHTS, CONFIG, RECORD = "adapter_model.safetensors", "adapter_config.json", "training.json"  # the first two names are PEFT's
FORMAT = "evenhand adapter 1"
KIND = "adapter"
HUB = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}  # what PEFT loads where nobody hands it the base


@dataclass(frozen=True)
class Causal:
    """A language model and its tokenizer, of transformers."""

    model: Any
    tokenizer: Any
    name: str


@contextmanager
def calm() -> Iterator[None]:
    """Without what transformers, PEFT and TRL say of each other."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def causal(model: str, dtype: str, device: str) -> Causal:
    """model: "smollm2", a folder of transformers, a GGUF file, or a name in the Hugging Face cache. Dropout is off: what is trained once
    and what goes on after a kill end the same. Raises EvenhandError.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder, name = folder_of(model), short(model)
    try:
        with calm():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            for key, value in config.to_dict().items():
                if key.endswith(("dropout", "pdrop")) and isinstance(value, float):
                    setattr(config, key, 0.0)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, config=config, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=getattr(torch, dtype),
                attn_implementation="sdpa", output_loading_info=True,
            )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a folder of anybody's can break these libraries in any way
        raise EvenhandError(
            f"Model '{clip(name)}' cannot be loaded as one that writes: {clip(' '.join(str(error).split()), 300)}. Expected: a causal "
            "language model that save_pretrained of transformers wrote. To do: save it there again, or name another one."
        ) from error
    read, report = loaded
    if report["missing_keys"]:
        raise EvenhandError(
            f"Model '{clip(name)}' lacks weights that a model that writes has ({clip(sorted(report['missing_keys'])[0])}). Expected: "
            "a causal language model. To do: name another one."
        )
    read.config.use_cache = False
    return Causal(read.to(device), tokenizer, name)


def fresh(base: Causal, rank: int, seed: int) -> Any:
    """The model under an adapter that changes nothing yet: LoRA on every linear layer but the head (Hu et al. 2022, arXiv 2106.09685)."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), calm():
        torch.manual_seed(seed)
        return _in_product_precision(get_peft_model(base.model, config))


def worn(base: Causal, folder: Path) -> Any:
    """The model under a saved adapter, which trains on. Raises EvenhandError for an adapter of another model."""
    from peft import PeftModel

    check(folder)
    try:
        with calm():
            return _in_product_precision(PeftModel.from_pretrained(base.model, folder, is_trainable=True, use_safetensors=True))
    except Exception as error:
        raise EvenhandError(
            f"The adapter '{clip(folder.name)}' does not fit model '{clip(base.name)}': {clip(' '.join(str(error).split()), 200)}. Expected: "
            "an adapter that was trained on it. To do: name the model that it was trained on."
        ) from error


def _in_product_precision(model: Any) -> Any:
    """Under autocast the input of an adapter is in the precision of the product already: to make it float32 first costs a fifth of a step."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    return model


def check(folder: Path) -> None:
    """Raises EvenhandError where no adapter in safetensors lies."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise EvenhandError(
                f"'{clip(folder.name)}' is no adapter: there is no {name}. Expected: a folder that evenhand align or save_pretrained of PEFT "
                "wrote, weights in safetensors. To do: check the path."
            )


def adapter_files(model: Any, base: str, record: Mapping[str, Any]) -> dict[str, bytes]:
    """name → bytes of the adapter "default" of a model. base: what PEFT is to load under it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    tensors = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": HUB.get(base, base), "inference_mode": True}
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    return {
        WEIGHTS: save({k: v.detach().float().cpu().contiguous() for k, v in sorted(tensors.items())}, {"format": "pt"}),
        CONFIG: _json(plain),
        RECORD: _json(record),
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, default=str) + "\n").encode()


def record(stage: str, identity: Mapping[str, str], facts: Mapping[str, str], losses: list[float]) -> dict[str, Any]:
    return {"format": FORMAT, "stage": stage, "identity": dict(identity), "facts": dict(facts), "losses": losses}


def read_trained(folder: Path) -> Trained:
    """What training.json says. Raises DataError."""
    _, trained = _recorded(folder)
    return trained


def finished(folder: Path, identity: Mapping[str, str]) -> Trained | None:
    """The training of this identity if it lies in the folder, whole; None where there is none.

    Raises DataError if another one lies there, and for files that were changed or are not evenhand's.
    """
    writing.check(folder, [WEIGHTS, CONFIG, RECORD], KIND)
    if not all((folder / name).is_file() for name in (WEIGHTS, CONFIG, RECORD)):
        return None
    found, trained = _recorded(folder)
    for name in {**identity, **found}:
        if identity.get(name) != found.get(name):
            there, here = (clip(of.get(name, "none"), 100) for of in (found, identity))
            raise DataError(
                f"an adapter of another training lies here: {name} is {there}",
                expected=f"{name} {here}",
                remedy="choose another folder, or move this one away to train anew",
                file=str(folder),
            )
    return trained


def _recorded(folder: Path) -> tuple[dict[str, str], Trained]:
    try:
        said = json.loads((folder / RECORD).read_bytes())
        if said["format"] != FORMAT:
            raise ValueError
        losses = [float(x) for x in said["losses"]]
        facts = {str(k): str(v) for k, v in said["facts"].items()}
        return {str(k): str(v) for k, v in said["identity"].items()}, Trained(str(said["stage"]), facts, tuple(enumerate(losses, 1)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{RECORD} is missing or damaged",
            expected="what evenhand wrote beside the adapter",
            remedy="move the folder away to train anew",
            file=str(folder),
        ) from error


def told(losses: list[float]) -> dict[str, str]:
    """First and last losses, for a reader: the last is a mean over a few steps, of which one alone is mostly noise."""
    if not losses:
        return {}
    last = losses[-max(1, math.ceil(len(losses) / 5)) :]
    return {"first loss": f"{losses[0]:.3f}", "last loss": f"{sum(last) / len(last):.3f} (mean of the last {len(last)} steps)"}

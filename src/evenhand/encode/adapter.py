"""The weights of a language model that train, apart from the model: teachers and student are adapters on one base.

The base is loaded once and never changes; it has PEFT's LoRA layers with empty places in them (Hu et al. 2022, arXiv 2106.09685), or, at
rank 0, places are all its weights. While an adapter is worn its tensors stand in these places, as themselves and not as copies, so that
gradients land in them. Passes backward belong inside, as activations that are computed again read the weights that stand there then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError
from evenhand.encode.user_tokens import UserTokens

Place = tuple[nn.Module, str]  # a module and the name of its parameter
PEFT_PREFIX = "base_model.model."  # of every name in a file of PEFT's
USERS = "user_tokens."  # of the names of what makes users' soft tokens, for which PEFT has none
SCALE = 2  # alpha / rank: a layer adds so much of B A to its weights
NAME = "default"  # PEFT's name for the one adapter that its layers have places for


class Adapter(nn.Module):
    """Trainable tensors by the names that PEFT gives them in its files; at rank 0 by the base's own names. A copy copies these alone."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(_inside(name), nn.Parameter(tensor))

    def tensors(self) -> dict[str, Tensor]:
        """The parameters themselves, by name."""
        return {name.replace("/", "."): tensor for name, tensor in self._parameters.items() if tensor is not None}

    def arrays(self) -> dict[str, np.ndarray]:
        """float32 copies by name, for a file."""
        return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in self.tensors().items()}


def _inside(name: str) -> str:
    """torch wants no dots in a parameter's name; no module's name has a slash."""
    return name.replace(".", "/")


@dataclass
class Switch:
    """Whether an adapter is worn: what all layers of a model look at."""

    on: bool = False


class Wardrobe:
    """The places of a base model into which adapters of one rank go. Changes the model: its layers become PEFT's, its weights are frozen.

    Names with "pooler" have no places: a pooler lies behind the hidden states that are read, and no gradient would reach it.
    """

    def __init__(self, model: nn.Module, rank: int):
        model.requires_grad_(False)
        self.rank = rank
        self._users: UserTokens | None = None
        self._switch = Switch()
        self._others: list[Any] = []  # PEFT's layers that are not of its plain kind
        self._worn = False
        self._places: dict[str, list[Place]] = {}
        if rank:
            self._others = _with_lora(model, rank, self._switch)
        tied: dict[Tensor, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if "pooler" in name or (rank and f".{NAME}." not in name) or not parameter.is_floating_point():
                continue
            owner = model.get_submodule(name.rpartition(".")[0])
            name = PEFT_PREFIX + name.replace(f".{NAME}.", ".") if rank else name
            self._places.setdefault(tied.setdefault(parameter, name), []).append((owner, name.rpartition(".")[2]))

    def add(self, users: UserTokens) -> None:
        """Users' soft tokens, which every adapter from now on has, whatever its rank."""
        self._users = users
        self._places |= {USERS + name: [(users, name)] for name, _ in users.named_parameters()}

    def held(self) -> list[Tensor]:
        """What stands in the places while nothing is worn."""
        return [_at(places) for places in self._places.values()]

    def new(self, seed: int, device: torch.device) -> Adapter:
        """An untrained adapter, under which the base is as it was: LoRA as PEFT begins it (A uniform as a linear layer's weights, B 0),
        or float32 copies of all weights."""
        users = {} if self._users is None else {USERS + name: tensor.to(device) for name, tensor in self._users.new(seed).items()}
        if not self.rank:
            copies = {name: _at(places).detach().to(device, torch.float32, copy=True) for name, places in self._places.items()}
            return Adapter(copies | users)
        draw = torch.Generator().manual_seed(seed)
        tensors = {}
        for name, places in self._places.items():
            tensor = torch.zeros(_at(places).shape)
            if ".lora_A." in name or ".lora_embedding_A." in name:
                bound = 1 / math.sqrt(tensor.shape[1])  # kaiming_uniform_ with a = sqrt(5)
                tensor.uniform_(-bound, bound, generator=draw)
            tensors[name] = tensor.to(device)
        return Adapter(tensors | users)

    def of(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> Adapter:
        """The adapter that `Adapter.arrays` was of. Raises EvenhandError when it is an adapter of another base or rank."""
        self._check({name: tuple(array.shape) for name, array in arrays.items()})
        return Adapter({name: torch.tensor(arrays[name], dtype=torch.float32, device=device) for name in self._places})

    @contextmanager
    def wearing(self, adapter: nn.Module | None) -> Iterator[None]:
        """The base under `adapter`, one at a time; None = as it was pretrained. Raises EvenhandError for an adapter of another base."""
        if self._worn:
            raise RuntimeError("one adapter is worn already: it must be taken off first, or gradients would go astray")
        if adapter is None:
            yield
            return
        if not isinstance(adapter, Adapter):
            raise TypeError(f"{type(adapter).__name__} is not an Adapter")
        tensors = adapter.tensors()
        self._check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        own = {name: _at(places) for name, places in self._places.items()}
        self._worn = True
        try:
            self._enable(True)
            self._put(tensors)
            yield
        finally:
            self._put(own)
            self._enable(False)
            self._worn = False

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, places in self._places.items():
            for module, key in places:
                module._parameters[key] = tensors[name]  # type: ignore[assignment]

    def _enable(self, enabled: bool) -> None:
        self._switch.on = enabled
        for layer in self._others:
            layer.enable_adapters(enabled)

    def _check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        expected = {name: tuple(_at(places).shape) for name, places in self._places.items()}
        if shapes != expected:
            wrong = next(name for name in sorted({*shapes, *expected}) if shapes.get(name) != expected.get(name))
            raise EvenhandError(
                f"The adapter was trained on another base model or at another rank: {wrong} is {_shown(shapes.get(wrong))}. "
                f"Expected: {_shown(expected.get(wrong))}, as one of {len(expected)} tensors. "
                "To do: name the base model and the rank that it was trained with."
            )


def _at(places: list[Place]) -> Tensor:
    module, key = places[0]
    tensor = module._parameters[key]
    assert tensor is not None
    return tensor


def _shown(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else f"of shape {list(shape)}"


def _with_lora(model: nn.Module, rank: int, switch: Switch) -> list[Any]:
    """PEFT's layers put around every linear layer of the model, off and with tensors that hold nothing yet. Returns those without the switch."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer

    linear = sorted(n for n, m in model.named_modules() if isinstance(m, nn.Linear) and "pooler" not in n)
    if not linear:
        raise EvenhandError(
            f"{type(model).__name__} has no linear layers that LoRA could adapt. Expected: a transformer of torch's linear layers. "
            "To do: choose another backbone, or rank 0, which trains all weights."
        )
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules=linear)
    inject_adapter_in_model(config, model, adapter_name=NAME, low_cpu_mem_usage=True)
    model.requires_grad_(False)
    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
        layer.cast_input_dtype_enabled = False  # under autocast the input is in the precision of the product already
    plain: list[Any] = [layer for layer in layers if type(layer) is Linear]
    for layer in plain:
        layer.forward = partial(_adapted, layer.base_layer, layer.lora_A[NAME], layer.lora_B[NAME], layer.scaling[NAME], switch)
    return [layer for layer in layers if type(layer) is not Linear]


def _adapted(base: nn.Module, a: nn.Module, b: nn.Module, scale: float, switch: Switch, x: Tensor) -> Tensor:
    """What PEFT's layer gives, to the bit, without its search for the adapter that is meant, and without two arrays as large as its output.

    A power of two as the scale changes no digit, wherever in a product it stands. Nothing here holds the layer, which would outlive its model.
    """
    found: Tensor = base(x)
    return found.add_(b(a(x) * scale)) if switch.on else found

"""The bytes of a training's state: tensors as safetensors, all else as JSON in its header, and no pickle; digests; the global generators."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

State = dict[str, Any]  # by name: tensors, numbers, text, lists of numbers and text, or states in turn


def packed(said: State, states: State) -> bytes:
    """Tensors as safetensors, all else as JSON in its header."""
    tensors: dict[str, Tensor] = {}
    rest = _without_tensors(states, (), tensors)
    return save(tensors, {"evenhand": json.dumps({"said": said, "states": rest})})


def unpacked(content: bytes) -> tuple[State, State]:
    """What was packed: (said, states)."""
    told, tensors = header(io.BytesIO(content)), load(content)
    states = told["states"]
    for name, tensor in tensors.items():
        *path, last = json.loads(name)
        into = states
        for key in path:
            into = into[key]
        into[last] = tensor
    return told["said"], states


def header(file: BinaryIO) -> State:
    """What was packed but tensors, of a file at its beginning."""
    length = int.from_bytes(file.read(8), "little")
    told: State = json.loads(json.loads(file.read(length))["__metadata__"]["evenhand"])
    return told


def _without_tensors(states: Mapping[str, Any], path: Sequence[str], tensors: dict[str, Tensor]) -> State:
    out: State = {}
    for key, value in states.items():
        place = [*path, key]
        if isinstance(value, Tensor):
            tensors[json.dumps(place)] = value.detach().cpu().contiguous().clone()
        else:
            out[key] = _without_tensors(value, place, tensors) if isinstance(value, Mapping) else value
    return out


def digest(tensors: Sequence[Tensor | None]) -> str:
    """SHA-256 over types, shapes and bytes, shortened; None is told from every tensor."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(b"none" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}:".encode())
        if tensor is not None and tensor.numel():
            sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()[:32]


def random_state() -> State:
    """Every global generator: trainings draw from generators of their own, what a backbone does inside may not."""
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state(),
        "devices": {str(n): state for n, state in enumerate(devices)},
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
    }


def set_random_state(state: State) -> None:
    """The global generators as `random_state` found them."""
    torch.set_rng_state(state["torch"])
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for n in range(min(there, len(state["devices"]))):  # another machine may have fewer of them
        torch.cuda.set_rng_state(state["devices"][str(n)], n)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = state["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": np.array(numpy["state"]["key"], dtype=np.uint32)}})

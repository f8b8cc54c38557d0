"""A trained model on disk: a folder with model.safetensors (every array) and model.json (everything else). Never pickle.

model.json says which head to build and from which settings, which encoder gave the features (with the SHA-256 of its weights), how the
features were scaled, every array's name, shape and type, and the SHA-256 of both files: checksums
against damage, and no signature, since whoever changes a file can compute them again. No user's id and no user's text is in
either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from evenhand import ranks
from evenhand.core import DataError, Head, clip
from evenhand.serve.description import check
from evenhand.serve.head_record import head_of, record_of
from evenhand.serve.model_files import AGAIN, ARRAYS, DESCRIPTION, check_replaceable, digest_of, meant, parse, read, seal, write_both
from evenhand.writing import alone

FORMAT = 1  # raised when a model.json of today could be misread by yesterday's code


@dataclass(frozen=True)
class SavedModel:
    """What a folder holds. head: a frozen dataclass of models/, or from outside the package, which built `scorer`, for features of `dim`
    coordinates.

    features: arrays and settings of the feature map. encoder: what is needed to load the encoder again. facts: how it was trained
    (method, seed, ...; plain JSON values; no user's id or text belongs there).
    """

    head: Head
    dim: int
    scorer: Any
    features: tuple[Mapping[str, np.ndarray], Mapping[str, Any]]
    encoder: Mapping[str, Any]
    facts: Mapping[str, Any]
    adapter: Mapping[str, np.ndarray] = field(default_factory=dict)  # of an encoder whose weights trained along


def save_model(folder: str | Path, model: SavedModel) -> None:
    """Write `model` into `folder` (made, or replaced if it holds a saved model as it was saved and nothing else), all of it or nothing.

    Raises DataError if the folder holds anything else, or a model that was changed since, if a weight is not finite, if the head cannot be
    told from others, and if a setting or fact is no JSON value.
    """
    if not ranks.first():  # it has the same model
        return
    place = Path(folder).resolve()
    arrays = _flatten(model)
    data = safetensors.torch.save(arrays)
    text = seal(_describe(model, arrays, data))
    try:
        check_replaceable(place)
        with alone(place):
            check_replaceable(place)
            write_both(place, data, text.encode())
    except OSError as error:
        problem = f"The model cannot be written ({error.strerror})"
        raise DataError(
            problem, expected="a place that can be written", remedy="choose another folder, or make room", file=str(place)
        ) from error


def load_model(folder: str | Path, head: type | None = None) -> SavedModel:
    """Read a folder written by `save_model`. Raises DataError, saying what was found and expected, if anything in it changed.

    head: the class of the model's head where that is from outside the package. A folder never makes anything run: such a model is refused
    unless its head is given, and is the one it was saved with.
    """
    place = Path(folder)
    with alone(place) if place.is_dir() else nullcontext():
        said = _read_description(place / DESCRIPTION)
        arrays = _read_arrays(place / ARRAYS, said)
    built = head_of(said["head"], head, place / DESCRIPTION)
    scorer = _scorer(built, said["dim"], {n.removeprefix("scorer."): a for n, a in arrays.items() if n.startswith("scorer.")}, place)
    features = {n.removeprefix("features."): a.numpy() for n, a in arrays.items() if n.startswith("features.")}
    adapter = {n.removeprefix("adapter."): a.numpy() for n, a in arrays.items() if n.startswith("adapter.")}
    return SavedModel(built, said["dim"], scorer, (features, said["features"]), said["encoder"], said["facts"], adapter)


def fingerprint(model: SavedModel) -> str:
    """SHA-256 of what decides a reward: every array, head, feature map and encoder; facts and versions are left out."""
    arrays = _flatten(model)
    said = _describe(model, arrays, safetensors.torch.save(arrays))
    return digest_of(
        {name: value for name, value in said.items() if name not in ("facts", "encoder")} | {"encoder": _moved(said["encoder"])}
    )


def _moved(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder's record without the place where it lies: its fingerprint says which one it is."""
    return {name: value for name, value in encoder.items() if name not in ("model", "name")}


def _flatten(model: SavedModel) -> dict[str, Tensor]:
    """All arrays under their names in the file, scorer.* and features.*, each with memory of its own."""
    arrays = {f"scorer.{n}": t.detach().cpu().clone().contiguous() for n, t in model.scorer.state_dict().items()}
    arrays |= {f"features.{n}": torch.from_numpy(np.array(a, order="C")) for n, a in model.features[0].items()}
    arrays |= {f"adapter.{n}": torch.from_numpy(np.array(a, order="C")) for n, a in model.adapter.items()}
    for name, array in arrays.items():
        if not torch.isfinite(array).all():
            raise DataError(f"Array {name} holds NaN or infinite values", expected="finite weights", remedy="train again; the fit diverged")
    return arrays


def _describe(model: SavedModel, arrays: Mapping[str, Tensor], data: bytes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "head": record_of(model.head),
        "dim": model.dim,
        "encoder": dict(model.encoder),
        "features": dict(model.features[1]),
        "arrays": {n: {"shape": list(a.shape), "type": _type_name(a)} for n, a in sorted(arrays.items())},
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
        "facts": {"evenhand": version("evenhand"), "torch": torch.__version__, "numpy": np.__version__, **model.facts},
    }


def _type_name(array: Tensor) -> str:
    return str(array.dtype).removeprefix("torch.")


def _read_description(file: Path) -> dict[str, Any]:
    said = parse(read(file), file)
    if said.get("format") != FORMAT or said["format"] is True:
        raise DataError(
            f"Format version {clip(said.get('format'))}", expected=f"version {FORMAT}, the one that evenhand {version('evenhand')} reads",
            remedy="upgrade evenhand, or save the model again with this version", file=str(file),
        )  # fmt: skip
    if said.get("description_sha256") != digest_of(said):
        raise DataError("Changed after it was saved (its SHA-256 differs)", expected="the file as saved", remedy=AGAIN, file=str(file))
    check(said, file, AGAIN)
    return said


def _read_arrays(file: Path, said: Mapping[str, Any]) -> dict[str, Tensor]:
    data = read(meant(file, said["arrays_sha256"]) or file)
    digest = hashlib.sha256(data).hexdigest()
    if digest != said["arrays_sha256"]:
        expected = f"{said['arrays_sha256'][:16]}…, as when it was saved"
        raise DataError(f"Changed after it was saved: SHA-256 {digest[:16]}…", expected=expected, remedy=AGAIN, file=str(file))
    try:
        arrays = safetensors.torch.load(data)
    except SafetensorError as error:
        problem = f"Cannot be read ({clip(str(error))})"
        raise DataError(problem, expected="a safetensors file", remedy=AGAIN, file=str(file)) from error
    found = {n: {"shape": list(a.shape), "type": _type_name(a)} for n, a in arrays.items()}
    for name in sorted(found.keys() | said["arrays"].keys()):
        if found.get(name) != said["arrays"].get(name):
            expected = f"{_shown(said['arrays'].get(name))}, as {DESCRIPTION} says"
            raise DataError(f"Array {clip(name)} is {_shown(found.get(name))}", expected=expected, remedy=AGAIN, file=str(file))
        if not torch.isfinite(arrays[name]).all():
            raise DataError(f"Array {clip(name)} holds NaN or infinite values", expected="finite weights", remedy=AGAIN, file=str(file))
    return arrays


def _shown(array: Mapping[str, Any] | None) -> str:
    return "missing" if array is None else f"{array['type']} {array['shape']}"


def _scorer(head: Head, dim: int, arrays: Mapping[str, Tensor], place: Path) -> nn.Module:
    """The head built for `dim` features, holding `arrays`; every name and shape must be the built one's."""
    try:
        with torch.device("meta"):  # shapes alone: no memory is taken for what a description merely claims
            built = head.build(dim, 0)
    except (RuntimeError, ValueError, ArithmeticError, OverflowError) as error:
        problem = f"{clip(str(head))} cannot be built on {dim} features"
        raise DataError(problem, expected="settings as saved", remedy=AGAIN, file=str(place / DESCRIPTION)) from error
    wanted = {n: list(t.shape) for n, t in built.state_dict().items()}
    found = {n: list(t.shape) for n, t in arrays.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            problem = f"Array scorer.{clip(name)} has shape {found.get(name, 'none: it is missing')}"
            expected = f"{wanted.get(name, 'no such array')} for {head} on {dim} features"
            raise DataError(problem, expected=expected, remedy=AGAIN, file=str(place / ARRAYS))
    for name, tensor in built.state_dict().items():
        if arrays[name].dtype != tensor.dtype:
            problem, expected = f"Array scorer.{clip(name)} is {_type_name(arrays[name])}", _type_name(tensor)
            raise DataError(problem, expected=expected, remedy=AGAIN, file=str(place / ARRAYS))
    scorer = head.build(dim, 0)
    assert isinstance(scorer, nn.Module)
    scorer.load_state_dict(dict(arrays))
    return scorer.eval()

"""A trained model on disk: a folder with model.safetensors (every array) and model.json (everything else). Never pickle.

model.json says which head to build and from which settings, which encoder gave the features (with the SHA-256 of its weights), how the
features were scaled, every array's name, shape and type, and the SHA-256 of both files: checksums
against damage, and no signature, since whoever changes a file can compute them again. No user's id and no user's text is in
either.

A reader sees the old model or the new one, never half of one: new arrays are put beside the old ones under a temporary name, then the
description is replaced, which says whose arrays are the right ones, then the arrays. Arrays under the temporary name are read where the
description means them. A process that ends at any step so leaves a model that loads, and the next save goes on from there.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

import evenhand.models
from evenhand import ranks
from evenhand.core import DataError, Head, clip
from evenhand.parts import built_in, origin, sources
from evenhand.serve.description import LARGEST, LONGEST_LOOP, check
from evenhand.writing import alone, part, stage, sync

FORMAT = 1  # raised when a model.json of today could be misread by yesterday's code
ARRAYS, DESCRIPTION = "model.safetensors", "model.json"
AGAIN = "save the model again, or copy the folder again from where it came"


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


def heads() -> dict[str, type]:
    """Every head of models/ by class name: the one dataclass of each file there."""
    found: dict[str, type] = {}
    for file in pkgutil.iter_modules(evenhand.models.__path__):
        module = importlib.import_module(f"evenhand.models.{file.name}")
        found |= {n: c for n, c in vars(module).items() if is_dataclass(c) and isinstance(c, type) and c.__module__ == module.__name__}
    return found


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
    text = _seal(_describe(model, arrays, data))
    try:
        check_replaceable(place)
        place.mkdir(parents=True, exist_ok=True)
        with alone(place):
            check_replaceable(place)
            _write(place, data, text.encode())
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
    kind = _kind(said["head"], head, place / DESCRIPTION)
    built = _head(said["head"], kind, place / DESCRIPTION)
    scorer = _scorer(built, said["dim"], {n.removeprefix("scorer."): a for n, a in arrays.items() if n.startswith("scorer.")}, place)
    features = {n.removeprefix("features."): a.numpy() for n, a in arrays.items() if n.startswith("features.")}
    adapter = {n.removeprefix("adapter."): a.numpy() for n, a in arrays.items() if n.startswith("adapter.")}
    return SavedModel(built, said["dim"], scorer, (features, said["features"]), said["encoder"], said["facts"], adapter)


def fingerprint(model: SavedModel) -> str:
    """SHA-256 of what decides a reward: every array, head, feature map and encoder; facts and versions are left out."""
    arrays = _flatten(model)
    said = _describe(model, arrays, safetensors.torch.save(arrays))
    return _digest({name: value for name, value in said.items() if name not in ("facts", "encoder")} | {"encoder": _moved(said["encoder"])})


def _moved(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder's record without the place where it lies: its fingerprint says which one it is."""
    return {name: value for name, value in encoder.items() if name not in ("model", "name")}


# ---- writing


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
    name = type(model.head).__name__
    outside: dict[str, Any] = {}
    if heads().get(name) is not type(model.head):
        if built_in(model.head) or not is_dataclass(model.head) or "<locals>" in type(model.head).__qualname__:
            remedy = "define it as a frozen dataclass at the top of a file or package of your own"
            raise DataError("Unknown head", expected=f"one of {', '.join(sorted(heads()))}", remedy=remedy, value=name)
        outside = {"source": origin(type(model.head)), "sha256": sources(model.head)}
    return {
        "format": FORMAT,
        "head": {"name": name, "settings": dict(vars(model.head)), **outside},
        "dim": model.dim,
        "encoder": dict(model.encoder),
        "features": dict(model.features[1]),
        "arrays": {n: {"shape": list(a.shape), "type": _type_name(a)} for n, a in sorted(arrays.items())},
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
        "facts": {"evenhand": version("evenhand"), "torch": torch.__version__, "numpy": np.__version__, **model.facts},
    }


def _type_name(array: Tensor) -> str:
    return str(array.dtype).removeprefix("torch.")


def _seal(said: Mapping[str, Any]) -> str:
    """The description as JSON with the SHA-256 of itself in it."""
    try:
        plain = json.loads(json.dumps(said, allow_nan=False))  # as a reader will see it: tuples are lists, keys are text
    except (TypeError, ValueError) as error:
        problem = f"A setting or fact of the model is no JSON value ({error})"
        raise DataError(problem, expected="text, finite numbers, lists and dicts", remedy="convert it before saving") from error
    return json.dumps({**plain, "description_sha256": _digest(plain)}, indent=1) + "\n"


def _digest(said: Mapping[str, Any]) -> str:
    rest = {k: v for k, v in said.items() if k != "description_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check_replaceable(place: Path) -> None:
    """Raises DataError if something that is not a saved model, or was changed after it was saved, lies at `place`: it would be lost."""
    if not place.exists():
        return
    inside = {p.name for p in place.iterdir()} if place.is_dir() else {place.name}
    inside -= {part(place / name).name for name in (ARRAYS, DESCRIPTION)}
    if inside and (DESCRIPTION not in inside or not inside <= {ARRAYS, DESCRIPTION} or not _is_as_saved(place)):
        problem = "Something that is not a saved model, or a model that was changed after it was saved, lies here"
        expected = f"no folder, an empty one, or one with {ARRAYS} and {DESCRIPTION} as they were saved, and nothing else"
        raise DataError(problem, expected=expected, remedy="choose another folder, or move away what is there", file=str(place))


def _is_as_saved(place: Path) -> bool:
    """Whether the description bears its own seal, and the arrays that it means are there."""
    try:
        said = _parse((place / DESCRIPTION).read_bytes(), place / DESCRIPTION)
    except DataError:
        return False
    return said.get("description_sha256") == _digest(said) and _meant(place / ARRAYS, str(said.get("arrays_sha256"))) is not None


def _meant(file: Path, digest: str) -> Path | None:
    """The arrays of that SHA-256: in their place, or still under their temporary name; None where there are none."""
    there = (p for p in (file, part(file)) if p.is_file())
    return next((p for p in there if hashlib.sha256(p.read_bytes()).hexdigest() == digest), None)


def _write(place: Path, arrays: bytes, description: bytes) -> None:
    """Replace both files; once the description is in its place, the new model is the one that loads."""
    _finish(place)
    try:
        stage(place / ARRAYS, arrays)
        stage(place / DESCRIPTION, description)
        sync(place)
        os.replace(part(place / DESCRIPTION), place / DESCRIPTION)
        os.replace(part(place / ARRAYS), place / ARRAYS)
        sync(place)
    finally:
        _finish(place)


def _finish(place: Path) -> None:
    """Bring arrays into their place that a save left under their temporary name, if the description means them; else take them away."""
    arrays, description = place / ARRAYS, place / DESCRIPTION
    if part(arrays).exists():
        meant = description.exists() and _meant(arrays, str(_parse(description.read_bytes(), description)["arrays_sha256"]))
        if meant == part(arrays):
            os.replace(part(arrays), arrays)
        else:
            part(arrays).unlink()
    part(description).unlink(missing_ok=True)


# ---- reading


def _read_description(file: Path) -> dict[str, Any]:
    said = _parse(_read(file), file)
    if said.get("format") != FORMAT or said["format"] is True:
        raise DataError(
            f"Format version {clip(said.get('format'))}", expected=f"version {FORMAT}, the one that evenhand {version('evenhand')} reads",
            remedy="upgrade evenhand, or save the model again with this version", file=str(file),
        )  # fmt: skip
    if said.get("description_sha256") != _digest(said):
        raise DataError("Changed after it was saved (its SHA-256 differs)", expected="the file as saved", remedy=AGAIN, file=str(file))
    check(said, file, AGAIN)
    return said


def _parse(data: bytes, file: Path) -> dict[str, Any]:
    try:
        said = json.loads(data.decode(), parse_constant=_no_constant)
        if not isinstance(said, dict):
            raise ValueError(f"a JSON {type(said).__name__}")
        _digest(said)  # as deep as it can be read, it may be too deep to be written
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8 and bad JSON
        problem = f"Damaged or cut off ({clip(str(error))})"
        raise DataError(problem, expected="a JSON object", remedy=AGAIN, file=str(file)) from error
    return said


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        problem = f"Cannot be read ({error.strerror})"
        expected = f"a saved model: a folder with {ARRAYS} and {DESCRIPTION}"
        below = file.parent / "model"  # where `fit` puts it
        remedy = f"name {below}" if (below / DESCRIPTION).is_file() else f"check the path; {AGAIN}"
        raise DataError(problem, expected=expected, remedy=remedy, file=str(file)) from error


def _read_arrays(file: Path, said: Mapping[str, Any]) -> dict[str, Tensor]:
    data = _read(_meant(file, said["arrays_sha256"]) or file)
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


def _kind(said: Mapping[str, Any], given: type | None, file: Path) -> type:
    """The class of the head: one of models/ by name, or the one given, where the description means it."""
    source, known = said.get("source"), heads()
    if source is None:
        if given is not None and known.get(said["name"]) is not given:
            raise DataError(
                f"The model's head is {clip(said['name'])} of evenhand itself", expected=f"not {given.__name__}",
                remedy="load the model without a head", file=str(file),
            )  # fmt: skip
        if said["name"] not in known:
            _unknown("head", said["name"], known, file)
        return known[said["name"]]
    if given is None or given.__name__ != said["name"]:
        raise DataError(
            f"The model's head, {clip(said['name'])}, is from outside evenhand ({clip(source)}), and a model's folder never makes code run"
            + ("" if given is None else f"; {given.__name__} was given"),
            expected="that head, from a file or package that you trust",
            remedy=f"name it: --head ./FILE.py:{clip(said['name'])} (in Python RewardModel.load(folder, head={clip(said['name'])}))",
            file=str(file),
        )  # fmt: skip
    if not set(sources(given)) <= set(said.get("sha256") or ()):
        raise DataError(
            f"The code of head {given.__name__} is not the one that the model was saved with", expected=f"{clip(source)} as it was then",
            remedy="bring that version back, or train again with this one", file=str(file),
        )  # fmt: skip
    return given


def _head(said: Mapping[str, Any], kind: type, file: Path) -> Head:
    defaults = {f.name: f.default for f in fields(kind)}
    for name in said["settings"]:
        if name not in defaults:
            _unknown(f"setting of {said['name']}", name, defaults, file)
    try:
        head: Head = TypeAdapter(kind).validate_json(json.dumps(said["settings"]), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _impossible(".".join(map(str, first["loc"])), first["input"], first["msg"], file)
    for name, value in vars(head).items():
        most = LONGEST_LOOP if name in ("steps", "layers") else LARGEST
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value <= most:
            _impossible(name, value, f"at most {most:,}, and not negative", file)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1 and value != defaults[name]:  # 0 may mean: none
            _impossible(name, value, "1 or more", file)
    return head


def _impossible(name: str, value: object, expected: str, file: Path) -> NoReturn:
    raise DataError(
        f"Setting '{clip(name)}' of the head has no possible value", expected=expected, remedy=AGAIN, file=str(file), value=clip(value)
    )


def _unknown(what: str, name: str, known: Any, file: Path) -> None:
    near = get_close_matches(name, known, n=1)
    expected = f"one of {', '.join(sorted(known)) or 'none'}" + (f" (nearest: {near[0]})" if near else "")
    raise DataError(
        f"Unknown {what}", expected=expected, remedy="upgrade evenhand to the version that saved it", file=str(file), value=name
    )


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

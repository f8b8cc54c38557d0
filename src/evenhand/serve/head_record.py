"""How a saved model names its head and the head's settings, and how that head is built again."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

import evenhand.models
from evenhand.core import DataError, Head, clip
from evenhand.parts import built_in, origin, sources
from evenhand.serve.description import LARGEST, LONGEST_LOOP
from evenhand.serve.model_files import AGAIN
from evenhand.serve.wrong import why


def heads() -> dict[str, type]:
    """Every head of models/ by class name: the one dataclass of each file there."""
    found: dict[str, type] = {}
    for file in pkgutil.iter_modules(evenhand.models.__path__):
        module = importlib.import_module(f"evenhand.models.{file.name}")
        found |= {n: c for n, c in vars(module).items() if is_dataclass(c) and isinstance(c, type) and c.__module__ == module.__name__}
    return found


def record_of(head: Head) -> dict[str, Any]:
    """What model.json says of a head: its name and settings; of one from outside the package also where it came from, and its code's SHA-256."""
    name, known = type(head).__name__, heads()
    record = {"name": name, "settings": dict(vars(head))}
    if known.get(name) is type(head):
        return record
    if built_in(head) or not is_dataclass(head) or "<locals>" in type(head).__qualname__:
        remedy = "define it as a frozen dataclass at the top of a file or package of your own"
        raise DataError("Unknown head", expected=f"one of {', '.join(sorted(known))}", remedy=remedy, value=name)
    return {**record, "source": origin(type(head)), "sha256": sources(head)}


def head_of(said: Mapping[str, Any], given: type | None, file: Path) -> Head:
    """The head that a description names, with its settings. given: its class, where that is from outside the package."""
    kind = _kind(said, given, file)
    defaults = {f.name: f.default for f in fields(kind)}
    for name in said["settings"]:
        if name not in defaults:
            _unknown(f"setting of {said['name']}", name, defaults, file)
    try:
        head: Head = TypeAdapter(kind).validate_json(json.dumps(said["settings"]), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _impossible(".".join(map(str, first["loc"])), first["input"], why(first), file)
    for name, value in vars(head).items():
        most = LONGEST_LOOP if name in ("steps", "layers") else LARGEST
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value <= most:
            _impossible(name, value, f"at most {most:,}, and not negative", file)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1 and value != defaults[name]:  # 0 may mean: none
            _impossible(name, value, "1 or more", file)
    return head


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

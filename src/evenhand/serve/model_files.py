"""The two files of a saved model, replaced as one: arrays, and a description sealed with the SHA-256 of itself.

A reader sees the old model or the new one, never half of one: new arrays are put beside the old ones under a temporary name, then the
description is replaced, which says whose arrays are the right ones, then the arrays. Arrays under the temporary name are read where the
description means them. A process that ends at any step so leaves a model that loads, and the next save goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenhand.core import DataError, clip
from evenhand.writing import part, stage, sync

ARRAYS, DESCRIPTION = "model.safetensors", "model.json"
AGAIN = "save the model again, or copy the folder again from where it came"


def seal(said: Mapping[str, Any]) -> str:
    """The description as JSON with the SHA-256 of itself in it."""
    try:
        plain = json.loads(json.dumps(said, allow_nan=False))  # as a reader will see it: tuples are lists, keys are text
    except (TypeError, ValueError) as error:
        problem = f"A setting or fact of the model is no JSON value ({error})"
        raise DataError(problem, expected="text, finite numbers, lists and dicts", remedy="convert it before saving") from error
    return json.dumps({**plain, "description_sha256": digest_of(plain)}, indent=1) + "\n"


def digest_of(said: Mapping[str, Any]) -> str:
    """SHA-256 of a description but for its seal."""
    rest = {k: v for k, v in said.items() if k != "description_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def parse(data: bytes, file: Path) -> dict[str, Any]:
    """A description, sealed or not. DataError where it is no JSON object."""
    try:
        said = json.loads(data.decode(), parse_constant=_no_constant)
        if not isinstance(said, dict):
            raise ValueError(f"a JSON {type(said).__name__}")
        digest_of(said)  # as deep as it can be read, it may be too deep to be written
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8 and bad JSON
        problem = f"Damaged or cut off ({clip(str(error))})"
        raise DataError(problem, expected="a JSON object", remedy=AGAIN, file=str(file)) from error
    return said


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def read(file: Path) -> bytes:
    """One of the two files as it is. DataError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        problem = f"Cannot be read ({error.strerror})"
        expected = f"a saved model: a folder with {ARRAYS} and {DESCRIPTION}"
        below = file.parent / "model"  # where `fit` puts it
        remedy = f"name {below}" if (below / DESCRIPTION).is_file() else f"check the path; {AGAIN}"
        raise DataError(problem, expected=expected, remedy=remedy, file=str(file)) from error


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
        said = parse((place / DESCRIPTION).read_bytes(), place / DESCRIPTION)
    except DataError:
        return False
    return said.get("description_sha256") == digest_of(said) and meant(place / ARRAYS, str(said.get("arrays_sha256"))) is not None


def meant(file: Path, digest: str) -> Path | None:
    """The arrays of that SHA-256: in their place, or still under their temporary name; None where there are none."""
    there = (p for p in (file, part(file)) if p.is_file())
    return next((p for p in there if hashlib.sha256(p.read_bytes()).hexdigest() == digest), None)


def write_both(place: Path, arrays: bytes, description: bytes) -> None:
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
        right = description.exists() and meant(arrays, str(parse(description.read_bytes(), description)["arrays_sha256"]))
        if right == part(arrays):
            os.replace(part(arrays), arrays)
        else:
            part(arrays).unlink()
    part(description).unlink(missing_ok=True)

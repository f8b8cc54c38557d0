"""From what was typed to what the workflows take; errors before the work and not after it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenhand.encode.encoder import TextEncoder


def constraint_pairs(given: list[str] | None) -> list[tuple[Any, float]]:
    """["dp=0.05"] → [("dp", 0.05)]."""
    pairs = assignments(given, "--constraint", "dp=0.05")
    return [(notion, decimals(gamma, "--constraint", f"{notion}=0.05")[0]) for notion, gamma in pairs.items()]


def hyperparameters(given: list[str] | None, example: str = "alpha=0.25") -> dict[str, str]:
    """["alpha=0.25"] → {"alpha": "0.25"}."""
    return assignments(given, "--set", example)


def without_comma(option: str, value: str | None, more: Sequence[str]) -> None:
    """Raises EvenhandError where words are left over on the command line, as of two columns without a comma between them."""
    from evenhand.core import EvenhandError, clip

    if not more:
        return
    words = [word for word in more if not word.startswith("-")]
    if value is not None and "," not in value and words and len(words) == len(more):
        raise EvenhandError(
            f"Found {option} {clip(value)} and, apart from it, {clip(' '.join(words))}. Expected: one word after {option}. "
            f"To do: put a comma between two columns: {option} {clip(value)},{clip(words[0])}."
        )
    raise EvenhandError(f"Found {clip(' '.join(more))}, which nothing takes. Expected: one DATA, and options. To do: see --help.")


def check_place(
    out: Path, names: Sequence[str], kind: str, bad_rows: Path | None = None, assigned: Path | None = None, *, pdf: bool = False
) -> None:
    """Whether all files of a report will find their place, asked before the work and not after it. bad_rows, assigned: written before them."""
    from evenhand.core import DataError
    from evenhand.writing import check, settled

    if out.exists() and not out.is_dir():
        raise DataError("--out is a file", expected="a folder", remedy="choose another --out", file=out.name)
    settled(out, lambda: None)
    if not os.access(out, os.W_OK):
        raise PermissionError(13, "Permission denied", str(out))
    check(out, names, kind)
    if pdf:
        from evenhand.workflows import pdf as printing

        printing.check(out / next(name for name in names if name.endswith(".html")))
    for option, file in (("--bad-rows", bad_rows), ("--assignments", assigned)):
        if file is None:
            continue
        remedy = f"choose another {option}"
        if file.name in names and file.parent.resolve() == out.resolve():
            raise DataError("the report has a file of this name", expected="another name", remedy=remedy, file=file.name)
        if file.resolve().is_relative_to((out / "model").resolve()):
            raise DataError("the place is a model's, whose folder holds nothing else", expected="another", remedy=remedy, file=file.name)


def check_track(track: str | None, out: Path) -> None:
    """A tracker's folder, asked for before the work: a model's own holds nothing else, and would refuse what was trained."""
    from evenhand.core import DataError

    if track is not None and Path(track.partition(":")[2]).resolve().is_relative_to((out / "model").resolve()):
        raise DataError("the place is a model's, whose folder holds nothing else", expected="another", remedy="choose another --track")


def typed(value: str) -> str:
    """A value as it was typed, for messages; of an empty one the quotation marks, since nothing shows otherwise."""
    from evenhand.core import clip

    return clip(value) if value.strip() else f'"{value}"'


def assignments(given: list[str] | None, option: str, example: str) -> dict[str, str]:
    from evenhand.core import EvenhandError, clip

    pairs = [text.partition("=") for text in given or ()]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise EvenhandError(f"Found {option} {typed(name + sign + value)}. Expected: {option} {example}. To do: write name, =, value.")
    names = [name.strip() for name, _, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        values = " and ".join(clip(value.strip()) for name, _, value in pairs if name.strip() == twice)
        raise EvenhandError(f"Found {option} {clip(twice)} twice: {values}. Expected: each name once. To do: leave one out.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def encoder_named(name: str, chunked: bool) -> TextEncoder | None:
    from evenhand.encode import text_encoder
    from evenhand.encode.minilm import MiniLM

    if name == "none":
        return None
    return MiniLM(chunked=chunked) if name == "minilm" else text_encoder(name, chunked=chunked)


def command() -> str:
    """What reproduces this run. Of paths the last part alone is kept: a home folder's name is nobody's business."""
    return shlex.join(["evenhand", *(Path(word).name if "/" in word and Path(word).is_absolute() else word for word in sys.argv[1:])])


def listed(text: str, option: str, example: str) -> list[str]:
    """ "a, b" → ["a", "b"]."""
    from evenhand.core import EvenhandError

    values = [part.strip() for part in text.split(",")]
    if not all(values):
        raise EvenhandError(f"Found {option} {typed(text)}. Expected: {option} {example}. To do: names between commas, none empty.")
    return values


def decimals(text: str, option: str, example: str) -> list[float]:
    """ "0.1, 1" → [0.1, 1.0]."""
    from evenhand.core import EvenhandError, clip

    values = listed(text, option, example)
    try:
        return [float(v) for v in values]
    except ValueError:
        raise EvenhandError(
            f"Found {option} {clip(text)}. Expected: numbers, as in {option} {example}. To do: numbers between commas."
        ) from None

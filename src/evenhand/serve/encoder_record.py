"""How a saved model names its encoder, and how that encoder is found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evenhand.core import DataError, EvenhandError, clip
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.encode.sentence import SentenceEncoder

Found = TypeVar("Found", SentenceEncoder, BackboneEncoder)


def record_of(encoder: TextEncoder | None) -> dict[str, Any]:
    """What model.json says of an encoder: which one, how it treats long texts, and its fingerprint. None: TF-IDF alone."""
    if encoder is None:
        return {"kind": "none"}
    facts = {"name": encoder.name, "chunked": encoder.chunked, "fingerprint": encoder.fingerprint}
    if isinstance(encoder, MiniLM):
        return {"kind": "minilm", **facts}
    if isinstance(encoder, SentenceEncoder):
        return {"kind": "sentence-transformers", "model": encoder.model, **facts}
    if isinstance(encoder, BackboneEncoder):
        b = encoder.backbone
        model = os.path.abspath(b.model) if os.path.isdir(b.model) else b.model  # found from wherever the saved model is read
        kept = {"model": model, "rank": b.rank, "pooling": b.pooling, "max_tokens": encoder.max_tokens, "dtype": b.dtype}
        told = {"history_pairs": b.history_pairs, "persona": b.persona is not None, "soft_user_tokens": b.soft_user_tokens}
        return {"kind": "backbone", **kept, **told, **facts}
    return {"kind": "given", **facts}  # the caller's own: load it with encoder=


def adapter_of(encoder: TextEncoder | None) -> dict[str, np.ndarray]:
    """What an encoder learned, by name; nothing of one that is as it was pretrained."""
    return {} if not isinstance(encoder, BackboneEncoder) or encoder.adapter is None else encoder.adapter.arrays()


def encoder_of(
    record: Mapping[str, Any],
    given: TextEncoder | Backbone | None,
    file: Path,
    adapter: Mapping[str, np.ndarray] | None = None,
    at: str | Path | None = None,
) -> TextEncoder | None:
    """The encoder that `record` names, or `given` in its place, under its adapter; at: the folder where the one it names lies now.

    Raises DataError unless its fingerprint is the recorded one.
    """
    if at is not None:
        record = _moved(record, at, file)
    if record["kind"] == "none":
        return None
    encoder = _found(record, file) if given is None else BackboneEncoder(given) if isinstance(given, Backbone) else given
    if isinstance(encoder, BackboneEncoder):
        _check_told(record, encoder.backbone, file)
    if adapter:
        if not isinstance(encoder, BackboneEncoder):
            expected = "a language model, whose weights were trained along"
            raise DataError(f"{clip(encoder.name)} takes no adapter", expected=expected, remedy="leave encoder= out", file=str(file))
        encoder = replace(encoder, adapter=encoder.backbone.base.adapter(adapter))
    if encoder.fingerprint != record["fingerprint"]:
        raise DataError(
            f"The encoder at hand, {clip(encoder.name)}, has the fingerprint {encoder.fingerprint[:16]}…",
            expected=f"{record['fingerprint'][:16]}… of {clip(record['name'])}, on which the model was trained",
            remedy="install that version of the encoder, or pass it as encoder=",
            file=str(file),
        )
    return encoder


def _check_told(record: Mapping[str, Any], backbone: Backbone, file: Path) -> None:
    """Raises DataError unless the backbone is told of users as it was in training."""
    found = (backbone.history_pairs, backbone.persona is not None, backbone.soft_user_tokens)
    wanted = (record.get("history_pairs", 0), record.get("persona", False), record.get("soft_user_tokens", 0))
    if found != wanted:
        pairs, persona, soft = wanted
        raise DataError(
            f"The encoder at hand reads {_told(*found)} before a prompt",
            expected=f"{_told(*wanted)}, as in training",
            remedy="pass encoder=evenhand.Backbone(..., "
            + f"history_pairs={pairs}"
            + (", persona=the function of the training" if persona else f", soft_user_tokens={soft}" if soft else "")
            + ")",
            file=str(file),
        )


def _told(pairs: int, persona: bool, soft: int) -> str:
    made = "a persona made of " if persona else f"{soft} soft tokens made of " if soft else ""
    return f"{made}{pairs} choices of the user"


def _moved(record: Mapping[str, Any], at: str | Path, file: Path) -> Mapping[str, Any]:
    """The record with the folder where its encoder lies now."""
    if record["kind"] not in ("backbone", "sentence-transformers"):
        raise DataError(
            f"Found a folder of an encoder, and the model's is {clip(record.get('name', 'none'))}", expected="a model whose encoder lies in a folder",
            remedy="leave --encoder-at (encoder_at) out", file=str(file),
        )  # fmt: skip
    return {**record, "model": str(at)}


def _found(record: Mapping[str, Any], file: Path) -> TextEncoder:
    if record["kind"] == "minilm":
        return MiniLM(chunked=record["chunked"])
    if record["kind"] == "sentence-transformers":
        return _at_hand(SentenceEncoder(record["model"], chunked=record["chunked"]), lambda found: found.fingerprint)
    if record["kind"] == "backbone":
        kept = {name: record[name] for name in ("rank", "pooling", "max_tokens", "dtype")}
        backbone = Backbone(
            record["model"], **kept, history_pairs=record.get("history_pairs", 0), soft_user_tokens=record.get("soft_user_tokens", 0)
        )
        return _at_hand(BackboneEncoder(backbone), lambda found: found.backbone.folder)
    expected, remedy = "minilm or sentence-transformers, or the encoder itself", "pass encoder= when loading"
    raise DataError(f"Encoder {clip(record['name'])} cannot be found by name", expected=expected, remedy=remedy, file=str(file))


def _at_hand(encoder: Found, look: Callable[[Found], object]) -> Found:
    """The encoder, once it was looked for. Raises EvenhandError that says how to name the place where it lies now."""
    try:
        look(encoder)
    except EvenhandError as error:
        raise EvenhandError(
            f"{error} The saved model stands on it: say where it lies now, --encoder-at FOLDER (in Python encoder_at=), or bring it back to "
            "where it was."
        ) from error
    return encoder

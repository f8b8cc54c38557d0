"""Where a language model that writes lies: "smollm2", a folder of transformers, a GGUF file, or a name in the Hugging Face cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from evenhand.core import EvenhandError, clip
from evenhand.encode.cache import cache_folder
from evenhand.encode.gguf import converted
from evenhand.encode.smollm2 import smollm2
from evenhand.writing import LIST

HASHED = (".json", ".txt", ".model", ".safetensors", ".jinja")  # what decides a text
RECORD = "training.json"  # beside an adapter that was trained here
MAGIC = b"GGUF"


def folder_of(model: str) -> Path:
    """The folder of transformers, looked through before anything is read. Nothing is downloaded; a GGUF file is converted once, into the
    cache. Raises EvenhandError.
    """
    if model == "smollm2":
        return smollm2()
    path = Path(model)
    folder = _of_gguf(path) if path.is_file() else path if path.is_dir() else _of_hub(model)
    files = {f.name for f in folder.iterdir()}
    if "adapter_config.json" in files and "config.json" not in files:
        raise refused(model, "its folder holds an adapter of PEFT", "a whole model", "name it with --adapter, and its base with --model")
    again = "save model and tokenizer there with save_pretrained, or name another model"
    if "config.json" not in files:
        raise refused(model, "there is no config.json in its folder", "a folder that save_pretrained of transformers wrote", again)
    if not any(f.endswith(".safetensors") for f in files):
        raise refused(model, "its folder holds no weights in safetensors", "weights in safetensors: other formats can run code", again)
    return folder


def adapter_at(folder: Path) -> Path:
    """An adapter of PEFT, looked through. Raises EvenhandError."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise refused(str(folder), f"there is no {name} in its folder", "a folder that PEFT wrote", "give the adapter's own folder")
    return folder


def files_sha256(*folders: Path) -> str:
    """Over the files that decide a text: not the list of what was written, nor the record of a training, which holds the seconds it took."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(f for f in folder.iterdir() if f.suffix in HASHED and f.name not in (LIST, RECORD) and f.is_file()):
            with file.open("rb") as content:
                digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def refused(model: str, found: str, expected: str, remedy: str) -> EvenhandError:
    return EvenhandError(f"Model '{clip(short(model))}' cannot be loaded: {found}. Expected: {expected}. To do: {remedy}.")


def short(model: str) -> str:
    """Its name without folders."""
    return Path(model).name if os.path.exists(model) else model


def said_of(error: Exception, folder: Path) -> str:
    """What a library says, without the way to the folder."""
    return clip(" ".join(str(error).split()).replace(str(folder), folder.name), 300)


def _of_gguf(file: Path) -> Path:
    with file.open("rb") as content:
        if content.read(len(MAGIC)) != MAGIC:
            raise refused(str(file), "it is a file of another kind", "a folder of transformers, or a GGUF file", "give one of these")
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return converted(file, cache_folder() / "models" / f"gguf-{digest[:16]}", f"Model '{clip(file.name)}'")


def _of_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise EvenhandError(
            f"Model '{clip(model)}' is not on this machine. Expected: smollm2, a folder of a causal model of transformers, a GGUF file, or the "
            "name of one in the Hugging Face cache; nothing is downloaded here. To do: give one of these, or name a server with --endpoint."
        ) from error

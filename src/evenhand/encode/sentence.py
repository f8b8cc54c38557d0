"""Any sentence-transformers model by name or folder, from this machine's disk alone: nothing is downloaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.encoder import Progress, printable, windows
from evenhand.engines.sent import AsMade

SLAB = 512  # texts between two reports of progress
HASHED = frozenset({".json", ".txt", ".model", ".safetensors", ".bin"})  # what decides a vector; not the README, not other formats of it


@dataclass(frozen=True)
class SentenceEncoder(AsMade):
    """A sentence-transformers model in its own precision, pooling and normalisation.

    model: a folder, or a name that an earlier download left in the Hugging Face cache ("sentence-transformers/" may be left out).
    chunked: texts over the model's limit are cut into windows and their vectors averaged, weighted by tokens, at the vectors' mean length.
    """

    FILES = ("model",)

    model: str
    chunked: bool = True

    @property
    def name(self) -> str:
        return Path(self.model).name if os.path.isdir(self.model) else self.model

    @property
    def fingerprint(self) -> str:
        settings = f"{self._files_sha256} own-pooling {self.max_tokens} {'chunked' if self.chunked else 'cut'}"
        return hashlib.sha256(settings.encode()).hexdigest()

    @property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        return int(min(self._model.max_seq_length or 2**31, self._model.tokenizer.model_max_length, 2**31))

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Vectors float32[n, dim]. Raises EvenhandError when the model is not on this disk."""
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), SLAB):
            slab = [printable(text) for text in texts[start : start + SLAB]]
            out[start : start + len(slab)] = self._pooled(slab) if self.chunked else self._encoded(slab)
            if progress is not None:
                progress(start + len(slab), len(texts))
        return out

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each whole text, special ones included, int64[n]."""
        return np.array([len(self._offsets(printable(text))) + self._specials for text in texts], dtype=np.int64)

    def unknown(self, texts: Sequence[str]) -> np.ndarray:
        """Share of each whole text's tokens that stand for unknown ones, float64[n]; 0 where the tokenizer knows every text."""
        mark = self._model.tokenizer.unk_token_id
        pieces = (
            self._model.tokenizer(printable(t), add_special_tokens=False, truncation=False, verbose=False)["input_ids"] for t in texts
        )
        return np.array([ids.count(mark) / max(len(ids), 1) for ids in pieces], dtype=np.float64)

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        """One text a batch: in a batch of several the padding, and with it the last bits of a vector, would follow from the other texts."""
        return np.asarray(self._model.encode(list(texts), batch_size=1, show_progress_bar=False, convert_to_numpy=True), dtype=np.float32)

    def _pooled(self, texts: Sequence[str]) -> np.ndarray:
        """Token-weighted means over windows. The mean keeps the windows' mean length, so that a normalised model stays normalised."""
        parts, weights, owners = [], [], []
        for row, text in enumerate(texts):
            spans = self._offsets(text)
            cuts = windows(len(spans), self.max_tokens - self._specials)
            for cut in cuts:
                parts.append(text if len(cuts) == 1 else text[spans[cut.start][0] : spans[cut.stop - 1][1]])
                weights.append(max(1, cut.stop - cut.start))
                owners.append(row)
        vectors, weight, owner = self._encoded(parts), np.array(weights, dtype=np.float32), np.array(owners)
        sums, norms = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32), np.zeros(len(texts), dtype=np.float32)
        np.add.at(sums, owner, weight[:, None] * vectors)
        np.add.at(norms, owner, weight * np.linalg.norm(vectors, axis=1))
        total = np.bincount(owner, weights=weight)
        return sums * (norms / total / np.maximum(np.linalg.norm(sums, axis=1), 1e-12))[:, None]

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token lies in the text, without special tokens."""
        encoded = self._model.tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
        return [(int(a), int(b)) for a, b in encoded["offset_mapping"]]

    @cached_property
    def _specials(self) -> int:
        return int(self._model.tokenizer.num_special_tokens_to_add())

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer  # takes seconds to import: only here

        try:
            return SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)
        except (OSError, ValueError) as error:
            raise EvenhandError(
                f"Encoder '{clip(self.model)}' cannot be loaded: {clip(str(error), 200)}. Expected: a folder that "
                "SentenceTransformer.save wrote. To do: save the model there again, or leave the encoder out for the embedded one."
            ) from error

    @cached_property
    def _folder(self) -> Path:
        if os.path.isdir(self.model):
            return Path(self.model)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        for name in (self.model, f"sentence-transformers/{self.model}"):
            try:
                return Path(snapshot_download(name, local_files_only=True))
            except (HFValidationError, LocalEntryNotFoundError):
                continue
        raise EvenhandError(
            f"Encoder '{clip(self.model)}' is not on this machine. Expected: a folder of a sentence-transformers model, "
            "or the name of one in the Hugging Face cache; nothing is downloaded here. "
            "To do: give the folder, or leave the encoder out for the embedded one."
        )

    @cached_property
    def _files_sha256(self) -> str:
        digest = hashlib.sha256()
        for file in sorted(f for f in self._folder.rglob("*") if f.suffix in HASHED and f.is_file()):
            with file.open("rb") as content:
                digest.update(
                    f"{file.relative_to(self._folder).as_posix()} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
                )
        return digest.hexdigest()

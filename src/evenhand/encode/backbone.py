"""A language model as the ground that rewards stand on: which one, how its texts are pooled, what of it trains, and where it runs.

"minilm" and "smollm2" come with packages; any other name is a folder of transformers, or what an earlier download left in the Hugging
Face cache. Nothing is downloaded, weights are read from safetensors alone, and no code of a model's folder is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evenhand import ranks
from evenhand.core import EvenhandError, Tuning, clip
from evenhand.encode.chat import Chat, Choice, Told
from evenhand.encode.chunks import Pooling
from evenhand.encode.minilm import MAX_TOKENS as MINILM_TOKENS
from evenhand.encode.minilm import MiniLM
from evenhand.encode.smollm2 import smollm2

if TYPE_CHECKING:
    from evenhand.encode.base import Base

MOST_PAIRS = 1000  # in an input
MOST_SOFT = 64  # soft tokens of a user
LEAST = 8  # tokens of a text
TOKENS = 512  # of a text at most, where nothing else is said and the model has as many positions
CHUNK, GPU_CHUNK = 2048, 16_384  # places for tokens in one pass
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
HASHED = (".json", ".txt", ".model", ".safetensors", ".jinja")  # what decides a vector

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Backbone:
    """model: "minilm", "smollm2", a folder of transformers (encoder or causal), or a name in the Hugging Face cache.

    rank: of LoRA on all linear layers, alpha twice as much; 0 = all weights train. pooling: what a text's vector is, the mean of the last
    hidden states over its own tokens, or that of its last token. max_tokens: of a text, special tokens included; None = 512, or fewer
    where the model has fewer positions (minilm: 256). device: "cpu", "cuda", "cuda:1"; None = cuda where there is one. dtype: of the base;
    what trains is float32 always, and where all weights train the base is, too, and bfloat16 what it computes in. chunk_tokens: places for tokens in one forward pass, which bounds memory and decides nothing else; None = what is fastest on
    the device (measured: on a CPU, larger chunks cost padding and caches).
    keep_gb: of activations that a step may keep in a process between its loss and the pass backward; what is beyond is computed twice.
    checkpointing: activations are computed again in the pass backward, layer by layer, which costs time and saves memory. sharded: under
    torchrun every process holds its part of the base's weights (FSDP2), for models that are too large for one device. tuning: how it trains.
    history_pairs: so many of the user's earlier choices stand in the input before the prompt; the reward then knows the user from there
    alone. persona: makes one text of these choices, which stands there in their place; it must give the same text for the same choices.
    soft_user_tokens: so many soft tokens stand before every text in place of the words; they follow from the choices (user_tokens.py), of
    which there may then be many at no cost, and are learned with the adapter.
    """

    model: str = "minilm"
    rank: int = 16
    pooling: Pooling = "mean"
    max_tokens: int | None = None
    device: str | None = None
    dtype: Dtype = "float32"
    chunk_tokens: int | None = None
    keep_gb: float = 2.0
    checkpointing: bool = False
    sharded: bool = False
    tuning: Tuning = Tuning()  # noqa: RUF009 (frozen)
    history_pairs: int = 0
    persona: Callable[[Sequence[Choice]], str] | None = None
    soft_user_tokens: int = 0

    def __post_init__(self) -> None:
        valid = {
            "rank": (isinstance(self.rank, Integral) and 0 <= self.rank <= 1024, "a whole number from 0 to 1024"),
            "pooling": (self.pooling in ("mean", "last"), "mean or last"),
            "max_tokens": (_whole(self.max_tokens, LEAST), f"a whole number, {LEAST} or more"),
            "dtype": (self.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
            "keep_gb": (0 <= self.keep_gb < float("inf"), "0 or more"),
            "chunk_tokens": (_whole(self.chunk_tokens, 1), "a whole number, 1 or more"),
            "history_pairs": (
                isinstance(self.history_pairs, Integral) and 0 <= self.history_pairs <= MOST_PAIRS,
                f"a whole number from 0 to {MOST_PAIRS}",
            ),
            "persona": (
                self.persona is None or (callable(self.persona) and self.history_pairs > 0),
                "a function of choices, and history_pairs",
            ),
            "soft_user_tokens": (
                isinstance(self.soft_user_tokens, Integral)
                and 0 <= self.soft_user_tokens <= MOST_SOFT
                and (self.soft_user_tokens == 0 or (self.history_pairs > 0 and self.persona is None)),
                f"a whole number from 0 to {MOST_SOFT}, and from 1 on history_pairs, the choices that they follow from, without a persona",
            ),
        }
        for name, (good, expected) in valid.items():
            if not good:
                raise EvenhandError(
                    f"{name} of the backbone is {clip(str(getattr(self, name)))}. Expected: {expected}. To do: correct it, or leave it out."
                )
        if self.sharded and self.rank == 0:
            raise EvenhandError(
                "Found a backbone that is sharded and all of whose weights train (rank 0). Expected: LoRA, since what trains lies whole in every "
                "process. To do: give a rank of 1 or more, or leave sharded out."
            )

    @property
    def name(self) -> str:
        return Path(self.model).name if os.path.isdir(self.model) else self.model

    @property
    def reads(self) -> str:
        """How texts become vectors, for reports."""
        pooled = "the mean over the response's own tokens" if self.pooling == "mean" else "the response's last token"
        soft = f", {self.soft_user_tokens} soft tokens of the user before it" if self.soft_user_tokens else ""
        base = self.dtype if self.rank or self.dtype == "float32" else f"float32, computed in {self.dtype}"
        return f"{pooled}, at most {self.limit} tokens a text{soft}, base in {base}"

    @property
    def trains(self) -> str:
        """What of it trains and for how long, for reports."""
        t, what = self.tuning, f"LoRA of rank {self.rank} on all linear layers" if self.rank else "all weights"
        return f"{what}, up to {t.steps} steps of {t.batch_texts} texts, learning rate {t.lr:g}"

    def __getstate__(self) -> dict[str, Any]:
        """What it is, for another process: that one loads the model itself."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def base(self) -> Base:
        """The model itself, loaded on first use and kept: whatever has this Backbone shares it. Raises EvenhandError."""
        from evenhand.encode.base import Base

        at = device(self.device)
        return Base(
            self.folder,
            self.name,
            rank=self.rank,
            pooling=self.pooling,
            unit=self.model == "minilm",  # as its authors trained it
            device=at,
            dtype=self.dtype,
            chunk_tokens=self.chunk_tokens or (CHUNK if at == "cpu" else GPU_CHUNK),
            checkpointing=self.checkpointing,
            sharded=self.sharded,
            keep_gb=self.keep_gb,
            user_tokens=self.soft_user_tokens,
        )

    @cached_property
    def limit(self) -> int:
        """Tokens of a text at most. Raises EvenhandError when the model has not as many positions."""
        positions = MINILM_TOKENS if self.model == "minilm" else self.base.positions
        if self.max_tokens is not None and self.max_tokens > positions:
            raise EvenhandError(
                f"max_tokens is {self.max_tokens}, and backbone '{clip(self.name)}' has {positions} positions. "
                f"Expected: at most {positions}. To do: give fewer tokens, or another backbone."
            )
        return self.max_tokens or min(TOKENS, positions)

    @cached_property
    def chat(self) -> Chat:
        """How prompts and responses become tokens of the model: in training, when scoring, and in whatever serves it."""
        left = self.limit - self.soft_user_tokens
        if self.soft_user_tokens and left < LEAST:
            raise EvenhandError(
                f"{self.soft_user_tokens} of the {self.limit} tokens of a text stand for its user. Expected: {LEAST} or more for the text itself. To "
                "do: give fewer soft_user_tokens, or more max_tokens."
            )
        return Chat(self.base.tokenizer, left)

    def told(self, history: Sequence[tuple[str, str, str]]) -> Told:
        """What stands before the prompt of a user with this history of (prompt, chosen, rejected): the last `history_pairs`, or their persona."""
        known = tuple(Choice(*pair) for pair in history[-self.history_pairs :]) if self.history_pairs else ()
        if self.persona is None or not known:
            return known
        text = self.persona(known)
        if not isinstance(text, str):
            raise EvenhandError(f"persona gave {type(text).__name__}. Expected: a text. To do: return str for every list of choices.")
        return text

    @cached_property
    def folder(self) -> Path:
        """Where the model lies, looked through before anything is read. Raises EvenhandError."""
        if self.model == "minilm":
            return MiniLM().checked_folder()
        folder = smollm2() if self.model == "smollm2" else _folder(self.model)
        _check(folder, self.name)
        return folder

    @cached_property
    def files_sha256(self) -> str:
        """Over the files that decide a vector."""
        digest = hashlib.sha256()
        for file in sorted(f for f in self.folder.iterdir() if f.suffix in HASHED and f.is_file()):
            with file.open("rb") as content:
                digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()


def _whole(value: int | None, least: int) -> bool:
    return value is None or (isinstance(value, Integral) and value >= least)


def _folder(model: str) -> Path:
    if os.path.isdir(model):
        return Path(model)
    if os.path.isfile(model):
        raise EvenhandError(
            f"Backbone '{clip(Path(model).name)}' is a file. Expected: a folder with config.json, weights in safetensors and a tokenizer, as "
            "save_pretrained of transformers writes it; GGUF files are not read. To do: give that folder."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise EvenhandError(
            f"Backbone '{clip(model)}' is not on this machine. Expected: minilm, smollm2, a folder of a model of transformers, or the name of "
            "one in the Hugging Face cache; nothing is downloaded here. To do: give the folder, or one of these names."
        ) from error


def _check(folder: Path, name: str) -> None:
    """Raises EvenhandError for a folder without the files of a model, or with files that are not to be read."""
    files = {file.name for file in folder.iterdir()}

    def refuse(found: str, expected: str, remedy: str) -> EvenhandError:
        return EvenhandError(f"Backbone '{clip(name)}' cannot be loaded: {found}. Expected: {expected}. To do: {remedy}.")

    again = "save model and tokenizer there with save_pretrained, or name another backbone"
    if "adapter_config.json" in files:
        raise refuse("its folder holds an adapter of PEFT", "a whole model", "merge the adapter into its base and save that")
    if "config.json" not in files:
        raise refuse("there is no config.json in its folder", "a folder that save_pretrained of transformers wrote", again)
    if not any(file.endswith(".safetensors") for file in files):
        if any(file.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5")) for file in files):
            raise refuse(
                "its weights are in a format that can run code when it is read",
                "weights in safetensors",
                "save the model with safe_serialization=True",
            )
        raise refuse("there are no weights in its folder", "weights in safetensors", again)
    if not files.intersection(TOKENIZERS):
        raise refuse("there is no tokenizer in its folder", f"one of {', '.join(TOKENIZERS)}", again)


def device(named: str | None) -> str:
    """The device to run on, one that is there. None = cuda where there is one, else cpu; of several ranks each has a GPU of its own.

    Raises EvenhandError.
    """
    import torch

    there = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if ranks.count() > 1 and there and named != "cpu":
        if named in (None, "cuda") and ranks.here() < len(there):
            return there[ranks.here()]
        raise EvenhandError(
            f"{ranks.count()} processes of torchrun were given device {clip(named or 'cuda')}, and this machine has {len(there)} GPUs. Expected: "
            "a GPU for each process. To do: start no more of them than there are GPUs and name none, or give cpu."
        )
    if named is None:
        return "cuda" if there else "cpu"
    if named == "cpu" or (named == "cuda" and there) or (re.fullmatch(r"cuda:\d+", named) and named in there):
        return named
    raise EvenhandError(
        f"device is '{clip(named)}', which is not on this machine. Expected: cpu{''.join(f', {d}' for d in ['cuda'][: len(there)] + there)}. "
        "To do: name one of these, or leave it out."
    )

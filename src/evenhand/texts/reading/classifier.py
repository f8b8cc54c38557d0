"""A classifier of texts, or of pairs of texts, by its folder: what any sequence-classification model of transformers says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.cache import encode_cached
from evenhand.encode.encoder import Progress, printable
from evenhand.encode.hub_folder import HubClassifier, Wanted, hub_classifier

WANTED = Wanted("classifier", "outputs")
TOGETHER = 1024  # texts that are made tokens at a time, which bounds memory


@dataclass(frozen=True)
class Classifier:
    """A folder of transformers, or the name of an earlier download; an adapter of PEFT brings its base in the same way. It is read, and
    checked, on first use: nothing is downloaded, no code of its own is run, no pickle is opened. Raises EvenhandError for what is no such
    model.

    device: cpu, cuda, …; default: cuda where there is one. max_tokens: of a text, or of a pair together; default: the model's own context.
    What is beyond is cut from the right, of a pair from the longer one. batch_tokens: read at once, padding included.
    """

    folder: str | Path
    device: str | None = None
    max_tokens: int | None = None
    batch_tokens: int = 4096

    @property
    def name(self) -> str:
        """The folder's own name, without where it lies."""
        return Path(self.folder).resolve().name if Path(self.folder).is_dir() else str(self.folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its outputs."""
        return self._loaded.labels

    @property
    def about(self) -> str:
        """One sentence: what it is."""
        how = "each output on its own (sigmoid)" if self._each_alone else "one of its outputs a text (softmax)"
        return (
            f"{clip(self.name)}: {self._loaded.size}, SHA-256 {self._loaded.sha256[:12]}, up to {self._loaded.max_tokens:,} tokens; {how}."
        )

    @property
    def sha256(self) -> str:
        """Over its files."""
        return self._loaded.sha256

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides its outputs."""
        return _Encoder(self._loaded).fingerprint

    def probabilities(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None, folder: Path | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """float64[n, labels] in [0, 1]; nan for a text that is no token to the model. Each distinct text is read once ever, and kept in the
        cache.

        seconds: of pairs, as hypotheses to the premises `texts`. folder: the cache; default: the user's. progress(done, total) counts
        distinct texts. Outputs are those of the text alone to 1e-5, whatever is read beside it. Rows add up to 1, but of a model of several
        labels a text (problem_type of its config) and of one of one output: there each is a probability of its own.
        """
        read = self._read(texts, seconds)
        distinct = sorted(
            {text for text in read if text}, key=lambda text: (-text.count(" "), text)
        )  # neighbours of one length share a batch
        logits = encode_cached(distinct, _Encoder(self._loaded), folder, progress).astype(np.float64)
        found = _sigmoid(logits) if self._each_alone else _softmax(logits)
        at = {text: row for row, text in enumerate(distinct)}
        out = np.full((len(read), len(self.labels)), np.nan)
        known = [i for i, text in enumerate(read) if text]
        out[known] = found[[at[read[i]] for i in known]]
        return out

    def _read(self, texts: Sequence[str], seconds: Sequence[str] | None) -> list[str]:
        """Token ids of each text, written out with spaces between, and behind a bar which of the two texts each is of, where the model
        asks.
        """
        if seconds is not None and len(seconds) != len(texts):
            found = f"{len(texts)} texts and {len(seconds)} beside them"
            raise EvenhandError(f"Found {found}. Expected: as many of both. To do: give one a text.")
        tokenizer, typed = self._loaded.tokenizer, self._loaded.typed
        pairs = list(zip(texts, seconds, strict=True)) if seconds is not None else [(text,) for text in texts]
        known = dict.fromkeys(pairs, "")
        distinct = list(known)
        for at in range(0, len(distinct), TOGETHER):
            some = distinct[at : at + TOGETHER]
            said = tokenizer(*([*map(printable, side)] for side in zip(*some)), truncation=True, max_length=self._loaded.max_tokens)
            for row, pair in enumerate(some):
                known[pair] = " ".join(map(str, said["input_ids"][row]))
                if typed and any(said["token_type_ids"][row]):
                    known[pair] += "|" + " ".join(map(str, said["token_type_ids"][row]))
        return [known[pair] for pair in pairs]

    @property
    def _each_alone(self) -> bool:
        return self._loaded.model.config.problem_type == "multi_label_classification" or len(self.labels) == 1

    @cached_property
    def _loaded(self) -> HubClassifier:
        for what, number in (("max_tokens", self.max_tokens), ("batch_tokens", self.batch_tokens)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise EvenhandError(f"{what} is {clip(number)}. Expected: a whole number above 0. To do: leave it out.")
        found = hub_classifier(self.folder, self.name, WANTED, self.device, "float32", self.max_tokens, self.batch_tokens)
        if found.model.config.problem_type == "regression":
            raise EvenhandError(
                f"Found {clip(self.name)}, whose outputs are numbers and no probabilities (problem_type regression). Expected: {WANTED.expected}. "
                "To do: name a classifier."
            )
        return found


def classifier_of(given: str | Path | Classifier) -> Classifier:
    """The classifier of a folder, or the one that is at hand: whoever asks it several times reads it once."""
    return given if isinstance(given, Classifier) else Classifier(given)


@dataclass(frozen=True)
class _Encoder:
    """What `encode_cached` takes: logits are vectors of token ids written out."""

    model: HubClassifier

    chunked = False

    @property
    def name(self) -> str:
        return self.model.kind

    @property
    def dim(self) -> int:
        return len(self.model.labels)

    @property
    def max_tokens(self) -> int:
        return self.model.max_tokens

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.model.sha256} logits {self.model.device.partition(':')[0]} {self.model.dtype}".encode()).hexdigest()

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.partition("|")[0].split()) for text in texts], np.int64)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        ids, types = [], []
        for text in texts:
            numbers, _, of = text.partition("|")
            ids.append([*map(int, numbers.split())])
            types.append([*map(int, of.split())] or [0] * len(ids[-1]))
        return self.model.logits(ids, types if any(map(any, types)) else None, progress)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

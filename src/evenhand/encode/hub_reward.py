"""Reward models of the hub's format: a folder that AutoModelForSequenceClassification of transformers reads, or an adapter of PEFT on one.

(prompt, response) → the raw logit, never a sigmoid of it. The reward is what the model gives the text alone, unpadded, by its own pooling
(`encode/hub_folder.py`).

Rewards are cached by content (`encode/cache.py`): a run that is killed goes on from the last few seconds. Nothing is downloaded, code that
comes with a model is not run, and weights that are a pickle are not opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.cache import encode_cached
from evenhand.encode.chat import Chat
from evenhand.encode.encoder import Progress
from evenhand.encode.hub_folder import DTYPES, HubClassifier, Wanted, hub_classifier, refusal
from evenhand.engines.sent import AsMade

WANTED = Wanted("reward model", "rewards")


@dataclass(frozen=True, repr=False)
class Rewards:
    """Of texts, in order. values float32[n], finite. cut bool[n]: the model did not read the text whole. same int64[n]: texts that the model
    reads alike have one number.
    """

    values: np.ndarray
    cut: np.ndarray
    same: np.ndarray

    def __repr__(self) -> str:
        return f"Rewards({len(self.values):,} texts, {int(self.cut.sum()):,} of them not read whole)"


@dataclass(frozen=True)
class HubRewardModel(AsMade):
    """A reward model of the hub's format, by its folder. It reads no user: everybody gets the same reward.

        evenhand.audit("choices.jsonl", reward_model=evenhand.HubRewardModel("my-reward-model", device="cuda", dtype="bfloat16"))

    The model is read, and checked, on first use. Rewards are those of the text alone to 1e-5 in float32, whatever is scored beside it;
    in bfloat16 the head alone keeps
    float32, and rewards move in the third digit.

    Args:
        folder: Folder of the model, or its name in the Hugging Face cache; an adapter of PEFT brings its base in the same way.
        reward_label: Which output is the reward, by its name, where a reward model of the hub's format has several.
        device: Where language models compute: cpu, cuda or cuda:1; default: cuda where there is one.
        dtype: Numbers of the weights that do not train: float32, or bfloat16.
        max_tokens: Longest text that a language model reads, in tokens; default: its own context, at most 512 where it trains.
        batch_tokens: Tokens that a language model reads at once, padding included.

    Raises EvenhandError, with what was found, what was expected and what to do, for folders that hold no such model.
    """

    folder: str | Path
    reward_label: str | None = None
    device: str | None = None
    dtype: str = "float32"
    max_tokens: int | None = None
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise EvenhandError(f"dtype is {clip(self.dtype)}. Expected: {' or '.join(DTYPES)}. To do: float32 where in doubt.")
        for name, number in (("max_tokens", self.max_tokens), ("batch_tokens", self.batch_tokens)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise EvenhandError(f"{name} is {clip(number)}. Expected: a whole number above 0. To do: leave it out.")

    @property
    def name(self) -> str:
        """The folder's own name, without where it lies."""
        return Path(self.folder).resolve().name if Path(self.folder).is_dir() else str(self.folder)

    @property
    def sha256(self) -> str:
        """SHA-256 over the model's files: config, tokenizer, weights; of an adapter those of its base, too."""
        return self._loaded.classifier.sha256

    @property
    def about(self) -> str:
        """One sentence: what it is and how it reads."""
        return self._loaded.about

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], progress: Progress | None = None, cache: Path | None = None
    ) -> Rewards:
        """Rewards of responses to prompts, each distinct text scored once and kept in the cache. cache: its folder; default: the user's.

        A prompt that is a conversation, as `data` stores one ("user: …", "assistant: …"), becomes its turns. progress(done, total) counts
        distinct texts. Raises EvenhandError for rewards that are not finite, and for a text that the model cannot read.
        """
        texts, cut = self.read(prompts, responses)
        number: dict[str, int] = {}
        same = np.array([number.setdefault(text, len(number)) for text in texts], np.int64)
        distinct = sorted(number, key=lambda text: (-text.count(" "), text))  # the longest first; neighbours of one length share a batch
        found = encode_cached(distinct, self._loaded, cache, progress)[:, 0]
        values = np.empty(len(number), np.float32)
        values[[number[text] for text in distinct]] = found
        return Rewards(values[same], cut, same)

    def read(self, prompts: Sequence[str], responses: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """What the model is given of each text, token ids with spaces between; and whether it was cut to the limit, bool[n]."""
        return self._loaded.read(prompts, responses)

    def at_once(self, texts: Sequence[str]) -> np.ndarray:
        """Rewards float32[n] of what `read` gave, computed anew and not looked up: for whoever checks them."""
        return self._loaded.encode(texts)[:, 0]

    @cached_property
    def _loaded(self) -> _Loaded:
        found = hub_classifier(self.folder, self.name, WANTED, self.device, self.dtype, self.max_tokens, self.batch_tokens)
        return _Loaded(found, _output(found.labels, self.reward_label, clip(self.name)))


@dataclass(frozen=True)
class _Loaded:
    """A model in memory: what `encode_cached` takes for an encoder of one coordinate. Its texts are token ids, written out with spaces between:
    a reward follows from them and from nothing else, and a list of numbers would take ten times the memory.
    """

    classifier: HubClassifier
    output: int  # which logit

    dim = 1
    chunked = False

    @property
    def name(self) -> str:
        return self.classifier.kind

    @property
    def max_tokens(self) -> int:
        return self.classifier.max_tokens

    @property
    def fingerprint(self) -> str:
        model = self.classifier
        return hashlib.sha256(f"{model.sha256} reward {self.output} {model.device.partition(':')[0]} {model.dtype}".encode()).hexdigest()

    @property
    def about(self) -> str:
        how = "without a chat template" if self.classifier.tokenizer.chat_template is None else "in the tokenizer's chat template"
        return f"{self.classifier.size}; it reads prompt and response {how}, up to {self.max_tokens:,} tokens, and no user"

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], np.int64)

    def read(self, prompts: Sequence[str], responses: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Token ids of each text, written out; and whether it was cut to the limit, bool[n]. Equal pairs are read once."""
        pairs = list(dict.fromkeys(zip(prompts, responses, strict=True)))
        read = Chat(self.classifier.tokenizer, self.max_tokens).tokens([prompt for prompt, _ in pairs], [response for _, response in pairs])
        known = {pair: (" ".join(map(str, [*text.prefix, *text.own])), bool(text.dropped)) for pair, text in zip(pairs, read)}
        found = [known[pair] for pair in zip(prompts, responses)]
        return [text for text, _ in found], np.array([cut for _, cut in found], bool)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Rewards float32[n, 1]."""
        return self.classifier.logits([[*map(int, text.split())] for text in texts], progress=progress)[:, [self.output]]


def _output(labels: Sequence[str], label: str | None, name: str) -> int:
    """Which logit is the reward."""
    if label is None and len(labels) == 1:
        return 0
    known = ", ".join(clip(text, 40) for text in labels[:12])
    if label is None:
        found, remedy = f"{len(labels)} outputs in {name}: {known}", "say which is the reward: --reward-label NAME"
        raise refusal(found, "a reward model with one", remedy)
    found_at = [number for number, text in enumerate(labels) if text == label]
    if len(found_at) != 1:
        raise refusal(f"no output {clip(label)} in {name}", f"one of: {known}", "name one of them, or leave --reward-label out")
    return found_at[0]

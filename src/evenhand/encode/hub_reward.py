"""Reward models of the hub's format: a folder that AutoModelForSequenceClassification of transformers reads, or an adapter of PEFT on one.

(prompt, response) → the raw logit, never a sigmoid of it. The reward is what the model gives the text alone, unpadded, by its own pooling.
Causal models pool the last token that is not the pad token of their config, so in a batch
- texts are padded on the right with that very token: what they pool is what they pool alone, also where pad = eos and a text ends with eos,
- a model without a pad token gets batches of texts of one length, and an id that no text holds for its pad token.

Rewards are cached by content (`encode/cache.py`): a run that is killed goes on from the last few seconds. Nothing is downloaded, code that
comes with a model is not run, and weights that are a pickle are not opened.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.backbone import device
from evenhand.encode.cache import encode_cached
from evenhand.encode.chat import Chat
from evenhand.encode.encoder import Progress

DTYPES = ("float32", "bfloat16")
HASHED = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})  # what decides a reward
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.txt", "vocab.json")
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len")  # what configs call the longest text
EXPECTED = "a folder of a reward model as AutoModelForSequenceClassification.save_pretrained writes it"


@dataclass(frozen=True)
class Rewards:
    """Of texts, in order. values float32[n], finite. cut bool[n]: the model did not read the text whole. same int64[n]: texts that the model
    reads alike have one number.
    """

    values: np.ndarray
    cut: np.ndarray
    same: np.ndarray


@dataclass(frozen=True)
class HubRewardModel:
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
        return self._loaded.sha256

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
        with _quiet():
            return _load(self)


@dataclass(frozen=True)
class _Loaded:
    """A model in memory: what `encode_cached` takes for an encoder of one coordinate. Its texts are token ids, written out with spaces between:
    a reward follows from them and from nothing else, and a list of numbers would take ten times the memory.
    """

    name: str
    kind: str  # its class in transformers
    tokenizer: Any
    model: Any
    output: int  # which logit
    pad: int | None  # the id that causal models do not pool; None: they pool the last token
    max_tokens: int
    batch_tokens: int
    device: str
    dtype: str
    sha256: str

    dim = 1
    chunked = False

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.sha256} reward {self.output} {self.device.partition(':')[0]} {self.dtype}".encode()).hexdigest()

    @property
    def about(self) -> str:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        how = "without a chat template" if self.tokenizer.chat_template is None else "in the tokenizer's chat template"
        return f"{self.kind}, {count:,} parameters, {self.dtype} on {self.device.partition(':')[0]}; it reads prompt and response {how}, up to {self.max_tokens:,} tokens, and no user"

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], np.int64)

    def read(self, prompts: Sequence[str], responses: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Token ids of each text, written out; and whether it was cut to the limit, bool[n]. Equal pairs are read once."""
        pairs = list(dict.fromkeys(zip(prompts, responses, strict=True)))
        read = Chat(self.tokenizer, self.max_tokens).tokens([prompt for prompt, _ in pairs], [response for _, response in pairs])
        known = {pair: (" ".join(map(str, [*text.prefix, *text.own])), bool(text.dropped)) for pair, text in zip(pairs, read)}
        found = [known[pair] for pair in zip(prompts, responses)]
        return [text for text, _ in found], np.array([cut for _, cut in found], bool)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Rewards float32[n, 1], longest texts first: what does not fit in memory fails at once."""
        import torch

        ids = [[*map(int, text.split())] for text in texts]
        out = np.empty(len(ids), np.float32)
        done = 0
        for batch in self._batches([len(tokens) for tokens in ids]):
            longest = len(ids[batch[0]])
            tokens = torch.full((len(batch), longest), self.pad or 0)
            mask = torch.zeros(len(batch), longest, dtype=torch.long)
            for row, text in enumerate(batch):
                tokens[row, : len(ids[text])] = torch.tensor(ids[text])
                mask[row, : len(ids[text])] = 1
            try:
                with torch.inference_mode():
                    logits = self.model(input_ids=tokens.to(self.device), attention_mask=mask.to(self.device)).logits
            except (RuntimeError, IndexError, ValueError, TypeError) as error:
                found = (
                    f"{type(error).__name__} in the reward model on {len(batch)} texts of up to {longest:,} tokens: {clip(str(error), 200)}"
                )
                raise _refusal(found, "a logit a text", "lower max_tokens, or batch_tokens where memory was short") from error
            out[batch] = logits[:, self.output].float().cpu().numpy()
            if not np.isfinite(out[batch]).all():
                found = f"{int((~np.isfinite(out[batch])).sum())} of {len(batch)} rewards that are not finite"
                remedy = "try dtype float32, and if they stay so, mend the model: its weights hold what is no number, or overflow"
                raise _refusal(found, "a finite reward for every text", remedy)
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
        return out[:, None]

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Texts by length, the longest first: of one length where the model has no pad token, else of neighbouring ones."""
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        batch: list[int] = []
        for text in order:
            full = batch and (len(batch) + 1) * lengths[batch[0]] > self.batch_tokens
            if full or (batch and self.pad is None and lengths[text] != lengths[batch[0]]):
                yield batch
                batch = []
            batch.append(text)
        if batch:
            yield batch


def _refusal(found: str, expected: str, remedy: str) -> EvenhandError:
    return EvenhandError(f"Found {found}. Expected: {expected}. To do: {remedy}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers and PEFT print bars, tables and warnings about loading, which name the folder's place; what matters in them is checked."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load(asked: HubRewardModel) -> _Loaded:
    from transformers import AutoTokenizer

    name = clip(asked.name)
    where = device(asked.device)
    folder = _place(str(asked.folder))
    adapted = (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    base = _base(folder, name) if adapted else folder
    for place in dict.fromkeys((folder, base)):
        _check_files(place, clip(place.name), adapter=place != base)
    with_tokenizer = next((place for place in (folder, base) if any((place / file).is_file() for file in TOKENIZERS)), None)
    if with_tokenizer is None:
        raise _refusal(f"no tokenizer in {name}", EXPECTED, "save the tokenizer into the folder: tokenizer.save_pretrained(folder)")
    with _told(name):
        tokenizer = AutoTokenizer.from_pretrained(with_tokenizer, local_files_only=True, trust_remote_code=False)
    model = _adapted(folder, base, asked.dtype, name) if adapted else _whole(folder, asked.dtype, name)
    plain = model.get_base_model() if adapted else model
    _widen_head(plain)
    model = model.to(where).eval()
    config = model.config.get_text_config()
    rows = model.get_input_embeddings().num_embeddings
    if (largest := max(tokenizer.get_vocab().values())) >= rows:
        found = f"a tokenizer with ids up to {largest:,} beside a model of {rows:,} embeddings in {name}"
        raise _refusal(found, "the tokenizer that the model was trained with", "put that one into the folder")
    pad = config.pad_token_id if config.pad_token_id is not None and 0 <= config.pad_token_id < rows else None
    if pad is None:
        config.pad_token_id = -1  # no text holds it: the last token is pooled, and batches are of texts of one length
    return _Loaded(
        name=name, kind=type(plain).__name__ + (" with an adapter of PEFT" if adapted else ""), tokenizer=tokenizer, model=model, output=_output(model.config, asked.reward_label, name), pad=pad,
        max_tokens=min(_context(config.to_dict(), tokenizer.model_max_length), asked.max_tokens or 2**31),
        batch_tokens=asked.batch_tokens, device=where, dtype=asked.dtype, sha256=_sha256(dict.fromkeys((folder, base))),
    )  # fmt: skip


def _widen_head(model: Any) -> None:
    """The head in float32, whatever the rest computes in: a logit of bfloat16 has three digits, and near responses would tie."""
    import torch

    inside = set(model.base_model.modules())
    for name, layer in model.named_modules():
        last = isinstance(layer, torch.nn.Linear) and layer.out_features == model.config.num_labels
        if last and layer not in inside and "lora_" not in name:
            layer.float()
            layer.register_forward_pre_hook(lambda layer, inputs: tuple(x.float() for x in inputs))


def _context(config: Mapping[str, Any], of_tokenizer: float) -> int:
    """Tokens of the longest text: what the config says, or the tokenizer where that is less."""
    known = [config[name] for name in CONTEXT if isinstance(config.get(name), int) and config[name] > 0]
    return int(min([*known, of_tokenizer, 2**31]))


def _place(name: str) -> Path:
    """The folder, or where an earlier download left it."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        found = f"no folder {clip(Path(name).name)}, and no model of this name in the Hugging Face cache"
        raise _refusal(found, EXPECTED, "give its folder; nothing is downloaded here") from None


def _base(folder: Path, name: str) -> Path:
    """The folder of the model that an adapter was trained on."""
    try:
        record = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        named = record["base_model_name_or_path"]
        if not isinstance(named, str) or not named:
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        found = f"an adapter_config.json in {name} that names no base model"
        raise _refusal(found, "base_model_name_or_path in it", "save the adapter again, or merge it into its base") from None
    try:
        return _place(named)
    except EvenhandError:
        found = f"the adapter {name}, and not its base model {clip(Path(named).name)}"
        remedy = "write the base's folder into adapter_config.json (base_model_name_or_path), or merge the adapter into its base"
        raise _refusal(found, "the base model on this machine", remedy) from None


def _check_files(folder: Path, name: str, adapter: bool) -> None:
    files = [file for file in folder.iterdir() if file.is_file()]
    if (folder / "model.json").is_file() and not (folder / "config.json").is_file():
        raise _refusal(f"a model that evenhand saved in {name}", EXPECTED, "name it as model (--model), not as reward model")
    if not adapter and not (folder / "config.json").is_file():
        raise _refusal(f"no config.json in {name}", EXPECTED, "name the folder that holds config, tokenizer and weights")
    if any(file.suffix == ".safetensors" for file in files):
        return
    if any(file.suffix in PICKLES for file in files):
        found = f"weights of {name} that are a pickle, which can run code when it is opened"
        raise _refusal(found, "weights in safetensors", "convert them where you trust them: model.save_pretrained(folder)")
    raise _refusal(f"no weights in {name}", EXPECTED, "name the folder that holds config, tokenizer and weights (*.safetensors)")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What transformers and PEFT raise on folders that are broken, in this package's words."""
    try:
        yield
    except EvenhandError:
        raise
    except Exception as error:  # files of others, read by libraries of others
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            found, remedy = f"the model {name}, which needs code of its own", "use a model whose architecture transformers has"
            raise _refusal(found, "a model that runs without: code that comes with a model is not run here", remedy) from error
        found = f"the model {name}, which cannot be loaded: {type(error).__name__}"
        if "size mismatch" in text or "ignore_mismatched_sizes" in text:
            found = f"weights of {name} whose shapes are not those of its config or base"
        raise _refusal(
            found, EXPECTED, "save model and tokenizer there again, an adapter beside the base that it was trained on"
        ) from error


def _whole(folder: Path, dtype: str, name: str) -> Any:
    """The model of a folder, every weight of which was in the files."""
    model, missing = _classifier(folder, dtype, name)
    _refuse_missing(missing, name)
    return model


def _classifier(folder: Path, dtype: str, name: str, **more: Any) -> tuple[Any, set[str]]:
    """The classifier, and the names of its weights that no file had, which are random now."""
    import torch
    from transformers import AutoModelForSequenceClassification

    with _told(name):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **more,
        )
    return model, set(info["missing_keys"])


def _refuse_missing(missing: set[str], name: str) -> None:
    if missing:
        found = f"no weights for {', '.join(clip(key) for key in sorted(missing)[:3])} in {name}, so that its rewards would be random"
        remedy = "train a head first (a language model alone is no reward model), or name the folder of the trained one"
        raise _refusal(found, "a model with a trained classification head", remedy)


def _adapted(folder: Path, base: Path, dtype: str, name: str) -> Any:
    """The base with the adapter on it: every weight that the base lacks is in the adapter, and every weight of the adapter finds its place."""
    from safetensors import safe_open

    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError:
        raise _refusal(f"an adapter of PEFT in {name}, and no PEFT", "the package peft", "pip install peft") from None
    with _told(name), safe_open(folder / "adapter_model.safetensors", framework="numpy") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping
    heads = {key.removeprefix("base_model.model."): shape for key, shape in shapes.items() if "lora_" not in key}
    outputs = {shape[0] for key, shape in heads.items() if key.endswith(".weight") and len(shape) == 2}
    model, missing = _classifier(base, dtype, name, **({"num_labels": min(outputs)} if outputs else {}))
    _refuse_missing(missing - set(heads), name)
    with _told(name):
        worn = PeftModel.from_pretrained(model, folder, local_files_only=True)
        strangers = set(shapes) ^ set(get_peft_model_state_dict(worn))
    if strangers:
        found = f"an adapter in {name} with {len(strangers)} weights too many or too few for its base"
        raise _refusal(found, "an adapter of this base", "write the folder of its own base into adapter_config.json")
    return worn


def _output(config: Any, label: str | None, name: str) -> int:
    """Which logit is the reward."""
    names = {int(number): str(text) for number, text in config.id2label.items()}
    if label is None and config.num_labels == 1:
        return 0
    known = ", ".join(clip(text, 40) for text in list(names.values())[:12])
    if label is None:
        found, remedy = f"{config.num_labels} outputs in {name}: {known}", "say which is the reward: --reward-label NAME"
        raise _refusal(found, "a reward model with one", remedy)
    found_at = [number for number, text in names.items() if text == label]
    if len(found_at) != 1:
        raise _refusal(f"no output {clip(label)} in {name}", f"one of: {known}", "name one of them, or leave --reward-label out")
    return found_at[0]


def _sha256(folders: Mapping[Path, Any]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(f for f in folder.iterdir() if f.suffix in HASHED and f.is_file()):
            with file.open("rb") as content:
                digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()

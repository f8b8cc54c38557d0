"""Classifiers of the hub's format: a folder that AutoModelForSequenceClassification of transformers reads, or an adapter of PEFT on one.

Logits of a text are what the model gives the text alone, unpadded, by its own pooling. Causal models pool the last token that is not the pad
token of their config, so in a batch
- texts are padded on the right with that very token: what they pool is what they pool alone, also where pad = eos and a text ends with eos,
- a model without a pad token gets batches of texts of one length, and an id that no text holds for its pad token.

Nothing is downloaded, code that comes with a model is not run, and weights that are a pickle are not opened.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.backbone import device
from evenhand.encode.encoder import Progress
from evenhand.encode.loading import positions

DTYPES = ("float32", "bfloat16")
HASHED = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})  # what decides a logit
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.txt", "vocab.json")
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len")  # what configs call the longest text


@dataclass(frozen=True)
class Wanted:
    """What a folder should hold, in words for errors. kind: "reward model". outputs: what its logits are: "rewards"."""

    kind: str
    outputs: str

    @property
    def expected(self) -> str:
        return f"a folder of a {self.kind} as AutoModelForSequenceClassification.save_pretrained writes it"


@dataclass(frozen=True)
class HubClassifier:
    """A classifier in memory. kind: its class in transformers. pad: the id that causal models do not pool; None: they pool the last token.
    max_tokens: of the longest text. batch_tokens: read at once, padding included. sha256: over its files: config, tokenizer, weights.
    """

    kind: str
    tokenizer: Any
    model: Any
    pad: int | None
    max_tokens: int
    batch_tokens: int
    device: str
    dtype: str
    sha256: str
    wanted: Wanted

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its outputs."""
        config = self.model.config
        named = {int(number): str(text) for number, text in config.id2label.items()}
        return tuple(named.get(i, f"output {i}") for i in range(config.num_labels))

    @property
    def typed(self) -> bool:
        """Whether it is told which of two texts a token is of."""
        return int(self.model.config.to_dict().get("type_vocab_size") or 0) > 1 and "token_type_ids" in self.tokenizer.model_input_names

    @property
    def size(self) -> str:
        """What it is and computes with, in words."""
        count = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{self.kind}, {count:,} parameters, {self.dtype} on {self.device.partition(':')[0]}"

    def logits(
        self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """float32[n, outputs] of texts as token ids, the longest first: what does not fit in memory fails at once.

        types: which of two texts each token is of, for models that read pairs so. progress(done, total) counts texts. Raises EvenhandError for
        a text that the model cannot read, and logits that are not finite.
        """
        import torch

        out = np.empty((len(ids), self.model.config.num_labels), np.float32)
        done = 0
        for batch in self._batches([len(tokens) for tokens in ids]):
            mask = [[1] * len(ids[text]) for text in batch]
            given = {"input_ids": self._filled([ids[t] for t in batch], self.pad or 0), "attention_mask": self._filled(mask, 0)}
            if types is not None:
                given["token_type_ids"] = self._filled([types[t] for t in batch], 0)
            try:
                with torch.inference_mode():
                    logits = self.model(**given).logits
            except (RuntimeError, IndexError, ValueError, TypeError) as error:
                longest = len(ids[batch[0]])
                found = f"{type(error).__name__} in the {self.wanted.kind} on {len(batch)} texts of up to {longest:,} tokens: {clip(str(error), 200)}"
                raise refusal(found, "a logit a text", "lower max_tokens, or batch_tokens where memory was short") from error
            out[batch] = logits.float().cpu().numpy()
            if not (finite := np.isfinite(out[batch]).all(axis=1)).all():
                found = f"{int((~finite).sum())} of {len(batch)} {self.wanted.outputs} that are not finite"
                remedy = "try dtype float32, and if they stay so, mend the model: its weights hold what is no number, or overflow"
                raise refusal(found, "finite numbers for every text", remedy)
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
        return out

    def _filled(self, rows: Sequence[Sequence[int]], fill: int) -> Any:
        """Rows of numbers side by side, filled up on the right."""
        import torch

        out = torch.full((len(rows), len(rows[0])), fill)
        for at, row in enumerate(rows):
            out[at, : len(row)] = torch.tensor(row)
        return out.to(self.device)

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


def refusal(found: str, expected: str, remedy: str) -> EvenhandError:
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


def hub_classifier(
    folder: str | Path, name: str, wanted: Wanted, device_named: str | None, dtype: str, max_tokens: int | None, batch_tokens: int
) -> HubClassifier:
    """The classifier of a folder, of a name in the Hugging Face cache, or of an adapter of PEFT on one of these. name: for errors.

    Raises EvenhandError, with what was found, what was expected and what to do, for folders that hold no such model.
    """
    with _quiet():
        return _load(str(folder), clip(name), wanted, device(device_named), dtype, max_tokens, batch_tokens)


def _load(asked: str, name: str, wanted: Wanted, where: str, dtype: str, max_tokens: int | None, batch_tokens: int) -> HubClassifier:
    from transformers import AutoTokenizer

    folder = _place(asked, wanted)
    adapted = (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    base = _base(folder, name, wanted) if adapted else folder
    for place in dict.fromkeys((folder, base)):
        _check_files(place, clip(place.name), wanted, adapter=place != base)
    with_tokenizer = next((place for place in (folder, base) if any((place / file).is_file() for file in TOKENIZERS)), None)
    if with_tokenizer is None:
        raise refusal(f"no tokenizer in {name}", wanted.expected, "save the tokenizer into the folder: tokenizer.save_pretrained(folder)")
    with _told(name, wanted):
        tokenizer = AutoTokenizer.from_pretrained(with_tokenizer, local_files_only=True, trust_remote_code=False)
    model = _adapted(folder, base, dtype, name, wanted) if adapted else _whole(folder, dtype, name, wanted)
    plain = model.get_base_model() if adapted else model
    _widen_head(plain)
    model = model.to(where).eval()
    config = model.config.get_text_config()
    rows = model.get_input_embeddings().num_embeddings
    if (largest := max(tokenizer.get_vocab().values())) >= rows:
        found = f"a tokenizer with ids up to {largest:,} beside a model of {rows:,} embeddings in {name}"
        raise refusal(found, "the tokenizer that the model was trained with", "put that one into the folder")
    pad = config.pad_token_id if config.pad_token_id is not None and 0 <= config.pad_token_id < rows else None
    if pad is None:
        config.pad_token_id = -1  # no text holds it: the last token is pooled, and batches are of texts of one length
    return HubClassifier(
        kind=type(plain).__name__ + (" with an adapter of PEFT" if adapted else ""), tokenizer=tokenizer, model=model, pad=pad,
        max_tokens=min(_context(config.to_dict(), tokenizer.model_max_length), positions(model, tokenizer), max_tokens or 2**31),
        batch_tokens=batch_tokens, device=where, dtype=dtype, sha256=_sha256(dict.fromkeys((folder, base))), wanted=wanted,
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


def _place(name: str, wanted: Wanted) -> Path:
    """The folder, or where an earlier download left it."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        found = f"no folder {clip(Path(name).name)}, and no model of this name in the Hugging Face cache"
        raise refusal(found, wanted.expected, "give its folder; nothing is downloaded here") from None


def _base(folder: Path, name: str, wanted: Wanted) -> Path:
    """The folder of the model that an adapter was trained on."""
    try:
        record = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        named = record["base_model_name_or_path"]
        if not isinstance(named, str) or not named:
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        found = f"an adapter_config.json in {name} that names no base model"
        raise refusal(found, "base_model_name_or_path in it", "save the adapter again, or merge it into its base") from None
    try:
        return _place(named, wanted)
    except EvenhandError:
        found = f"the adapter {name}, and not its base model {clip(Path(named).name)}"
        remedy = "write the base's folder into adapter_config.json (base_model_name_or_path), or merge the adapter into its base"
        raise refusal(found, "the base model on this machine", remedy) from None


def _check_files(folder: Path, name: str, wanted: Wanted, adapter: bool) -> None:
    files = [file for file in folder.iterdir() if file.is_file()]
    if (folder / "model.json").is_file() and not (folder / "config.json").is_file():
        raise refusal(f"a model that evenhand saved in {name}", wanted.expected, f"name it as model (--model), not as {wanted.kind}")
    if not adapter and not (folder / "config.json").is_file():
        raise refusal(f"no config.json in {name}", wanted.expected, "name the folder that holds config, tokenizer and weights")
    if any(file.suffix == ".safetensors" for file in files):
        return
    if any(file.suffix in PICKLES for file in files):
        found = f"weights of {name} that are a pickle, which can run code when it is opened"
        raise refusal(found, "weights in safetensors", "convert them where you trust them: model.save_pretrained(folder)")
    raise refusal(f"no weights in {name}", wanted.expected, "name the folder that holds config, tokenizer and weights (*.safetensors)")


@contextmanager
def _told(name: str, wanted: Wanted) -> Iterator[None]:
    """What transformers and PEFT raise on folders that are broken, in this package's words."""
    try:
        yield
    except EvenhandError:
        raise
    except Exception as error:  # files of others, read by libraries of others
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            found, remedy = f"the model {name}, which needs code of its own", "use a model whose architecture transformers has"
            raise refusal(found, "a model that runs without: code that comes with a model is not run here", remedy) from error
        found = f"the model {name}, which cannot be loaded: {type(error).__name__}"
        if "size mismatch" in text or "ignore_mismatched_sizes" in text:
            found = f"weights of {name} whose shapes are not those of its config or base"
        raise refusal(
            found, wanted.expected, "save model and tokenizer there again, an adapter beside the base that it was trained on"
        ) from error


def _whole(folder: Path, dtype: str, name: str, wanted: Wanted) -> Any:
    """The model of a folder, every weight of which was in the files."""
    model, missing = _classifier(folder, dtype, name, wanted)
    _refuse_missing(missing, name, wanted)
    return model


def _classifier(folder: Path, dtype: str, name: str, wanted: Wanted, **more: Any) -> tuple[Any, set[str]]:
    """The classifier, and the names of its weights that no file had, which are random now."""
    import torch
    from transformers import AutoModelForSequenceClassification

    with _told(name, wanted):
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


def _refuse_missing(missing: set[str], name: str, wanted: Wanted) -> None:
    if missing:
        found = (
            f"no weights for {', '.join(clip(key) for key in sorted(missing)[:3])} in {name}, so that its {wanted.outputs} would be random"
        )
        remedy = f"train a head first (a language model alone is no {wanted.kind}), or name the folder of the trained one"
        raise refusal(found, "a model with a trained classification head", remedy)


def _adapted(folder: Path, base: Path, dtype: str, name: str, wanted: Wanted) -> Any:
    """The base with the adapter on it: every weight that the base lacks is in the adapter, and every weight of the adapter finds its place."""
    from safetensors import safe_open

    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError:
        raise refusal(f"an adapter of PEFT in {name}, and no PEFT", "the package peft", "pip install peft") from None
    with _told(name, wanted), safe_open(folder / "adapter_model.safetensors", framework="numpy") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping
    heads = {key.removeprefix("base_model.model."): shape for key, shape in shapes.items() if "lora_" not in key}
    outputs = {shape[0] for key, shape in heads.items() if key.endswith(".weight") and len(shape) == 2}
    model, missing = _classifier(base, dtype, name, wanted, **({"num_labels": min(outputs)} if outputs else {}))
    _refuse_missing(missing - set(heads), name, wanted)
    with _told(name, wanted):
        worn = PeftModel.from_pretrained(model, folder, local_files_only=True)
        strangers = set(shapes) ^ set(get_peft_model_state_dict(worn))
    if strangers:
        found = f"an adapter in {name} with {len(strangers)} weights too many or too few for its base"
        raise refusal(found, "an adapter of this base", "write the folder of its own base into adapter_config.json")
    return worn


def _sha256(folders: Mapping[Path, Any]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(f for f in folder.iterdir() if f.suffix in HASHED and f.is_file()):
            with file.open("rb") as content:
                digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()

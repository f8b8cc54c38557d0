"""A language model on this machine that writes texts: transformers, with or without an adapter of PEFT."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from evenhand.core import EvenhandError, clip
from evenhand.encode.backbone import device as device_named
from evenhand.encode.encoder import printable
from evenhand.engines.sent import AsMade
from evenhand.texts.generators.generator import Answer, Request, Role, Sampling
from evenhand.texts.generators.places import adapter_at, files_sha256, folder_of, refused, said_of, short

Messages = tuple[tuple[Role, str], ...]
Dtype = Literal["bfloat16", "float32"]
TOO_LONG = "prompt too long for the model"
EMPTY = "empty answer"


@dataclass(frozen=True)
class LanguageModel(AsMade):
    """model: "smollm2", a folder of transformers, a GGUF file, or a name in the Hugging Face cache. adapter: a folder of PEFT's, merged
    into the model in float32. device: None = cuda where there is one, else cpu. dtype: None = bfloat16 on a GPU and on processors that have
    instructions for it, else float32. rows: texts that are written at once.
    """

    FILES = ("model", "adapter")
    BUILT_IN = ("smollm2",)

    model: str = "smollm2"
    adapter: Path | None = None
    device: str | None = None
    dtype: Dtype | None = None
    rows: int = 48

    def __post_init__(self) -> None:
        if self.dtype not in (None, "bfloat16", "float32"):
            raise EvenhandError(
                f"Found --dtype {clip(str(self.dtype))}. Expected: bfloat16 or float32. To do: name one of them, or leave it out."
            )
        if not 1 <= self.rows <= 4096:
            raise EvenhandError(f"Found --batch {self.rows}. Expected: from 1 to 4,096 texts at once. To do: correct it, or leave it out.")
        for package in ("transformers", *(["peft"] if self.adapter else [])):
            if find_spec(package) is None:
                raise EvenhandError(
                    f"Texts cannot be written here: found no package {package}. Expected: the extra 'text'. To do: pip install "
                    "'evenhand[text]', or name a server with --endpoint."
                )

    @property
    def name(self) -> str:
        return short(self.model) + (f"+{self.adapter.name}" if self.adapter else "")

    @cached_property
    def precision(self) -> Dtype:
        """The dtype that it runs in."""
        if self.dtype is not None:
            return self.dtype
        from evenhand.encode.bert import faster_dtype

        return "bfloat16" if device_named(self.device) != "cpu" or "bfloat16" in str(faster_dtype()) else "float32"

    @cached_property
    def folder(self) -> Path:
        return folder_of(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over model, tokenizer and adapter."""
        return files_sha256(self.folder, *([adapter_at(self.adapter)] if self.adapter else []))

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        from evenhand.texts.generators.rows import Task, written

        model, tokenizer = self._loaded
        limit = _places(model) - sampling.max_tokens
        if limit < 1:
            raise EvenhandError(
                f"Found --max-tokens {sampling.max_tokens}, and '{clip(self.name)}' has {limit + sampling.max_tokens} places for prompt and "
                "text. Expected: fewer tokens. To do: give fewer, or another model."
            )
        formed = _Formed(tokenizer, self.name)
        tasks = []
        for i, request in enumerate(requests):
            tokens = formed.tokens(request.messages)
            if len(tokens) > limit:
                yield i, Answer("", failed=TOO_LONG)
            else:
                tasks.append(Task(i, tokens, request.seed))
        try:
            for found in written(model, tasks, sampling, self._ends, self.rows):
                text = tokenizer.decode(found.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
                yield found.number, Answer(text, len(found.tokens), found.whole, "" if text else EMPTY)
        except (TypeError, AttributeError, NotImplementedError) as error:  # of architectures that keep something else than keys and values
            raise refused(
                self.model,
                f"its architecture keeps no plain cache of keys and values ({clip(str(error), 200)})",
                "a causal transformer",
                "serve it (vLLM, llama.cpp, Ollama) and name the server with --endpoint",
            ) from error

    @cached_property
    def _ends(self) -> frozenset[int]:
        """Tokens after which a text has ended."""
        model, tokenizer = self._loaded
        said = model.generation_config.eos_token_id
        ends = {*(said if isinstance(said, list) else [said]), tokenizer.eos_token_id, _Formed(tokenizer, self.name).end_of_turn}
        return frozenset(token for token in ends if token is not None)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from evenhand.encode.quiet import quiet

        model: Any
        report: Any
        folder, device = self.folder, device_named(self.device)
        dtype: torch.dtype = getattr(torch, self.precision)
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    folder,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    dtype=torch.float32 if self.adapter else dtype,
                    output_loading_info=True,
                )
                model, report = loaded
        except Exception as error:  # a folder of anybody's can break these libraries in any way
            raise refused(
                self.model,
                said_of(error, folder),
                "a folder that save_pretrained of transformers wrote, of a causal model",
                "save the model there again, or name another one",
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise refused(
                self.model,
                f"it lacks {len(missing)} of its weights, {clip(missing[0])} among them",
                "all weights of a causal language model",
                "save the whole model there again, or name another one",
            )
        if self.adapter:
            model = _merged(model, adapter_at(self.adapter))
        return model.to(device, dtype).eval(), tokenizer


def _merged(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()
    except Exception as error:
        raise refused(
            str(adapter),
            said_of(error, adapter),
            "an adapter of PEFT that was trained on this very base and can be merged into it, as LoRA can",
            "name its own base with --model",
        ) from error


def _places(model: Any) -> int:
    """Of prompt and text together. A layer that looks back over a window only is a whole one as long as all of it lies inside."""
    said = model.config.get_text_config().to_dict()
    slides = said.get("sliding_window") if "sliding_attention" in (said.get("layer_types") or ["sliding_attention"]) else None
    return min(n for n in (said.get("max_position_embeddings"), slides, 2**20) if n)


class _Formed:
    """From messages to tokens: by the model's chat template, or plainly where it has none."""

    def __init__(self, tokenizer: Any, name: str):
        self.tokenizer, self.name = tokenizer, name
        special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special} | set(tokenizer.all_special_tokens)
        self._special = re.compile("|".join(re.escape(t) for t in sorted(special, key=len, reverse=True)) or r"(?!)")

    def tokens(self, messages: Messages) -> tuple[int, ...]:
        said = [{"role": role, "content": self._safe(content)} for role, content in messages]
        if self.tokenizer.chat_template is None:
            return tuple(self.tokenizer("\n\n".join([*(m["content"] for m in said), ""]))["input_ids"])
        return tuple(self.tokenizer(self._templated(said, asks=True), add_special_tokens=False)["input_ids"])

    @property
    def end_of_turn(self) -> int | None:
        """The special token that the chat template writes after an answer."""
        if self.tokenizer.chat_template is None:
            return None
        answer = "the answer itself"
        shown = self._templated([{"role": "user", "content": "a question"}, {"role": "assistant", "content": answer}], asks=False)
        found = self._special.search(shown.rpartition(answer)[2])
        return int(self.tokenizer.convert_tokens_to_ids(found[0])) if found else None

    def _templated(self, said: list[dict[str, str]], asks: bool) -> str:
        try:
            shown: str = self.tokenizer.apply_chat_template(said, add_generation_prompt=asks, tokenize=False)
            return shown
        except Exception as error:  # templates are programs of anybody's
            raise refused(
                self.name,
                f"its chat template cannot write this conversation ({clip(str(error), 200)})",
                "a template of messages by user and assistant",
                "name another model",
            ) from error

    def _safe(self, text: str) -> str:
        """Without lone surrogates, and no part of it read as a special token."""
        text = printable(text)
        while self._special.search(text):
            text = self._special.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
        return text

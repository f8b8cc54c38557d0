"""The language model of an export and its tokenizer: weights with the adapter in them, and a chat template that writes what `Chat` writes.

For ordinary conversations `apply_chat_template` gives the tokens that the model was trained on; that is tried on some before anything is
written. What differs for others: `Chat` writes the name of a special token inside a text with a space in it, and cuts what is too long from the
left of the prompt; a template and its tokenizer do neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch

from evenhand.core import EvenhandError
from evenhand.encode.adapter import PEFT_PREFIX, SCALE, Adapter
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.bert import faster_dtype
from evenhand.encode.chat import Chat, spoken
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.loading import loaded
from evenhand.encode.minilm import MiniLM

NO_LIMIT = 2**20  # tokens
NEAR = {"torch.float32": 1e-4, "torch.bfloat16": 0.1}
Messages = list[dict[str, str]]
ALONE = (  # a response, and nothing asked
    "{%- if messages[-1]['role'] == 'assistant' and (messages|length == 1 or (messages|length == 2 and not messages[0]['content'])) %}"
)
BEFORE = (
    "{%- set asked = messages[:-1] if messages[-1]['role'] == 'assistant' else messages %}"
    "{%- if asked|length == 1 %}{{ asked[0]['content'] + '\\n\\n' }}{%- else %}"
    "{%- for message in asked %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}{%- endfor %}{%- endif %}"
    "{%- if messages[-1]['role'] == 'assistant' %}"
)
PROBES: tuple[tuple[str, str], ...] = (
    ("Which of the two would you rather read?", "The short one, I think: it says what to do."),
    ("user: Please write a note to Anna.\n\nassistant: Dear Anna,\n\nthank you!\n\nuser: Shorter, in 3 words.", "Thank you, Anna."),
    ("system: Answer in one line.\n\nuser: Is the report long?", "No.\n\n- It has two pages\n- and one table"),
    ("", "A text that answers nothing."),
    ("What is 2 + 2?", "4"),
)


@dataclass(frozen=True)
class Exported:
    """A language model as it is exported. pooling: "mean" or "last". over: what a mean runs over, "response" or "text". unit: its vectors have
    length 1. window: tokens that are read at once beside the two at a text's ends, 0 = no windows. limit: tokens of a text that training read.

    near: how far, relative to a reward, those of the package and of the folder may lie apart: rounding of what each computes in.
    pad: the token that batches are filled with; no text ends with it. None: the tokenizer has none.
    response_after: token ids behind which a response begins; [] = not known from the tokens. masked: the response is to be told by a mask.
    """

    model: Any
    tokenizer: Any
    pooling: str
    over: str
    unit: bool
    window: int
    limit: int
    response_after: list[int]
    masked: bool
    with_prompt: bool
    dtype: str
    near: float
    pad: int | None

    def ids(self, prompt: str, response: str) -> list[int]:
        """A probe's tokens as the template writes it."""
        found: list[int] = self.tokenizer.apply_chat_template(
            conversation(prompt, response), tokenize=True, return_dict=False, tokenizer_kwargs={"verbose": False}
        )
        return found

    def batch(self, prompt: str, response: str) -> dict[str, Any]:
        """What the model is given of a probe."""
        said = conversation(prompt if self.with_prompt else "", response)
        more = {"return_assistant_tokens_mask": True} if self.masked else {}
        return dict(self.tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt", **more))


def exported(encoder: TextEncoder | None, with_prompt: bool, *, merged: bool = True) -> Exported:
    """The encoder's model, the adapter in its weights where `merged`, and its tokenizer with a chat template.

    Raises EvenhandError for encoders that are no language model, and for tokenizers whose tokens no template gives.
    """
    if isinstance(encoder, MiniLM):
        model, tokenizer = loaded(encoder.checked_folder(), encoder.name, "float32")
        reads: dict[str, Any] = {"pooling": "mean", "over": "text", "unit": True, "limit": encoder.max_tokens, "dtype": "float32"}
        reads |= {"window": encoder.max_tokens - 2 if encoder.chunked else 0, "near": NEAR[str(faster_dtype())]}
    elif isinstance(encoder, BackboneEncoder):
        b = encoder.backbone
        model, tokenizer = loaded(b.folder, b.name, b.dtype)
        if merged and encoder.adapter is not None:
            merge(model, encoder.adapter)
        reads = {"pooling": b.pooling, "over": "response", "unit": b.base.unit, "window": 0, "limit": b.limit, "dtype": b.dtype}
        reads["near"] = NEAR[f"torch.{b.dtype}"]
    else:
        what = "no encoder (TF-IDF alone)" if encoder is None else f"the encoder {encoder.name}"
        raise EvenhandError(
            f"The model reads texts by {what}. Expected: the embedded encoder or a language model, whose weights can be exported. To do: train with "
            "--encoder minilm --no-tfidf, or with --backbone."
        )
    chat = Chat(tokenizer, NO_LIMIT)
    template = _template(chat, with_prompt)
    after = _response_after(chat) if with_prompt and reads["over"] == "response" and reads["pooling"] == "mean" else []
    asks = with_prompt and reads["over"] == "response" and reads["pooling"] == "mean" and not after
    pad = pad_token(chat)
    tokenizer.chat_template = template
    if pad is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    tokenizer.model_max_length = reads["limit"] if not reads["window"] else tokenizer.model_max_length
    made = Exported(model, tokenizer, **reads, response_after=after, masked=bool(asks), with_prompt=with_prompt, pad=pad)
    _check(made, chat)
    return made


def conversation(prompt: str, response: str) -> Messages:
    """A prompt as `data` stores it, and its response, as messages."""
    return [*({"role": t.role, "content": t.text or ""} for t in spoken(prompt)), {"role": "assistant", "content": response}]


def pad_token(chat: Chat) -> int | None:
    """A special token that stands at the end of no text. Stock classes pool the last token that is not the pad token, so that one with which
    texts end is never read (pad = eos of many language models). None: there is none.
    """
    tokenizer = chat.tokenizer
    lasts = {int(text.own[-1]) for text in chat.tokens([p for p, _ in PROBES], [r for _, r in PROBES])}
    named = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id]
    special = [*named, *sorted(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)]
    return next((int(i) for i in special if i is not None and i not in lasts and i != tokenizer.eos_token_id), None)


def merge(model: Any, adapter: Adapter) -> None:
    """Brings what an adapter learned into the weights of a model as pretrained: W + 2 B A in float32; at rank 0, the weights themselves."""
    tensors = adapter.tensors()
    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name.startswith(PEFT_PREFIX):
                if name.endswith(".lora_A.weight"):
                    weight = weights[name.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight") + ".weight"]
                    added = SCALE * tensors[name.replace(".lora_A.", ".lora_B.")].cpu().float() @ tensor.cpu().float()
                    weight.copy_((weight.float() + added).to(weight.dtype))
            else:
                weights[name].copy_(tensor.cpu())


def _template(chat: Chat, with_prompt: bool) -> str:
    """In Jinja: the model's own where there are turns; else what `Chat` writes without one. The last message is the response."""
    lead, trail = ("{{ " + json.dumps("".join(chat.tokenizer.convert_ids_to_tokens(ids)), ensure_ascii=False) + " }}" for ids in chat.ends)
    said = "{{ messages[-1]['content'] }}" + trail
    alone = "{% generation %}" + lead + said + "{% endgeneration %}"
    if not with_prompt:
        return alone
    behind = lead + BEFORE + "{% generation %}" + said + "{% endgeneration %}{%- endif %}" if chat.template is None else chat.template
    return ALONE + alone + "{%- else %}" + behind + "{%- endif %}"


def _response_after(chat: Chat) -> list[int]:
    """The tokens of the template right before a response, from the last special one on: no text holds that one, since `Chat` writes its name
    otherwise. [] where the template has none there.
    """
    if chat.template is None:
        return []
    one, two = (text.prefix.tolist() for text in chat.tokens([PROBES[0][0], PROBES[1][0]], ["A.", "A."]))
    same = next((i for i, (a, b) in enumerate(zip(reversed(one), reversed(two))) if a != b), min(len(one), len(two)))
    tail = one[len(one) - same :]
    special = {i for i, token in chat.tokenizer.added_tokens_decoder.items()}
    at = max((i for i, token in enumerate(tail) if token in special), default=None)
    return [] if at is None else tail[at:]


def _check(made: Exported, chat: Chat) -> None:
    """Raises EvenhandError unless the template gives ordinary conversations the tokens of training."""
    prompts, responses = zip(*((prompt if made.with_prompt else "", response) for prompt, response in PROBES))
    for prompt, response, text in zip(prompts, responses, chat.tokens(prompts, responses)):
        if made.ids(prompt, response) != [*text.prefix.tolist(), *text.own.tolist()]:
            raise EvenhandError(
                "The tokenizer gives other tokens to a whole conversation than to its prompt and response one after the other. Expected: the same, or "
                "the exported folder would read other texts than training did. To do: give the tokenizer a chat template before training."
            )

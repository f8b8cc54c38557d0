"""Tiny language models with random weights, saved as any model of transformers is: folder with config, tokenizer and safetensors.

    tiny_bert(folder)     encoder, learned positions (128), [CLS] … [SEP] around every text, padded on the right, mask token
    tiny_llama(folder)    causal, rotary positions (256), grouped queries, tied embeddings; no pad token, as Llama has none; begins with <s>
    tiny_qwen3(folder)    causal, rotary positions (256), norms of queries and keys; pad = eos = <|im_end|>, no token at the beginning

Hidden 32, 2 layers, 4 heads, vocabulary of at most 400. chat=True gives the tokenizer a chat template in ChatML (causal models), and with
score=True the model is a *ForSequenceClassification with one output, the hub's form of a reward model. The same seed, the same bytes.
Each returns the folder. Weights are drawn wider than a training would begin with: features of different texts must differ.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenhand.encode.adapter import Adapter
    from evenhand.encode.base import Base

SENTENCES = (
    "The report names every group that a model serves worse.",
    "Which of the two answers would you rather read, the short one or the long one?",
    "I would keep the plan as it is and ask the others on Monday morning.",
    "Please write a friendly note to a colleague who is leaving the company!",
    "No: the first answer is too long, and it does not say what to do.",
    "user assistant system",
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_bert(folder: Path, *, score: bool = False, seed: int = 0) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    words = sorted({w for s in SENTENCES for w in re.findall("[a-z]{2,}", s.lower())})
    pieces = [*marks, *letters, *(f"##{c}" for c in letters if c.isalnum()), *words]  # by hand: a trainer breaks ties anew in each run
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )
    config = BertConfig(
        vocab_size=len(fast), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=128, initializer_range=0.2, num_labels=1,
    )  # fmt: skip
    return _save(folder, BertForSequenceClassification if score else BertModel, config, fast, seed)


def tiny_llama(folder: Path, *, chat: bool = False, score: bool = False, seed: int = 0) -> Path:
    from tokenizers import processors
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = _bytes(["<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    if chat:
        fast.chat_template = "{{ bos_token }}" + CHATML
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        max_position_embeddings=256, initializer_range=0.2, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, num_labels=1,
    )  # fmt: skip
    return _save(folder, LlamaForSequenceClassification if score else LlamaForCausalLM, config, fast, seed)


def tiny_qwen3(folder: Path, *, chat: bool = True, score: bool = False, seed: int = 0) -> Path:
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

    tokenizer = _bytes(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    if chat:
        fast.chat_template = CHATML
    config = Qwen3Config(
        vocab_size=len(fast), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=64, max_position_embeddings=256, initializer_range=0.2, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=2, pad_token_id=2, num_labels=1,
    )  # fmt: skip
    return _save(folder, Qwen3ForSequenceClassification if score else Qwen3ForCausalLM, config, fast, seed)


def _bytes(marks: list[str]) -> Any:
    """Byte-level BPE: no text is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _save(folder: Path, model: Any, config: Any, tokenizer: Any, seed: int) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = model(config)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stirred(base: Base, seed: int = 0) -> Adapter:
    """An adapter that has moved from where it began, so that none of its gradients is 0."""
    import torch

    adapter = base.new_adapter(seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor += 0.1 * torch.randn(tensor.shape, generator=draw)
    return adapter

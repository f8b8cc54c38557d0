"""LoRA training and scoring with the shapes of Qwen3-0.6B, 4B and 8B on one GPU, TRL's RewardTrainer beside it in the same run.

Weights are random and written to a folder that is removed; nothing is downloaded. bfloat16, LoRA of rank 16 on all linear layers, pairs of
responses of 64 to 1,024 tokens. Model FLOPs utilisation (Chowdhery et al. 2022, arXiv 2204.02311, appendix B) counts what the mathematics
needs for tokens that are no padding, and nothing that is computed twice:

    training   4 N + 6 N_LoRA a token, and 3 times the attention of a pass forward: gradients of frozen weights are not needed
    scoring    2 N a token, and its attention
    attention  2 layers x heads x head_dim x length^2 FLOPs a text (causal)

N: weights of the layers' linear maps. Peak: dense bfloat16 of the GPU's data sheet. Goal: 45 % in training for 4B and 8B.
Without a GPU every row says so. --tiny runs every line of it on tiny shapes, on the CPU where there is no GPU.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lm import RANK, Judgements, config_of, our_pairs, our_steps, quiet, reward_trainer, sentences, tokenizer

PEAK = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}  # FLOP/s, the first that the GPU's name has in it
SECONDS = 8 * 60
VOCABULARY = 151_936


@dataclass(frozen=True)
class Size:
    """micro: pairs that TRL takes at a time; chunk: places for tokens that we take; pairs: judged in a measurement."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    micro: int
    chunk: int
    pairs: int
    head_dim: int = 128

    @property
    def maps(self) -> list[tuple[int, int]]:
        """Linear maps of a layer, (in, out)."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        h, i = self.hidden, self.intermediate
        return [(h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h)]

    def flops(self, lengths: np.ndarray, training: bool) -> float:
        n = self.layers * sum(a * b for a, b in self.maps)
        lora = self.layers * RANK * sum(a + b for a, b in self.maps)
        attention = 2.0 * self.layers * self.heads * self.head_dim * float((lengths.astype(np.float64) ** 2).sum())
        tokens = float(lengths.sum())
        return (4 * n + 6 * lora) * tokens + 3 * attention if training else 2 * n * tokens + attention

    @property
    def shape(self) -> dict[str, int]:
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": VOCABULARY,
        }


SIZES = [
    Size("Qwen3-0.6B", 1024, 3072, 28, 16, 8, micro=16, chunk=32_768, pairs=384),
    Size("Qwen3-4B", 2560, 9728, 36, 32, 8, micro=4, chunk=8192, pairs=192),
    Size("Qwen3-8B", 4096, 12_288, 36, 32, 8, micro=2, chunk=4096, pairs=96),
]
TINY = [Size("tiny", 64, 128, 2, 2, 1, micro=2, chunk=128, pairs=4, head_dim=32)]
ROWS = ("training, evenhand", "training, TRL", "scoring, evenhand", "scoring, padded loop")


def pairs(count: int, longest: int) -> Judgements:
    """Pairs of responses of random words: lengths log-normal, median 3/8 of the longest, sigma 0.5."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(longest * 0.375), 0.5, 2 * count), longest // 16, longest).astype(int)
    texts = [([], rng.integers(1021, size=n).tolist()) for n in lengths]
    return Judgements(texts, np.arange(count) * 2, np.arange(count) * 2 + 1, np.zeros(count, dtype=np.int64))


def write(size: Size, folder: Path, device: str) -> None:
    """Random weights, drawn on the device."""
    import torch
    from transformers import AutoModel

    quiet()
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModel.from_config(config_of("qwen3", **size.shape), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def our_training(folder: Path, size: Size, data: Judgements, device: str) -> Callable[[], float]:
    from evenhand.models.linear import Linear

    train = our_pairs(folder, data, device=device, dtype="bfloat16", chunk_tokens=size.chunk)

    def now() -> float:
        wait(device)
        return time.perf_counter()

    return partial(our_steps, train, Linear(), now)


def trl_training(folder: Path, size: Size, data: Judgements, device: str) -> Callable[[], float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    read = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.bfloat16)
    trainer = reward_trainer(
        model,
        read,
        data,
        per_device_train_batch_size=size.micro,
        gradient_accumulation_steps=-(-len(data.user) // (2 * size.micro)),
        bf16=True,
        use_cpu=device == "cpu",
    )

    def run() -> float:
        start = time.perf_counter()
        trainer.train()
        wait(device)
        return time.perf_counter() - start

    return run


def our_scoring(folder: Path, size: Size, data: Judgements, device: str) -> Callable[[], float]:
    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder

    encoder = BackboneEncoder(Backbone(str(folder), device=device, dtype="bfloat16", max_tokens=4096, chunk_tokens=2 * size.chunk))
    texts = sentences(data)
    encoder.encode(texts[:1])

    def run() -> float:
        start = time.perf_counter()
        encoder.encode(texts)
        return time.perf_counter() - start

    return run


def padded_scoring(folder: Path, size: Size, data: Judgements, device: str) -> Callable[[], float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    read = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.bfloat16).eval().to(device)
    texts, rows = sentences(data), 2 * size.micro

    def run() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for at in range(0, len(texts), rows):
                model(**read(texts[at : at + rows], padding=True, return_tensors="pt").to(device)).logits.tolist()
        return time.perf_counter() - start

    return run


def wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def measure(size: Size, device: str, peak: float | None, longest: int) -> None:
    """One side after another, each alone in memory: once on a few pairs to warm up, then measured once."""
    import gc

    import torch

    data, few = pairs(size.pairs, longest), pairs(max(2, size.pairs // 16), longest)
    lengths = np.array([len(response) for _, response in data.texts])
    folder = Path(tempfile.mkdtemp(prefix="gpu-"))
    try:
        write(size, folder, device)
        for row, build in zip(ROWS, (our_training, trl_training, our_scoring, padded_scoring), strict=True):
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            try:
                build(folder, size, few, device)()
                seconds = build(folder, size, data, device)()
            except torch.OutOfMemoryError:
                print(f"{size.name:<11} {row:<21} ran out of memory", flush=True)
                continue
            used = f"{torch.cuda.max_memory_allocated() / 1e9:5.1f} GB" if device == "cuda" else "no GPU"
            share = f"MFU {size.flops(lengths, 'training' in row) / seconds / peak:6.1%}" if peak else "MFU not known"
            print(f"{size.name:<11} {row:<21} {lengths.sum() / seconds:10,.0f} tokens/s  {share}  peak {used}", flush=True)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, also without a GPU")
    tiny: bool = parser.parse_args().tiny
    import torch

    there = torch.cuda.is_available()
    if not there and not tiny:
        for size in SIZES:
            for row in ROWS:
                print(f"{size.name:<11} {row:<21} not measured: no GPU at hand")
        return
    device, name = ("cuda", torch.cuda.get_device_name()) if there else ("cpu", "no GPU")
    peak: Any = next((flops for model, flops in PEAK.items() if model in name), None)
    print(f"{name}, peak {f'{peak / 1e12:.0f} TFLOP/s' if peak else 'not known'}, torch {torch.__version__}", flush=True)
    start = time.monotonic()
    for size in TINY if tiny else SIZES:
        if time.monotonic() - start > SECONDS * 0.6:
            print(f"{size.name:<11} not measured: no time left")
            continue
        measure(size, device, peak, 64 if tiny else 1024)


if __name__ == "__main__":
    main()

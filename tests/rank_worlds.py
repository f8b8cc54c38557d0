"""Worlds of 1, 2 and 4 ranks on this machine, by `python rank_worlds.py FOLDER`: a process that has loaded everything forks the ranks of each.

A rank writes what it ended with to FOLDER/WORLD-RANK.npz, by name. torchrun is left out here: what it sets is set by hand.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from tiny_models import tiny_llama
from torch.distributed.tensor import DTensor

from evenhand import ranks
from evenhand.core import EvenhandError, Pairs, Tuning
from evenhand.encode.backbone import Backbone
from evenhand.encode.cache import encode_cached
from evenhand.encode.chunks import Chunk, Tokens
from evenhand.encode.texts import EncodedTexts
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, dp
from evenhand.methods.group_dro import GroupDRO
from evenhand.methods.pafo import Pafo
from evenhand.models.lore import Lore
from evenhand.testing import QUICK, small_world, weights
from evenhand.training.scoring import margins
from evenhand.training.tuned import Tuned

TUNING = Tuning(steps=6, eval_every=2, batch_texts=24, lr=5e-3)
BASE = BradleyTerry(Lore(4), replace(QUICK, max_epochs=2))
METHODS = {"bt": BASE, "pafo": Pafo(BASE, alpha=0.25), "faro": Faro(BASE, dp, 0.02), "group_dro": GroupDRO(BASE)}
Found = dict[str, Any]


def tokens(count: int) -> list[Tokens]:
    draw = np.random.default_rng(0)
    return [([], draw.integers(4, 300, int(draw.integers(2, 20))).tolist()) for _ in range(count)]


def on_backbone(folder: Path, **settings: Any) -> tuple[Pairs, Pairs, Backbone]:
    """A world whose features are a tiny Llama's, with what users choose by beside them."""
    train, valid, _ = small_world()
    backbone = Backbone(str(folder), rank=2, chunk_tokens=100, device="cpu", tuning=TUNING, **settings)
    constant = np.zeros((len(train.items), 32), dtype=np.float32)
    constant[:, : train.items.shape[1]] = train.items / 2
    texts = EncodedTexts(backbone, tokens(len(train.items)), None, constant)
    items = torch.from_numpy(texts.under(texts.adapter(0)))
    train, valid = (replace(p, history=replace(p.history, items=items), texts=texts) for p in (train, valid))
    return train, valid, backbone


def fitted(method: Any, train: Pairs, valid: Pairs) -> Found:
    fit = method.fit(train, valid, 0)
    assert isinstance(fit.scorer, Tuned)
    head = torch.cat([p.detach().flatten() for p in fit.scorer.head.parameters()])
    out = {"train": fit.trace.train_loss, "valid": fit.trace.valid_loss, "tuned_from": fit.trace.tuned_from, "best": fit.trace.best_epoch}
    return out | {"head": head.numpy(), "weights": weights(fit).numpy(), "margins": margins(fit.scorer, valid).numpy()}


def methods(folder: Path) -> Found:
    train, valid, _ = on_backbone(folder / "llama")
    return {f"{name} {part}": value for name, m in METHODS.items() for part, value in fitted(m, train, valid).items()}


def sharded(folder: Path) -> Found:
    """The base sharded over the ranks, and for its gradients layers that are computed again."""
    out: Found = {}
    for checkpointing in (False, True):
        train, valid, backbone = on_backbone(folder / "llama", sharded=ranks.count() > 1, checkpointing=checkpointing)
        parameters = [p for name, p in backbone.base.model.named_parameters() if "lora" not in name]
        if ranks.count() > 1:
            assert all(isinstance(p, DTensor) for p in parameters)
        out["whole"] = sum(p.numel() for p in parameters)
        if not checkpointing:
            out |= fitted(BASE, train, valid)
        adapter = backbone.base.new_adapter(0)
        backbone.base.backward(tokens(9)[:3], adapter, torch.ones(3, 32))  # fewer chunks than ranks in some
        backbone.base.backward(tokens(1), adapter, torch.ones(1, 32))
        out[f"gradient {checkpointing}"] = torch.cat([p.grad.flatten() for p in adapter.parameters()]).numpy()
        parameters = [p for name, p in backbone.base.model.named_parameters() if "lora" not in name]
        out["held"] = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in parameters)
    return out


def short_of_memory(folder: Path) -> Found:
    """One rank has memory for 40 tokens: it splits its chunks, and from then on all plan with as few."""
    _, _, backbone = on_backbone(folder / "llama")
    base, texts = backbone.base, tokens(40)
    adapter = base.new_adapter(0)
    real = base._forward

    def short(chunk: Chunk) -> torch.Tensor:
        if ranks.number() == 1 and chunk.size > 40:
            raise torch.OutOfMemoryError("out of memory")
        return real(chunk)

    with mock.patch.object(base, "_forward", short):
        vectors = base.vectors(texts, None)
        tokens_now = base.chunk_tokens
        base.backward(texts, adapter, torch.ones(40, 32))
    gradient = torch.cat([p.grad.flatten() for p in adapter.parameters()])
    return {"vectors": vectors.numpy(), "gradient": gradient.numpy(), "chunk_tokens": tokens_now}


def cache(folder: Path) -> Found:
    """Some texts lie in the cache; one rank's machine is in no hurry, and has no cache."""

    class Slow:
        name, fingerprint, dim, max_tokens, chunked = "slow", f"{0:064}", 3, 9, False
        asked = 0

        def encode(self, texts: list[str], progress: Any = None) -> np.ndarray:
            self.asked += len(texts)
            time.sleep(0.05 * ranks.number())
            return np.array([[len(t), ranks.number(), 1] for t in texts], dtype=np.float32)

    encoder, own = Slow(), folder / ("cache" if ranks.first() else "nothing")
    wording = ["a" * n for n in range(90)]
    encode_cached(wording[:40], encoder, own)
    before, vectors = encoder.asked, encode_cached(wording, encoder, own)
    return {"vectors": vectors, "asked": encoder.asked - before, "wrote": (folder / "nothing").exists()}


def told_apart(folder: Path) -> Found:
    ranks.same("seed", "7")
    try:
        ranks.same("seed", str(ranks.number() // 2))
    except EvenhandError as error:
        return {"said": str(error)}
    return {"said": ""}


def one_fails(folder: Path) -> Found:
    """Rank 1 ends while the others wait for it: they end too, with an error of their own."""
    if ranks.number() == 1:
        raise EvenhandError("Found a full disk.")
    started = time.monotonic()
    try:
        ranks.wait()
    except RuntimeError:
        return {"seconds": time.monotonic() - started}
    return {"seconds": -1.0}


def rank(number: int, count: int, port: int, job: Callable[[Path], Found], folder: Path) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    with ranks.together():
        assert (ranks.count(), ranks.number()) == (count, number)
        found = job(folder)
        np.savez(folder / f"{job.__name__}-{count}-{number}.npz", **found)
    if job is not one_fails:
        ranks.leave()


def world(count: int, job: Callable[[Path], Found], folder: Path) -> Iterator[int]:
    """Process ids of its ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for number in range(count):
        if (process := os.fork()) == 0:
            code = 1
            try:
                rank(number, count, port, job, folder)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        yield process


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    tiny_llama(folder / "llama")
    import peft  # noqa: F401 - once, and not in every rank
    from torch.distributed.fsdp import fully_shard  # noqa: F401
    from transformers import LlamaModel  # noqa: F401

    worlds = [(1, methods), (2, methods), (4, methods), (1, sharded), (2, sharded), (1, short_of_memory), (2, short_of_memory)]
    for count, job in [*worlds, (2, cache), (4, told_apart), (2, one_fails)]:
        start = time.monotonic()
        for process in list(world(count, job, folder)):
            os.waitpid(process, 0)
        print(job.__name__, count, f"{time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

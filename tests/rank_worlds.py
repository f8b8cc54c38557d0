"""Worlds of 1, 2 and 4 ranks on this machine, by `python rank_worlds.py FOLDER`: a process that has loaded everything forks the ranks of each.

A rank writes what it ended with to FOLDER/JOB-RANKS-RANK.npz. torchrun is left out here: what it sets is set by hand.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from tiny_models import tiny_llama
from torch.distributed.tensor import DTensor

from evenhand import ranks
from evenhand.cli import main as cli
from evenhand.core import EvenhandError, Pairs, Tuning
from evenhand.data.simulate import write_sample
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
from evenhand.writing import write

TUNING = Tuning(steps=4, eval_every=4, batch_texts=24, lr=5e-3)
BASE = BradleyTerry(Lore(4), replace(QUICK, max_epochs=1))
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
    if ranks.count() == 1:
        try:
            _ = Backbone(str(folder / "llama"), sharded=True).base
        except EvenhandError as error:
            out["refused"] = str(error)
    for checkpointing in (False, True):
        train, valid, backbone = on_backbone(folder / "llama", sharded=ranks.count() > 1, checkpointing=checkpointing)
        parameters = [p for name, p in backbone.base.model.named_parameters() if "lora" not in name]
        if ranks.count() > 1:
            assert all(isinstance(p, DTensor) for p in parameters)
        out["whole"] = sum(p.numel() for p in parameters)
        if not checkpointing:
            out |= fitted(BASE, train, valid)
        adapter = backbone.base.new_adapter(0)
        if ranks.count() > 1:
            backbone.base.vectors(tokens(9), adapter, keep=True)
            assert not backbone.base._kept.free()  # layers that come together keep nothing
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


def files(folder: Path) -> Found:
    """Some texts lie in the cache; the machine of one rank is slow, and has a cache of its own."""

    class Slow:
        name, fingerprint, dim, max_tokens, chunked = "slow", f"{0:064}", 3, 9, False
        asked = 0

        def encode(self, texts: list[str], progress: Any = None) -> np.ndarray:
            self.asked += len(texts)
            time.sleep(0.05 * ranks.number())
            return np.array([[len(t), ranks.number(), 1] for t in texts], dtype=np.float32)

    encoder, own = Slow(), folder / f"cache-{ranks.number()}"
    wording = ["a" * n for n in range(90)]
    encode_cached(wording[:40], encoder, own)
    before, vectors = encoder.asked, encode_cached(wording, encoder, own)
    write(folder / f"out-{ranks.number()}", {"a.txt": b"a"}, "text")
    return {"vectors": vectors, "asked": encoder.asked - before}


def told_apart(folder: Path) -> Found:
    ranks.same("seed", "7")
    try:
        ranks.same("seed", str(ranks.number() // 2))
    except EvenhandError as error:
        return {"said": str(error)}
    return {"said": ""}


def command_line(folder: Path) -> None:
    """A whole fit, as the shell has it. The main function joins the ranks itself."""
    count = os.environ["WORLD_SIZE"]
    _cli(folder / f"said-{count}-{os.environ['RANK']}", arguments(folder, folder / f"fit-{count}"))


def one_fails(folder: Path) -> None:
    """Rank 1 does not find its data; the other waits for it."""
    number = os.environ["RANK"]
    asked = arguments(folder, folder / "unfinished")
    if number == "1":
        asked[1] = str(folder / "nowhere" / "choices.jsonl")
    _cli(folder / f"failed-{number}", asked)


def arguments(folder: Path, out: Path) -> list[str]:
    return f"""fit {folder}/choices.jsonl --method bradley_terry --head linear --backbone {folder}/llama --lora-rank 2 --steps 3
        --batch-texts 24 --chunk-tokens 400 --max-tokens 40 --without-prompt --simulated --cache {out}-vectors --out {out}""".split()


def _cli(said: Path, asked: list[str]) -> None:
    started = mock.patch.object(sys, "argv", ["evenhand", *asked]), mock.patch("evenhand.cli.LATER", 0.2)
    with said.open("w") as log, redirect_stdout(log), redirect_stderr(log), started[0], started[1]:
        try:
            cli()
        except SystemExit as leaving:
            print("exit code", leaving.code)


def rank(number: int, count: int, port: int, job: Callable[[Path], Found | None], folder: Path) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    if job in (command_line, one_fails):
        job(folder)
        return
    assert (ranks.count(), ranks.number()) == (1, 0)  # each for itself, until they join
    with ranks.together(), ranks.together():
        assert (ranks.count(), ranks.number()) == (count, number)
        np.savez(folder / f"{job.__name__}-{count}-{number}.npz", **(job(folder) or {}))
    assert ranks.count() == 1
    ranks.leave()


def world(count: int, job: Callable[[Path], Found | None], folder: Path) -> Iterator[int]:
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

    write_sample(folder / "choices.jsonl", users=40, minority=0.25, pairs_per_user=16)
    worlds = [(1, methods), (2, methods), (4, methods), (1, sharded), (2, sharded), (1, short_of_memory), (2, short_of_memory)]
    for count, job in [*worlds, (2, files), (4, told_apart), (1, command_line), (2, one_fails)]:
        for process in list(world(count, job, folder)):
            os.waitpid(process, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Worlds of 1, 2 and 4 ranks on this machine, by `main`: a process that has loaded everything forks the ranks of each.

A rank writes what it ended with to FOLDER/JOB-RANKS-RANK.npz. torchrun is left out here: what it sets is set by hand.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from tiny_models import tiny_llama
from torch.distributed.tensor import DTensor

from evenhand import ranks, writing
from evenhand.cli import main as cli
from evenhand.core import EvenhandError, Pairs, Tuning
from evenhand.data.simulate import write_sample
from evenhand.encode.backbone import Backbone
from evenhand.encode.cache import encode_cached
from evenhand.encode.chunks import Chunk, Tokens
from evenhand.encode.texts import EncodedTexts
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, dp, eo
from evenhand.methods.group_dro import GroupDRO
from evenhand.methods.maxmin import MaxMin
from evenhand.methods.pafo import Pafo
from evenhand.models.lore import Lore
from evenhand.testing import QUICK, two_tastes, weights, with_events
from evenhand.training.checkpoint import checkpointing
from evenhand.training.scoring import margins
from evenhand.training.traces import Fitted
from evenhand.training.tuned import Tuned
from evenhand.training.watched import Standing, watching
from evenhand.writing import write

TUNING = Tuning(steps=4, eval_every=4, batch_texts=24, lr=5e-3)
BASE = BradleyTerry(Lore(4), replace(QUICK, max_epochs=1))
METHODS = {
    "pafo": Pafo(BASE, alpha=0.25),  # Bradley-Terry is its pooled model
    "faro dp": Faro(BASE, dp, 0.02, swap=True),
    "faro eo, distilled": Faro(BASE, eo, 0.02, step=0.1, distilled=True),  # PAFO's student under constraints, from two teachers
    "group_dro": GroupDRO(BASE, eta=0.1),
    "maxmin": MaxMin(BASE, memory=0.9),
}
ON_TWO = ("pafo", "faro dp")  # on two ranks as well as on four; benchmarks/ranks.py has all on both
Found = dict[str, Any]


def tokens(count: int) -> list[Tokens]:
    draw = np.random.default_rng(0)
    return [([], draw.integers(4, 300, int(draw.integers(2, 20))).tolist()) for _ in range(count)]


@cache
def backbone_of(folder: Path, **settings: Any) -> Backbone:
    """Loaded once in a process and the copies that are made of it."""
    given: Found = {"rank": 2, "chunk_tokens": 100, "device": "cpu", "tuning": TUNING} | settings
    return Backbone(str(folder), **given)


def on_backbone(folder: Path, **settings: Any) -> tuple[Pairs, Pairs, Backbone]:
    """A small world whose features are a tiny Llama's, with what users choose by beside them."""
    train, valid, _ = map(with_events, two_tastes(n_users=16, pairs=8, held_out=4, minority=0.5))
    backbone = backbone_of(folder, **settings)
    constant = np.zeros((len(train.items), 32), dtype=np.float32)
    constant[:, : train.items.shape[1]] = train.items / 2
    texts = EncodedTexts(backbone, tokens(len(train.items)), None, constant)
    items = torch.from_numpy(texts.under(texts.adapter(0)))
    train, valid = (replace(p, history=replace(p.history, items=items), texts=texts) for p in (train, valid))
    return train, valid, backbone


def fitted(method: Any, train: Pairs, valid: Pairs) -> Found:
    return told(method.fit(train, valid, 0), valid)


def told(fit: Fitted, valid: Pairs) -> Found:
    """What a fit gives: of all that was trained on the way, too (teachers), what groups were found to be given, and how constraints went."""
    assert isinstance(fit.scorer, Tuned)
    head = torch.cat([p.detach().flatten() for p in fit.scorer.head.parameters()])
    out = {"train": fit.trace.train_loss, "valid": fit.trace.valid_loss, "tuned_from": fit.trace.tuned_from, "best": fit.trace.best_epoch}
    out |= {"head": head.numpy(), "weights": weights(fit).numpy(), "margins": margins(fit.scorer, valid).numpy()}
    if fit.target is not None:
        out["target"] = fit.target.numpy()
    if fit.guard is not None:
        out["guard"] = [fit.guard.kept, *(value for c in fit.guard.changes for value in (c.mean, c.error, c.shrunk))]
    if (game := fit.constrained) is not None:
        out |= {"violations": [game.train, game.valid], "multipliers": game.multipliers}
    return out | {f"{name}: {part}": value for name, one in fit.parts.items() for part, value in told(one, valid).items()}


def methods(folder: Path) -> Found:
    train, valid, _ = on_backbone(folder / "llama")
    out: Found = {}
    for name, method in METHODS.items():
        if ranks.count() == 2 and name not in ON_TWO:
            continue
        steps: list[str] = []
        with counted(steps):
            out |= {f"{name}| {part}": value for part, value in fitted(method, train, valid).items()}
        out[f"{name}| sums"] = len(steps)
    return out


def counted(steps: list[str], end: int = 0) -> Any:
    """Inside, this rank's sums over ranks are counted, and it ends by SIGKILL before number `end`, 0 = never."""
    real = ranks.add

    def add(tensor: torch.Tensor) -> torch.Tensor:
        steps.append("sum")
        if len(steps) == end:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(tensor)

    return mock.patch.object(ranks, "add", add)


def surviving(folder: Path, kept: str, killed: int = -1, end: int = 0) -> Found:
    """PAFO with a checkpoint after every step; rank `killed` does not survive its sum number `end`. What is said, and the files that lie there."""
    train, valid, _ = on_backbone(folder / "llama")
    said: list[str] = []
    with (
        counted([], end if ranks.number() == killed else 0),
        checkpointing(folder / kept, steps=1, minutes=None, identity={"method": "pafo"}, say=said.append),
    ):
        found = fitted(METHODS["pafo"], train, valid)
    return found | {"said": " ".join(said)}


def asked_to_end(folder: Path) -> Found:
    """Bradley-Terry undisturbed, and of which the second rank alone is asked to end in its third step, and that goes on from there. While the
    first, which is slow, takes away what that left, the other goes on to something new."""
    train, valid, _ = on_backbone(folder / "llama")
    real = writing.remove

    def slow(*asked: Any) -> None:
        time.sleep(0.2)
        real(*asked)

    whole, said, ends = fitted(BASE, train, valid), list[str](), list[bool]()

    def tell(standing: Standing) -> None:
        if standing.steps and standing.done == 3 and ranks.number() == 1:
            signal.raise_signal(signal.SIGINT)

    for watched in (watching(tell), nullcontext()):
        try:
            with mock.patch.object(writing, "remove", slow), checkpointing(folder / "asked", say=said.append), watched:
                found = fitted(BASE, train, valid)
            ends.append(False)
        except KeyboardInterrupt:
            ends.append(True)
    with checkpointing(folder / "asked"):
        same = [np.array_equal(found[part], whole[part]) for part in ("weights", "head", "margins", "valid")]
    return {"ends": ends, "said": " ".join(said), "same": same}


def sums_of_pafo(folder: Path) -> Found:
    """How often PAFO adds up over ranks."""
    train, valid, _ = on_backbone(folder / "llama")
    steps: list[str] = []
    with counted(steps):
        METHODS["pafo"].fit(train, valid, 0)
    return {"sums": len(steps)}


KILLS = ((1, 0.3, 2), (0, 0.6, 4), (1, 0.95, 1))  # of two ranks: which one is killed, how far into the fit, and how many go on


def apart(folder: Path) -> Found:
    """Each rank has a folder of its own, and that of rank 1 holds no checkpoint."""
    return surviving(folder, "kept-0" if ranks.first() else "kept-nowhere")


def failing(folder: Path, job: Callable[[Path], Found]) -> Found:
    """What a job says that does not come to its end."""
    try:
        job(folder)
    except EvenhandError as error:
        return {"said": str(error)}
    return {"said": ""}


def sharded(folder: Path) -> Found:
    """The base sharded over the ranks, and for its gradients layers that are computed again."""
    out: Found = {}
    if ranks.count() == 1:
        try:
            _ = Backbone(str(folder / "llama"), sharded=True).base
        except EvenhandError as error:
            out["refused"] = str(error)
    for again in (False, True):
        train, valid, backbone = on_backbone(folder / "llama", sharded=ranks.count() > 1, checkpointing=again)
        parameters = [p for name, p in backbone.base.model.named_parameters() if "lora" not in name]
        if ranks.count() > 1:
            assert all(isinstance(p, DTensor) for p in parameters)
        out["whole"] = sum(p.numel() for p in parameters)
        if not again:
            out |= fitted(BASE, train, valid)
        adapter = backbone.base.new_adapter(0)
        if ranks.count() > 1:
            backbone.base.vectors(tokens(9), adapter, keep=True)
            assert not backbone.base._kept.free()  # layers that come together keep nothing
        backbone.base.backward(tokens(9)[:3], adapter, torch.ones(3, 32))  # fewer chunks than ranks in some
        backbone.base.backward(tokens(1), adapter, torch.ones(1, 32))
        out[f"gradient {again}"] = torch.cat([p.grad.flatten() for p in adapter.parameters()]).numpy()
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


def restarted(folder: Path) -> None:
    """What torchrun --max-restarts does, by its agent: rank 1 is killed once, and all ranks are started again."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="again", max_restarts=1,
        start_method="fork",
    )  # fmt: skip
    with (folder / "restarted").open("w") as log, redirect_stderr(log):  # torch's log of the failure, which is wanted
        os.dup2(log.fileno(), 2)
        sums = elastic_launch(config, ends_once)()
    np.savez(folder / "restarted-1-0.npz", sums=[sums[n] for n in (0, 1)])


def ends_once() -> int:
    with ranks.together():
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and ranks.number() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(ranks.add(torch.tensor([1 + ranks.number()])))


def command_line(folder: Path) -> None:
    """A whole fit, as the shell has it. The main function joins the ranks itself."""
    count = os.environ["WORLD_SIZE"]
    _cli(folder / f"said-{count}-{os.environ['RANK']}", arguments(folder, folder / f"fit-{count}"))


WRITES = 30  # files that are written before the last one is left half done


def killed_command_line(folder: Path) -> None:
    """The same with a checkpoint after every step; the first rank is killed while it writes one."""
    real, written = writing.stage, 0

    def stage(path: Path, content: bytes, private: bool = False) -> None:
        nonlocal written
        written += 1
        if written == WRITES:
            writing.part(path).write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, content, private)

    often = mock.patch.dict(checkpointing.__wrapped__.__kwdefaults__, minutes=1e-9)  # type: ignore[attr-defined]
    with often, mock.patch.object(writing, "stage", stage):
        _cli(folder / f"killed-{os.environ['RANK']}", arguments(folder, folder / "fit-2"))


def one_fails(folder: Path) -> None:
    """Rank 1 does not find its data; the other waits for it."""
    number = os.environ["RANK"]
    asked = arguments(folder, folder / "unfinished")
    if number == "1":
        asked[1] = str(folder / "nowhere" / "choices.jsonl")
    _cli(folder / f"failed-{number}", asked)


def arguments(folder: Path, out: Path) -> list[str]:
    return f"""fit {folder}/choices.jsonl --method pafo --head low_rank --set max_epochs=2 --group-by taste --constraint eo=0.05 --backbone {folder}/llama
        --lora-rank 2 --steps 3 --batch-texts 24 --chunk-tokens 200 --max-tokens 40 --without-prompt --simulated --cache {out}-vectors
        --out {out}""".split()


def _cli(said: Path, asked: list[str]) -> None:
    started = mock.patch.object(sys, "argv", ["evenhand", *asked]), mock.patch("evenhand.cli.LATER", 0.2)
    with said.open("w", buffering=1) as log, redirect_stdout(log), redirect_stderr(log), started[0], started[1]:
        try:
            cli()
        except SystemExit as leaving:
            print("exit code", leaving.code)


def rank(number: int, count: int, port: int, job: Callable[[Path], Found | None], folder: Path, name: str) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    if job in (command_line, killed_command_line, one_fails, restarted):
        job(folder)
        return
    assert (ranks.count(), ranks.number()) == (1, 0)  # each for itself, until they join
    with ranks.together(), ranks.together():
        assert (ranks.count(), ranks.number()) == (count, number)
        np.savez(folder / f"{name}-{count}-{number}.npz", **(job(folder) or {}))
    assert ranks.count() == 1
    ranks.leave()


def world(count: int, job: Callable[[Path], Found | None], folder: Path, name: str = "") -> Iterator[int]:
    """Process ids of its ranks. name: of what they leave, by default the job's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for number in range(count):
        if (process := os.fork()) == 0:
            code = 1
            try:
                torch.set_num_threads(1)  # before a second thread computes: see conftest.py
                rank(number, count, port, job, folder, name or job.__name__)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        yield process


def ready(folder: Path) -> None:
    """What all ranks need, loaded by the process whose copies they are: what is loaded before a copy is made is loaded once."""
    from torch.distributed.fsdp import fully_shard  # noqa: F401

    import evenhand.workflows.fit  # noqa: F401

    tiny_llama(folder / "llama")
    backbone_of(folder / "llama").base.new_adapter(0)


def main(folder: Path) -> None:
    """All worlds, in a process that is `ready`."""
    torch.set_num_threads(1)
    write_sample(folder / "choices.jsonl", users=24, minority=0.5, pairs_per_user=16)
    gc.freeze()  # or the collector of every copy would walk through all of it, and so copy it
    alone = list(world(1, methods, folder))
    rank(0, 1, 0, command_line, folder, "")  # here, so that all that a fit imports is there when its ranks are forked
    run(alone)
    gc.freeze()

    def beside(*worlds: tuple[int, Callable[[Path], Found | None]]) -> None:
        """Worlds at the same time: where the ranks of one wait for each other, the machine has something to do."""
        run(chain.from_iterable(world(count, job, folder) for count, job in worlds))

    beside((4, methods), (1, sharded))
    beside((2, methods), (2, sharded), (1, short_of_memory))
    beside((2, killed_command_line), (2, short_of_memory), (2, files), (4, told_apart))
    beside((2, asked_to_end), (2, one_fails), (1, restarted))
    sums = int(np.load(folder / "methods-2-0.npz")["pafo| sums"])
    killing = [partial(surviving, kept=f"kept-{n}", killed=killed, end=int(share * sums)) for n, (killed, share, _) in enumerate(KILLS)]
    run(chain.from_iterable(world(2, partial(failing, job=job), folder, f"killed-{n}") for n, job in enumerate(killing)))
    run(world(2, partial(failing, job=apart), folder, "apart"))
    resuming = [(then, partial(surviving, kept=f"kept-{n}"), folder, f"resumed-{n}") for n, (_, _, then) in enumerate(KILLS)]
    run(chain.from_iterable(world(*resumed) for resumed in resuming))


def run(processes: Iterable[int]) -> float:
    """Until all of them have ended; CPU seconds."""
    return sum(sum(os.wait4(process, 0)[2][:2]) for process in list(processes))

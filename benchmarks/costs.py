"""What an audit or a training costs, from measured constants and from what is counted: the tables of docs/scale.md.

    python benchmarks/costs.py
    python benchmarks/costs.py --model Qwen3-32B --gpus 16 --utilisation 0.3 --cores 64 --tokens 400 --a-text 50
    python benchmarks/costs.py --measure     # the constants of --measure below, in CPU seconds of this machine: some minutes

A constant of a CPU core was measured by the command beside it. GPUs were not: their seconds are FLOPs / (peak x utilisation), the peak from
the data sheet (dense bfloat16) and the utilisation assumed; the reader's own go in with --gpu and --utilisation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from gpu import PEAK, RANK, SIZES, Size

PAIRS = (1e6, 1e7, 1e8, 1e9)
MEMORY = {"H100 PCIe": 80e9, "H100": 80e9, "H200": 141e9, "A100": 80e9}
MODELS = {
    s.name: s
    for s in [
        *SIZES,
        Size("Qwen3-14B", 5120, 17_408, 40, 40, 8, micro=1, chunk=4096, pairs=0),
        Size("Qwen3-32B", 5120, 25_600, 64, 64, 8, micro=1, chunk=4096, pairs=0),
        Size("70B", 8192, 28_672, 80, 64, 8, micro=1, chunk=4096, pairs=0),  # the shapes of Llama 3's
    ]
}
MINILM = 6 * (4 * 384**2 + 2 * 384 * 1536)  # weights of its linear maps
VECTOR = 384  # MiniLM's coordinates
DIM = 128  # of a feature


@dataclass(frozen=True)
class Constant:
    """What was measured, in which unit, and the command that prints it."""

    value: float
    unit: str
    command: str


CORE = {
    "audit": Constant(2.9e-6, "CPU s a pair, from Parquet to report", "benchmarks/audit_100m.py"),
    "encode": Constant(9_500, "tokens a CPU s, MiniLM, bfloat16", "benchmarks/encode.py"),
    "fit": Constant(4.4e-6, "CPU s a pair and epoch, Bradley-Terry, LoRe", "benchmarks/costs.py --measure"),
    "pafo": Constant(2.5, "Bradley-Terry fits that PAFO costs, two teachers", "benchmarks/fit_time.py"),
    "fit bytes": Constant(94, "bytes a pair at most, while it fits", "benchmarks/costs.py --measure"),
    "score": Constant(166_000, "rows a CPU s, without encoding", "benchmarks/score.py"),
    "draw": Constant(1.3e-7, "CPU s a pair of a step's users: which texts it reads, in every process", "benchmarks/costs.py --measure"),
    "token": Constant(5.4, "bytes a token of a text, while it trains", "benchmarks/costs.py --measure"),
    "place": Constant(
        58, "bytes a token, layer and coordinate that a pass forward keeps for the one backward", "benchmarks/costs.py --measure"
    ),
}


@dataclass(frozen=True)
class Scene:
    """Judgements; of a user and of a distinct text, the two sides of a pair counted each; tokens a text; epochs of a head.

    cores, gpus: that there are. looks: at validation, of a training on a language model; steps enough to read every text once.
    """

    judged: float
    a_user: float = 100
    a_text: float = 20
    tokens: float = 200
    epochs: int = 20
    batch: int = 768
    looks: int = 3
    teachers: int = 2
    cores: int = 1
    gpus: int = 8
    peak: float = PEAK["H100"]
    utilisation: float = 0.4

    @property
    def users(self) -> float:
        return self.judged / self.a_user

    @property
    def texts(self) -> float:
        return 2 * self.judged / self.a_text

    @property
    def read(self) -> float:
        """Tokens of all distinct texts."""
        return self.texts * self.tokens

    def on_gpus(self, flops: float) -> float:
        return flops / (self.gpus * self.peak * self.utilisation)


def weights(model: Size) -> tuple[float, float]:
    """Of the linear maps, and of LoRA on them."""
    return model.layers * sum(a * b for a, b in model.maps), model.layers * RANK * sum(a + b for a, b in model.maps)


def attention(model: Size, tokens: float) -> float:
    """FLOPs a token of a pass forward, causal, in a text of so many tokens."""
    return 2 * model.layers * model.heads * model.head_dim * tokens


def forward(model: Size, scene: Scene) -> float:
    """FLOPs of reading every distinct text once."""
    return scene.read * (2 * weights(model)[0] + attention(model, scene.tokens))


def step_flops(model: Size, scene: Scene) -> float:
    """Of training on every distinct text once: forward, backward, and forward again where nothing was kept of it."""
    n, lora = weights(model)
    return scene.read * (6 * n + 6 * lora + 4 * attention(model, scene.tokens))


def frozen(scene: Scene) -> Iterator[tuple[str, float, float, float | None]]:
    """Row, seconds on the cores, bytes, seconds on the GPUs."""
    fit = scene.judged * scene.epochs * CORE["fit"].value
    features = scene.texts * DIM * 4
    held = scene.judged * CORE["fit bytes"].value + features
    encode = scene.read / CORE["encode"].value / scene.cores
    yield "encode, once a text (MiniLM)", encode, scene.texts * VECTOR * 4, scene.on_gpus(2 * MINILM * scene.read)
    yield "fit, Bradley-Terry (one core)", fit, held, None
    yield f"fit, PAFO, {scene.teachers} teachers (one core)", fit * CORE["pafo"].value, held, None
    yield "score every pair (one core)", 2 * scene.judged / CORE["score"].value, features, None
    yield "audit score columns (one core)", scene.judged * CORE["audit"].value, 0, None


def tuned(model: Size, scene: Scene) -> Iterator[tuple[str, float]]:
    """Row and seconds of a PAFO fit on a language model: pooled model and student with all steps, teachers with half of them each."""
    trainings = 2 + scene.teachers / 2
    once = scene.on_gpus(forward(model, scene))
    steps = trainings * scene.texts / scene.batch
    yield "features as they are", once
    yield f"steps: every text once, {steps:,.0f} of {scene.batch}", trainings * scene.on_gpus(step_flops(model, scene))
    yield (
        f"looks at validation, {scene.looks} a training",
        (2 + 0.5) * scene.looks * once,
    )  # the teachers' are of their groups, and half as many
    yield "the teachers' targets, at most", scene.teachers * once
    users = min(scene.users, scene.judged * scene.batch / scene.texts)  # of a step, nobody in it twice
    yield "which texts a step reads (CPU, every process)", steps * users * scene.a_user * CORE["draw"].value


BANKS = 7  # copies of all features: before training; pooled model, teachers and student as fitted; the one that trains, and its best epoch


def node(scene: Scene) -> Iterator[tuple[str, float]]:
    """Bytes of CPU memory on a node with a process for each GPU, of a PAFO fit on a language model."""
    yield "pairs and histories", scene.gpus * scene.judged * CORE["fit bytes"].value
    yield f"features of all texts, {BANKS} copies", scene.gpus * scene.texts * DIM * 4 * BANKS
    yield "tokens of all texts", scene.gpus * scene.read * CORE["token"].value


def memory(model: Size, scene: Scene, chunk: int) -> Iterator[tuple[str, float]]:
    """Bytes on each GPU with LoRA in bfloat16."""
    n, lora = weights(model)
    base = 2 * (n + 151_936 * model.hidden)
    layer = 2 * sum(a * b for a, b in model.maps)
    yield "base, whole on each", base
    yield f"base, sharded over {scene.gpus}, and two layers together", base / scene.gpus + 2 * layer
    yield "LoRA: weights, moments, gradients, their float64 sums, the best epoch", 44 * lora
    kept = CORE["place"].value * model.layers * model.hidden * chunk
    yield f"a chunk of {chunk:,} tokens, all layers kept", kept
    yield "the same, Backbone(checkpointing=True)", 2 * model.layers * model.hidden * chunk + kept / model.layers


# --- measuring


def pairs_of(users: int, each: int = 28) -> Any:
    """Pairs of random texts, with their users' histories: nothing to learn, for what time and memory follow from."""
    import torch

    from evenhand.core import History, Pairs

    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    user = torch.arange(users).repeat_interleave(each)
    chosen, rejected = torch.randint(4_000, (2, len(user)), generator=draw)
    history = History(torch.randn(4_000, DIM, generator=draw), torch.arange(users + 1) * each, chosen, rejected, torch.arange(users))
    return Pairs(history, user, chosen, rejected, torch.ones(len(user)), user % 2)


def fitted(train: Any, epochs: int) -> None:
    """Bradley-Terry under the default head, validation pairs an eighth as many."""
    import torch

    from evenhand.methods.bradley_terry import BradleyTerry

    base = BradleyTerry()
    valid = train.take(torch.arange(len(train) // 8))
    replace(base, schedule=replace(base.schedule, max_epochs=epochs, patience=epochs)).fit(train, valid, 0)


def measured_fit() -> float:
    """CPU seconds a pair and epoch."""
    train, took = pairs_of(1_000), []
    fitted(train, 1)  # the first fit of a process loads what all of them need
    for epochs in (2, 10):
        start = time.process_time()
        fitted(train, epochs)
        took.append(time.process_time() - start)
    return (took[1] - took[0]) / (8 * len(train))


def _peak(users: int, tell: Any) -> None:
    fitted(pairs_of(users), 1)
    tell.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def measured_bytes() -> float:
    """Peak memory a pair, from two sizes."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for users in (4_000, 40_000):
        told = context.SimpleQueue()
        process = context.Process(target=_peak, args=(users, told))
        process.start()
        peaks.append(told.get())
        process.join()
    return (peaks[1] - peaks[0]) / (36_000 * 28)


def measured_draw() -> float:
    """CPU seconds to draw a step's texts with their pairs and histories, by pairs of its users."""
    import torch

    from evenhand.training.text_batches import text_batches

    each = 28
    batches = text_batches(pairs_of(10_000, each), 192, (0.3, 0.7), torch.Generator().manual_seed(0))
    next(batches)
    start = time.process_time()
    users = sum(len(history) for history, _, _ in islice(batches, 10))
    return (time.process_time() - start) / (users * each)


def measured_token() -> float:
    """Bytes a token as the tokenizer gives it: a whole number of Python's, and its place in a list."""
    import tracemalloc

    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder

    encoder = BackboneEncoder(Backbone("minilm"))
    text = "Which of the two answers would you rather read, the short one or the long one, and whom does it serve? " * 8
    encoder.tokenized([text])
    tracemalloc.start()
    tokens = encoder.tokenized([f"{text} {n}" for n in range(200)])[0]
    return tracemalloc.get_traced_memory()[0] / sum(len(own) for _, own in tokens)


def measured_place() -> float:
    """Bytes a token, layer and coordinate of a Qwen3 with LoRA under bfloat16."""
    import tempfile
    from pathlib import Path

    from gpu import write

    from evenhand.encode.backbone import Backbone

    size = Size("measured", 256, 768, 8, 2, 1, micro=1, chunk=64, pairs=0)  # three times as wide inside as outside, as they are
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(size, folder, "cpu")
        base = Backbone(str(folder), device="cpu", dtype="bfloat16").base
        with base.wearing(base.new_adapter(0)):
            return base._place_bytes / (size.layers * size.hidden)


MEASURED: dict[str, Callable[[], float]] = {
    "fit": measured_fit,
    "fit bytes": measured_bytes,
    "draw": measured_draw,
    "token": measured_token,
    "place": measured_place,
}


# --- printing


def in_one_unit(seconds: Sequence[float]) -> tuple[str, list[str]]:
    """The unit in which half of a column's times are 2 or more, and all of them in it."""
    middle = statistics.median(seconds)
    unit, size = next(((unit, size) for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)) if middle >= 2 * size), ("s", 1))
    return unit, [f"{s / size:,.0f}" if s >= 10 * size else f"{s / size:#.2g}" for s in seconds]


def times(scenes: Sequence[Scene], rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    """A table of seconds, each column in a unit of its own."""
    columns = [in_one_unit(column) for column in zip(*(values for _, values in rows))]
    heads = [f"{s.judged:,.0f}: {unit}" for s, (unit, _) in zip(scenes, columns)]
    table(["time", *heads], [[name, *(told[i] for _, told in columns)] for i, (name, _) in enumerate(rows)])


def size(value: float) -> str:
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= one:
            return f"{value / one:,.0f} {unit}" if value >= 10 * one else f"{value / one:.1f} {unit}"
    return "-"


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def show(scene: Scene, model: Size) -> None:
    scenes = [replace(scene, judged=judged) for judged in PAIRS]
    heads = [f"{s.judged:,.0f}" for s in scenes]
    table(["constant", "measured", "command"], [[c.unit, f"{c.value:,.3g}", f"`{c.command}`"] for c in CORE.values()])
    table(
        ["judgements", *heads],
        [["users", *(f"{s.users:,.0f}" for s in scenes)], ["distinct texts", *(f"{s.texts:,.0f}" for s in scenes)],
         ["their tokens", *(f"{s.read:.0e}" for s in scenes)]],
    )  # fmt: skip
    print(f"On frozen features, {scene.cores} core(s) where work is shared, else one\n")
    rows = [[*frozen(s)] for s in scenes]
    on_gpus = [(f"{row[0][0]}: {scene.gpus} GPUs", [cell[3] for cell in row]) for row in zip(*rows) if row[0][3] is not None]
    times(scenes, [(row[0][0], [cell[1] for cell in row]) for row in zip(*rows)] + on_gpus)
    table(["memory", *heads], [[row[0][0], *(size(cell[2]) for cell in row)] for row in zip(*rows) if row[0][2]])
    gpus = f"{scene.gpus} GPUs of {scene.peak / 1e12:,.0f} TFLOP/s at {scene.utilisation:.0%}"
    print(f"PAFO with {scene.teachers} teachers on {model.name}, LoRA of rank {RANK}, {gpus} (assumed, not measured)\n")
    every = [[*tuned(model, s)] for s in scenes]
    names = [n if "steps:" not in n else f"steps of {scene.batch} texts, every text once" for n, _ in every[0]]
    times(scenes, [(name, [cell[1] for cell in row]) for name, row in zip(names, zip(*every))])
    every = [[*node(s)] for s in scenes]
    print(f"CPU memory of the node, a process for each of {scene.gpus} GPUs\n")
    table(["memory", *heads], [[row[0][0], *(size(value) for _, value in row)] for row in zip(*every)])
    each = MEMORY["H100"]
    print(f"Memory of each GPU ({each / 1e9:.0f} GB), bfloat16, LoRA of rank {RANK}, {scene.gpus} GPUs\n")
    cells = {name: [*memory(m, scene, 2048)] for name, m in MODELS.items()}
    table(["", *cells], [[row[0][0], *(size(value) for _, value in row)] for row in zip(*cells.values())])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--measure", action="store_true")
    asked.add_argument("--a-user", type=float, default=Scene.a_user, help="judgements of a user")
    asked.add_argument("--a-text", type=float, default=Scene.a_text, help="judgements of a distinct text")
    asked.add_argument("--tokens", type=float, default=Scene.tokens, help="of a text")
    asked.add_argument("--epochs", type=int, default=Scene.epochs, help="of a head on frozen features")
    asked.add_argument("--batch", type=int, default=Scene.batch, help="texts a step")
    asked.add_argument("--looks", type=int, default=Scene.looks, help="at validation")
    asked.add_argument("--cores", type=int, default=Scene.cores)
    asked.add_argument("--gpus", type=int, default=Scene.gpus)
    asked.add_argument("--gpu", choices=tuple(PEAK), default="H100")
    asked.add_argument("--utilisation", type=float, default=Scene.utilisation)
    asked.add_argument("--model", choices=tuple(MODELS), default="Qwen3-8B")
    told = vars(asked.parse_args())
    if told.pop("measure"):
        for name, measure in MEASURED.items():
            print(f"{name}: {measure():.3g} {CORE[name].unit}", flush=True)
        return
    model, gpu = MODELS[told.pop("model")], told.pop("gpu")
    show(Scene(PAIRS[0], **told, peak=PEAK[gpu]), model)


if __name__ == "__main__":
    main()

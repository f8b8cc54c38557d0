"""Reward models on language models against TRL's RewardTrainer: tokens a second and peak memory, side by side in one run.

Both sides train LoRA (rank 16, all linear layers) on the same Llama or Qwen3 of random weights, in float32 on one thread, on the same
token numbers and in steps of the same judgements; TRL in its own micro-batches, without gradient checkpointing. Each side is a process of
its own that has loaded everything before its clock starts; rounds alternate between the sides. Arguments: names of rows, --rounds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from evenhand.core import Head, Pairs

os.environ["HF_HUB_OFFLINE"] = "1"
WORDS = 1021  # of the made-up language, after <pad>, </s> and <unk>
SHAPE = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
RANK, LR, STEPS, MICRO = 16, 5e-4, 2, 8  # MICRO: pairs that TRL takes through the model at a time, its default
KINDS = ("llama", "qwen3")
DSP = Path(__file__).parents[2] / "shared" / "data" / "dsp" / "domain_specific_preference.test.jsonl.gz"


@dataclass(frozen=True)
class Judgements:
    """texts: (prompt, response), as numbers of words; judgements say by number which text a user chose over which."""

    texts: list[tuple[list[int], list[int]]]
    chosen: np.ndarray
    rejected: np.ndarray
    user: np.ndarray

    @property
    def tokens(self) -> int:
        """Tokens of all judgements, a text counted as often as it is judged."""
        length = np.array([len(p) + len(r) for p, r in self.texts])
        return int(length[self.chosen].sum() + length[self.rejected].sum())


def pairs_of(seed: int, pairs: int, prompt: int = 0, response: int = 0, users: int = 1) -> Judgements:
    """Pairs of responses of random words to prompts of their own, each pair judged by all users.

    prompt, response: lengths; response 0 = log-normal, median 120, a third longer or shorter being common (sigma 0.5), from 16 to 512.
    """
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(120), 0.5, 2 * pairs), 16, 512).astype(int) if response == 0 else [response] * (2 * pairs)
    prompts = [rng.integers(WORDS, size=prompt).tolist() for _ in range(pairs)]
    texts = [(prompts[i // 2], rng.integers(WORDS, size=n).tolist()) for i, n in enumerate(lengths)]
    first = np.repeat(np.arange(pairs) * 2, users)
    user = np.tile(np.arange(users), pairs)
    flipped = rng.integers(2, size=len(first))
    return Judgements(texts, first + flipped, first + 1 - flipped, user)


def responses(file: Path, count: int) -> Judgements:
    """Responses of DSP's domains as MiniLM's tokens, the first of a query against the second, the third against the fourth."""
    from evenhand.encode.backbone import Backbone

    backbone = Backbone("minilm")
    with gzip.open(file, "rt", encoding="utf-8") as rows:
        wording = [text for row in islice(rows, count // 4) for text in list(json.loads(row)["responses"].values())[:4]]
    tokens, _ = backbone.base.tokenized(wording, backbone.limit)
    texts: list[tuple[list[int], list[int]]] = [([], [i - 3 for i in own]) for _, own in tokens]
    first = np.arange(0, len(texts), 2)
    return Judgements(texts, first, first + 1, np.zeros(len(first), dtype=np.int64))


# --- TRL ---------------------------------------------------------------------------------------------------------------------------------


def trl_training(folder: Path, data: Judgements, grouped: bool = False) -> Callable[[], float]:
    """RewardTrainer over all judgements in STEPS steps. grouped: it may group pairs by their length, which is not its default."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    quiet()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    reward_trainer(model, tokenizer, data, use_cpu=True, bf16=False)  # imported, and the model once in memory

    def run() -> float:
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
        trainer = reward_trainer(
            model,
            tokenizer,
            data,
            per_device_train_batch_size=MICRO,
            gradient_accumulation_steps=-(-len(data.user) // (MICRO * STEPS)),
            train_sampling_strategy="group_by_length" if grouped else "random",
            use_cpu=True,
            bf16=False,
        )
        start = time.process_time()
        trainer.train()
        return time.process_time() - start

    return run


def reward_trainer(model: Any, tokenizer: Any, data: Judgements, **settings: Any) -> Any:
    """TRL's trainer on token numbers, one pass, with our LoRA."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import RewardConfig, RewardTrainer

    ids = [[w + 3 for w in (*prompt, *response)] for prompt, response in data.texts]
    chosen, rejected = [ids[t] for t in data.chosen], [ids[t] for t in data.rejected]
    length = [max(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]
    config = RewardConfig(
        output_dir=tempfile.mkdtemp(prefix="trl-"),  # nothing is saved in it
        num_train_epochs=1,
        learning_rate=LR,
        max_length=None,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,  # else it drops the lengths that it is to group by
        **settings,
    )
    adapter = LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules="all-linear", exclude_modules=["score"], modules_to_save=["score"], task_type="SEQ_CLS"
    )
    columns = Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected, "length": length})
    trainer = RewardTrainer(model, args=config, train_dataset=columns, processing_class=tokenizer, peft_config=adapter)
    trainer.remove_callback(PrinterCallback)
    return trainer


def padded_scoring(folder: Path, data: Judgements) -> Callable[[], float]:
    """What people write: texts of all pairs in their order, 16 at a time, padded to the longest, through *ForSequenceClassification."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    quiet()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32).eval()
    texts = sentences(data)
    shown = [text for pair in zip(data.chosen, data.rejected, strict=True) for text in (texts[pair[0]], texts[pair[1]])]

    def run() -> float:
        start = time.process_time()
        with torch.inference_mode():
            for at in range(0, len(shown), 2 * MICRO):
                model(**tokenizer(shown[at : at + 2 * MICRO], padding=True, return_tensors="pt")).logits.tolist()
        return time.process_time() - start

    return run


def quiet() -> None:
    """No progress bars and no notes of the libraries."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


# --- ours --------------------------------------------------------------------------------------------------------------------------------


def our_training(folder: Path, data: Judgements, head: Head | None = None, **backbone: Any) -> Callable[[], float]:
    """The same judgements in the steps of `fit`: texts encoded once a step, features to the head and its loss, their gradient back."""
    import torch

    from evenhand.models.linear import Linear

    torch.set_num_threads(1)
    train = our_pairs(folder, data, **backbone)

    def run() -> float:
        return our_steps(train, head or Linear())

    return run


def reading_twice(folder: Path, data: Judgements) -> Callable[[], float]:
    """The same with nothing kept between the two passes."""
    return our_training(folder, data, keep_gb=0.0)


def one_graph(folder: Path, data: Judgements) -> Callable[[], float]:
    """Plain steps on the same chunks: all of a step's passes forward in one graph, and one pass backward through it."""
    import torch

    from evenhand.encode.texts import EncodedTexts

    torch.set_num_threads(1)
    train = our_pairs(folder, data)
    texts = train.texts
    assert isinstance(texts, EncodedTexts)
    base, size = texts.backbone.base, len(train) // STEPS

    def run() -> float:
        adapter = texts.adapter(0)
        reward = torch.zeros(base.dim, requires_grad=True)
        optimiser = torch.optim.AdamW([reward, *adapter.parameters()], lr=LR)
        start = time.process_time()
        for at in range(0, STEPS * size, size):
            shown, place = torch.cat([train.chosen[at : at + size], train.rejected[at : at + size]]).unique(return_inverse=True)
            chunks = base._dealt([texts.texts[i] for i in shown.tolist()])
            with base.wearing(adapter):
                vectors = torch.cat([base._forward(chunk) for chunk in chunks])
                rewards = vectors[torch.cat([chunk.texts for chunk in chunks]).argsort()][place] @ reward
                torch.nn.functional.softplus(rewards[size:] - rewards[:size]).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        return time.process_time() - start

    return run


def our_steps(train: Pairs, head: Head, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of all steps of an untrained head and adapter."""
    import torch

    from evenhand.training.loop import batch_margins, pair_bt, weighted_mean
    from evenhand.training.phases import TextPhase
    from evenhand.training.replicas import SingleModel
    from evenhand.training.schedule import Schedule
    from evenhand.training.tuned import Bank, Tuned

    assert train.texts is not None
    torch.manual_seed(0)
    untrained = head.build(train.items.shape[1], 0)
    model = SingleModel(Tuned(untrained, train.texts.adapter(0), Bank(train.texts, train.items.clone())))
    phase = TextPhase(model, train, Schedule(), torch.Generator().manual_seed(0), None, warm=False)
    reader = model.module.head
    start = clock()
    for batch in phase.round(0):
        margin = batch_margins(reader, reader.users(batch.history), batch.pairs.user, batch.chosen, batch.rejected)
        phase.step(weighted_mean(pair_bt(margin, batch.rows), batch.pairs, batch.moved))
    return clock() - start


def our_pairs(folder: Path, data: Judgements, steps: int = STEPS, **backbone: Any) -> Pairs:
    """Judgements as methods see them, on texts that train, with features of the untrained model."""
    import torch

    from evenhand.core import History, Pairs, Tuning
    from evenhand.encode.backbone import Backbone
    from evenhand.encode.texts import EncodedTexts

    tuning = Tuning(steps=steps, eval_every=steps, lr=LR, batch_texts=len(data.texts) // STEPS, patience=steps)
    tokens = [([w + 3 for w in prompt], [w + 3 for w in response]) for prompt, response in data.texts]
    texts = EncodedTexts(Backbone(str(folder), rank=RANK, max_tokens=4096, tuning=tuning, **backbone), tokens)
    items = texts.encode(texts.adapter(0), torch.arange(len(texts)))
    order = np.argsort(data.user, kind="stable")
    user, chosen, rejected = (torch.from_numpy(a[order]) for a in (data.user, data.chosen, data.rejected))
    counts = torch.bincount(user)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    history = History(items, offsets, chosen, rejected, torch.arange(len(counts)))
    group = (user < max(1, len(counts) // 5)).long()
    return Pairs(history, user, chosen, rejected, torch.ones(len(user)), group, block=torch.minimum(chosen, rejected) // 2, texts=texts)


def our_fit(folder: Path, data: Judgements, teachers: bool) -> Callable[[], float]:
    """PAFO, or one Bradley-Terry fit, whole: three epochs of the head, then 16 steps with the adapter. A fifth of the pairs is for validation."""
    import torch

    from evenhand.methods.bradley_terry import BradleyTerry
    from evenhand.methods.pafo import Pafo
    from evenhand.training.schedule import Schedule

    torch.set_num_threads(1)
    train, valid = parted(our_pairs(folder, data, steps=16))
    base = BradleyTerry(schedule=Schedule(max_epochs=3))
    method = Pafo(base) if teachers else base

    def run() -> float:
        start = time.process_time()
        method.fit(train, valid, 0)
        return time.process_time() - start

    return run


def parted(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """(train, valid): a fifth of the texts' pairs is in no history and trains nothing."""
    import torch

    from evenhand.core import History

    assert pairs.block is not None
    kept = pairs.block % 5 > 0
    train = pairs.take(kept)
    counts = torch.bincount(train.user)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    history = History(pairs.items, offsets, train.chosen, train.rejected, torch.arange(len(counts)))
    return replace(train, history=history), replace(pairs.take(~kept), history=history)


def our_scoring(folder: Path, data: Judgements, **backbone: Any) -> Callable[[], float]:
    """Vectors of all pairs' texts as `score` has them made: each text once, texts of about one length together."""
    import torch

    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder

    torch.set_num_threads(1)
    encoder = BackboneEncoder(Backbone(str(folder), max_tokens=4096, **backbone))
    texts = sentences(data)
    weight = np.ones(encoder.dim, dtype=np.float32)

    def run() -> float:
        start = time.process_time()
        rewards = encoder.encode(texts) @ weight
        (rewards[data.chosen], rewards[data.rejected])
        return time.process_time() - start

    return run


# --- models and texts --------------------------------------------------------------------------------------------------------------------


def words(numbers: list[int]) -> str:
    return " ".join(f"w{n}" for n in numbers)


def sentences(data: Judgements) -> list[str]:
    return [words([*prompt, *response]) for prompt, response in data.texts]


def write_model(kind: str, folder: Path) -> Path:
    """A model of random weights without a head and a tokenizer that has a token a word."""
    import torch
    from transformers import AutoModel

    torch.manual_seed(0)
    model = AutoModel.from_config(config_of(kind, **SHAPE))
    quiet()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def config_of(kind: str, **shape: int) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(
        kind,
        **{"vocab_size": WORDS + 3, "max_position_embeddings": 4096, "head_dim": 64} | shape,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(WORDS))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


# --- measuring ---------------------------------------------------------------------------------------------------------------------------

_side: dict[str, Any] = {}  # of a worker process: what it runs, and its memory before


def load(build: Callable[..., Callable[[], float]], *args: Any) -> None:
    _side["run"] = build(*args)
    _side["before"] = memory("VmRSS")


def once() -> float:
    return float(_side["run"]())


def memories() -> tuple[float, float]:
    """(peak, of it beyond what was there before) in GB."""
    return memory("VmHWM"), memory("VmHWM") - _side["before"]


def memory(what: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1e6


@dataclass(frozen=True)
class Side:
    name: str
    build: Callable[..., Callable[[], float]]
    args: tuple[Any, ...]


def measured(sides: list[Side], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds [sides, rounds], sides in turn in every round, and memory in GB [sides, (peak, beyond the loaded model)]."""
    seconds = np.zeros((len(sides), rounds))
    with ExitStack() as stack:
        workers = [stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn"))) for _ in sides]
        for side, worker in zip(sides, workers, strict=True):
            worker.submit(load, side.build, *side.args).result()
        for r in range(rounds):
            for s, worker in enumerate(workers):
                seconds[s, r] = worker.submit(once).result()
        return seconds, np.array([worker.submit(memories).result() for worker in workers])


def show(title: str, sides: list[Side], units: float, unit: str, goal: str, rounds: int, *, cost: bool = False) -> None:
    """Ratios, round by round: how much faster the first side is than each other one; cost: how much longer it takes."""
    seconds, used = measured(sides, rounds)
    print(title)
    for side, took, (peak, more) in zip(sides, seconds, used, strict=True):
        print(
            f"  {side.name:<34} {np.median(took):6.2f} s  {units / np.median(took):8,.0f} {unit}/s   peak {peak:.2f} GB, {more:.2f} of it for this"
        )
    for s in range(1, len(sides)):
        ratio = seconds[0] / seconds[s] if cost else seconds[s] / seconds[0]
        told = f"{'costs' if cost else 'faster'} x{np.median(ratio):.2f} (min {ratio.min():.2f}, max {ratio.max():.2f}) of {sides[s].name}"
        print(f"  {told}{f'; goal {goal}' if s == 1 else ''}")
    if cost:
        print(
            f"  peak memory x{used[0, 0] / used[1, 0]:.2f} of {sides[1].name}'s, x{used[0, 1] / used[1, 1]:.2f} of what it takes for this"
        )
    print(flush=True)


# --- rows --------------------------------------------------------------------------------------------------------------------------------


def bucketed(models: dict[str, Path], rounds: int) -> None:
    for kind, folder in models.items():
        data = pairs_of(0, 48)
        ours, theirs = Side("evenhand", our_training, (folder, data)), Side("TRL", trl_training, (folder, data))
        by_length = Side("TRL, told to group by length", trl_training, (folder, data, True))
        title = (
            f"bucketed, {kind}: {len(data.user)} pairs of texts of their own, 16 to 512 tokens, mean {data.tokens / len(data.texts):.0f}"
        )
        show(title, [ours, theirs, by_length], data.tokens, "tokens", "1.15 at least", rounds)


def prefixes(models: dict[str, Path], rounds: int) -> None:
    for kind, folder in models.items():
        for prompt in (300, 500):
            data = pairs_of(1, 16, prompt=prompt, response=100)
            sides = [Side("evenhand", our_training, (folder, data)), Side("TRL", trl_training, (folder, data))]
            title = f"shared prefixes, {kind}: {len(data.user)} prompts of {prompt} tokens, two answers of 100 each"
            show(title, sides, data.tokens, "tokens", "1.6 at least", rounds)


def judgements(models: dict[str, Path], rounds: int) -> None:
    from evenhand.models.lore import Lore

    data = pairs_of(2, 8, users=20)
    sides = [
        Side("evenhand, LoRe's head", our_training, (models["llama"], data, Lore())),
        Side("TRL", trl_training, (models["llama"], data)),
    ]
    show(
        f"20 users a pair: {len(data.user)} judgements of {len(data.texts)} texts",
        sides,
        len(data.user),
        "judgements",
        "20 at least",
        rounds,
    )


def caching(models: dict[str, Path], rounds: int) -> None:
    """On the made-up texts, and on MiniLM, where DSP's file lies at hand, with 96 of its responses a step."""
    cases = {"llama": (models["llama"], pairs_of(0, 48))}
    if DSP.exists():
        cases["minilm, DSP"] = (Path("minilm"), responses(DSP, 96 * STEPS))
    for kind, arguments in cases.items():
        sides = [
            Side("evenhand, 2 GB kept", our_training, arguments),
            Side("one graph", one_graph, arguments),
            Side("evenhand, all in two passes", reading_twice, arguments),
        ]
        data = arguments[1]
        title = f"gradient caching, {kind}: {len(data.texts)} texts in {STEPS} steps, mean {data.tokens / len(data.texts):.0f} tokens"
        show(title, sides, data.tokens, "tokens", "1.4 at most", rounds, cost=True)


def pafo(models: dict[str, Path], rounds: int) -> None:
    data = pairs_of(3, 40, response=32, users=20)
    sides = [Side(name, our_fit, (models["llama"], data, name == "PAFO")) for name in ("PAFO", "Bradley-Terry")]
    title = f"PAFO (pooled model, two teachers, student) and one fit: {len(data.user)} judgements of {len(data.texts)} texts"
    show(title, sides, len(data.user), "judgements", "3.2 at most in time, 1.15 in memory", rounds, cost=True)


def scoring(models: dict[str, Path], rounds: int) -> None:
    for kind, folder in models.items():
        data = pairs_of(4, 96)
        sides = [Side("evenhand", our_scoring, (folder, data)), Side("padded loop", padded_scoring, (folder, data))]
        show(f"scoring, {kind}: {len(data.user)} pairs as in the first row", sides, data.tokens, "tokens", "2 at least", rounds)


ROWS = {row.__name__: row for row in (bucketed, prefixes, judgements, caching, pafo, scoring)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows to run; default all")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    shape = ", ".join(f"{name.removeprefix('num_')} {value}" for name, value in SHAPE.items())
    print(f"{shape}; float32, one thread, CPU seconds; medians of {asked.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as name:
        models = {kind: write_model(kind, Path(name) / kind) for kind in KINDS}
        for row in asked.rows or ROWS:
            ROWS[row](models, asked.rounds)


if __name__ == "__main__":
    main()

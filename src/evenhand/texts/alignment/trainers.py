"""TRL's trainers as they are run here. Imported only when a training begins: TRL takes seconds to load.

Both score answers alone: logits of positions that no answer follows, most of them the prompt's, are never computed. Their losses are TRL's
(tests compare them). Nobody is told that they were used, and nothing is written but what the caller writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from evenhand.core import EvenhandError
from evenhand.texts.alignment.adapters import calm
from evenhand.texts.alignment.recipe import Recipe
from evenhand.training.checkpoint import Record, begun
from evenhand.training.state_bytes import State, digest
from evenhand.training.watched import Watched

MICRO = 4  # texts in one pass: bounds memory


def answer_logps(model: Any, ids: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
    """Log-probabilities float32[rows, places] of the next token, 0 where it is not of an answer. answer bool[rows, T]: tokens of an answer.

    Only places behind which some row has a token of its answer go through the model's head.
    """
    after = answer[:, 1:]
    places = torch.nonzero(after.any(0)).flatten()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=places).logits
    wanted = after[:, places]
    scored = logits[wanted].float().log_softmax(-1)
    found = scored.gather(1, ids[:, 1:][:, places][wanted][:, None]).squeeze(1)
    return torch.zeros(wanted.shape, dtype=torch.float32, device=found.device).masked_scatter(wanted, found)


class Sft(SFTTrainer):
    """Mean negative log-probability of the answers' tokens, over all of a step's."""

    def _send_telemetry(self) -> None:
        """Nobody is told."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        answer = inputs["labels"] != -100
        logps = answer_logps(model, inputs["input_ids"], inputs["attention_mask"], answer)
        return -logps.sum() / (answer[:, 1:].sum() if num_items_in_batch is None else num_items_in_batch)


class Dpo(DPOTrainer):
    """-log sigmoid(beta ((log pi(y_w) - log pi_ref(y_w)) - (log pi(y_l) - log pi_ref(y_l)))), Rafailov et al. 2023, arXiv 2305.18290, eq.
    7.

    pi_ref is the adapter that training began with: TRL keeps a frozen copy of it, named "ref". To switch the adapter off instead would make
    the pretrained model the reference.
    """

    def _send_telemetry(self) -> None:
        """Nobody is told."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        """It is tokens already."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        # the reference first: a switch of adapters between a pass forward and its pass backward loses gradients
        given = inputs["input_ids"], inputs["attention_mask"], inputs["completion_mask"].bool()
        with torch.no_grad():
            model.set_adapter("ref")
            try:
                reference = answer_logps(model, *given).sum(1)
            finally:
                model.set_adapter("default")
        chosen, rejected = (answer_logps(model, *given).sum(1) - reference).chunk(2)
        return -torch.nn.functional.logsigmoid(self.beta * (chosen - rejected)).mean()


def sft_trainer(model: Any, tokenizer: Any, columns: Mapping[str, list[Any]], recipe: Recipe, folder: str, **given: Any) -> Sft:
    """columns: input_ids and labels."""
    config = SFTConfig(max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **_arguments(recipe, folder, MICRO))
    return Sft(model, config, train_dataset=Dataset.from_dict(dict(columns)), processing_class=tokenizer, **given)


def dpo_trainer(
    model: Any, tokenizer: Any, columns: Mapping[str, list[Any]], recipe: Recipe, folder: str, beta: float = 0.1, **given: Any
) -> Dpo:
    """columns: prompt_ids, chosen_ids, rejected_ids."""
    config = DPOConfig(max_length=None, beta=beta, **_arguments(recipe, folder, MICRO // 2))
    return Dpo(model, None, config, train_dataset=Dataset.from_dict(dict(columns)), processing_class=tokenizer, **given)


def _arguments(recipe: Recipe, folder: str, most: int) -> dict[str, Any]:
    micro = max(n for n in range(1, most + 1) if recipe.batch % n == 0)  # examples in one pass
    return {
        "output_dir": folder, "num_train_epochs": 1, "per_device_train_batch_size": micro, "gradient_accumulation_steps": recipe.batch // micro,
        "max_grad_norm": recipe.clip, "learning_rate": recipe.lr, "bf16": recipe.dtype == "bfloat16", "use_cpu": recipe.device == "cpu",
        "seed": recipe.seed, "train_sampling_strategy": "sequential", "gradient_checkpointing": False, "dataloader_pin_memory": False,
        "save_strategy": "no", "eval_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_steps": 1,
        "logging_nan_inf_filter": False, "log_level": "error",
    }  # fmt: skip


def run(
    make: Callable[..., Any],
    model: Any,
    tokenizer: Any,
    columns: Mapping[str, list[Any]],
    recipe: Recipe,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[float], float]:
    """Train the model's adapter "default" on examples in the order they are seen: (loss of each step, seconds).

    make: sft_trainer or dpo_trainer. Inside `checkpointing` it goes on from where a checkpoint stands. Raises EvenhandError when the loss
    is no number any more.
    """
    steps = math.ceil(len(next(iter(columns.values()))) / recipe.batch)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=recipe.lr, weight_decay=0.0)
    losses = _Losses()
    start = {"adapter": digest(list(trained.values())), "examples": _digest(columns)}
    with TemporaryDirectory() as folder, calm():
        trainer = make(model, tokenizer, columns, recipe, folder, optimizers=(optimiser, None))
        # DPO's reference is a copy of the adapter that the trainer has just made: only now may a checkpoint move the adapter
        record = begun({"adapter": _Weights(trained), "losses": losses}, {"optimiser": _Optimiser(optimiser)}, lambda: start)
        done = len(losses.values)
        if done < steps:
            if done:
                trainer.train_dataset = Dataset.from_dict({name: rows[done * recipe.batch :] for name, rows in columns.items()})
            trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: recipe.share(done + step, steps))
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(_Steps(losses, record, progress, steps))
            trainer.train()
    if record is not None:
        record.finish()
    return losses.values, losses.seconds


def _digest(columns: Mapping[str, list[Any]]) -> str:
    flat = [x for rows in columns.values() for row in rows for x in (*row, -1)]
    return digest([torch.tensor(flat, dtype=torch.int64)])


class _Weights:
    """The adapter, by the names of its parameters."""

    def __init__(self, parameters: Mapping[str, Tensor]):
        self.parameters = parameters

    def state(self) -> State:
        return {name: p.detach() for name, p in self.parameters.items()}

    def load(self, state: State) -> None:
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(state[name])


class _Optimiser:
    def __init__(self, optimiser: torch.optim.Optimizer):
        self.optimiser = optimiser

    def state(self) -> State:
        return {str(n): dict(memory) for n, memory in self.optimiser.state_dict()["state"].items()}

    def load(self, state: State) -> None:
        moments = {int(n): memory for n, memory in state.items()}
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})


class _Losses:
    """Of every step so far, and how long all of them took."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.seconds = 0.0

    def state(self) -> State:
        return {"values": list(self.values), "seconds": self.seconds}

    def load(self, state: State) -> None:
        self.values, self.seconds = list(state["values"]), float(state["seconds"])


class _Steps(TrainerCallback):
    """After each step: its loss is kept, its checkpoint written where that is due, and progress told."""

    def __init__(self, losses: _Losses, record: Record | None, progress: Callable[[int, int], None] | None, steps: int):
        self.losses, self.record, self.progress, self.steps = losses, record, progress, steps
        self.began = time.monotonic()
        self.watched = Watched(len(losses.values), steps, True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise EvenhandError(
                f"The loss is no number after {len(self.losses.values)} steps of {self.steps}. Expected: one that falls. To do: give a lower "
                "learning rate, or float32."
            )
        now = time.monotonic()
        self.losses.values.append(float(logs["loss"]))
        self.losses.seconds += now - self.began
        self.began = now
        self.watched.at_step(len(self.losses.values), self.losses.values[-1], math.nan)
        if self.record is not None:
            self.record.step()
        if self.progress is not None:
            self.progress(len(self.losses.values), self.steps)

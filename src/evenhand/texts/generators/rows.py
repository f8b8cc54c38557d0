"""Many texts at once from one language model: rows of a fixed batch, each of which takes the next prompt as soon as its text has ended.

A prompt is read alone, so that what it becomes depends on nothing else; texts of one prompt share it. Then all rows take a token a step,
each at its own place of one cache. A pass always has a multiple of 16 rows and of 64 places, whoever sits in them, and places that are not
a row's own add zeros at the end of its sums: in bfloat16 and float32 on a CPU a text came out the same in every batch of 16 to 64 rows and
in every order (benchmarks/generation.py counts it). Where arithmetic of a device depends on the rows beside, so may a text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evenhand.texts.generators.drawing import drawn, numbers
from evenhand.texts.generators.generator import Sampling

GROUP, PLACES = 16, 64  # rows and places come in multiples of these
CACHE_BYTES = 4 * 2**30  # of all rows


@dataclass(frozen=True)
class Task:
    """tokens: of the prompt."""

    number: int
    tokens: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Written:
    """tokens of the text, without the one that ended it; whole: whether one did."""

    number: int
    tokens: tuple[int, ...]
    whole: bool


def written(model: Any, tasks: Sequence[Task], sampling: Sampling, ends: frozenset[int], most_rows: int) -> Iterator[Written]:
    """The text of each task, as they end. model: a causal one of transformers, in evaluation. Prompts of like length come together; memory
    is bounded by rows of these lengths.
    """
    by_room: dict[int, list[Task]] = {}
    for task in tasks:
        by_room.setdefault(_room(len(task.tokens) + sampling.max_tokens), []).append(task)
    for room in sorted(by_room):
        yield from _Batch(model, sampling, ends, room).run(by_room[room], most_rows)


def _room(places: int) -> int:
    """The power of two that holds them."""
    return max(4 * PLACES, 1 << (places - 1).bit_length())


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


class _Layer:
    """Keys and values of all rows in one layer, as transformers' caches have them: [rows, heads, places, dim]."""

    is_sliding = False
    is_compileable = False
    is_initialized = True

    def __init__(self, keys: Tensor, values: Tensor, rows: int, room: int):
        """keys, values: of some prompt, for their shapes."""
        self.keys, self.values = (t.new_zeros(rows, t.shape[1], room, t.shape[3]) for t in (keys, values))
        self.every = torch.arange(rows, device=keys.device)
        self.at = self.every
        self.length = 0

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.keys[self.every, :, self.at] = keys[:, :, 0]
        self.values[self.every, :, self.at] = values[:, :, 0]
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def take(self, rows: Tensor) -> None:
        self.keys, self.values, self.every = self.keys[rows], self.values[rows], self.every[: len(rows)]

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])

    def get_mask_sizes(self, _: int) -> tuple[int, int]:
        return self.length, 0


class _Batch:
    def __init__(self, model: Any, sampling: Sampling, ends: frozenset[int], room: int):
        self.model, self.sampling, self.ends, self.room = model, sampling, ends, room
        self.layers: list[_Layer] = []
        self.said: list[list[int]] = []  # by row
        self.task: list[Task | None] = []
        self.numbers: list[Any] = []
        self.place = torch.zeros(0, dtype=torch.long)
        self.last = torch.zeros(0, dtype=torch.long)
        self._read: tuple[tuple[int, ...], list[tuple[Tensor, Tensor]], Tensor] | None = None

    @torch.inference_mode()
    def run(self, tasks: Sequence[Task], most_rows: int) -> Iterator[Written]:
        waiting = deque(tasks)
        keys_values, _ = self._prompt(waiting[0].tokens)
        self._open(keys_values, min(most_rows, len(tasks)))
        while waiting or any(self.task):
            for row, task in enumerate(self.task):
                while task is None and waiting:
                    yield from self._seat(row, waiting.popleft())
                    task = self.task[row]
            if not waiting:
                self._close_up()
            if any(self.task):
                yield from self._step()

    def _open(self, keys_values: Sequence[tuple[Tensor, Tensor]], rows: int) -> None:
        a_row = sum(t.shape[1] * t.shape[3] * t.element_size() for pair in keys_values for t in pair) * self.room
        rows = max(1, min(_up(rows, GROUP), CACHE_BYTES // a_row))
        rows = rows // GROUP * GROUP or rows
        self.layers = [_Layer(k, v, rows, self.room) for k, v in keys_values]
        self.said, self.task, self.numbers = [[] for _ in range(rows)], [None] * rows, [None] * rows
        self.place = torch.zeros(rows, dtype=torch.long)
        self.last = torch.zeros(rows, dtype=torch.long)

    def _prompt(self, tokens: tuple[int, ...]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Keys and values of every layer, and the logits of the next token; kept for further texts of the same prompt."""
        if self._read is None or self._read[0] != tokens:
            ids = torch.tensor([tokens], device=self.model.device)
            said = self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            self._read = tokens, [(layer.keys, layer.values) for layer in said.past_key_values.layers], said.logits[:, -1]
        return self._read[1:]

    def _seat(self, row: int, task: Task) -> Iterator[Written]:
        """The row begins with this task: its prompt into the cache, and its first token."""
        keys_values, logits = self._prompt(task.tokens)
        length = len(task.tokens)
        for layer, (keys, values) in zip(self.layers, keys_values):
            layer.keys[row, :, :length], layer.values[row, :, :length] = keys[0], values[0]
        own = numbers(task.seed, self.sampling.max_tokens)
        self.task[row], self.said[row], self.numbers[row] = task, [], own
        first = drawn(logits.cpu(), torch.tensor([own[0]]), self.sampling.temperature, self.sampling.top_p)
        self.place[row], self.last[row] = length, first[0]
        yield from self._said(row, int(first))

    def _said(self, row: int, token: int) -> Iterator[Written]:
        task = self.task[row]
        assert task is not None
        ended = token in self.ends
        if not ended:
            self.said[row].append(token)
        if ended or len(self.said[row]) == self.sampling.max_tokens:
            self.task[row], self.place[row] = None, 0
            yield Written(task.number, tuple(self.said[row]), ended)

    def _close_up(self) -> None:
        """Rows that are done leave, in groups."""
        sat = [row for row, task in enumerate(self.task) if task is not None]
        few = _up(len(sat), GROUP)
        if not sat or few >= len(self.task):
            return
        free = [row for row, task in enumerate(self.task) if task is None]
        keep = [*sat, *free[: few - len(sat)]]
        rows = torch.tensor(keep)
        for layer in self.layers:
            layer.take(rows.to(layer.keys.device))
        self.place, self.last = self.place[rows], self.last[rows]
        self.task, self.said = [self.task[r] for r in keep], [self.said[r] for r in keep]
        self.numbers = [self.numbers[r] for r in keep]

    def _step(self) -> Iterator[Written]:
        """One more token of every row."""
        from transformers.cache_utils import Cache

        device = self.layers[0].keys.device
        place = self.place.to(device)
        length = min(_up(int(self.place.max()) + 1, PLACES), self.room)
        for layer in self.layers:
            layer.at, layer.length = place, length
        own = torch.arange(length, device=device)[None] <= place[:, None]
        mask = torch.zeros(own.shape, dtype=self.model.dtype, device=device).masked_fill_(~own, torch.finfo(self.model.dtype).min)
        logits = self.model(
            input_ids=self.last.to(device)[:, None],
            attention_mask=mask[:, None, None],
            position_ids=place[:, None],
            past_key_values=Cache(layers=list[Any](self.layers)),
            use_cache=True,
        ).logits[:, -1]
        number = [0.0 if task is None else own_[len(said)] for task, own_, said in zip(self.task, self.numbers, self.said)]
        token = drawn(logits, torch.tensor(number, device=device), self.sampling.temperature, self.sampling.top_p).cpu()
        sat = torch.tensor([task is not None for task in self.task])
        self.place += sat
        self.last = torch.where(sat, token, 0)
        for row, said in enumerate(token.tolist()):
            if self.task[row] is not None:
                yield from self._said(row, said)

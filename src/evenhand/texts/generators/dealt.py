"""One language model in many processes, or on many machines: requests are dealt to the workers of an engine, each with the model in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from evenhand.core import EvenhandError
from evenhand.engines import Engine, Lost
from evenhand.texts.generators.generator import Answer, Request, Sampling
from evenhand.texts.generators.language_model import LanguageModel


@dataclass(frozen=True)
class Dealt:
    """The texts are those of the model alone, since each follows from its request (see `rows.py`)."""

    model: LanguageModel
    engine: Engine
    gpu: bool = False  # the model lies on a GPU, of which each worker needs one

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        size = self.model.rows
        pieces = [requests[at : at + size] for at in range(0, len(requests), size)]
        for number, answers in self.engine.run(partial(_writes, self.model, sampling), pieces, gpu=self.gpu):
            if isinstance(answers, Lost):
                raise EvenhandError(
                    f"{len(pieces[number])} texts were given up: {answers.why}. Expected: workers with room for the model. To do: fewer --jobs, or machines with more "
                    "memory; the same command goes on with what is left."
                )
            yield from ((number * size + i, answer) for i, answer in answers)


def _writes(model: LanguageModel, sampling: Sampling) -> Callable[[Sequence[Request]], list[tuple[int, Answer]]]:
    return lambda requests: list(model.generate(requests, sampling))

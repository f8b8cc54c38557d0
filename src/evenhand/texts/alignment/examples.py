"""What is learned from, in TRL's conversational format, as `select` writes it: JSON lines.

{"prompt": [{"role": "user", "content": "…"}], "completion": [{"role": "assistant", "content": "…"}]}                     SFT
{"prompt": […], "chosen": [{"role": "assistant", "content": "…"}], "rejected": [{"role": "assistant", "content": "…"}]}   DPO
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.core import DataError, EvenhandError, clip
from evenhand.encode.chat import Chat

SFT, DPO = ("completion",), ("chosen", "rejected")
Messages = tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Examples:
    """prompts[n]: messages. answers[a][n]: texts, one list for each of `columns`. sha256: of the file."""

    columns: tuple[str, ...]
    prompts: tuple[Messages, ...]
    answers: tuple[tuple[str, ...], ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.prompts)


def read_examples(path: Path, columns: tuple[str, ...]) -> Examples:
    """columns: SFT or DPO. Raises DataError with the line for what is not of that form, and for a file without any."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EvenhandError(
            f"'{clip(path.name)}' cannot be read: {error.strerror}. Expected: examples as evenhand select writes them. To do: check the path."
        ) from error
    prompts: list[Messages] = []
    answers: tuple[list[str], ...] = tuple([] for _ in columns)
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _fault("the line is not JSON", columns, path, number) from error
        prompts.append(_messages(row, "prompt", columns, path, number))
        for texts, column in zip(answers, columns):
            said = _messages(row, column, columns, path, number)
            if len(said) != 1 or said[0]["role"] != "assistant" or not said[0]["content"].strip():
                raise _fault(f"{column} is not one answer of the assistant", columns, path, number)
            texts.append(said[0]["content"])
    if not prompts:
        raise DataError("there is no example in it", expected="one or more", remedy="select texts first", file=path.name)
    return Examples(columns, tuple(prompts), tuple(map(tuple, answers)), hashlib.sha256(raw).hexdigest())


def _messages(row: Any, column: str, columns: tuple[str, ...], path: Path, number: int) -> Messages:
    said = row.get(column) if isinstance(row, dict) else None
    if not isinstance(said, list) or not said:
        raise _fault(f"there is no list of messages in {column}", columns, path, number)
    for message in said:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise _fault(f"a message of {column} has no role or no content", columns, path, number)
    return tuple({"role": m["role"], "content": m["content"]} for m in said)


def _fault(found: str, columns: tuple[str, ...], path: Path, number: int) -> DataError:
    expected = f"an object with prompt, {' and '.join(columns)}, each a list of messages with role and content"
    return DataError(found, expected=expected, remedy="mend the line, or select again", file=path.name, line=number)


@dataclass(frozen=True)
class Tokenized:
    """Examples as tokens. prompt[n] and answers[a][n]: lists of int. cut: answers or prompts that lost tokens to the limit."""

    prompt: list[list[int]]
    answers: list[list[list[int]]]
    cut: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example with its longest answer."""
        longest = [max(map(len, several)) for several in zip(*self.answers)]
        return [len(p) + most for p, most in zip(self.prompt, longest)]

    @property
    def tokens(self) -> int:
        """Of all answers: what the loss is of."""
        return sum(len(ids) for answers in self.answers for ids in answers)


def tokenized(examples: Examples, chat: Chat) -> Tokenized:
    """By the one formatting of training, scoring and serving. Answers of one example share its prompt, cut alike."""
    n, several = len(examples), len(examples.columns)
    prompts = list(examples.prompts) * several
    texts = [text for column in examples.answers for text in column]
    made = chat.tokens(prompts, texts)
    cut = sum(bool(f.dropped) for f in made)
    # a prompt that was cut for the longer answer is cut for the other one too: else the two would be told apart by it
    shortest = [min((made[a * n + i].prefix for a in range(several)), key=len).tolist() for i in range(n)]
    return Tokenized(shortest, [[made[a * n + i].own.tolist() for i in range(n)] for a in range(several)], cut)

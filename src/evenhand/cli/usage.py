"""What was typed and is no value, option or verb, told as all errors are: found, expected, what to do."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperGroup
from typer.models import OptionInfo

from evenhand.cli.inputs import typed
from evenhand.core import EvenhandError, clip

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # the library exports no name of it


class Verbs(TyperGroup):
    """The verbs. Words that none of them takes raise EvenhandError in place of the library's own errors."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            return super().parse_args(ctx, args)  # an error of the library's that shows the help
        with _plainly():
            self._none_empty(args)
            return super().parse_args(ctx, args)

    def _none_empty(self, args: list[str]) -> None:
        """Raises EvenhandError for an option with nothing behind it, as of a shell's variable that is not set: as a path it would be this folder.

        Numbers and choices are told by their type, and where nothing is the default it is taken.
        """
        verb = next((self.commands[word] for word in args if word in self.commands), None)
        empty = {word for word, after in pairwise(args) if not after} | {word[:-1] for word in args if word.endswith("=")}
        for option in verb.params if verb is not None else ():
            for name in empty.intersection(option.opts):
                if {str, Path} & {*_kinds(verb, option)} and option.default != "":
                    raise EvenhandError(
                        f"Found {name} {typed('')}. Expected: a name, a path or a text behind it. To do: give one, or leave {name} out."
                    )

    def invoke(self, ctx: Any) -> Any:
        with _plainly():
            return super().invoke(ctx)


@contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise EvenhandError(_sentence(error)) from error


def _sentence(error: Any) -> str:
    command, usage = "evenhand", "words as the help lists them."
    if error.ctx is not None:
        command, usage = error.ctx.command_path, " ".join(error.ctx.get_usage().split()).removeprefix("Usage: ")
    if type(error) is typer.BadParameter and error.param is not None:
        option = max(error.param.opts, key=len)
        found = f"Found {' '.join([option, *_typed(error.param.opts)])}"
        return f"{found}. Expected: {_expected(error)}. To do: correct it, or leave it out; {command} --help says what it is."
    return f"{_ended(clip(error.format_message(), 300))} Expected: {_ended(usage)} To do: see {command} --help."


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _typed(options: list[str]) -> list[str]:
    """The values that stand after an option."""
    words = sys.argv[1:]
    after = [words[i + 1] for i, word in enumerate(words[:-1]) if word in options]
    return [typed(value) for value in after + [w.partition("=")[2] for w in words if w.partition("=")[0] in options and "=" in w]]


def _kinds(verb: Any, option: Any) -> list[Any]:
    """What the annotation of an option names, of the function that is the verb."""
    given = inspect.signature(verb.callback).parameters[option.name].annotation
    return [kind for part in get_args(given) for inner in (part, *get_args(part)) for kind in (inner, *get_args(inner))]


def _expected(error: Any) -> str:
    """What an option takes, by its type as the verb has it."""
    kinds = _kinds(error.ctx.command, error.param)
    info = next(part for part in kinds if isinstance(part, OptionInfo))
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            *first, last = (str(choice.value) for choice in kind)
            return f"{', '.join(first)} or {last}"
        if kind in (int, float):
            number = "a whole number" if kind is int else "a number"
            if info.max is not None:
                return f"{number} from {info.min} to {info.max}"
            return number if info.min is None else f"{number}, {info.min} or more"
    return str(error.message).rstrip(".")

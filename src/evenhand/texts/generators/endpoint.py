"""Any OpenAI-compatible server that writes texts: POST URL/v1/chat/completions, several requests at once, each asked again after a while
where that may help. The token comes from the environment alone and goes into one header, nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from queue import SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from evenhand.core import EvenhandError, clip
from evenhand.texts.generators.asking import Unanswered, asked
from evenhand.texts.generators.generator import Answer, Request, Sampling

TOKEN = "EVENHAND_TOKEN"  # noqa: S105 (the name of the variable)
TRIES = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; doubled from try to try
IN_A_ROW = 10  # requests that fail, each after all its tries, before no more are asked
LONGEST_ANSWER = 100_000  # characters
EMPTY = "empty answer"


@dataclass(frozen=True)
class Endpoint:
    """url: with or without /v1. model: the name that the server knows; None = the only one that it lists. parallel: requests at once.
    timeout: seconds for one answer. wait: sleeps so many seconds between tries.
    """

    given: str
    model: str | None = None
    parallel: int = 8
    timeout: float = 120.0
    wait: Callable[[float], None] = field(default=time.sleep, repr=False)
    _reported: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        shown = clip(re.split("[?#]", self.given.rpartition("@")[2])[0])
        parts = urlsplit(self.given)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise EvenhandError(
                f"Found --endpoint {shown}. Expected: http://HOST:PORT or https://HOST, without user, password or query. To do: correct it; a token "
                f"is read from the environment variable {TOKEN}."
            )
        if not 1 <= self.parallel <= 256:
            raise EvenhandError(f"Found --parallel {self.parallel}. Expected: 1 to 256. To do: correct it, or leave it out.")
        if not 0 < self.timeout <= 3600:
            raise EvenhandError(
                f"Found --timeout {self.timeout:g}. Expected: above 0, 3,600 seconds at most. To do: correct it, or leave it out."
            )

    @property
    def url(self) -> str:
        """With /v1, without what follows it."""
        bare = self.given.rstrip("/").removesuffix("/chat/completions")
        return bare if bare.endswith("/v1") else f"{bare}/v1"

    @property
    def name(self) -> str:
        return self.served

    @property
    def fingerprint(self) -> str:
        """SHA-256 of address and name: what weights a server has, it does not say."""
        return hashlib.sha256(f"{self.url} {self.served}".encode()).hexdigest()

    @property
    def reported(self) -> list[str]:
        """The names of models that the server gave with its answers."""
        return sorted(self._reported)

    @cached_property
    def served(self) -> str:
        """The name of the model. Raises EvenhandError where none was given and the server does not list exactly one."""
        if self.model is not None:
            return self.model
        try:
            said = asked(f"{self.url}/models", None, _token(), self.timeout)
            names = [str(entry["id"]) for entry in said["data"]]
        except (Unanswered, KeyError, TypeError) as error:
            why = error.why if isinstance(error, Unanswered) else "its list of models cannot be read"
            raise self._refused(f"{why}", "a server that lists its models", "check the address, or name the model with --model") from error
        if len(names) != 1:
            shown = clip(", ".join(names[:10]) or "none", 300)
            raise self._refused(f"it serves {len(names)} models ({shown})", "one model", "name one with --model")
        return names[0]

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        token, failed = _token(), 0
        due: SimpleQueue[int | None] = SimpleQueue()
        came: SimpleQueue[tuple[int, Answer | Exception]] = SimpleQueue()

        def work() -> None:
            while (at := due.get()) is not None:
                try:
                    came.put((at, self._answer(requests[at], sampling, token)))
                except Exception as error:
                    came.put((at, error))

        workers = min(self.parallel, len(requests))
        waiting = iter(range(workers, len(requests)))
        for at in range(workers):
            due.put(at)
            Thread(target=work, daemon=True).start()  # a process that is interrupted ends at once, whatever the server still owes
        try:
            for _ in requests:
                at, answer = came.get()
                if isinstance(answer, Exception):
                    raise answer
                failed = failed + 1 if answer.failed and answer.failed != EMPTY else 0
                yield at, answer
                if failed == IN_A_ROW:
                    raise self._refused(
                        f"{failed} requests in a row got no text, the last one: {answer.failed}",
                        "a server that answers",
                        "check address, token and model, and run the same command again: texts that came are kept",
                    )
                if (following := next(waiting, None)) is not None:
                    due.put(following)
        finally:
            for _ in range(workers):
                due.put(None)

    def _answer(self, request: Request, sampling: Sampling, token: str | None) -> Answer:
        body = {
            "model": self.served,
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed,
            "stream": False,
        }
        pause = FIRST_WAIT
        for left in reversed(range(TRIES)):
            try:
                return self._read(asked(f"{self.url}/chat/completions", body, token, self.timeout))
            except Unanswered as error:
                if not left or not error.again:
                    return Answer("", failed=error.why)
                pause_asked = error.after if error.after is not None else pause * random.uniform(0.5, 1.5)  # noqa: S311 (spreads tries)
                self.wait(min(pause_asked, LONGEST_WAIT))
                pause = min(2 * pause, LONGEST_WAIT)
        raise AssertionError("unreachable")

    def _read(self, said: Any) -> Answer:
        """The text of an answer. Raises Unanswered where it has none."""
        try:
            choice = said["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError) as error:
            raise Unanswered("an answer without choices", again=True) from error
        if not isinstance(text, str):
            raise Unanswered("an answer whose content is no text", again=True)
        if len(text) > LONGEST_ANSWER:
            raise Unanswered(f"a text of over {LONGEST_ANSWER:,} characters", again=False)
        if isinstance(name := said.get("model"), str):
            self._reported.add(clip(name, 200))
        usage = said.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        whole = choice.get("finish_reason") != "length"
        text = text.encode("utf-8", "replace").decode().strip()
        return Answer(text, tokens if type(tokens) is int and 0 <= tokens < 10**9 else 0, whole, "" if text else EMPTY)

    def _refused(self, found: str, expected: str, remedy: str) -> EvenhandError:
        host = urlsplit(self.given).hostname or ""
        return EvenhandError(f"The endpoint {clip(host)} does not answer: {found}. Expected: {expected}. To do: {remedy}.")


def _token() -> str | None:
    token = os.environ.get(TOKEN) or None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise EvenhandError(f"The token in {TOKEN} cannot be sent. Expected: ASCII without spaces and line breaks. To do: set it again.")
    return token

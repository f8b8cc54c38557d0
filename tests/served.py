"""What tests and benchmarks of the server share: small models, and bodies that are wrong."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from evenhand.encode.projection import FeatureMap
from evenhand.models.attention import Attention
from evenhand.serve.guards import App
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.web.application import Limits, application

COLOURS, THINGS = ["red", "green", "blue", "dark", "pale"], ["house", "hat", "tree", "boat", "roof", "wall", "door"]
TEXTS = [f"{COLOURS[i % 5]} {THINGS[i % 7]}" for i in range(35)]
HISTORIES = {"ann": [("", "green hat", "dark boat"), ("", "pale roof", "red house")], "7": [("", "red door", "blue tree")]}
SECRET = "Zanzibar-4711"  # stands in every text that is sent where replies and logs are searched for it
PATHS = ("/classify", "/get_reward", "/v1/score")


def small(with_prompt: bool = False, encoder: Gate | None = None) -> RewardModel:
    """A model on hashed words (and on the encoder's vectors) whose users differ."""
    features = FeatureMap.fit(TEXTS, None if encoder is None else encoder.encode(TEXTS), dim=4)
    head = Attention(rank=2)
    scorer = head.build(4, 0)
    with torch.no_grad():
        scorer.b += torch.arange(4.0)  # type: ignore[operator,attr-defined]
    return RewardModel(encoder, features, head, scorer, with_prompt)


class Gate:
    """An encoder that waits while it is shut, tells what it read, and breaks on a text with "break"."""

    name, dim, max_tokens, chunked = "gate", 3, 6, False
    fingerprint = hashlib.sha256(b"gate").hexdigest()

    def __init__(self) -> None:
        self.read: list[list[str]] = []
        self.waits, self.open = threading.Event(), threading.Event()
        self.open.set()

    def encode(self, texts: Sequence[str], progress: Any = None) -> np.ndarray:
        self.read.append([str(text) for text in texts])
        self.waits.set()
        self.open.wait(30)
        if any("break" in text for text in texts):
            raise ZeroDivisionError(f"broke on {texts[0]}")
        digests = [hashlib.sha256(text.encode()).digest()[:3] for text in texts]
        return np.array([[b / 255 for b in digest] for digest in digests], np.float32).reshape(-1, 3)

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], np.int64)


def served(model: RewardModel, log: Callable[[str], None] = lambda line: None, **more: Any) -> App:
    """On loopback; Schemathesis calls it testserver."""
    limits = Limits(**{k: more.pop(k) for k in ("most_tokens", "most_waiting", "seconds", "most_users") if k in more})
    settings: dict[str, Any] = {"host": "127.0.0.1", "token": None, "names": ["testserver"], **more}
    return application(model, "tiny", HISTORIES, limits=limits, log=log, **settings)


# Bodies that are wrong

GOOD: dict[str, list[dict[str, Any]]] = {
    "/classify": [{"model": "m", "input": [SECRET, "b"], "user": "ann", "use_activation": False}, {"messages": [{"role": "assistant", "content": SECRET}]}],
    "/get_reward": [{"query": [f"p {SECRET}"], "prompts": ["p "], "labels": ["ann"]}],
    "/v1/score": [
        {"responses": [SECRET, [{"role": "assistant", "content": "b"}]], "prompts": ["p", "q"], "users": ["ann", None]},
        {"messages": [[{"role": "assistant", "content": SECRET}]], "history": [{"prompt": "", "chosen": SECRET, "rejected": "c"}]},
    ],
}  # fmt: skip
WRONG: list[Any] = [None, True, -1, 0.5, 10**30, "", [], {}, [[]], [None], {"a": SECRET}, [{"role": 1, "content": SECRET}], [{"content": SECRET}],
                    "\ud800", "\x00", "user: " + " " * 3000 + "x", [SECRET] * 300, [[{"role": "user", "content": {"a": SECRET}}]],
                    [{"chosen": SECRET}], "[{'role': " + "[" * 300, ["word " * 5000]]  # fmt: skip


def malformed(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(path, body): good bodies with a value, a key or bytes that are not. Some are still right."""
    draw = random.Random(seed)
    for _ in range(count):
        path = draw.choice(PATHS)
        body = copy.deepcopy(draw.choice(GOOD[path]))
        kind = draw.randrange(6)
        if kind <= 2:
            places = list(_places(body))
            inside, key = draw.choice(places)
            inside[key] = copy.deepcopy(draw.choice(WRONG))
        elif kind == 3:
            body[draw.choice([SECRET, "input", "messages", "query", "users", "", "truncate_prompt_tokens"])] = draw.choice(WRONG)
        raw = json.dumps(body).encode()
        if kind == 4:
            place = draw.randrange(len(raw))
            raw = (
                raw[:place]
                + draw.choice([b"", b"\xff", b"\x00", b'"', b"{", b"NaN", b"1e999", b"9" * 5000, b"[" * 2000])
                + raw[place + draw.randrange(5) :]
            )
        elif kind == 5:
            raw = draw.choice(
                [
                    raw[: draw.randrange(len(raw))],
                    b"[" * 100_000,
                    b'{"a":' * 50_000,
                    draw.randbytes(50),
                    b"9" * 5000,
                    b"NaN",
                    b'"' + b"\\ud800" * 9 + b'"',
                ]
            )
        yield path, raw


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)

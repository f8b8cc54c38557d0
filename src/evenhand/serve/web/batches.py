"""Requests of many clients, scored together by one thread: torch runs in it alone, and every distinct text of a batch is encoded once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from queue import Empty, Full, Queue
from threading import Thread

import numpy as np

from evenhand.core import EvenhandError
from evenhand.encode.prompted import item_text
from evenhand.serve.asked import Choice, Said, has_text, histories_read, items_read
from evenhand.serve.states import UserStates

MOST_ITEMS = 256  # of a batch, after which it takes no further request: responses, and pairs of histories that came along
LINGER = 0.004  # seconds that a batch waits for a second request
IDLE = 30.0  # seconds without a request after which states that are too old are let go, as they are with every batch


class Busy(Exception):
    """The queue is full. seconds: after which there should be room."""

    def __init__(self, seconds: int):
        super().__init__("the queue is full")
        self.seconds = seconds


@dataclass(frozen=True)
class Rewards:
    """rewards float32[n]; nan where the response holds no text. tokens int64[n] of each prompt and response as read; words
    where the model has no tokens. cut bool[n]: not read whole.
    """

    rewards: np.ndarray
    tokens: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True, eq=False)
class Work:
    """One request: owner[i] is the place in `histories` of whom responses[i] is scored for. given: a history that came with the request."""

    histories: Sequence[Sequence[Choice]]
    owner: Sequence[int]
    prompts: Sequence[Said]
    responses: Sequence[Said]
    given: Sequence[Choice] = ()
    done: Future[Rewards] = field(default_factory=Future)


class Batches:
    """A queue of at most `most_waiting` requests, and the thread that empties it.

    most_tokens: of an item, and of a text of a history that is sent. A request that is wrong fails alone, whatever it was batched with.
    told(n): called with the items of every batch that was scored.
    """

    def __init__(self, states: UserStates, *, most_tokens: int, most_waiting: int, told: Callable[[int], None] = lambda n: None):
        self._states, self._most_tokens, self._told = states, most_tokens, told
        self._queue: Queue[Work | None] = Queue(most_waiting)
        self._pace = 0.0  # seconds a request, a running mean
        self._thread = Thread(target=self._run, name="evenhand scores", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def ask(self, work: Work) -> Future[Rewards]:
        """Its rewards, once they are there: a Future that raises EvenhandError if the work is wrong; cancelled, it is not scored. Raises Busy."""
        try:
            self._queue.put_nowait(work)
        except Full:
            raise Busy(min(60, max(1, math.ceil(self.waiting * self._pace)))) from None
        return work.done

    def close(self) -> None:
        """Score what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            batch, goes_on = self._next()
            start = time.monotonic()
            ready = [work for work in batch if work.done.set_running_or_notify_cancel()]
            self._score(ready)
            if ready:
                self._pace += 0.1 * ((time.monotonic() - start) / len(ready) - self._pace)

    def _next(self) -> tuple[list[Work], bool]:
        """The next batch, and whether there will be another one."""
        batch: list[Work] = []
        until = math.inf
        while sum(len(work.owner) + len(work.given) for work in batch) < MOST_ITEMS:
            try:
                work = self._queue.get(timeout=max(0.0, until - time.monotonic()) if batch else IDLE)
            except Empty:
                if batch:
                    break
                self._states.clean()
                continue
            if work is None:
                return batch, False
            until = min(until, time.monotonic() + LINGER)
            batch.append(work)
        return batch, True

    def _score(self, works: Sequence[Work]) -> None:
        checked: list[Work] = []
        tokens: list[np.ndarray] = []
        said: list[np.ndarray] = []
        for work in works:
            try:
                counts, texts = self._checked(work)
                tokens.append(counts)
                said.append(texts)
                checked.append(work)
            except Exception as error:
                work.done.set_exception(error)
        try:
            rewards = self._together(checked, said)
        except Exception:
            for work, own, texts in zip(checked, tokens, said):  # whose fault it is shows when each is alone
                try:
                    self._end(work, self._together([work], [texts])[0], own)
                except Exception as error:
                    work.done.set_exception(error)
            return
        for work, own, found in zip(checked, tokens, rewards):
            self._end(work, found, own)

    def _together(self, works: Sequence[Work], said: Sequence[np.ndarray]) -> list[np.ndarray]:
        """said: of each work, which of its responses hold text, bool[n]."""
        if not works:
            return []
        states = self._states.of([history for work in works for history in work.histories])
        before = accumulate((len(work.histories) for work in works), initial=0)
        owner = [first + of for first, work in zip(before, works) for of in work.owner]
        rows = np.flatnonzero(np.concatenate(said)).tolist()
        prompts = [text for work in works for text in work.prompts]
        responses = [text for work in works for text in work.responses]
        rewards = np.full(len(owner), np.nan, np.float32)
        rewards[rows] = self._states.model.score_as(
            states, [owner[i] for i in rows], [prompts[i] for i in rows], [responses[i] for i in rows]
        )
        self._told(len(owner))
        return np.split(rewards, np.cumsum([len(work.owner) for work in works])[:-1])

    def _end(self, work: Work, rewards: np.ndarray, tokens: np.ndarray) -> None:
        encoder = self._states.model.encoder
        cut = np.zeros(len(tokens), bool) if encoder is None or encoder.chunked else tokens > encoder.max_tokens
        work.done.set_result(Rewards(rewards, tokens, cut))

    def _checked(self, work: Work) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the items, int64[n], and whether each response holds text, bool[n]. Raises EvenhandError on what is neither text nor messages,
        or no Unicode, or has too many tokens.
        """
        items = items_read(work.prompts, work.responses)
        for place, texts in enumerate(items):
            _check_unicode(texts, f"responses[{place}], or its prompt,")
        counts = self._count([item_text(prompt, response, self._states.model.with_prompt) for prompt, response in items])
        for place, count in enumerate(counts.tolist()):
            self._check_length(count, f"responses[{place}]{' with its prompt' if self._states.model.with_prompt else ''}")
        for place, choice in enumerate(histories_read([work.given])[0]):
            _check_unicode(choice, f"history[{place}]")
            long = [text for text in choice if len(text.encode()) > self._most_tokens]  # no token is shorter than a byte
            self._check_length(int(self._count(long).max(initial=0)), f"A text of history[{place}]")
        return counts, np.array([has_text(response) for _, response in items], bool)

    def _count(self, texts: Sequence[str]) -> np.ndarray:
        encoder = self._states.model.encoder
        if encoder is None or not texts:
            return np.array([len(text.split()) for text in texts], np.int64)
        return encoder.tokens(texts)

    def _check_length(self, tokens: int, what: str) -> None:
        if tokens > self._most_tokens:
            raise EvenhandError(f"{what} has {tokens:,} tokens. Expected: at most {self._most_tokens:,}. To do: shorten it.")


def _check_unicode(texts: Sequence[str], what: str) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise EvenhandError(f"{what} holds a lone surrogate. Expected: Unicode text. To do: mend it.") from None

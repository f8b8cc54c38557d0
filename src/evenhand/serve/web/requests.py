"""Around everything else: each request gets an id, a count and a line in the log, and an error of ours is told without what it was about."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection
from uuid import uuid4

from evenhand.serve.guards import App, Message, Receive, Scope, Send
from evenhand.serve.web.measures import Measures

GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
ID = b"x-request-id"
DEFECT = "A defect of this server. Expected: an answer. To do: report it with X-Request-Id."


class Requests:
    """An ASGI application around `app`. doors: the paths that are counted and logged by name; any other could hold a user's words.

    Every answer carries X-Request-Id: the one that was sent, if it is at most 64 letters, digits, dots, dashes and underscores, else a new one.
    """

    def __init__(self, app: App, *, doors: Collection[str], measures: Measures, log: Callable[[str], None]):
        self.app, self.doors, self.measures, self.log = app, frozenset(doors), measures, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        door = scope["path"] if scope["path"] in self.doors else "other"
        given = next((value for name, value in scope["headers"] if name.lower() == ID), b"")
        id_ = given if GIVEN.fullmatch(given) else uuid4().hex.encode()
        scope["request_id"] = id_.decode()
        status, start = 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (ID, id_)]}
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:  # its text could hold a user's
            self.log(f"internal error: {type(error).__name__} {id_.decode()}")
            if not status:
                await _defect(answer)
        seconds = time.perf_counter() - start
        self.measures.requests.labels(door, status or 499).inc()  # 499: the client left
        self.measures.seconds.labels(door).observe(seconds)
        self.log(f"{door} {status or 499} {1e3 * seconds:.0f} ms {id_.decode()}")


async def _defect(send: Send) -> None:
    content = json.dumps({"error": DEFECT}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": content})

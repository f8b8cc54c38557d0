"""A server of this package from its socket to its end: what every application is run with."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from evenhand.core import EvenhandError, clip
from evenhand.serve.guards import App

HEAD_SECONDS = 10.0  # for the head of a request, from its first byte or the connection's beginning
MOST_CONNECTIONS = 4096  # where the system allows so many files


def listen(app: App, host: str, port: int, *, told: Callable[[str], None], seconds: float) -> None:
    """Answer until SIGTERM or SIGINT. Requests under way are finished, for which there are `seconds`; after SIGINT comes KeyboardInterrupt.

    port: 0 takes a free one. told: called with the address once the server answers. Raises EvenhandError where it cannot listen there.
    """
    import uvicorn

    bound = _socket(host, port)
    most = _files() - 100  # of which the program itself needs some
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            told(address)

    config = uvicorn.Config(
        app, http=_protocol(most), ws="none", loop="asyncio", lifespan="on", interface="asgi3", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=math.ceil(seconds) + 1,
    )  # fmt: skip
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises what ended it once more: asked to end, and ended, is no error
    try:
        Server(config).run([bound])
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()


def _socket(host: str, port: int) -> socket.socket:
    try:
        if not 0 <= port < 2**16:  # `getaddrinfo` takes it for another one
            raise OverflowError
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "there is no such place"
        raise EvenhandError(
            f"Cannot listen on {clip(host)}, port {port}: {why}. Expected: an address of this machine and a free port. "
            "To do: name another --port or --host."
        ) from error
    return bound


def _files() -> int:
    """So many files may be open, raised as far as is useful."""
    if os.name == "nt":  # there is no such limit
        return MOST_CONNECTIONS + 100
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 100 if hard == resource.RLIM_INFINITY else min(hard, MOST_CONNECTIONS + 100)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_CONNECTIONS + 100 if soft == resource.RLIM_INFINITY else min(soft, MOST_CONNECTIONS + 100)


def _protocol(most: int) -> Any:
    """uvicorn's HTTP with two bounds that it lacks: a client that sends the head of a request byte by byte does not keep its connection, and of
    more than `most` connections the last are closed at once.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        _head: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.abort()
            else:
                self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._head is not None:
                self._head.cancel()

        def _wait(self) -> None:
            """A head that is not whole gets its time, once; one that is whole ends it."""
            waits = self.conn.their_state is h11.IDLE
            if waits and self._head is None:
                self._head = self.loop.call_later(HEAD_SECONDS, self._late)
            elif not waits and self._head is not None:
                self._head.cancel()
                self._head = None

        def _late(self) -> None:
            self._head = None
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return Patient

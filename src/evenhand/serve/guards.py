"""What stands before every application that evenhand serves: who may ask, from where, and how much. Pure ASGI, no framework.

A server of this package listens on loopback, where only this machine can reach it; elsewhere it asks for a token. Loopback alone keeps no
web page out: a page of any site can send requests to 127.0.0.1, and a name that first resolves to the site and then to 127.0.0.1 (DNS
rebinding) lets it read the answers. So the Host header must be a name of this server, and what a browser says of a request's origin
(Origin, Sec-Fetch-Site) must be this server or nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import os
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from evenhand.core import EvenhandError

LEAST_BYTES = 32  # of a token
VARIABLE = "EVENHAND_TOKEN"
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(:\d{1,5})?", re.ASCII)
HEADERS = {
    b"cache-control": b"no-store",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}  # of every answer that has none of its own

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """An answer in place of the application's: its status, and why in a sentence. close: the rest of the request is not read."""

    def __init__(self, status: int, why: str, *, close: bool = False, headers: Collection[tuple[bytes, bytes]] = ()):
        super().__init__(why)
        self.status, self.why, self.close, self.headers = status, why, close, list(headers)


class Guards:
    """An ASGI application that asks `app` only what passes every check. In turn:

    - Host: one header, a name of this server; on loopback `localhost` and loopback addresses, elsewhere `host` itself, `localhost` and any
      address, for a name is what rebinding needs; and `names` in both places. Ports are not compared: tunnels and containers change them
    - Origin, Sec-Fetch-Site: absent, or this server; a link from elsewhere may open a page, and nothing more
    - token, if there is one: `Authorization: Bearer TOKEN`, or `Basic` with the token for a password, for which browsers ask; in constant time
    - body: at most `most_bytes`, whole within `seconds`; `app` gets it in one piece

    Every answer carries `HEADERS`. Refusals are JSON, `{"error": …}`: 400, 401, 403, 408, 413. Websockets are closed.

    host: where the server listens. token: of `LEAST_BYTES` or more (see `allowed_host`, called here). names: further Host names, of a proxy
    before it. open_paths: paths that ask for no token, such as a health check; all other checks are made.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        token: str | None,
        most_bytes: int,
        names: Collection[str] = (),
        open_paths: Collection[str] = (),
        seconds: float = 10.0,
    ):
        allowed_host(host, token)
        self.app, self.most_bytes, self.seconds = app, most_bytes, seconds
        self.token = None if token is None else _digest(token.encode())
        self.names = {name.lower().rstrip(".") for name in (host, "localhost", *names) if name}
        self.is_local = is_loopback(host)
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                message = {**message, "headers": [*own, *((n, v) for n, v in HEADERS.items() if n not in named)]}
            await send(message)

        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except Refused as refused:
            # nobody waits for the body of a request that was refused by its head: it could come forever
            return await _refuse(answer, refused, close=refused.close or _has_body(scope))
        if body is None:
            return None
        pieces = [body]

        async def replayed() -> Message:
            return {"type": "http.request", "body": pieces.pop(), "more_body": False} if pieces else await receive()

        await self.app(scope, replayed, answer)

    def _check(self, scope: Scope) -> None:
        host = _header(scope, b"host").lower()
        named = AUTHORITY.fullmatch(host)
        if not named or not self._is_ours(named[1]):
            raise Refused(403, "The Host header names another server. Expected: a name of this one. To do: ask by the address it printed.")
        origin = _header(scope, b"origin").lower()
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            raise Refused(403, "The request comes from a page of another origin. Expected: none, or this server. To do: ask it directly.")
        site = _header(scope, b"sec-fetch-site").lower()
        opens = _header(scope, b"sec-fetch-mode") == "navigate" and _header(scope, b"sec-fetch-dest") == "document"
        if site not in ("", "same-origin", "none") and not (opens and scope["method"] in ("GET", "HEAD")):
            raise Refused(403, "A page of another site asks. Expected: this server's pages. To do: open the address itself.")
        if self.token and scope["path"] not in self.open_paths and not hmac.compare_digest(_digest(_given(scope)), self.token):
            asked = [(b"www-authenticate", b'Bearer realm="evenhand"'), (b"www-authenticate", b'Basic realm="evenhand", charset="UTF-8"')]
            told = f"No token, or a wrong one. Expected: Authorization: Bearer and what {VARIABLE} held when the server started."
            raise Refused(401, f"{told} To do: send it; in a browser it is the password, with any name.", headers=asked)

    def _is_ours(self, name: str) -> bool:
        if name.rstrip(".") in self.names:
            return True
        return is_loopback(name.strip("[]")) if self.is_local else _address(name.strip("[]")) is not None

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it; None where the client left."""
        told = f"The body is longer than {self.most_bytes:,} bytes. Expected: at most so many. To do: send less at a time."
        length = _header(scope, b"content-length") or "0"
        if not (length.isascii() and length.isdigit()):
            raise Refused(400, "Content-Length is no number. Expected: bytes of the body. To do: send it right.", close=True)
        if len(length) > 18 or int(length) > self.most_bytes:
            raise Refused(413, told, close=True)
        body = bytearray()
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self.most_bytes:
                        raise Refused(413, told, close=True)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            late = f"The body did not arrive within {self.seconds:g} seconds. Expected: all of it. To do: send it at once."
            raise Refused(408, late, close=True) from None


def allowed_host(host: str, token: str | None) -> str:
    """`host`, if a server may listen there: on loopback, or with a token. A token that is given is long enough, wherever it is needed.

    Raises EvenhandError; the token is not repeated.
    """
    make = f"{VARIABLE}=$(python -c 'import secrets; print(secrets.token_urlsafe(32))')"
    if token is not None and (len(token) < LEAST_BYTES or not (token.isascii() and token.isprintable()) or " " in token):
        found = f"The token has {len(token.encode()):,} bytes" if len(token) < LEAST_BYTES else "The token has a space or another character"
        raise EvenhandError(f"{found}. Expected: at least {LEAST_BYTES} bytes of letters, digits and signs in ASCII. To do: {make}.")
    if token is None and not is_loopback(host):
        found = f"'{host}' can be reached from other machines, and there is no token"
        raise EvenhandError(f"{found}. Expected: 127.0.0.1, or a token in the environment. To do: leave the host out, or {make}.")
    return host


def token_of_environment() -> str | None:
    """What EVENHAND_TOKEN holds; None if it is not set or empty."""
    return os.environ.get(VARIABLE) or None


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own alone. A name other than localhost may be anywhere.

    >>> [is_loopback(h) for h in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org", "")]
    [True, True, True, False, False, False]
    """
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _header(scope: Scope, name: bytes) -> str:
    """A header's value, "" where there is none. Raises Refused where there are several: then two readers may take different ones."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    if len(found) > 1:
        raise Refused(400, f"Several headers {name.decode()}. Expected: one. To do: send one.", close=True)
    return bytes(found[0]).decode("latin-1").strip() if found else ""


def _has_body(scope: Scope) -> bool:
    return any(
        name.lower() == b"transfer-encoding" or (name.lower() == b"content-length" and value != b"0") for name, value in scope["headers"]
    )


def _given(scope: Scope) -> bytes:
    """The token of the request, b"" where there is none."""
    scheme, _, value = _header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return b64decode(value.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


def _digest(token: bytes) -> bytes:
    """Of one length whatever the token's, so that comparing tells nothing of it."""
    return hashlib.sha256(token).digest()


async def _refuse(send: Send, refused: Refused, close: bool) -> None:
    content = json.dumps({"error": refused.why}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), *refused.headers]
    headers += [(b"connection", b"close")] if close else []
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})

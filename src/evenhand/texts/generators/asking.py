"""One question to a server: JSON out, JSON back, within a time and a size, without redirects; every defect has a name and says whether
asking again may help. What a server says of itself is in no message, for it may repeat what it was told.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Any

LARGEST = 4 * 2**20  # bytes of an answer
CHUNK = 2**16


class Unanswered(Exception):
    """why: for people, without anything of the server's. again: whether asking again may help. after: in how many seconds, where it says
    so.
    """

    def __init__(self, why: str, *, again: bool, after: float | None = None):
        super().__init__(why)
        self.why, self.again, self.after = why, again, after


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token is for the server that was named; and a POST that becomes a GET somewhere else is no question."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def asked(url: str, body: Any, token: str | None, timeout: float) -> dict[str, Any]:
    """The JSON object that the server answers with. body: None = GET. timeout: seconds for all of it. Raises Unanswered."""
    until = time.monotonic() + timeout
    headers = {"Accept": "application/json", "User-Agent": "evenhand"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)  # noqa: S310 (http or https)
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout) as said:
            kind = said.headers.get_content_type()
            if kind != "application/json":
                raise Unanswered("an answer that is no JSON by its content type", again=False)
            content = _content(said, until)
    except urllib.error.HTTPError as error:
        with error:
            raise _status(error.code, error.headers.get("Retry-After")) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise Unanswered("no answer in time", again=True) from None
        raise Unanswered(f"no connection ({_kind(error.reason)})", again=True) from None
    except TimeoutError:
        raise Unanswered("no answer in time", again=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"a connection that broke ({_kind(error)})", again=True) from None
    return _object(content)


def _content(stream: IO[bytes], until: float) -> bytes:
    """Whole; a server that sends a byte now and then is late as well."""
    content = b""
    while piece := stream.read1(CHUNK):  # type: ignore[attr-defined]
        content += piece
        if len(content) > LARGEST:
            raise Unanswered(f"an answer of over {LARGEST // 2**20} MB", again=False)
        if time.monotonic() > until:
            raise Unanswered("no answer in time", again=True)
    return content


def _object(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Unanswered("an answer that is no JSON object", again=True) from None
    return said


def _status(code: int, after: str | None) -> Unanswered:
    if 300 <= code < 400:
        return Unanswered(f"status {code}, a redirect, which is not followed", again=False)
    known = {401: "the token is missing or not valid", 403: "the token is not allowed to do this", 404: "no such address or model"}
    told = f"status {code}" + (f", {known[code]}" if code in known else "")
    return Unanswered(told, again=code in (408, 425, 429) or code >= 500, after=_seconds(after))


def _seconds(after: str | None) -> float | None:
    """Of Retry-After: seconds, or a date."""
    if after is None:
        return None
    if after.strip().isdecimal():
        return float(after[:10])
    try:
        return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _kind(error: object) -> str:
    """Of an error of the system, in its own words; a server's words are none."""
    if isinstance(error, OSError) and error.strerror and not error.filename:
        return error.strerror
    return type(error).__name__

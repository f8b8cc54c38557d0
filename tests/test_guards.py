"""Who may ask a server of this package: what a browser, a page of another site or a stranger sends, one request at a time."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from evenhand.core import EvenhandError
from evenhand.serve import guards
from evenhand.serve.guards import Guards, allowed_host

TOKEN = "k" * 31 + "Z"
LOCAL: dict[str, Any] = {"host": "127.0.0.1", "token": None, "most_bytes": 8}


async def echo(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"max-age=9")]})
    await send({"type": "http.response.body", "body": body})


def ask(settings, *headers, method="GET", path="/", pieces=(b"",), app=echo, kind="http"):
    """Status, body and headers of one request; its body comes in pieces, and where None stands it never goes on."""
    left, sent = list(pieces), []

    async def receive():
        if left[0] is None:
            await asyncio.sleep(60)
        piece = left.pop(0)
        return {"type": "http.disconnect"} if piece == "left" else {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    asyncio.run(Guards(app, **settings)({"type": kind, "method": method, "path": path, "headers": raw}, receive, send))
    if not sent or kind != "http":
        return sent
    return (
        sent[0]["status"],
        b"".join(m.get("body", b"") for m in sent[1:]),
        {n.decode().lower(): v.decode() for n, v in sent[0]["headers"]},
    )


def status(settings, *headers, **rest) -> int:
    return ask(settings, *headers, **rest)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_token(host):
    assert allowed_host(host, None) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "example.org", "localhost.example.org", "127.1", "::ffff:8.8.8.8"])
def test_other_hosts_need_a_token(host):
    with pytest.raises(EvenhandError, match="no token"):
        allowed_host(host, None)
    assert allowed_host(host, TOKEN) == host


@pytest.mark.parametrize("token", ["", TOKEN[1:], TOKEN[1:] + " ", "é" * 32, TOKEN + "\n"])
def test_short_or_unwritable_tokens_are_refused_everywhere_and_not_repeated(token):
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(EvenhandError) as told:
            Guards(echo, host=host, token=token, most_bytes=0)
        assert token == "" or token not in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LocalHost:1", "[::1]:8000", "localhost."])
def test_names_of_this_machine_are_answered(host):
    assert status(LOCAL, ("host", host)) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.2", "0.0.0.0", "", "localhost@evil",
             "localhost:8000:1", "[::1", "localhost/", "localhost evil", "127.0.0.1:", "x" * 9_000]
)  # fmt: skip
def test_a_name_that_was_rebound_is_not_answered(host):
    assert status(LOCAL, ("host", host)) == 403
    assert status(LOCAL | {"names": ["evil.example"]}, ("host", host)) == (200 if host.split(":")[0] == "evil.example" else 403)


def test_no_host_or_two_are_not_answered():
    assert status(LOCAL) == 403
    assert status(LOCAL, ("host", "localhost"), ("Host", "evil.example")) == 400


def test_elsewhere_addresses_are_answered_and_other_names_are_not():
    there = {"host": "0.0.0.0", "token": TOKEN, "most_bytes": 8}
    known = ("authorization", f"Bearer {TOKEN}")
    assert status(there, ("host", "192.168.1.2:80"), known) == 200
    assert status(there, ("host", "evil.example"), known) == 403
    assert status(there | {"host": "box.example"}, ("host", "box.example:80"), known) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("http://localhost:8000", 200), ("https://localhost:8000", 200), ("http://localhost:3000", 403), ("http://evil.example", 403), ("null", 403)],
)  # fmt: skip
def test_only_this_servers_own_pages_ask(origin, expected):
    assert status(LOCAL, ("host", "localhost:8000"), ("origin", origin)) == expected


def test_another_site_may_link_here_and_nothing_more():
    def of(site, mode, dest, method="GET"):
        told = {"host": "localhost", "sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        return status(LOCAL, *told.items(), method=method)

    assert of("same-origin", "cors", "empty") == of("none", "navigate", "document") == of("cross-site", "navigate", "document") == 200
    assert of("cross-site", "no-cors", "image") == of("same-site", "no-cors", "script") == of("cross-site", "navigate", "iframe") == 403
    assert of("cross-site", "navigate", "document", "POST") == 403


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("given", "expected"),
    [(f"Bearer {TOKEN}", 200), (f"bearer  {TOKEN}", 200), (basic(TOKEN), 200), ("", 401), ("Bearer", 401), (f"Bearer {TOKEN}x", 401), (TOKEN, 401),
     (f"Bearer {TOKEN[:-1]}", 401), (f"Bearer {TOKEN.lower()}", 401), (basic("x"), 401), ("Basic ????", 401), ("Bearer é", 401), (basic(TOKEN)[:-3], 401)],
)  # fmt: skip
def test_token(given, expected):
    settings = LOCAL | {"token": TOKEN}
    answer = ask(settings, ("host", "localhost"), ("authorization", given))
    assert answer[0] == expected
    if expected == 401:
        assert TOKEN not in str(answer)
        assert "www-authenticate" in answer[2]
    assert status(settings, ("host", "localhost"), ("authorization", f"Bearer {TOKEN}"), ("authorization", given)) == 400


def test_tokens_are_compared_in_constant_time(monkeypatch):
    """Both sides have one length whatever was given, and the comparison is the library's."""
    seen = []
    monkeypatch.setattr(guards.hmac, "compare_digest", lambda a, b: seen.append((a, b)) or False)
    for given in ("", "x", TOKEN):
        assert status(LOCAL | {"token": TOKEN}, ("host", "localhost"), ("authorization", f"Bearer {given}")) == 401
    assert {len(side) for pair in seen for side in pair} == {32}
    assert len({a for a, _ in seen}) == 3


def test_open_paths_need_no_token_but_all_else():
    settings = LOCAL | {"token": TOKEN, "open_paths": ["/healthz"]}
    assert status(settings, ("host", "localhost"), path="/healthz") == 200
    assert status(settings, ("host", "localhost"), path="/healthz/") == 401
    assert status(settings, ("host", "evil.example"), path="/healthz") == 403


def test_bodies_are_bounded_by_what_they_say_and_by_what_they_are():
    at = ("host", "localhost")
    assert ask(LOCAL, at, pieces=(b"1234", b"5678"))[:2] == (200, b"12345678")
    assert status(LOCAL, at, pieces=(b"1234", b"56789")) == 413
    assert status(LOCAL, at, ("content-length", "9"), pieces=(None,)) == 413  # none of it is read
    assert status(LOCAL, at, ("content-length", "9" * 5_000)) == 413
    assert status(LOCAL, at, ("content-length", "-1")) == status(LOCAL, at, ("content-length", "²")) == 400
    assert status(LOCAL | {"seconds": 0.02}, at, pieces=(b"1", None)) == 408
    assert ask(LOCAL, at, pieces=(b"1", "left")) == []


def test_answers_say_that_nobody_else_may_keep_or_embed_them():
    for headers, expected in ([("host", "localhost")], 200), ([("host", "evil.example")], 403):
        code, body, found = ask(LOCAL, *headers)
        assert code == expected
        assert found["x-content-type-options"] == "nosniff"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["cache-control"] == ("max-age=9" if code == 200 else "no-store")
        assert code == 200 or body.startswith(b'{"error": ')


def test_websockets_are_closed_and_the_servers_own_start_is_passed_on():
    assert ask(LOCAL, ("host", "localhost"), kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    ask(LOCAL, app=app, kind="lifespan")
    assert seen == ["lifespan"]


def test_nobody_waits_for_the_body_of_a_refused_request():
    for sent in (("content-length", "5"), ("transfer-encoding", "chunked")):
        for refused in (("host", "evil.example"), ("origin", "https://evil.example")):
            head = [("host", "localhost"), refused] if refused[0] == "origin" else [refused]
            code, _, headers = ask(LOCAL, *head, sent, method="POST", pieces=(None,))
            assert (code, headers["connection"]) == (403, "close")
    assert "connection" not in ask({**LOCAL, "token": TOKEN}, ("host", "localhost"))[2]  # a browser asks again with the token

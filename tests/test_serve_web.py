"""The server of rewards: every door gives the model's own number, and nothing that is sent makes it fail, wait or tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from served import COLOURS, HISTORIES, PATHS, SECRET, TEXTS, Gate, malformed, served, small
from starlette.testclient import TestClient

import evenhand
from evenhand.core import EvenhandError
from evenhand.data.conversations import answered
from evenhand.serve.queries import response_of
from evenhand.serve.states import UserStates
from evenhand.serve.web.batches import Batches, Work

ANN = HISTORIES["ann"]
CHATML = "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n"
ASK, ANSWER = {"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "green hat"}
TOKEN = "t0ken-" + "x" * 40


@pytest.fixture(scope="module")
def model():
    return small(with_prompt=True)


@pytest.fixture(scope="module")
def logged() -> list[str]:
    return []


@pytest.fixture(scope="module")
def client(model, logged: list[str]) -> Iterator[TestClient]:
    with TestClient(served(model, logged.append, unscored=-7.0)) as client:
        yield client


VERL = {"model": "some/model", "input": f"{CHATML}green hat<|im_end|>\n", "use_activation": False}
OPENRLHF = {"query": [f"{CHATML}green hat<|im_end|>"], "prompts": [CHATML], "labels": ["ann"]}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/classify", {**VERL, "user": "ann"}, lambda r: r["data"][-1]["probs"][-1]),
        ("/classify", {"messages": [ASK, ANSWER], "user": "ann", "use_activation": False}, lambda r: r["data"][0]["probs"][0]),
        ("/get_reward", OPENRLHF, lambda r: r["rewards"][0]),
        ("/get_reward", {"query": ["<s>Name a colour.green hat</s>"], "prompts": ["Name a colour."], "labels": ["ann"]}, lambda r: r["scores"][0]),
        ("/v1/score", {"prompts": ["Name a colour."], "responses": ["green hat"], "user": "ann"}, lambda r: r["rewards"][0]),
        ("/v1/score", {"prompts": [[ASK]], "responses": [[ANSWER]], "users": ["ann"]}, lambda r: r["rewards"][0]),
        ("/v1/score", {"messages": [[ASK, ANSWER]], "history": [{"chosen": c, "rejected": r} for _, c, r in ANN]}, lambda r: r["rewards"][0]),
    ],
)  # fmt: skip
def test_one_conversation_has_one_reward_at_every_door(client: TestClient, model, path: str, body: dict[str, Any], field: Any) -> None:
    said = client.post(path, json=body)
    assert said.status_code == 200, said.text
    assert field(said.json()) == pytest.approx(float(model.score(ANN, ["Name a colour."], ["green hat"])[0]), abs=1e-6)
    assert said.json()["fingerprint"] == model.fingerprint == said.headers["x-evenhand-model"]
    generic = client.post(path, json={k: v for k, v in body.items() if k not in ("user", "users", "history", "labels")})
    everybody = float(model.score([], ["Name a colour."], ["green hat"])[0])
    assert field(generic.json()) == pytest.approx(everybody, abs=1e-6) != field(said.json())


def test_vllms_fields(client: TestClient, model) -> None:
    rewards = model.score([], ["", ""], ["green hat", "dark boat"])
    said = client.post("/classify", json={"input": ["green hat", "dark boat"]}).json()
    assert said.keys() >= {"id", "object", "created", "model", "data", "usage"}
    assert [d["index"] for d in said["data"]] == [0, 1]
    assert [d["num_classes"] for d in said["data"]] == [1, 1]
    assert [d["probs"][0] for d in said["data"]] == pytest.approx([1 / (1 + math.exp(-float(r))) for r in rewards], abs=1e-6)
    assert said["usage"] == {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}


def test_openrlhfs_fields(client: TestClient, model) -> None:
    said = client.post(
        "/get_reward", json={"query": ["a green hat", "a dark boat"], "prompts": ["a ", "a "], "labels": [' {"user": 7}', None]}
    ).json()
    seven, nobody = model.score(HISTORIES["7"], ["a "], ["green hat"])[0], model.score([], ["a "], ["dark boat"])[0]
    assert said["rewards"] == said["scores"] == pytest.approx([float(seven), float(nobody)], abs=1e-6)
    assert said["extra_logs"]["known_user"] == [1.0, 0.0]
    said = client.post("/get_reward", json={"query": ["a dark boat"], "prompts": ["a "], "labels": ["a label of something else"]}).json()
    assert said["rewards"] == pytest.approx([float(nobody)], abs=1e-6)  # as the function inside the trainer answers; no error, no user
    assert said["extra_logs"]["known_user"] == [0.0]


def asked_at_every_door(client: TestClient, model, folder: Path, prompt: Any, response: Any) -> dict[str, Any]:
    """Door → the reward, None, or the error's text."""
    from evenhand.serve.openrlhf_reward import reward_func_of
    from evenhand.serve.verl_reward import compute_score

    if not (folder / "model").exists():
        model.save(folder / "model")
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": prompt, "response": response}) + "\n")
    said = response if isinstance(response, str) else "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in response)

    def posted(path: str, body: dict[str, Any], field: Any) -> Any:
        found = client.post(path, json=body)
        return field(found.json()) if found.status_code == 200 else found.json()["error"]

    doors = {
        "score": lambda: float(evenhand.score(model, folder / "rows.jsonl").rewards[0, 0]),
        "score, skip": lambda: evenhand.score(model, folder / "rows.jsonl", on_bad="skip"),
        "python": lambda: float(model.score([], [prompt], [response])[0]),
        "TRL": lambda: evenhand.reward_function(model)([prompt], [response])[0],
        "verl": lambda: compute_score("", response, "", {"prompt": prompt}, model=folder / "model", unscored=-9.0)["score"],
        "OpenRLHF": lambda: reward_func_of(model, unscored=-9.0)([f"{prompt}{said}"], [prompt], [{"prompt": prompt}])["rewards"].item(),
        "/v1/score": lambda: posted("/v1/score", {"prompts": [prompt], "responses": [response]}, lambda r: r["rewards"][0]),
        "/classify": lambda: posted("/classify", {"input": said, "use_activation": False}, lambda r: r["data"][0]["probs"][0]),
        "/get_reward": lambda: posted(
            "/get_reward", {"query": [f"{prompt}{said}"], "prompts": [prompt]}, lambda r: (r["rewards"][0], r["extra_logs"]["scored"][0])
        ),
    }
    found = {}
    for name, ask in doors.items():
        try:
            found[name] = ask()
        except EvenhandError as error:
            found[name] = str(error)
    return found


@pytest.mark.parametrize("response", ["", " \n"])
def test_a_response_without_text_has_no_reward_at_any_door(client: TestClient, model, tmp_path: Path, response: str) -> None:
    """An error where one is asked for alone; None where a trainer knows it; a number of the user's own choice where one is needed."""
    found = asked_at_every_door(client, model, tmp_path, "Name a colour.", response)
    assert "'response' is empty" in found["score"]
    assert "no row to score" in found["score, skip"]
    assert "responses[0] holds no text" in found["python"]
    assert found["TRL"] is found["/v1/score"] is None
    assert found["verl"] == found["OpenRLHF"] == -9.0
    assert (found["/classify"], found["/get_reward"]) == (-7.0, (-7.0, 0.0)), "as the server was told"
    beside = client.post("/v1/score", json={"prompts": [""] * 3, "responses": ["green hat", response, "dark boat"]}).json()["rewards"]
    expected = model.score([], [""] * 2, ["green hat", "dark boat"]).tolist()
    assert beside == [pytest.approx(expected[0], abs=1e-6), None, pytest.approx(expected[1], abs=1e-6)]


def test_a_conversation_that_ends_with_the_users_turn_is_refused_at_every_door(client: TestClient, model, tmp_path: Path) -> None:
    asks = [{"role": "assistant", "content": "green hat"}, {"role": "user", "content": "Another " + SECRET}]
    found = asked_at_every_door(client, model, tmp_path, "Name a colour.", asks)
    refused = {name: said for name, said in found.items() if name not in ("score, skip", "OpenRLHF", "/get_reward")}  # these send texts
    for name, said in refused.items():
        assert "ends with a turn of the user or the system, which is no response" in str(said), name
        assert "Expected: the response as its last turn. To do: leave that turn out, or mend its role" in str(said).replace(
            "expected:", "Expected:"
        ).replace("to do:", "To do:"), name
        assert SECRET not in str(said), name
    assert "no row to score" in found["score, skip"]
    messages = client.post("/v1/score", json={"messages": [[ASK, *asks]]})
    assert (messages.status_code, SECRET in messages.text) == (422, False)
    history = client.post("/v1/score", json={"responses": ["a"], "history": [{"chosen": [ASK, *asks], "rejected": [ASK, ANSWER]}]})
    assert "History of user" in history.json()["error"]


def test_an_id_is_read_one_way_at_every_door_and_one_that_looks_like_it_is_told_of(client: TestClient, model, tmp_path: Path) -> None:
    """7, 7.0 and "7.0" are one user; " 7 " is another, as in a table, and what it gets is said."""
    seven = pytest.approx(float(model.score(HISTORIES["7"], [""], ["green hat"])[0]), abs=1e-6)
    rows = [{"user": u, "prompt": "p", "chosen": c, "rejected": r} for u, h in HISTORIES.items() for _, c, r in h]
    for user in (7, 7.0, "7.0"):
        assert client.post("/v1/score", json={"responses": ["green hat"], "user": str(user)}).json()["rewards"] == [seven]
        assert evenhand.score(model, [{"user": user, "prompt": "", "response": "green hat"}], rows).rewards.tolist() == [[seven]]
        assert evenhand.reward_function(model, HISTORIES)([""], ["green hat"], user=[user]) == [seven]
    alike = r"differs from a known one in Unicode form, case, spaces or leading zeros alone"
    refused = client.post("/v1/score", json={"responses": ["green hat"], "user": " 7 "})
    assert (refused.status_code, bool(re.search(alike, refused.json()["error"]))) == (404, True)
    with pytest.warns(UserWarning, match=alike):
        evenhand.reward_function(model, HISTORIES)([""], ["green hat"], user=[" 7 "])
    with pytest.warns(UserWarning, match=f"^1 users are not in the history, though their id {alike}"):
        found = evenhand.score(model, [{"user": u, "prompt": "", "response": "green hat"} for u in (" 7 ", "ann", "someone")], rows)
    assert (found.alike, found.known) == (1, 1)


@pytest.mark.parametrize(
    ("query", "prompt", "response"),
    [
        ("Hi there</s>", "Hi", " there"),
        ("<|begin_of_text|>Hi there<|eot_id|>\n", "Hi", " there"),
        ("Hi there", "<s>Hi", " there"),
        ("Hi<|im_end|>", "Hi", ""),
        ("<s>Say <s> twice: yes", "Say <s> twice:", " yes"),
    ],
)
def test_what_follows_the_prompt_is_the_response(query: str, prompt: str, response: str) -> None:
    assert response_of(query, prompt, 0) == response


def test_users_of_a_request_are_told_apart(client: TestClient, model) -> None:
    said = client.post("/v1/score", json={"responses": ["green hat"] * 4, "users": ["ann", None, "7", "ann"]}).json()
    expected = [float(model.score(HISTORIES.get(u, []), [""], ["green hat"])[0]) for u in ("ann", "nobody", "7", "ann")]
    assert said["rewards"] == pytest.approx(expected, abs=1e-6)
    assert len(set(np.round(said["rewards"], 4))) == 3
    assert said["reads_prompts"] is True


REFUSED: list[tuple[str, Any, int, str]] = [
    ("/v1/score", {"responses": ["a"], "user": SECRET}, 404, "is no key"),
    ("/classify", {"input": "a", "user": SECRET}, 404, "is no key"),
    ("/get_reward", {"query": [SECRET], "prompts": ["a"]}, 422, "does not begin with"),
    ("/get_reward", {"query": ["ab"], "prompts": []}, 422, "Found 1 of query and 0 of prompts"),
    ("/get_reward", {"query": ["ab"], "prompts": ["a"], "labels": [[SECRET]]}, 422, "no key"),
    ("/get_reward", {"query": ["ab"], "prompts": ["a"], "labels": ["\n{" + SECRET]}, 422, "labels[0] begins as JSON and is none"),
    ("/v1/score", {"responses": ["a", "b"], "prompts": ["a"]}, 422, "Found 2 responses and 1 prompts"),
    ("/v1/score", {"responses": ["a"], "user": "ann", "history": []}, 422, "body: one of user"),
    ("/v1/score", {"responses": [[{SECRET: 1}]]}, 422, "messages with role and content"),
    ("/v1/score", {"responses": ["a"] * 257}, 422, "at most 256"),
    ("/v1/score", {"responses": ["a " * 5000]}, 422, "5,000 tokens"),
    ("/v1/score", {"responses": ["a"], "history": [{"chosen": "a " * 5000, "rejected": "b"}]}, 422, "history"),
    ("/v1/score", {"responses": ["\ud800"]}, 422, "surrogate"),
    ("/classify", {"input": "a", SECRET: 1}, 422, "unknown field"),
    ("/classify", {"input": [1, 2]}, 422, "valid string"),
    ("/classify", [SECRET], 422, "object"),
    ("/classify", b'{"input": "' + SECRET.encode(), 400, "no JSON"),
    ("/classify", b"[" * 100_000, 400, "nesting"),
    ("/classify", b'{"input": ' + b"9" * 5000 + b"}", 400, "4,300 digits"),
    ("/classify", b'{"input": NaN}', 422, "valid string"),
    ("/classify", b" " * (2**20 + 1), 413, "1,048,576"),
    ("/nowhere/" + SECRET, {}, 404, "No such path"),
]


@pytest.mark.parametrize(("path", "body", "status", "told"), REFUSED, ids=lambda v: str(v)[:20])
def test_what_is_wrong_is_named_and_not_repeated(
    client: TestClient, logged: list[str], path: str, body: Any, status: int, told: str
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = client.post(path, content=raw, headers={"content-type": "application/json"})
    assert said.status_code == status, said.text
    assert told in said.json()["error"]
    assert SECRET not in said.text + "".join(logged)
    assert len(said.headers["x-request-id"]) == 32


def test_a_body_that_is_not_said_to_be_json_is_told_of_the_header(client: TestClient) -> None:
    said = client.post("/v1/score", content=b'{"responses": ["a"]}', headers={"content-type": "application/x-www-form-urlencoded"})
    assert said.status_code == 422
    assert "send it" in said.json()["error"]
    assert "Content-Type: application/json" in said.json()["error"]


def test_malformed_bodies_are_the_clients_fault(client: TestClient, logged: list[str]) -> None:
    seen: dict[int, int] = {}
    for path, raw in malformed(0, 200):
        said = client.post(path, content=raw, headers={"content-type": "application/json"})
        seen[said.status_code] = seen.get(said.status_code, 0) + 1
        assert said.status_code == 200 or 400 <= said.status_code < 500, raw[:300]
        assert SECRET not in said.text, raw[:300]
    assert seen.keys() >= {200, 400, 422}
    assert SECRET not in "".join(logged)


TRICKS: list[dict[str, str]] = [
    {}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"authorization": TOKEN},
    {"authorization": f"Bearer {TOKEN[:-1]}"}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Bearer {TOKEN.upper()}"},
    {"authorization": f"Token {TOKEN}"}, {"authorization": f"Bearer {TOKEN},{TOKEN}"}, {"authorization": f"Bearer\t{TOKEN}"},
    {"authorization": "Basic " + TOKEN}, {"authorization": "Bearer null"}, {"x-api-key": TOKEN}, {"cookie": f"token={TOKEN}"},
    {"x-forwarded-for": "127.0.0.1"}, {"x-real-ip": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}, {"x-forwarded-host": "localhost"},
    {"x-original-url": "/healthz"}, {"x-http-method-override": "GET"}, {"host": "localhost"},
]  # fmt: skip
ELSEWHERE: list[dict[str, str]] = [
    {"host": "evil.example"}, {"host": "127.0.0.1.evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"},
    {"sec-fetch-site": "cross-site"}, {"host": "evil.example", "x-forwarded-host": "localhost"},
]  # fmt: skip


def test_nobody_scores_without_the_token(model) -> None:
    with TestClient(served(model, token=TOKEN, host="0.0.0.0")) as client:
        right = {"authorization": f"Bearer {TOKEN}"}
        bodies: list[tuple[str, Any]] = [("/classify", {"input": "a"}), ("/get_reward", OPENRLHF), ("/v1/score", {"responses": ["a"]})]
        for path, body in bodies:
            assert client.post(path, json=body, headers=right).status_code == 200
            for trick in TRICKS:
                said = client.post(path, json=body, headers=trick)
                assert said.status_code == 401, (trick, said.text)
                assert said.json().keys() == {"error"}
            for trick in ELSEWHERE:
                assert client.post(path, json=body, headers={**right, **trick}).status_code == 403, trick
            for other in (f"{path}/", f"/{path}", f"/healthz/..{path}", f"{path}?token={TOKEN}", f"/healthz%2f..{path}"):
                assert client.post(other, json=body).status_code == 401, other
        assert client.get("/healthz").json() == {"status": "ok"}
        assert {client.get(path).status_code for path in ("/metrics", "/", "/openapi.json")} == {401}


async def _sent(app: Any, bodies: list[dict[str, Any]], after: Any = None) -> list[httpx.Response]:
    """All at once; `after` runs once they are under way."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        asked = [asyncio.create_task(client.post("/v1/score", json=body)) for body in bodies]
        if after is not None:
            await after()
        return list(await asyncio.gather(*asked))


def test_requests_that_wait_are_scored_together_and_fail_alone() -> None:
    gate = Gate()
    model, lines = small(encoder=gate), []
    app = served(model, lines.append)
    gate.read.clear()
    gate.waits.clear()
    gate.open.clear()
    bodies = [{"responses": [TEXTS[i % 3]], "user": "ann"} for i in range(20)]
    bodies += [{"responses": ["one two three four five six seven"]}, {"responses": [f"break {SECRET}"]}, {"responses": ["w " * 5000]}]

    async def opened() -> None:
        while not gate.waits.is_set():
            await asyncio.sleep(0.005)
        for _ in range(100):  # where all came before the first batch was taken, none of them waits behind it
            if b"waiting_requests 0.0" not in (await _metrics(app)):
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        gate.open.set()

    said = asyncio.run(_sent(app, bodies, opened))
    assert [s.status_code for s in said] == [200] * 21 + [500, 422]
    expected = model.score(ANN, [""] * 20, [TEXTS[i % 3] for i in range(20)])
    assert [s.json()["rewards"][0] for s in said[:20]] == pytest.approx(expected.tolist(), abs=1e-6)
    assert [s.json()["cut"] for s in said[19:21]] == [[], [0]]
    assert SECRET not in said[21].text + "".join(lines)
    assert any("ZeroDivisionError" in line for line in lines)
    alone = [read for read in gate.read if read == [TEXTS[0]]]
    assert all(len(set(read)) == len(read) for read in gate.read), "a text was encoded twice in a batch"
    assert len(alone) <= 22, gate.read


def test_histories_that_are_sent_count_as_size_of_a_batch() -> None:
    gate = Gate()
    model, sizes = small(encoder=gate), []
    gate.waits.clear()
    gate.open.clear()
    batches = Batches(UserStates(model), most_tokens=99, most_waiting=9, told=sizes.append)
    long = [("", TEXTS[i % 7], f"boat {i}") for i in range(200)]
    first = batches.ask(Work([()], [0], [""], ["hat"]))
    gate.waits.wait(30)
    asked = [batches.ask(Work([long], [0], [""], ["hat"], long)) for _ in range(4)]
    gate.open.set()
    assert len({float(one.result(30).rewards[0]) for one in (first, *asked)}) == 2
    batches.close()
    assert sizes == [1, 2, 2]


async def _metrics(app: Any) -> bytes:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return (await client.get("/metrics")).content


def test_a_full_queue_and_a_late_answer() -> None:
    gate = Gate()
    app = served(small(encoder=gate), most_waiting=2, seconds=0.3)
    gate.waits.clear()
    gate.open.clear()

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            first = asyncio.create_task(client.post("/v1/score", json={"responses": ["a"]}))
            while not gate.waits.is_set():
                await asyncio.sleep(0.005)
            return [*await asyncio.gather(*(client.post("/v1/score", json={"responses": ["b"]}) for _ in range(6))), await first]

    said = asyncio.run(both())
    assert sorted(s.status_code for s in said) == [429] * 4 + [504] * 3
    assert {int(s.headers["retry-after"]) for s in said if s.status_code == 429} <= set(range(1, 61))
    gate.open.set()
    while (last := asyncio.run(_sent(app, [{"responses": ["c"]}]))[0]).status_code == 429:  # those that are late leave the queue
        time.sleep(0.01)
    assert last.status_code == 200
    assert ["c"] in gate.read
    assert not any("b" in read for read in gate.read), "what nobody waits for any more was scored"


def test_a_history_that_was_read_is_kept() -> None:
    gate = Gate()
    app = served(small(encoder=gate))
    body = {"responses": ["x"], "history": [{"chosen": "kept one", "rejected": "kept two"}]}
    gate.read.clear()
    for _ in range(3):
        assert asyncio.run(_sent(app, [body]))[0].status_code == 200
    assert sum("kept one" in read for read in gate.read) == 1


def test_ids_metrics_and_logs(client: TestClient, logged: list[str]) -> None:
    client.post("/v1/score", json={"responses": [SECRET]}, headers={"x-request-id": "mine-1"})
    assert logged[-1].startswith("/v1/score 200 ")
    assert logged[-1].endswith(" mine-1")
    assert client.get("/healthz", headers={"x-request-id": "two words"}).headers["x-request-id"] != "two words"
    text = client.get("/metrics").text
    assert re.search(r'evenhand_requests_total\{door="/v1/score",status="200"\} [1-9]', text)
    assert "evenhand_kept_users" in text
    assert SECRET not in text


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    said = client.get("/")
    assert "default-src 'none'" in said.headers["content-security-policy"]
    assert "<script" not in said.text
    assert not re.search(r"https?://", said.text)
    assert all(f"POST {path}" in said.text for path in PATHS)
    assert "use_activation" in said.text


@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_nothing(model) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import CHECKS, load_all_checks
    from schemathesis.generation import GenerationMode

    load_all_checks()
    found = schemathesis.openapi.from_asgi("/openapi.json", served(model))
    unequal = CHECKS.get_one("positive_data_acceptance")  # that two lists are equally long cannot be said in a schema
    checked = 0
    for operation in (result.ok() for result in found.get_all_operations()):
        for mode in GenerationMode:
            if operation.method == "get" and mode == GenerationMode.NEGATIVE:  # takes nothing that could be wrong
                continue

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=2,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                phases=[Phase.generate],
                derandomize=True,
            )
            def check(case: Any) -> None:
                nonlocal checked
                case.call_and_validate(excluded_checks=[unequal])
                checked += 1

            check()
    assert checked >= 10


@pytest.mark.parametrize("text", ["user: " + "\n" * 200_000 + "x", "user: a" + " " * 200_000 + "b", "user: a" + "</s>" * 50_000 + "b"])
def test_a_long_run_of_nothing_takes_no_time(text: str) -> None:
    start = time.process_time()
    assert answered("", text)[1].strip()
    assert answered("user: hi", text)[1].strip()
    assert time.process_time() - start < 5  # in steps of the run's square it would be hours


# A real process


TWO = """
import os, sys, torch
import evenhand.serve.listening, evenhand.serve.web.application, evenhand.workflows.serve  # once for both
from evenhand.cli import main
children = []
for i in range(2):
    children.append(os.fork())
    if not children[-1]:
        torch.set_num_threads(1)  # before a second thread computes: see conftest.py
        os.dup2(os.open(f"log{i}", os.O_CREAT | os.O_WRONLY), 2)
        sys.argv = ["evenhand", *"serve model --history choices.jsonl --port 0 --timeout 20".split()]
        main()
print(*children, flush=True)
for child in children:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Two:
    """Two servers, one for each signal, of a process that tells their exit codes in turn."""

    parent: subprocess.Popen[str]
    pids: list[int]
    ports: list[int]
    logs: list[Path]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("served")
    small().save(folder / "model")
    rows = [{"user": user, "chosen": c, "rejected": r} for user, own in HISTORIES.items() for _, c, r in own]
    (folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parent = subprocess.Popen([sys.executable, "-c", TWO], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    logs, ports = [folder / f"log{i}" for i in range(2)], []
    for log in logs:
        while not (found := re.search(r"on http://127.0.0.1:(\d+)\n", log.read_text() if log.exists() else "")):
            assert parent.poll() is None
            time.sleep(0.05)
        ports.append(int(found[1]))
    yield Two(parent, pids, ports, logs)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()


def asked(port: int, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def test_trl_through_http_and_slow_clients(two: Two) -> None:
    """The reward function of docs/serve.md, called as GRPOTrainer calls it, while 200 connections send a byte now and then."""
    port = two.ports[0]
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for i, one in enumerate(slow):
        one.sendall(b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (b"Content-Length: 99\r\n\r\n{" if i % 2 else b"X-A: "))
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text()
    code = re.search(r"```python\n(# rewards\.py.*?)```", page, re.DOTALL)[1]  # type: ignore[index]
    names: dict[str, Any] = {}
    exec(code.replace("8000", str(port)), names)
    prompts = [[{"role": "user", "content": "Name one."}]] * 2
    completions = [[{"role": "assistant", "content": text}] for text in ("green hat", "dark boat")]
    start = time.monotonic()
    rewards = names["reward"](prompts=prompts, completions=completions, completion_ids=[[1], [2]], user=["ann", "7"], trainer_state=None)
    assert time.monotonic() - start < 5
    model = small()
    expected = [float(model.score(HISTORIES[u], [""], [t])[0]) for u, t in (("ann", "green hat"), ("7", "dark boat"))]
    assert rewards == pytest.approx(expected, abs=1e-5)
    for one in slow[:20]:
        one.sendall(b"x")
    assert asked(port, "/healthz") == {"status": "ok"}
    for one in slow:
        one.close()


@pytest.mark.parametrize(("which", "number", "code"), [(0, signal.SIGTERM, 0), (1, signal.SIGINT, 130)])
def test_a_signal_ends_it_after_what_is_under_way(two: Two, which: int, number: int, code: int) -> None:
    port = two.ports[which]
    body = json.dumps({"responses": [f"{c} hat" for c in COLOURS]}).encode()
    with socket.create_connection(("127.0.0.1", port)) as under_way:
        head = f"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        under_way.sendall(head.encode() + body[:5])
        time.sleep(0.3)
        os.kill(two.pids[which], number)
        time.sleep(0.3)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        under_way.sendall(body[5:])
        said = b""
        while piece := under_way.recv(65536):
            said += piece
    assert said.startswith(b"HTTP/1.1 200"), said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["rewards"] == pytest.approx(
        small().score([], [""] * 5, [f"{c} hat" for c in COLOURS]).tolist(), abs=1e-5
    )
    assert two.parent.stdout is not None
    assert int(two.parent.stdout.readline()) == code
    assert "/v1/score 200" in two.logs[which].read_text()
    assert "hat" not in two.logs[which].read_text()
    assert ("requests under way were finished" in two.logs[which].read_text()) == (code == 130)


def test_a_host_without_a_token_and_a_taken_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evenhand.core import EvenhandError
    from evenhand.workflows.serve import serve

    monkeypatch.delenv("EVENHAND_TOKEN", raising=False)
    with pytest.raises(EvenhandError, match="no token"):
        serve(small(), host="0.0.0.0")
    monkeypatch.setenv("EVENHAND_TOKEN", "short")
    with pytest.raises(EvenhandError, match="at least 32 bytes"):
        serve(small())
    monkeypatch.delenv("EVENHAND_TOKEN")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EvenhandError, match="free port"):
        serve(small(), port=taken.getsockname()[1], log=lambda line: None)

"""The doors of the server: what each is sent → one piece of work for the queue → what each answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from evenhand.core import EvenhandError
from evenhand.serve.guards import App, Guards
from evenhand.serve.histories import Histories, user_id
from evenhand.serve.queries import label_of, response_of
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.states import UserStates
from evenhand.serve.web import fields
from evenhand.serve.web.batches import Batches, Rewards, Work
from evenhand.serve.web.measures import Measures
from evenhand.serve.web.page import page
from evenhand.serve.web.refusals import REFUSALS, answer_errors
from evenhand.serve.web.requests import Requests
from evenhand.serve.web.service import Service

MOST_BYTES = 2**20  # of a body
MODEL_HEADER = "X-Evenhand-Model"
HEALTH = "/healthz"
PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"}


@dataclass(frozen=True)
class Limits:
    """most_tokens of an item. most_waiting requests in the queue. seconds until an answer. most_users whose states are kept, for at most `kept` seconds."""

    most_tokens: int = 4096
    most_waiting: int = 256
    seconds: float = 60.0
    most_users: int = 10_000
    kept: float = 3600.0


def application(
    model: RewardModel,
    name: str,
    histories: Histories,
    *,
    host: str,
    token: str | None,
    names: Collection[str] = (),
    limits: Limits = Limits(),
    unscored: float = 0.0,
    log: Callable[[str], None],
) -> App:
    """The server of one model as an ASGI application, guards and all. Its thread runs from here to the end of the lifespan.

    name: the model's, in replies. histories: earlier choices of users, by the key that requests name. host, token, names: see `Guards`. unscored:
    what a response without text is worth where a number is asked for.
    log: called with one line a request.
    """
    measures = Measures()
    states = UserStates(model, limits.most_users, limits.kept)
    batches = Batches(states, most_tokens=limits.most_tokens, most_waiting=limits.most_waiting, told=measures.batch.observe)
    measures.watch("waiting_requests", "Requests in the queue.", lambda: batches.waiting)
    measures.watch("kept_users", "Users whose states are kept.", lambda: len(states))
    app = _doors(Service(model, name, histories, batches, measures, limits.seconds, unscored))
    guarded = Guards(app, host=host, token=token, most_bytes=MOST_BYTES, names=names, open_paths=[HEALTH])
    return Requests(guarded, doors=[*app.openapi()["paths"], "/", "/openapi.json"], measures=measures, log=log)


def _doors(service: Service) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.batches.close)

    app = FastAPI(
        title="evenhand: rewards",
        description=f"Rewards of {service.name}, SHA-256 {service.model.fingerprint}, which is in every reply.",
        version="1", docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False,
    )  # fmt: skip
    answer_errors(app)

    def bind(response: Response) -> None:
        response.headers[MODEL_HEADER] = service.model.fingerprint

    @app.post("/classify", responses=REFUSALS)
    async def classify(request: Request, response: Response, asked: Annotated[fields.Classify, Body()]) -> fields.Classified:
        """Rewards in vLLM's fields."""
        if isinstance(asked, fields.ClassifyMessages):
            said: list[Any] = [asked.messages]
        else:
            said = [asked.input] if isinstance(asked.input, str) else asked.input
        work = Work([service.history(asked.user, "user")], [0] * len(said), [""] * len(said), said)
        found = await service.rewards(work)
        bind(response)
        rewards = service.numbers(found)
        values = rewards if asked.use_activation is False else _logistic(rewards)
        labels = [fields.Label(index=i, probs=[value]) for i, value in enumerate(values.tolist())]
        id_ = f"classify-{request.scope['request_id']}"
        name, fingerprint, now = service.name, service.model.fingerprint, int(time.time())
        return fields.Classified(model=name, fingerprint=fingerprint, id=id_, created=now, data=labels, usage=_usage(found))

    @app.post("/get_reward", responses=REFUSALS)
    async def get_reward(response: Response, asked: fields.GetReward) -> fields.Rewarded:
        """Rewards in OpenRLHF's fields: `rewards` and `scores` are the same. A label that names nobody known takes everybody's reward."""
        for name, given in (("prompts", asked.prompts), ("labels", asked.labels)):
            if len(given) != len(asked.query) and (given or name == "prompts"):
                told = (
                    f"Found {len(asked.query)} of query and {len(given)} of {name}. Expected: equally many. To do: send one for each query."
                )
                raise HTTPException(422, told)
        try:
            keys = [_key(label, place) for place, label in enumerate(asked.labels)] if service.histories else []
        except EvenhandError as error:
            raise HTTPException(422, str(error)) from None
        users = list(dict.fromkeys(keys)) or [None]
        histories = [service.histories.get(key or "", ()) for key in users]  # labels may hold other things: as inside the trainer, no error
        try:
            responses = [response_of(*both, place) for place, both in enumerate(zip(asked.query, asked.prompts))]
        except EvenhandError as error:
            raise HTTPException(422, str(error)) from None
        owner = [users.index(key) for key in keys] or [0] * len(responses)
        found = await service.rewards(Work(histories, owner, asked.prompts, responses))
        bind(response)
        rewards = service.numbers(found).tolist()
        known = [float(bool(histories[of])) for of in owner]
        scored = (~np.isnan(found.rewards)).astype(float).tolist()
        logs = {"known_user": known, "scored": scored, "cut": found.cut.astype(float).tolist()}
        name, fingerprint = service.name, service.model.fingerprint
        return fields.Rewarded(model=name, fingerprint=fingerprint, rewards=rewards, scores=rewards, extra_logs=logs)

    @app.post("/v1/score", responses=REFUSALS)
    async def score(response: Response, asked: Annotated[fields.Score, Body()]) -> fields.Scored:
        """Rewards of responses for one user or several, known by key or by a history that is sent along."""
        if isinstance(asked, fields.ScoreMessages):
            responses: list[Any] = asked.messages
            prompts: list[Any] = [""] * len(responses)
        else:
            responses = asked.responses
            prompts = [""] * len(responses) if asked.prompts is None else asked.prompts
        keys = [asked.user] * len(responses) if asked.users is None else asked.users
        for name, given in (("prompts", prompts), ("users", keys)):
            if len(given) != len(responses):
                told = (
                    f"Found {len(responses)} responses and {len(given)} {name}. Expected: equally many. To do: send one for each response."
                )
                raise HTTPException(422, told)
        sent = [(choice.prompt, choice.chosen, choice.rejected) for choice in asked.history or ()]
        users = list(dict.fromkeys(keys))
        histories = [service.history(key, "a user") if key is not None else sent for key in users]
        found = await service.rewards(Work(histories, [users.index(key) for key in keys], prompts, responses, sent))
        bind(response)
        return fields.Scored(
            model=service.name, fingerprint=service.model.fingerprint, usage=_usage(found),
            rewards=[None if math.isnan(r) else r for r in found.rewards.tolist()],
            reads_prompts=service.model.reads_prompts, cut=np.flatnonzero(found.cut).tolist(),
        )  # fmt: skip

    @app.get(HEALTH, responses={503: REFUSALS[503]})
    async def healthz() -> fields.Healthy:
        """Whether the server scores. Asks for no token."""
        if not service.batches.is_alive:
            raise HTTPException(503, "The server is stopping. Expected: one that scores. To do: start it again.")
        return fields.Healthy()

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.measures.written(), media_type="text/plain; version=0.0.4; charset=utf-8")

    shown = page(app.openapi())

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return HTMLResponse(shown, headers=PAGE_HEADERS)

    return app


def _logistic(rewards: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * rewards.astype(np.float64))))


def _usage(found: Rewards) -> fields.Usage:
    return fields.Usage(prompt_tokens=int(found.tokens.sum()), total_tokens=int(found.tokens.sum()))


def _key(label: Any, place: int) -> str | None:
    """The user's key in a label: a text or a whole number, or an object, as such or in JSON, with "user"."""
    label = label_of(label, place).get("user")
    if label is None or label == "":
        return None
    if found := user_id(label) if isinstance(label, str | int | float) else None:
        return found
    raise HTTPException(422, f"labels[{place}] is no key. Expected: the key of a history, or null. To do: put the user's id there.")

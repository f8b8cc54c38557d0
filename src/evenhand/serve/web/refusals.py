"""What the server says where it does not answer: a status, and one sentence in JSON; never what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from evenhand.serve.web import fields
from evenhand.serve.web.requests import DEFECT
from evenhand.serve.wrong import why

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": fields.Problem, "description": why}
    for status, why in {
        400: "No JSON, or a header that is none.", 401: "No token, or a wrong one.", 403: "Host or Origin is another server's.",
        404: "No such key among the histories.", 408: "The body did not arrive in time.", 413: "The body is longer than 1 MiB.",
        422: "A field is wrong, or an item too long.", 429: "The queue is full; Retry-After says for how long.",
        503: "The server is stopping.", 504: "No answer within the server's limit.",
    }.items()
}  # fmt: skip


def answer_errors(app: FastAPI) -> None:
    """Have all errors of an application answered so."""
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(Exception)(_defect)  # which goes on to whoever runs the application


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Where a field is wrong and why; never what was sent, of which a name of a field may be part."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        return _problem(400, "The body is no JSON. Expected: a JSON object. To do: see /openapi.json.")
    if "json" not in request.headers.get("content-type", "").lower():  # as curl -d sends it; it was not read at all
        return _problem(422, "The body is not said to be JSON. Expected: the header Content-Type: application/json. To do: send it.")
    told = "; ".join(f"{_place(e)}: {'unknown field' if e['type'] == 'extra_forbidden' else why(e)}" for e in found[:3])
    return _problem(422, f"{told}. Expected: the fields of /openapi.json. To do: correct it.")


def _place(error: Mapping[str, Any]) -> str:
    parts = list(error["loc"][1:])
    parts = parts[1:] if parts and parts[0] in fields.KINDS else parts
    parts = parts[:-1] if error["type"] == "extra_forbidden" else parts  # its name is what somebody sent
    return ".".join(str(part) for part in parts) or "body"


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = {
        404: "No such path. Expected: one of /openapi.json. To do: see there.",
        405: "This path is not asked so. Expected: see /openapi.json.",
    }
    said = told.get(error.status_code, error.detail) if error.detail in ("Not Found", "Method Not Allowed") else error.detail
    if error.detail == "There was an error parsing the body":
        said = "The body is no JSON that can be read. Expected: UTF-8, numbers of at most 4,300 digits, no deep nesting. To do: correct it."
    return _problem(error.status_code, said, error.headers)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    return _problem(500, DEFECT)


def _problem(status: int, told: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": told}, status, headers)

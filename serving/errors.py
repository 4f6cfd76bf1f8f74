"""Every refusal is one document: application/problem+json (RFC 9457), the framework's own refusals too.

`status` and `title` are those of HTTP (so `type` is about:blank), `detail` is the sentence for the person who sent the
request, `instance` the path, `code` a stable word for programs; some codes add a member, such as `limit`.

413 body or recording too large   415 no known container   422 bad parameter, undecodable, empty, truncated or NaN audio
503 not ready                     500 a bug or a broken model, told in the log only
"""

from __future__ import annotations

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError, DesedTaskError

PROBLEM_JSON = "application/problem+json"

_CODES = {404: "not_found", 405: "method_not_allowed"}
# nginx's number for a client that left before the answer; only a log ever shows it.
_CLIENT_CLOSED_REQUEST = 499

_log = logging.getLogger("serving")


class RequestError(Exception):
    """A request that is refused: HTTP status, code, sentence, and further members of the document."""

    def __init__(self, status: int, code: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members


def body_too_large(limit: int) -> RequestError:
    """413 for a body of more than `limit` bytes."""
    return RequestError(413, "body_too_large", f"the body is larger than the limit of {limit} bytes", limit=limit)


def not_ready(detail: str) -> RequestError:
    """503 until the model is warm."""
    return RequestError(503, "not_ready", detail)


def install_error_handlers(app: FastAPI) -> None:
    """Make every refusal of `app` a problem document."""
    app.add_exception_handler(RequestError, _refused_request)
    app.add_exception_handler(DesedTaskError, _refused_input)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(HTTPException, _framework_refusal)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _bug)


def _problem(request: Request, status: int, code: str, detail: str, **members: Any) -> JSONResponse:
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
        **members,
    }
    return JSONResponse(document, status_code=status, media_type=PROBLEM_JSON)


async def _refused_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _problem(request, error.status, error.code, error.detail, **error.members)


async def _refused_input(request: Request, error: Exception) -> Response:
    if isinstance(error, AudioTooLongError):
        return _problem(request, 413, "audio_too_long", str(error))
    if isinstance(error, AudioFormatError):
        return _problem(request, 415, "unknown_container", str(error))
    if isinstance(error, AudioError):
        return _problem(request, 422, "bad_audio", str(error))
    # Not the client's fault; the sentence may name folders of this machine, so it stays here.
    _log.error("%s", error)
    return _problem(request, 500, "model_failed", "the model failed on this recording; the server's log says why")


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"parameter": str(fault["loc"][-1]), "detail": str(fault["msg"])} for fault in error.errors()]
    detail = "; ".join(f"{fault['parameter']}: {fault['detail']}" for fault in faults)
    return _problem(request, 422, "bad_parameter", detail, errors=faults)


async def _framework_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {
        404: f"no such path {request.url.path}; /docs lists them",
        405: f"{request.method} is not allowed on {request.url.path}",
    }.get(error.status_code, error.detail)
    response = _problem(request, error.status_code, _CODES.get(error.status_code, "refused"), detail)
    response.headers.update(error.headers or {})
    return response


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _bug(request: Request, _error: Exception) -> Response:
    # The server logs the traceback.
    return _problem(request, 500, "internal_error", "the server failed; this is a bug, its log says more")

"""Every refusal is one document: application/problem+json (RFC 9457), the framework's own refusals too.

`status` and `title` are those of HTTP (so `type` is about:blank), `detail` is the sentence for the person who sent the
request, `instance` the path, `code` a stable word for programs, `request_id` what to name to the operator. Some
codes add a member: `limit`, `retry_after` (seconds, with the header Retry-After), `errors` (of bad parameters, each
with `parameter` and `detail`).

400 malformed body            401 no or unknown key        403 not for this key       404 no such path or model
405 method                    406 format                   408 slow body              413 body or recording too large
415 container or media type   422 bad parameter; undecodable, empty, truncated or NaN audio
429 overloaded, or the key's audio is used up              500 a bug or a broken model, told in the log only
503 not ready, or draining    504 the deadline has passed
"""

from __future__ import annotations

import http
import json
import logging
import math
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError, DesedTaskError, OptionsError

PROBLEM_JSON = "application/problem+json"

_CODES = {404: "not_found", 405: "method_not_allowed"}

_log = logging.getLogger("serving")


class RequestError(Exception):
    """A request that is refused: HTTP status, code, sentence, and further members of the document."""

    def __init__(self, status: int, code: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members


class MethodNotAllowedError(RequestError):
    """405, with the methods that the path has."""

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(405, "method_not_allowed", f"{method} is not allowed on {path}")
        self.allowed = allowed


class ClientGoneError(Exception):
    """The client left before its answer."""


class Refusal(NamedTuple):
    """A problem document and what goes with it."""

    status: int
    document: dict[str, Any]
    headers: list[tuple[bytes, bytes]]

    @property
    def body(self) -> bytes:
        """The document as bytes."""
        return json.dumps(self.document, ensure_ascii=False).encode("utf-8", "backslashreplace")


def body_too_large(limit: int) -> RequestError:
    """413 for a body of more than `limit` bytes."""
    return RequestError(413, "body_too_large", f"the body is larger than the limit of {limit} bytes", limit=limit)


def draining() -> RequestError:
    """503 once the server was asked to stop; another one answers, or this one when it has started again."""
    return RequestError(503, "draining", "the server is stopping; ask another one, or again soon", retry_after=1)


def not_ready(detail: str) -> RequestError:
    """503 until the model is warm."""
    return RequestError(503, "not_ready", detail, retry_after=1)


def bad_parameters(faults: list[tuple[str, str]]) -> RequestError:
    """422 for parameters, each (name, what is wrong with it)."""
    errors = [{"parameter": parameter, "detail": detail} for parameter, detail in faults]
    return RequestError(422, "bad_parameter", "; ".join(f"{name}: {detail}" for name, detail in faults), errors=errors)


def refusal_of(error: Exception, method: str, path: str, request_id: str) -> Refusal:
    """What is answered when a request ends with `error`; a bug is logged, and told in no detail."""
    refused = _as_request_error(error, method, path, request_id)
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
        "instance": path,
        "code": refused.code,
        "request_id": request_id,
        **refused.members,
    }
    return Refusal(refused.status, document, _headers_of(refused))


def _as_request_error(error: Exception, method: str, path: str, request_id: str) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DesedTaskError):
        return _refused_input(error, request_id)
    if isinstance(error, RequestValidationError):
        return bad_parameters([(str(fault["loc"][-1]), str(fault["msg"])) for fault in error.errors()])
    if isinstance(error, HTTPException):
        return _framework_refusal(error, method, path)
    _log.error("request %s: a bug", request_id, exc_info=error)
    return RequestError(500, "internal_error", "the server failed; this is a bug, its log says more")


def _refused_input(error: DesedTaskError, request_id: str) -> RequestError:
    if isinstance(error, AudioTooLongError):
        return RequestError(413, "audio_too_long", str(error))
    if isinstance(error, AudioFormatError):
        return RequestError(415, "unknown_container", str(error))
    if isinstance(error, AudioError):
        return RequestError(422, "bad_audio", str(error))
    if isinstance(error, OptionsError):
        return RequestError(422, "bad_parameter", str(error))
    # Not the client's fault; the sentence may name folders of this machine, so it stays here.
    _log.error("request %s: %s", request_id, error)
    return RequestError(500, "model_failed", "the model failed on this recording; the server's log says why")


def _framework_refusal(error: HTTPException, method: str, path: str) -> RequestError:
    allowed = (error.headers or {}).get("Allow")
    if error.status_code == 405 and allowed:
        return MethodNotAllowedError(method, path, tuple(name.strip() for name in allowed.split(",")))
    detail = f"no such path {path}; /docs lists them" if error.status_code == 404 else str(error.detail)
    return RequestError(error.status_code, _CODES.get(error.status_code, "refused"), detail)


def _headers_of(error: RequestError) -> list[tuple[bytes, bytes]]:
    headers = []
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="sound events"'))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode("latin-1")))
    if "retry_after" in error.members:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.members["retry_after"]))))
    return headers

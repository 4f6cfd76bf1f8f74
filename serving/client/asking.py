"""What both clients share, without any input or output: requests, how answers are read, and when to try again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, Generic, TypedDict, TypeVar

import httpx

from serving.client.errors import ClientError, OverloadedError, ServiceError, UnreachableError
from serving.client.recordings import Body
from serving.client.results import Document

Answer = TypeVar("Answer")

# Refusals that pass: overload, a server that starts or stops, a balancer that just lost one.
_PASSING = (429, 502, 503)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0


class Parameters(TypedDict, total=False):
    """What may be asked of a recording; see the service's page /docs. deadline: seconds, after which it is given up."""

    model: str
    threshold: float
    thresholds: Mapping[str, float]
    labels: Sequence[str]
    top_k: int
    min_duration: float
    frames: bool
    strict: bool
    deadline: float


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """One request. bodies: one recording, or those of a form; read: its document -> what the caller gets."""

    method: str
    path: str
    read: Callable[[Document], Answer]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: Sequence[Body] = ()
    is_form: bool = False

    def form(self, opened: ExitStack) -> list[tuple[str, tuple[str, IO[bytes] | bytes, str]]]:
        """The recordings as files of a form; they stay open until `opened` is closed."""
        return [("file", (body.name, body.open(opened), body.content_type)) for body in self.bodies]

    def answer(self, response: httpx.Response) -> Answer:
        """What a response says; ServiceError for a refusal, ClientError for what the service never says."""
        if response.status_code != 200:
            raise _refusal(response)
        try:
            return self.read(response.json())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            kind = response.headers.get("content-type", "no type")
            raise ClientError(f"{response.url} answers what this client cannot read ({kind}): {error!r}") from error


@dataclass
class Tries:
    """When a request is sent again: while it is worth it, and `max_wait` seconds of waiting are not used up."""

    max_wait: float
    num_failed: int = 0
    waited: float = 0.0

    def wait_after(self, error: Exception) -> float:
        """Seconds to wait before the next try; raises what the caller is to see when there is none."""
        failure = error if isinstance(error, ClientError) else UnreachableError(f"{type(error).__name__}: {error}")
        passes = failure.status in _PASSING if isinstance(failure, ServiceError) else _may_pass(error)
        backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self.num_failed, 10)) * random.uniform(0.5, 1.0)
        # Who asks for no wait at all, as balancers do, would be asked for ever.
        wait = (failure.retry_after if isinstance(failure, ServiceError) else None) or backoff
        if not passes or self.waited + wait > self.max_wait:
            raise failure from (None if failure is error else error)
        self.num_failed += 1
        self.waited += wait
        return wait


def _may_pass(error: Exception) -> bool:
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.LocalProtocolError | httpx.UnsupportedProtocol
    )


def ask(
    path: str, read: Callable[[Document], Answer], bodies: Sequence[Body], parameters: Parameters, is_form: bool = False
) -> Request[Answer]:
    """The request that sends recordings; TypeError for parameters that there are not, ValueError for no recording."""
    if not bodies:
        raise ValueError("a batch of no recordings; give one or more")
    unknown = set(parameters) - Parameters.__annotations__.keys()
    if unknown:
        raise TypeError(f"no parameter {sorted(unknown)[0]!r}; there are {', '.join(Parameters.__annotations__)}")
    query: dict[str, Any] = {name: value for name, value in parameters.items() if value is not None}
    deadline = query.pop("deadline", None)
    headers = {} if deadline is None else {"X-Deadline-Seconds": f"{deadline:g}"}
    if not is_form:
        # The length is known, so that the service can refuse before anything is sent.
        headers |= {"Content-Type": bodies[0].content_type, "Content-Length": str(bodies[0].num_bytes)}
    return Request("POST", path, read, {name: _text(value) for name, value in query.items()}, headers, bodies, is_form)


def look_up(path: str, read: Callable[[Document], Answer]) -> Request[Answer]:
    """The request for what the service says of itself."""
    return Request("GET", path, read)


def http_settings(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """How httpx is to be set up."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no address of a service; write http://HOST:PORT")
    headers = {} if key is None else {"Authorization": f"Bearer {_checked(key)}"}
    return {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout}


def _checked(key: str) -> str:
    """A key without the line break of the file that it is from; ValueError, which does not tell it, when it is none."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("the key is empty, or has characters that no API key has")
    return key


def _text(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(dict(value), default=_plain)
    return str(value) if isinstance(value, str | int | float) else json.dumps(list(value))


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _refusal(response: httpx.Response) -> ServiceError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    if response.has_redirect_location:
        problem = {"detail": f"it is at another address, {response.headers['location']}", **problem}
    kind = OverloadedError if response.status_code in (429, 503) else ServiceError
    return kind(response.status_code, problem, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; None where the header is missing or a date, which clocks that differ make useless."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None

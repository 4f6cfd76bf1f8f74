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
        """What a response says; ServiceError for a refusal."""
        if response.status_code == 200:
            return self.read(response.json())
        raise _refusal(response)


@dataclass
class Tries:
    """When a request is sent again: while it is worth it, and `max_wait` seconds of waiting are not used up."""

    max_wait: float
    num_failed: int = 0
    waited: float = 0.0

    def wait_after(self, error: Exception) -> float:
        """Seconds to wait before the next try; raises what the caller is to see when there is none."""
        failure = error if isinstance(error, ClientError) else UnreachableError(f"{type(error).__name__}: {error}")
        passes = not isinstance(failure, ServiceError) or failure.status in _PASSING
        backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2**self.num_failed) * random.uniform(0.5, 1.0)
        asked = failure.retry_after if isinstance(failure, ServiceError) else None
        wait = backoff if asked is None else asked
        if not passes or self.waited + wait > self.max_wait:
            raise failure from (None if failure is error else error)
        self.num_failed += 1
        self.waited += wait
        return wait


def ask(
    path: str, read: Callable[[Document], Answer], bodies: Sequence[Body], parameters: Parameters, is_form: bool = False
) -> Request[Answer]:
    """The request that sends recordings; TypeError for parameters that there are not."""
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
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    return str(value) if isinstance(value, str | int | float) else json.dumps(list(value))


def _refusal(response: httpx.Response) -> ServiceError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    kind = OverloadedError if response.status_code in (429, 503) else ServiceError
    return kind(response.status_code, problem if isinstance(problem, dict) else {}, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; None where the header is missing or a date, which clocks that differ make useless."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None

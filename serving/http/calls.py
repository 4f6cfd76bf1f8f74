"""Call and Answer: one request on its way through the service, and what is sent back.

They stand in for the framework's request and response where every microsecond counts: a call reads its headers once
into a dict, and gathers what the log and the metrics will say of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from serving.http.keys import ApiKey, KeyRing
    from serving.http.quotas import Quotas
    from serving.http.tracing import Tracer
    from serving.inference.engine import Engine
    from serving.inference.recording import Timing
    from serving.metrics import Metrics
    from serving.settings import ServingOptions

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"


@dataclass
class Services:
    """What the routes of one application share.

    keys: None when anybody may ask; tracer: None without tracing; stopping: whether the server was asked to stop.
    """

    settings: ServingOptions
    engine: Engine
    metrics: Metrics
    keys: KeyRing | None
    quotas: Quotas
    tracer: Tracer | None = None
    stopping: bool = False


@dataclass(slots=True)
class Call:
    """One request. headers: names in lower case, of several the last; route: the template that its path fits."""

    services: Services
    scope: Scope
    receive: Receive
    headers: Mapping[bytes, bytes]
    id: str
    method: str
    path: str
    route: str = "unmatched"
    path_values: Mapping[str, str] = field(default_factory=dict)
    key: ApiKey | None = None
    start: float = field(default_factory=time.monotonic)
    # Whether the last byte of its body was read.
    body_ended: bool = False
    # What the log says.
    num_bytes: int = 0
    audio_seconds: float = 0.0
    container: str | None = None
    timing: Timing | None = None
    code: str | None = None

    def header(self, name: bytes) -> str | None:
        """A header's text, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def claimed_bytes(self) -> int | None:
        """The length that the header states for the body; None when it states none."""
        claimed = self.headers.get(b"content-length", b"")
        return int(claimed) if claimed.isdigit() else None

    @property
    def has_unread_body(self) -> bool:
        """Whether the client may still be sending."""
        if self.body_ended:
            return False
        return b"transfer-encoding" in self.headers or bool(self.claimed_bytes)


class Answer(NamedTuple):
    """What is sent back; a body in slices is sent slice by slice, and others are answered in between."""

    body: bytes | Iterator[bytes]
    media_type: bytes = JSON
    status: int = 200
    headers: Headers = ()


Endpoint = Callable[[Call], Awaitable[Answer]]


class Route(NamedTuple):
    """One operation: what answers it, whether anybody may ask without a key, and what the interface's document says."""

    method: str
    path: str
    endpoint: Endpoint
    operation: Mapping[str, Any]
    open_to_all: bool = False

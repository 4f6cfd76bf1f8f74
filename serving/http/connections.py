"""HttpConnection: uvicorn's connection with bounds on heads, problem documents, and an orderly way to end.

uvicorn's own protocol reads a head of any length for any time, closes a connection under a client that still uploads
(whose kernel then throws the answer away with the connection), keeps one for ever whose client takes nothing of its
answer, loses the body of a request that offers to speak another protocol (curl --http2, Java), and tells what is no
HTTP in plain text. Here a head has 32 KiB and `head_seconds`; a connection that is to close after its answer first
takes what is still on its way; one on which nothing is taken for `keep_alive_seconds` is cut; and once the server is
draining, every answer says `Connection: close`, so that clients move on without losing a request.
"""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 32_768
# How long a client that was refused may go on sending before the connection is cut.
LINGER_SECONDS = 5.0
# Of requests that come before their turn no more are kept; the connection ends with the last answer.
MAX_PIPELINED = 1000
# A larger piece of an answer is written by itself: put together with the head it would be there once more.
_LARGE_BYTES = 1 << 16


def problem(status: int, code: str, detail: str) -> bytes:
    """A problem document of what ends before any route is found."""
    title = http.HTTPStatus(status).phrase
    return json.dumps(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    ).encode()


class ServiceConfig(uvicorn.Config):
    """uvicorn's settings with ours: seconds for a request's head."""

    def __init__(self, app: Any, head_seconds: float, **settings: Any) -> None:
        super().__init__(app, http=HttpConnection, **settings)
        self.head_seconds = head_seconds


class Connections(ServerState):
    """All connections of a server; `draining` once it has been asked to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = False


class HttpConnection(HttpToolsProtocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.in_head = False
        self._lingers = False
        self._num_read = 0
        # Bytes since the parser came to the end of anything: part of a head, of trailers, or of a chunk's extensions.
        self._num_unfinished = 0
        self._reader_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal = (400, "malformed_request", "this is not HTTP/1.1")
        self._arm_idle_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._forget_reader()
        self._unset_keepalive_if_required()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come, or all that came is answered."""
        return not self.in_head and (self.cycle is None or self.cycle.response_complete)

    @property
    def busy(self) -> bool:
        """Whether closing the connection now would cost its client an answer."""
        return self._lingers or not self.idle

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        self._unset_keepalive_if_required()
        self._num_read = len(data)
        self._num_unfinished += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response(self._refusal[2])
            return
        if self._num_unfinished > MAX_HEAD_BYTES:
            self._refuse_long_head()
        elif self.in_head:
            self._wait_for_head()
        elif self.idle and self.timeout_keep_alive_task is None:
            self._arm_idle_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])

    def _decline(self, rest: bytes) -> None:
        """No other protocol is spoken: the request is answered, its body read as that of any other, and no more."""
        self.cycle.keep_alive = False
        framing = self._body_framing()
        if framing is not None:
            self.parser = httptools.HttpRequestParser(_BodyOnly(self))
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)
            self.parser.feed_data(rest)

    def _body_framing(self) -> tuple[bytes, bytes] | None:
        """The header that says how long the body is."""
        names = (b"content-length", b"transfer-encoding")
        return next(((name, value) for name, value in self.headers if name in names), None)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # and of no use behind a body
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._num_unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._num_unfinished = 0
        # Behind an offer the parser sees another protocol, and no body.
        if not (self.parser.should_upgrade() and self._body_framing()):
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._num_unfinished = 0
        self._end_head()
        if self._num_read > MAX_HEAD_BYTES:
            self._check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError  # the parser's way to stop
        super().on_headers_complete()
        if cast(Connections, self.server_state).draining:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Of requests that come at once, `cycle` is the first, and `self.cycle` the last.
        self._running = cycle
        cycle.transport = cast(asyncio.Transport, _ClosesGently(self, cycle))
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._running is not None:
            # The two know each other; left to the collector of such circles, thousands would stop the loop at a time.
            self._running.transport = self.transport
        super().on_response_complete()

    def begin_to_drain(self) -> None:
        """The answer to the request in progress is the last one of this connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def close_gently(self, cycle: RequestResponseCycle) -> None:
        """Close after the answer of `cycle`; what the client still sends is read and dropped for a while."""
        if not cycle.more_body or self.transport.is_closing():
            self.transport.close()
            return
        self._lingers = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_reader()

    def send_400_response(self, msg: str) -> None:
        """Tell what is wrong with what is no request, and close."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            # The client would take it for the answer to the request before.
            self._lingers = True
            self._end_head()
            self.cycle.keep_alive = False
            return
        status, code, _ = self._refusal
        body = problem(status, code, msg)
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._lingers = True
        self._end_head()
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """No line in the log for a wish that any client may have."""

    def _watch_reader(self) -> None:
        self._num_unread = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.timeout_keep_alive, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._num_unread:
            self._watch_reader()
        else:
            self.transport.abort()

    def _forget_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _arm_idle_timer(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            seconds = cast(ServiceConfig, self.config).head_seconds
            self._head_timer = self.loop.call_later(seconds, self._head_is_late)

    def _check_head(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refusal = _LONG_HEAD
            raise ValueError

    def _refuse_long_head(self) -> None:
        self._refusal = _LONG_HEAD
        self.send_400_response(_LONG_HEAD[2])

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._refusal = (408, "slow_request", "the request's head took too long to arrive")
        self.send_400_response(self._refusal[2])

    def _end_head(self) -> None:
        self.in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


_LONG_HEAD = (431, "head_too_large", f"the request's line and headers exceed {MAX_HEAD_BYTES} bytes")


class _BodyOnly:
    """What a parser calls that is to read the body of a request whose head was read before."""

    def __init__(self, connection: HttpConnection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


class _ClosesGently:
    """The transport of a connection as one request sees it."""

    def __init__(self, connection: HttpConnection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._write = connection.transport.write
        self._head: bytes | None = b"" if cycle.scope["method"] != "HEAD" else None
        self.is_closing = connection.transport.is_closing

    def write(self, data: bytes) -> None:
        """The head of an answer goes out with the first of its body: one call of the system, one packet."""
        if self._head is None or not self._cycle.response_started:
            self._write(data)
        elif self._head:
            head, self._head = self._head, None
            if len(data) > _LARGE_BYTES:
                self._write(head)
                self._write(data)
            else:
                self._write(head + data)
        else:
            self._head = data

    def close(self) -> None:
        """Close once the client has nothing more to say."""
        self._connection.close_gently(self._cycle)

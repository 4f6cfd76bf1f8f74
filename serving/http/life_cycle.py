"""ServiceServer: how a server ends and how it takes new models, so that no request is lost.

SIGTERM, SIGINT   the server drains. At once /health/ready says 503 and every answer says `Connection: close`; for
                  `grace` seconds, in which balancers notice, everything is still served. Then new recordings are
                  refused (503, Retry-After), those in progress end, the port is closed, and the process exits with 0.
a second one      ends the process at once, with 128 + the signal's number.
SIGHUP            the file of keys is read again, and every model is loaded again beside the old one and takes its place
                  when it is warm; what cannot be read is a line in the log, and the old keys or model go on.

A connection that a client keeps open is closed only when it has been idle since before the refusals began: a request
that arrives on one while the server drains is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from desed_task.errors import DesedTaskError
from serving.errors import RequestError
from serving.http.app import ServiceApp
from serving.http.connections import Connections, HttpConnection, ServiceConfig
from serving.http.listener import accept_waiting, stop_handshakes

# Answers that are not finished when all requests in progress are: refusals that were being written.
_LAST_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_POLL_SECONDS = 0.02

_log = logging.getLogger("serving")


class ServiceServer(uvicorn.Server):
    """A server of one application. grace, drain_seconds: as in the settings."""

    def __init__(self, config: ServiceConfig, app: ServiceApp, grace: float, drain_seconds: float) -> None:
        super().__init__(config)
        self.server_state = self._connections = Connections()
        self._app = app
        self._engine = app.state.engine
        self._grace = grace
        self._drain_seconds = drain_seconds
        self._stopping = asyncio.Event()
        self._reload_again = False
        self._reloading: asyncio.Task[None] | None = None

    def fail(self) -> None:
        """Stop without grace: the server never was of use."""
        self._grace = 0.0
        self._stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Our handlers while the server runs; only a main thread can have any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._read_again}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def main_loop(self) -> None:
        """Until a signal comes; once a second the date of the answers' header moves on."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close everything."""
        self._say_goodbye()
        await asyncio.sleep(self._grace)
        await self._work_ends()
        await self._close_port(sockets or [])
        await self._connections_end()
        if self._reloading is not None:
            self._reloading.cancel()
        await self.lifespan.shutdown()

    def _say_goodbye(self) -> None:
        """From now on every answer closes its connection, and the server says that it is not ready."""
        self._app.say_stopping()
        self._connections.draining = True
        for connection in self._http_connections():
            connection.begin_to_drain()

    async def _work_ends(self) -> None:
        """No new work is taken; what began before is answered, or given up after `drain_seconds`."""
        drained = asyncio.ensure_future(self._engine.drain())
        _, late = await asyncio.wait({*self._connections.tasks, drained}, timeout=self._drain_seconds)
        if late:
            _log.error("%d requests were given up, not done in %g s", len(late - {drained}), self._drain_seconds)
            drained.cancel()
            for connection in self._http_connections():
                connection.transport.abort()

    async def _close_port(self, sockets: list[socket.socket]) -> None:
        """Take in everybody who has reached us, and nobody any more."""
        for listener in sockets:
            await stop_handshakes(listener)
        waiting = [connection for listener in sockets for connection in accept_waiting(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return HttpConnection(self.config, self._connections, self.lifespan.state)

    async def _connections_end(self) -> None:
        """What still arrives is refused in peace; connections on which nothing happens are closed."""
        await asyncio.sleep(_POLL_SECONDS)
        await self._wait_while(lambda: any(connection.busy for connection in self._http_connections()), _LAST_SECONDS)
        for connection in self._http_connections():
            connection.shutdown()
        await self._wait_while(lambda: bool(self._connections.connections), _CLOSE_SECONDS)
        for connection in self._http_connections():
            connection.transport.abort()  # its client does not read

    async def _wait_while(self, unfinished: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while unfinished():
                    await asyncio.sleep(_POLL_SECONDS)

    def _http_connections(self) -> list[HttpConnection]:
        return [one for one in self._connections.connections if isinstance(one, HttpConnection)]

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + number)
        self._stop()
        self._loop.call_soon_threadsafe(self._stopping.set)

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    def _read_again(self, _number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._begin_reload)

    def _begin_reload(self) -> None:
        self._reload_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = self._loop.create_task(self._reload())

    async def _reload(self) -> None:
        """Once for all signals that come before it has begun."""
        while self._reload_again:
            self._reload_again = False
            try:
                if self._app.read_keys():
                    _log.warning("the file of keys was read again")
            except DesedTaskError as error:
                _log.error("the keys go on as they were: %s", error)
            for model in self._engine.models():
                try:
                    new = await self._engine.reload(model.id)
                except (DesedTaskError, RequestError, OSError) as error:
                    _log.error("model %s goes on as it was: %s", model.id, error)
                else:
                    _log.warning("model %s was loaded again: version %s", new.id, new.bundle.version)

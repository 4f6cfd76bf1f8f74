"""Gate: the one layer between the server and the routes. Ids, keys, refusals, metrics and the log are its business.

A path of the table goes straight to its endpoint; what no route has goes on to the framework, whose own refusals become
problem documents too. A request that is refused before its body was read is answered at once; a small rest of the body
is read over, before a larger one the connection ends (gently: `connections` lets the client see its answer).
"""

from __future__ import annotations

import asyncio
import http
import itertools
import re
import secrets
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

from serving.errors import PROBLEM_JSON, ClientGoneError, MethodNotAllowedError, refusal_of
from serving.http.calls import Answer, AsgiApp, Call, Headers, Message, Receive, Route, Scope, Send, Services
from serving.http.cors import Cors
from serving.http.request_log import write_request

# nginx's number for a client that left before the answer; only the log and the metrics ever show it.
CLIENT_CLOSED_REQUEST = 499

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# The engine counts those whom it has no room for.
_COUNTED_HERE = {"quota_exceeded", "not_ready", "draining", "key_missing", "key_unknown"}
_PROBLEM_TYPE = PROBLEM_JSON.encode("ascii")
# A client that leaves is looked for when its answer takes longer than this; a task for each request would cost more.
_WATCHED_AFTER_SECONDS = 0.05
# Of a body that nobody wants: what is read over, since a new connection would cost as much.
_KEPT_ALIVE_BYTES = 1 << 20

# Ids that no other process gives, without asking for random numbers each time.
_PROCESS_ID, _COUNTER = secrets.token_hex(8), itertools.count(secrets.randbits(24))

Result = TypeVar("Result")


class Gate:
    """An ASGI application around a table of routes; `rest` answers what is not in it."""

    def __init__(self, services: Services, routes: Sequence[Route], rest: AsgiApp) -> None:
        self._services = services
        self._rest = rest
        self._cors = Cors(services.settings.cors_origins) if services.settings.cors_origins else None
        self._exact: dict[str, dict[str, Route]] = {}
        self._templates: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" in route.path:
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route.path))
            methods = next((known for known_pattern, known in self._templates if known_pattern.pattern == pattern), {})
            if not methods:
                self._templates.append((re.compile(pattern), methods))
        else:
            methods = self._exact.setdefault(route.path, {})
        methods[route.method] = route
        if route.method == "GET":
            methods["HEAD"] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers = dict(scope["headers"])
        call = Call(self._services, scope, receive, headers, _request_id(headers), scope["method"], scope["path"])
        status = 500
        try:
            status = await self._respond(call, send)
        except ClientGoneError:
            status = CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:
            status = CLIENT_CLOSED_REQUEST
            raise
        finally:
            self._note(call, status)

    def _note(self, call: Call, status: int) -> None:
        seconds = time.monotonic() - call.start
        self._services.metrics.request(call.route, call.method, status, seconds)
        if self._services.settings.request_log:
            write_request(call, status, seconds)
        if self._services.tracer is not None:
            self._services.tracer.record(call, status, seconds)

    async def _respond(self, call: Call, send: Send) -> int:
        """Answer a call; the status."""
        try:
            preflight = self._cors.preflight(call.method, call.headers) if self._cors is not None else None
            if preflight is not None:
                answer = Answer(b"", status=204, headers=preflight)
            else:
                route = self._find(call)
                if route is None:
                    return await self._pass_on(call, send)
                if not route.open_to_all and self._services.keys is not None:
                    call.key = self._services.keys.require(call.headers)
                answer = await route.endpoint(call)
        except ClientGoneError:
            raise
        except Exception as error:
            answer = self._refuse(call, error)
        await self._send(call, answer, send)
        return answer.status

    def _find(self, call: Call) -> Route | None:
        methods = self._exact.get(call.path)
        if methods is None:
            methods = self._find_template(call)
        if methods is None:
            return None
        route = methods.get(call.method)
        if route is None:
            call.route = next(iter(methods.values())).path
            raise MethodNotAllowedError(call.method, call.path, tuple(sorted(methods)))
        call.route = route.path
        return route

    def _find_template(self, call: Call) -> dict[str, Route] | None:
        # by the path as it was sent, so that an encoded slash is no end of a name
        raw_path = call.scope.get("raw_path", call.path.encode()).decode("latin-1")
        for pattern, methods in self._templates:
            found = pattern.fullmatch(raw_path)
            if found is not None:
                call.path_values = {name: unquote(value) for name, value in found.groupdict().items()}
                return methods
        return None

    def _refuse(self, call: Call, error: Exception) -> Answer:
        refusal = refusal_of(error, call.method, call.path, call.id)
        call.code = refusal.document["code"]
        if call.code in _COUNTED_HERE:
            self._services.metrics.rejected(call.code)
        return Answer(refusal.body, _PROBLEM_TYPE, refusal.status, tuple(refusal.headers))

    async def _send(self, call: Call, answer: Answer, send: Send) -> None:
        headers = [(b"content-type", answer.media_type), *self._own_headers(call), *answer.headers]
        if _must_close(call, answer.status):
            headers.append((b"connection", b"close"))
        start: Message = {"type": "http.response.start", "status": answer.status, "headers": headers}
        if isinstance(answer.body, bytes):
            if answer.status != 204:
                headers.append((b"content-length", b"%d" % len(answer.body)))
            await send(start)
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
        else:
            await send(start)
            for piece in answer.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _own_headers(self, call: Call) -> Headers:
        own = (b"x-request-id", call.id.encode("ascii"))
        return (own,) if self._cors is None else (own, *self._cors.headers(call.headers))

    async def _pass_on(self, call: Call, send: Send) -> int:
        """Let the framework answer, with our headers."""
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._own_headers(call)]
            await send(message)

        state = call.scope.setdefault("state", {})
        state["request_id"] = call.id
        try:
            await self._rest(call.scope, call.receive, send_with_id)
        finally:
            call.code = state.get("problem_code")
        return status


async def while_connected(call: Call, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; it is cancelled, and this a ClientGoneError, when the client leaves before."""
    watch = _Watch(call)
    timer = asyncio.get_running_loop().call_later(_WATCHED_AFTER_SECONDS, watch.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if not watch.client_gone:
            raise
        watch.asking_task.uncancel()
        raise ClientGoneError from None
    finally:
        timer.cancel()
        watch.end()


class _Watch:
    """Waits for the client to leave, beside the task that works for it."""

    def __init__(self, call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.asking_task = task
        self.client_gone = False
        self._call = call
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._wait())

    def end(self) -> None:
        # A task that knows us, and is known by us no more: a circle would wait for the collector.
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()

    async def _wait(self) -> None:
        while (await self._call.receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        self.asking_task.cancel()


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return f"{_PROCESS_ID}{next(_COUNTER):08x}"


def _must_close(call: Call, status: int) -> bool:
    """Whether the connection ends with this answer, since too much of the body is still to come."""
    if not call.has_unread_body:
        return False
    claimed = call.claimed_bytes
    # A client that waits to be told to go on will not send the rest, and the next request would be taken for it.
    waits = call.num_bytes == 0 and call.headers.get(b"expect", b"").lower() == b"100-continue"
    too_slow = status == http.HTTPStatus.REQUEST_TIMEOUT
    return claimed is None or waits or too_slow or claimed - call.num_bytes > _KEPT_ALIVE_BYTES

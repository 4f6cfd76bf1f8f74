"""AsyncClient: the service for programs that do other things meanwhile (asyncio, trio)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import anyio
import httpx

from serving.client import results
from serving.client.asking import Parameters, Request, Tries, ask, http_settings, look_up
from serving.client.errors import ClientError
from serving.client.recordings import Recording, as_body

Answer = TypeVar("Answer")


class AsyncClient:
    """A service at `url`. May be used by several tasks, keeps connections open, and is closed by `async with`.

    key: of the API, where the service asks for one; timeout: seconds without any progress of one try; max_wait: seconds
    that one call may spend waiting between tries, when the service is overloaded, starts or stops, or cannot be
    reached; 0 tries once.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 60.0, max_wait: float = 60.0) -> None:
        self._http = httpx.AsyncClient(**http_settings(url, key, timeout))
        self._max_wait = max_wait

    async def events(
        self, recording: Recording, sample_rate: int | None = None, **parameters: Unpack[Parameters]
    ) -> results.Result:
        """What happens when in a recording: a path, the bytes of a file, or a waveform with its sample rate."""
        return await self._ask(ask("/v1/events", results.read_result, [as_body(recording, sample_rate)], parameters))

    async def tags(
        self, recording: Recording, sample_rate: int | None = None, **parameters: Unpack[Parameters]
    ) -> results.Result:
        """Which classes a recording holds."""
        return await self._ask(ask("/v1/tags", results.read_result, [as_body(recording, sample_rate)], parameters))

    async def batch(
        self, recordings: Sequence[Recording], sample_rate: int | None = None, **parameters: Unpack[Parameters]
    ) -> tuple[results.BatchItem, ...]:
        """What happens when in each of several recordings; one that cannot be heard has an error in its place."""
        bodies = [as_body(recording, sample_rate) for recording in recordings]
        return await self._ask(ask("/v1/batch", results.read_batch, bodies, parameters, is_form=True))

    async def models(self) -> tuple[results.Model, ...]:
        """The models that are served, the default one first."""
        return await self._ask(look_up("/v1/models", results.read_models))

    async def ready(self) -> bool:
        """Whether the service would hear a recording now; tried once."""
        try:
            return (await self._http.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, request: Request[Answer]) -> Answer:
        tries = Tries(self._max_wait)
        while True:
            try:
                return request.answer(await self._send(request))
            except (ClientError, httpx.RequestError) as error:
                await anyio.sleep(tries.wait_after(error))

    async def _send(self, request: Request[Any]) -> httpx.Response:
        with contextlib.ExitStack() as opened:
            body: dict[str, Any] = {}
            if request.is_form:
                body["files"] = request.form(opened)
            elif request.bodies:
                body["content"] = await request.bodies[0].pieces_async()
            return await self._http.request(
                request.method, request.path, params=request.query, headers=request.headers, **body
            )

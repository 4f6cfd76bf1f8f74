"""Bodies: the bytes of a request, bounded while they arrive.

What the header claims is checked before a byte is read, what arrives is counted while it is read. Up to 1 MiB a body
stays in memory; above, it goes on in a temporary file without a name, so that nothing is left behind whatever happens.
A body that stands still, or comes slower than the least rate, is a 408.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from serving.errors import ClientGoneError, RequestError, body_too_large
from serving.http.calls import Call, Message

if TYPE_CHECKING:
    from serving.inference.admission import Ticket

Body = bytes | BinaryIO

_IN_MEMORY_BYTES = 1 << 20


class Upload:
    """Bytes that arrive one by one; a context manager, since its file has to be closed."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._file: BinaryIO | None = None
        self.num_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Keep some more."""
        self.num_bytes += len(chunk)
        if self._file is not None:
            # Into the page cache: quicker than the hop to a thread would be.
            self._file.write(chunk)
            return
        self._chunks.append(chunk)
        if self.num_bytes > _IN_MEMORY_BYTES:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
            self._file.writelines(self._chunks)
            self._chunks.clear()

    def body(self) -> Body:
        """All of it, from its start."""
        if self._file is None:
            return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Let go of what is held."""
        self._chunks.clear()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def require_size(call: Call) -> None:
    """RequestError 413 when the header claims more than the limit; 415 when the body is compressed once more."""
    limit = call.services.settings.max_body_bytes
    if (call.claimed_bytes or 0) > limit:
        raise body_too_large(limit)
    encoding = call.header(b"content-encoding") or "identity"
    if encoding != "identity":
        raise RequestError(
            415, "unknown_encoding", f"Content-Encoding {encoding[:40]!r} is not taken; send the file itself"
        )


async def read_body(call: Call, upload: Upload, ticket: Ticket) -> Body:
    """The whole body of a call. RequestError 408, 413 or 429; ClientGoneError when the client leaves."""
    await receive_body(call, upload.write, ticket)
    return upload.body()


async def receive_body(call: Call, keep: Callable[[bytes], object], ticket: Ticket) -> None:
    """Hand the body of a call over as it arrives, within the limits; errors as of `read_body`."""
    settings = call.services.settings
    limit = settings.max_body_bytes
    with _Pace(call, settings.body_idle_seconds, settings.min_body_rate) as pace:
        while not call.body_ended:
            message = await pace.next_message()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            call.body_ended = not message.get("more_body", False)
            chunk = message.get("body", b"")
            call.num_bytes += len(chunk)
            if call.num_bytes > limit:
                raise body_too_large(limit)
            ticket.received(call.num_bytes)
            if chunk:
                keep(chunk)


class _Pace:
    """Watches how fast a body comes, looking once in a while; a timer for each chunk would cost more than the chunk."""

    def __init__(self, call: Call, idle_seconds: float, least_rate: float) -> None:
        self._call = call
        self._idle_seconds = idle_seconds
        self._least_rate = least_rate
        self._num_looks = 0
        self._seen = 0
        self._too_slow = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(self._idle_seconds, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()

    async def next_message(self) -> Message:
        """What the server receives next; RequestError 408 when it takes too long."""
        try:
            return await self._call.receive()
        except asyncio.CancelledError:
            if not self._too_slow or self._task is None:
                raise
            self._task.uncancel()
            raise RequestError(
                408,
                "body_too_slow",
                f"the body stands still or comes with less than {self._least_rate:g} bytes per second; send it again",
            ) from None

    def _look(self) -> None:
        self._num_looks += 1
        num_bytes = self._call.num_bytes
        least = self._least_rate * self._num_looks * self._idle_seconds
        if num_bytes == self._seen or num_bytes < least:
            self._too_slow = True
            if self._task is not None:
                self._task.cancel()
            return
        self._seen = num_bytes
        self._timer = self._loop.call_later(self._idle_seconds, self._look)

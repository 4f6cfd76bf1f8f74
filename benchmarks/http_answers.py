"""Answers of HTTP/1.1 read from bytes as they arrive: enough for a load generator, and strict about where one ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_END_OF_HEAD, _LINE = b"\r\n\r\n", b"\r\n"


@dataclass(frozen=True)
class HttpAnswer:
    """One answer. closes: whether the connection ends with it. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closes: bool

    @property
    def retry_after(self) -> float | None:
        """Seconds of Retry-After; None without, or where it is a date."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isdigit() else None


@dataclass
class _Head:
    status: int
    headers: dict[str, str]

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close" or not (self.is_chunked or self.length is not None)

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        if self.status in (204, 304):
            return 0
        value = self.headers.get("content-length", "")
        return int(value) if value.isdigit() else None


@dataclass
class AnswerReader:
    """Feed it what arrives; one answer at a time comes out."""

    _buffer: bytearray = field(default_factory=bytearray)
    _head: _Head | None = None

    def feed(self, data: bytes) -> HttpAnswer | None:
        """The answer that these bytes complete, if they do. Interim answers (1xx) are skipped."""
        self._buffer += data
        while True:
            if self._head is None and not self._read_head():
                return None
            assert self._head is not None
            if not 100 <= self._head.status < 200:
                break
            self._head = None
        body = self._chunked_body() if self._head.is_chunked else self._counted_body(self._head.length)
        return None if body is None else self._answer(body)

    def end(self) -> HttpAnswer | None:
        """The connection was closed: the answer that ends with it, None where it was cut or none was under way."""
        if self._head is None or self._head.is_chunked or self._head.length is not None:
            return None
        return self._answer(bytes(self._buffer))

    def _read_head(self) -> bool:
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return False
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._head = _Head(int(first.split(" ", 2)[1]), headers)
        del self._buffer[: end + len(_END_OF_HEAD)]
        return True

    def _counted_body(self, length: int | None) -> bytes | None:
        if length is None or len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunked_body(self) -> bytes | None:
        position, pieces = 0, []
        while True:
            line = self._buffer.find(_LINE, position)
            if line < 0:
                return None
            size = int(bytes(self._buffer[position:line]).partition(b";")[0], 16)
            start = line + len(_LINE)
            if len(self._buffer) < start + size + len(_LINE):
                return None
            pieces.append(bytes(self._buffer[start : start + size]))
            position = start + size + len(_LINE)
            if size == 0:
                del self._buffer[:position]
                return b"".join(pieces)

    def _answer(self, body: bytes) -> HttpAnswer:
        assert self._head is not None
        head, self._head = self._head, None
        return HttpAnswer(head.status, head.headers, body, head.closes)

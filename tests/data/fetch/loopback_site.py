"""A web server on the loopback that fails in the ways real ones do, one planned mishap per request."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Mishap:
    """What goes wrong with one request.

    status: answer with it; cut_after: close the connection after so many bytes; ignore_range: send the whole file;
    no_length: close where the file ends and do not say its length; drip: pause between kilobytes (seconds).
    """

    status: int | None = None
    retry_after: str | None = None
    cut_after: int | None = None
    ignore_range: bool = False
    no_length: bool = False
    drip: float = 0.0


@dataclass
class Site:
    """files: path -> content; plans: path -> mishaps of requests to come; asked: (path, Range) of those that came."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    plans: dict[str, list[Mishap]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    with_etag: bool = True

    def url(self, path: str) -> str:
        return self.address + path

    def ranges(self, path: str) -> list[str | None]:
        return [asked_range for asked, asked_range in self.asked if asked == path]

    def publish(self, record: int, name: str, content: bytes, md5: str | None = None) -> str:
        """A file of a record as Zenodo describes it; the path it has."""
        path = f"/api/records/{record}/files/{name}/content"
        checksum = "md5:" + (md5 or hashlib.md5(content).hexdigest())
        entry = {"key": name, "size": len(content), "checksum": checksum, "links": {"self": self.url(path)}}
        self.files[path] = content
        self.files[f"/api/records/{record}"] = json.dumps({"id": record, "files": [entry]}).encode()
        return path


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        asked_range = self.headers["Range"]
        self.site.asked.append((self.path, asked_range))
        plan = self.site.plans.get(self.path, [])
        mishap = plan.pop(0) if plan else Mishap()
        content = self.site.files.get(self.path)
        if content is None or mishap.status is not None:
            self._refuse(mishap.status or 404, mishap.retry_after)
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        first = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
        if mishap.ignore_range or self.headers["If-Range"] not in (None, etag):
            first = 0
        if first and first >= len(content):
            self._refuse(416, None)
            return
        self._send(content, first, etag, mishap)

    def _refuse(self, status: int, retry_after: str | None) -> None:
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()

    def _send(self, content: bytes, first: int, etag: str, mishap: Mishap) -> None:
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if not mishap.no_length:
            self.send_header("Content-Length", str(len(content) - first))
        if self.site.with_etag:
            self.send_header("ETag", etag)
        self.end_headers()
        body = content[first:][: mishap.cut_after]
        for start in range(0, len(body), 1024 if mishap.drip else len(body) or 1):
            self.wfile.write(body[start : start + (1024 if mishap.drip else len(body))])
            self.wfile.flush()
            time.sleep(mishap.drip)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal of a test."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the plan."""


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

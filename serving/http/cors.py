"""CORS: which pages of other origins may ask, from a browser. None, unless the setting cors_origins names them."""

from __future__ import annotations

from collections.abc import Mapping

from serving.errors import RequestError
from serving.http.calls import Headers

_METHODS = b"GET, HEAD, POST"
_REQUEST_HEADERS = b"Authorization, X-API-Key, Content-Type, X-Request-ID, X-Deadline-Seconds"
_EXPOSED = b"X-Request-ID, Retry-After"


class Cors:
    """The origins that may ask; `*` is every one."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = {origin.rstrip("/").encode("latin-1") for origin in origins}

    def headers(self, request_headers: Mapping[bytes, bytes]) -> Headers:
        """What an answer says to the browser; nothing to other origins."""
        origin = request_headers.get(b"origin")
        if origin is None or not self._allows(origin):
            return ((b"vary", b"Origin"),)
        allowed = (b"access-control-allow-origin", b"*" if b"*" in self._origins else origin)
        return (allowed, (b"access-control-expose-headers", _EXPOSED), (b"vary", b"Origin"))

    def preflight(self, method: str, request_headers: Mapping[bytes, bytes]) -> Headers | None:
        """What an answer to a browser's question before the request says besides; None when this is no such question.

        RequestError 403 for an origin that may not ask.
        """
        if method != "OPTIONS" or b"access-control-request-method" not in request_headers:
            return None
        if not self._allows(request_headers.get(b"origin", b"")):
            raise RequestError(403, "origin_not_allowed", "pages of this origin may not ask; see cors_origins")
        return (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", b"600"),
        )

    def _allows(self, origin: bytes) -> bool:
        return b"*" in self._origins or origin in self._origins

"""Requests over HTTP(S) with the standard library: ranges, and failures that pass told from those that stay.

What may pass: no connection, a connection that breaks, silence, 408, 425, 429 and 5xx. Everything else a server says
(404, 403 ...) stays. Proxies are those of the environment.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass

from desed_task.data.fetch.retrying import seconds_to_wait
from desed_task.errors import FetchError

# What a broken or silent connection raises, while it is made and while a body is read.
BROKEN = (OSError, http.client.HTTPException)
_PASSING_STATUS = {408, 425, 429, *range(500, 600)}
_RANGE_NOT_SATISFIABLE = 416
_AGENT = "desed-task (python-urllib)"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)$")


class PassingFailureError(Exception):
    """Worth another attempt; `wait`: seconds that the server asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class RangeRefusedError(Exception):
    """The server has no byte where the file should go on: what is there belongs to another file."""


@dataclass(frozen=True)
class Reply:
    """An open reply. Its first byte stands at `first_byte` of a file of `total` bytes (None: not said).

    version: what to name in `If-Range` so that two versions of a file are never joined; None where there is no such.
    """

    body: http.client.HTTPResponse
    first_byte: int
    total: int | None
    version: str | None


def open_reply(url: str, first_byte: int = 0, version: str | None = None, timeout: float = 60.0) -> Reply:
    """Ask for a file from `first_byte` on, if it is still of that version.

    A server that knows no ranges, or has another version, answers with the whole file: `first_byte` 0 in the reply.
    PassingFailureError, RangeRefusedError, or FetchError where another attempt would not help.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise FetchError(f"{url}: only http and https addresses are fetched")
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if first_byte:
        headers |= {"Range": f"bytes={first_byte}-"} | ({"If-Range": version} if version else {})
    try:
        return _reply(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout))
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(f"{url}: its certificate is not accepted ({error.reason.verify_message})") from None
        raise PassingFailureError(str(error.reason)) from None
    except BROKEN as error:
        raise PassingFailureError(str(error) or type(error).__name__) from None


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code == _RANGE_NOT_SATISFIABLE:
        return RangeRefusedError()
    if error.code in _PASSING_STATUS:
        return PassingFailureError(f"HTTP {error.code} {error.reason}", seconds_to_wait(error.headers["Retry-After"]))
    return FetchError(f"{url}: HTTP {error.code} {error.reason}")


def _reply(body: http.client.HTTPResponse) -> Reply:
    # A weak tag (W/"...") names files that look alike, byte for byte they may differ.
    tag = body.headers["ETag"]
    version = tag if tag and not tag.startswith("W/") else body.headers["Last-Modified"]
    found = _CONTENT_RANGE.match(body.headers["Content-Range"] or "")
    if found and body.status == http.client.PARTIAL_CONTENT:
        return Reply(body, int(found[1]), int(found[2]) if found[2] != "*" else None, version)
    if body.status != http.client.OK:
        body.close()
        raise PassingFailureError(f"HTTP {body.status} {body.reason}, which was not asked for")
    length = body.headers["Content-Length"]
    return Reply(body, 0, int(length) if length and length.isdecimal() else None, version)

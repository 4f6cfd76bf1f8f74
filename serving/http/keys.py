"""API keys: who may ask. The file of keys holds their sha256 sums, so that whoever reads it can ask nothing.

    keys:
      - {name: yard, sha256: a636e3..., audio_seconds_per_hour: 36000}
      - {name: me, sha256: 60303a..., operator: true}

A key is 256 random bits, which nobody finds by trying, so one round of sha256 is enough. It is sent as
`Authorization: Bearer KEY` or `X-API-Key: KEY`, and compared with every key of the file in constant time. An operator's
key may reload models. `desed-task key NAME` makes a key and the line for the file.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator

from desed_task.command_line import RecipeParser, show
from desed_task.errors import OptionsError
from desed_task.options import Options, check_options, read_options
from serving.errors import RequestError

_PREFIX = "sed_"
_KEYS = re.compile(rf"{_PREFIX}[\w-]{{16,}}")
_SUM = re.compile(r"[0-9a-f]{64}")


class ApiKey(Options):
    """One key of the file."""

    name: str = Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$", description="what the log calls whoever has the key")
    sha256: str = Field(description="sha256 of the key, in hexadecimal digits")
    audio_seconds_per_hour: float | None = Field(
        None, gt=0, description="audio that may be sent, in seconds per hour; null sets no limit"
    )
    operator: bool = Field(False, description="whether the key may reload models")

    @field_validator("sha256", mode="before")
    @classmethod
    def _is_a_sum(cls, value: Any) -> Any:
        # Told without the value, which may be a key.
        if not isinstance(value, str) or not _SUM.fullmatch(value):
            raise ValueError("not a sha256, 64 digits of 0-9 and a-f as text; `desed-task key NAME` prints one")
        return value


class _KeyFile(Options):
    keys: tuple[ApiKey, ...] = Field(min_length=1, description="who may ask")


class KeyRing:
    """The keys of one server."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = [(key.sha256.encode("ascii"), key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The keys of a file; OptionsError when it cannot be read or a name or a key stands in it twice."""
        try:
            keys = read_options(path, _KeyFile).keys
        except OptionsError as error:
            # A key that stands where it should not must not get into the log.
            raise OptionsError(_KEYS.sub(f"{_PREFIX}...", str(error))) from None
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in keys]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise OptionsError(f"{path}: the {what} {twice!r} stands twice; remove one")
        return cls(keys)

    def require(self, headers: Mapping[bytes, bytes]) -> ApiKey:
        """The key that a request was sent with; RequestError 401 without one, or with one that is not in the file."""
        presented = _presented(headers)
        if presented is None:
            raise RequestError(401, "key_missing", "send an API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        digest = hashlib.sha256(presented).hexdigest().encode("ascii")
        found = None
        for stored, key in self._keys:  # to the end, so that the time tells nothing
            if hmac.compare_digest(stored, digest):
                found = key
        if found is None:
            raise RequestError(401, "key_unknown", "this API key is not known; ask the operator for another")
        return found


def require_operator(keys: KeyRing | None, key: ApiKey | None) -> None:
    """RequestError 403 unless the request came with an operator's key."""
    if keys is None:
        raise RequestError(
            403, "operator_only", "models are reloaded over HTTP only where keys_file is set; send SIGHUP"
        )
    if key is None or not key.operator:
        raise RequestError(403, "operator_only", "this takes an operator's key")


def _presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    key = token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()
    return key or None


def make_key(argv: Sequence[str]) -> int:
    """The verb `desed-task key NAME`: print a new key, and what the file of keys holds of it."""
    parser = RecipeParser(prog="desed-task key", description="Make an API key of the service.")
    parser.add_argument("name", help="what the log calls whoever has the key")
    parser.add_argument("--operator", action="store_true", help="the key may reload models")
    parser.add_argument("--audio_seconds_per_hour", type=_seconds, help="audio that may be sent (no limit)")
    arguments = parser.parse_args(argv)
    key = _PREFIX + secrets.token_urlsafe(32)
    entry = {"name": arguments.name, "sha256": hashlib.sha256(key.encode("ascii")).hexdigest()}
    entry |= {"audio_seconds_per_hour": arguments.audio_seconds_per_hour} if arguments.audio_seconds_per_hour else {}
    entry |= {"operator": True} if arguments.operator else {}
    check_options(entry, ApiKey, default_origin="desed-task key")
    show(f"the key, which is shown this once: {key}")
    show(f"the line for the file of keys, under `keys:`\n  - {json.dumps(entry)}")
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds

"""What Zenodo says about the files of a record: address, size and md5, read from its API when they are needed.

The reply to <api>/records/<id> is JSON whose `files` each have `key` (the name), `size`, `checksum` ("md5:...") and
`links.self` (the address).
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

from desed_task.data.fetch.download import RemoteFile
from desed_task.data.fetch.http import BROKEN, PassingFailureError, open_reply
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

ZENODO = "https://zenodo.org"
_LONGEST_REPLY_BYTES = 10_000_000


def find_file(record: int, name: str, policy: RetryPolicy, zenodo: str = ZENODO) -> RemoteFile:
    """The file `name` of a record, with its published size and checksum."""
    found = find_files(record, policy, zenodo).get(name)
    if found is None:
        raise FetchError(f"{_address(record, zenodo)}: says nothing usable of {name}")
    return found


def find_files(record: int, policy: RetryPolicy, zenodo: str = ZENODO) -> dict[str, RemoteFile]:
    """Name -> file of all that a record usably describes."""
    files = _read_json(_address(record, zenodo), policy).get("files")
    found = {}
    for file in files if isinstance(files, list) else []:
        try:
            found[str(file["key"])] = RemoteFile(str(file["links"]["self"]), int(file["size"]), str(file["checksum"]))
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _address(record: int, zenodo: str) -> str:
    return f"{zenodo}/api/records/{record}"


def _read_json(url: str, policy: RetryPolicy) -> dict[str, Any]:
    try:
        tree = json.loads(_read(url, policy))
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise FetchError(f"{url}: not the description of a record")
    return tree


def _read(url: str, policy: RetryPolicy) -> bytes:
    attempt = 0
    while True:
        try:
            reply = open_reply(url, timeout=policy.timeout)
            with closing(reply.body):
                content = reply.body.read(_LONGEST_REPLY_BYTES)
            if reply.total is None or len(content) == reply.total:
                return content
            failure = PassingFailureError(f"the connection ended after {len(content)} of {reply.total} bytes")
        except PassingFailureError as error:
            failure = error
        except BROKEN as error:
            failure = PassingFailureError(f"the connection broke ({error or type(error).__name__})")
        attempt += 1
        if attempt >= policy.attempts:
            raise FetchError(f"{url}: {failure} ({attempt} attempts)")
        time.sleep(policy.wait_before(attempt, failure.wait))

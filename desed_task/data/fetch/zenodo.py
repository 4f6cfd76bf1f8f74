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
    url = f"{zenodo}/api/records/{record}"
    files = _read_json(url, policy).get("files")
    for file in files if isinstance(files, list) else []:
        if isinstance(file, dict) and file.get("key") == name:
            try:
                return RemoteFile(str(file["links"]["self"]), int(file["size"]), str(file["checksum"]))
            except (KeyError, TypeError, ValueError):
                break
    raise FetchError(f"{url}: says nothing usable of {name}")


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

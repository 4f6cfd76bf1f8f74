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
    for attempt in range(1, policy.attempts + 1):
        try:
            with closing(open_reply(url, timeout=policy.timeout).body) as body:
                tree = json.loads(body.read(_LONGEST_REPLY_BYTES))
            if isinstance(tree, dict):
                return tree
            raise FetchError(f"{url}: not the description of a record")
        except ValueError:
            raise FetchError(f"{url}: not the description of a record") from None
        except (PassingFailureError, *BROKEN) as error:
            if attempt == policy.attempts:
                raise FetchError(f"{url}: {error} ({attempt} attempts)") from None
            time.sleep(policy.wait_before(attempt, getattr(error, "wait", None)))
    raise AssertionError("unreachable")

"""The log of requests: one JSON object per line on standard error, for machines that collect logs.

It tells the request's id, route, status and code, bytes, seconds of audio, container, where the time went, and the NAME
of the key; never audio, a key, a file name, or a path that no route has.
"""

from __future__ import annotations

import json
import logging
import time

from serving.calls import Call

_log = logging.getLogger("serving.requests")


def write_request(call: Call, status: int, seconds: float) -> None:
    """Write the line of one request. status: 499 for a client that left; seconds: from its head to its answer."""
    line = {
        "time": round(time.time(), 3),
        "request_id": call.id,
        "method": call.method,
        "route": call.route,
        "status": status,
        "seconds": round(seconds, 6),
        "bytes": call.num_bytes,
    }
    if call.code is not None:
        line["code"] = call.code
    if call.key is not None:
        line["key"] = call.key.name
    if call.container is not None:
        line |= {"audio_seconds": round(call.audio_seconds, 3), "container": call.container}
    if call.timing is not None:
        line["timing"] = {name: round(value, 6) for name, value in call.timing._asdict().items()}
    _log.info("%s", json.dumps(line))

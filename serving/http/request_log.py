"""The log: one JSON object per line on standard error, for machines that collect logs.

A request's line tells its id, route, status and code, bytes, seconds of audio, container, where the time went, and the
NAME of the key; never audio, a key, a file name, or a path that no route has. Whatever else there is to say has
`level`, `message` and, of a bug, `traceback`; what is about a request names its id.
"""

from __future__ import annotations

import json
import logging
import time

from serving.http.calls import Call

_NAME = "serving.requests"
_log = logging.getLogger(_NAME)


class JsonLines(logging.Formatter):
    """Every record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == _NAME:
            return record.getMessage()
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_in_json() -> None:
    """From now on the process logs in lines of JSON."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    # What is wrong with a form is in the answer, and its code in the request's line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


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

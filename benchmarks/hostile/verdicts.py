"""Is an answer to a hostile body one that a service may give? And did the body reach its decoder?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PROBLEM_JSON = "application/problem+json"
_MEMBERS: Mapping[str, type | tuple[type, ...]] = {
    "type": str,
    "title": str,
    "status": int,
    "detail": str,
    "instance": str,
    "code": str,
}
# Refusals that only a decoder, or what reads a header for it, can give.
_OF_DECODERS = {"bad_audio", "audio_too_long", "deadline_exceeded"}
DEADLINE = "deadline_exceeded"


def fault_of(status: int, content_type: str, body: bytes) -> str | None:
    """Why an answer is none that a service may give to a hostile body; None when it may.

    A 2xx of JSON, or a refusal (4xx, or a 503 that is none of a bug) that is a problem document (RFC 9457).
    """
    kind = content_type.partition(";")[0].strip()
    if status == 0:
        return "no answer"
    try:
        document = json.loads(body)
    except ValueError:
        return f"status {status} without JSON"
    if 200 <= status < 300:
        return None if kind == "application/json" else f"status {status} as {kind}"
    if status >= 500:
        return f"status {status}: {document}"
    if kind != PROBLEM_JSON:
        return f"status {status} as {kind}"
    return _problem_fault(document, status)


def reached_decoder(status: int, body: bytes) -> bool:
    """Whether a decoder saw the body, by what was answered."""
    return status == 200 or code_of(body) in _OF_DECODERS


def code_of(body: bytes) -> str | None:
    """The code of a problem document; None of anything else."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document.get("code") if isinstance(document, dict) else None


def _problem_fault(document: Any, status: int) -> str | None:
    if not isinstance(document, dict):
        return f"a problem that is no object: {document!r}"
    for name, kind in _MEMBERS.items():
        if not isinstance(document.get(name), kind):
            return f"a problem whose {name} is {document.get(name)!r}"
    if document["status"] != status:
        return f"a problem of status {document['status']} in an answer of {status}"
    if not document["detail"] or "\n" in document["detail"]:
        return f"a problem whose detail is not one line: {document['detail']!r}"
    return None

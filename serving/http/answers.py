"""Answers: what was heard, as the documents of API v1 (`schemas` describes them), encoded by hand.

What we made ourselves is not validated again: json.dumps of plain dicts costs a tenth of a model with fields. A list of
many events is encoded in slices, since one call for all of them would hold every other thread up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from desed_task.bundle import Bundle
from desed_task.events import Event
from serving.http.calls import Answer
from serving.inference.recording import Heard

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_EVENTS_PER_SLICE = 1000
_NO_EVENTS = '"events":[]'


def identity_document(bundle: Bundle, model_id: str) -> dict[str, Any]:
    """Which model answered."""
    return {"id": model_id, "version": bundle.version, "sha256": bundle.sha256}


def heard_document(request_id: str, heard: Heard, top_k: int | None, with_events: bool = True) -> dict[str, Any]:
    """The answer for one recording, with the first `top_k` tags (all when None)."""
    audio, detections = heard.audio, heard.detections
    document: dict[str, Any] = {
        "id": request_id,
        "model": identity_document(heard.model.bundle, heard.model.id),
        "audio": {
            "duration": audio.duration,
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
            "format": audio.format,
        },
        "tags": [{"label": label, "score": score} for label, score in detections.tags[:top_k]],
    }
    if with_events:
        document["events"] = [event_document(event) for event in detections.events]
        if detections.frames is not None:
            document["frames"] = frames_document(heard)
    document["warnings"] = list(heard.warnings)
    queue, decode, inference, total = heard.timing
    document["timing"] = {
        "queue": round(queue, 6),
        "decode": round(decode, 6),
        "inference": round(inference, 6),
        "total": round(total, 6),
    }
    return document


def event_document(event: Event) -> dict[str, Any]:
    """One event."""
    return {"label": event.event_label, "onset": event.onset, "offset": event.offset, "score": event.score}


def frames_document(heard: Heard) -> dict[str, Any]:
    """The frame scores: frame j, row j of `data`, covers [start + j * hop, start + (j + 1) * hop) seconds."""
    frames, grid = heard.detections.frames, heard.model.bundle.grid
    assert frames is not None
    return {
        "hop": grid.frame_seconds,
        "start": grid.start,
        "labels": list(heard.detections.labels),
        "encoding": "f16le+base64",
        "shape": list(frames.shape),
        "data": base64.b64encode(frames.astype(np.dtype("<f2")).tobytes()).decode("ascii"),
    }


def json_answer(document: Any, status: int = 200) -> Answer:
    """A document as it is sent."""
    events: list[dict[str, Any]] = document.get("events", []) if isinstance(document, dict) else []
    if len(events) <= _EVENTS_PER_SLICE:
        return Answer(encode_json(document), status=status)
    return Answer(_slices(document, events), status=status)


def encode_json(document: Any) -> bytes:
    """A document as bytes."""
    return _encode(document).encode("utf-8", "backslashreplace")


def json_lines(document: dict[str, Any]) -> Iterator[bytes]:
    """The same as lines: the document without its lists, then each tag, then each event, each with its `type`."""
    head = {name: value for name, value in document.items() if name not in ("tags", "events")}
    yield encode_json({"type": "recording", **head}) + b"\n"
    for kind in ("tag", "event"):
        items = document.get(f"{kind}s", [])
        for start in range(0, len(items), _EVENTS_PER_SLICE):
            lines = [_encode({"type": kind, **item}) for item in items[start : start + _EVENTS_PER_SLICE]]
            yield ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _slices(document: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[bytes]:
    # A quote inside a string is escaped, so what is looked for stands nowhere else.
    head, _, tail = _encode(document | {"events": []}).partition(_NO_EVENTS)
    yield (head + '"events":[').encode("utf-8", "backslashreplace")
    for start in range(0, len(events), _EVENTS_PER_SLICE):
        comma = "," if start else ""
        yield (comma + _encode(events[start : start + _EVENTS_PER_SLICE])[1:-1]).encode("utf-8", "backslashreplace")
    yield ("]" + tail).encode("utf-8", "backslashreplace")

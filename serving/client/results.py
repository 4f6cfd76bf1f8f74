"""What the service says of recordings and models, as plain values. Times in seconds, scores in [0, 1].

Members that a newer service adds are left out; the whole document is always `document`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from serving.client.errors import ServiceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Document = Mapping[str, Any]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Tag:
    """One class of a recording as a whole."""

    label: str
    score: float


@dataclass(frozen=True)
class Event:
    """One event, from onset to offset on the recording's own clock."""

    label: str
    onset: float
    offset: float
    score: float | None = None


@dataclass(frozen=True)
class Audio:
    """What a recording was before decoding. duration: seconds; format: its container."""

    duration: float
    sample_rate: int
    channels: int
    format: str


@dataclass(frozen=True)
class Identity:
    """Which model answered. sha256: of its file."""

    id: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Timing:
    """Where the time went in the service, in seconds."""

    queue: float
    decode: float
    inference: float
    total: float


@dataclass(frozen=True)
class Frames:
    """Scores before filters and thresholds: row j covers [start + j * hop, start + (j + 1) * hop) seconds."""

    hop: float
    start: float
    labels: tuple[str, ...]
    shape: tuple[int, int]
    data: str = field(repr=False)

    @property
    def scores(self) -> NDArray[np.float32]:
        """(frames, classes), to the half precision that they were sent with."""
        import numpy as np

        return np.frombuffer(base64.b64decode(self.data), dtype="<f2").reshape(self.shape).astype(np.float32)


@dataclass(frozen=True)
class Result:
    """What a recording holds: tags by falling score, events by onset; no events when only tags were asked for."""

    id: str
    model: Identity
    audio: Audio
    tags: tuple[Tag, ...]
    events: tuple[Event, ...]
    warnings: tuple[str, ...]
    timing: Timing
    frames: Frames | None = None
    document: Document = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class BatchItem:
    """One recording of a batch: its result, or why there is none."""

    file_name: str
    result: Result | None = None
    error: ServiceError | None = None


@dataclass(frozen=True)
class Model:
    """One model that is served. has_events: whether it says when; a tagger says only what."""

    id: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    sample_rate: int
    frame_seconds: float
    window_seconds: float
    provider: str
    licence: str | None = None
    has_events: bool = True
    document: Document = field(repr=False, compare=False, default_factory=dict)


def read_result(document: Document) -> Result:
    """The answer of /v1/events or /v1/tags."""
    frames = document.get("frames")
    return Result(
        id=document["id"],
        model=_value(Identity, document["model"]),
        audio=_value(Audio, document["audio"]),
        tags=tuple(_value(Tag, tag) for tag in document["tags"]),
        events=tuple(_value(Event, event) for event in document.get("events", ())),
        warnings=tuple(document.get("warnings", ())),
        timing=_value(Timing, document["timing"]),
        frames=None if frames is None else _read_frames(frames),
        document=document,
    )


def read_batch(document: Document) -> tuple[BatchItem, ...]:
    """The answer of /v1/batch."""
    return tuple(_read_item(item) for item in document["results"])


def read_models(document: Document) -> tuple[Model, ...]:
    """The answer of /v1/models."""
    return tuple(read_model(model) for model in document["models"])


def read_model(document: Document) -> Model:
    """The answer of /v1/models/{id}."""
    return _value(Model, {**document, "labels": tuple(document["labels"]), "document": document})


def _read_item(item: Document) -> BatchItem:
    if item.get("answer") is not None:
        return BatchItem(item["file_name"], result=read_result(item["answer"]))
    problem = item.get("problem") or {}
    return BatchItem(item["file_name"], error=ServiceError(item["status"], problem, problem.get("retry_after")))


def _read_frames(frames: Document) -> Frames:
    if frames["encoding"] != "f16le+base64":
        raise ValueError(f"frame scores in {frames['encoding']!r}, which this client cannot read; use a newer one")
    return _value(Frames, {**frames, "labels": tuple(frames["labels"]), "shape": tuple(frames["shape"])})


def _value(kind: type[_Value], document: Document) -> _Value:
    known = {known.name for known in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in document.items() if name in known})

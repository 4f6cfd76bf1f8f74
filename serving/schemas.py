"""The documents of API v1. Times are seconds on the recording's own clock, half-open [onset, offset); scores in [0, 1].

Inside /v1 members are only ever added.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from desed_task.audio.reading import AudioInfo
from desed_task.bundle import Bundle
from desed_task.detector import Detections
from desed_task.options import Options


class EventsQuery(Options):
    """The query parameters of POST /v1/events."""

    threshold: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="replaces the bundle's thresholds, the same for every class"
    )
    top_k: int | None = Field(None, ge=1, description="how many tags are listed, those of the highest score")


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ModelIdentity(_Document):
    """Which model answered."""

    id: str
    version: str
    sha256: str = Field(description="of the model file")

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The identity of a bundle's model."""
        return cls(id=bundle.model_id, version=bundle.version, sha256=bundle.sha256)


class AudioDescription(_Document):
    """What the recording was before decoding."""

    duration: float = Field(description="seconds")
    sample_rate: int = Field(description="samples per second")
    channels: int
    format: str = Field(description="container")


class Tag(_Document):
    """One class of the recording as a whole."""

    label: str
    score: float


class DetectedEvent(_Document):
    """One event."""

    label: str
    onset: float = Field(description="seconds")
    offset: float = Field(description="seconds")
    score: float


class EventsAnswer(_Document):
    """What is heard in one recording: tags by falling score, events by onset."""

    model: ModelIdentity
    audio: AudioDescription
    tags: list[Tag]
    events: list[DetectedEvent]

    @classmethod
    def of(cls, bundle: Bundle, audio: AudioInfo, detections: Detections, top_k: int | None) -> Self:
        """The answer for one recording, with the first `top_k` tags (all when None)."""
        return cls(
            model=ModelIdentity.of(bundle),
            audio=AudioDescription(
                duration=audio.duration, sample_rate=audio.sample_rate, channels=audio.channels, format=audio.format
            ),
            tags=[Tag(label=label, score=score) for label, score in detections.tags[:top_k]],
            events=[
                DetectedEvent(label=event.event_label, onset=event.onset, offset=event.offset, score=event.score or 0.0)
                for event in detections.events
            ],
        )


class ModelDescription(ModelIdentity):
    """One model that is served."""

    labels: list[str]
    sample_rate: int = Field(description="samples per second that the model hears; recordings are resampled to it")
    frame_seconds: float = Field(description="resolution of the scores, in seconds")
    window_seconds: float = Field(description="how much the model hears at a time; longer recordings are windowed")
    postprocessing: dict[str, Any] = Field(description="thresholds and filters that turn scores into events")
    licence: str | None
    provider: str = Field(description="what runs the model")


class ModelList(_Document):
    """The models that are served."""

    models: list[ModelDescription]


class Health(_Document):
    """A probe's answer."""

    status: str


class Problem(_Document):
    """A refusal, as RFC 9457 has it; some codes add a member."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str

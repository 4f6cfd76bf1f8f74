"""The documents of API v1, as the interface's description has them; `answers` writes them.

Times are seconds on the recording's own clock, half-open [onset, offset); scores are in [0, 1]. Inside /v1 members are
only ever added.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ModelIdentity(_Document):
    """Which model answered."""

    id: str
    version: str
    sha256: str = Field(description="of the model file")


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
    score: float | None


class Frames(_Document):
    """The scores before filters and thresholds; row j covers [start + j * hop, start + (j + 1) * hop) seconds."""

    hop: float = Field(description="seconds from one row to the next")
    start: float = Field(description="seconds at which row 0 begins")
    labels: list[str] = Field(description="the class of each column")
    encoding: Literal["f16le+base64"] = Field(description="half-precision floats, little-endian, row by row, in base64")
    shape: list[int] = Field(description="rows, columns")
    data: str


class Timing(_Document):
    """Where the time went, in seconds; of a long recording decode and inference overlap."""

    queue: float = Field(description="waiting for a decoding thread and for the model")
    decode: float = Field(description="decoding and resampling")
    inference: float = Field(description="the batches that its windows were part of")
    total: float = Field(description="from the body's last byte to the answer")


class TagsAnswer(_Document):
    """Which classes one recording holds: tags by falling score."""

    id: str = Field(description="of the request, the same as in the header X-Request-ID")
    model: ModelIdentity
    audio: AudioDescription
    tags: list[Tag]
    warnings: list[str] = Field(description="what was odd about the recording, such as a missing end")
    timing: Timing


class EventsAnswer(TagsAnswer):
    """What is heard in one recording: tags by falling score, events by onset."""

    events: list[DetectedEvent]
    frames: Frames | None = Field(None, description="only when they are asked for, and the model gives any")


class Problem(_Document):
    """A refusal, as RFC 9457 has it; some codes add a member."""

    type: str
    title: str
    status: int
    detail: str = Field(description="one sentence: what is wrong, and what to do")
    instance: str
    code: str = Field(description="a word that programs may rely on")
    request_id: str
    errors: list[ParameterError] | None = Field(None, description="of bad parameters")
    limit: float | None = Field(None, description="what was gone beyond")
    retry_after: float | None = Field(None, description="seconds, also in the header Retry-After")


class ParameterError(_Document):
    """What is wrong with one parameter."""

    parameter: str
    detail: str


class BatchResult(_Document):
    """One recording of a batch: its answer, or the problem with it."""

    file_name: str
    status: int = Field(description="what the recording would have been answered by itself")
    answer: EventsAnswer | None = Field(None, description="where status is 200")
    problem: Problem | None = Field(None, description="where it is not")


class BatchAnswer(_Document):
    """The recordings of one request, in their order."""

    id: str
    results: list[BatchResult]


class ModelDescription(ModelIdentity):
    """One model that is served."""

    labels: list[str]
    sample_rate: int = Field(description="samples per second that the model hears; recordings are resampled to it")
    frame_seconds: float = Field(description="resolution of the scores, in seconds")
    window_seconds: float = Field(description="how much the model hears at a time; longer recordings are windowed")
    postprocessing: dict[str, Any] = Field(description="thresholds and filters that turn scores into events")
    licence: str | None
    provider: str = Field(description="what runs the model")
    has_events: bool = Field(description="whether it says when; a tagger says only what")


class ModelList(_Document):
    """The models that are served, the default one first."""

    models: list[ModelDescription]


class Health(_Document):
    """A probe's answer."""

    status: str


class LabelScore(_Document):
    """One class, as audio classification of Hugging Face has it."""

    label: str
    score: float


class ClassificationParameters(_Document):
    """How the classes are listed."""

    top_k: int | None = Field(None, ge=1, description="how many, of the highest score; 5 when not given")
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = Field(
        None, description="sigmoid gives the model's probabilities; softmax lets the classes compete; none gives logits"
    )


class ClassificationRequest(_Document):
    """A recording inside JSON."""

    inputs: str = Field(description="the bytes of an audio file in base64")
    parameters: ClassificationParameters | None = None


class Segment(_Document):
    """One event, as transcriptions have them."""

    id: int
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")
    text: str = Field(description="class")
    score: float | None


class AudioEvents(_Document):
    """The events of a recording in the shape of a transcription; segments and what follows in verbose_json only."""

    text: str = Field(description="a line per event")
    task: str | None = None
    duration: float | None = Field(None, description="seconds")
    segments: list[Segment] | None = None
    tags: list[Tag] | None = None


COMPONENTS: tuple[type[BaseModel], ...] = (
    *(EventsAnswer, TagsAnswer, BatchAnswer, ModelDescription, ModelList, Health, Problem),
    *(LabelScore, ClassificationRequest, AudioEvents),
)

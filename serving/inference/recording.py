"""What the engine is asked, and what it answers, of one recording. Times are in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from desed_task.audio.raw_pcm import RawPcm
from desed_task.audio.waveform import AudioInfo
from desed_task.hearing import DetectionOptions, Detections

if TYPE_CHECKING:
    from serving.inference.admission import Ticket
    from serving.inference.models import ServedModel


class Timing(NamedTuple):
    """Where the time of one recording went, in seconds.

    queue: waiting, for a decoding thread and for the model; decode: decoding and resampling; inference: the batches
    that its windows were part of; total: from `listen` to its answer. Of a long recording decode and inference overlap.
    """

    queue: float
    decode: float
    inference: float
    total: float


@dataclass(frozen=True)
class ListenRequest:
    """What is asked of one recording.

    model: id of the model, None for the default; raw: what the samples are where the body has no container; strict:
    whether a truncated recording is refused (else heard as far as it goes, with a warning); deadline: on the clock of
    time.monotonic; ticket: what `Engine.admit` gave for it; name: what its bytes are called in refusals. Options that
    are one object for many requests are prepared once.
    """

    model: str | None = None
    options: DetectionOptions = field(default_factory=DetectionOptions)
    raw: RawPcm | None = None
    strict: bool = True
    deadline: float = math.inf
    ticket: Ticket | None = None
    name: str = "audio"


class Heard(NamedTuple):
    """The answer: who heard it, what the recording was, what it holds, what was odd about it, where the time went."""

    model: ServedModel
    audio: AudioInfo
    detections: Detections
    warnings: tuple[str, ...]
    timing: Timing

"""Recording: where a recording stands on its way through the threads (see `pump`), and who may touch what of it.

Times are in seconds, moments on the clock of time.monotonic.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import BinaryIO

from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.hearing import Hearing
from serving.inference.backlog import Place
from serving.inference.decoding import BlockStream
from serving.inference.models import ServedModel
from serving.inference.recording import Heard, ListenRequest, Timing


class Recording:
    """One recording on its way. Who may touch what:

    gone, deadline, is_long    written once, read by everybody; gone: why nobody wants the answer any more
    waiting, in_turn           the thread of the model's batcher
    stream, blocks, audio, warnings, claimed_seconds   the thread that pumps; there is at most one, since a recording
                               is in one lane's queue at a time, or running, or parked; audio: set after each step
    hearing, outstanding, ended, parked   under `lock`
    """

    __slots__ = (
        "audio", "began", "blocks", "body", "claimed_seconds", "deadline", "decode_seconds", "ended", "future", "gone",
        "hearing", "in_turn", "inference_seconds", "is_long", "lock", "model", "num_windows", "outstanding", "parked",
        "place", "put_at", "queue_seconds", "request", "stream", "waiting", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        model: ServedModel,
        hearing: Hearing,
        body: bytes | BinaryIO,
        request: ListenRequest,
        place: Place,
        future: asyncio.Future[Heard],
    ) -> None:
        self.model = model
        self.hearing = hearing
        self.body: bytes | BinaryIO | None = body
        self.request = request
        self.place = place
        self.future = future
        self.deadline = request.deadline
        self.gone: str | None = None
        self.is_long = False
        self.waiting: deque[Waveform] = deque()
        self.in_turn = False
        self.stream: BlockStream | None = None
        self.blocks: Iterator[Waveform] = iter(())
        self.claimed_seconds = 0.0
        self.audio: AudioInfo | None = None
        self.warnings: tuple[str, ...] = ()
        self.lock = Lock()
        self.outstanding = 0
        self.num_windows = 0
        self.ended = False
        self.parked = False
        self.began = time.monotonic()
        self.put_at = self.began
        self.queue_seconds = 0.0
        self.decode_seconds = 0.0
        self.inference_seconds = 0.0

    def heard(self) -> Heard:
        """The answer, when the decoder has ended and something was said of every window."""
        assert self.audio is not None
        detections = self.hearing.result()
        total = time.monotonic() - self.began
        timing = Timing(self.queue_seconds, self.decode_seconds, self.inference_seconds, total)
        return Heard(self.model, self.audio, detections, self.warnings, timing)

    def seconds_left(self) -> float:
        """What is not heard yet: of what its header claims, or of what was decoded if that is more. For any thread."""
        audio = self.audio
        seconds = max(self.claimed_seconds, 0.0 if audio is None or self.ended else audio.duration)
        windows = self.num_windows - self.outstanding
        return seconds - windows * self.model.window_seconds

"""Engine: the detector with its threads. Bytes of a request in, detections out, and never a pause of the event loop.

Decoding and post-processing run in a small pool, the model in one thread of its own: one session on one device gains
nothing from more. Loading and warming run in that same thread, so whatever is asked of the model comes after them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from desed_task.audio.containers import require_known_container
from desed_task.audio.reading import AudioInfo, Waveform, read_recording
from desed_task.detector import Detections, Detector
from desed_task.errors import AudioError
from serving.errors import not_ready
from serving.settings import ServingOptions


class Engine:
    """The detector of one server. `loaded` is done when the model is warm, and holds the error when it cannot be."""

    def __init__(self, settings: ServingOptions) -> None:
        self._settings = settings
        self._detector: Detector | None = None
        self._decode_pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._device_thread = ThreadPoolExecutor(1, "device")
        self.loaded: Future[None] = Future()

    def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._device_thread.submit(self._load)

    def close(self) -> None:
        """Let running work end and start no more."""
        self._decode_pool.shutdown(wait=False, cancel_futures=True)
        self._device_thread.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether the model is warm."""
        return self._detector is not None

    @property
    def detector(self) -> Detector:
        """The detector; a 503 before it is warm."""
        if self._detector is None:
            failed = self.loaded.done() and self.loaded.exception() is not None
            raise not_ready("the model could not be loaded" if failed else "the model is being loaded; try again soon")
        return self._detector

    async def listen(self, body: bytes, threshold: float | None) -> tuple[AudioInfo, Detections]:
        """Decode a recording, hear it, decide. AudioError when it is no recording or too long."""
        detector = self.detector
        loop = asyncio.get_running_loop()
        waveform, info = await loop.run_in_executor(self._decode_pool, self._decode, body, detector.bundle.sample_rate)
        scores = await loop.run_in_executor(self._device_thread, detector.scores, waveform)
        detections = await loop.run_in_executor(self._decode_pool, detector.decide, scores, threshold)
        return info, detections

    def _load(self) -> None:
        self.loaded.set_running_or_notify_cancel()
        try:
            settings = self._settings
            detector = Detector(settings.bundle, settings.device, settings.num_threads, settings.max_batch)
            detector.warm_up()
        except BaseException as error:
            self.loaded.set_exception(error)
        else:
            self._detector = detector
            self.loaded.set_result(None)

    def _decode(self, body: bytes, sample_rate: int) -> tuple[Waveform, AudioInfo]:
        if not body:
            raise AudioError("audio: the body is empty (0 bytes); send the bytes of an audio file")
        require_known_container(body)
        return read_recording(body, sample_rate, self._settings.max_audio_seconds)

"""Engine: the models with their threads. Bodies of requests in, detections out, and never a pause of the event loop.

with engine.admit(content_length, seconds) as ticket:      before the body is read; refuses what has no room
    heard = await engine.listen(body, ListenRequest(model, options, ticket=ticket))
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from desed_task.audio.containers import require_known_container
from desed_task.audio.reading import AudioInfo, Waveform, read_recording
from desed_task.detector import Detector
from desed_task.errors import AudioError
from serving.admission import Ticket
from serving.errors import RequestError, not_ready
from serving.models import ServedModel
from serving.recording import Heard, ListenRequest, Timing
from serving.settings import ServingOptions

if TYPE_CHECKING:
    from serving.metrics import Metrics


class Engine:
    """The models of one server. `loaded` is done when all are warm, and holds the error when one cannot be."""

    def __init__(self, settings: ServingOptions, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._model: ServedModel | None = None
        self._draining = False
        self._decode_pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._device_thread = ThreadPoolExecutor(1, "device")
        self.loaded: Future[None] = Future()

    def start(self) -> None:
        """Begin to load the models; returns at once."""
        self._device_thread.submit(self._load)

    def close(self) -> None:
        """End everything; what is not drained is lost."""
        self._decode_pool.shutdown(wait=False, cancel_futures=True)
        self._device_thread.shutdown(wait=False, cancel_futures=True)

    async def drain(self) -> None:
        """Admit nobody any more, and return when all who were admitted have their answers."""
        self._draining = True

    @property
    def ready(self) -> bool:
        """Whether every model is warm and new recordings are taken."""
        return self._model is not None and not self._draining

    def models(self) -> tuple[ServedModel, ...]:
        """The models that are warm, the default one first."""
        return () if self._model is None else (self._model,)

    def model(self, model_id: str | None = None) -> ServedModel:
        """The model of this id, or the default one; RequestError 404 unknown_model, 503 not_ready."""
        if self._model is None:
            failed = self.loaded.done() and self.loaded.exception() is not None
            raise not_ready("the model could not be loaded" if failed else "the model is being loaded; try again soon")
        if model_id not in (None, self._model.id):
            raise RequestError(404, "unknown_model", f"no model {model_id!r}; GET /v1/models lists them")
        return self._model

    async def reload(self, model_id: str | None = None) -> ServedModel:
        """Load the model's bundle again beside the one that serves, then swap them; the one that serves from now on.

        DesedTaskError, and the old one goes on, when the new one cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        self.model(model_id)
        self._model = await loop.run_in_executor(self._decode_pool, self._loaded_model)
        return self._model

    def admit(self, num_bytes: int | None = None, seconds: float | None = None) -> Ticket:
        """Room for a request whose body has so many bytes (None: not stated) or holds so many seconds (None: unknown).

        RequestError 429 overloaded (member retry_after, seconds), 503 not_ready, 503 draining.
        """
        self.model(None)
        if self._draining:
            raise RequestError(503, "draining", "the server is stopping; ask another one")
        return Ticket()

    async def listen(self, body: bytes | BinaryIO, request: ListenRequest) -> Heard:
        """Decode a recording, hear it, decide. Cancelling the awaiting task drops its windows.

        AudioError and its children for the recording's faults, OptionsError for options that do not fit the model,
        RequestError 404 unknown_model, 503 not_ready, 504 deadline_exceeded.
        """
        start = time.monotonic()
        model = self.model(request.model)
        detector = model.detector
        loop = asyncio.get_running_loop()
        data = body if isinstance(body, bytes) else body.read()
        waveform, info = await loop.run_in_executor(self._decode_pool, self._decode, data, model.bundle.sample_rate)
        detections = await loop.run_in_executor(self._device_thread, detector.hear, [waveform], request.options)
        total = time.monotonic() - start
        return Heard(model, info, detections, (), Timing(0.0, 0.0, 0.0, total))

    def _load(self) -> None:
        self.loaded.set_running_or_notify_cancel()
        try:
            model = self._loaded_model()
        except BaseException as error:
            self.loaded.set_exception(error)
        else:
            self._model = model
            self.loaded.set_result(None)

    def _loaded_model(self) -> ServedModel:
        settings = self._settings
        detector = Detector(settings.bundle, settings.device, settings.num_threads, settings.max_batch)
        detector.warm_up()
        return ServedModel(detector.bundle.model_id, detector)

    def _decode(self, body: bytes, sample_rate: int) -> tuple[Waveform, AudioInfo]:
        if not body:
            raise AudioError("audio: the body is empty (0 bytes); send the bytes of an audio file")
        require_known_container(body)
        return read_recording(body, sample_rate, self._settings.max_audio_seconds)

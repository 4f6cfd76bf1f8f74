"""Engine: the models with their threads. Bodies of requests in, detections out, and never a pause of the event loop.

    with engine.admit(content_length, seconds) as ticket:      before the body is read; refuses what has no room
        heard = await engine.listen(body, ListenRequest(model, options, ticket=ticket))

What belongs to whom: the event loop's thread owns who is admitted, what is queued and which model answers; lanes and
the after thread own the recordings in progress (`pump`); each model has a device thread (`batcher`).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError
from serving.errors import RequestError, draining, not_ready
from serving.inference.admission import Admission, Ticket, overloaded
from serving.inference.backlog import Backlog
from serving.inference.decode_pool import DecodePool
from serving.inference.decoding import ThreadOpener, import_decoders
from serving.inference.memory import collect_rarely, keep_freed_memory
from serving.inference.models import Models, ServedModel
from serving.inference.progress import Recording
from serving.inference.pump import Pump, Report, TooManyLongError
from serving.inference.recording import Heard, ListenRequest
from serving.settings import ServingOptions

if TYPE_CHECKING:
    from serving.metrics import Metrics

# A thread that has something to do lets the next one in after so long; at the usual 5 ms, a device whose batch takes
# 3 ms would wait for the interpreter more than it works.
_SWITCH_SECONDS = 0.001
_DRAIN_POLL_SECONDS = 0.02
# A device that has not come back by then hangs; its thread is a daemon.
_LONGEST_BATCH_SECONDS = 30.0


class Engine:
    """The models of one server. `loaded` is done when all are warm, and holds the error when one cannot be."""

    def __init__(self, settings: ServingOptions, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._models = Models(settings)
        self._backlog = Backlog()
        self._admission = Admission(
            self._backlog, settings.max_queue_delay, settings.max_inflight_bytes, self._count_rejected
        )
        self._pump: Pump | None = None
        self._decode_pool: DecodePool | None = None
        self._loader = ThreadPoolExecutor(1, "loader")
        self._reloading = asyncio.Lock()
        self._recordings: set[Recording] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = self._closed = False
        self.loaded: Future[None] = Future()
        if metrics is not None:
            metrics.watch("queue_audio_seconds", lambda: self._backlog.queued_seconds)
            metrics.watch("queue_windows", lambda: sum(len(one.waiting) for one in list(self._recordings)))
            metrics.watch("inflight_bytes", lambda: self._admission.inflight_bytes)
            metrics.watch("inflight_requests", lambda: self._admission.num_tickets)

    def start(self) -> None:
        """Start the threads and begin to load the models; returns at once."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        keep_freed_memory()
        settings = self._settings
        if settings.decode_isolation == "process":
            self._decode_pool = DecodePool(settings)
        self._pump = Pump(
            self._decode_pool or ThreadOpener(settings),
            self._tell_loop,
            settings.decode_threads,
            settings.long_threads,
            settings.windows_ahead,
            settings.max_long_recordings,
            self._metrics,
        )
        self._loader.submit(self._load)

    async def drain(self) -> None:
        """Admit nobody any more, and return when all who were admitted have their answers."""
        self._draining = True
        while self._admission.num_tickets or self._recordings:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    def close(self) -> None:
        """End all threads; recordings in progress are refused."""
        if self._closed:
            return
        self._draining = self._closed = True
        self._loader.shutdown(wait=True, cancel_futures=True)
        if self._pump is None:
            return
        for recording in list(self._recordings):
            self._pump.give_up(recording, "closed")
            if not recording.future.done():
                recording.future.set_exception(draining())
        # Decoders that hang end with their pool; the threads that wait for them would not.
        if self._decode_pool is not None:
            self._decode_pool.close()
        self._pump.close()
        for model in self._models.alive():
            model.close()
        for model in self._models.alive():
            model.join(_LONGEST_BATCH_SECONDS)
        self._pump.close_after()

    @property
    def ready(self) -> bool:
        """Whether every model is warm and new recordings are taken."""
        return self._models.complete and not self._draining

    def models(self) -> tuple[ServedModel, ...]:
        """The models that are warm, the default one first."""
        return self._models.all()

    def model(self, model_id: str | None = None) -> ServedModel:
        """The model of this id, or the default one; RequestError 404 unknown_model, 503 not_ready."""
        return self._models.find(model_id)

    async def reload(self, model_id: str | None = None) -> ServedModel:
        """Load the model's bundle again beside the one that serves, then swap them; the one that serves from now on.

        DesedTaskError, and the old one goes on, when the new one cannot be loaded; RequestError 503 draining when the
        engine was closed meanwhile.
        """
        slot = self._models.slot_of(model_id)
        self._models.find(model_id)
        async with self._reloading:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._loader, self._models.load, slot)
            if self._closed:
                raise draining()
            self._begin(slot, model)
        return model

    def admit(self, num_bytes: int | None = None, seconds: float | None = None) -> Ticket:
        """Room for a request whose body has so many bytes (None: not stated) or holds so many seconds (None: unknown).

        RequestError 429 overloaded (member retry_after, seconds), 503 not_ready, 503 draining.
        """
        if self._draining:
            raise draining()
        if not self._models.complete:
            raise not_ready(self._models.why_not_ready)
        self._refuse_long(num_bytes, seconds)
        return self._admission.admit(num_bytes, seconds)

    async def listen(self, body: bytes | BinaryIO, request: ListenRequest) -> Heard:
        """Decode a recording, hear it, decide. Cancelling the awaiting task drops its windows.

        body: an open file must be flushed, and may be closed as soon as this returns. AudioError and its children for
        the recording's faults, OptionsError for options that do not fit the model; RequestError 404 unknown_model, 429
        overloaded, 503 not_ready, 504 deadline_exceeded.
        """
        model = self.model(request.model)
        hearing = model.new_hearing(request.options)
        if self._pump is None or self._closed:
            raise draining()
        self._loop = loop = asyncio.get_running_loop()
        if request.ticket is not None:
            self._admission.arrived(request.ticket)
        num_bytes = _size_of(body)
        known_seconds = None if request.raw is None else request.raw.seconds(num_bytes)
        place = self._backlog.enter(num_bytes, model.measure, known_seconds)
        recording = Recording(model, hearing, body, request, place, loop.create_future())
        timer = None
        if request.deadline < math.inf:
            timer = loop.call_later(request.deadline - recording.began, self._expire, recording)
        self._recordings.add(recording)
        model.enter()
        self._pump.begin(recording)
        seconds = 0.0
        try:
            heard = await recording.future
            seconds = heard.audio.duration
        except asyncio.CancelledError:
            self._drop(recording, "cancelled")
            raise
        except AudioError as error:
            self._count_failed(error)
            raise
        except TooManyLongError:
            self._count_rejected("long")
            raise overloaded("too many long recordings are heard", self._backlog.shortest_left()) from None
        finally:
            if timer is not None:
                timer.cancel()
            self._recordings.discard(recording)
            # An error knows the frames that it came through, they the recording, and that the error, by its future.
            del recording.future
            model.leave()
            self._backlog.leave(place, seconds)
        self._count_heard(heard)
        return heard

    def _load(self) -> None:
        self.loaded.set_running_or_notify_cancel()
        try:
            if self._decode_pool is None:
                import_decoders()
            else:
                self._decode_pool.start()
            for slot in self._models.slots():
                model = self._models.load(slot)
                if slot is None:
                    self._backlog.warmed_up(model.measure, model.audio_speed)
                self._begin(slot, model)
        except BaseException as error:
            self._models.failed = True
            self.loaded.set_exception(error)
        else:
            collect_rarely()
            self.loaded.set_result(None)

    def _begin(self, slot: str | None, model: ServedModel) -> None:
        assert self._pump is not None
        decode, threads = self._pump.decode, self._settings.decode_threads
        model.begin(decode, threads, self._pump.ran, self._expire_from_thread)
        self._models.put(slot, model)
        if self._metrics is not None:
            self._metrics.model_ready(model.id, model.bundle.version, model.provider, True)

    def _refuse_long(self, num_bytes: int | None, seconds: float | None) -> None:
        assert self._pump is not None
        if not self._pump.long_is_full:
            return
        expected = self._backlog.worth(num_bytes or 0) if seconds is None else seconds
        default = self._models.find(None)
        if expected > default.step_windows * default.window_seconds:
            self._count_rejected("long")
            raise overloaded("too many long recordings are heard", self._backlog.shortest_left())

    def _tell_loop(self, report: Report) -> None:
        """From a thread: let the event loop see to a report. A loop that is gone has nobody who waits."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._see_to, report)

    def _see_to(self, report: Report) -> None:
        backlog = self._backlog
        seconds = 0.0
        for recording, num_windows in report.heard:
            seconds += num_windows * recording.model.window_seconds
            if recording.is_long:
                backlog.expect(recording.place, recording.seconds_left())
            else:
                backlog.heard(recording.place, num_windows)
        if seconds > 0:
            backlog.measure(seconds)
        for recording, outcome in report.outcomes:
            if recording not in self._recordings or recording.future.done():
                continue
            if isinstance(outcome, Exception):
                recording.future.set_exception(outcome)
            else:
                recording.future.set_result(outcome)

    def _expire_from_thread(self, recording: Recording) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._expire, recording)

    def _expire(self, recording: Recording) -> None:
        if recording in self._recordings and not recording.future.done():
            self._drop(recording, "deadline")
            late = RequestError(504, "deadline_exceeded", "the recording was not heard before the request's deadline")
            recording.future.set_exception(late)

    def _drop(self, recording: Recording, why: str) -> None:
        assert self._pump is not None
        self._pump.give_up(recording, why)
        if self._metrics is not None:
            self._metrics.dropped(why)

    def _count_rejected(self, reason: str) -> None:
        if self._metrics is not None:
            self._metrics.rejected(reason)

    def _count_failed(self, error: AudioError) -> None:
        if self._metrics is not None:
            too_long, unknown = isinstance(error, AudioTooLongError), isinstance(error, AudioFormatError)
            self._metrics.decode_failed("too_long" if too_long else "format" if unknown else "undecodable")

    def _count_heard(self, heard: Heard) -> None:
        if self._metrics is not None:
            self._metrics.audio(heard.audio.duration)
            self._metrics.decoded(heard.audio.format, heard.timing.decode)
            self._metrics.waited(heard.timing.queue)


def _size_of(body: bytes | BinaryIO) -> int:
    if isinstance(body, bytes):
        return len(body)
    try:
        return os.fstat(body.fileno()).st_size
    except (AttributeError, OSError):
        return body.seek(0, io.SEEK_END)

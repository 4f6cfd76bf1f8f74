"""The models of one server: each with a session and a device thread of its own.

A model is reloaded beside the one that serves: the new one is loaded and warmed first, then new recordings go to it,
and those in progress end on the old one, which is closed after the last of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from desed_task.audio.waveform import Waveform
from desed_task.bundle import Bundle
from desed_task.detector import Detector
from desed_task.errors import OptionsError
from desed_task.hearing import DetectionOptions, Hearing, HearingPlan, WindowScores
from serving.errors import RequestError, not_ready
from serving.inference.backlog import Measure
from serving.inference.batcher import Batch, Batcher
from serving.inference.line import Line
from serving.inference.simulated import SimulatedDetector
from serving.settings import ServingOptions

# A recording is short, and is decoded in one step, up to so many windows, or seconds if that is more.
_LEAST_STEP_WINDOWS = 4
_LEAST_STEP_SECONDS = 30.0
# Decoded windows that lie ready for the device, in full batches.
_BATCHES_READY = 4
# Options that differ from request to request must not pile up.
_MOST_PLANS = 64


class Listener(Protocol):
    """What a model does for the server: a `Detector`, or a simulated one."""

    @property
    def bundle(self) -> Bundle:
        """Who the model is."""

    @property
    def max_batch(self) -> int:
        """Windows of the largest batch."""

    def bucket_of(self, num_windows: int) -> int:
        """The size of the batch in which so many windows are run."""

    @property
    def provider(self) -> str:
        """What runs the model, such as CPUExecutionProvider."""

    def warm_up(self) -> None:
        """Make the first batch as fast as the next."""

    def run(self, windows: Sequence[Waveform]) -> WindowScores:
        """Windows, each (window_samples,) -> their scores."""


class ServedModel:
    """A model that is loaded and warm.

    id: what requests call it; audio_speed: audio-seconds per second in full batches, measured when it was warmed;
    window_seconds: what a window is worth, from its start to the next's; step_windows: how many are decoded in one step
    (see `pump`), so the most a short recording has; measure: how recordings for it count in the queue.
    """

    def __init__(self, model_id: str, detector: Listener, windows_ahead: int) -> None:
        self.id = model_id
        self.detector = detector
        self.audio_speed = 0.0
        view = detector.bundle.windowing
        # A window is worth what it adds to those before it.
        self.window_seconds = view.hop_samples / detector.bundle.sample_rate
        self.step_windows = max(_LEAST_STEP_WINDOWS, math.ceil(_LEAST_STEP_SECONDS / self.window_seconds))
        self.measure = Measure(self.window_seconds, max(windows_ahead, self.step_windows))
        self._plans: dict[int, tuple[DetectionOptions, HearingPlan]] = {}
        self._batcher: Batcher[Any] | None = None
        self._line: Line[Any] | None = None
        self._num_recordings = 0
        self._retired = False

    @property
    def bundle(self) -> Bundle:
        """Who the model is: labels, clocks, view, post-processing, provenance."""
        return self.detector.bundle

    @property
    def provider(self) -> str:
        """What runs the model, such as CPUExecutionProvider."""
        return self.detector.provider

    @property
    def batcher(self) -> Batcher[Any]:
        """What runs windows; after `begin`."""
        assert self._batcher is not None
        return self._batcher

    def warm_up(self) -> None:
        """Warm the detector, and measure how many audio-seconds it hears per second in full batches."""
        self.detector.warm_up()
        windowing, rows = self.bundle.windowing, self.detector.max_batch
        silence = np.zeros(windowing.window_samples, dtype=np.float32)
        start = time.monotonic()
        self.detector.run([silence] * rows)
        self.audio_speed = rows * self.window_seconds / max(time.monotonic() - start, 1e-4)

    @property
    def line(self) -> Line[Any]:
        """Who waits to be decoded; after `begin`."""
        assert self._line is not None
        return self._line

    @property
    def windows_ready(self) -> int:
        """So many windows that lie ready keep the device busy."""
        return _BATCHES_READY * self.detector.max_batch

    def begin(
        self,
        decode: Callable[[Any], None],
        most_decoded: int,
        ran: Callable[[Batch[Any]], None],
        expired: Callable[[Any], None],
    ) -> None:
        """Start the device thread. decode: called with a recording whose turn it is; most_decoded: at one time."""
        self._line = Line(decode, most_decoded, self.windows_ready)
        self._batcher = Batcher(self.detector, ran, expired, self._line.took, name=f"device-{self.id}")

    def new_hearing(self, options: DetectionOptions) -> Hearing:
        """For one more recording; OptionsError when the options do not fit the classes."""
        # The object itself is the key: equal options come as one object, and comparing them would cost more.
        found = self._plans.get(id(options))
        if found is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            found = self._plans[id(options)] = (options, Hearing.plan(self.bundle, options))
        return found[1].begin()

    def enter(self) -> None:
        """One more recording is heard with it."""
        self._num_recordings += 1

    def leave(self) -> None:
        """One of its recordings has ended."""
        self._num_recordings -= 1
        self._close_if_done()

    def retire(self) -> None:
        """Another one has taken its place; it is closed after its last recording."""
        self._retired = True
        self._close_if_done()

    def close(self) -> None:
        """End its device thread after the batch that runs."""
        if self._batcher is not None:
            self._batcher.close()

    def join(self, timeout: float) -> None:
        """Wait for its device thread."""
        if self._batcher is not None:
            self._batcher.join(timeout)

    def _close_if_done(self) -> None:
        if self._retired and self._num_recordings == 0:
            self.close()


class Models:
    """Which model answers to which id; the default one also answers to no id."""

    def __init__(self, settings: ServingOptions) -> None:
        self._settings = settings
        self._folders: dict[str | None, Path] = {None: settings.bundle}
        self._folders.update(settings.models)
        self._served: dict[str | None, ServedModel] = {}
        # Those that have been replaced but still hear their last recordings; they must not be kept by us.
        self._retired: WeakSet[ServedModel] = WeakSet()
        self.failed = False

    @property
    def why_not_ready(self) -> str:
        """For those who ask too early."""
        return "the model could not be loaded" if self.failed else "the model is being loaded; try again soon"

    @property
    def complete(self) -> bool:
        """Whether every model is there."""
        return len(self._served) == len(self._folders)

    def all(self) -> tuple[ServedModel, ...]:
        """The models that are there, the default one first."""
        return tuple(self._served.values())

    def alive(self) -> tuple[ServedModel, ...]:
        """Every model that has a thread, also those that were replaced and hear their last recordings."""
        return (*self._served.values(), *self._retired)

    def slots(self) -> tuple[str | None, ...]:
        """What is to be loaded: None, the default one, and the ids of the others."""
        return tuple(self._folders)

    def find(self, model_id: str | None) -> ServedModel:
        """The model of this id; RequestError 404 unknown_model, 503 not_ready."""
        slot = self.slot_of(model_id)
        if slot in self._served:
            return self._served[slot]
        raise not_ready(self.why_not_ready)

    def slot_of(self, model_id: str | None) -> str | None:
        """Where the model of this id stands: None is the default one. RequestError 404 unknown_model."""
        if model_id in self._folders:
            return model_id
        default = self._served.get(None)
        if default is None or default.id == model_id:
            return None
        raise RequestError(404, "unknown_model", f"no model {str(model_id)[:80]!r}; GET /v1/models lists them")

    def load(self, slot: str | None) -> ServedModel:
        """Load and warm the model of a slot; DesedTaskError when that fails. Takes long; in any thread."""
        settings, folder = self._settings, self._folders[slot]
        detector: Listener
        if settings.simulated is not None:
            simulated = settings.simulated
            detector = SimulatedDetector(folder, settings.max_batch, simulated.base_ms, simulated.row_ms)
        else:
            detector = Detector(
                folder,
                settings.device,
                settings.num_threads,
                settings.max_batch,
                settings.buckets,
                settings.cuda_graphs,
                settings.allow_cpu,
            )
        model_id = detector.bundle.model_id if slot is None else slot
        if slot is None and model_id in self._folders:
            raise OptionsError(f"models: {model_id!r} is already the id of the default bundle; choose another id")
        model = ServedModel(model_id, detector, settings.windows_ahead)
        model.warm_up()
        return model

    def put(self, slot: str | None, model: ServedModel) -> None:
        """Let a model that has begun answer from now on; the one before it ends when its recordings have."""
        before = self._served.get(slot)
        self._served[slot] = model
        if before is not None:
            self._retired.add(before)
            before.retire()

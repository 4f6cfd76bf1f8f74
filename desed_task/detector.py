"""Detector: a bundle that listens. Waveform in, scores, events and tags out; the engine of the service without HTTP.

Everything between a waveform and its events happens here: windows, the ONNX graph, stitching, post-processing. The
service and the evaluation of a bundle both call it, so what is measured is what is served. A tagger without frames has
tags and no events.

A waveform is mono float32 (samples,) at the bundle's `sample_rate`, nominally in [-1, 1]; `audio.read_waveform` makes
one from a file. Recordings of any length are heard through windows (see `windowing`) and times are on the recording's
own clock. A detector may be called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.bundle import MODEL_FILE, Bundle, read_bundle
from desed_task.clip_pooling import probabilities_of
from desed_task.errors import BundleError, OptionsError
from desed_task.events import Event
from desed_task.graph_contract import INPUT_NAME, STRONG_NAME, WEAK_LOGITS_NAME, WEAK_NAME
from desed_task.graph_runs import (
    BoundRuns,
    GraphRuns,
    GraphShape,
    Outputs,
    PlainRuns,
    bucket_of,
    checked_buckets,
    power_of_two_buckets,
)
from desed_task.hearing import DetectionOptions, Detections, Hearing, WindowScores, require_sound
from desed_task.postprocessing.pipeline import build_postprocessing
from desed_task.scores import Scores
from desed_task.sessions import open_session

__all__ = ["Detections", "Detector"]

# Sums of float32 probabilities may pass 0 or 1 by rounding; anything farther is a model that gives no probabilities.
_PROBABILITY_ROUNDING = 1e-6
# More of them take memory there, and no less time.
_WINDOWS_AT_ONCE_ON_CPU = 4
_Told = TypeVar("_Told")


class Detector:
    """A bundle in an onnxruntime session.

    device: `cpu`, `cuda:N` (BundleError where CUDA cannot be used, unless `allow_cpu`), or `auto` (CUDA where it can
    be, else the CPU); num_threads: of one call on the CPU (all cores when not given); max_batch: windows per call of
    the graph; buckets: sizes to which batches are padded, the largest of them `max_batch` (CUDA: powers of two, CPU:
    none, when not given); cuda_graphs: on CUDA, record the work of each bucket once and replay it.
    """

    def __init__(
        self,
        bundle_folder: Path,
        device: str = "auto",
        num_threads: int | None = None,
        max_batch: int = 16,
        buckets: Sequence[int] | None = None,
        cuda_graphs: bool = False,
        allow_cpu: bool = False,
    ) -> None:
        if max_batch < 1:
            raise OptionsError(f"max_batch {max_batch} must be at least 1")
        sizes = None if buckets is None else checked_buckets(buckets, max_batch)
        self.bundle: Bundle = read_bundle(bundle_folder)
        self.max_batch = max_batch
        self._model = bundle_folder / MODEL_FILE
        self._session = open_session(self._model, device, num_threads, cuda_graphs, allow_cpu)
        self._shape = _graph_shape(self.bundle)
        self._plain = PlainRuns(self._session, self._shape)
        if sizes is None and self._session.on_cuda:
            sizes = power_of_two_buckets(max_batch)
        self._runs: GraphRuns = (
            self._plain if sizes is None else self._told(BoundRuns, self._session, self._shape, sizes)
        )
        # The sizes to which batches are padded, ascending; empty where they are run as they are.
        self.buckets: tuple[int, ...] = self._runs.buckets
        self._postprocessing = build_postprocessing(self.bundle.postprocessing, self.bundle.labels, self.bundle.grid)

    @property
    def provider(self) -> str:
        """The onnxruntime provider that runs the graph, such as CPUExecutionProvider."""
        return self._session.provider

    def bucket_of(self, num_windows: int) -> int:
        """The size of the batch in which so many windows are run."""
        return bucket_of(num_windows, self.buckets)

    def warm_up(self) -> None:
        """Run every bucket with silence, so that the first recording is not slower than the next.

        BundleError when the graph cannot be run, or what it says does not fit its bundle.
        """
        silence = np.zeros((1, self._shape.window_samples), dtype=np.float32)
        self._checked(self._told(self._plain.run, silence), 1)
        if self._runs is not self._plain:
            self._told(self._runs.warm_up)

    def run(self, windows: NDArray[np.float32] | Sequence[Waveform]) -> WindowScores:
        """1 to `max_batch` windows, (windows, window_samples) or one by one -> what the model says of each.

        BundleError when the graph cannot be run, or what it says does not fit its bundle.
        """
        if not 1 <= len(windows) <= self.max_batch:
            raise ValueError(f"{len(windows)} windows are not 1 to {self.max_batch}")
        return self._checked(self._told(self._runs.run, windows), len(windows))

    def scores(self, waveform: Waveform) -> Scores:
        """(samples,) -> Scores on the recording's own clock.

        AudioError when the waveform is no sound (NaN, infinite or absurdly large samples); BundleError when the model's
        answer does not fit its bundle.
        """
        require_sound(waveform)
        windows = self.bundle.windowing.cut(waveform)
        batches = [
            self.run(windows[start : start + self.max_batch]) for start in range(0, len(windows), self.max_batch)
        ]
        strong = [batch.strong for batch in batches if batch.strong is not None]
        weak = np.concatenate([batch.weak for batch in batches])
        frames = np.concatenate(strong) if strong else None
        return self.bundle.windowing.stitch(frames, weak, self.bundle.labels, len(waveform))

    def hear(self, blocks: Iterable[Waveform], options: DetectionOptions | None = None) -> Detections:
        """Blocks of one recording -> what is heard in it, in memory that does not grow with its length.

        AudioError when there is no sample, or one that is no sound; OptionsError when the options do not fit.
        """
        hearing = Hearing(self.bundle, options)
        at_once = self.max_batch if self._session.on_cuda else min(self.max_batch, _WINDOWS_AT_ONCE_ON_CPU)
        waiting: list[Waveform] = []
        for block in blocks:
            require_sound(block)
            waiting += hearing.feed(block)
            while len(waiting) >= at_once:
                hearing.said(self.run(waiting[:at_once]))
                del waiting[:at_once]
        waiting += hearing.end()
        for start in range(0, len(waiting), at_once):
            hearing.said(self.run(waiting[start : start + at_once]))
        return hearing.result()

    def decide(self, scores: Scores, threshold: float | None = None) -> Detections:
        """Scores -> events and tags, with the bundle's post-processing; `threshold` replaces that of every class."""
        return Hearing.plan(self.bundle, DetectionOptions(thresholds=threshold)).decide(scores)

    def detect(self, waveform: Waveform) -> list[Event]:
        """(samples,) -> events, sorted by onset."""
        return self._postprocessing.detect(self.scores(waveform))

    def tags(self, waveform: Waveform) -> list[tuple[str, float]]:
        """(samples,) -> (label, score) of every class, highest score first."""
        return self._postprocessing.tags(self.scores(waveform))

    def detect_file(self, path: Path) -> list[Event]:
        """The events of a recording in any format that `audio.read_waveform` decodes; AudioError otherwise."""
        return self.detect(read_waveform(path, self.bundle.sample_rate))

    def _told(self, run: Callable[..., _Told], *arguments: Any) -> _Told:
        """What a call that reaches onnxruntime gives; BundleError when that refuses."""
        try:
            return run(*arguments)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise BundleError(f"{self._model}: the graph cannot be run ({' '.join(str(error).split())})") from None

    def _checked(self, said: Outputs, num_windows: int) -> WindowScores:
        for name, values in said.items():
            expected = (num_windows, *self._shape.outputs[name])
            if values.shape != expected:
                raise BundleError(f"{self._model}: output {name!r} is {values.shape}, the bundle says {expected}")
        weak = probabilities_of(said[WEAK_LOGITS_NAME]) if WEAK_LOGITS_NAME in said else said[WEAK_NAME]
        strong = self._probabilities(STRONG_NAME, said[STRONG_NAME]) if STRONG_NAME in said else None
        return WindowScores(strong, self._probabilities(WEAK_NAME, weak))

    def _probabilities(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        lowest, highest = float(values.min()), float(values.max())
        if not (lowest >= -_PROBABILITY_ROUNDING and highest <= 1 + _PROBABILITY_ROUNDING):
            raise BundleError(f"{self._model}: output {name!r} reaches {lowest:g} to {highest:g}, not within [0, 1]")
        return values if lowest >= 0.0 and highest <= 1.0 else np.clip(values, 0.0, 1.0)


def _graph_shape(bundle: Bundle) -> GraphShape:
    """The outputs that are asked for: frames if there are any; clip logits in the place of probabilities likewise."""
    view, classes = bundle.windowing, len(bundle.labels)
    outputs: dict[str, tuple[int, ...]] = {STRONG_NAME: (view.window_frames, classes)} if bundle.has_frames else {}
    outputs[WEAK_LOGITS_NAME if bundle.has_logits else WEAK_NAME] = (classes,)
    return GraphShape(INPUT_NAME, view.window_samples, outputs)
